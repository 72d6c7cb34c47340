"""Objects in a directory: durable on return, whole or not there, and clean after every crash and error."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from journalkit.errors import StorageError, StoreFullError, UsageError
from journalkit.fs.posix import PosixFileSystem
from journalkit.objects import streaming
from journalkit.objects.directory import TEMPORARIES, DirectoryObjects, DirectoryReader
from journalkit.objects.ranges import read_into
from journalkit.testing import PowerCut, SimulatedBucket, SimulatedClock, SimulatedDisk

PROGRAMS = itertools.count()


def objects_on(disk: SimulatedDisk) -> DirectoryObjects:
    """Return a handle as a program that just started has it."""
    return DirectoryObjects("/place/objects", disk, clock=SimulatedClock(seed=next(PROGRAMS)))


def leftovers(disk: SimulatedDisk) -> list[str]:
    """Return the temporaries that there are."""
    path = f"/place/objects/{TEMPORARIES}"
    return [name for name in disk.list(path) if not name.endswith(".lock")] if disk.status(path) else []


@pytest.mark.parametrize("keep", ["all", "none", 1, 2, 3])
def test_a_cut_at_any_operation_leaves_each_object_whole_or_as_it_was(keep: str | int) -> None:
    """What returned is there; what didn't is there whole or not at all; what the cut left over is swept."""
    done: list[str] = []

    def work(objects: DirectoryObjects) -> None:
        steps: list[tuple[str, Callable[[], object]]] = [
            ("put", lambda: objects.put("a/one", (b"1" * 700, b"2" * 700))),
            ("create", lambda: objects.create("b/c/two", b"created")),
            ("replace", lambda: objects.put("a/one", (b"new",))),
            ("lose", lambda: objects.create("b/c/two", b"other")),
            ("delete", lambda: objects.delete("b/c/two", "a/none")),
        ]
        for name, step in steps:
            step()
            done.append(name)

    disk = SimulatedDisk()
    work(objects_on(disk))
    for count in range(1, disk.operation_count + 1):
        disk = SimulatedDisk()
        done.clear()
        disk.stop_after(count)
        with pytest.raises(PowerCut):
            work(objects_on(disk))
        after = disk.crash(keep=keep)  # type: ignore[arg-type]
        objects = objects_on(after)
        first, new, two = b"1" * 700 + b"2" * 700, b"new", b"created"
        one_may_be = {"": {None, first}, "put": {first}, "create": {first, new}}.get(done[-1] if done else "", {new})
        two_may_be = {"": {None}, "put": {None, two}, "lose": {two, None}}.get(done[-1] if done else "", {two})
        assert objects.get("a/one") in one_may_be, after.story()
        assert objects.get("b/c/two") in two_may_be, after.story()
        objects.put("z", ())
        assert leftovers(after) == [], after.story()
        assert {found.key for found in objects.list()} <= {"a/one", "b/c/two", "z"}


@pytest.mark.parametrize("operation", ["create", "pwrite", "sync", "make_directory", "rename", "link"])
def test_a_full_disk_leaves_nothing_behind_and_the_handle_usable(operation: str) -> None:
    """Free space, and go on with the same handle."""
    disk = SimulatedDisk()
    objects = objects_on(disk)
    objects.put("a", (b"before",))
    write: Callable[[], object] = lambda: objects.put("d/a", (b"x" * 100,))  # noqa: E731
    if operation == "link":
        write = lambda: objects.create("d/a", b"x" * 100)  # noqa: E731
    disk.fail(operation, 1, errno.ENOSPC)
    with pytest.raises(StoreFullError) as told:
        write()
    assert told.value.path == "/place/objects"
    assert (leftovers(disk), objects.get("d/a"), objects.get("a")) == ([], None, b"before")
    write()
    assert objects.get("d/a") == b"x" * 100


def test_an_error_of_the_disk_says_that_nothing_was_published() -> None:
    """The next put has a file of its own, so a failed sync of one temporary ends nothing."""
    disk = SimulatedDisk()
    objects = objects_on(disk)
    disk.fail("sync", 1, errno.EIO)
    with pytest.raises(StorageError, match="nothing was published"):
        objects.put("a", (b"x",))
    assert (objects.get("a"), leftovers(disk)) == (None, [])
    objects.put("a", (b"y",))
    assert disk.crash(keep="none").read_bytes("/place/objects/a") == b"y"


@pytest.mark.parametrize("write", ["put", "create", "delete"])
def test_a_failed_sync_of_a_directory_ends_the_handle(write: str) -> None:
    """What is there may be gone after a power cut, and no later sync proves otherwise."""
    disk = SimulatedDisk()
    objects = objects_on(disk)
    objects.put("a", (b"x",))
    disk.fail("sync_directory", 1, errno.EIO)
    uses: dict[str, Callable[[], object]] = {
        "put": lambda: objects.put("a", (b"y",)),
        "create": lambda: objects.create("b", b"y"),
        "delete": lambda: objects.delete("a"),
    }
    with pytest.raises(StorageError, match="open it again"):
        uses[write]()
    for use in uses.values():
        with pytest.raises(StorageError, match="open it again"):
            use()
    assert objects_on(disk).put("c", ()) == 0


def test_a_file_system_without_links_says_so() -> None:
    """FAT has none; a put works there, several writers don't."""
    disk = SimulatedDisk()
    objects = objects_on(disk)
    disk.link = lambda source, target: (_ for _ in ()).throw(  # type: ignore[method-assign]
        OSError(errno.EPERM, "not permitted", source, None, target)
    )
    objects.put("a", (b"x",))
    with pytest.raises(StorageError, match="no hard links"):
        objects.create("b", b"x")
    assert leftovers(disk) == []


def test_a_link_whose_reply_was_lost_has_won() -> None:
    """A network file system that tries again by itself is told that the name is taken: by itself."""

    class Retrying(SimulatedDisk):
        def link(self, source: str, target: str) -> None:
            super().link(source, target)
            super().link(source, target)

    assert objects_on(Retrying()).create("a", b"x")


def test_temporaries_of_a_living_handle_are_left_alone(tmp_path: Path) -> None:
    """Several workers write to one place; one that starts must not take the others' files."""
    place = str(tmp_path)
    one, other = DirectoryObjects(place, PosixFileSystem()), DirectoryObjects(place, PosixFileSystem())

    def pieces() -> object:
        yield b"first"
        other.put("b", (b"x",))
        yield b"second"

    one.put("a", pieces())  # type: ignore[arg-type]
    assert one.get("a") == b"firstsecond"
    assert len(os.listdir(tmp_path / TEMPORARIES)) == 2
    one.close()
    other.close()
    assert os.listdir(tmp_path / TEMPORARIES) == []


def test_temporaries_of_a_dead_handle_are_swept_and_nothing_else() -> None:
    """A process that was killed left them; no clock says so, its lock does."""
    disk = SimulatedDisk()
    objects = objects_on(disk)
    objects.put("a", (b"x",))
    disk.stop_after(4)
    with pytest.raises(PowerCut):
        objects.put("b", (b"y",))
    after = disk.crash(keep="all")
    assert len(leftovers(after)) == 1
    other = objects_on(after)
    assert [found.key for found in other.list()] == ["a"]
    other.put("c", ())
    assert leftovers(after) == []


def test_a_handle_whose_lock_is_taken_by_a_sweeper_lives_under_another_nonce() -> None:
    """Between making the lock file and locking it somebody may take it for a dead one's."""

    class Swept(SimulatedDisk):
        refused = 0

        def lock(self, path: str) -> Any:
            self.refused += 1
            return None if self.refused == 1 else super().lock(path)

    disk = Swept()
    objects = objects_on(disk)
    objects.put("a", (b"x",))
    assert len(disk.list(f"/place/objects/{TEMPORARIES}")) == 1
    objects.close()
    assert disk.list(f"/place/objects/{TEMPORARIES}") == []


def test_where_there_are_no_locks_nothing_is_swept() -> None:
    """Better litter than a living writer's file."""
    disk = SimulatedDisk()
    objects_on(disk).put("a", (b"x",))
    disk.write_bytes(f"/place/objects/{TEMPORARIES}/0123456789abcdef-7", b"x")
    disk.fail("lock", 1, errno.ENOLCK, times=None)
    objects = objects_on(disk)
    objects.put("b", (b"x",))
    assert leftovers(disk) == ["0123456789abcdef-7"]
    objects.close()


def test_names_that_are_no_keys_are_neither_listed_nor_touched() -> None:
    """A desktop leaves files everywhere."""
    disk = SimulatedDisk()
    objects = objects_on(disk)
    objects.put("a/b", (b"x",))
    disk.write_bytes("/place/objects/.DS_Store", b"x")
    disk.write_bytes("/place/objects/a/no key", b"x")
    assert [found.key for found in objects.list()] == ["a/b"]


def test_names_beside_a_directory_sort_as_keys_do() -> None:
    """Sorted names of a directory aren't sorted keys: `/` comes behind `-` and `.`."""
    objects = objects_on(SimulatedDisk())
    keys = ["b", "d-1", "d.1", "d/1", "d0", "e", "e-1", "e.x/1"]
    for key in keys:
        objects.put(key, ())
    assert [found.key for found in objects.list()] == keys == sorted(keys)
    assert [found.key for found in objects.list(after="d-1", limit=3)] == ["d.1", "d/1", "d0"]


def test_a_key_that_goes_on_from_an_objects_key_is_refused() -> None:
    """A path is a file or a directory; object storage would take both, and nothing could be copied."""
    objects = objects_on(SimulatedDisk())
    objects.put("a", (b"x",))
    with pytest.raises(UsageError, match="is an object"):
        objects.put("a/b", (b"x",))
    objects.put("d/e", (b"x",))
    with pytest.raises(StorageError):
        objects.put("d", (b"x",))


def test_a_reader_changes_nothing_and_needs_no_place() -> None:
    """Reading never writes; a job that hasn't begun has no checkpoints."""
    disk = SimulatedDisk()
    reader = DirectoryReader("/nowhere", disk)
    assert (reader.get("a"), reader.status("a"), reader.list()) == (None, None, [])
    assert disk.operation_count == 0


@pytest.mark.parametrize(("operation", "use"), [("pread", "get"), ("status", "status"), ("list", "list")])
def test_what_can_not_be_read_is_an_error_that_names_it(operation: str, use: str) -> None:
    """Unreadable is never treated as empty."""
    disk = SimulatedDisk()
    objects = objects_on(disk)
    objects.put("a", (b"x",))
    disk.fail(operation, 1, errno.EIO)
    with pytest.raises(StorageError, match="/place/objects"):
        getattr(objects, use)(*(() if use == "list" else ("a",)))


@pytest.mark.parametrize("keep", ["all", "none", 1, 2])
def test_a_cut_in_a_long_object_leaves_it_whole_or_not_there(keep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room that was made ahead is no part of it."""
    monkeypatch.setattr(streaming, "LEAST_BYTES", 1000)
    monkeypatch.setattr(streaming, "ROOM_BYTES", 2000)
    monkeypatch.setattr(streaming, "BEHIND_BYTES", 700)
    pieces = [bytes([turn]) * 600 for turn in range(9)]
    disk = SimulatedDisk()
    assert objects_on(disk).put("a", pieces) == 5400
    assert objects_on(disk).get("a") == b"".join(pieces)
    for count in range(1, disk.operation_count + 1):
        disk = SimulatedDisk()
        disk.stop_after(count)
        with suppress(PowerCut):
            objects_on(disk).put("a", pieces)
        after = disk.crash(keep=keep)
        assert objects_on(after).get("a") in (None, b"".join(pieces)), after.story()


def test_an_object_that_room_cannot_be_made_for_is_written_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """More is asked for than it takes."""
    monkeypatch.setattr(streaming, "LEAST_BYTES", 1000)
    disk = SimulatedDisk()
    disk.fail("allocate", 1, errno.ENOSPC)
    objects = objects_on(disk)
    objects.put("a", [b"x" * 900] * 5)
    assert objects.get("a") == b"x" * 4500
    assert disk.story().count("allocate") == 1


def test_ranges_are_read_to_where_they_are_wanted(tmp_path: Path) -> None:
    """On a real disk, and where only a get can."""
    for objects in (DirectoryObjects(str(tmp_path / "real"), PosixFileSystem()), objects_on(SimulatedDisk())):
        objects.put("a", (b"0123456789",))
        target = bytearray(4)
        for start, found, there in ((0, 4, b"0123"), (7, 3, b"7893"), (10, 0, b"7893"), (99, 0, b"7893")):
            assert (read_into(objects, "a", start, memoryview(target)), target) == (found, there)
        assert read_into(objects, "b", 0, memoryview(target)) is None
        with pytest.raises(UsageError):
            read_into(objects, "a", -1, memoryview(target))
    remote = SimulatedBucket().handle()
    remote.put("a", (b"0123456789",))
    assert (read_into(remote, "a", 7, memoryview(target)), target) == (3, b"7893")
    assert read_into(remote, "b", 7, memoryview(target)) is None


def test_an_object_can_be_mapped_where_files_can(tmp_path: Path) -> None:
    """It is there as long as somebody looks at it, deleted or not."""
    objects = DirectoryObjects(str(tmp_path), PosixFileSystem())
    objects.put("a", (b"0123456789",))
    objects.put("empty", ())
    view = objects.mapped("a")
    objects.delete("a")
    assert view is not None
    assert (view[3:5], objects.mapped("a"), objects.mapped("empty")) == (b"34", None, b"")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(StorageError, match="can't be read"):
        objects.mapped("link")
    with pytest.raises(StorageError, match="can't map"):
        objects_on(SimulatedDisk()).mapped("a")
