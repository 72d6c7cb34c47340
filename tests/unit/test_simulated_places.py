"""The simulated disk puts sectors where they don't belong, turns read-only, and tells what happened."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from journalkit.testing import SimulatedDisk

SECTOR = 512
OLD, OTHER, NEW = b"o" * SECTOR * 3, b"x" * SECTOR * 3, b"n" * SECTOR


def two_files() -> SimulatedDisk:
    """Return a disk with two durable files of three sectors."""
    disk = SimulatedDisk()
    disk.write_bytes("/a", OLD)
    disk.write_bytes("/b", OTHER)
    return disk


def on_device(disk: SimulatedDisk, path: str) -> bytes:
    """Return what the device has of a file."""
    return disk.open_direct(path).pread(10 * SECTOR, 0)


def test_a_write_that_goes_astray_is_seen_past_the_cache_and_after_a_cut() -> None:
    """PITFALLS 19: the drive says yes, the right place keeps its old bytes, a neighbour loses its own."""
    disk = two_files()
    disk.misdirect_write(1, 2 * SECTOR, path_contains="/a")
    file = disk.open_write("/a")
    assert file.pwrite(NEW, 0) == SECTOR
    file.sync_data()
    wrong = OLD[: 2 * SECTOR] + NEW
    assert disk.read_bytes("/a") == NEW + OLD[SECTOR:] == file.pread(3 * SECTOR, 0)
    assert on_device(disk, "/a") == wrong
    assert disk.process_crash().read_bytes("/a") == NEW + OLD[SECTOR:]
    assert disk.process_crash().crash("none").read_bytes("/a") == wrong == disk.crash("none").read_bytes("/a")
    assert "astray, /a at 1024" in disk.history()[0]


def test_a_write_that_goes_astray_into_another_file_harms_that_one() -> None:
    """Whole sectors go: what stood beside the written bytes goes with them, and nothing grows."""
    disk = two_files()
    disk.misdirect_write(1, 2 * SECTOR, to_path="/b")
    file = disk.open_write("/a")
    file.pwrite(b"!" * (SECTOR + 2), SECTOR - 1)
    file.sync()
    assert disk.read_bytes("/b") == OTHER
    disk.open_write("/b").sync()
    after = disk.crash("none")
    assert after.read_bytes("/a") == OLD
    assert after.read_bytes("/b") == OTHER[: 2 * SECTOR] + OLD[: SECTOR - 1] + b"!"
    assert on_device(disk, "/b") == after.read_bytes("/b")


def test_what_went_astray_behind_the_end_is_gone_and_the_size_is_right() -> None:
    """An appended block that never came: the file has its length, and zeros or what was prepared there."""
    disk = two_files()
    disk.misdirect_write(1, 9 * SECTOR)
    file = disk.open_write("/a")
    file.pwrite(NEW, 3 * SECTOR)
    file.sync_data()
    assert disk.crash("none").read_bytes("/a") == OLD + bytes(SECTOR)
    file.pwrite(NEW, 0)
    file.sync_data()
    assert disk.crash("none").read_bytes("/a")[:SECTOR] == NEW


def test_a_read_that_goes_astray_returns_other_sectors_and_only_that_read() -> None:
    """A head that lands beside its track: right bytes of the wrong place, as many as were asked for."""
    disk = two_files()
    disk.misdirect_read(2, 2 * SECTOR, from_path="/b", path_contains="/a")
    file = disk.open_read("/a")
    assert [file.pread(4, 5), file.pread(SECTOR + 4, 5), file.pread(4, 5)] == [
        b"oooo", OTHER[: SECTOR - 5] + bytes(9), b"oooo",
    ]  # fmt: skip
    assert disk.history() == ("- pread /a -> astray, /b at 1024",)
    assert disk.fault_count == 1


def test_a_sector_that_was_misdirected_long_ago_lies_there_for_everybody() -> None:
    """Latent damage for a scrubber to find; a last, short sector stays as short as it was."""
    disk = two_files()
    disk.write_bytes("/c", b"c" * (SECTOR + 7))
    disk.misdirect("/a", 700, SECTOR + 3, to_path="/c")
    disk.misdirect("/b", 0, 2 * SECTOR, to_path="/a")
    for each in (disk, disk.crash("none")):
        assert each.read_bytes("/c") == b"c" * SECTOR + b"o" * 7
        assert each.read_bytes("/a") == OLD[: 2 * SECTOR] + OTHER[:SECTOR]
    with pytest.raises(ValueError):
        disk.misdirect("/a", 0, 3 * SECTOR)


def test_a_read_only_mount_refuses_every_change_and_no_read() -> None:
    """What Linux does with errors=remount-ro, in the middle of everything."""
    disk = two_files()
    disk.make_directory("/d")
    file = disk.open_write("/a")
    disk.remount_read_only(nth=2)
    file.pwrite(NEW, 0)
    refused: list[Callable[[], object]] = [
        file.sync, file.sync_data, lambda: file.pwrite(NEW, 0), lambda: file.truncate(0),
        lambda: file.allocate(0, 9999),
        lambda: disk.create("/n"), lambda: disk.open_write("/a"), lambda: disk.rename("/a", "/n"),
        lambda: disk.unlink("/a"), lambda: disk.make_directory("/n"), lambda: disk.remove_directory("/d"),
        lambda: disk.sync_directory("/"), lambda: disk.lock("/LOCK"),
    ]  # fmt: skip
    for use in refused:
        with pytest.raises(OSError) as caught:
            use()
        assert caught.value.errno == errno.EROFS
    assert (file.pread(1, 0), disk.list("/"), disk.free_bytes("/") > 0) == (b"n", ["a", "b", "d"], True)
    assert disk.open_read("/a").size() == len(OLD)
    disk.remount_writable()
    file.sync()
    # The refused syncs lost it: a page that could not be written is clean.
    assert disk.crash("none").read_bytes("/a") == OLD
    with pytest.raises(ValueError):
        disk.remount_read_only(nth=0)


def test_the_story_tells_the_end_of_what_happened_and_the_cut_before_it() -> None:
    """A failure is understood by reading it, and repeated by its seed."""
    disk = two_files()
    file = disk.open_write("/a")
    for index in range(30):
        file.pwrite(b"x", index)
    disk.fail("pread", 1, errno.EIO)
    with pytest.raises(OSError):
        file.pread(1, 0)
    assert disk.story(last=3).splitlines() == [
        "... 28 lines before", "29 pwrite /a 28+1", "30 pwrite /a 29+1", "- pread /a -> Input/output error",
    ]  # fmt: skip
    after = disk.crash(keep=17)
    after.unlink("/b")
    lines = after.story().splitlines()
    assert lines[-2:] == ["-- power cut, keep=17, after 30 operations --", "1 unlink /b"]
    assert lines[-3] == "- pread /a -> Input/output error"
    assert "crash of the process" in after.process_crash().story()
