"""What recovery removes and sets aside, step by step: nothing is lost where a step fails."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

import journalkit
from journalkit.errors import StoreFullError
from journalkit.format import names
from journalkit.manifest import read_manifest
from journalkit.recovery import apply
from journalkit.recovery.plan import Cut, Plan
from journalkit.recovery.strays import Strays
from journalkit.testing import SimulatedDisk

PLACE = "/store"
NOTHING = Plan((), 0, 0, 0, 0, 1, (), (), (), (), False)


def disk_with(*files: str) -> SimulatedDisk:
    """Return a disk with a directory of these files, each of which holds its name."""
    disk = SimulatedDisk()
    disk.make_directory(PLACE)
    for name in files:
        disk.write_bytes(f"{PLACE}/{name}", name.encode())
    return disk


def segments(disk: SimulatedDisk) -> list[str]:
    """Return the names of the segments that are there."""
    return [name for name in disk.list(PLACE) if names.segment_number(name) is not None]


def test_what_can_not_be_removed_keeps_nothing_else_from_being_swept() -> None:
    """It holds nothing, and the next open tries again."""
    disk = disk_with("a", "b")
    disk.fail("unlink", 1, errno.EACCES)
    apply.sweep(disk, PLACE, ["a", "b", "gone"])
    assert list(disk.list(PLACE)) == ["a"]


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        (False, (["MANIFEST.tmp", "table"], ["segment"])),
        (True, (["MANIFEST.tmp"], ["segment", "table"])),
    ],
)
def test_beside_damage_only_temporaries_are_swept(damaged: bool, expected: tuple[list[str], list[str]]) -> None:
    """The manifest may be an older copy then, and the file a newer one."""
    assert apply.sort_strays(Strays(sweep=["MANIFEST.tmp", "table"], aside=["segment"]), damaged=damaged) == expected


def test_a_whole_file_is_set_aside_beside_one_of_its_name() -> None:
    """The quarantine keeps what it has; what is missing by now is passed over."""
    disk = disk_with("stray", "other")
    manifest: Any = None
    with journalkit.open("/made", fs=disk) as store:
        manifest = read_manifest(disk, "/made")
        assert store.lsn == 0
    for content in (b"first", b"second", b"third"):
        disk.write_bytes(f"{PLACE}/stray", content)
        assert apply.set_aside(disk, PLACE, NOTHING, ["missing", "stray"], before=manifest, after=manifest)
    kept = {name: disk.read_bytes(f"{PLACE}/quarantine/{name}") for name in disk.list(f"{PLACE}/quarantine")}
    assert kept == {"stray": b"first", "stray-2": b"second", "stray-3": b"third"}
    assert not apply.set_aside(disk, PLACE, NOTHING, ["missing"], before=manifest, after=manifest)
    assert not apply.set_aside(disk, PLACE, NOTHING, [], before=manifest, after=manifest)
    segment = names.segment_name(7)
    disk.write_bytes(f"{PLACE}/{segment}", b"given up")
    plan = replace(NOTHING, given_up=(Cut(7, 0, 8, 1, "behind damage"),))
    assert apply.set_aside(disk, PLACE, plan, [], before=manifest, after=manifest)
    assert sorted(disk.list(PLACE)) == ["other", "quarantine"]


def test_a_file_in_the_quarantines_place_is_named() -> None:
    """Whoever reads the error has to move it."""
    disk = disk_with("quarantine")
    with pytest.raises(NotADirectoryError) as raised:
        apply.check_quarantine(disk, PLACE)
    assert raised.value.filename == f"{PLACE}/quarantine"


@pytest.mark.parametrize("what", ["nothing", "a torn tail", "a whole segment"])
def test_the_report_names_the_quarantine_if_there_is_anything_in_it(what: str) -> None:
    """A tail that was cut is there as well as a file that was moved."""
    disk = SimulatedDisk()
    with journalkit.open(PLACE, fs=disk, compaction="manual") as store:
        store["a"] = "x"
        store.forbid()
    disk = disk.crash("all")
    name = segments(disk)[0]
    if what == "a torn tail":
        disk.write_bytes(f"{PLACE}/{name}", disk.read_bytes(f"{PLACE}/{name}").rstrip(b"\0") + b"torn" + bytes(500))
    elif what == "a whole segment":
        disk.write_bytes(f"{PLACE}/{names.segment_name(9)}", b"x" * 300)
    with journalkit.open(PLACE, fs=disk, compaction="manual", recovery="point-in-time") as store:
        assert store == {"a": "x"}
        assert store.recovery_report.quarantine == ("" if what == "nothing" else f"{PLACE}/quarantine")


def test_an_open_that_finds_no_room_for_its_manifest_leaves_no_segment_behind() -> None:
    """Room is what is missing, and nothing names the new file."""
    disk = SimulatedDisk()
    with journalkit.open(PLACE, fs=disk, compaction="manual") as store:
        store["a"] = 1
    before = segments(disk)
    disk.fail("pwrite", 1, errno.ENOSPC, times=None, path_contains="MANIFEST")
    with pytest.raises(StoreFullError):
        journalkit.open(PLACE, fs=disk, compaction="manual")
    assert segments(disk) == before
    with journalkit.open(PLACE, fs=disk.crash("all"), compaction="manual") as store:
        assert store == {"a": 1}
