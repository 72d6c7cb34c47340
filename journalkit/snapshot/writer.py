"""Tables, written: sorted entries in, one immutable file out.

The file grows under a temporary name and takes its final name when it is whole
and durable, so a table under its final name is always a whole one. Nobody
reads it before the manifest names it; that, and reading it back, is the
caller's part.

Memory is bounded: one block, a run of entries, a buffer, of the index one
unfinished block for each level, and the filter of the lowest of them. Errors
are `OSError` as they come.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, islice, repeat
from operator import add, lt
from types import TracebackType
from typing import Self

from journalkit.format.block import (
    CRC_BYTES,
    ENTRY_OVERHEAD_BYTES,
    START_BYTES,
    TOMBSTONE,
    Entry,
    Run,
    block_checksum,
    block_shape,
    body_crcs,
    encode_block,
    run_of,
)
from journalkit.format.compression import library, packed
from journalkit.format.filters import ENTRY_BYTES, PAGE_BLOCKS, encode_page, joined, part_of
from journalkit.format.index import (
    INDEX_BLOCK_BYTES_TARGET,
    INDEX_ENTRY_BYTES,
    INDEX_FANOUT,
    INDEX_FANOUT_MIN,
    IndexBlock,
    IndexEntry,
    encode_index,
)
from journalkit.format.names import table_name, temporary_name
from journalkit.format.table import (
    COMPRESSED,
    FOOTER_BYTES,
    VERSION,
    WHOLE,
    TableFooter,
    TableHeader,
    TableInfo,
    footer_checksum,
)
from journalkit.fs.atomic import publish_file, write_all
from journalkit.fs.interface import FileSystem

BLOCK_BYTES = 16 * 1024
BUFFER_BYTES = 1 << 20

RUN_ENTRIES = 256
"""How many entries are taken at a time: enough to look at them in columns."""

SYNC_STRIDE_BYTES = 32 << 20
"""Written bytes are synced this often, so that the log's next fsync never waits for a table's worth of them."""


class TableWriter:
    """Writes one table. Used by one thread; as a context manager it aborts unless finished."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        number: int,
        *,
        store_uuid: bytes,
        lsn: int,
        salt: int,
        below: int = WHOLE,
        compress: bool = False,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        """Begin table `number` in `directory`, under its temporary name; a stale one is removed.

        Args:
            fs: Where to write.
            directory: The store's directory.
            number: The table's number. No table of that number is live: `finish` would replace it.
            store_uuid: The store's UUID, 16 bytes.
            lsn: The table holds the state at this LSN, or the changes up to it.
            salt: 32 random bits, drawn for this table.
            below: `delta_on` the LSN of the state that the table changes; WHOLE if it holds all of it.
            compress: Compress blocks that get smaller by it. Raises MissingLibraryError where that can't be.
            block_bytes: Aim for blocks of this size.
        """
        self._fs = fs
        self._directory = directory
        if compress:
            library()
        version = COMPRESSED if compress else VERSION
        self._header = TableHeader(salt=salt, store=store_uuid, number=number, lsn=lsn, below=below, version=version)
        self._compress = compress
        self._packed: bytes | None = None
        self._block_bytes = block_bytes
        self._name = table_name(number)
        self._temporary = temporary_name(self._name)
        self._offset = 0
        self._buffer: list[bytes] = []
        self._buffer_bytes = 0
        self._written_bytes = 0
        self._synced_bytes = 0
        self._levels = [IndexBlock(0)]
        self._level_bytes = [0]
        self._pending: list[Run | bytes] = []
        self._pending_bytes = 0
        self._pending_count = 0
        self._pending_tombstones = 0
        self._page_parts: list[bytes] = []
        self._page_blocks = 0
        self._pages: list[bytes] = []
        self._first = b""
        self._last = b""
        self._is_empty = True
        self._block_count = 0
        self._data_bytes = 0
        self._ended = False
        self._append(self._header.encode())
        path = os.path.join(directory, self._temporary)
        with contextlib.suppress(FileNotFoundError):
            fs.unlink(path)
        self._file = fs.create(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    @property
    def size_bytes(self) -> int:
        """Bytes of the table so far, buffered ones included."""
        return self._offset + self._pending_bytes

    def add(self, key: bytes, value: bytes | None) -> None:
        """Append one entry: `add_all` of one."""
        self.add_all(((key, value),))

    def add_all(self, entries: Iterable[Entry]) -> None:
        """Append entries in strict key order; None is a tombstone.

        Raises:
            ValueError: A key isn't above the one before, or key or value exceed the format; `abort`.
            OSError: Writing failed; `abort`.
        """
        # Hot: a fold spends its time here, so entries are looked at in columns, at the speed of C.
        rest = iter(entries)
        while taken := list(islice(rest, RUN_ENTRIES)):
            run = run_of(taken)
            keys = run.keys
            follows = self._is_empty or self._last < keys[0]
            if not (follows and all(map(lt, keys, islice(keys, 1, None)))):
                raise ValueError(f"keys from {keys[0]!r} on don't ascend, or don't follow {self._last!r}")
            self._add_run(run)

    def add_block(
        self, body: bytes, entry: IndexEntry, filter_part: bytes | None = None, *, stored: bytes | None = None
    ) -> None:
        """Append a whole block unparsed: its checked body, as the other table's index describes it.

        A small block, here or there, joins its neighbour, so that blocks that
        lose entries fold after fold don't stay as crumbs.

        Args:
            body: The body.
            entry: What the other table's index says of it.
            filter_part: What the other table's filter says of it; None if it says nothing, and all keys are looked at.
            stored: What stands for the body in the other table, if it is compressed there.

        Raises:
            ValueError: The block doesn't lie above the last key, or isn't the one described; `abort`.
            OSError: Writing failed; `abort`.
        """
        if entry.first <= self._last and not self._is_empty:
            raise ValueError(f"a block from {entry.first!r} doesn't follow {self._last!r}")
        count, _ = block_shape(body)
        if count != entry.entry_count:
            raise ValueError(f"a block of {count} entries was described as one of {entry.entry_count}")
        if filter_part is None:
            filter_part = part_of(body_crcs(body))
        if len(filter_part) != count * ENTRY_BYTES:
            raise ValueError(f"a block of {count} entries comes with the filter of another")
        added_bytes = len(body) - START_BYTES
        if self._pending and self._pending_bytes + added_bytes > self._block_bytes * 3 // 2:
            self._cut()
        # As long as nothing joins it, and nothing it.
        self._packed = None if self._pending else stored
        self._pend(body, entry.first, entry.last, added_bytes)
        self._page_parts.append(filter_part)
        self._pending_count += count
        self._pending_tombstones += entry.tombstone_count

    def finish(self, *, named: bool = True) -> TableInfo:
        """Close the table, make it durable under its final name and return what the manifest records.

        Args:
            named: Give it the final name; else that, `publish_file`, is left to somebody else.

        Durability:
            Contents and name survive a power cut once this returns.

        Raises:
            OSError: It isn't durable, or not known to be; `abort`. Never retried:
                after a failed fsync a later success would prove nothing.
        """
        if self._pending:
            self._cut()
        root_offset, root_length, root_checksum = self._write_index()
        total = self._levels[-1].summary(root_offset, root_length)
        footer = TableFooter(
            store=self._header.store,
            number=self._header.number,
            lsn=self._header.lsn,
            entry_count=total.entry_count,
            tombstone_count=total.tombstone_count,
            block_count=self._block_count,
            data_bytes=self._data_bytes,
            root_offset=root_offset,
            root_length=root_length,
            root_checksum=root_checksum,
            below=self._header.below,
            version=self._header.version,
        ).encode(salt=self._header.salt)
        self._append(footer)
        self._write_out()
        self._file.sync()
        self._file.close()
        if named:
            publish_file(self._fs, self._directory, self._temporary, self._name)
        self._ended = True
        return TableInfo(
            number=self._header.number,
            size_bytes=root_offset + root_length + FOOTER_BYTES,
            entry_count=total.entry_count,
            footer_crc=footer_checksum(footer),
            salt=self._header.salt,
        )

    def abort(self) -> None:
        """Give the table up and remove its temporary, as far as the file system lets us. Nothing after `finish`."""
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._fs.unlink(os.path.join(self._directory, self._temporary))

    def _add_run(self, run: Run) -> None:
        """Append a run whose order was checked, and cut blocks where they are full."""
        ends = list(accumulate(map(add, run.lengths, repeat(ENTRY_OVERHEAD_BYTES))))
        low = low_bytes = 0
        while low < len(ends):
            room_bytes = self._block_bytes - self._pending_bytes
            high = bisect_right(ends, low_bytes + room_bytes, low)
            if high == low and self._pending:
                self._cut()
                continue
            high = max(high, low + 1)  # a single large entry has a block of its own
            part = run.part(low, high)
            self._pend(part, part.keys[0], part.keys[-1], ends[high - 1] - low_bytes)
            self._page_parts.append(part_of(part.crcs))
            self._pending_count += high - low
            self._pending_tombstones += part.key_bytes.count(TOMBSTONE)
            low, low_bytes = high, ends[high - 1]

    def _pend(self, piece: Run | bytes, first: bytes, last: bytes, size_bytes: int) -> None:
        """Add a piece of so many bytes to the block that is being made."""
        if not self._pending:
            self._first = first
        self._last = last
        self._pending.append(piece)
        self._pending_bytes += size_bytes
        self._is_empty = False

    def _cut(self) -> None:
        """Write the pending entries as one data block."""
        body = encode_block(self._pending)
        if self._compress:
            known = self._packed if len(self._pending) == 1 else None
            body = packed(body) if known is None else known
        self._packed = None
        offset_bytes, length_bytes, _ = self._write_block(body)
        entry = IndexEntry(
            self._first, self._last, offset_bytes, length_bytes, self._pending_count, self._pending_tombstones
        )
        self._block_count += 1
        self._data_bytes += length_bytes
        self._pending.clear()
        self._pending_bytes = self._pending_count = self._pending_tombstones = 0
        self._page_blocks += 1
        if self._page_blocks == PAGE_BLOCKS:
            self._end_page()
        self._index(0, entry)

    def _end_page(self) -> None:
        """Make a filter page of the blocks since the last one; it is written in front of their index block."""
        if self._page_blocks:
            self._pages.append(encode_page(joined(self._page_parts)))
            self._page_parts.clear()
            self._page_blocks = 0

    def _index(self, level: int, entry: IndexEntry) -> None:
        """Add to a level's index block, and write it when it is full: always behind what it points to."""
        if level == len(self._levels):
            self._levels.append(IndexBlock(level))
            self._level_bytes.append(0)
        self._levels[level].add(entry)
        self._level_bytes[level] += INDEX_ENTRY_BYTES + len(entry.first) + len(entry.last)
        count = len(self._levels[level].firsts)
        is_large = self._level_bytes[level] >= INDEX_BLOCK_BYTES_TARGET and count >= INDEX_FANOUT_MIN
        if is_large or count == INDEX_FANOUT:
            self._write_level(level)

    def _write_level(self, level: int) -> None:
        index = self._levels[level]
        offset_bytes, length_bytes, _ = self._write_index_block(index)
        self._levels[level] = IndexBlock(level)
        self._level_bytes[level] = 0
        self._index(level + 1, index.summary(offset_bytes, length_bytes))

    def _write_index(self) -> tuple[int, int, int]:
        """Write the unfinished index blocks from the lowest up; return offset, length, checksum of the root."""
        level = 0
        while level < len(self._levels) - 1:
            if self._levels[level].firsts:
                self._write_level(level)
            level += 1
        return self._write_index_block(self._levels[level])

    def _write_index_block(self, index: IndexBlock) -> tuple[int, int, int]:
        """Write an index block, right behind the filter of the data blocks that it names, if any."""
        if not index.level:
            self._end_page()
            for page in self._pages:
                self._write_block(page)
            self._pages.clear()
        return self._write_block(encode_index(index))

    def _write_block(self, body: bytes) -> tuple[int, int, int]:
        """Append a body and the checksum of its place; return offset, length, checksum."""
        offset_bytes = self._offset
        crc = block_checksum(body, salt=self._header.salt, offset_bytes=offset_bytes)
        self._append(body)
        self._append(crc)
        return offset_bytes, len(body) + CRC_BYTES, int.from_bytes(crc, "little")

    def _append(self, data: bytes) -> None:
        self._offset += len(data)
        self._buffer.append(data)
        self._buffer_bytes += len(data)
        if self._buffer_bytes >= BUFFER_BYTES:
            self._write_out()

    def _write_out(self) -> None:
        # A single large value is written as it is: joining would copy it.
        data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
        write_all(self._file, data, self._written_bytes)
        self._written_bytes += len(data)
        self._buffer.clear()
        self._buffer_bytes = 0
        if self._written_bytes - self._synced_bytes >= SYNC_STRIDE_BYTES:
            self._file.sync_data()
            self._synced_bytes = self._written_bytes
