"""Stores in a state: the tables that one has at a moment, as they are, and one more of what isn't in them yet.

Tables never change, so what was saved of one is what the next save has of it
too; what a store has in memory is small, and is written as a table of its own,
the newest. The moment keeps the memory and the files that it needs: a fold
that replaces tables meanwhile takes nothing away.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from itertools import islice
from typing import Final

from journalkit.checkpoint.streams import PIECE_BYTES, Remembered, Stream, in_pieces
from journalkit.errors import CorruptionError, KeyTypeError, KeyValueError
from journalkit.format.block import Entry
from journalkit.format.checksum import checksum
from journalkit.format.codec import CborCodec
from journalkit.format.malformed import MalformedError
from journalkit.format.nodes import Chunked, StoreNode, TableNode
from journalkit.format.stored import check_store
from journalkit.format.table import WHOLE, delta_on
from journalkit.fs.memory import MemoryFile, MemoryFileSystem
from journalkit.fs.tree import FileNode
from journalkit.journal import Journal
from journalkit.snapshot.merge import merge_entries
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter
from journalkit.store.failures import unreadable
from journalkit.store.folding import delta_bytes
from journalkit.store.layers import Frozen
from journalkit.store.moment import Moment, Momentary
from journalkit.store.transaction import Transaction

_RUN_ENTRIES: Final = 1024


class Streamed(ABC):
    """What a load gives in the place of a store: a state that holds it can be saved again."""

    @abstractmethod
    def captured(self) -> tuple[StoreNode, Sequence[Stream]]:
        """Return its node, whose tables are numbered from 0, and the bytes of each."""


def captured(value: object, remembered: Remembered, words: str) -> tuple[StoreNode, Sequence[Stream]] | None:
    """Return a store's node, whose tables are numbered from 0, and the bytes of each; None if it is no store.

    Raises:
        ClosedError, ForkedError: The store, or the view, is of no more use.
        UsageError: It is a transaction, a journal, or a view that wasn't taken yet.

    Complexity:
        O(tables).
    """
    if isinstance(value, Streamed):
        return value.captured()
    if isinstance(value, Momentary):
        return _of_moment(value.moment(), remembered, words)
    if isinstance(value, Transaction):
        raise KeyTypeError(f"{words} is a transaction, which may yet be rolled back: save the store, or a view of it")
    if isinstance(value, Journal):
        raise KeyTypeError(f"{words} is a journal, which is no state: save how far it was read, in the offsets")
    return None


def _of_moment(moment: Moment, remembered: Remembered, words: str) -> tuple[StoreNode, Sequence[Stream]]:
    state, manifest = moment.state, moment.manifest
    numbers = [table.info.number for table in state.tables]
    streams: list[Stream] = [TableStream(table, remembered) for table in state.tables]
    next_table = max([manifest.next_table, *(number + 1 for number in numbers)])
    if state.lsn > (state.tables[0].footer.lsn if state.tables else 0):
        numbers.insert(0, next_table)
        streams.insert(0, ChangesStream(state, manifest.store, next_table))
        next_table += 1
    node = StoreNode(
        store=manifest.store,
        codec=manifest.codec,
        created_us=manifest.created_us,
        epoch=manifest.epoch,
        lsn=state.lsn,
        next_table=next_table,
        metadata=CborCodec().encode(dict(manifest.metadata)),
        tables=tuple(TableNode(number, Chunked(at)) for at, number in enumerate(numbers)),
    )
    try:
        check_store(node)
    except MalformedError as error:
        raise KeyValueError(f"{words} is a store that no checkpoint can hold: {error.reason}") from None
    return node, streams


class TableStream(Stream):
    """The file of a table, as it is."""

    def __init__(self, table: Table, remembered: Remembered) -> None:
        self._table = table
        self._remembered = remembered
        self.key: Hashable = (table.source.header.store, table.info)

    @property
    def size_bytes(self) -> int:
        """How many bytes the file has."""
        return self._table.info.size_bytes

    def pieces(self) -> Iterator[memoryview]:
        """Yield the file, of which every block's checksum was looked at before. Raises as `Stream.pieces`."""
        table, size_bytes = self._table, self.size_bytes
        try:
            table.verify(thorough=False)
            for start in range(0, size_bytes, PIECE_BYTES):
                data = table.source.file.pread(min(PIECE_BYTES, size_bytes - start), start)
                if len(data) != min(PIECE_BYTES, size_bytes - start):
                    raise CorruptionError("the table ends too early", path=table.path, offset_bytes=start + len(data))
                yield memoryview(data)
        except OSError as error:
            raise unreadable(error) from error

    def digests(self, kind: str) -> Sequence[tuple[bytes, int]] | None:
        """Return what an earlier save of this process found out."""
        return self._remembered.find(self.key, kind)

    def learn(self, kind: str, digests: Sequence[tuple[bytes, int]]) -> None:
        """Keep it for the next save."""
        self._remembered.learn(self.key, kind, digests)


class ChangesStream(Stream):
    """What isn't in tables yet, as a table: of the same entries the same bytes, whenever it is written."""

    def __init__(self, state: Frozen, store: bytes, number: int) -> None:
        self._state = state
        self._store = store
        self._number = number
        self.key: Hashable = object()

    @property
    def size_bytes(self) -> int:
        """About how many bytes the table will have."""
        return delta_bytes(self._state.memtables)

    def pieces(self) -> Iterator[memoryview]:
        """Write the table, and yield it as it is written. Raises as `Stream.pieces`."""
        return in_pieces(self._written())

    def _written(self) -> Iterator[bytes]:
        below = delta_on(self._state.tables[0].footer.lsn) if self._state.tables else WHOLE
        outlet = _Outlet()
        with TableWriter(
            outlet, "", self._number, store_uuid=self._store, lsn=self._state.lsn, salt=self._salt(), below=below
        ) as writer:
            entries = self._entries()
            while run := list(islice(entries, _RUN_ENTRIES)):
                # Where nothing lies below, there is nothing for a deletion to hide.
                writer.add_all(run if below != WHOLE else [entry for entry in run if entry[1] is not None])
                yield from outlet.taken()
            writer.finish(named=False)
            yield from outlet.taken()

    def _entries(self) -> Iterator[Entry]:
        return merge_entries([memtable.scan(None, None) for memtable in self._state.memtables])

    def _salt(self) -> int:
        """Return a number that is another for other entries: tables of one number and other bytes aren't confused."""
        salt = checksum(self._store)
        for key, value in self._entries():
            salt = checksum(b"" if value is None else value, checksum(key, salt) ^ (value is None))
        return salt


class _Outlet(MemoryFileSystem):
    """Where a table is written to be given away: what was written of it is kept until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[bytes] = []

    def create(self, path: str) -> MemoryFile:
        """Give the one file, which keeps nothing."""
        return _OutletFile(path, self._waiting)

    def taken(self) -> list[bytes]:
        """Return what was written since this was asked last."""
        found = list(self._waiting)
        self._waiting.clear()
        return found


class _OutletFile(MemoryFile):
    def __init__(self, path: str, waiting: list[bytes]) -> None:
        super().__init__(FileNode(1), threading.Lock(), path, is_writable=True)
        self._waiting = waiting

    def pwrite(self, data: bytes | bytearray | memoryview, offset_bytes: int, /) -> int:
        """Take all of the bytes, which come one behind the other."""
        del offset_bytes
        self._waiting.append(bytes(data))
        return len(data)
