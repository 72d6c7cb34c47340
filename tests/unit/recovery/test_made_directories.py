"""The directories above a new store: what was made is there after a power cut, from the top down."""

from __future__ import annotations

from journalkit.recovery.place import make_directories
from journalkit.testing import SimulatedDisk


def test_every_directory_that_was_made_is_durable() -> None:
    """A store whose directory's name is lost is lost with it."""
    disk = SimulatedDisk()
    make_directories(disk, "/a/b/c")
    after = disk.crash("none")
    assert [after.status(path) is not None for path in ("/a", "/a/b", "/a/b/c")] == [True, True, True]


def test_a_directory_that_was_there_is_made_durable_too() -> None:
    """Whoever made it may have died before."""
    disk = SimulatedDisk()
    disk.make_directory("/a")
    make_directories(disk, "/a/b")
    assert disk.crash("none").status("/a/b") is not None


def test_a_path_without_a_folder_is_made_where_the_program_is() -> None:
    """`journalkit.open("state")` is what the first page of the documentation does."""
    disk = SimulatedDisk()
    make_directories(disk, "state/deeper")
    after = disk.crash("none")
    assert [after.status(path) is not None for path in ("state", "state/deeper")] == [True, True]
