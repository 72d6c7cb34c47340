"""The reserve: room that is there when nothing else is."""

from __future__ import annotations

import errno

import pytest

from journalkit.format.names import RESERVE
from journalkit.recovery.reserve import RESERVE_BYTES, Reserve
from journalkit.testing import SimulatedDisk

PATH = "/" + RESERVE


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
