"""An open store on its loop: what its faces share, who may use it, and how it ends.

Ending is a thread's work, since it waits for the disk: the loop stops taking
work, the thread lets the committer finish, closes the store, and reports back.
What is awaited then is a plain future and not a task, which a loop that ends
would cancel halfway.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import _get_running_loop
from contextlib import suppress
from typing import Any, Final, NoReturn

from journalkit.errors import ClosedError, ForkedError, JournalError, ReadOnlyError, UsageError
from journalkit.store.aio.committer import Committer
from journalkit.store.aio.workers import Workers
from journalkit.store.store import Store

_COMMITTER_WAIT_S: Final = 0.5
_WORKERS_WAIT_S: Final = 0.1


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the loop that runs in this thread. Raises UsageError if none does."""
    loop = _get_running_loop()
    if loop is None:
        raise UsageError(
            "no asyncio loop runs here; under trio, or without a loop, use journalkit.open, in a worker thread"
        )
    return loop


class Running:
    """A store, the loop that it was opened on, and the threads between them."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop, workers: Workers) -> None:
        self.store = store
        self.loop = loop
        self.workers = workers
        self.refusal: JournalError | None = None
        # Which tasks are in a transaction of this store.
        self.in_transaction: set[asyncio.Task[Any] | None] = set()
        self._closed: asyncio.Future[None] | None = None
        log = store._log
        self.committer = Committer(log, loop) if log is not None else None

    def require(self) -> None:
        """Raise UsageError unless the store is open, and this is its loop."""
        # First: in a child process no loop is said to run.
        refusal = self.refusal or self.store._refusal
        if refusal is not None:
            raise refusal.with_traceback(None)
        if _get_running_loop() is not self.loop:
            self._complain()

    def require_committer(self) -> Committer:
        """Return who commits. Raises UsageError unless this task may write."""
        self.require()
        committer = self.committer
        if committer is None:
            raise ReadOnlyError(f"{self.store.path} is open for reading only; open it with mode='rw'")
        if self.in_transaction and asyncio.current_task() in self.in_transaction:
            raise UsageError("this task is in a transaction of this store; write through the transaction")
        return committer

    def _complain(self) -> NoReturn:
        running_loop()
        raise UsageError(f"{self.store.path} was opened on another event loop; open a store on each loop that uses one")

    # The end

    @property
    def is_closing(self) -> bool:
        """Whether somebody began to close it."""
        return self._closed is not None

    @property
    def is_closed(self) -> bool:
        """Whether that is done."""
        return self._closed is not None and self._closed.done()

    def close(self) -> asyncio.Future[None]:
        """Begin to close, unless that was begun, and return the future of its end."""
        if self._closed is not None:
            return self._closed
        if _get_running_loop() is not self.loop:
            self._complain()
        self._closed = closed = self.loop.create_future()
        self._stop()
        if isinstance(self.store._refusal, ForkedError):
            closed.set_result(None)
        else:
            threading.Thread(target=self._end, args=(closed,), name="journalkit-closer", daemon=True).start()
        return closed

    def drop(self) -> None:
        """Close without the loop, which may be gone: nobody has the store any more."""
        self._stop()
        with suppress(JournalError):
            self.store.close()

    def _stop(self) -> None:
        self.refusal = ClosedError(f"{self.store.path} is closed; open it again")
        if self.committer is not None:
            self.committer.stop(self.refusal)
        self.workers.stop()

    def _end(self, closed: asyncio.Future[None]) -> None:
        failure: BaseException | None = None
        try:
            if self.committer is not None:
                self.committer.join(_COMMITTER_WAIT_S)
            self.store.close()
        except BaseException as error:  # noqa: BLE001 - told to who awaits the end
            failure = error
        self.workers.join(_WORKERS_WAIT_S)
        with suppress(RuntimeError):  # The loop was closed meanwhile.
            self.loop.call_soon_threadsafe(self._note_end, closed, failure)

    def _note_end(self, closed: asyncio.Future[None], failure: BaseException | None) -> None:
        if self.committer is not None:
            self.committer.end(self.store.path)
        if failure is None:
            closed.set_result(None)
        else:
            closed.set_exception(failure)
