"""Asynchronous stores on a simulated disk, and a way to hold that disk's fsyncs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import journalkit
from journalkit.fs.memory import MemoryFileSystem
from journalkit.store.aio.running import Running

STORE = "/store"


class Held:
    """Holds every fsync of a store's log from now on, until it is let go."""

    def __init__(self, store: journalkit.AsyncStore) -> None:
        self.begun, self.goes_on = threading.Event(), threading.Event()
        file = store._inner._log.position.active.file  # type: ignore[union-attr]
        self._real: Callable[[], None] = file.sync_data
        self.file = file
        self.count = 0
        file.sync_data = self._sync  # type: ignore[method-assign]

    def _sync(self) -> None:
        self.count += 1
        self.begun.set()
        assert self.goes_on.wait(20)
        self._real()

    async def entered(self) -> None:
        """Wait until somebody is inside an fsync."""
        assert await asyncio.to_thread(self.begun.wait, 20)


class Bench:
    """A file system, and stores that are opened on it."""

    def __init__(self) -> None:
        self.fs: Any = MemoryFileSystem()
        self.held: list[Held] = []

    def open(self, **options: Any) -> journalkit.AsyncStore:
        return journalkit.open_async(STORE, **({"fs": self.fs, "compaction": "manual"} | options))

    def hold(self, store: journalkit.AsyncStore) -> Held:
        self.held.append(Held(store))
        return self.held[-1]

    @staticmethod
    def running(store: journalkit.AsyncStore) -> Running:
        assert store._running is not None
        return store._running


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An empty file system in memory."""
    bench = Bench()
    yield bench
    for held in bench.held:
        held.goes_on.set()


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine on a loop of its own; whatever it leaves running is an error."""

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        before = set(threading.enumerate())
        complaints: list[dict[str, Any]] = []

        async def watched() -> Any:
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
            return await asyncio.wait_for(main, 60)

        result = asyncio.run(watched())
        assert complaints == []
        for thread in set(threading.enumerate()) - before:
            # Who told the loop of the end has a step to go itself.
            thread.join(1)
            assert not thread.is_alive(), thread.name
        return result

    return run
