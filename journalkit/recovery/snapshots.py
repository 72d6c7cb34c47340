"""Which snapshot recovery starts from: the newest that is sound, and has its log.

A small snapshot is checked in full at once; of the tables of a large one the
ends are checked, and each block when it is read, or opening would take longer
with a state that has changes on its base. A deep choice checks everything.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from journalkit.errors import CorruptionError
from journalkit.format.manifest import Manifest, SnapshotEntry
from journalkit.format.names import table_name
from journalkit.format.table import WHOLE, TableInfo, delta_on
from journalkit.fs.interface import ReadableFileSystem
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table

SMALL_BYTES: Final = 4 * 1024 * 1024
MISPLACED: Final = "the table doesn't belong where the manifest names it"


@dataclass(frozen=True, slots=True)
class SnapshotChoice:
    """The snapshot to start from (None: an empty state at LSN 0) and those that were found damaged."""

    entry: SnapshotEntry | None
    tables: tuple[Table, ...]
    damaged: tuple[SnapshotEntry, ...]

    @property
    def lsn(self) -> int:
        """LSN of the state to start from."""
        return self.entry.lsn if self.entry is not None else 0


def choose_snapshot(
    fs: ReadableFileSystem, directory: str, manifest: Manifest, cache: BlockCache, *, deep: bool = False
) -> SnapshotChoice:
    """Open the newest sound snapshot of the manifest.

    Raises:
        CorruptionError: None is sound, and the log doesn't reach back to the beginning.
        UnsupportedFormatError: A table is of a later version.
        OSError: The files can't be read.

    Complexity:
        Independent of the state's size, unless `deep`.
    """
    damaged: list[SnapshotEntry] = []
    errors: list[CorruptionError] = []
    for entry in manifest.snapshots:
        try:
            tables = _open_tables(fs, directory, manifest, entry, cache, deep=deep)
        except CorruptionError as error:
            damaged.append(entry)
            errors.append(error)
        else:
            return SnapshotChoice(entry, tables, tuple(damaged))
    # A journal has no snapshots: what was pruned there was given up on request.
    if errors and manifest.pruned_lsn and manifest.kind == "store":
        raise errors[0]
    return SnapshotChoice(None, (), tuple(damaged))


def _open_tables(
    fs: ReadableFileSystem,
    directory: str,
    manifest: Manifest,
    entry: SnapshotEntry,
    cache: BlockCache,
    *,
    deep: bool,
) -> tuple[Table, ...]:
    tables: list[Table] = []
    try:
        for info in entry.tables:
            try:
                table = Table.open(fs, directory, info, manifest.store, cache)
                tables.append(table)
                if deep or is_small(entry):
                    table.verify(from_device=deep)
            except OSError as error:
                # What the medium can't give back is damaged; anything else may be different the next time.
                if error.errno not in (errno.ENOENT, errno.EIO):
                    raise
                raise _damaged_table(directory, info, error) from error
        place = misplaced(entry.lsn, [(table.footer.lsn, table.footer.below) for table in tables])
        if place is not None:
            raise CorruptionError(MISPLACED, path=tables[place].path)
    except BaseException:
        for table in tables:
            table.close()
        raise
    return tuple(tables)


def is_small(snapshot: SnapshotEntry) -> bool:
    """Whether a snapshot is checked in full when a store is opened."""
    return sum(info.size_bytes for info in snapshot.tables) <= SMALL_BYTES


def misplaced(snapshot_lsn: int, tables: Sequence[tuple[int, int]]) -> int | None:
    """Return the place of the oldest table that doesn't belong where it is, None if all do.

    Each table is the changes to the one behind it, the last one all of the
    state, the first one as new as the snapshot.

    Args:
        snapshot_lsn: LSN of the snapshot.
        tables: LSN and `below` of each, newest first.
    """
    below_lsn, below = -1, WHOLE
    for place, (lsn, says) in reversed([*enumerate(tables)]):
        if says != below or lsn <= below_lsn or (lsn == snapshot_lsn) != (place == 0):
            return place
        below_lsn, below = lsn, delta_on(lsn)
    return None


def _damaged_table(directory: str, info: TableInfo, error: OSError) -> CorruptionError:
    reason = f"the table can't be read ({error.strerror})" if error.errno == errno.EIO else "the table is missing"
    return CorruptionError(reason, path=os.path.join(directory, table_name(info.number)))
