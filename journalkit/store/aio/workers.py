"""Workers: a few threads for what may wait for the disk, so that the loop doesn't."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final, ParamSpec, TypeVar

from journalkit.errors import ClosedError

WORKERS: Final = 4

_P = ParamSpec("_P")
_Result = TypeVar("_Result")


class Workers:
    """The threads of one store; they end with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        self._loop = loop
        self._path = path
        self._is_ended = False
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="journalkit-worker")
        self._running: set[Future[Any]] = set()

    def run(
        self, function: Callable[_P, _Result], *arguments: _P.args, **options: _P.kwargs
    ) -> asyncio.Future[_Result]:
        """Call a function in a worker and return the future of its result.

        Who stops waiting lets it go on: a thread can't be stopped. What hasn't begun is dropped.
        """
        self._refuse_if_ended()

        def call() -> _Result:
            self._refuse_if_ended()
            return function(*arguments, **options)

        work = self._pool.submit(call)
        self._running.add(work)
        work.add_done_callback(self._running.discard)
        return asyncio.wrap_future(work, loop=self._loop)

    def _refuse_if_ended(self) -> None:
        if self._is_ended:
            raise ClosedError(f"{self._path} is closed; open it again")

    def stop(self) -> None:
        """Take no more work; what waits for a worker is refused when its turn comes."""
        self._is_ended = True
        self._pool.shutdown(wait=False)

    def join(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for what has begun, and return whether it and its threads ended. From no worker."""
        if wait(self._running.copy(), timeout_s).not_done:
            return False
        self._pool.shutdown()
        return True


async def undisturbed(work: asyncio.Future[_Result]) -> tuple[_Result, asyncio.CancelledError | None]:
    """Wait for what must not be left half done; a cancellation meanwhile is returned, to be raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    return work.result(), cancelled
