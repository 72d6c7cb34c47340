"""Tables, opened for reading: single keys, ranges, and every byte checked.

A table is opened by its ends and read by block through a cache that all tables
share. Each block is checked as it is read; damage raises `CorruptionError` for
the keys it covers and leaves the others readable.
"""

from __future__ import annotations

import os
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from journalkit.errors import CorruptionError
from journalkit.format.block import CRC_BYTES, Block, Entry, find_entry, is_as_indexed, position
from journalkit.format.codec import Codec
from journalkit.format.columns import Columns, columns, same_sized_items
from journalkit.format.index import IndexBlock, IndexEntry
from journalkit.format.malformed import MalformedError
from journalkit.format.names import table_name
from journalkit.format.table import HEADER_BYTES, TableFooter, TableInfo
from journalkit.fs.interface import ReadableFile, ReadableFileSystem
from journalkit.snapshot.batches import FIRST_ENTRIES, Batches, entries_of, sizes
from journalkit.snapshot.cache import BlockCache, Slot, decoded_bytes, raw_bytes
from journalkit.snapshot.source import ClosedFile, TableBytes, TableSource, open_source
from journalkit.types import ABSENT, Absent, Key

VERIFY_WINDOW_BYTES = 1 << 20
INDEX_ENTRY_OBJECT_BYTES = 12
"""What a decoded index entry takes more than its bytes in the file and two bytes objects: places in two lists."""


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """One data block of a table, described and not yet read. It keeps the table open."""

    table: Table
    entry: IndexEntry

    def body(self) -> bytes:
        """Read the block and return its body, checked, for a copy that isn't parsed."""
        return self.table.source.raw_block(self.entry)[:-CRC_BYTES]

    def entries(self) -> Block:
        """Read the block and return its entries in key order; they are the caller's own."""
        return self.table.source.block(self.entry)


class _Part:
    """Some entries of a block that was read: a batch. `slot` is the block's place in the cache, if it has one."""

    __slots__ = ("_block", "_entry", "_high", "_low", "_slot", "_source")

    def __init__(
        self, source: TableSource, entry: IndexEntry, block: bytes, slot: Slot | None, low: int, high: int
    ) -> None:
        self._source = source
        self._entry = entry
        self._block = block
        self._slot = slot
        self._low = low
        self._high = high

    def columns(self) -> Columns:
        """As `Batch.columns`."""
        try:
            return columns(self._block, self._low, self._high)
        except MalformedError as error:
            raise self._source.lost(self._entry, error) from error

    def items(self, codec: Codec) -> list[tuple[Key, bytes]] | None:
        """As `Batch.items`."""
        slot = self._slot
        is_ordered = slot is not None and slot.is_ordered
        items = same_sized_items(self._block, self._low, self._high, codec, is_ordered=is_ordered)
        if items is not None and slot is not None:
            slot.is_ordered = True
        return items


class Table:
    """One immutable table. Any thread may read; only `close` wants the others to be done."""

    __slots__ = ("__weakref__", "_cache", "_finalizer", "_fs", "_root", "_slots", "_table_id", "info", "source")

    def __init__(
        self, fs: ReadableFileSystem, info: TableInfo, source: TableSource, file: ReadableFile, cache: BlockCache
    ) -> None:
        """Use `open`."""
        self.info = info
        self._fs = fs
        self.source = source
        self._root = source.root
        self._cache = cache
        self._slots = cache.slots
        self._table_id = cache.register()
        self._finalizer = weakref.finalize(self, _release, file, cache, self._table_id)
        self._finalizer.atexit = False  # the process's end closes descriptors by itself

    @classmethod
    def open(
        cls, fs: ReadableFileSystem, directory: str, info: TableInfo, store_uuid: bytes, cache: BlockCache
    ) -> Table:
        """Open the table that the manifest records as `info`.

        Raises:
            CorruptionError: The file isn't that table, or its ends are damaged.
            UnsupportedFormatError: It is of a later format.
            OSError: As it comes; FileNotFoundError for a file that is gone.

        Complexity:
            Four small reads, whatever the table's size.
        """
        path = os.path.join(directory, table_name(info.number))
        file = fs.open_read(path)
        try:
            return cls(fs, info, open_source(file, path, info, store_uuid), file, cache)
        except BaseException:
            file.close()
            raise

    @property
    def path(self) -> str:
        """The table's file."""
        return self.source.path

    @property
    def footer(self) -> TableFooter:
        """What the table says of itself: counts, sizes, LSN."""
        return self.source.footer

    def get(self, key: bytes) -> bytes | Absent | None:
        """Return the key's encoded value, None if the table deletes it, ABSENT if it doesn't speak of it.

        Raises:
            CorruptionError: The block that would hold the key is damaged.
            ClosedError: The table was closed.

        Complexity:
            O(log n); nothing is read for a key outside every block's range.
        """
        # Hot: `BlockCache.get` stands here in its own words, and hits are counted once, for the data block.
        index, slots, table_id = self._root, self._slots, self._table_id
        while True:
            at = bisect_right(index.firsts, key) - 1
            if at < 0:
                return ABSENT
            slot = slots.get((table_id, index.offsets[at]))
            if slot is not None:
                slot.read_since = True
            if not index.level:
                break
            index = slot.block if slot is not None else self._load_index(index, index.entry(at))
        if slot is not None:
            self._cache.hits += 1
            raw = slot.block
        elif key > index.lasts[at]:
            return ABSENT
        else:
            raw = self._load_for_get(index, at)
        try:
            return find_entry(raw, index.entry_counts[at], key)
        except MalformedError as error:
            raise self.source.lost(index.entry(at), error) from error

    def scan(self, start: bytes | None, stop: bytes | None, *, reverse: bool = False) -> Iterator[Entry]:
        """Yield entries, tombstones included, with start <= key < stop in order, or in reverse: `batches` in ones."""
        return entries_of(self.batches(start, stop, reverse=reverse), reverse=reverse)

    def batches(
        self, start: bytes | None, stop: bytes | None, *, reverse: bool = False, first_entries: int = FIRST_ENTRIES
    ) -> Batches:
        """Yield the entries with start <= key < stop, tombstones included, in batches, from the end if in reverse.

        None leaves an end open. One block is in hand at a time, decoded as it is
        asked for. A damaged block raises CorruptionError when its turn comes;
        what was yielded before is right.
        """
        size_of = sizes(first_entries)
        for entry in _walk(self._root, start, stop, reverse, self._index):
            raw: bytes | None = self._cache.get(self._table_id, entry.offset_bytes)
            if raw is None:
                raw = self._load_block(entry)
            slot = self._slots.get((self._table_id, entry.offset_bytes))
            count = entry.entry_count
            low = 0 if start is None or start <= entry.first else position(raw, count, start)
            high = count if stop is None or entry.last < stop else position(raw, count, stop)
            while low < high:
                size = next(size_of)
                cut = max(low, high - size) if reverse else min(low + size, high)
                if reverse:
                    yield _Part(self.source, entry, raw, slot, cut, high)
                    high = cut
                else:
                    yield _Part(self.source, entry, raw, slot, low, cut)
                    low = cut

    def blocks(self, start: bytes | None = None, stop: bytes | None = None) -> Iterator[StoredBlock]:
        """Yield the data blocks that may hold keys with start <= key < stop, in order, past the cache."""
        for entry in _walk(self._root, start, stop, False, lambda parent, child: self.source.index(parent, child)):
            yield StoredBlock(self, entry)

    def verify(self, *, from_device: bool = False) -> None:
        """Read every byte again and check it; return if the table is sound.

        Args:
            from_device: Read past the page cache where the platform can, so
                that what is judged is what a power cut would leave.

        Raises:
            CorruptionError: The first damage found, and which keys it costs.

        Complexity:
            O(size); memory for a window of the file and one block.
        """
        path, store_uuid = self.path, self.source.header.store
        if not from_device:
            _Check(self.source.file, path, self.info, store_uuid).run()
            return
        file = self._fs.open_direct(path)
        try:
            _Check(file, path, self.info, store_uuid).run()
        finally:
            file.close()

    def close(self) -> None:
        """Close the file and drop its blocks from the cache; twice is harmless.

        No other thread may be reading. Whoever still has to read gets ClosedError.
        """
        self.source = replace(self.source, file=ClosedFile(self.source.path))
        self._finalizer()

    def _index(self, parent: IndexBlock, entry: IndexEntry) -> IndexBlock:
        found: IndexBlock | None = self._cache.get(self._table_id, entry.offset_bytes)
        return found if found is not None else self._load_index(parent, entry)

    def _load_index(self, parent: IndexBlock, entry: IndexEntry) -> IndexBlock:
        index = self.source.index(parent, entry)
        count = len(index.firsts)
        size_bytes = decoded_bytes(
            entry.length_bytes, objects=2 * count, container_bytes=count * INDEX_ENTRY_OBJECT_BYTES
        )
        self._cache.put(self._table_id, entry.offset_bytes, index, size_bytes)
        return index

    def _load_for_get(self, index: IndexBlock, at: int) -> bytes:
        """Do what `_load_block` does for the block at this place of an index, in one step where nothing is wrong."""
        source, offset_bytes, length_bytes = self.source, index.offsets[at], index.lengths[at]
        first, last, count = index.firsts[at], index.lasts[at], index.entry_counts[at]
        raw = source.file.pread(length_bytes, offset_bytes)
        if len(raw) != length_bytes or not is_as_indexed(
            raw, first, last, count, salt=source.header.salt, offset_bytes=offset_bytes
        ):
            return self._load_block(index.entry(at))  # looks again, and says what it is
        self._cache.offer(self._table_id, offset_bytes, raw, raw_bytes(length_bytes))
        return raw

    def _load_block(self, entry: IndexEntry) -> bytes:
        raw = self.source.raw_block(entry)
        self._cache.put(self._table_id, entry.offset_bytes, raw, raw_bytes(entry.length_bytes))
        return raw


def _walk(
    index: IndexBlock,
    start: bytes | None,
    stop: bytes | None,
    reverse: bool,
    child: Callable[[IndexBlock, IndexEntry], IndexBlock],
) -> Iterator[IndexEntry]:
    """Yield the index entries of data blocks that may hold keys of the range."""
    low = 0 if start is None else max(bisect_right(index.firsts, start) - 1, 0)
    high = len(index.firsts) if stop is None else bisect_left(index.firsts, stop)
    places = range(low, high)
    for at in reversed(places) if reverse else places:
        if start is not None and index.lasts[at] < start:
            continue
        entry = index.entry(at)
        if index.level:
            yield from _walk(child(index, entry), start, stop, reverse, child)
        else:
            yield entry


def _release(file: ReadableFile, cache: BlockCache, table_id: int) -> None:
    cache.forget(table_id)
    file.close()


class _Window:
    """Reads ahead, so that a pass over small blocks costs a few large reads, direct ones above all."""

    __slots__ = ("_data", "_file", "_start")

    def __init__(self, file: TableBytes) -> None:
        self._file = file
        self._start = 0
        self._data = b""

    def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
        low = offset_bytes - self._start
        if low < 0 or low + count_bytes > len(self._data):
            self._data = self._file.pread(max(count_bytes, VERIFY_WINDOW_BYTES), offset_bytes)
            self._start, low = offset_bytes, 0
        return self._data[low : low + count_bytes]

    def size(self) -> int:
        return self._file.size()


class _Check:
    """One pass over a table: every block is read, and together they cover the file without a gap."""

    def __init__(self, file: TableBytes, path: str, info: TableInfo, store_uuid: bytes) -> None:
        # Data blocks follow one another; index blocks lie ahead of where the window is.
        self._data = open_source(_Window(file), path, info, store_uuid)
        self._source = replace(self._data, file=file)
        self._position = HEADER_BYTES
        self._block_count = 0
        self._data_bytes = 0

    def run(self) -> None:
        """Raise CorruptionError for the first thing that is wrong."""
        footer = self._source.footer
        self._visit(self._source.root)
        self._expect(footer.root_offset)
        if (self._block_count, self._data_bytes) != (footer.block_count, footer.data_bytes):
            raise CorruptionError("the footer counts other blocks than there are", path=self._source.path)

    def _visit(self, index: IndexBlock) -> None:
        for at in range(len(index.firsts)):
            entry = index.entry(at)
            if index.level:
                self._visit(self._source.index(index, entry))
                self._expect(entry.offset_bytes)
            else:
                self._expect(entry.offset_bytes)
                self._data.block(entry, thorough=True)
                self._block_count += 1
                self._data_bytes += entry.length_bytes
            self._position += entry.length_bytes

    def _expect(self, offset_bytes: int) -> None:
        if self._position != offset_bytes:
            raise CorruptionError(
                f"{offset_bytes - self._position} bytes belong to no block",
                path=self._source.path,
                offset_bytes=self._position,
            )
