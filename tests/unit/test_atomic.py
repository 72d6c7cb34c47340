"""Replacing a file: the old bytes or the new ones, whatever happens on the way."""

from __future__ import annotations

import errno

import pytest

from journalkit.fs.atomic import UnknownOutcomeError, move_file, publish_file, replace_file, write_all
from journalkit.testing import PowerCut, SimulatedDisk

OLD, NEW = b"old" * 300, b"new and longer" * 300


def disk_with_old() -> SimulatedDisk:
    """Return a disk whose store has a durable manifest of the old bytes."""
    disk = SimulatedDisk()
    disk.make_directory("/store")
    disk.sync_directory("/")
    disk.write_bytes("/store/MANIFEST", OLD)
    return disk


def test_a_replaced_file_survives_a_cut_that_keeps_nothing() -> None:
    """Contents, name and the removal of the temporary's name are all durable."""
    disk = disk_with_old()
    replace_file(disk, "/store", "MANIFEST", NEW)
    after = disk.crash(keep="none")
    assert (after.list("/store"), after.read_bytes("/store/MANIFEST")) == (["MANIFEST"], NEW)


def test_a_cut_at_any_operation_leaves_the_old_bytes_or_the_new() -> None:
    """Never a mixture, never nothing: whatever un-synced part reached the medium."""
    whole = disk_with_old()
    before = whole.operation_count
    replace_file(whole, "/store", "MANIFEST", NEW)
    seen = set()
    for cut in range(1, whole.operation_count - before + 1):
        disk = disk_with_old()
        disk.stop_after(cut)
        with pytest.raises(PowerCut):
            replace_file(disk, "/store", "MANIFEST", NEW)
        for keep in ("all", "none", *range(20)):
            after = disk.crash(keep=keep)
            seen.add(after.read_bytes("/store/MANIFEST"))
            replace_file(after, "/store", "MANIFEST", NEW)
            assert after.list("/store") == ["MANIFEST"]
    assert seen == {OLD, NEW}


@pytest.mark.parametrize("operation", ["create", "pwrite", "sync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failure_before_the_rename_leaves_the_old_file_and_no_temporary(operation: str, number: int) -> None:
    """A full disk is not filled further by what could not be written, and trying again is safe."""
    disk = disk_with_old()
    disk.fail(operation, 1, number)
    with pytest.raises(OSError) as caught:
        replace_file(disk, "/store", "MANIFEST", NEW)
    assert caught.value.errno == number
    assert not isinstance(caught.value, UnknownOutcomeError)
    for state in (disk, disk.crash(keep="all")):
        assert (state.list("/store"), state.read_bytes("/store/MANIFEST")) == (["MANIFEST"], OLD)
    replace_file(disk, "/store", "MANIFEST", NEW)
    assert disk.crash(keep="none").read_bytes("/store/MANIFEST") == NEW


def test_a_temporary_that_cannot_be_removed_hides_nothing() -> None:
    """The caller needs the first error; the temporary is swept at the next attempt."""
    disk = disk_with_old()
    disk.fail("sync", 1, errno.EIO)
    disk.fail("unlink", 1, errno.EROFS)
    with pytest.raises(OSError) as caught:
        replace_file(disk, "/store", "MANIFEST", NEW)
    assert caught.value.errno == errno.EIO
    assert disk.list("/store") == ["MANIFEST", "MANIFEST.tmp"]
    replace_file(disk, "/store", "MANIFEST", NEW)
    assert disk.list("/store") == ["MANIFEST"]


def test_a_failed_directory_sync_says_that_the_outcome_is_unknown() -> None:
    """The new file is there for every reader, and a cut may still bring the old one back."""
    disk = disk_with_old()
    disk.fail("sync_directory", 1, errno.EIO)
    with pytest.raises(UnknownOutcomeError) as caught:
        replace_file(disk, "/store", "MANIFEST", NEW)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, "/store")
    assert disk.read_bytes("/store/MANIFEST") == NEW
    assert disk.crash(keep="none").read_bytes("/store/MANIFEST") == OLD


def test_a_longer_temporary_of_an_earlier_crash_leaves_no_tail() -> None:
    """The left-over is removed, not written over."""
    disk = disk_with_old()
    disk.write_bytes("/store/MANIFEST.tmp", b"left over" * 9999)
    replace_file(disk, "/store", "MANIFEST", NEW)
    assert disk.crash(keep="none").read_bytes("/store/MANIFEST") == NEW


@pytest.mark.parametrize("counts", [[1], [1, 1, 5], [len(NEW) - 1]])
def test_short_writes_are_gone_on_with(counts: list[int]) -> None:
    """A kernel may take any part of a write, a nearly full disk above all."""
    disk = disk_with_old()
    for nth, count in enumerate(counts, 1):
        disk.short_write(nth, count)
    replace_file(disk, "/store", "MANIFEST", NEW)
    assert disk.crash(keep="none").read_bytes("/store/MANIFEST") == NEW


@pytest.mark.parametrize("counts", [[0], [3, 0]])
def test_a_write_that_takes_nothing_is_an_error(counts: list[int]) -> None:
    """Otherwise the loop would never end."""
    disk = disk_with_old()
    for nth, count in enumerate(counts, 1):
        disk.short_write(nth, count)
    with pytest.raises(OSError) as caught:
        write_all(disk.open_write("/store/MANIFEST"), NEW, 0)
    assert caught.value.errno == errno.EIO


def test_nothing_to_write_writes_nothing() -> None:
    """An empty write takes no bytes and is no error."""
    disk = disk_with_old()
    write_all(disk.open_write("/store/MANIFEST"), b"", 10**6)
    assert disk.read_bytes("/store/MANIFEST") == OLD


def test_write_all_writes_at_the_offset_after_short_writes() -> None:
    """The rest of the bytes goes behind those already taken, not to the same place."""
    disk = disk_with_old()
    disk.short_write(1, 2)
    disk.short_write(2, 1)
    write_all(disk.open_write("/store/MANIFEST"), memoryview(b"abcdef"), 5)
    assert disk.read_bytes("/store/MANIFEST") == OLD[:5] + b"abcdef" + OLD[11:]


def test_a_published_file_has_its_name_durably() -> None:
    """A table is written under a temporary name and known by its own only when it is whole."""
    disk = disk_with_old()
    disk.write_bytes("/store/table.tmp", NEW)
    publish_file(disk, "/store", "table.tmp", "table")
    after = disk.crash(keep="none")
    assert (after.list("/store"), after.read_bytes("/store/table")) == (["MANIFEST", "table"], NEW)


def test_a_publication_that_fails_says_whether_the_name_was_given() -> None:
    """Before the rename nothing happened; after it only a reopen can tell."""
    disk = disk_with_old()
    disk.write_bytes("/store/table.tmp", NEW)
    disk.fail("rename", 1, errno.EIO)
    with pytest.raises(OSError) as before:
        publish_file(disk, "/store", "table.tmp", "table")
    assert not isinstance(before.value, UnknownOutcomeError)
    assert disk.list("/store") == ["MANIFEST", "table.tmp"]
    disk.fail("sync_directory", 1, errno.EIO)
    with pytest.raises(UnknownOutcomeError):
        publish_file(disk, "/store", "table.tmp", "table")
    assert disk.list("/store") == ["MANIFEST", "table"]


def test_a_moved_file_is_in_one_place_after_a_cut_at_any_operation() -> None:
    """What is set aside is evidence: it must not vanish on the way."""
    for cut in range(1, 5):
        disk = disk_with_old()
        disk.make_directory("/store/aside")
        disk.sync_directory("/store")
        disk.stop_after(cut)
        try:
            move_file(disk, "/store/MANIFEST", "/store/aside/MANIFEST")
        except PowerCut:
            assert cut <= 3
        for seed in range(10):
            after = disk.crash(keep=seed)
            there = after.list("/store/aside") == ["MANIFEST"]
            assert after.list("/store") == (["aside"] if there else ["MANIFEST", "aside"])
            assert there or cut <= 2
