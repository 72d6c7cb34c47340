"""A store made of a checkpoint: whole or nothing at all, whatever goes wrong at whichever operation."""

from __future__ import annotations

import errno
import itertools
from typing import Any

import pytest

import journalkit
from journalkit.checkpoint.saved_store import SavedStore
from journalkit.errors import (
    JournalError,
    StorageError,
    StoreFullError,
    UsageError,
)
from journalkit.recovery import restoring
from journalkit.testing import PowerCut, SimulatedDisk
from tests.unit.checkpoint.stored import is_sound, restore

# -- whatever goes wrong, at whichever operation ---------------------------------------------------


KEPT: tuple[Any, ...] = ("all", "none", *range(1, 14))
"""What a cut may leave of what wasn't synced: the last ones by chance."""


def looked_at(handle: SavedStore, cut: SimulatedDisk, expected: dict[Any, Any]) -> set[bool]:
    """Return whether there is a store, whatever the cut has left; where there is none, restoring again makes it."""
    outcomes = set()
    for keep in KEPT:
        after = cut.crash(keep=keep)
        is_there = is_sound(after, expected)
        outcomes.add(is_there)
        if not is_there and keep in ("all", 1):
            with restore(handle, after, seed=3) as store:
                assert dict(store) == expected
            assert is_sound(after, expected)
    return outcomes


def test_a_cut_at_any_operation_leaves_a_whole_store_or_none(handle: SavedStore, expected: dict[Any, Any]) -> None:
    """And where there is none, restoring again makes it: a job that was killed there is started again by nobody."""
    outcomes = set()
    for count in itertools.count(1):
        disk = SimulatedDisk()
        disk.stop_after(count)
        try:
            store = restore(handle, disk)
        except PowerCut:
            outcomes |= looked_at(handle, disk, expected)
        else:
            disk.stop_after(1000)
            store.close()
            break
    assert outcomes == {True, False}
    assert count > 30


def test_a_cut_while_it_is_taken_back_leaves_a_whole_store_or_none(
    handle: SavedStore, expected: dict[Any, Any]
) -> None:
    """What opening refuses is removed in an order in which no half of it can be opened."""
    outcomes = set()
    for count in itertools.count(1):
        disk = SimulatedDisk()
        disk.stop_after(count)
        try:
            with pytest.raises(UsageError):
                restore(handle, disk, mode="w")
        except PowerCut:
            outcomes |= looked_at(handle, disk, expected)
        else:
            break
    assert outcomes == {True, False}


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_an_error_at_any_operation_is_told_and_leaves_nothing(
    handle: SavedStore, expected: dict[Any, Any], code: int
) -> None:
    """A store that could not be opened in the end isn't left for somebody to take for his."""
    operations = ("create", "pwrite", "sync", "sync_directory", "rename", "lock", "list", "open_read", "open_direct",
                  "pread", "make_directory", "status", "describe", "unlink", "allocate")  # fmt: skip
    refused = 0
    for operation in operations:
        for nth in itertools.count(1):
            disk = SimulatedDisk()
            disk.fail(operation, nth, code)
            try:
                store = restore(handle, disk)
            except JournalError as error:
                told = str(error), error if isinstance(error, OSError) else error.__cause__
            else:
                told = None
            was_hit = any("->" in line for line in disk.history())
            disk.mend()
            if told is not None:
                refused += 1
                assert isinstance(told[1], OSError), f"{operation} {nth}: {told}"
                if is_sound(disk, expected):
                    # It was restored, and whether its opening came to anything isn't known.
                    assert "could not be published" in told[0], f"{operation} {nth}: {told}"
                    continue
                left = disk.list("/new") if disk.status("/new") is not None else []
                assert set(left) <= {"LOCK"}, f"{operation} {nth}"
                with restore(handle, disk, seed=3) as store:
                    assert dict(store) == expected
                continue
            with store:
                assert dict(store) == expected
            if not was_hit:
                break
    assert refused > 30


def test_an_interrupt_leaves_nothing_and_gives_the_lock_back(
    handle: SavedStore, expected: dict[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is read, and while what was restored is opened."""
    disk = SimulatedDisk()

    def interrupted(*_args: Any, **_options: Any) -> Any:
        raise KeyboardInterrupt

    for place in ("journalkit.checkpoint.reading.ChunkReader.pieces", "journalkit.checkpoint.saved_store.open_store"):
        with monkeypatch.context() as patched:
            patched.setattr(place, interrupted)
            with pytest.raises(KeyboardInterrupt):
                restore(handle, disk)
        assert disk.status("/new") is None
    with restore(handle, disk) as store:
        assert dict(store) == expected


def test_a_full_disk_is_told_as_that(handle: SavedStore) -> None:
    """And there is no more on it than before."""
    disk = SimulatedDisk(capacity_bytes=6000)
    with pytest.raises(StoreFullError):
        restore(handle, disk)
    assert disk.status("/new") is None


def test_an_error_that_stays_is_told_and_the_next_one_clears_away(handle: SavedStore, expected: dict[Any, Any]) -> None:
    """Where even what was written can't be removed, the mark says whose it is."""
    disk = SimulatedDisk()
    disk.fail("open_direct", 1, errno.EIO)
    disk.fail("unlink", 1, errno.EIO, times=None)
    disk.fail("remove_directory", 1, errno.EIO, times=None)
    with pytest.raises(StorageError, match="can't be restored"):
        restore(handle, disk)
    assert "restore.tmp" in disk.list("/new")
    disk.mend()
    with pytest.raises(UsageError, match="a restore was cut short"):
        journalkit.open("/new", fs=disk)
    with pytest.raises(UsageError, match="a restore was cut short"):
        journalkit.open("/new", mode="r", fs=disk)
    disk.write_bytes("/new/mine.txt", b"x")
    with pytest.raises(UsageError, match=r"mine\.txt"):
        restore(handle, disk)
    disk.unlink("/new/mine.txt")
    with restore(handle, disk) as store:
        assert dict(store) == expected


def test_a_mark_that_stays_means_nothing(handle: SavedStore, expected: dict[Any, Any]) -> None:
    """Beside a manifest it is swept by who opens, and where opening is refused it goes with the rest."""
    disk = SimulatedDisk()
    disk.fail("unlink", 1, errno.EIO, path_contains="restore.tmp")
    with restore(handle, disk, mode="r") as store:
        assert dict(store) == expected
    assert "restore.tmp" in disk.list("/new")
    with pytest.raises(UsageError, match="is a store already"):
        restore(handle, disk)
    assert is_sound(disk, expected)
    assert "restore.tmp" not in disk.list("/new")
    disk.fail("unlink", 1, errno.EIO, path_contains="restore.tmp")
    with pytest.raises(UsageError):
        restore(handle, disk, "/other", mode="w")
    assert disk.status("/other") is None


def test_the_largest_tables_are_synced_as_they_are_written(handle: SavedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing waits for all of them at the end."""
    monkeypatch.setattr(restoring, "SYNC_STRIDE_BYTES", 1)
    disk = SimulatedDisk()
    restore(handle, disk).close()
    assert any("sync_data" in line and ".jkt" in line for line in disk.history())
