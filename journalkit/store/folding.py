"""One fold's table: what is new, and the tables it takes in, as one file that was read back from the device.

The table is a delta on the tables that stay below it, or, where none stays,
the new base. Deletions are forgotten in a base alone: in a delta they still
hide what the tables below say.

Memory is bounded by a block of each table that is merged. What is taken in
goes past the block cache, which belongs to the readers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from journalkit.format.block import Entry
from journalkit.format.names import table_name
from journalkit.format.table import WHOLE, TableInfo, delta_on
from journalkit.fs.full import is_full, store_full
from journalkit.fs.interface import FileSystem
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.merge import fold, merge_entries
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter
from journalkit.store.layers import Frozen
from journalkit.store.memtable import MemTable

_ENTRY_BYTES = 16
"""What an entry takes in a table beside key and value, its part of the index included, and some more."""


@dataclass(frozen=True, slots=True)
class Folding:
    """What the tables of one store are written with.

    `pace` is called between the parts of the work, `step` often: both may sleep, or raise to give up.
    """

    fs: FileSystem
    directory: str
    store_uuid: bytes
    cache: BlockCache
    pace: Callable[[], None]
    step: Callable[[], None]

    def write(self, folded: Frozen, merged_count: int, *, number: int, salt: int) -> Table:
        """Write the memtables and the newest `merged_count` tables of `folded` as table `number`; return it, opened.

        Durability:
            The table survives a power cut once this returns, and was read back.

        Raises:
            StoreFullError: No room; nothing is left of the table, as after any error.
            CorruptionError: A block underneath is damaged, or the new table doesn't read back.
            OSError: As it comes.
        """
        try:
            info = self._merge(folded, merged_count, number=number, salt=salt)
            table = Table.open(self.fs, self.directory, info, self.store_uuid, self.cache)
            self.pace()
            table.verify(from_device=True)
        except BaseException as error:
            # No manifest names it.
            with contextlib.suppress(OSError):
                self.fs.unlink(os.path.join(self.directory, table_name(number)))
            if isinstance(error, OSError) and is_full(error):
                needed_bytes = merged_bytes(folded, merged_count)
                raise store_full(self.fs, self.directory, needed_bytes, error) from error
            raise
        return table

    def _merge(self, folded: Frozen, merged_count: int, *, number: int, salt: int) -> TableInfo:
        merged, below = folded.tables[:merged_count], folded.tables[merged_count:]
        overlay = [memtable.scan(None, None) for memtable in folded.memtables]
        overlay += [_entries(table) for table in merged[:-1]]
        with TableWriter(
            self.fs,
            self.directory,
            number,
            store_uuid=self.store_uuid,
            lsn=folded.lsn,
            salt=salt,
            below=delta_on(below[0].footer.lsn) if below else WHOLE,
        ) as writer:
            oldest = merged[-1] if merged else None
            fold(writer, merge_entries(overlay), oldest, drop_tombstones=not below, step=self.step)
            self.pace()
            return writer.finish()


def _entries(table: Table) -> Iterator[Entry]:
    for block in table.blocks():
        yield from block.entries().items()


def merged_bytes(folded: Frozen, merged_count: int) -> int:
    """Return about how large the table that comes of a fold will be."""
    return delta_bytes(folded.memtables) + sum(table.info.size_bytes for table in folded.tables[:merged_count])


def delta_bytes(memtables: tuple[MemTable, ...]) -> int:
    """Return at most how large a delta of these memtables will be, unless their keys are very long."""
    return sum(memtable.payload_bytes + _ENTRY_BYTES * len(memtable.entries) for memtable in memtables)
