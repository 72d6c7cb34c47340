"""Views under asyncio: the state at one LSN, as a read-only mapping that is awaited."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Any, Self

from journalkit.errors import UsageError
from journalkit.format.block import Entry
from journalkit.store.aio.reads import AsyncReads
from journalkit.store.aio.running import Running
from journalkit.store.aio.workers import Workers
from journalkit.store.moment import Moment, Momentary
from journalkit.store.view import View
from journalkit.types import UNSET, Absent, Lsn, Value


class AsyncView(AsyncReads, Momentary):
    """A store as it was at `lsn`. Await it, or use it with `async with`: it is taken then.

    It keeps the memory and the files that it needs until it is closed or
    dropped; writers never wait for it.
    """

    def __init__(self, running: Running) -> None:
        """Use `AsyncStore.view`."""
        self._running = running
        self._values = running.store._values
        self._view: View | None = None

    async def _begin(self) -> Self:
        if self._view is None:
            self._running.require()
            self._view = await self._running.workers.run(self._running.store.view)
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._begin().__await__()

    async def __aenter__(self) -> Self:
        return await self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def lsn(self) -> Lsn:
        """The last record whose effect is visible here."""
        return self._taken().lsn

    async def offsets(self) -> dict[str, Value]:
        """Return input positions as they were, by name: a copy. O(offsets)."""
        view = self._taken()
        return dict(await self._require_workers().run(lambda: view.offsets))

    def moment(self) -> Moment:
        """Return the state with what its store is. For journalkit's own layers."""
        return self._taken().moment()

    async def close(self) -> None:
        """Let go of what the view keeps; later reads raise ClosedError. Idempotent."""
        if self._view is not None:
            self._view.close()

    def __repr__(self) -> str:
        return f"<journalkit.AsyncView of {self._values.path}, {'not begun' if self._view is None else self._view!r}>"

    def _taken(self) -> View:
        if self._view is None:
            raise UsageError("the view hasn't been taken; await it, or use it with `async with`")
        return self._view

    def _require_workers(self) -> Workers:
        self._running.require()
        return self._running.workers

    async def _source(self) -> View:
        return self._taken()

    async def _encoded(self, encoded_key: bytes) -> bytes | Absent | None:
        workers, state = self._require_workers(), self._taken()._frozen()
        found = state.get_in_memory(encoded_key)
        return await workers.run(state.get, encoded_key) if found is UNSET else found

    async def _entries(self, start: bytes | None, stop: bytes | None, *, reverse: bool = False) -> Iterator[Entry]:
        return self._taken()._entries(start, stop, reverse=reverse)
