"""What survives of a table, whatever is damaged in it.

The index says which blocks there are; each is read by itself, and one that is
damaged costs its own keys. Where a part of the index is lost, or the file's
end, blocks are read one behind the other instead: a data block tells its own
length, and its checksum vouches for it and its place. Filters say nothing that
the blocks don't; one that is damaged is told of and costs nothing.

Nothing is judged and nothing written. A caller that knows the table's entry in
the manifest passes it; without one the table speaks for itself.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from journalkit.format.block import CRC_BYTES, Entry, block_length, check_block, decode_block, plain
from journalkit.format.filters import PAGE_BLOCKS, PAGE_OVERHEAD_BYTES, check_page, page_count, page_length, page_place
from journalkit.format.frame import PAYLOAD_BYTES_MAX
from journalkit.format.index import (
    INDEX_BLOCK_BYTES_MAX,
    INDEX_BLOCK_BYTES_MIN,
    INDEX_ENTRY,
    INDEX_ENTRY_BYTES,
    IndexBlock,
    decode_index,
)
from journalkit.format.malformed import MalformedError
from journalkit.format.table import (
    COMPRESSED,
    FOOTER_BYTES,
    FOOTER_MAGIC,
    HEADER_BYTES,
    UNFILTERED,
    WHOLE,
    TableFooter,
    TableHeader,
    TableInfo,
    decode_footer,
    decode_header,
    footer_checksum,
)
from journalkit.fs.interface import ReadableFile, ReadableFileSystem
from journalkit.recovery.salvage_ranges import ALL_KEYS, KEYS_END, KeyRange, above, united

DATA_BLOCK_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + (1 << 20)
"""No block is longer: a block of several entries is small, and one entry came in one record."""

_PROBE_BYTES: Final = 64 * 1024
_INDEX_HEAD: Final = struct.Struct("<IB")


class Fault(NamedTuple):
    """Something damaged: what in words, where, and the keys it costs; no length: nobody knows how far it goes."""

    reason: str
    offset_bytes: int
    length_bytes: int = 0
    keys: KeyRange | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """An intact data block: where it is and which keys it speaks of, both ends included."""

    offset_bytes: int
    length_bytes: int
    first: bytes
    last: bytes
    entry_count: int


@dataclass(slots=True)
class TableRemains:
    """A table as far as it can be read.

    `faults` says what is damaged. Keys in
    `lost` are those of which the table can no longer say anything; of every
    other key it says what it always said.
    """

    name: str
    path: str
    size_bytes: int
    salt: int = 0
    store: bytes = b""
    number: int = 0
    lsn: int = 0
    below: int = WHOLE
    is_compressed: bool = True
    faults: list[Fault] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    lost: list[KeyRange] = field(default_factory=lambda: [ALL_KEYS])
    entries_lost: int | None = None

    @property
    def entry_count(self) -> int:
        """Entries that can be read."""
        return sum(place.entry_count for place in self.places)

    def entries(self, file: ReadableFile, start: bytes, stop: bytes) -> Iterator[Entry]:
        """Yield what the table says of start <= key < stop, in order, tombstones included."""
        for place in self.places:
            if place.first < stop and place.last >= start:
                block = _read_data(
                    file, self.salt, place.offset_bytes, place.length_bytes, is_compressed=self.is_compressed
                )
                yield from (entry for entry in block.items() if start <= entry[0] < stop)


def read_remains(fs: ReadableFileSystem, directory: str, name: str, info: TableInfo | None) -> TableRemains:
    """Read a table as far as it goes.

    Raises:
        OSError: The file can't be read; FileNotFoundError if it is gone.
        NewerFormatError: A later version wrote it.
    """
    path = os.path.join(directory, name)
    file = fs.open_read(path)
    try:
        remains = TableRemains(name, path, file.size())
        _Reading(file, remains, info).run()
        return remains
    finally:
        file.close()


class _Reading:
    """One pass over a damaged table."""

    def __init__(self, file: ReadableFile, remains: TableRemains, info: TableInfo | None) -> None:
        self._file = file
        self._remains = remains
        self._info = info
        self._lost: list[KeyRange] = []
        self._end_bytes = HEADER_BYTES
        self._known_entries: int | None = info.entry_count if info is not None else None
        self._is_filtered = False

    def run(self) -> None:
        """Fill in what the table still says."""
        remains = self._remains
        header, info = self._header(), self._info
        if header is not None:
            remains.salt, remains.store, remains.number, remains.lsn, remains.below = (
                header.salt,
                header.store,
                header.number,
                header.lsn,
                header.below,
            )
        elif info is not None:
            remains.salt, remains.number = info.salt, info.number
        else:
            return  # Without the salt no checksum in the file says anything.
        footer = self._footer(header)
        end = header or footer
        self._is_filtered = end is not None and end.version != UNFILTERED
        remains.is_compressed = end is None or end.version == COMPRESSED
        if header is None and footer is not None:
            remains.store, remains.lsn, remains.below = footer.store, footer.lsn, footer.below
        root = self._index(footer.root_offset, footer.root_length) if footer is not None else None
        if root is not None:
            self._walk(root)
        else:
            self._sequence(HEADER_BYTES, footer.root_offset if footer is not None else None, b"", KEYS_END)
        remains.lost = united(self._lost)
        if self._known_entries is not None:
            remains.entries_lost = self._known_entries - remains.entry_count

    def _fault(self, reason: str, offset_bytes: int, length_bytes: int, keys: KeyRange | None = None) -> None:
        self._remains.faults.append(Fault(reason, offset_bytes, length_bytes, keys))
        if keys is not None:
            self._lost.append(keys)

    def _header(self) -> TableHeader | None:
        """Return the header; None if it is damaged, or not of the table that the manifest names."""
        try:
            header = decode_header(self._file.pread(HEADER_BYTES, 0))
            if self._info is not None and (header.number, header.salt) != (self._info.number, self._info.salt):
                raise MalformedError("the file is another table than the manifest names")
        except MalformedError as error:
            self._fault(error.reason, error.offset_bytes, HEADER_BYTES)
            return None
        return header

    def _footer(self, header: TableHeader | None) -> TableFooter | None:
        at = self._remains.size_bytes - FOOTER_BYTES
        try:
            if at < HEADER_BYTES:
                raise MalformedError("the table is cut short")
            raw = self._file.pread(FOOTER_BYTES, at)
            footer = decode_footer(raw, salt=self._remains.salt, offset_bytes=at)
            if header is not None and (footer.version, footer.store, footer.number, footer.lsn, footer.below) != (
                header.version,
                header.store,
                header.number,
                header.lsn,
                header.below,
            ):
                raise MalformedError("header and footer are of different tables")
            if self._info is not None and footer_checksum(raw) != self._info.footer_crc:
                raise MalformedError("the footer isn't the one that the manifest names")
        except MalformedError as error:
            self._fault(error.reason, max(at, 0), FOOTER_BYTES)
            return None
        self._known_entries = footer.entry_count
        return footer

    def _index(self, offset_bytes: int, length_bytes: int) -> IndexBlock | None:
        raw = self._file.pread(min(length_bytes, INDEX_BLOCK_BYTES_MAX), offset_bytes)
        try:
            check_block(raw, salt=self._remains.salt, offset_bytes=offset_bytes)
            return decode_index(raw, offset_bytes=offset_bytes)
        except MalformedError as error:
            self._fault(f"an index block: {error.reason}", offset_bytes, length_bytes)
            return None

    def _walk(self, index: IndexBlock) -> None:
        for at in range(len(index.firsts)):
            entry = index.entry(at)
            if entry.offset_bytes < self._end_bytes:
                # Each block is read once, whatever the index says.
                self._fault("an index names a block twice", entry.offset_bytes, entry.length_bytes)
                self._lost.append((entry.first, above(index.lasts[-1])))
                return
            if index.level:
                child = self._index(entry.offset_bytes, entry.length_bytes)
                if child is not None and child.level == index.level - 1:
                    self._walk(child)
                else:
                    self._sequence(self._end_bytes, entry.offset_bytes, entry.first, above(entry.last))
            else:
                try:
                    self._take(entry.offset_bytes, entry.length_bytes)
                except MalformedError as error:
                    keys = (entry.first, above(entry.last))
                    self._fault(f"a block: {error.reason}", entry.offset_bytes, entry.length_bytes, keys)
            self._end_bytes = entry.offset_bytes + entry.length_bytes
        if self._is_filtered and not index.level:
            self._look_at_filter(index)

    def _look_at_filter(self, index: IndexBlock) -> None:
        for page in range(page_count(index)):
            offset_bytes, length_bytes, count = page_place(index, page * PAGE_BLOCKS)
            try:
                if offset_bytes < self._end_bytes:
                    raise MalformedError("an index counts more entries than there is a filter for")
                raw = self._file.pread(length_bytes, offset_bytes)
                check_block(raw, salt=self._remains.salt, offset_bytes=offset_bytes)
                check_page(raw, count)
            except MalformedError as error:
                self._fault(f"a filter: {error.reason}", max(offset_bytes, 0), length_bytes)
                if offset_bytes < self._end_bytes:
                    return
            self._end_bytes = offset_bytes + length_bytes

    def _take(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Keep the data block at that place; return its last key."""
        remains = self._remains
        block = _read_data(
            self._file, remains.salt, offset_bytes, length_bytes, is_compressed=remains.is_compressed
        )
        first, last = next(iter(block)), next(reversed(block))
        if remains.places and first <= remains.places[-1].last:
            # Whoever merges what tables say relies on their order, and no table was ever written like this.
            raise MalformedError("its keys aren't behind those of the block before it")
        remains.places.append(Place(offset_bytes, length_bytes, first, last, len(block)))
        return last

    def _sequence(self, at: int, end: int | None, start: bytes, stop: bytes) -> None:
        """Read block behind block up to `end`, or as far as it goes; what is behind that, up to key `stop`, is lost."""
        known = start
        limit = self._remains.size_bytes if end is None else end
        while at < limit:
            length = _data_length(self._file, at, min(limit - at, DATA_BLOCK_BYTES_MAX))
            try:
                known = above(self._take(at, length))
            except MalformedError:
                length = self._length_without_keys(at, min(limit - at, INDEX_BLOCK_BYTES_MAX))
                if not length:
                    break
            at += length
        if at != end and not (end is None and self._ends_at(at)):
            self._fault("a block, and what follows it: no block passes here", at, max(limit - at, 0), (known, stop))

    def _length_without_keys(self, at: int, limit_bytes: int) -> int:
        """Return how long the index block or the filter page is that begins here, 0 if none does."""
        for length_of in (_index_length, _page_length):
            length = length_of(self._file, at, limit_bytes)
            with contextlib.suppress(MalformedError):
                check_block(self._file.pread(length, at), salt=self._remains.salt, offset_bytes=at)
                return length
        return 0

    def _ends_at(self, at: int) -> bool:
        """Whether what is left is a damaged footer and no block: by its magic, or because all entries are there."""
        is_footer = self._file.pread(len(FOOTER_MAGIC), at) == FOOTER_MAGIC
        is_all = self._info is not None and self._info.entry_count == self._remains.entry_count
        return at == self._remains.size_bytes - FOOTER_BYTES and (is_footer or is_all)


def _read_data(
    file: ReadableFile, salt: int, offset_bytes: int, length_bytes: int, *, is_compressed: bool
) -> dict[bytes, bytes | None]:
    raw = file.pread(length_bytes, offset_bytes)
    check_block(raw, salt=salt, offset_bytes=offset_bytes)
    return decode_block(plain(raw) if is_compressed else raw)


def _data_length(file: ReadableFile, at: int, limit_bytes: int) -> int:
    """Return how long a data block that begins here would be, 0 if none of that limit can."""
    length = block_length(file.pread(min(limit_bytes, _PROBE_BYTES), at))
    return length if length <= limit_bytes else 0


def _page_length(file: ReadableFile, at: int, limit_bytes: int) -> int:
    """Return how long a filter page that begins here would be, 0 if none of that limit can."""
    if limit_bytes < PAGE_OVERHEAD_BYTES:
        return 0
    length = page_length(file.pread(PAGE_OVERHEAD_BYTES, at))
    return length if length <= limit_bytes else 0


def _index_length(file: ReadableFile, at: int, limit_bytes: int) -> int:
    """Return how long an index block that begins here would be, 0 if none of that limit can."""
    buffer = file.pread(limit_bytes, at)
    if len(buffer) < INDEX_BLOCK_BYTES_MIN:
        return 0
    count, _ = _INDEX_HEAD.unpack_from(buffer)
    end = _INDEX_HEAD.size + count * INDEX_ENTRY_BYTES
    if end > limit_bytes:
        return 0
    rows = INDEX_ENTRY.struct.iter_unpack(buffer[_INDEX_HEAD.size : end])
    end += sum(row[0] + row[1] for row in rows)
    return end + CRC_BYTES if end + CRC_BYTES <= limit_bytes else 0
