"""Filter pages of a table: whether a data block may hold a key, asked without reading the block.

    u32 count
    of each entry  u8: the highest byte of its key's CRC32C
    of each entry  u8: the next lower byte
    u32 CRC32C, as of a data block

A page speaks of the entries of up to `PAGE_BLOCKS` data blocks of one index
block, in order. The pages of an index block stand right in front of it, so
that their places follow from what it counts. A key that isn't there passes for
one that may be in one of 400 blocks of 150 entries.

What a filter denies is not looked for any further: a wrong one would hide a
key. Whoever verifies a table compares each byte; a get believes a page whose
checksum is right, and does without one whose checksum isn't.

The two bytes of each key lie in planes apart, so that a get finds the first at
the speed of C and compares the second; the lowest byte is the one by which the
block itself finds the key. A block that is copied unparsed brings its part.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from crc32c import crc32c

from journalkit.format.block import CRC_BYTES
from journalkit.format.index import IndexBlock
from journalkit.format.malformed import MalformedError

PAGE_BLOCKS: Final = 16
"""So many blocks share a page: it is read for less than one of them, and weighs little beside its place in a cache."""

ENTRY_BYTES: Final = 2
_HEAD: Final = struct.Struct("<I")
HEAD_BYTES: Final = _HEAD.size
PAGE_OVERHEAD_BYTES: Final = HEAD_BYTES + CRC_BYTES
_HIGHEST, _NEXT = 3, 2


def part_of(crcs: bytes) -> bytes:
    """Return what a page has to say of entries, given `key_crcs` of them: the first plane, then the second."""
    return crcs[_HIGHEST::CRC_BYTES] + crcs[_NEXT::CRC_BYTES]


def joined(parts: Iterable[bytes]) -> bytes:
    """Return parts of entries that follow one another as one part."""
    halves = [(part[: len(part) // 2], part[len(part) // 2 :]) for part in parts]
    return b"".join([highest for highest, _ in halves] + [lower for _, lower in halves])


def encode_page(part: bytes) -> bytes:
    """Return the body of a page that says this."""
    return _HEAD.pack(len(part) // ENTRY_BYTES) + part


def page_length(beginning: bytes) -> int:
    """Return how long a page that begins with these bytes would be, checksum included. For who has no index to ask."""
    return int(_HEAD.unpack_from(beginning)[0]) * ENTRY_BYTES + PAGE_OVERHEAD_BYTES


def check_page(page: bytes, count: int) -> None:
    """Raise MalformedError unless a page, its checksum found right, speaks of so many entries."""
    if len(page) != count * ENTRY_BYTES + PAGE_OVERHEAD_BYTES or _HEAD.unpack_from(page) != (count,):
        raise MalformedError("a filter of other entries than its index counts")


def page_count(index: IndexBlock) -> int:
    """Return how many pages belong to an index block that was decoded."""
    return -(-len(index.firsts) // PAGE_BLOCKS) if not index.level else 0


def page_place(index: IndexBlock, at: int) -> tuple[int, int, int]:
    """Return offset and length of the page that speaks of the block at this place of an index, and of how many entries.

    A page that can't be there, because the index counts more than fits in front of it, begins below 0.
    """
    starts, page = index.starts, at // PAGE_BLOCKS
    first = starts[page * PAGE_BLOCKS]
    count = starts[min((page + 1) * PAGE_BLOCKS, len(starts) - 1)] - first
    behind_bytes = (starts[-1] - first) * ENTRY_BYTES + (page_count(index) - page) * PAGE_OVERHEAD_BYTES
    return index.offset_bytes - behind_bytes, count * ENTRY_BYTES + PAGE_OVERHEAD_BYTES, count


def part_in(page: bytes, index: IndexBlock, at: int) -> bytes:
    """Return what a page says of the block at this place of its index."""
    starts = index.starts
    low = HEAD_BYTES + starts[at] - starts[at // PAGE_BLOCKS * PAGE_BLOCKS]
    high = low + starts[at + 1] - starts[at]
    count = len(page) - PAGE_OVERHEAD_BYTES >> 1
    return page[low:high] + page[low + count : high + count]


def may_hold(page: bytes, low: int, high: int, key: bytes) -> bool:
    """Whether the entries from `low` to `high`, not included, of a page may be of this key. False is certain."""
    # Hot: what a get pays for that looks for what isn't there.
    crc = crc32c(key)
    highest, lower = crc >> 24, crc >> 16 & 0xFF
    second_plane = len(page) - PAGE_OVERHEAD_BYTES >> 1
    high += HEAD_BYTES
    found = page.find(highest, low + HEAD_BYTES, high)
    while found >= 0:
        if page[found + second_plane] == lower:
            return True
        found = page.find(highest, found + 1, high)
    return False
