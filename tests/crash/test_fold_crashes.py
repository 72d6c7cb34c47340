"""A fold, cut off or failing at each of its operations: the state stays, and the next fold works."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress

import pytest

import journalkit
from journalkit.errors import JournalError, StorageError
from journalkit.store.outside import Outside
from journalkit.testing import PowerCut, SimulatedClock, SimulatedDisk

STORE = "/store"
STATE = {"a": 2, "b": b"x" * 3000, "c": 3, "d": b"y" * 3600, "tail": 1}
NEVER, ALWAYS = 1e9, 0.0
SHAPES = {
    "full": (ALWAYS, ALWAYS, [5]),
    "delta": (ALWAYS, NEVER, [5, 3]),
    "merge of deltas": (NEVER, NEVER, [6, 3]),
    "merge into the base": (NEVER, ALWAYS, [5]),
}
"""How often the base is merged, in the folds before and in the one that is cut off, and what its tables then hold."""


def opened(disk: SimulatedDisk, ratio: float, *, outside: bool = False) -> journalkit.Store:
    """Open the store on a disk, folding only when told, in this process or by another."""
    store = journalkit.open(
        STORE,
        fs=disk,
        clock=SimulatedClock(seed=3),
        compaction="manual",
        segment_bytes_max=4096,
        fold_bytes_min=1,
        fold_ratio=ratio,
    )
    if outside:
        # What `compaction="process"` does, without its thread.
        store._engine.writing.compactor._outside = Outside(disk, SimulatedClock())  # type: ignore[union-attr]
    return store


def prepared(ratio: float) -> SimulatedDisk:
    """Return a disk whose next fold has all there is to do: merge, drop, rotate, publish, prune tables and log."""
    disk = SimulatedDisk()
    with opened(disk, ratio) as store:
        for number in range(2):
            store.update({"a": number, "gone": 1})
            store.put("b", b"x" * 3000, sync="never")
            store.compact()
        store.update({"a": 2, "c": 3})
        del store["gone"]
        store.put("d", b"y" * 3600, sync="never")
    return disk


def fold(store: journalkit.Store) -> None:
    """Write something undurable, and fold it."""
    store.put("tail", 1, sync="never")
    store.compact()


@pytest.fixture(scope="module", params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    """What the fold writes."""
    return str(request.param)


@pytest.fixture(scope="module")
def base(shape: str) -> SimulatedDisk:
    """The disk that every case begins with a copy of."""
    return prepared(SHAPES[shape][0])


@pytest.fixture(scope="module")
def ratio(shape: str) -> float:
    """What the fold is opened with."""
    return SHAPES[shape][1]


@pytest.fixture(scope="module", params=[False, True], ids=["here", "outside"])
def outside(request: pytest.FixtureRequest) -> bool:
    """Whether another process merges. On this disk it works operation by operation too."""
    return bool(request.param)


@pytest.fixture(scope="module")
def operations(base: SimulatedDisk, shape: str, ratio: float, outside: bool) -> int:
    """How many operations a fold has that could be the last."""
    disk = base.process_crash()
    with opened(disk, ratio, outside=outside) as store:
        before = disk.operation_count
        fold(store)
        count = disk.operation_count - before
        assert (store.statistics().folds, store.statistics().folds_outside) == (1, int(outside))
        assert store.pruned_lsn > 0
        assert [table.info.entry_count for table in store._layers.tables] == SHAPES[shape][2]
    assert count > 15
    return count


def cut(base: SimulatedDisk, ratio: float, at: int, outside: bool) -> Iterator[SimulatedDisk]:
    """Cut the power when a fold's operation begins; yield what may be left."""
    disk = base.process_crash()
    store = opened(disk, ratio, outside=outside)
    disk.stop_after(at)
    with suppress(PowerCut):
        fold(store)
    for keep in ("none", "all", *range(6)):
        yield disk.crash(keep)
    with suppress(PowerCut, JournalError):
        store.close()


def test_a_power_cut_at_any_operation_of_a_fold_costs_nothing(
    base: SimulatedDisk, ratio: float, operations: int, outside: bool
) -> None:
    """The snapshot is published only when it and its log are durable, and pruned only behind that."""
    undurable = {key: value for key, value in STATE.items() if key != "tail"}
    for at in range(1, operations + 1):
        for after in cut(base, ratio, at, outside):
            with opened(after, ratio) as store:
                assert dict(store) in (STATE, undurable), f"cut at operation {at}"
                assert not store.recovery_report.fell_back
                store["tail"] = 1
                store.compact()
                assert store == STATE
                store.check()
            tables = {name for name in after.list(STORE) if "jkt" in name}
            with opened(after, ratio) as store:
                assert len(tables) <= 4
                assert store == STATE


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize(
    "operation",
    ["create", "pwrite", "sync", "sync_data", "sync_directory", "rename", "unlink", "allocate", "truncate", "pread",
     "open_read", "open_direct"],
)  # fmt: skip
def test_an_error_at_any_operation_of_a_fold_costs_nothing(
    base: SimulatedDisk, ratio: float, operation: str, number: int, outside: bool
) -> None:
    """It is an error of the contract; reads go on; another try or another open mends it."""
    for nth in range(1, 13):
        disk = base.process_crash()
        store = opened(disk, ratio, outside=outside)
        store.put("tail", 1, sync="never")
        disk.fail(operation, nth, number)
        with suppress(JournalError):
            store.compact()
        # The first of these may be what the fault was waiting for.
        with suppress(StorageError):
            assert store == STATE
        assert store == STATE
        with suppress(StorageError):
            store.compact()
            store.check()
        with suppress(StorageError):
            store.close()
        with opened(disk.process_crash(), ratio) as store:
            # An fsync that failed may have cost the record that nobody was promised.
            assert {**store, "tail": 1} == STATE
            store.compact()
            store.check()
            assert {**store, "tail": 1} == STATE
