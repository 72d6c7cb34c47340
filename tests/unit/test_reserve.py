"""The reserve: room that is there when nothing else is."""

from __future__ import annotations

import errno

import pytest

from journalkit.format.names import RESERVE
from journalkit.recovery.reserve import RESERVE_BYTES, SMALL_DELTA_BYTES, Reserve
from journalkit.testing import SimulatedDisk

PATH = "/" + RESERVE
MIB = 1 << 20


def test_it_takes_room_and_gives_it_back() -> None:
    """That is all it does."""
    disk = SimulatedDisk(capacity_bytes=2 * RESERVE_BYTES)
    reserve = Reserve(disk, "/")
    assert reserve.refill()
    assert disk.free_bytes("/") == RESERVE_BYTES
    assert reserve.refill()
    assert reserve.release()
    assert disk.free_bytes("/") == 2 * RESERVE_BYTES
    assert not reserve.release()


def test_without_room_for_all_of_it_there_is_none() -> None:
    """A part of it would promise what it can't keep, and take the last room from the log."""
    disk = SimulatedDisk(capacity_bytes=RESERVE_BYTES - 1)
    assert not Reserve(disk, "/").refill()
    assert list(disk.list("/")) == []


def test_a_part_left_by_a_crash_is_made_whole() -> None:
    """A kill between the creation and the allocation leaves an empty file."""
    disk = SimulatedDisk()
    disk.write_bytes(PATH, b"")
    assert Reserve(disk, "/").refill()
    assert len(disk.read_bytes(PATH)) == RESERVE_BYTES


@pytest.mark.parametrize("operation", ["status", "create", "allocate"])
def test_it_never_fails_its_caller(operation: str) -> None:
    """A store without a reserve works; it is only worse off on a full disk."""
    disk = SimulatedDisk()
    disk.fail(operation, 1, errno.EIO)
    assert not Reserve(disk, "/").refill()
    assert Reserve(disk, "/").refill()


def test_it_grows_with_what_a_fold_would_write_and_shrinks_behind_it() -> None:
    """In steps, so that it isn't touched with each record; a small delta needs no more than there is."""
    disk = SimulatedDisk(capacity_bytes=10 * MIB)
    reserve = Reserve(disk, "/")
    assert not reserve.cover(MIB)
    assert not reserve.give_surplus()
    assert reserve.refill()
    sizes = []
    for delta_bytes in (0, SMALL_DELTA_BYTES, SMALL_DELTA_BYTES + 1, MIB, MIB + 1, 3 * MIB, 10):
        assert reserve.cover(delta_bytes)
        sizes.append((len(disk.read_bytes(PATH)) - RESERVE_BYTES) / MIB)
        assert disk.free_bytes("/") == 10 * MIB - len(disk.read_bytes(PATH))
    assert sizes == [0, 0, 1, 1, 2, 3, 0]


def test_without_room_for_more_it_stays_what_it_is() -> None:
    """A part of the surplus would be taken from the log for nothing."""
    disk = SimulatedDisk(capacity_bytes=2 * MIB)
    reserve = Reserve(disk, "/")
    assert reserve.refill()
    assert not reserve.cover(4 * MIB)
    assert len(disk.read_bytes(PATH)) == RESERVE_BYTES
    assert reserve.cover(MIB)
    assert reserve.give_surplus()
    assert len(disk.read_bytes(PATH)) == RESERVE_BYTES


@pytest.mark.parametrize("operation", ["status", "open_write", "allocate", "truncate"])
def test_growing_and_shrinking_fail_nobody(operation: str) -> None:
    """It is there to help."""
    disk = SimulatedDisk()
    reserve = Reserve(disk, "/")
    reserve.refill()
    disk.fail(operation, 1, errno.EIO)
    results = [reserve.cover(MIB), reserve.give_surplus(), reserve.cover(MIB), reserve.give_surplus()]
    assert results.count(False) == 1
    assert len(disk.read_bytes(PATH)) == RESERVE_BYTES
