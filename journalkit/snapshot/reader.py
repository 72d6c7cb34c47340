"""Tables, opened for reading: single keys, ranges, and every byte checked.

A table is opened by its ends and read by block through a cache that all tables
share. Each block is checked as it is read; damage raises `CorruptionError` for
the keys it covers and leaves the others readable.

A get that would have to read a block asks the filter first, where that is
likely to pay: for a while after it read one in vain. So keys that are there
cost nothing more, and neither does a table's filter of which nobody has need.
"""

from __future__ import annotations

import os
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from journalkit.errors import CorruptionError
from journalkit.format.block import CRC_BYTES, Block, Entry, find_entry, is_as_indexed, position
from journalkit.format.filters import PAGE_BLOCKS, may_hold, part_in
from journalkit.format.index import IndexBlock, IndexEntry
from journalkit.format.malformed import MalformedError
from journalkit.format.names import table_name
from journalkit.format.table import TableFooter, TableInfo
from journalkit.fs.interface import ReadableFile, ReadableFileSystem
from journalkit.snapshot.batches import FIRST_ENTRIES, Batches, entries_of, sizes
from journalkit.snapshot.cache import RAW_BYTES, BlockCache, decoded_bytes, raw_bytes
from journalkit.snapshot.check import check_table
from journalkit.snapshot.finding import finder_of
from journalkit.snapshot.part import Part
from journalkit.snapshot.source import ClosedFile, TableSource, open_source
from journalkit.snapshot.walk import walk
from journalkit.types import ABSENT, UNSET, Absent

INDEX_ENTRY_OBJECT_BYTES = 20
"""What a decoded index entry takes more than its bytes in the file and two bytes objects: places in two lists, and one
number more."""

FILTERED_READS = 16
"""For so many reads after one in vain the filter is asked: asking costs about such a part of reading a block."""


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """One data block of a table, described and not yet read. It keeps the table open."""

    table: Table
    entry: IndexEntry
    _index: IndexBlock
    _at: int
    _pages: _Pages

    def filter_part(self) -> bytes | None:
        """Return what the table's filter says of the block; None if it says nothing."""
        return self._pages.part(self._index, self._at)

    def bodies(self) -> tuple[bytes, bytes | None]:
        """Read the block; return its body, checked, for a copy that isn't parsed, and what stands for it if packed."""
        stored = self.table.source.read(self.entry)
        raw = self.table.source.matched(self.entry, stored)
        return raw[:-CRC_BYTES], None if raw is stored else stored[:-CRC_BYTES]

    def entries(self) -> Block:
        """Read the block and return its entries in key order; they are the caller's own."""
        return self.table.source.block(self.entry)


class _Pages:
    """The filter pages of a table, read past the cache by one pass over its blocks."""

    __slots__ = ("_first", "_page", "_source")

    def __init__(self, source: TableSource) -> None:
        self._source = source
        self._first: tuple[int, int] | None = None
        self._page: bytes | None = None

    def part(self, index: IndexBlock, at: int) -> bytes | None:
        if not self._source.is_filtered:
            return None
        first = index.offset_bytes, at // PAGE_BLOCKS
        if first != self._first:
            try:
                self._page = self._source.page(index, at)
            except CorruptionError:
                self._page = None  # the keys say the same: what is written from here on is whole again
            self._first = first
        return part_in(self._page, index, at) if self._page is not None else None


class Table:
    """One immutable table. Any thread may read; only `close` wants the others to be done."""

    __slots__ = (
        "__weakref__", "_cache", "_finalizer", "_find", "_finder", "_fs", "_root", "_slots", "_table_id", "info",
        "source",
    )  # fmt: skip

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
        self._finder = finder_of(source, info, cache, self._table_id)
        self._find = self._finder.find
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
        answer = self._find(key)
        if answer is not UNSET:
            return answer
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
        elif key > index.lasts[at] or (self._finder.filtered_reads and not self._may_hold(index, at, key)):
            return ABSENT
        else:
            raw = self._load_for_get(index, at)
        try:
            found = find_entry(raw, index.entry_counts[at], key)
        except MalformedError as error:
            raise self.source.lost(index.entry(at), error) from error
        if slot is None and (found is ABSENT or self._finder.filtered_reads):
            self._note(in_vain=found is ABSENT)
        return found

    def get_many(self, keys: Sequence[bytes], found: dict[bytes, bytes | None]) -> list[bytes]:
        """Put what the table says of keys, given in order, into `found`; return those of which it says nothing.

        Raises:
            CorruptionError: A block that would hold one of them is damaged.
            ClosedError: The table was closed.

        Complexity:
            Each block that may hold one of them is read once, in the order of the file.
        """
        # Hot: `get` in its own words, staying with a part of the index and with a block as long as keys lie in them.
        slots, table_id, cache = self._slots, self._table_id, self._cache
        silent: list[bytes] = []
        leaf, leaf_end = self._leaf(keys[0]) if keys else (self._root, None)
        raw, last, at, count, is_new = b"", b"", 0, 0, False
        for key in keys:
            if key > last or not raw:
                if leaf_end is not None and key >= leaf_end:
                    leaf, leaf_end = self._leaf(key)
                raw = b""
                at = bisect_right(leaf.firsts, key) - 1
                if at < 0 or key > leaf.lasts[at]:
                    silent.append(key)
                    continue
                slot = slots.get((table_id, leaf.offsets[at]))
                if slot is not None:
                    slot.read_since = True
                    cache.hits += 1
                    raw = slot.block
                elif self._finder.filtered_reads and not self._may_hold(leaf, at, key):
                    silent.append(key)
                    continue
                else:
                    raw = self._load_for_get(leaf, at)
                last, count, is_new = leaf.lasts[at], leaf.entry_counts[at], slot is None
            try:
                value = find_entry(raw, count, key)
            except MalformedError as error:
                raise self.source.lost(leaf.entry(at), error) from error
            if value is ABSENT:
                silent.append(key)
            else:
                found[key] = value
            if is_new:
                self._note(in_vain=value is ABSENT)
                is_new = False
        return silent

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
        for index, at in walk(self._root, start, stop, reverse, self._index):
            entry = index.entry(at)
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
                    yield Part(self.source, entry, raw, slot, cut, high)
                    high = cut
                else:
                    yield Part(self.source, entry, raw, slot, low, cut)
                    low = cut

    def blocks(self, start: bytes | None = None, stop: bytes | None = None) -> Iterator[StoredBlock]:
        """Yield the data blocks that may hold keys with start <= key < stop, in order, past the cache."""
        pages = _Pages(self.source)
        for index, at in walk(self._root, start, stop, False, lambda parent, child: self.source.index(parent, child)):
            yield StoredBlock(self, index.entry(at), index, at, pages)

    def verify(
        self, *, from_device: bool = False, thorough: bool = True, step: Callable[[], None] | None = None
    ) -> None:
        """Read every byte again and check it; return if the table is sound.

        Args:
            from_device: Read past the page cache where the platform can, so
                that what is judged is what a power cut would leave.
            thorough: Decode the blocks too; without, their checksums and ends are compared.
            step: Called for each block. May sleep, or raise to give up.

        Raises:
            CorruptionError: The first damage found, and which keys it costs.

        Complexity:
            O(size); memory for a window of the file and one block.
        """
        path, store_uuid = self.path, self.source.header.store
        if not from_device:
            check_table(self.source.file, path, self.info, store_uuid, thorough=thorough, step=step)
            return
        file = self._fs.open_direct(path)
        try:
            check_table(file, path, self.info, store_uuid, thorough=thorough, step=step)
        finally:
            file.close()

    def close(self) -> None:
        """Close the file and drop its blocks from the cache; twice is harmless.

        No other thread may be reading. Whoever still has to read gets ClosedError.
        """
        self.source = replace(self.source, file=ClosedFile(self.source.path))
        self._finalizer()

    def _leaf(self, key: bytes) -> tuple[IndexBlock, bytes | None]:
        """Return the index block of level 0 that speaks of a key, and from which key on another one does, if any."""
        index, end = self._root, None
        while index.level:
            at = max(bisect_right(index.firsts, key) - 1, 0)
            end = index.firsts[at + 1] if at + 1 < len(index.firsts) else end
            index = self._index(index, index.entry(at))
        return index, end

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

    def _note(self, *, in_vain: bool) -> None:
        """Take note of how a read for a single key ended. Threads may race: only time depends on it."""
        if in_vain:
            self._finder.filtered_reads = FILTERED_READS
        elif self._finder.filtered_reads:
            self._finder.filtered_reads -= 1

    def _may_hold(self, index: IndexBlock, at: int, key: bytes) -> bool:
        """Whether the block at this place may hold a key, as far as the filter can be read."""
        first = at // PAGE_BLOCKS * PAGE_BLOCKS
        # A page has its place in the cache beside that of the first block it speaks of, under a number that none has.
        slot = self._slots.get((self._table_id, ~index.offsets[first]))
        if slot is not None:
            slot.read_since = True
            page = slot.block
        elif self.source.is_filtered:
            try:
                page = self.source.page(index, at)
            except CorruptionError:
                return True  # the block itself tells
            self._cache.put(self._table_id, ~index.offsets[first], page, raw_bytes(len(page)))
        else:
            return True
        starts = index.starts
        if may_hold(page, starts[at] - starts[first], starts[at + 1] - starts[first], key):
            return True
        self._finder.filtered_reads = FILTERED_READS
        return False

    def _load_for_get(self, index: IndexBlock, at: int) -> bytes:
        """Do what `_load_block` does for the block at this place of an index, in one step where nothing is wrong."""
        if self.source.is_compressed:
            return self._load_block(index.entry(at), keep=self._cache.offer)
        offset_bytes, length_bytes = index.offsets[at], index.lengths[at]
        raw = self.source.file.pread(length_bytes, offset_bytes)
        if len(raw) != length_bytes or not is_as_indexed(
            raw, index.firsts[at], index.lasts[at], index.entry_counts[at], self.info.salt + offset_bytes
        ):
            return self._load_block(index.entry(at))  # looks again, and says what it is
        self._cache.offer(self._table_id, offset_bytes, raw, length_bytes + RAW_BYTES)
        return raw

    def _load_block(self, entry: IndexEntry, keep: Callable[[int, int, bytes, int], None] | None = None) -> bytes:
        raw = self.source.raw_block(entry)
        (keep or self._cache.put)(self._table_id, entry.offset_bytes, raw, raw_bytes(len(raw)))
        return raw


def _release(file: ReadableFile, cache: BlockCache, table_id: int) -> None:
    cache.forget(table_id)
    file.close()
