"""What every file system owes the code above it: one suite for the real one, the fakes and yours.

A fake that is kinder than a kernel hides bugs, a stricter one invents them. Who
writes a `journalkit.fs.interface.FileSystem` runs each check of
`FILESYSTEM_CONTRACT` on an empty directory of it:

    pytest.register_assert_rewrite("journalkit.testing.contract")     # for messages that show values

    @pytest.mark.parametrize("claim", FILESYSTEM_CONTRACT)
    def test_my_file_system(claim):
        fs = MyFileSystem()
        fs.make_directory("/root")
        FILESYSTEM_CONTRACT[claim](fs, "/root")

Durability is no part of it: no program can see from inside what a power cut
would leave. That is what `SimulatedDisk` is for.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from journalkit.fs.interface import FileSystem
from journalkit.fs.lock import DESCRIPTION_BYTES_MAX, read_description
from journalkit.testing.contract_links import LINK_CHECKS
from journalkit.testing.expect import put, read, refused

Check: TypeAlias = Callable[[FileSystem, str], None]
"""Takes a file system and the path of an empty directory in it; raises AssertionError where the claim is wrong."""


def what_was_written_is_read_at_any_offset_and_short_only_at_the_end(fs: FileSystem, root: str) -> None:
    """Readers take a short read for the file's end."""
    file = fs.create(f"{root}/a")
    file.pwrite(b"0123456789", 0)
    assert [file.pread(4, 3), file.pread(4, 8), file.pread(4, 10), file.pread(4, 99), file.pread(0, 2)] == [
        b"3456", b"89", b"", b"", b"",
    ]  # fmt: skip
    assert file.size() == 10
    file.close()


def every_kind_of_buffer_is_written(fs: FileSystem, root: str) -> None:
    """Writers hand in views of larger buffers to save copies."""
    kinds: tuple[Callable[[bytes], Any], ...] = (bytes, bytearray, memoryview)
    for index, make in enumerate(kinds):
        put(fs, f"{root}/{index}", make(b"bytes"))
        assert read(fs, f"{root}/{index}") == b"bytes"


def a_gap_reads_as_zeros_and_a_write_inside_leaves_the_rest(fs: FileSystem, root: str) -> None:
    """Prepared space is zeros until it is written."""
    file = fs.create(f"{root}/a")
    file.pwrite(b"end", 5)
    file.pwrite(b"x", 1)
    assert file.pwrite(b"", 100) == 0
    assert file.pread(999, 0) == b"\0x\0\0\0end"
    file.close()


def allocate_adds_zeros_and_never_covers_data(fs: FileSystem, root: str) -> None:
    """The next stretch is prepared while the last one still holds promised records."""
    file = fs.create(f"{root}/a")
    file.pwrite(b"data", 0)
    file.allocate(2, 6)
    assert file.pread(99, 0) == b"data\0\0\0\0"
    file.allocate(0, 4)
    file.allocate(0, 0)
    assert file.pread(99, 0) == b"data\0\0\0\0"
    file.close()


def truncate_cuts_and_extends_with_zeros(fs: FileSystem, root: str) -> None:
    """What was cut must not come back when the file grows again."""
    file = fs.create(f"{root}/a")
    file.pwrite(b"secret", 0)
    file.truncate(2)
    file.truncate(4)
    assert file.pread(99, 0) == b"se\0\0"
    file.close()


def every_sync_succeeds_on_a_sound_disk(fs: FileSystem, root: str) -> None:
    """Writers call them on files and directories alike; an error means that the disk failed."""
    file = fs.create(f"{root}/a")
    file.pwrite(b"x", 0)
    file.sync_data()
    file.sync()
    file.drop_cache()
    fs.sync_directory(root)
    assert file.pread(1, 0) == b"x"
    file.close()


def open_direct_reads_the_same_bytes_at_odd_offsets(fs: FileSystem, root: str) -> None:
    """Devices read whole blocks; who scans a log doesn't know about them."""
    data = bytes(range(256)) * 50
    put(fs, f"{root}/a", data)
    file = fs.open_direct(f"{root}/a")
    for count, offset in [(1, 0), (10, 4090), (5000, 123), (99999, 1), (10, len(data) - 3), (1, len(data)), (5, 10**6)]:
        assert file.pread(count, offset) == data[offset : offset + count]
    assert file.size() == len(data)
    file.close()
    with refused(errno.EBADF):
        file.pread(1, 0)


def opening_what_is_missing_or_a_directory_is_refused(fs: FileSystem, root: str) -> None:
    """A missing file is told apart from a wrong one."""
    put(fs, f"{root}/a", b"")
    for opener in (fs.open_read, fs.open_direct, fs.open_write):
        with refused(errno.ENOENT):
            opener(f"{root}/absent")
        with refused(errno.EISDIR):
            opener(root)
        with refused(errno.ENOTDIR):
            opener(f"{root}/a/b")


def open_write_reads_and_writes_an_existing_file(fs: FileSystem, root: str) -> None:
    """The log's writer checks what it finds before it appends."""
    put(fs, f"{root}/a", b"old")
    file = fs.open_write(f"{root}/a")
    assert file.pread(3, 0) == b"old"
    file.pwrite(b"new", 3)
    file.close()
    assert read(fs, f"{root}/a") == b"oldnew"


def create_refuses_every_name_that_is_taken(fs: FileSystem, root: str) -> None:
    """Two segments of one name would be one segment."""
    put(fs, f"{root}/a", b"mine")
    with refused(errno.EEXIST):
        fs.create(f"{root}/a")
    with refused(errno.ENOENT):
        fs.create(f"{root}/absent/a")
    with refused(errno.ENOTDIR):
        fs.create(f"{root}/a/b")
    assert read(fs, f"{root}/a") == b"mine"


def make_directory_refuses_every_name_that_is_taken(fs: FileSystem, root: str) -> None:
    """An opener that races another has to learn who was first."""
    put(fs, f"{root}/a", b"")
    for taken in (root, f"{root}/a", "/"):
        with refused(errno.EEXIST):
            fs.make_directory(taken)
    with refused(errno.EBUSY, errno.ENOTEMPTY):
        fs.remove_directory("/")
    with refused(errno.ENOENT):
        fs.make_directory(f"{root}/absent/b")


def names_are_listed_sorted(fs: FileSystem, root: str) -> None:
    """Sorted names are sorted numbers; a kernel lists in hash order."""
    for name in ("b", "c", "a"):
        put(fs, f"{root}/{name}", b"")
    fs.make_directory(f"{root}/B")
    assert list(fs.list(root)) == ["B", "a", "b", "c"]
    with refused(errno.ENOENT):
        fs.list(f"{root}/absent")
    with refused(errno.ENOTDIR):
        fs.list(f"{root}/a")


def status_tells_size_kind_and_identity(fs: FileSystem, root: str) -> None:
    """Nothing there is None, also below a file: both mean that there is nothing to open."""
    put(fs, f"{root}/a", b"1234")
    put(fs, f"{root}/b", b"")
    a, b, directory = fs.status(f"{root}/a"), fs.status(f"{root}/b"), fs.status(root)
    assert a is not None
    assert b is not None
    assert directory is not None
    assert (a.size_bytes, a.is_directory, b.size_bytes, directory.is_directory) == (4, False, 0, True)
    assert a.inode != b.inode
    assert fs.status(f"{root}/absent") is None
    assert fs.status(f"{root}/a/b") is None


def rename_replaces_the_target_at_once(fs: FileSystem, root: str) -> None:
    """Who has the old file open keeps reading the old bytes; who opens anew gets the new ones."""
    put(fs, f"{root}/new", b"new")
    put(fs, f"{root}/old", b"old")
    reader = fs.open_read(f"{root}/old")
    fs.rename(f"{root}/new", f"{root}/old")
    assert (list(fs.list(root)), read(fs, f"{root}/old"), reader.pread(3, 0)) == (["old"], b"new", b"old")
    reader.close()


def rename_refuses_what_it_cannot_do_and_changes_nothing(fs: FileSystem, root: str) -> None:
    """A failed rename has to leave both names."""
    put(fs, f"{root}/a", b"a")
    fs.make_directory(f"{root}/directory")
    with refused(errno.ENOENT):
        fs.rename(f"{root}/absent", f"{root}/a")
    with refused(errno.EISDIR):
        fs.rename(f"{root}/a", f"{root}/directory")
    fs.rename(f"{root}/a", f"{root}/a")
    assert (list(fs.list(root)), read(fs, f"{root}/a")) == (["a", "directory"], b"a")


def an_unlinked_file_stays_for_who_has_it_open(fs: FileSystem, root: str) -> None:
    """Views read tables that a compaction has already pruned."""
    put(fs, f"{root}/a", b"still here")
    reader = fs.open_read(f"{root}/a")
    fs.unlink(f"{root}/a")
    assert (fs.status(f"{root}/a"), reader.pread(99, 0)) == (None, b"still here")
    put(fs, f"{root}/a", b"another")
    assert reader.pread(99, 0) == b"still here"
    reader.close()
    with refused(errno.ENOENT):
        fs.unlink(f"{root}/absent")


def unlink_and_remove_directory_each_take_their_own_kind(fs: FileSystem, root: str) -> None:
    """Pruning must never take a directory with all that is in it."""
    fs.make_directory(f"{root}/full")
    put(fs, f"{root}/full/a", b"")
    with refused(errno.EISDIR):
        fs.unlink(f"{root}/full")
    with refused(errno.ENOTEMPTY):
        fs.remove_directory(f"{root}/full")
    with refused(errno.ENOTDIR):
        fs.remove_directory(f"{root}/full/a")
    fs.unlink(f"{root}/full/a")
    fs.remove_directory(f"{root}/full")
    assert list(fs.list(root)) == []
    with refused(errno.ENOENT):
        fs.remove_directory(f"{root}/full")


def sync_directory_refuses_what_is_no_directory(fs: FileSystem, root: str) -> None:
    """A sync of the wrong thing must not look like a success."""
    put(fs, f"{root}/a", b"")
    with refused(errno.ENOTDIR):
        fs.sync_directory(f"{root}/a")
    with refused(errno.ENOENT):
        fs.sync_directory(f"{root}/absent")


def a_closed_file_refuses_everything_and_closes_twice(fs: FileSystem, root: str) -> None:
    """The kernel hands descriptor numbers out again: a late write would land in another file."""
    file = fs.create(f"{root}/a")
    file.close()
    file.close()
    uses: list[Callable[[], object]] = [
        lambda: file.pwrite(b"x", 0), lambda: file.pread(1, 0), file.size, file.sync, file.sync_data,
        lambda: file.allocate(0, 1), lambda: file.truncate(0), file.drop_cache,
    ]  # fmt: skip
    for use in uses:
        with refused(errno.EBADF):
            use()
    assert read(fs, f"{root}/a") == b""


def a_file_open_for_reading_cannot_be_written(fs: FileSystem, root: str) -> None:
    """Reading never writes; the type checker says so, and so does the kernel."""
    put(fs, f"{root}/a", b"x")
    file: Any = fs.open_read(f"{root}/a")
    with refused(errno.EBADF):
        file.pwrite(b"y", 0)
    with refused():
        file.truncate(0)
    with refused():
        file.allocate(0, 10)
    file.close()
    assert read(fs, f"{root}/a") == b"x"


def negative_places_are_refused(fs: FileSystem, root: str) -> None:
    """Python would count a negative offset from the end, and damage the wrong bytes."""
    file = fs.create(f"{root}/a")
    file.pwrite(b"abc", 0)
    uses: list[Callable[[], object]] = [
        lambda: file.pwrite(b"x", -1), lambda: file.pread(1, -1), lambda: file.pread(-1, 0),
        lambda: file.truncate(-1), lambda: file.allocate(-1, 2), lambda: file.allocate(0, -2),
    ]  # fmt: skip
    for use in uses:
        with refused(errno.EINVAL):
            use()
    assert file.pread(9, 0) == b"abc"
    file.close()


def the_place_is_asked_of_something_that_is_there(fs: FileSystem, root: str) -> None:
    """Room and type decide whether a store may be opened at all."""
    assert fs.free_bytes(root) > 0
    assert fs.filesystem_type(root)
    for ask in (fs.free_bytes, fs.filesystem_type):
        with refused(errno.ENOENT):
            ask(f"{root}/absent")


def a_lock_excludes_everybody_until_it_is_closed(fs: FileSystem, root: str) -> None:
    """Two writers are the end of a log, in one process as in two."""
    path = f"{root}/LOCK"
    lock = fs.lock(path)
    assert lock is not None
    assert fs.lock(path) is None
    lock.close()
    lock.close()
    again = fs.lock(path)
    assert again is not None
    lock.close()
    assert fs.lock(path) is None
    again.close()
    assert list(fs.list(root)) == ["LOCK"]


def a_refused_opener_reads_who_has_the_lock(fs: FileSystem, root: str) -> None:
    """A shorter description replaces a longer one whole; a hostile one is read up to a bound."""
    path = f"{root}/LOCK"
    assert read_description(fs, path) == b""
    lock = fs.lock(path)
    assert lock is not None
    lock.describe(b"a long description")
    lock.describe(b"short")
    assert read_description(fs, path) == b"short"
    lock.describe(b"x" * 10_000)
    assert len(read_description(fs, path)) == DESCRIPTION_BYTES_MAX
    lock.close()
    with refused():
        lock.describe(b"no longer mine")
    with refused(errno.EISDIR):
        fs.lock(root)


def a_lock_whose_file_was_replaced_knows_it(fs: FileSystem, root: str) -> None:
    """Somebody who removes "stale" lock files gives the store two owners; the first has to notice."""
    path = f"{root}/LOCK"
    lock = fs.lock(path)
    assert lock is not None
    assert lock.is_valid()
    fs.unlink(path)
    assert not lock.is_valid()
    other = fs.lock(path)
    assert other is not None
    assert (lock.is_valid(), other.is_valid()) == (False, True)
    other.close()
    lock.close()
    with refused():
        lock.is_valid()


def threads_write_their_own_places(fs: FileSystem, root: str) -> None:
    """Compaction, log and readers share the file system."""
    file = fs.create(f"{root}/a")

    def write(mark: int) -> None:
        for index in range(50):
            file.pwrite(bytes([mark]) * 10, (index * 4 + mark) * 10)
            put(fs, f"{root}/{mark}-{index}", b"")

    threads = [threading.Thread(target=write, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.pread(10**6, 0) == b"".join(bytes([mark]) * 10 for _ in range(50) for mark in range(4))
    assert len(fs.list(root)) == 201
    file.close()


FILESYSTEM_CONTRACT: Final[Mapping[str, Check]] = {
    check.__name__: check
    for check in (
        what_was_written_is_read_at_any_offset_and_short_only_at_the_end,
        every_kind_of_buffer_is_written,
        a_gap_reads_as_zeros_and_a_write_inside_leaves_the_rest,
        allocate_adds_zeros_and_never_covers_data,
        truncate_cuts_and_extends_with_zeros,
        every_sync_succeeds_on_a_sound_disk,
        open_direct_reads_the_same_bytes_at_odd_offsets,
        opening_what_is_missing_or_a_directory_is_refused,
        open_write_reads_and_writes_an_existing_file,
        create_refuses_every_name_that_is_taken,
        make_directory_refuses_every_name_that_is_taken,
        names_are_listed_sorted,
        status_tells_size_kind_and_identity,
        rename_replaces_the_target_at_once,
        rename_refuses_what_it_cannot_do_and_changes_nothing,
        *LINK_CHECKS,
        an_unlinked_file_stays_for_who_has_it_open,
        unlink_and_remove_directory_each_take_their_own_kind,
        sync_directory_refuses_what_is_no_directory,
        a_closed_file_refuses_everything_and_closes_twice,
        a_file_open_for_reading_cannot_be_written,
        negative_places_are_refused,
        the_place_is_asked_of_something_that_is_there,
        a_lock_excludes_everybody_until_it_is_closed,
        a_refused_opener_reads_who_has_the_lock,
        a_lock_whose_file_was_replaced_knows_it,
        threads_write_their_own_places,
    )
}
"""Each claim by its name."""
