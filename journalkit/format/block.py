"""Blocks of a table: sorted entries, or the index of other blocks, each under a checksum.

    data block    u32 count, entries: u16 key bytes, u32 value bytes, key, value
    index block   u32 count, u8 level, entries: see `INDEX_ENTRY`, then of each the first and the last key
    either ends   u32 CRC32C, seeded with the table's salt and the block's offset

Value bytes of 0xFFFFFFFF mean a tombstone. The body, all before the checksum,
doesn't know its place: to copy a block to another table only the checksum is
computed anew, and two data blocks are joined by joining their entries.

An index block of level 0 points to data blocks, one of level n to index blocks
of level n - 1. What it says of a block (first and last key, entries,
tombstones) is compared with the block whenever one is read, so order inside
each block is order throughout the table.

`decode_block` is a hot path: one struct call and two slices an entry, no
object but key and value; order is checked afterwards, at the speed of C.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import add, le, lt
from typing import Any, Final, NamedTuple

from journalkit.format.checksum import checksum, seed_at
from journalkit.format.layout import Field, Layout
from journalkit.format.malformed import MalformedError
from journalkit.format.table import HEADER_BYTES

Entry = tuple[bytes, bytes | None]
"""One key with its encoded value; None is a tombstone."""

Block = dict[bytes, bytes | None]
"""A decoded data block: its entries, in key order."""

KEY_BYTES_MAX: Final = 0xFFFF
VALUE_BYTES_MAX: Final = 1 << 30
"""Limits of the format. What a store accepts is less, and is its own decision."""

INDEX_FANOUT: Final = 256
INDEX_BLOCK_BYTES_TARGET: Final = 64 * 1024
INDEX_BLOCK_BYTES_MAX: Final = 4 * 1024 * 1024
INDEX_FANOUT_MIN: Final = 16
"""An index block is full at the fanout, or at its target size with the least fanout; so it never exceeds
its maximum, whatever the keys, and an index block is all that a step of a lookup parses."""

LEVELS_MAX: Final = 16

INDEX_ENTRY: Final = Layout(
    Field("first_bytes", "H", "bytes of the block's first key"),
    Field("last_bytes", "H", "bytes of its last key"),
    Field("offset", "Q", "where the block begins in the file"),
    Field("length", "I", "its bytes, checksum included"),
    Field("entry_count", "Q", "entries in it or below it"),
    Field("tombstone_count", "Q", "how many of them are tombstones"),
)

CRC_BYTES: Final = 4
TOMBSTONE_BYTES: Final = 0xFFFF_FFFF
_COUNT: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HI")
_INDEX_HEAD: Final = struct.Struct("<IB")
_INDEX_ENTRY: Final = INDEX_ENTRY.struct
BLOCK_BYTES_MIN: Final = _COUNT.size + _ENTRY.size + CRC_BYTES
INDEX_BLOCK_BYTES_MIN: Final = _INDEX_HEAD.size + CRC_BYTES
BLOCK_COUNT_BYTES: Final = _COUNT.size
ENTRY_HEAD_BYTES: Final = _ENTRY.size
INDEX_ENTRY_BYTES: Final = _INDEX_ENTRY.size


class IndexEntry(NamedTuple):
    """What an index says of one block. Keys are inclusive, tombstones are entries."""

    first: bytes
    last: bytes
    offset_bytes: int
    length_bytes: int
    entry_count: int
    tombstone_count: int


@dataclass(slots=True)
class IndexBlock:
    """An index block as columns; `firsts`, the blocks' first keys, are there to bisect in.

    A writer fills one with `add`; one that was decoded is shared and stays as it is.
    """

    level: int
    firsts: list[bytes] = field(default_factory=list)
    lasts: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    entry_counts: list[int] = field(default_factory=list)
    tombstone_counts: list[int] = field(default_factory=list)

    def add(self, entry: IndexEntry) -> None:
        """Append what is said of one more block."""
        for column, value in zip(self._columns(), entry, strict=True):
            column.append(value)

    def entry(self, at: int) -> IndexEntry:
        """Return what is said of the block at this place."""
        return IndexEntry(*[column[at] for column in self._columns()])

    def summary(self, offset_bytes: int, length_bytes: int) -> IndexEntry:
        """Return what the index above has to say of this one, which is at that place of the file."""
        return IndexEntry(
            self.firsts[0] if self.firsts else b"",
            self.lasts[-1] if self.lasts else b"",
            offset_bytes,
            length_bytes,
            sum(self.entry_counts),
            sum(self.tombstone_counts),
        )

    def _columns(self) -> tuple[list[Any], ...]:
        return self.firsts, self.lasts, self.offsets, self.lengths, self.entry_counts, self.tombstone_counts


def encode_entry(key: bytes, value: bytes | None) -> bytes:
    """Return one entry of a data block; ValueError if it can't be one."""
    key_bytes = len(key)
    if key_bytes > KEY_BYTES_MAX:
        raise ValueError(f"a key of {key_bytes} bytes, at most {KEY_BYTES_MAX} fit")
    if value is None:
        return _ENTRY.pack(key_bytes, TOMBSTONE_BYTES) + key
    if len(value) > VALUE_BYTES_MAX:
        raise ValueError(f"a value of {len(value)} bytes, at most {VALUE_BYTES_MAX} fit")
    return b"%b%b%b" % (_ENTRY.pack(key_bytes, len(value)), key, value)


def encode_block(count: int, entries: Sequence[bytes]) -> bytes:
    """Return the body of a data block of `count` entries, given as they are encoded, in runs."""
    return b"".join((_COUNT.pack(count), *entries))


def block_entries(body: bytes) -> tuple[int, bytes]:
    """Return how many entries a checked body says it has, and their bytes."""
    return _COUNT.unpack_from(body)[0], body[BLOCK_COUNT_BYTES:]


def block_checksum(body: bytes, *, salt: int, offset_bytes: int) -> bytes:
    """Return the bytes that close a body which begins at `offset_bytes` of the table with this salt."""
    return checksum(body, seed_at(salt, offset_bytes)).to_bytes(CRC_BYTES, "little")


def check_block(block: bytes, *, salt: int, offset_bytes: int) -> None:
    """Raise MalformedError unless `block`, checksum included, belongs to this place of this table."""
    end = len(block) - CRC_BYTES
    if end < 0:
        raise MalformedError("a block shorter than its checksum")
    if checksum(memoryview(block)[:end], seed_at(salt, offset_bytes)) != int.from_bytes(block[end:], "little"):
        raise MalformedError("the block's checksum doesn't match", end)


def decode_block(block: bytes) -> Block:
    """Return the entries of a data block whose checksum was found right.

    Raises MalformedError for anything but strictly ascending entries that fill
    the body exactly. O(len(block)), whatever the bytes say.
    """
    end = len(block) - CRC_BYTES
    if end < BLOCK_BYTES_MIN - CRC_BYTES:
        raise MalformedError("a data block too short for an entry")
    (count,) = _COUNT.unpack_from(block)
    if not 0 < count <= (end - BLOCK_COUNT_BYTES) // ENTRY_HEAD_BYTES:
        raise MalformedError(f"a data block that can't hold its {count} entries")
    unpack = _ENTRY.unpack_from
    entries: Block = {}
    at = BLOCK_COUNT_BYTES
    try:
        for _ in range(count):
            key_bytes, value_bytes = unpack(block, at)
            middle = at + 6 + key_bytes
            key = block[at + 6 : middle]
            if value_bytes == TOMBSTONE_BYTES:
                entries[key] = None
                at = middle
            else:
                at = middle + value_bytes
                entries[key] = block[middle:at]
    except struct.error:
        raise MalformedError("an entry reaches beyond its block", at) from None
    if at != end:
        raise MalformedError("entries don't fill their block", min(at, end))
    keys = list(entries)
    if len(keys) != count or sorted(keys) != keys:
        raise MalformedError("keys in a block don't ascend")
    return entries


def encode_index(index: IndexBlock) -> bytes:
    """Return the body of an index block."""
    rows = map(
        _INDEX_ENTRY.pack,
        map(len, index.firsts),
        map(len, index.lasts),
        index.offsets,
        index.lengths,
        index.entry_counts,
        index.tombstone_counts,
    )
    keys = chain.from_iterable(zip(index.firsts, index.lasts, strict=True))
    return b"".join((_INDEX_HEAD.pack(len(index.firsts), index.level), *rows, *keys))


def decode_index(block: bytes, *, offset_bytes: int) -> IndexBlock:
    """Return the index block that begins at `offset_bytes`, its checksum found right.

    The blocks it names ascend in key and in place, and lie between the header
    and the index block itself: following it always ends.

    Raises MalformedError otherwise. O(len(block)), in a few passes at the speed
    of C: a lookup that misses the cache pays for this.
    """
    end = len(block) - CRC_BYTES
    if not INDEX_BLOCK_BYTES_MIN <= len(block) <= INDEX_BLOCK_BYTES_MAX:
        raise MalformedError(f"an index block of {len(block)} bytes")
    count, level = _INDEX_HEAD.unpack_from(block)
    at = _INDEX_HEAD.size + count * INDEX_ENTRY_BYTES
    if level >= LEVELS_MAX or at > end or (level and not count):
        raise MalformedError(f"an index block of level {level} that can't hold its {count} entries")
    rows = _INDEX_ENTRY.iter_unpack(block[_INDEX_HEAD.size : at])
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in INDEX_ENTRY.fields]
    first_bytes, last_bytes, offsets, lengths, entry_counts, tombstone_counts = columns
    firsts, lasts = [], []
    for first, last in zip(first_bytes, last_bytes, strict=True):
        middle = at + first
        firsts.append(block[at:middle])
        at = middle + last
        lasts.append(block[middle:at])
    if at != end:
        raise MalformedError("keys don't fill their index block", min(at, end))
    index = IndexBlock(level, firsts, lasts, offsets, lengths, entry_counts, tombstone_counts)
    _check_index(index, offset_bytes)
    return index


def _check_index(index: IndexBlock, index_offset_bytes: int) -> None:
    next_firsts = islice(index.firsts, 1, None)
    if not (all(map(le, index.firsts, index.lasts)) and all(map(lt, index.lasts, next_firsts))):
        raise MalformedError("keys in an index block don't ascend")
    ends = [HEADER_BYTES, *map(add, index.offsets, index.lengths)]
    if not all(map(le, ends, [*index.offsets, index_offset_bytes])):
        raise MalformedError("an index block names a block where none can be")
    if min(index.lengths, default=BLOCK_BYTES_MIN) < BLOCK_BYTES_MIN:
        raise MalformedError("an index block names a block too short for an entry")
    if not (all(index.entry_counts) and all(map(le, index.tombstone_counts, index.entry_counts))):
        raise MalformedError("an index block names a block without entries, or with more tombstones than entries")
