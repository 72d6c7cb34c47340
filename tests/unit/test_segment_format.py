"""Segment headers, seals and the durable slot: what places frames in a log."""

from __future__ import annotations

import dataclasses

import pytest

from journalkit.format.checksum import checksum, seed_at
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.segment import (
    DURABLE,
    HEADER,
    HEADER_BYTES,
    SEAL_PAYLOAD_BYTES,
    DurableEncoder,
    DurableSlot,
    SegmentHeader,
    decode_durable,
    decode_header,
    decode_seal,
    encode_seal,
)

HEAD = SegmentHeader(
    salt=0xDEAD_BEEF,
    store=b"s" * 16,
    writer=b"w" * 16,
    epoch=3,
    number=9,
    first_lsn=100,
    created_us=-1,
    previous_number=8,
    previous_last_lsn=99,
    previous_end_bytes=5000,
    previous_checksum=0x1234_5678,
)
SLOT = DurableSlot(b"s" * 16, b"w" * 16, epoch=3, segment=9, end_bytes=6000, lsn=120)


def resealed(data: bytes, offset_bytes: int, replacement: bytes) -> bytes:
    """Return the bytes changed at a place, with a right checksum."""
    changed = data[:offset_bytes] + replacement + data[offset_bytes + len(replacement) : -4]
    return changed + checksum(changed).to_bytes(4, "little")


def test_a_header_comes_back() -> None:
    """Everything that ties a segment to its store and its predecessor is in it."""
    data = HEAD.encode()
    assert len(data) == HEADER_BYTES
    assert decode_header(data) == HEAD


def test_every_flipped_bit_of_a_header_is_found() -> None:
    """A header that is nearly right would splice a foreign segment into the log."""
    data = HEAD.encode()
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedError):
            decode_header(bytes(damaged))


@pytest.mark.parametrize("length", [0, 1, HEADER_BYTES - 1, HEADER_BYTES + 1])
def test_a_header_of_another_length_is_refused(length: int) -> None:
    """A truncated file is no segment."""
    with pytest.raises(MalformedError):
        decode_header((HEAD.encode() + b"x")[:length])


@pytest.mark.parametrize("field", ["version", "reserved"])
def test_a_later_version_is_told_from_damage(field: str) -> None:
    """The one asks for an upgrade, the other for a backup."""
    with pytest.raises(NewerFormatError, match="this version reads 1"):
        decode_header(resealed(HEAD.encode(), HEADER.offset_of(field), b"\x02\x00"))


@pytest.mark.parametrize(("first_lsn", "previous_last_lsn"), [(0, 0), (7, 7), (5, 1 << 56)])
def test_a_header_whose_predecessor_ends_behind_its_own_beginning_is_none(
    first_lsn: int, previous_last_lsn: int
) -> None:
    """Found by the fuzz target `open`: a point-in-time recovery kept such a segment, and the next open refused it."""
    header = dataclasses.replace(HEAD, first_lsn=first_lsn, previous_last_lsn=previous_last_lsn)
    with pytest.raises(MalformedError, match="contradicts itself"):
        decode_header(header.encode())


def test_a_seal_names_its_records() -> None:
    """An empty segment is sealed too: its last LSN is the one before its first."""
    assert decode_seal(encode_seal(5, 4)) == (5, 4)
    assert len(encode_seal(5, 4)) == SEAL_PAYLOAD_BYTES
    with pytest.raises(MalformedError, match="a seal of 3 bytes"):
        decode_seal(b"abc")


def test_a_slot_comes_back() -> None:
    """It is the only promise for the records of the last fsync."""
    assert decode_durable(SLOT.encode()) == SLOT


def test_a_damaged_slot_promises_nothing() -> None:
    """It is never synced, so any mixture of old and new bytes may be found."""
    data = SLOT.encode()
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert decode_durable(bytes(damaged)) is None
    assert decode_durable(data[:-1]) is None
    assert decode_durable(data + b"\0") is None
    assert decode_durable(b"") is None
    assert decode_durable(resealed(data, DURABLE.offset_of("reserved"), b"\1")) is None


def test_the_quick_encoder_writes_the_same_bytes() -> None:
    """It stands in the way of every acknowledgement; its plain twin is the format."""
    encoder = DurableEncoder(store=SLOT.store, writer=SLOT.writer, epoch=SLOT.epoch, segment=SLOT.segment)
    for end_bytes, lsn in [(0, 0), (6000, 120), (2**63, 2**64 - 1)]:
        assert encoder.encode(end_bytes, lsn) == dataclasses.replace(SLOT, end_bytes=end_bytes, lsn=lsn).encode()


def test_a_seed_wraps_and_a_different_seed_never_passes() -> None:
    """Offsets beyond 4 GiB and salts near the top are ordinary."""
    assert seed_at(0xFFFF_FFFF, 1) == 0
    assert seed_at(5, 7) == 12
    assert checksum(b"123456789") == 0xE306_9283
    assert len({checksum(b"same bytes", seed) for seed in range(1000)}) == 1000
