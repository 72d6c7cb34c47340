"""Stores on a simulated disk, closed when a test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.errors import JournalError
from journalkit.fs.posix import PosixFileSystem
from journalkit.log.durable import read_durable
from journalkit.store.compactor import Compactor
from journalkit.store.outside import Outside
from journalkit.testing import SimulatedClock, SimulatedDisk

STORE = "/store"


class Bench:
    """A disk and a clock, and what was opened on them."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk()
        self.clock = SimulatedClock(seed=7)
        self.opened: list[journalkit.Store] = []

    def open(self, **options: Any) -> journalkit.Store:
        usual: dict[str, Any] = {"fs": self.disk, "clock": self.clock, "compaction": "manual"}
        store = journalkit.open(STORE, **(usual | options))
        self.opened.append(store)
        return store

    @staticmethod
    def compactor(store: journalkit.Store) -> Compactor:
        assert store._engine.writing is not None
        return store._engine.writing.compactor

    def fold_outside(self, store: journalkit.Store, fs: Any = None) -> None:
        """Let children do what `compaction="process"` lets them do, without its thread."""
        self.compactor(store)._outside = Outside(fs or self.disk, self.clock)

    def names(self, ending: str) -> list[str]:
        return [name for name in self.disk.list(STORE) if name.endswith(ending)]


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An empty disk."""
    bench = Bench()
    yield bench
    bench.disk.capacity_bytes = None
    for store in bench.opened:
        with suppress(JournalError):
            store.close()


@pytest.fixture
def store(bench: Bench) -> journalkit.Store:
    """A new store, without a thread."""
    return bench.open()


@pytest.fixture
def in_thread() -> Callable[[Callable[[], Any]], Any]:
    """Run something in another thread, to its end, and return what it returned."""
    from concurrent.futures import ThreadPoolExecutor

    def run(function: Callable[[], Any]) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(function).result(timeout=10)

    return run


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a store on the real file system is."""
    return str(tmp_path / "store")


@pytest.fixture(params=["never", "always"])
def sync(request: pytest.FixtureRequest) -> str:
    """What every put waits for."""
    return str(request.param)


@pytest.fixture
def opened() -> Callable[..., Any]:
    """Open a store whose puts take the lane."""

    def open_store(path: str, sync: str = "never", **options: Any) -> Any:
        store: Any = journalkit.open(path, sync=sync, compaction="manual", **options)
        assert store._put_alone is not None
        store.put("first", 0)  # what the memtable was empty before is Python's
        return store

    return open_store


@pytest.fixture
def slot_of() -> Callable[..., Any]:
    """Return what a store's durable slot says."""

    def read(store: Any) -> tuple[int, int, int]:
        slot = read_durable(PosixFileSystem(), store.path)
        assert slot is not None
        return slot.segment, slot.end_bytes, slot.lsn

    return read
