"""A table's ends: the header that places the file and the footer that closes it.

    header | data blocks, each run of them followed by its filter and its index block | footer

Every byte is under a checksum and the blocks leave no gap, so a flipped bit
anywhere is found by whoever reads it. Index blocks are written behind what
they point to; the last of them, the root, is where a reader begins. What is
inside the blocks: `journalkit.format.block`, `journalkit.format.index`; the
filter, which tables of version 1 don't have: `journalkit.format.filters`.

A table holds the whole state at an LSN, or is a delta: what was set and
deleted up to there since an earlier one, whose state lies in the tables below.

A table is never changed. The footer's checksum covers all that the footer
says, the root's own checksum included; the manifest records it, so that an
older or a foreign file under the same name is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from journalkit.format.checksum import checksum, seed_at
from journalkit.format.compression import library
from journalkit.format.layout import Field, Layout
from journalkit.format.malformed import MalformedError, NewerFormatError

MAGIC: Final = b"JKTAB\r\n\x1a"
FOOTER_MAGIC: Final = b"JKTEND\r\n"
VERSION: Final = 2
COMPRESSED: Final = 3
"""The version of tables whose blocks may be compressed."""
UNFILTERED: Final = 1
"""The version of tables without filters. They are read as ever, and no longer written."""
_CRC_BYTES: Final = 4

WHOLE: Final = 0
"""`below` of a table that needs none under it."""
_BELOW_MODULUS: Final = (1 << 16) - 1

HEADER: Final = Layout(
    Field("magic", "8s", "`JKTAB\\r\\n\\x1a`"),
    Field("version", "H", "format version of the table: 2; 1: no filters; 3: blocks may be compressed"),
    Field("below", "H", "0: the table holds the whole state; else it is a delta on one: 1 + its LSN modulo 65,535"),
    Field("salt", "I", "random; seeds the checksums of the blocks and of the footer"),
    Field("store", "16s", "UUID of the store"),
    Field("number", "Q", "the table's number, as in its file name"),
    Field("lsn", "Q", "the table holds the state at this LSN, or a delta up to it"),
    Field("header_checksum", "I", "CRC32C of all bytes before it"),
)
HEADER_BYTES: Final = HEADER.size

FOOTER: Final = Layout(
    Field("magic", "8s", "`JKTEND\\r\\n`"),
    Field("version", "H", "as in the header"),
    Field("below", "H", "as in the header"),
    Field("store", "16s", "as in the header"),
    Field("number", "Q", "as in the header"),
    Field("lsn", "Q", "as in the header"),
    Field("entry_count", "Q", "entries in the table, tombstones included"),
    Field("tombstone_count", "Q", "how many of them are tombstones"),
    Field("block_count", "Q", "data blocks"),
    Field("data_bytes", "Q", "bytes of all data blocks, checksums included"),
    Field("root_offset", "Q", "where the root index block begins"),
    Field("root_length", "I", "its bytes, its checksum included; the footer follows it"),
    Field("root_checksum", "I", "the checksum that the root ends with"),
    Field("footer_checksum", "I", "CRC32C of the footer before it, seeded with salt + offset of the footer"),
)
FOOTER_BYTES: Final = FOOTER.size


@dataclass(frozen=True, slots=True)
class TableInfo:
    """What the manifest records of a table: enough to know the very file again."""

    number: int
    size_bytes: int
    entry_count: int
    footer_crc: int
    salt: int


@dataclass(frozen=True, slots=True)
class TableHeader:
    """The fields of a table's header that say something."""

    salt: int
    store: bytes
    number: int
    lsn: int
    below: int = WHOLE
    version: int = VERSION

    def encode(self) -> bytes:
        """Return the header as `HEADER_BYTES` bytes."""
        data = HEADER.pack(
            magic=MAGIC,
            version=self.version,
            below=self.below,
            salt=self.salt,
            store=self.store,
            number=self.number,
            lsn=self.lsn,
            header_checksum=0,
        )[:-_CRC_BYTES]
        return data + checksum(data).to_bytes(_CRC_BYTES, "little")


@dataclass(frozen=True, slots=True)
class TableFooter:
    """The fields of a table's footer that say something."""

    store: bytes
    number: int
    lsn: int
    entry_count: int
    tombstone_count: int
    block_count: int
    data_bytes: int
    root_offset: int
    root_length: int
    root_checksum: int
    below: int = WHOLE
    version: int = VERSION

    def encode(self, *, salt: int) -> bytes:
        """Return the footer as `FOOTER_BYTES` bytes, for its place right behind the root."""
        data = FOOTER.pack(
            magic=FOOTER_MAGIC,
            version=self.version,
            below=self.below,
            store=self.store,
            number=self.number,
            lsn=self.lsn,
            entry_count=self.entry_count,
            tombstone_count=self.tombstone_count,
            block_count=self.block_count,
            data_bytes=self.data_bytes,
            root_offset=self.root_offset,
            root_length=self.root_length,
            root_checksum=self.root_checksum,
            footer_checksum=0,
        )[:-_CRC_BYTES]
        crc = checksum(data, seed_at(salt, self.root_offset + self.root_length))
        return data + crc.to_bytes(_CRC_BYTES, "little")


def delta_on(lsn: int) -> int:
    """Return what a table says in `below` if it holds the changes to the state at `lsn`: enough to notice a gap."""
    return 1 + lsn % _BELOW_MODULUS


def decode_header(data: bytes) -> TableHeader:
    """Return the header that `data` (the file's first `HEADER_BYTES` bytes) holds.

    Raises:
        MalformedError: It isn't one, or is damaged.
        NewerFormatError: It is whole, and of a later version, or its blocks take a library that isn't installed.
    """
    fields = HEADER.unpack(data)
    if fields.pop("magic") != MAGIC:
        raise MalformedError("not a table")
    if checksum(data[:-_CRC_BYTES]) != fields.pop("header_checksum"):
        raise MalformedError("the table's header is damaged")
    _refuse_newer(fields["version"])
    return TableHeader(**fields)


def decode_footer(data: bytes, *, salt: int, offset_bytes: int) -> TableFooter:
    """Return the footer that `data` (the file's last `FOOTER_BYTES` bytes, at `offset_bytes`) holds.

    What it says of the root fits the file: the root lies between header and
    footer and ends where the footer begins.

    Raises:
        MalformedError: It isn't one, or is damaged.
        NewerFormatError: It is whole, and of a later version, or its blocks take a library that isn't installed.
    """
    fields = FOOTER.unpack(data)
    if fields.pop("magic") != FOOTER_MAGIC:
        raise MalformedError("no footer: the table is cut short, or its end was overwritten")
    if checksum(data[:-_CRC_BYTES], seed_at(salt, offset_bytes)) != fields.pop("footer_checksum"):
        raise MalformedError("the table's footer is damaged")
    _refuse_newer(fields["version"])
    footer = TableFooter(**fields)
    if footer.root_offset < HEADER_BYTES or footer.root_offset + footer.root_length != offset_bytes:
        raise MalformedError("the footer's root index block is not where one can be")
    return footer


def footer_checksum(encoded: bytes) -> int:
    """Return the checksum that an encoded footer ends with: `TableInfo.footer_crc`."""
    return int.from_bytes(encoded[-_CRC_BYTES:], "little")


def _refuse_newer(version: int) -> None:
    if version == COMPRESSED:
        library()
    elif version not in (UNFILTERED, VERSION):
        raise NewerFormatError(f"a table of format {version}, this version reads {UNFILTERED} to {COMPRESSED}")
