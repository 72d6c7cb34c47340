"""Frames: one record as bytes, and back.

A frame is the unit of atomicity: a header and a payload, each with a checksum
seeded by the segment's salt and the frame's own offset in the file. Bytes of
another segment, of another place, or a payload that looks like a frame never
pass. The header's checksum covers the length and the payload's checksum, so a
damaged payload doesn't cost the next frame.

This module is pure: no file, no clock, no log. The writer and the reader share
it and nothing else, and a fuzzer can drive it alone.

It reports what the bytes are, never what they mean. Whether a bad frame is a
torn tail or corruption depends on who promised it: `journalkit.recovery.plan`.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from crc32c import crc32c

from journalkit.compiled import compiled
from journalkit.format.checksum import SEED_MASK
from journalkit.format.layout import Field, Layout

HEADER = Layout(
    Field("header_checksum", "I", "CRC32C of the 36 bytes that follow, seeded with salt + frame offset"),
    Field("payload_checksum", "I", "CRC32C of the payload, seeded with salt + payload offset"),
    Field("payload_bytes", "I", "length of the payload, at most 268,435,456"),
    Field("magic", "H", "0x4AF7; finds candidates in a search beyond damage"),
    Field("kind", "B", "1 batch of mutations, 2 journal record, 3 seal; from 128: safe to ignore"),
    Field("flags", "B", "no flag is defined; a set bit of the low seven is refused, bit 7 is safe to ignore"),
    Field("lsn", "Q", "log sequence number; a seal carries that of the last record before it"),
    Field("time_us", "q", "commit time, microseconds since 1970-01-01T00:00Z; a label, never an order"),
    Field("durable_lsn", "Q", "every record up to this one was durable when the frame was written"),
)
HEADER_BYTES: Final = HEADER.size
MAGIC: Final = 0x4AF7
PAYLOAD_BYTES_MAX: Final = 256 * 1024 * 1024

_MAGIC_BYTES: Final = MAGIC.to_bytes(2, "little")
_MAGIC_OFFSET: Final = HEADER.offset_of("magic")
# All that the header checksum covers; magic, kind and flags as the one number that they are to who packs them.
_COVERED = struct.Struct("<IIIQqQ")
_KIND_SHIFT: Final = 16
_pack_covered = _COVERED.pack
_FULL = HEADER.struct
_CHECKSUM: Final = struct.Struct("<I")
_SAFE_TO_IGNORE: Final = 0x80


class Kind(enum.IntEnum):
    """What a frame's payload is."""

    BATCH = 1
    RECORD = 2
    SEAL = 3


class Frame(NamedTuple):
    """A frame that passed both checksums."""

    offset_bytes: int
    end_bytes: int
    lsn: int
    kind: int
    flags: int
    time_us: int
    durable_lsn: int
    checksum: int
    payload: bytes


class Fault(enum.Enum):
    """What is at an offset where no whole frame is."""

    END = "end of data"
    ZEROS = "zeros"
    SHORT = "cut short"
    HEADER = "bad header"
    PAYLOAD = "bad payload"


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a run of whole frames ends, and at what.

    `needed_bytes` is how much from `offset_bytes` has to be there to tell more
    (for `SHORT`); `lsn` is the record's, if its header passed.
    """

    offset_bytes: int
    fault: Fault
    needed_bytes: int = 0
    lsn: int | None = None


def encode(
    payload: bytes, *, lsn: int, time_us: int, durable_lsn: int, kind: int, salt: int, offset_bytes: int
) -> bytes:
    """Return the frame of a record that will stand at `offset_bytes`. O(len(payload))."""
    return encode_with_checksum(payload, lsn, time_us, durable_lsn, kind, salt, offset_bytes)[0]


@compiled
def encode_with_checksum(
    payload: bytes, lsn: int, time_us: int, durable_lsn: int, kind: int, salt: int, offset_bytes: int
) -> tuple[bytes, int]:
    """`encode` by position, with the frame's checksum: what the path of a single commit has no time for else."""
    seed = (salt + offset_bytes) & SEED_MASK
    payload_checksum = crc32c(payload, (seed + HEADER_BYTES) & SEED_MASK)
    covered = _pack_covered(payload_checksum, len(payload), MAGIC | kind << _KIND_SHIFT, lsn, time_us, durable_lsn)
    checksum = crc32c(covered, seed)
    return checksum.to_bytes(4, "little") + covered + payload, checksum


def checksum_of(frame: bytes) -> int:
    """Return the header checksum of an encoded frame: it identifies frame and payload."""
    checksum: int = _CHECKSUM.unpack_from(frame)[0]
    return checksum


def may_ignore(kind: int, flags: int) -> bool:
    """Whether a reader that doesn't know the kind may pass over the frame."""
    return bool(kind & _SAFE_TO_IGNORE) and not flags & ~_SAFE_TO_IGNORE


def is_known(kind: int, flags: int) -> bool:
    """Whether this version knows the kind and every flag that matters."""
    return Kind.BATCH <= kind <= Kind.SEAL and not flags & ~_SAFE_TO_IGNORE


def walk(buffer: bytes, start_bytes: int, base_bytes: int, salt: int, stops: list[Stop]) -> Iterator[Frame]:
    """Yield the whole frames that follow one another in `buffer` from `start_bytes`.

    `base_bytes` is the file offset of the buffer's first byte. When the run
    ends, exactly one `Stop` is appended to `stops`. O(bytes), one pass.
    """
    # The hot loop of recovery: names bound to locals, one unpack a frame, and a tuple made as such, which
    # takes half the time of the class's own call. tests/property/test_frames.py holds a plain twin beside it.
    crc, unpack, header_bytes, mask = crc32c, _FULL.unpack_from, HEADER_BYTES, SEED_MASK
    new, frame, right_magic, size_max = tuple.__new__, Frame, MAGIC, PAYLOAD_BYTES_MAX
    position, limit, origin = start_bytes, len(buffer), salt + base_bytes
    while True:
        body = position + header_bytes
        if body > limit:
            stops.append(_stop_at_short_header(buffer, position, base_bytes))
            return
        header_crc, payload_crc, size, magic, kind, flags, lsn, time_us, durable = unpack(buffer, position)
        seed = (origin + position) & mask
        if magic != right_magic or crc(buffer[position + 4 : body], seed) != header_crc or size > size_max:
            blank = not any(buffer[position:body])
            stops.append(Stop(base_bytes + position, Fault.ZEROS if blank else Fault.HEADER))
            return
        end = body + size
        if end > limit:
            stops.append(Stop(base_bytes + position, Fault.SHORT, header_bytes + size, lsn))
            return
        payload = buffer[body:end]
        if crc(payload, (origin + body) & mask) != payload_crc:
            stops.append(Stop(base_bytes + position, Fault.PAYLOAD, header_bytes + size, lsn))
            return
        start, stop = base_bytes + position, base_bytes + end
        yield new(frame, (start, stop, lsn, kind, flags, time_us, durable, header_crc, payload))
        position = end


def _stop_at_short_header(buffer: bytes, position: int, base_bytes: int) -> Stop:
    rest = buffer[position:]
    if not rest:
        return Stop(base_bytes + position, Fault.END, HEADER_BYTES)
    return Stop(base_bytes + position, Fault.SHORT if any(rest) else Fault.ZEROS, HEADER_BYTES)


def candidates(buffer: bytes, start_bytes: int) -> Iterator[int]:
    """Yield every position from `start_bytes` where a frame's magic says one may begin."""
    at = buffer.find(_MAGIC_BYTES, start_bytes + _MAGIC_OFFSET)
    while at >= 0:
        yield at - _MAGIC_OFFSET
        at = buffer.find(_MAGIC_BYTES, at + 1)
