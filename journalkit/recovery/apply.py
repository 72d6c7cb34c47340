"""Apply: the only code that gives up bytes on open, and it keeps a copy first.

A segment is never changed by recovery: the manifest and the successor name its
end. What is cut from one is copied into `quarantine/`, durably, before the
manifest that gives it up; a whole file that the manifest no longer names is
moved there after it. Every step can be repeated after a crash.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from typing import Final

from journalkit.format import names
from journalkit.format.manifest import Manifest
from journalkit.fs.atomic import move_file, replace_file
from journalkit.fs.interface import FileSystem, ReadableFileSystem
from journalkit.recovery.plan import Cut, Plan
from journalkit.recovery.strays import Strays

QUARANTINE_BYTES_MAX: Final = 64 * 1024 * 1024


def quarantine_cuts(fs: FileSystem, directory: str, plan: Plan, epoch: int) -> bool:
    """Copy what the plan cuts into the quarantine, durably; return whether there was any.

    Of very large cuts the first `QUARANTINE_BYTES_MAX` bytes are kept, all of them together.

    Raises:
        OSError: Nothing was given up.
    """
    if not plan.cuts:
        return False
    quarantine = _make_quarantine(fs, directory)
    room_bytes = QUARANTINE_BYTES_MAX
    for cut in plan.cuts:
        kept = _read_cut(fs, directory, cut, room_bytes)
        replace_file(fs, quarantine, names.quarantine_name(cut.segment, cut.offset_bytes, epoch), kept)
        room_bytes -= len(kept)
    return True


def check_quarantine(fs: ReadableFileSystem, directory: str) -> None:
    """Raise OSError if something else than a directory has the quarantine's name: what is given up has no place then.

    Before anything is changed: a move that fails afterwards leaves what the next open refuses.
    """
    quarantine = os.path.join(directory, names.QUARANTINE)
    status = fs.status(quarantine)
    if status is not None and not status.is_directory:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), quarantine)


def _make_quarantine(fs: FileSystem, directory: str) -> str:
    quarantine = os.path.join(directory, names.QUARANTINE)
    with contextlib.suppress(FileExistsError):
        fs.make_directory(quarantine)
    # Also when it was there: the process that made it may have died before this.
    fs.sync_directory(directory)
    return quarantine


def _read_cut(fs: FileSystem, directory: str, cut: Cut, count_bytes_max: int) -> bytes:
    file = fs.open_read(os.path.join(directory, names.segment_name(cut.segment)))
    try:
        return file.pread(min(cut.count_bytes, count_bytes_max), cut.offset_bytes)
    finally:
        file.close()


def sweep(fs: FileSystem, directory: str, found: Iterable[str]) -> None:
    """Unlink files that hold nothing; one that can't be removed stays for the next open."""
    for name in found:
        with contextlib.suppress(OSError):
            fs.unlink(os.path.join(directory, name))


def sort_strays(strays: Strays, *, damaged: bool) -> tuple[list[str], list[str]]:
    """Return which strays are swept and which set aside.

    Where something is damaged, the manifest may be an older copy: then a table
    that it doesn't name may be a newer one, and no whole file is swept.
    """
    if not damaged:
        return strays.sweep, strays.aside
    swept = [name for name in strays.sweep if names.is_temporary(name)]
    return swept, [*strays.aside, *(name for name in strays.sweep if name not in swept)]


def set_aside(
    fs: FileSystem, directory: str, plan: Plan, strays: Iterable[str], *, before: Manifest, after: Manifest
) -> bool:
    """Move strays, and what the durable manifest `after` gave up, into the quarantine; return whether any was moved.

    One that can't be moved stays and is found again at the next open.
    """
    kept = _table_names(after)
    given_up = [*strays, *(names.segment_name(cut.segment) for cut in plan.given_up)]
    given_up += [name for name in _table_names(before) if name not in kept]
    if not given_up:
        return False
    moved = False
    with contextlib.suppress(OSError):
        quarantine = _make_quarantine(fs, directory)
        for name in given_up:
            with contextlib.suppress(FileNotFoundError):
                move_file(fs, os.path.join(directory, name), _free_place(fs, quarantine, name))
                moved = True
    return moved


def _free_place(fs: FileSystem, quarantine: str, name: str) -> str:
    """Return a path in the quarantine under which nothing is: what is there stays."""
    place, count = os.path.join(quarantine, name), 1
    while fs.status(place) is not None:
        count += 1
        place = os.path.join(quarantine, f"{name}-{count}")
    return place


def _table_names(manifest: Manifest) -> list[str]:
    return sorted({names.table_name(info.number) for entry in manifest.snapshots for info in entry.tables})
