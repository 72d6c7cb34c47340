"""What takes the room: every file of a store's directory, by what it is for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from journalkit.format import names
from journalkit.format.manifest import Manifest
from journalkit.fs.interface import ReadableFileSystem
from journalkit.recovery.strays import find_strays

LOG_NEEDED: Final = "log, needed"
LOG_KEPT: Final = "log, kept for older snapshots"
LOG_PREPARED: Final = "log, prepared ahead"
TABLES_NEWEST: Final = "newest snapshot"
TABLES_OLDER: Final = "older snapshots"
RESERVE: Final = "reserve for a full disk"
BOOKS: Final = "manifest, lock, durable mark"
QUARANTINE: Final = "quarantine"
LEFT_OVER: Final = "left over, swept at the next open"
UNKNOWN: Final = "not journalkit's"

ORDER: Final = (
    LOG_NEEDED,
    LOG_KEPT,
    LOG_PREPARED,
    TABLES_NEWEST,
    TABLES_OLDER,
    BOOKS,
    RESERVE,
    QUARANTINE,
    LEFT_OVER,
    UNKNOWN,
)


@dataclass(slots=True)
class Use:
    """Files of one kind: how many, how long they are, and what the file system gave them."""

    files: int = 0
    size_bytes: int = 0
    allocated_bytes: int = 0

    def add(self, path: str) -> None:
        """Count one file; one that is gone meanwhile counts nothing."""
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return
        self.files += 1
        self.size_bytes += status.st_size
        self.allocated_bytes += status.st_blocks * 512


@dataclass(slots=True)
class Usage:
    """The whole directory."""

    kinds: dict[str, Use] = field(default_factory=dict)

    def of(self, *kinds: str) -> Use:
        """Return the sum of some kinds, of all if none is named."""
        total = Use()
        for kind in kinds or ORDER:
            use = self.kinds.get(kind, Use())
            total.files += use.files
            total.size_bytes += use.size_bytes
            total.allocated_bytes += use.allocated_bytes
        return total


def measure(fs: ReadableFileSystem, directory: str, manifest: Manifest) -> Usage:
    """Sort every file below a store's directory and add up. Reads names, sizes and strays' headers.

    Raises:
        OSError: The directory can't be read.
    """
    usage = Usage()
    kinds = _kinds(manifest)
    strays = find_strays(fs, directory, manifest)
    kinds |= dict.fromkeys([*strays.sweep, *strays.aside], LEFT_OVER)
    for name in fs.list(directory):
        path = os.path.join(directory, name)
        kind = kinds.get(name, UNKNOWN)
        use = usage.kinds.setdefault(kind, Use())
        if os.path.isdir(path) and not os.path.islink(path):
            for folder, _, files in os.walk(path):
                for file in files:
                    use.add(os.path.join(folder, file))
        else:
            use.add(path)
    return usage


def _kinds(manifest: Manifest) -> dict[str, str]:
    kinds = dict.fromkeys((names.MANIFEST, names.LOCK, names.DURABLE), BOOKS)
    kinds |= {names.RESERVE: RESERVE, names.QUARANTINE: QUARANTINE}
    newest_lsn = manifest.snapshots[0].lsn if manifest.snapshots else 0
    for entry in manifest.segments:
        if not entry.first_lsn:
            kind = LOG_PREPARED
        elif entry.end is not None and entry.end.last_lsn <= newest_lsn:
            kind = LOG_KEPT
        else:
            kind = LOG_NEEDED
        kinds[names.segment_name(entry.number)] = kind
    for index, snapshot in reversed(list(enumerate(manifest.snapshots))):
        for info in snapshot.tables:
            kinds[names.table_name(info.number)] = TABLES_OLDER if index else TABLES_NEWEST
    return kinds
