"""Index blocks of a table: what they say of the blocks they point to, under a checksum.

    u32 count, u8 level, entries: see `INDEX_ENTRY`, then of each the first and the last key
    u32 CRC32C, as of a data block

An index block of level 0 points to data blocks, one of level n to index blocks
of level n - 1. What it says of a block (first and last key, entries,
tombstones) is compared with the block whenever one is read, so order inside
each block is order throughout the table.

Data blocks, and the checksum that both kinds end with: `journalkit.format.block`.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice
from operator import add, le, lt
from typing import Any, Final, NamedTuple

from journalkit.format.block import BLOCK_BYTES_MIN, CRC_BYTES
from journalkit.format.layout import Field, Layout
from journalkit.format.malformed import MalformedError
from journalkit.format.table import HEADER_BYTES

INDEX_FANOUT: Final = 256
INDEX_BLOCK_BYTES_TARGET: Final = 64 * 1024
INDEX_BLOCK_BYTES_MAX: Final = 4 * 1024 * 1024
INDEX_FANOUT_MIN: Final = 16
"""An index block is full at the fanout, or at its target size with the least fanout; so it never exceeds
its maximum, whatever the keys, and an index block is all that a step of a lookup parses."""

LEVELS_MAX: Final = 16
ENTRIES_MAX: Final = 1 << 62
"""No file has as many."""

INDEX_ENTRY: Final = Layout(
    Field("first_bytes", "H", "bytes of the block's first key"),
    Field("last_bytes", "H", "bytes of its last key"),
    Field("offset", "Q", "where the block begins in the file"),
    Field("length", "I", "its bytes, checksum included"),
    Field("entry_count", "Q", "entries in it or below it"),
    Field("tombstone_count", "Q", "how many of them are tombstones"),
)

_INDEX_HEAD: Final = struct.Struct("<IB")
_INDEX_ENTRY: Final = INDEX_ENTRY.struct
INDEX_BLOCK_BYTES_MIN: Final = _INDEX_HEAD.size + CRC_BYTES
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

    Numbers are in arrays: a cache holds many of these, and lists would weigh four times as much.

    A writer fills one with `add`; one that was decoded is shared and stays as it is. It also knows where it was,
    and at level 0 how many entries lie in the blocks before each: what it takes to find its filter.
    """

    level: int
    firsts: list[bytes] = field(default_factory=list)
    lasts: list[bytes] = field(default_factory=list)
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("I"))
    entry_counts: array[int] = field(default_factory=lambda: array("Q"))
    tombstone_counts: array[int] = field(default_factory=lambda: array("Q"))
    offset_bytes: int = field(default=0, compare=False)
    starts: array[int] = field(default_factory=lambda: array("Q"), compare=False)

    def add(self, entry: IndexEntry) -> None:
        """Append what is said of one more block."""
        for column, value in zip(self._columns(), entry, strict=True):
            column.append(value)

    def entry(self, at: int) -> IndexEntry:
        """Return what is said of the block at this place."""
        return IndexEntry(
            self.firsts[at],
            self.lasts[at],
            self.offsets[at],
            self.lengths[at],
            self.entry_counts[at],
            self.tombstone_counts[at],
        )

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

    def _columns(self) -> tuple[MutableSequence[Any], ...]:
        return self.firsts, self.lasts, self.offsets, self.lengths, self.entry_counts, self.tombstone_counts


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
    columns: Sequence[Sequence[int]] = list(zip(*rows, strict=True)) or [() for _ in INDEX_ENTRY.fields]
    first_bytes, last_bytes, offsets, lengths, entry_counts, tombstone_counts = columns
    firsts, lasts = [], []
    for first, last in zip(first_bytes, last_bytes, strict=True):
        middle = at + first
        firsts.append(block[at:middle])
        at = middle + last
        lasts.append(block[middle:at])
    if at != end:
        raise MalformedError("keys don't fill their index block", min(at, end))
    starts = [] if level else list(accumulate(entry_counts, initial=0))
    if starts and starts[-1] > ENTRIES_MAX:
        raise MalformedError(f"an index block that counts {starts[-1]} entries")
    index = IndexBlock(
        level,
        firsts,
        lasts,
        array("Q", offsets),
        array("I", lengths),
        array("Q", entry_counts),
        array("Q", tombstone_counts),
        offset_bytes,
        array("Q", starts),
    )
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
