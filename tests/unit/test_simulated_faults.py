"""The simulated disk fails, stops, fills up and rots when told, and only then."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

import pytest

from journalkit.fs.interface import WritableFile
from journalkit.testing import PowerCut, SimulatedDisk


def disk_with(data: bytes = b"", *, capacity_bytes: int | None = None) -> tuple[SimulatedDisk, WritableFile]:
    """Return a disk with one durable file, and that file open."""
    disk = SimulatedDisk(capacity_bytes=capacity_bytes)
    disk.write_bytes("/a", data)
    return disk, disk.open_write("/a")


def contents(disk: SimulatedDisk) -> set[bytes]:
    """Return every content of a file that some crash leaves."""
    return {disk.crash(keep=seed).read_bytes("/a") for seed in range(200)}


# -- faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", ["sync", "sync_data"])
def test_a_failed_sync_leaves_its_writes_clean_but_lost(sync: str) -> None:
    """As Linux does: reads show them, the next sync says yes, and a cut takes them."""
    disk, file = disk_with(b"old")
    file.pwrite(b"new", 0)
    disk.fail(sync, 1, errno.EIO)
    with pytest.raises(OSError):
        getattr(file, sync)()
    getattr(file, sync)()
    assert file.pread(3, 0) == b"new"
    assert contents(disk) == {b"old", b"new"}
    assert disk.process_crash().crash(keep="none").read_bytes("/a") == b"old"


def test_only_a_read_from_the_device_sees_what_a_failed_sync_lost() -> None:
    """Recovery that believes the page cache derives promises from bytes that no disk has."""
    disk, file = disk_with(b"old")
    file.pwrite(b"new+", 0)
    file.truncate(8)
    disk.fail("sync_data", 1, errno.EIO)
    with pytest.raises(OSError):
        file.sync_data()
    file.pwrite(b"!", 7)
    file.drop_cache()
    assert disk.open_read("/a").pread(9, 0) == b"new+\0\0\0!"
    assert disk.open_direct("/a").pread(9, 0) == b"old\0\0\0\0!"
    file.sync_data()
    assert disk.crash(keep="none").read_bytes("/a") == b"old\0\0\0\0!"


def test_what_is_synced_over_lost_bytes_stays() -> None:
    """A lost write that turns up after all must not cover a later, durable one."""
    disk, file = disk_with(b"----")
    file.pwrite(b"lost", 0)
    disk.fail("sync_data", 1, errno.EIO)
    with pytest.raises(OSError):
        file.sync_data()
    file.pwrite(b"good", 0)
    file.sync_data()
    assert contents(disk) == {b"good"}


def test_a_failed_directory_sync_leaves_the_names_pending() -> None:
    """Names are metadata: the kernel holds on to them, unlike to a page it could not write."""
    disk = SimulatedDisk()
    disk.create("/a")
    disk.fail("sync_directory", 1, errno.EIO)
    with pytest.raises(OSError):
        disk.sync_directory("/")
    assert disk.crash(keep="none").list("/") == []
    disk.sync_directory("/")
    assert disk.crash(keep="none").list("/") == ["a"]


def test_a_fault_hits_the_nth_operation_on_its_path_and_as_often_as_asked() -> None:
    """Counting starts when the fault is asked for, so that set-up code doesn't shift it."""
    disk, file = disk_with()
    other = disk.create("/other")
    disk.fail("pwrite", 2, errno.ENOSPC, times=2, path_contains="/a")
    outcomes: list[object] = []
    for _ in range(5):
        other.pwrite(b"x", 0)
        try:
            outcomes.append(file.pwrite(b"x", 0))
        except OSError as error:
            outcomes.append((error.errno, error.filename))
    assert outcomes == [1, (errno.ENOSPC, "/a"), (errno.ENOSPC, "/a"), 1, 1]


def test_a_fault_without_end_goes_on() -> None:
    """A read-only file system stays so."""
    disk = SimulatedDisk()
    disk.fail("create", 1, errno.EROFS, times=None)
    for _ in range(3):
        with pytest.raises(OSError) as caught:
            disk.create("/a")
        assert caught.value.errno == errno.EROFS
    assert disk.list("/") == []


def test_a_mended_disk_does_what_it_is_told() -> None:
    """What a program does when the fault is gone is half of every proof."""
    disk, file = disk_with(b"old")
    disk.fail("pwrite", 1, errno.EIO, times=None)
    disk.short_write(1, 1)
    disk.misdirect_write(1, 0)
    disk.remount_read_only(nth=2)
    with pytest.raises(OSError):
        file.pwrite(b"new", 0)
    with pytest.raises(OSError):
        file.sync()
    disk.mend()
    assert file.pwrite(b"new", 0) == 3
    file.sync()
    assert disk.crash(keep="none").read_bytes("/a") == b"new"


@pytest.mark.parametrize(
    "operation",
    [
        "create", "open_read", "open_write", "open_direct", "list", "status", "free_bytes", "make_directory", "rename",
        "link", "unlink", "remove_directory", "sync_directory", "lock",
    ],
)  # fmt: skip
def test_every_operation_on_names_can_fail_and_then_does_nothing(operation: str) -> None:
    """Code above is tested against each errno at each call."""
    disk, _ = disk_with(b"x")
    disk.make_directory("/d")
    disk.fail(operation, 1, errno.EACCES)
    arguments = {
        "create": ["/new"], "rename": ["/a", "/b"], "link": ["/a", "/b"], "make_directory": ["/new"],
        "remove_directory": ["/d"],
        "sync_directory": ["/"], "list": ["/"], "lock": ["/LOCK"],
    }  # fmt: skip
    with pytest.raises(PermissionError):
        getattr(disk, operation)(*arguments.get(operation, ["/a"]))
    assert disk.list("/") == ["a", "d"]


@pytest.mark.parametrize("operation", ["pwrite", "pread", "size", "allocate", "truncate", "drop_cache"])
def test_every_operation_on_a_file_can_fail_and_then_does_nothing(operation: str) -> None:
    """A failed write has written nothing here; a half one is asked for as a short write."""
    disk, file = disk_with(b"abc")
    disk.fail(operation, 1, errno.EIO)
    arguments: dict[str, list[object]] = {"pwrite": [b"xxxx", 0], "pread": [1, 0], "allocate": [0, 9], "truncate": [0]}
    with pytest.raises(OSError):
        getattr(file, operation)(*arguments.get(operation, []))
    assert disk.read_bytes("/a") == b"abc"


def test_a_lock_can_fail_to_describe_itself() -> None:
    """The words are a courtesy; losing them must not lose the lock."""
    disk = SimulatedDisk()
    lock = disk.lock("/LOCK")
    assert lock is not None
    disk.fail("describe", 1, errno.ENOSPC)
    with pytest.raises(OSError):
        lock.describe(b"me")
    lock.describe(b"me")
    assert disk.read_bytes("/LOCK") == b"me"


def test_a_misspelled_fault_is_refused() -> None:
    """A fault that never fires makes a test that proves nothing."""
    disk = SimulatedDisk()
    with pytest.raises(ValueError):
        disk.fail("fsync", 1, errno.EIO)
    for nth in (0, -1):
        with pytest.raises(ValueError):
            disk.fail("sync", nth, errno.EIO)
        with pytest.raises(ValueError):
            disk.stop_after(nth)


def test_a_short_write_takes_only_so_much() -> None:
    """Half a frame and no error: the writer has to look at the count."""
    disk, file = disk_with()
    disk.short_write(2, 3)
    disk.short_write(1, 0, path_contains="/elsewhere")
    assert [file.pwrite(b"abcdef", 0), file.pwrite(b"ABCDEF", 0), file.pwrite(b"ab", 0)] == [6, 3, 2]
    assert disk.read_bytes("/a") == b"abCdef"
    disk.short_write(1, lambda count_bytes: count_bytes // 2)
    assert file.pwrite(b"xxxx", 0) == 2


# -- power, room, rot ------------------------------------------------------------------------------


def test_the_power_goes_when_the_nth_mutating_operation_begins() -> None:
    """It and everything later raise, reads too, but closing is quiet: `finally` runs in a dead process."""
    disk, file = disk_with(b"abc")
    lock = disk.lock("/LOCK")
    assert lock is not None
    disk.stop_after(2)
    file.pwrite(b"x", 0)
    assert file.pread(1, 0) == b"x"
    uses: list[Callable[[], object]] = [
        file.sync_data, lambda: file.pread(1, 0), lambda: disk.list("/"), lock.is_valid,
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(PowerCut):
            use()
    file.close()
    lock.close()
    assert disk.crash(keep="none").read_bytes("/a") == b"abc"
    assert disk.crash(keep="all").read_bytes("/a") == b"xbc"


def test_no_handler_of_errors_survives_a_cut() -> None:
    """Code that swallows every Exception would otherwise run on without power."""
    assert not issubclass(PowerCut, Exception)


def test_operations_are_counted_and_told() -> None:
    """A failing seed is understood by reading what happened, in order."""
    disk = SimulatedDisk()
    file = disk.create("/a")
    disk.short_write(1, 2)
    disk.fail("sync_data", 1, errno.EIO)
    file.pwrite(b"abc", 4)
    file.pread(1, 0)
    with pytest.raises(OSError):
        file.sync_data()
    disk.rename("/a", "/b")
    assert disk.operation_count == 4
    assert disk.history() == (
        "1 create /a",
        "2 pwrite /a 4+3 -> 2 bytes",
        "3 sync_data /a -> Input/output error",
        "4 rename /a /b",
    )


def test_a_full_disk_takes_what_fits_and_then_nothing() -> None:
    """Kernels write short first and say ENOSPC at the next call."""
    disk, file = disk_with(b"x" * 90, capacity_bytes=100)
    assert disk.free_bytes("/") == 10
    assert file.pwrite(b"y" * 15, 90) == 10
    with pytest.raises(OSError) as caught:
        file.pwrite(b"z", 100)
    assert caught.value.errno == errno.ENOSPC
    assert "No space left" in disk.history()[-1]
    assert file.pwrite(b"over", 0) == 4
    disk.capacity_bytes = (disk.capacity_bytes or 0) + 1
    assert file.pwrite(b"z", 100) == 1


def test_allocated_room_is_taken_and_never_runs_out_again() -> None:
    """A reserve is worth only what it really holds; one that doesn't fit takes nothing."""
    disk, file = disk_with(capacity_bytes=100)
    reserve = disk.create("/reserve")
    reserve.allocate(0, 60)
    uses: list[Callable[[], None]] = [lambda: file.allocate(0, 41), lambda: file.truncate(41)]
    for use in uses:
        with pytest.raises(OSError) as caught:
            use()
        assert caught.value.errno == errno.ENOSPC
        assert file.size() == 0
    file.allocate(0, 40)
    assert reserve.pwrite(b"r" * 60, 0) == 60
    assert disk.free_bytes("/") == 0


def test_room_comes_back_with_the_last_handle_of_an_unlinked_file() -> None:
    """A view that holds a pruned table holds its room too."""
    disk, file = disk_with(b"x" * 80, capacity_bytes=100)
    reader = disk.open_read("/a")
    disk.unlink("/a")
    file.close()
    assert disk.free_bytes("/") == 20
    reader.close()
    assert disk.free_bytes("/") == 100
    disk.write_bytes("/b", b"y" * 50)
    disk.write_bytes("/c", b"z" * 50)
    disk.rename("/b", "/c")
    assert disk.free_bytes("/") == 50
    assert disk.crash(keep="all").free_bytes("/") == 50


def test_rot_shows_in_reads_and_survives_a_cut() -> None:
    """Latent damage is on the medium, not in a cache."""
    disk, _ = disk_with(bytes(8))
    disk.flip_bit("/a", 8 * 3 + 1)
    disk.flip_bit("/a", 0)
    assert disk.read_bytes("/a") == b"\x01\0\0\x02\0\0\0\0" == disk.crash(keep="none").read_bytes("/a")
    disk.zero("/a", 0, 2)
    assert disk.read_bytes("/a") == b"\0\0\0\x02\0\0\0\0" == disk.crash(keep="none").read_bytes("/a")
    with pytest.raises(ValueError):
        disk.flip_bit("/a", 64)
    with pytest.raises(ValueError):
        disk.zero("/a", 7, 2)


def test_rot_of_bytes_that_are_not_durable_yet_touches_the_cache_only() -> None:
    """What was never on the medium can't rot there."""
    disk, file = disk_with(b"a")
    file.pwrite(b"bc", 1)
    disk.flip_bit("/a", 8)
    disk.zero("/a", 0, 3)
    assert disk.read_bytes("/a") == bytes(3)
    assert disk.crash(keep="none").read_bytes("/a") == b"\0"


def test_bytes_put_there_are_durable_with_their_name() -> None:
    """Tests of damaged stores put files down as if they had always been there."""
    disk, file = disk_with(b"before")
    file.pwrite(b"pending", 0)
    disk.write_bytes("/a", b"after")
    disk.write_bytes("/new", b"new")
    for seed in range(20):
        after = disk.crash(keep=seed)
        assert (after.read_bytes("/a"), after.read_bytes("/new")) == (b"after", b"new")
    assert disk.operation_count == 1


def test_the_reported_type_is_the_test_s_to_choose() -> None:
    """Opening on a network's file system is refused; that needs one."""
    disk = SimulatedDisk(filesystem_type="nfs4")
    assert disk.filesystem_type("/") == "nfs4" == disk.crash(keep="all").filesystem_type("/")
    disk.reported_filesystem_type = "ext4"
    assert disk.filesystem_type("/") == "ext4"


def test_thousands_of_crashes_take_seconds() -> None:
    """Proofs try every operation under many seeds: a slow disk would mean fewer of them."""
    started = time.process_time()
    for seed in range(300):
        disk, file = disk_with(bytes(1 << 14))
        for index in range(20):
            file.pwrite(b"frame" * 40, index * 200)
            file.sync_data()
        file.pwrite(b"torn" * 500, 5000)
        disk.crash(keep=seed)
    assert time.process_time() - started < 10
