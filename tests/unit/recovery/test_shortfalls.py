"""What recovery once fell short of, each by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import journalkit
from journalkit.errors import CorruptionError
from journalkit.format import names
from journalkit.format.segment import HEADER_BYTES
from journalkit.fs.memory import MemoryFileSystem
from journalkit.manifest import read_manifest
from journalkit.recovery import apply
from journalkit.recovery.plan import Cut, Plan, make_plan
from journalkit.recovery.replay import discard
from journalkit.recovery.scan import scan_log
from journalkit.recovery.strays import find_strays

PLACE = "/store"


def change(fs: MemoryFileSystem, name: str, how: Callable[[bytearray], None]) -> None:
    """Change a file's bytes where they are."""
    file = fs.open_write(f"{PLACE}/{name}")
    data = bytearray(file.pread(file.size(), 0))
    how(data)
    file.pwrite(data, 0)
    file.close()


def flip(at: int) -> Callable[[bytearray], None]:
    """Return what turns a bit over."""

    def turn(data: bytearray) -> None:
        data[at] ^= 1

    return turn


def segments(fs: MemoryFileSystem) -> list[str]:
    """Return the log's files in order."""
    return [name for name in fs.list(PLACE) if names.segment_number(name) is not None]


def filled() -> MemoryFileSystem:
    """Return a file system with a closed journal of several segments."""
    fs = MemoryFileSystem()
    with journalkit.open_journal(PLACE, fs=fs, segment_bytes_max=4096) as journal:
        for number in range(12):
            journal.append([number, "x" * 700])
    return fs


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("damage", ["header", "missing"])
def test_a_damaged_header_or_a_missing_file_does_not_blame_the_intact_successor(which: int, damage: str) -> None:
    """Who is told of two damaged files looks for a second cause that isn't there."""
    fs = filled()
    name = segments(fs)[which]
    if damage == "header":
        change(fs, name, flip(20))
    else:
        fs.unlink(f"{PLACE}/{name}")
    manifest: Any = read_manifest(fs, PLACE)
    scan = scan_log(fs, PLACE, manifest, after_lsn=0, sink=discard, everything=True)
    plan = make_plan(manifest, scan, find_strays(fs, PLACE, manifest), snapshot_lsn=0)
    assert [found.file for found in plan.damage] == [name]


@pytest.mark.parametrize("mode", ["r", "rw"])
def test_a_journal_is_checked_whole_at_each_opening(mode: Any) -> None:
    """Its documentation said that older segments are only looked at; then damage in them would have gone unseen."""
    fs = filled()
    change(fs, segments(fs)[0], flip(HEADER_BYTES + 60))
    with pytest.raises(CorruptionError, match=segments(fs)[0]):
        journalkit.open_journal(PLACE, fs=fs, mode=mode)


@pytest.mark.parametrize("mode", ["r", "rw"])
def test_a_store_that_checks_all_falls_back_to_the_older_snapshot(mode: Any) -> None:
    """A large table is only checked at its ends unless all of it is asked for."""
    fs = MemoryFileSystem()
    with journalkit.open(PLACE, fs=fs, compaction="manual") as store:
        for _ in range(2):
            for number in range(50):
                store[number] = "x" * 100_000
            store.compact()
    newest = [name for name in fs.list(PLACE) if names.table_number(name) is not None][-1]
    change(fs, newest, flip(2_000_000))
    for check_all in (False, True):
        with journalkit.open(PLACE, fs=fs, mode=mode, check_all=check_all, compaction="manual") as store:
            assert store.recovery_report.fell_back is check_all


def test_the_quarantine_takes_so_many_bytes_of_all_cuts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded cut by cut, a hundred of them filled the disk."""
    monkeypatch.setattr(apply, "QUARANTINE_BYTES_MAX", 1000)
    fs = filled()
    cuts = tuple(Cut(names.segment_number(name) or 0, 100, 600, 1, "torn") for name in segments(fs))
    assert len(cuts) == 2
    apply.quarantine_cuts(fs, PLACE, Plan((), 0, 0, 0, 0, 1, cuts, (), (), (), False), 2)
    kept = [fs.status(f"{PLACE}/{names.QUARANTINE}/{name}") for name in fs.list(f"{PLACE}/{names.QUARANTINE}")]
    assert [status.size_bytes for status in kept if status is not None] == [600, 400]
