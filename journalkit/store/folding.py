"""One fold's table: what is new, and the tables it takes in, as one file that was read back from the device.

The table is a delta on the tables that stay below it, or, where none stays,
the new base. Deletions are forgotten in a base alone: in a delta they still
hide what the tables below say.

Memory is bounded by a block of each table that is merged. What is taken in
goes past the block cache, which belongs to the readers.

Another process may do the merge, under the table's temporary name. What makes
a table of it is done here in either case: the bytes made durable, the final
name, every block read back from the device.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from journalkit.clock import Clock
from journalkit.format.block import Entry
from journalkit.format.names import table_name, temporary_name
from journalkit.format.table import WHOLE, TableInfo, delta_on
from journalkit.fs.atomic import publish_file
from journalkit.fs.full import is_full, store_full
from journalkit.fs.interface import FileSystem
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.merge import fold, merge_entries
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter
from journalkit.store.fold_words import Job
from journalkit.store.layers import Frozen
from journalkit.store.memtable import MemTable
from journalkit.store.outside import Outside
from journalkit.store.rate import RateLimit

_ENTRY_BYTES = 16
"""What an entry takes in a table beside key and value, its part of the index included, and some more."""


def _go_on() -> None:
    """Neither sleep nor give up."""


@dataclass(frozen=True, slots=True)
class Folding:
    """What the tables of one store are written with.

    `pace` is called between the parts of the work, `step` often: both may sleep, or raise to give up. `is_urgent` says
    that `bytes_per_s`, the rate, isn't to be kept. `outside` merges in another process; None: this one does.
    """

    fs: FileSystem
    directory: str
    store_uuid: bytes
    cache: BlockCache
    clock: Clock
    pace: Callable[[], None]
    step: Callable[[], None]
    is_urgent: Callable[[], bool]
    bytes_per_s: float | None = None
    compress: bool = False
    outside: Outside | None = None

    def write(self, folded: Frozen, merged_count: int, *, number: int, salt: int) -> Table:
        """Write the memtables and the newest `merged_count` tables of `folded` as table `number`; return it, opened.

        Durability:
            The table survives a power cut once this returns, and was read back.

        Raises:
            StoreFullError: No room; nothing is left of the table, as after any error.
            CorruptionError: A block underneath is damaged, or the new table doesn't read back.
            ChildProcessError: The process that merges failed.
            OSError: As it comes.
        """
        try:
            info = self._merge_outside(folded, merged_count, number=number, salt=salt)
            is_decoded = info is not None  # by the child; what is left is to see what the device has
            if info is None:
                info = self._merge(folded, merged_count, number=number, salt=salt)
            table = Table.open(self.fs, self.directory, info, self.store_uuid, self.cache)
            self.pace()
            table.verify(from_device=True, thorough=not is_decoded, step=self.step)
        except BaseException as error:
            # No manifest names it.
            names = [table_name(number)]
            if self.outside is not None:
                names.append(temporary_name(table_name(number)))
            for name in names:
                with contextlib.suppress(OSError):
                    self.fs.unlink(os.path.join(self.directory, name))
            if isinstance(error, OSError) and is_full(error):
                needed_bytes = merged_bytes(folded, merged_count)
                raise store_full(self.fs, self.directory, needed_bytes, error) from error
            raise
        return table

    def _merge(self, folded: Frozen, merged_count: int, *, number: int, salt: int) -> TableInfo:
        rate = self.bytes_per_s
        return merge(
            self.fs,
            self.directory,
            self.store_uuid,
            folded,
            merged_count,
            number=number,
            salt=salt,
            compress=self.compress,
            limit=RateLimit(self.clock, rate, self.is_urgent) if rate is not None else None,
            pace=self.pace,
            step=self.step,
        )

    def _merge_outside(self, folded: Frozen, merged_count: int, *, number: int, salt: int) -> TableInfo | None:
        """Have a child write the table, and publish it; None where there is no child to be had."""
        if self.outside is None:
            return None
        # The first of those that stay says what the new table lies on.
        tables = tuple(table.info for table in folded.tables[: merged_count + 1])
        job = Job(
            self.directory,
            self.store_uuid,
            folded.lsn,
            number,
            salt,
            tables,
            merged_count,
            self.bytes_per_s,
            self.compress,
        )
        info = self.outside.merge(job, folded.memtables, pace=self.pace, step=self.step, is_urgent=self.is_urgent)
        if info is None:
            return None
        name = table_name(number)
        # The child's word that it synced isn't ours to pass on.
        file = self.fs.open_write(os.path.join(self.directory, temporary_name(name)))
        try:
            file.sync()
        finally:
            file.close()
        publish_file(self.fs, self.directory, temporary_name(name), name)
        return info


def merge(
    fs: FileSystem,
    directory: str,
    store_uuid: bytes,
    folded: Frozen,
    merged_count: int,
    *,
    number: int,
    salt: int,
    compress: bool,
    limit: RateLimit | None,
    pace: Callable[[], None] = _go_on,
    step: Callable[[], None] = _go_on,
    named: bool = True,
) -> TableInfo:
    """Write the table of a fold, durable; under its temporary name unless `named`. Nothing is left after an error."""
    merged, below = folded.tables[:merged_count], folded.tables[merged_count:]
    overlay = [memtable.scan(None, None) for memtable in folded.memtables]
    overlay += [_entries(table) for table in merged[:-1]]
    with TableWriter(
        fs,
        directory,
        number,
        store_uuid=store_uuid,
        lsn=folded.lsn,
        salt=salt,
        below=delta_on(below[0].footer.lsn) if below else WHOLE,
        compress=compress,
    ) as writer:

        def limited() -> None:
            step()
            if limit is not None:
                limit.spend(writer.size_bytes, pace)

        oldest = merged[-1] if merged else None
        fold(writer, merge_entries(overlay), oldest, drop_tombstones=not below, step=limited)
        pace()
        return writer.finish(named=named)


def _entries(table: Table) -> Iterator[Entry]:
    for block in table.blocks():
        yield from block.entries().items()


def merged_bytes(folded: Frozen, merged_count: int) -> int:
    """Return about how large the table that comes of a fold will be."""
    return delta_bytes(folded.memtables) + sum(table.info.size_bytes for table in folded.tables[:merged_count])


def delta_bytes(memtables: tuple[MemTable, ...]) -> int:
    """Return at most how large a delta of these memtables will be, unless their keys are very long."""
    return sum(memtable.payload_bytes + _ENTRY_BYTES * len(memtable.entries) for memtable in memtables)
