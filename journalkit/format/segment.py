"""Segment headers, seals and the durable slot: what places a frame in a log.

A segment's header names its store, its number, the writer that began it and
its predecessor with the predecessor's end, so that a missing, swapped or
foreign segment shows. The seal is a frame that closes a segment. The durable
slot is one small checksummed fact beside the log: how far it is durable.

Pure; what a disagreement means is decided in `journalkit.recovery.plan`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from typing import Any, Final

from journalkit.format.checksum import checksum
from journalkit.format.layout import Field, Layout
from journalkit.format.malformed import MalformedError, NewerFormatError

MAGIC: Final = b"JKLOG\r\n\x1a"
VERSION: Final = 1

HEADER = Layout(
    Field("magic", "8s", "`JKLOG\\r\\n\\x1a`"),
    Field("version", "H", "format version of the segment, 1"),
    Field("reserved", "H", "zero"),
    Field("salt", "I", "random; seeds every checksum of the frames"),
    Field("store", "16s", "UUID of the store"),
    Field("writer", "16s", "random identity of the writer that began the segment"),
    Field("epoch", "Q", "that writer's epoch"),
    Field("number", "Q", "the segment's number, from 1"),
    Field("first_lsn", "Q", "LSN that the first record has or would have"),
    Field("created_us", "q", "when the header was written; a label"),
    Field("previous_number", "Q", "number of the predecessor, 0 if there is none"),
    Field("previous_last_lsn", "Q", "LSN of the predecessor's last record"),
    Field("previous_end_bytes", "Q", "offset just behind the predecessor's last frame"),
    Field("previous_checksum", "I", "header checksum of the predecessor's last frame, seal included"),
    Field("header_checksum", "I", "CRC32C of all bytes before it"),
)
HEADER_BYTES: Final = HEADER.size

DURABLE = Layout(
    Field("magic", "4s", "`JKD1`"),
    Field("reserved", "I", "zero"),
    Field("store", "16s", "UUID of the store"),
    Field("writer", "16s", "identity of the writer that promises"),
    Field("epoch", "Q", "that writer's epoch"),
    Field("segment", "Q", "number of the segment that was synced"),
    Field("end_bytes", "Q", "its bytes before this offset are durable"),
    Field("lsn", "Q", "and with them every record up to this one"),
    Field("checksum", "I", "CRC32C of all bytes before it"),
)
DURABLE_MAGIC: Final = b"JKD1"

_SEAL = struct.Struct("<QQ")
SEAL_PAYLOAD_BYTES: Final = _SEAL.size
_CRC_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The fields of a segment's header that say something."""

    salt: int
    store: bytes
    writer: bytes
    epoch: int
    number: int
    first_lsn: int
    created_us: int
    previous_number: int
    previous_last_lsn: int
    previous_end_bytes: int
    previous_checksum: int

    def encode(self) -> bytes:
        """Return the header as `HEADER_BYTES` bytes."""
        data = HEADER.pack(magic=MAGIC, version=VERSION, reserved=0, header_checksum=0, **_by_name(self))
        return data[:-_CRC_BYTES] + checksum(data[:-_CRC_BYTES]).to_bytes(_CRC_BYTES, "little")


def decode_header(data: bytes) -> SegmentHeader:
    """Return the header that `data` (the file's first `HEADER_BYTES` bytes) holds.

    Raises:
        MalformedError: It isn't one, or is damaged.
        NewerFormatError: It is whole, and of a later version.
    """
    fields = HEADER.unpack(data)
    if fields.pop("magic") != MAGIC:
        raise MalformedError("not a log segment")
    if checksum(data[:-_CRC_BYTES]) != fields.pop("header_checksum"):
        raise MalformedError("the segment's header is damaged")
    version, reserved = fields.pop("version"), fields.pop("reserved")
    if version != VERSION or reserved:
        raise NewerFormatError(f"a log segment of format {version}.{reserved}, this version reads {VERSION}.0")
    header = SegmentHeader(**fields)
    if header.previous_last_lsn >= header.first_lsn:
        raise MalformedError("the segment's header contradicts itself: its predecessor ends behind its own beginning")
    return header


def encode_seal(first_lsn: int, last_lsn: int) -> bytes:
    """Return the payload of a seal over these records (`last_lsn` = `first_lsn` - 1 if there are none)."""
    return _SEAL.pack(first_lsn, last_lsn)


def decode_seal(payload: bytes) -> tuple[int, int]:
    """Return (first_lsn, last_lsn) of a seal; MalformedError if it isn't one."""
    if len(payload) != SEAL_PAYLOAD_BYTES:
        raise MalformedError(f"a seal of {len(payload)} bytes")
    first_lsn, last_lsn = _SEAL.unpack(payload)
    return first_lsn, last_lsn


@dataclass(frozen=True, slots=True)
class DurableSlot:
    """How far the log was durable when the slot was written."""

    store: bytes
    writer: bytes
    epoch: int
    segment: int
    end_bytes: int
    lsn: int

    def encode(self) -> bytes:
        """Return the slot as `DURABLE.size` bytes."""
        data = DURABLE.pack(magic=DURABLE_MAGIC, reserved=0, checksum=0, **_by_name(self))
        return data[:-_CRC_BYTES] + checksum(data[:-_CRC_BYTES]).to_bytes(_CRC_BYTES, "little")


def _by_name(part: SegmentHeader | DurableSlot) -> dict[str, Any]:
    """Return the fields by name. `asdict` does too, by way of a deep copy: it took a thirtieth of an open."""
    return {spec.name: getattr(part, spec.name) for spec in fields(part)}


def decode_durable(data: bytes) -> DurableSlot | None:
    """Return the slot, None for bytes that aren't a whole one: those promise nothing."""
    if len(data) != DURABLE.size:
        return None
    fields = DURABLE.unpack(data)
    sound = fields.pop("magic") == DURABLE_MAGIC and fields.pop("checksum") == checksum(data[:-_CRC_BYTES])
    if not sound or fields.pop("reserved"):
        return None
    return DurableSlot(**fields)


class DurableEncoder:
    """Encodes the slots of one writer in one segment: the part that changes, at the speed of a commit.

    Equal to `DurableSlot.encode`, byte for byte; a test says so. It spares the
    named packing of the fields that stay the same from commit to commit: `head`.
    """

    __slots__ = ("_head_checksum", "_pack", "head")

    def __init__(self, *, store: bytes, writer: bytes, epoch: int, segment: int) -> None:
        whole = DurableSlot(store, writer, epoch, segment, 0, 0).encode()
        self.head = whole[: DURABLE.offset_of("end_bytes")]
        self._head_checksum = checksum(self.head)
        self._pack = struct.Struct("<QQ").pack

    def encode(self, end_bytes: int, lsn: int) -> bytes:
        """Return the slot that promises the segment up to `end_bytes` and the log up to `lsn`."""
        tail = self._pack(end_bytes, lsn)
        return self.head + tail + checksum(tail, self._head_checksum).to_bytes(_CRC_BYTES, "little")
