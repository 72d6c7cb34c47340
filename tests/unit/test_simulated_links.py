"""A simulated disk's second names: each is kept or lost by itself, and stands for the same file."""

from __future__ import annotations

from journalkit.testing import SimulatedDisk

SEEDS = range(120)


def linked() -> SimulatedDisk:
    """Return a disk with a synced file that has a durable name, /t/a, and a second one that isn't durable, /k/b."""
    disk = SimulatedDisk()
    for directory in ("/t", "/k"):
        disk.make_directory(directory)
    disk.sync_directory("/")
    disk.write_bytes("/t/a", b"bytes")
    disk.link("/t/a", "/k/b")
    return disk


def names(disk: SimulatedDisk) -> tuple[str, ...]:
    """Return the paths of all files."""
    return tuple(f"{top}/{name}" for top in ("/t", "/k") for name in disk.list(top))


def test_a_second_name_is_durable_once_its_directory_is_synced() -> None:
    """An acknowledged create stands on it; the first name's directory has no part in it."""
    disk = linked()
    disk.sync_directory("/t")
    assert {names(disk.crash(keep=seed)) for seed in SEEDS} == {("/t/a",), ("/t/a", "/k/b")}
    disk.sync_directory("/k")
    after = disk.crash(keep="none")
    assert after.read_bytes("/k/b") == b"bytes"


def test_each_name_goes_by_itself() -> None:
    """The temporary's end and the final name's beginning are two changes, in any order on the medium."""
    disk = linked()
    disk.unlink("/t/a")
    left = {names(disk.crash(keep=seed)) for seed in SEEDS}
    assert left == {(), ("/t/a",), ("/k/b",), ("/t/a", "/k/b")}


def test_two_names_that_survive_stand_for_one_file() -> None:
    """What is written by one is read by the other, and room is taken once, after a crash as before."""
    disk = linked()
    disk.capacity_bytes = 8
    for after in (disk.crash(keep="all"), disk.process_crash()):
        assert after.status("/t/a") == after.status("/k/b")
        assert after.free_bytes("/") == 3
        after.unlink("/t/a")
        assert after.free_bytes("/") == 3
        after.unlink("/k/b")
        assert after.free_bytes("/") == 8


def test_a_rename_takes_only_the_renamed_name() -> None:
    """Nor does one between two names of a file do anything at all."""
    disk = linked()
    disk.sync_directory("/k")
    disk.rename("/t/a", "/k/b")
    assert disk.history()[-1].endswith("rename /t/a /k/b")
    assert names(disk.crash(keep="none")) == names(disk.crash(keep="all")) == ("/t/a", "/k/b")
    disk.rename("/t/a", "/t/c")
    assert {names(disk.crash(keep=seed)) for seed in SEEDS} == {("/t/a", "/k/b"), ("/t/c", "/k/b")}
    again = disk.process_crash()
    again.sync_directory("/t")
    assert names(again.crash(keep="none")) == ("/t/c", "/k/b")


def test_a_sync_of_one_directory_leaves_another_name_pending_in_the_other() -> None:
    """A rename between directories is settled in both; what else happened to the file's names there is not."""
    disk = SimulatedDisk()
    for directory in ("/t", "/k"):
        disk.make_directory(directory)
    disk.sync_directory("/")
    disk.write_bytes("/t/a", b"bytes")
    disk.link("/t/a", "/t/z")
    disk.rename("/t/a", "/k/b")
    disk.sync_directory("/k")
    assert {names(disk.crash(keep=seed)) for seed in SEEDS} == {("/k/b",), ("/t/z", "/k/b")}
