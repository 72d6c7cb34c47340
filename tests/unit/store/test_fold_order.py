"""The order of a fold where something comes between its steps: what the usual fold doesn't show."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any, Protocol

import pytest

import journalkit
from journalkit.errors import CorruptionError, JournalError, StoreFullError
from journalkit.log.log import Log
from journalkit.store.compactor import Compactor
from journalkit.testing import SimulatedClock, SimulatedDisk


class Bench(Protocol):
    disk: Any

    def open(self, **options: Any) -> journalkit.Store: ...
    def compactor(self, store: journalkit.Store) -> Compactor: ...
    def names(self, ending: str) -> list[str]: ...


def test_a_fold_that_could_not_rotate_makes_the_log_durable_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation syncs by the way, so only without one does it show who syncs on purpose."""

    def no_room(_log: Log) -> None:
        raise StoreFullError("no room for a segment", path="/store", needed_bytes=1, free_bytes=0, number=28)

    store = bench.open(sync="never")
    store["a"] = 1
    monkeypatch.setattr(Log, "rotate", no_room)
    store.compact()
    assert (store.snapshot_lsn, store.durable_lsn) == (1, 1)
    with journalkit.open("/store", fs=bench.disk.crash("none"), clock=SimulatedClock(), compaction="manual") as after:
        assert after == {"a": 1}
        after.check()


class RottingDisk(SimulatedDisk):
    """Turns a bit of each table over once it has its name: what was written isn't what is there."""

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        if target.endswith(".jkt"):
            self.flip_bit(target, 8 * (len(self.read_bytes(target)) // 2))


def test_a_table_that_does_not_read_back_is_never_published() -> None:
    """The log that it would replace is the good copy."""
    disk = RottingDisk()
    with journalkit.open("/store", fs=disk, clock=SimulatedClock(), compaction="manual", keep_snapshots=1) as store:
        store.update({f"key {number}": number for number in range(200)})
        with pytest.raises(CorruptionError):
            store.compact()
        assert (store.snapshot_lsn, store.pruned_lsn) == (0, 0)
        assert store["key 7"] == 7
    with journalkit.open("/store", fs=disk, clock=SimulatedClock(), compaction="manual") as store:
        assert len(store) == 200
        assert [name for name in disk.list("/store") if name.endswith(".jkt")] == []


def test_one_fold_runs_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two would write one table's number, and each would prune what the other merges."""
    store = bench.open()
    compactor = bench.compactor(store)
    inside, most = [0], [0]

    def fold(*, full: bool) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.05)
        inside[0] -= 1

    monkeypatch.setattr(compactor, "_fold", fold)
    threads = [threading.Thread(target=store.compact) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == [1]


def test_a_clock_that_goes_back_orders_no_snapshots(bench: Bench) -> None:
    """Snapshots are told apart by LSN; their times are labels."""
    clock = SimulatedClock()
    store = bench.open(clock=clock)
    for number in range(3):
        store["a"] = number
        store.compact()
        clock.jump_wall(-3600)
    assert store.snapshot_lsn == 3
    store.close()
    with bench.open() as store:
        assert (store["a"], store.snapshot_lsn, store.recovery_report.fell_back) == (2, 3, False)


def test_a_deleted_key_is_nowhere_once_it_was_folded_away(bench: Bench) -> None:
    """Neither its value nor its name: a deletion has nothing left to hide below the last layer."""
    store = bench.open(keep_snapshots=1)
    store.update({"the secret's name": b"the secret", "other": 1})
    store.compact()
    del store["the secret's name"]
    store.compact()
    store.close()
    for name in bench.disk.list("/store"):
        data = bench.disk.read_bytes(f"/store/{name}")
        assert b"the secret" not in data, name


def test_a_fold_that_was_overtaken_touches_no_table_of_the_newer_writer() -> None:
    """A lock may be lost under a writer (a network file system, somebody's rm); it ends, and harms nobody."""
    disk = SimulatedDisk()
    state: dict[str, int] = {"a": 1, "b": 2}

    class Overtaken(SimulatedClock):
        def sleep(self, duration_s: float) -> None:
            super().sleep(duration_s)
            paces.append(duration_s)
            # The first is before the fold; by the second it has passed the last look at whose store this is.
            if len(paces) == 2:
                late._opened.lock.close()
                newer.append(journalkit.open("/store", fs=disk, clock=SimulatedClock(seed=2), compaction="manual"))
                newer[0].update(state)
                newer[0].compact()

    newer: list[journalkit.Store] = []
    paces: list[float] = []
    late = journalkit.open("/store", fs=disk, clock=SimulatedClock(seed=1), compaction="manual")
    late["old"] = 0
    late._engine.clock.__class__ = Overtaken
    # Fenced at the latest; here its temporary file was swept before that.
    with pytest.raises(JournalError):
        late.compact()
    with suppress(JournalError):
        late.close()
    newer[0].close()
    with journalkit.open("/store", fs=disk, clock=SimulatedClock(seed=3), compaction="manual", check_all=True) as store:
        assert store == {"old": 0, **state}
        assert not store.recovery_report.fell_back
