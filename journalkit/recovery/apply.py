"""Apply: the only code that gives up bytes on open, and it keeps a copy first.

A segment is never changed by recovery: the manifest and the successor name its
end. What is cut is copied into `quarantine/`, durably, before the manifest
that gives it up. Every step can be repeated after a crash.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from journalkit.format import names
from journalkit.format.manifest import SegmentEntry, SnapshotEntry
from journalkit.fs.atomic import move_file, replace_file
from journalkit.fs.interface import FileSystem
from journalkit.recovery.plan import Cut, Plan
from journalkit.recovery.strays import Strays

QUARANTINE_BYTES_MAX: Final = 64 * 1024 * 1024


def quarantine_cuts(fs: FileSystem, directory: str, plan: Plan, epoch: int) -> str:
    """Copy what the plan cuts into the quarantine, durably; return its path, "" if nothing is cut.

    Of a very large cut the first `QUARANTINE_BYTES_MAX` bytes are kept.

    Raises:
        OSError: Nothing was given up.
    """
    if not plan.cuts:
        return ""
    quarantine = _make_quarantine(fs, directory)
    for cut in plan.cuts:
        name = names.quarantine_name(cut.segment, cut.offset_bytes, epoch)
        replace_file(fs, quarantine, name, _read_cut(fs, directory, cut))
    return quarantine


def _make_quarantine(fs: FileSystem, directory: str) -> str:
    quarantine = os.path.join(directory, names.QUARANTINE)
    with contextlib.suppress(FileExistsError):
        fs.make_directory(quarantine)
        fs.sync_directory(directory)
    return quarantine


def _read_cut(fs: FileSystem, directory: str, cut: Cut) -> bytes:
    file = fs.open_read(os.path.join(directory, names.segment_name(cut.segment)))
    try:
        return file.pread(min(cut.count_bytes, QUARANTINE_BYTES_MAX), cut.offset_bytes)
    finally:
        file.close()


def sweep(fs: FileSystem, directory: str, found: tuple[str, ...]) -> None:
    """Unlink files that hold nothing; one that can't be removed stays for the next open."""
    for name in found:
        with contextlib.suppress(OSError):
            fs.unlink(os.path.join(directory, name))


def set_aside(fs: FileSystem, directory: str, found: list[str]) -> None:
    """Move files that the manifest no longer names, and that hold something, into the quarantine.

    One that can't be moved stays where it is and is found again at the next open.
    """
    if not found:
        return
    with contextlib.suppress(OSError):
        quarantine = _make_quarantine(fs, directory)
        for name in found:
            move_file(fs, os.path.join(directory, name), os.path.join(quarantine, name))


def given_up(plan: Plan, strays: Strays, blank: set[int], damaged: tuple[SnapshotEntry, ...]) -> tuple[list[str], list[str]]:
    """Return which files go for good and which are set aside, once a manifest without them is durable."""

    def name(entry: SegmentEntry) -> str:
        return names.segment_name(entry.number)

    gone = [*strays.sweep, *(name(entry) for entry in plan.dropped if entry.number in blank)]
    aside = [*strays.aside, *(name(entry) for entry in plan.dropped if entry.number not in blank)]
    aside += [names.table_name(info.number) for entry in damaged for info in entry.tables]
    return gone, aside
