"""Data blocks of a table: sorted entries, each found without reading the others, under a checksum.

    u32 where the first entry begins
    of each entry  u16 key bytes, u32 where the entry ends
    of each entry  u8 fingerprint: the low byte of the key's CRC32C
    of each entry  key, value
    u32 CRC32C, seeded with the table's salt and the block's offset

Key bytes of 0xFFFF mean a tombstone, of which the key is all there is. Places
count from the block's beginning, so the body, all before the checksum, doesn't
know its place in the file: to copy a block to another table only the checksum
is computed anew.

An entry begins where the one before it ends. So u32, u16, u32 at byte `6 * n`
are where entry n begins, its key bytes and where it ends, for the first entry
too: one struct call reads them.

A block that was read is kept as it is; nothing is decoded ahead. Hot are
`find_entry`, which a get pays for: it looks only at entries with the key's
fingerprint, one or two of a hundred; `decode_block`, which folds pay for: two
slices an entry, no object but key and value; and `encode_block`, which works in
columns, at the speed of C. What scans pay for is in `journalkit.format.columns`.

The other blocks of a table: `journalkit.format.index`.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate, chain, islice
from operator import add, sub
from typing import Final, NamedTuple

from crc32c import crc32c

from journalkit.compiled import compiled
from journalkit.format.checksum import SEED_MASK, checksum, seed_at
from journalkit.format.compression import is_packed, packed_length, unpacked
from journalkit.format.malformed import MalformedError
from journalkit.types import ABSENT, Absent

Entry = tuple[bytes, bytes | None]
"""One key with its encoded value; None is a tombstone."""

Block = dict[bytes, bytes | None]
"""A decoded data block: its entries, in key order."""

KEY_BYTES_MAX: Final = 0xFFFE
ENTRY_BYTES_MAX: Final = 1 << 30
"""Limits of the format. What a store accepts is less, and is its own decision."""

CRC_BYTES: Final = 4
TOMBSTONE: Final = 0xFFFF

_RESIDUE: Final = 0x48674BC7
"""The CRC32C of any bytes that end with their own CRC32C, whatever it started from. So a block is checked in one
pass without being cut in two."""

_PLACE: Final = struct.Struct("<I")
_ROW: Final = struct.Struct("<HI")
_ENTRY: Final = struct.Struct("<IHI")
_FINGERPRINT_BYTES: Final = 1
START_BYTES: Final = _PLACE.size
ROW_BYTES: Final = _ROW.size
ENTRY_OVERHEAD_BYTES: Final = ROW_BYTES + _FINGERPRINT_BYTES
"""What an entry takes in a block beside its key and its value."""

BLOCK_BYTES_MIN: Final = START_BYTES + ENTRY_OVERHEAD_BYTES + CRC_BYTES


class Run(NamedTuple):
    """Entries in columns, as `encode_block` takes them; `run_of` makes one.

    A tombstone's value is empty here and its key bytes are TOMBSTONE; lengths are of key and value together;
    `crcs` are those of the keys, as `key_crcs` has them.
    """

    keys: Sequence[bytes]
    values: Sequence[bytes]
    key_bytes: Sequence[int]
    lengths: Sequence[int]
    crcs: bytes

    def part(self, low: int, high: int) -> Run:
        """Return entries `low` to `high`, not included."""
        return Run(
            self.keys[low:high],
            self.values[low:high],
            self.key_bytes[low:high],
            self.lengths[low:high],
            self.crcs[low * CRC_BYTES : high * CRC_BYTES],
        )


def run_of(entries: Iterable[Entry]) -> Run:
    """Return at least one entry as a run; ValueError if one exceeds the format. Order is the caller's part."""
    keys, values = zip(*entries, strict=True)
    key_bytes = list(map(len, keys))
    longest = max(key_bytes)
    if not all(values):  # tombstones, or empty values: this much is quick to tell
        key_bytes = [TOMBSTONE if value is None else len(key) for key, value in zip(keys, values, strict=True)]
        values = tuple(value or b"" for value in values)
    lengths = list(map(add, map(len, keys), map(len, values)))
    if longest > KEY_BYTES_MAX:
        raise ValueError(f"a key of {longest} bytes, at most {KEY_BYTES_MAX} fit")
    if max(lengths) > ENTRY_BYTES_MAX:
        raise ValueError(f"an entry of {max(lengths)} bytes, at most {ENTRY_BYTES_MAX} fit")
    return Run(keys, values, key_bytes, lengths, key_crcs(keys))


def encode_block(pieces: Sequence[Run | bytes]) -> bytes:
    """Return the body of a data block: runs in key order, and bodies whose entries join them unparsed.

    O(bytes); a body alone is returned as it is. Raises MalformedError for a body that isn't one.
    """
    if len(pieces) == 1 and isinstance(pieces[0], bytes):
        return pieces[0]
    key_bytes: list[int] = []
    lengths: list[int] = []
    fingerprints: list[bytes] = []
    data: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            columns = _columns_of_body(piece)
            key_bytes += columns[0]
            lengths += columns[1]
            fingerprints.append(columns[2])
            data.append(columns[3])
        else:
            key_bytes += piece.key_bytes
            lengths += piece.lengths
            fingerprints.append(piece.crcs[::CRC_BYTES])
            data += chain.from_iterable(zip(piece.keys, piece.values, strict=True))
    start = START_BYTES + len(lengths) * ENTRY_OVERHEAD_BYTES
    ends = islice(accumulate(lengths, initial=start), 1, None)
    return b"".join((_PLACE.pack(start), *map(_ROW.pack, key_bytes, ends), *fingerprints, *data))


def _columns_of_body(body: bytes) -> tuple[Sequence[int], Sequence[int], bytes, bytes]:
    """Return of a body's entries the key bytes, the lengths and the fingerprints, and all of them together."""
    count, start = block_shape(body)
    fingerprints = start - count
    key_bytes, ends = zip(*_ROW.iter_unpack(body[START_BYTES:fingerprints]), strict=True)
    lengths = list(map(sub, ends, (start, *ends)))
    if min(lengths) < 0 or ends[-1] != len(body):
        raise MalformedError("entries don't fill their block", start)
    return key_bytes, lengths, body[fingerprints:start], body[start:]


def key_crcs(keys: Collection[bytes]) -> bytes:
    """Return the CRC32C of each key, low byte first: all that blocks and filters know keys by."""
    return struct.pack(f"<{len(keys)}I", *map(crc32c, keys))


def body_crcs(body: bytes) -> bytes:
    """Return `key_crcs` of a whole body that is copied unparsed. Raises MalformedError for one that isn't whole."""
    key_bytes, lengths, _, data = _columns_of_body(body)
    begins = accumulate(lengths, initial=0)
    return key_crcs(
        [
            data[begin : begin + min(key_length, length)]
            for begin, key_length, length in zip(begins, key_bytes, lengths, strict=False)
        ]
    )


def block_shape(block: bytes) -> tuple[int, int]:
    """Return how many entries a data block says it has, and where they begin. With or without its checksum.

    Raises MalformedError where the block has no room for that.
    """
    if len(block) < START_BYTES + ENTRY_OVERHEAD_BYTES:
        raise MalformedError("a data block too short for an entry")
    (start,) = _PLACE.unpack_from(block)
    count, rest = divmod(start - START_BYTES, ENTRY_OVERHEAD_BYTES)
    if count < 1 or rest or start > len(block):
        raise MalformedError(f"a data block whose entries can't begin at byte {start}")
    return count, start


def block_length(beginning: bytes) -> int:
    """Return how long a data block that begins with these bytes would be, checksum included; 0 if none can.

    The rows are all that has to be there; those of any block that a
    `TableWriter` makes end within 64 KiB. For who has no index to ask.
    """
    if is_packed(beginning):
        length = packed_length(beginning)
        return length + CRC_BYTES if length else 0
    try:
        count, _ = block_shape(beginning)
    except MalformedError:
        return 0
    return int(_PLACE.unpack_from(beginning, count * ROW_BYTES)[0]) + CRC_BYTES


def block_checksum(body: bytes, *, salt: int, offset_bytes: int) -> bytes:
    """Return the bytes that close a body which begins at `offset_bytes` of the table with this salt."""
    return checksum(body, seed_at(salt, offset_bytes)).to_bytes(CRC_BYTES, "little")


def check_block(block: bytes, *, salt: int, offset_bytes: int) -> None:
    """Raise MalformedError unless `block`, checksum included, belongs to this place of this table."""
    if len(block) < CRC_BYTES:
        raise MalformedError("a block shorter than its checksum")
    if checksum(block, seed_at(salt, offset_bytes)) != _RESIDUE:
        raise MalformedError("the block's checksum doesn't match", len(block) - CRC_BYTES)


def plain(block: bytes) -> bytes:
    """Return a data block, its checksum found right, as it is uncompressed: body, and four bytes that mean nothing.

    Raises MalformedError for one that can't be uncompressed.
    """
    return unpacked(block[:-CRC_BYTES]) + bytes(CRC_BYTES) if is_packed(block) else block


def decode_block(block: bytes) -> Block:
    """Return the entries of a data block whose checksum was found right.

    Raises MalformedError for anything but strictly ascending entries that fill
    the body exactly. O(len(block)), whatever the bytes say.
    """
    end = len(block) - CRC_BYTES
    count, start = block_shape(block)
    entries: Block = {}
    at = start
    for key_bytes, entry_end in _ROW.iter_unpack(block[START_BYTES : start - count]):
        middle = at + key_bytes
        if middle <= entry_end and key_bytes != TOMBSTONE:
            entries[block[at:middle]] = block[middle:entry_end]
        elif key_bytes == TOMBSTONE and at <= entry_end <= at + KEY_BYTES_MAX:
            entries[block[at:entry_end]] = None
        else:
            raise MalformedError("an entry's key doesn't fit it", min(at, end))
        at = entry_end
    if at != end:
        raise MalformedError("entries don't fill their block", min(at, end))
    keys = list(entries)
    if len(keys) != count or sorted(keys) != keys:
        raise MalformedError("keys in a block don't ascend")
    return entries


def check_fingerprints(block: bytes, keys: Collection[bytes]) -> bytes:
    """Return `key_crcs` of a data block's keys.

    Raises MalformedError unless its fingerprints are theirs: by them alone keys are found.
    """
    crcs = key_crcs(keys)
    count, start = block_shape(block)
    if crcs[::CRC_BYTES] != block[start - count : start]:
        raise MalformedError("fingerprints in a block aren't those of its keys", start - count)
    return crcs


def check_ends(block: bytes, first: bytes, last: bytes, entry_count: int) -> None:
    """Raise MalformedError unless a data block has these keys at its ends, and so many entries.

    What `find_entry`, `position` and `columns` need to know, at a cost that doesn't grow with the block.
    """
    count, start = block_shape(block)
    (end,) = _PLACE.unpack_from(block, count * ROW_BYTES)
    if end != len(block) - CRC_BYTES:
        raise MalformedError("entries don't fill their block", start)
    if (count, _key(block, 0), _key(block, count - 1)) != (entry_count, first, last):
        raise MalformedError("the block isn't the one that its index names")


def is_as_indexed(block: bytes, first: bytes, last: bytes, entry_count: int, seed: int) -> bool:
    """Whether `check_block` and `check_ends` pass, in one call: for who reads a block to look up a single key.

    `seed` is salt + offset of the block, any bits above 32 included.
    """
    end = len(block) - CRC_BYTES
    start = START_BYTES + entry_count * ENTRY_OVERHEAD_BYTES
    if not entry_count or start > end or crc32c(block, seed & SEED_MASK) != _RESIDUE:
        return False
    begin, first_bytes, first_end = _ENTRY.unpack_from(block)
    at, last_bytes, last_end = _ENTRY.unpack_from(block, (entry_count - 1) * ROW_BYTES)
    return (
        begin == start
        and last_end == end
        and block[begin : first_end if first_bytes == TOMBSTONE else begin + first_bytes] == first
        and block[at : last_end if last_bytes == TOMBSTONE else at + last_bytes] == last
    )


@compiled
def find_entry(block: bytes, count: int, key: bytes) -> bytes | Absent | None:
    """Return what a block of `count` entries, found right by `check_ends`, says of a key; ABSENT if nothing.

    Raises MalformedError where the entry of that key can't be one, and sees
    nothing of the others: they are for `decode_block` and `check_fingerprints`.
    """
    fingerprint = crc32c(key) & 0xFF
    fingerprints = START_BYTES + count * ROW_BYTES
    start = fingerprints + count
    found = block.find(fingerprint, fingerprints, start)
    while found >= 0:
        at, key_bytes, end = _ENTRY.unpack_from(block, (found - fingerprints) * ROW_BYTES)
        middle = end if key_bytes == TOMBSTONE else at + key_bytes
        if block[at:middle] == key:
            if not start <= at <= middle <= end <= len(block) - CRC_BYTES:
                raise MalformedError("an entry reaches beyond its block", found)
            return None if key_bytes == TOMBSTONE else block[middle:end]
        found = block.find(fingerprint, found + 1, start)
    return ABSENT


def position(block: bytes, count: int, key: bytes) -> int:
    """Return how many entries of a block of `count`, found right by `check_ends`, lie below a key. O(log count)."""
    return bisect_left(range(count), key, key=lambda n: _key(block, n))


def _key(block: bytes, number: int) -> bytes:
    begin, key_bytes, end = _ENTRY.unpack_from(block, number * ROW_BYTES)
    return block[begin : end if key_bytes == TOMBSTONE else begin + key_bytes]
