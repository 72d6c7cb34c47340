"""An open table file, read block by block, each checked as it is read.

Here malformed bytes get their meaning: whatever is wrong in a table that the
manifest names is corruption, and the error says which keys it costs. What the
operating system refuses (a missing file too) is its `OSError`, as it comes.

A filter alone costs no key when it is damaged: whoever asks it learns that it
says nothing, and reads the block. `Table.verify` names it.

Nothing is kept here; `journalkit.snapshot.cache` does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from journalkit.errors import ClosedError, CorruptionError, UnsupportedFormatError
from journalkit.format.block import Block, check_block, check_ends, check_fingerprints, decode_block, plain
from journalkit.format.filters import check_page, page_place
from journalkit.format.index import IndexBlock, IndexEntry, decode_index
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.table import (
    COMPRESSED,
    FOOTER_BYTES,
    HEADER_BYTES,
    UNFILTERED,
    TableFooter,
    TableHeader,
    TableInfo,
    decode_footer,
    decode_header,
    footer_checksum,
)

KEY_SHOWN_BYTES = 48
"""How much of a key an error shows."""


class TableBytes(Protocol):
    """What is asked of an open file here; closing it is its owner's part."""

    def pread(self, count_bytes: int, offset_bytes: int, /) -> bytes:
        """As `ReadableFile.pread`."""
        ...

    def size(self) -> int:
        """As `ReadableFile.size`."""
        ...


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table's file with its ends, which were found right."""

    file: TableBytes
    path: str
    header: TableHeader
    footer: TableFooter
    root: IndexBlock

    def read(self, entry: IndexEntry) -> bytes:
        """Return the block that an index entry names, its checksum included and found right."""
        block = self.file.pread(entry.length_bytes, entry.offset_bytes)
        try:
            if len(block) != entry.length_bytes:
                raise MalformedError("the file ends inside the block", len(block))
            check_block(block, salt=self.header.salt, offset_bytes=entry.offset_bytes)
        except MalformedError as error:
            raise self.lost(entry, error) from error
        return block

    def plain(self, entry: IndexEntry, stored: bytes) -> bytes:
        """Return a block that was read as it is uncompressed."""
        if not self.is_compressed:
            return stored
        try:
            return plain(stored)
        except MalformedError as error:
            raise self.lost(entry, error) from error

    def raw_block(self, entry: IndexEntry) -> bytes:
        """Return the data block that an index entry names, undecoded, and as the entry says as far as its ends tell."""
        return self.matched(entry, self.read(entry))

    def matched(self, entry: IndexEntry, stored: bytes) -> bytes:
        """Return a block that was read, uncompressed, if its ends are as the entry says."""
        raw = self.plain(entry, stored)
        try:
            check_ends(raw, entry.first, entry.last, entry.entry_count)
        except MalformedError as error:
            raise self.lost(entry, error) from error
        return raw

    def block(self, entry: IndexEntry) -> Block:
        """Return the data block that an index entry names, decoded, and as the entry says it is."""
        return self._decoded(entry, self.plain(entry, self.read(entry)))

    def checked_crcs(self, entry: IndexEntry) -> bytes:
        """Check a data block thoroughly, with what lookups rely on and decoding doesn't; return `key_crcs` of it."""
        raw = self.plain(entry, self.read(entry))
        block = self._decoded(entry, raw)
        try:
            return check_fingerprints(raw, block)
        except MalformedError as error:
            raise self.lost(entry, error) from error

    def _decoded(self, entry: IndexEntry, raw: bytes) -> Block:
        try:
            block = decode_block(raw)
            tombstone_count = list(block.values()).count(None)
            found = (next(iter(block)), next(reversed(block)), len(block), tombstone_count)
            if found != (entry.first, entry.last, entry.entry_count, entry.tombstone_count):
                raise MalformedError("the block isn't the one that its index names")
        except MalformedError as error:
            raise self.lost(entry, error) from error
        return block

    @property
    def is_compressed(self) -> bool:
        """Whether blocks may be compressed."""
        return self.header.version == COMPRESSED

    @property
    def is_filtered(self) -> bool:
        """Whether the table has filters."""
        return self.header.version != UNFILTERED

    def page(self, index: IndexBlock, at: int) -> bytes:
        """Return the filter page that speaks of the block at this place of an index, its checksum found right.

        Raises:
            CorruptionError: It is damaged. No key is lost with it.
        """
        offset_bytes, length_bytes, count = page_place(index, at)
        try:
            if offset_bytes < HEADER_BYTES:
                raise MalformedError("an index counts more entries than there is a filter for", HEADER_BYTES)
            page = self.file.pread(length_bytes, offset_bytes)
            check_block(page, salt=self.header.salt, offset_bytes=offset_bytes)
            check_page(page, count)
        except MalformedError as error:
            raise CorruptionError(
                f"a filter: {error.reason}; no key is lost", path=self.path, offset_bytes=max(offset_bytes, 0)
            ) from error
        return page

    def index(self, parent: IndexBlock, entry: IndexEntry) -> IndexBlock:
        """Return the index block that an entry of `parent` names, decoded, and as the entry says it is."""
        raw = self.read(entry)
        try:
            index = decode_index(raw, offset_bytes=entry.offset_bytes)
            found = index.summary(entry.offset_bytes, entry.length_bytes)
            if index.level != parent.level - 1 or found != entry:
                raise MalformedError("the index block isn't the one that its index names")
        except MalformedError as error:
            raise self.lost(entry, error) from error
        return index

    def lost(self, entry: IndexEntry, error: MalformedError) -> CorruptionError:
        """Return the error that tells which keys are lost with a block."""
        return CorruptionError(
            f"{error.reason}; keys {_shown(entry.first)} to {_shown(entry.last)} are lost",
            path=self.path,
            offset_bytes=entry.offset_bytes + error.offset_bytes,
        )


def open_source(file: TableBytes, path: str, info: TableInfo, store_uuid: bytes) -> TableSource:
    """Return a table's file as a source once its ends agree with each other and with the manifest's `info`.

    Reads the header, the footer and the root: the cost doesn't grow with the table.

    Raises:
        CorruptionError: The file isn't the table that `info` names, or its ends are damaged.
        UnsupportedFormatError: The table is of a later format.
    """
    size_bytes = file.size()
    footer_offset = size_bytes - FOOTER_BYTES
    at = 0
    try:
        if size_bytes != info.size_bytes or footer_offset < HEADER_BYTES:
            raise MalformedError(f"the table has {size_bytes} bytes, {info.size_bytes} belong there")
        header = decode_header(file.pread(HEADER_BYTES, 0))
        if (header.store, header.number, header.salt) != (store_uuid, info.number, info.salt):
            raise MalformedError("the table is another store's, or another table")
        at = footer_offset
        footer_raw = file.pread(FOOTER_BYTES, footer_offset)
        footer = decode_footer(footer_raw, salt=header.salt, offset_bytes=footer_offset)
        if (footer.version, footer.store, footer.number, footer.lsn, footer.below) != (
            header.version,
            header.store,
            header.number,
            header.lsn,
            header.below,
        ):
            raise MalformedError("header and footer are of different tables")
        if (footer_checksum(footer_raw), footer.entry_count) != (info.footer_crc, info.entry_count):
            raise MalformedError("the table isn't the one that the manifest names")
        at = footer.root_offset
        root = _read_root(file, header, footer)
    except NewerFormatError as error:
        raise UnsupportedFormatError(f"{path}: {error}; {error.remedy}, nothing was touched") from error
    except MalformedError as error:
        raise CorruptionError(
            f"{error.reason}; all keys of the table are lost", path=path, offset_bytes=at + error.offset_bytes
        ) from error
    return TableSource(file, path, header, footer, root)


def _read_root(file: TableBytes, header: TableHeader, footer: TableFooter) -> IndexBlock:
    raw = file.pread(footer.root_length, footer.root_offset)
    check_block(raw, salt=header.salt, offset_bytes=footer.root_offset)
    root = decode_index(raw, offset_bytes=footer.root_offset)
    found = root.summary(footer.root_offset, footer.root_length)
    if (found.entry_count, found.tombstone_count) != (footer.entry_count, footer.tombstone_count):
        raise MalformedError("the root counts other entries than the footer")
    if footer_checksum(raw) != footer.root_checksum:
        raise MalformedError("the root isn't the one that the footer names")
    return root


class ClosedFile:
    """Stands in for the file of a closed table: whoever has to read is told."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def pread(self, _count_bytes: int, _offset_bytes: int, /) -> bytes:
        """Raise ClosedError."""
        raise self._error()

    def size(self) -> int:
        """Raise ClosedError."""
        raise self._error()

    def _error(self) -> ClosedError:
        return ClosedError(f"{self.path}: the table is closed; open the store again")


def _shown(key: bytes) -> str:
    if len(key) <= KEY_SHOWN_BYTES:
        return repr(key)
    return f"{key[:KEY_SHOWN_BYTES]!r}... ({len(key)} bytes)"
