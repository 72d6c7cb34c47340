"""The order of a fold where something comes between its steps: what the usual fold doesn't show."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

import pytest

import journalkit
from journalkit.errors import CorruptionError, StoreFullError
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

    def fold() -> None:
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
