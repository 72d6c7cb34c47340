"""The simulated disk forgets what was not synced and keeps what was: what a crash may leave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.fs.interface import WritableFile
from journalkit.testing import SimulatedDisk

SECTOR = 512


def disk_with(data: bytes = b"", *, capacity_bytes: int | None = None) -> tuple[SimulatedDisk, WritableFile]:
    """Return a disk with one durable file, and that file open."""
    disk = SimulatedDisk(capacity_bytes=capacity_bytes)
    disk.write_bytes("/a", data)
    return disk, disk.open_write("/a")


def contents(disk: SimulatedDisk, *, path: str = "/a", seeds: int = 200) -> set[bytes]:
    """Return every content of a file that some crash leaves."""
    return {disk.crash(keep=seed).read_bytes(path) for seed in range(seeds)}


# -- what a cut leaves of bytes --------------------------------------------------------------------


@pytest.mark.parametrize("sync", ["sync", "sync_data"])
def test_synced_bytes_survive_every_cut_and_later_ones_may_not(sync: str) -> None:
    """This is all that an acknowledgement stands on."""
    disk, file = disk_with()
    file.pwrite(b"kept", 0)
    getattr(file, sync)()
    file.pwrite(b"LOST", 4)
    assert disk.crash(keep="none").read_bytes("/a") == b"kept"
    assert disk.crash(keep="all").read_bytes("/a") == b"keptLOST"
    assert contents(disk) == {b"kept", b"kept\0\0\0\0", b"keptLOST"}


def test_closing_makes_nothing_durable() -> None:
    """A program that only closes has promised nothing."""
    disk, file = disk_with(b"old")
    file.pwrite(b"new", 0)
    file.close()
    assert disk.crash(keep="none").read_bytes("/a") == b"old"


def test_a_later_write_may_survive_an_earlier_one() -> None:
    """The kernel writes pages in any order: a valid frame behind a hole proves nothing."""
    disk, file = disk_with()
    file.pwrite(b"1" * 4, 0)
    file.pwrite(b"2" * 4, 4)
    assert contents(disk) >= {b"1111", b"\0\0\0\x002222", b"11112222", b"\0" * 8, b""}


def test_a_write_over_sectors_tears_at_their_borders_in_any_combination() -> None:
    """Sectors count from the file's beginning, not from the write's."""
    disk, file = disk_with(b"-" * 4 * SECTOR)
    file.pwrite(b"x" * 2 * SECTOR, SECTOR // 2)
    pieces = (SECTOR // 2, SECTOR, SECTOR // 2)
    expected = set()
    for mask in range(8):
        torn = b"".join((b"x" if mask >> index & 1 else b"-") * size for index, size in enumerate(pieces))
        expected.add(b"-" * (SECTOR // 2) + torn + b"-" * (4 * SECTOR - SECTOR // 2 - len(torn)))
    assert contents(disk, seeds=500) == expected


def test_a_write_within_a_sector_never_tears() -> None:
    """The durable mark relies on it: one small slot, one write."""
    disk, file = disk_with(b"-" * SECTOR)
    file.pwrite(b"x" * SECTOR, 0)
    assert contents(disk) == {b"-" * SECTOR, b"x" * SECTOR}


def test_sizes_set_or_allocated_are_lost_too_until_synced() -> None:
    """Room that was asked for is not there after a cut unless a sync followed."""
    disk, file = disk_with(b"abcdef")
    file.truncate(2)
    file.allocate(0, 10)
    assert contents(disk) == {b"abcdef", b"ab", b"abcdef\0\0\0\0", b"ab" + bytes(8)}
    file.sync_data()
    assert disk.crash(keep="none").read_bytes("/a") == b"ab" + bytes(8)


def test_a_cut_after_a_cut_keeps_what_the_first_left() -> None:
    """Recovery starts from bytes that are durable because they are all there is."""
    disk, file = disk_with()
    file.pwrite(b"x" * 5000, 0)
    once = disk.crash(keep=7)
    assert once.crash(keep="none").read_bytes("/a") == once.read_bytes("/a")


def test_a_seed_names_one_state() -> None:
    """A failing seed has to fail again tomorrow."""
    disk, file = disk_with()
    for index in range(10):
        file.pwrite(bytes([index]) * 700, index * 700)
        disk.create(f"/{index}")
    for seed in range(10):
        first, second = disk.crash(keep=seed), disk.crash(keep=seed)
        assert (first.list("/"), first.read_bytes("/a") if first.status("/a") else b"") == (
            second.list("/"), second.read_bytes("/a") if second.status("/a") else b"",
        )  # fmt: skip


def test_a_chooser_decides_every_single_fate() -> None:
    """Explorers walk through the states in their own order; 0 loses and 1 keeps."""
    disk, file = disk_with()
    file.pwrite(b"1", 0)
    file.pwrite(b"2", 1)
    answers: Iterator[int] = iter([0, 0, 1])
    assert disk.crash(keep=lambda _options: next(answers)).read_bytes("/a") == b"\x002"
    with pytest.raises(ValueError):
        disk.crash(keep="some")  # type: ignore[arg-type]


@given(
    steps=st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=1200), st.booleans()), max_size=12),
    seed=st.integers(0, 2**32),
)
def test_every_sector_is_one_that_a_write_since_the_last_sync_left(
    steps: list[tuple[int, bytes, bool]], seed: int
) -> None:
    """No crash invents a byte: each is durable, or one of the writes since put it there, or a zero of a gap."""
    disk, file = disk_with()
    legal: dict[int, set[int]] = {}
    for offset, data, is_synced in steps:
        file.pwrite(data, offset)
        for index, byte in enumerate(data, offset):
            legal.setdefault(index, {0}).add(byte)
        if is_synced:
            file.sync_data()
            legal = {index: {byte} for index, byte in enumerate(disk.read_bytes("/a"))}
    after = disk.crash(keep=seed).read_bytes("/a")
    assert all(byte in legal.get(index, {0}) for index, byte in enumerate(after))
    assert disk.crash(keep="all").read_bytes("/a") == disk.read_bytes("/a")


# -- what a cut leaves of names --------------------------------------------------------------------


def test_a_synced_file_has_no_name_until_its_directory_is_synced() -> None:
    """Real file systems hide this mistake; this one shows it."""
    disk = SimulatedDisk()
    file = disk.create("/a")
    file.pwrite(b"data", 0)
    file.sync()
    assert disk.crash(keep="none").list("/") == []
    disk.sync_directory("/")
    assert disk.crash(keep="none").read_bytes("/a") == b"data"


def test_a_name_may_survive_without_the_bytes() -> None:
    """An empty file after a crash is the other half of the same mistake."""
    disk = SimulatedDisk()
    disk.create("/a").pwrite(b"data", 0)
    disk.sync_directory("/")
    assert disk.crash(keep="none").read_bytes("/a") == b""
    assert contents(disk) == {b"", bytes(4), b"data"}


def test_a_rename_happened_or_did_not() -> None:
    """Never both names, never none, whichever other changes were lost."""
    disk = SimulatedDisk()
    disk.write_bytes("/M", b"old")
    disk.create("/t").close()
    disk.write_bytes("/t", b"new")
    disk.rename("/t", "/M")
    states = {tuple((name, after.read_bytes(f"/{name}")) for name in after.list("/"))
              for after in map(disk.crash, range(50))}  # fmt: skip
    assert states == {(("M", b"old"), ("t", b"new")), (("M", b"new"),)}


def test_changes_of_names_are_lost_independently_of_each_other() -> None:
    """A new file may be there while the one made before it is not, and a removed one come back."""
    disk = SimulatedDisk()
    disk.write_bytes("/old", b"")
    disk.create("/first")
    disk.create("/second")
    disk.unlink("/old")
    lists = {tuple(disk.crash(keep=seed).list("/")) for seed in range(200)}
    assert len(lists) == 8
    disk.sync_directory("/")
    assert {tuple(disk.crash(keep=seed).list("/")) for seed in range(20)} == {("first", "second")}


def test_a_chain_of_renames_never_doubles_a_file() -> None:
    """A file has one name, even if only the last of its renames survives."""
    disk = SimulatedDisk()
    disk.write_bytes("/a", b"x")
    disk.rename("/a", "/b")
    disk.rename("/b", "/c")
    assert {tuple(disk.crash(keep=seed).list("/")) for seed in range(50)} == {("a",), ("b",), ("c",)}


def test_a_lost_directory_takes_all_that_was_synced_in_it() -> None:
    """The store's own directory needs a sync of its parent."""
    disk = SimulatedDisk()
    disk.make_directory("/store")
    file = disk.create("/store/a")
    file.sync()
    disk.sync_directory("/store")
    assert disk.crash(keep="none").list("/") == []
    disk.sync_directory("/")
    assert disk.crash(keep="none").list("/store") == ["a"]


def test_a_removed_directory_comes_back_until_its_parent_is_synced() -> None:
    """With what was durable in it then."""
    disk = SimulatedDisk()
    disk.make_directory("/store")
    disk.write_bytes("/store/a", b"x")
    disk.sync_directory("/")
    disk.unlink("/store/a")
    disk.remove_directory("/store")
    assert disk.crash(keep="none").read_bytes("/store/a") == b"x"
    disk.sync_directory("/")
    assert disk.crash(keep="none").list("/") == []


@pytest.mark.parametrize("synced", ["/", "/aside"])
def test_a_rename_between_directories_is_one_change_for_both(synced: str) -> None:
    """What is set aside is found in one of the two places, never in both and never in none."""
    disk = SimulatedDisk()
    disk.make_directory("/aside")
    disk.write_bytes("/a", b"x")
    disk.sync_directory("/")
    disk.create("/aside/a").close()
    disk.rename("/a", "/b")
    disk.unlink("/aside/a")
    disk.rename("/b", "/aside/a")

    def places(after: SimulatedDisk) -> list[str]:
        paths = [f"/{name}" for name in after.list("/") if name != "aside"]
        paths += [f"/aside/{name}" for name in after.list("/aside")]
        return [path for path in paths if after.read_bytes(path) == b"x"]

    for origin in (disk, disk.process_crash()):
        found = [places(origin.crash(keep=seed)) for seed in range(100)]
        assert {len(paths) for paths in found} == {1}
        assert {path for paths in found for path in paths} == {"/a", "/b", "/aside/a"}
    disk.sync_directory(synced)
    assert {path for seed in range(50) for path in places(disk.crash(keep=seed))} == {"/aside/a"}


def test_a_chain_of_renames_through_directories_never_doubles_a_file() -> None:
    """Even if only the last of them survives."""
    disk = SimulatedDisk()
    for directory in ("/1", "/2"):
        disk.make_directory(directory)
    disk.write_bytes("/a", b"x")
    disk.rename("/a", "/1/a")
    disk.rename("/1/a", "/2/a")
    for seed in range(50):
        after = disk.crash(keep=seed)
        assert sum(after.status(path) is not None for path in ("/a", "/1/a", "/2/a")) == 1


# -- a process that dies on a machine that lives ---------------------------------------------------


def test_a_killed_process_loses_its_locks_and_no_byte() -> None:
    """The page cache is the kernel's: un-synced bytes are there for the next process, and still not durable."""
    disk, file = disk_with(b"durable")
    file.pwrite(b"cached!", 0)
    disk.make_directory("/d")
    disk.create("/d/new")
    disk.unlink("/a")
    assert disk.lock("/LOCK") is not None
    after = disk.process_crash()
    assert after.list("/") == ["LOCK", "d"]
    assert after.lock("/LOCK") is not None
    assert disk.lock("/LOCK") is None
    assert after.crash(keep="none").list("/") == ["a"]
    assert after.crash(keep="none").read_bytes("/a") == b"durable"
    assert after.crash(keep="all").list("/d") == ["new"]
    after.sync_directory("/")
    assert after.crash(keep="none").list("/") == ["LOCK", "d"]


def test_what_the_next_process_does_leaves_the_first_disk_alone() -> None:
    """One point in time can be left in many ways."""
    disk, file = disk_with(b"one")
    file.pwrite(b"two", 0)
    after = disk.process_crash()
    again = after.open_write("/a")
    again.pwrite(b"six", 0)
    again.sync()
    assert (disk.read_bytes("/a"), disk.crash(keep="none").read_bytes("/a")) == (b"two", b"one")
    assert after.crash(keep="none").read_bytes("/a") == b"six"
