"""Frames: whole or not there, at one place in one file only."""

from __future__ import annotations

import crc32c
import pytest

from journalkit.format import frame as frames
from journalkit.format.frame import HEADER, HEADER_BYTES, MAGIC, PAYLOAD_BYTES_MAX, Fault, Frame, Kind, Stop

SALT, BASE = 0xFFFF_FFF0, 4096


def frame_at(offset_bytes: int, payload: bytes = b"payload", *, lsn: int = 7, salt: int = SALT) -> bytes:
    """Return a frame made for one place."""
    return frames.encode(
        payload, lsn=lsn, time_us=-5, durable_lsn=3, kind=Kind.BATCH, salt=salt, offset_bytes=offset_bytes
    )


def walked(data: bytes, *, start_bytes: int = 0, salt: int = SALT) -> tuple[list[Frame], Stop]:
    """Return the frames of a buffer, and what they end at."""
    stops: list[Stop] = []
    found = list(frames.walk(data, start_bytes, BASE, salt, stops))
    [stop] = stops
    return found, stop


def test_a_frame_whose_payload_goes_on_behind_the_buffer_is_told_by_its_header() -> None:
    """Whoever reads on needs to know where it begins, how much of it is wanted, and which record it would be."""
    data = frame_at(BASE)
    assert walked(data[:-1]) == ([], Stop(BASE, Fault.SHORT, len(data), 7))


@pytest.mark.parametrize(("more", "fault"), [(0, Fault.SHORT), (1, Fault.HEADER)])
def test_the_greatest_payload_is_wanted_and_a_greater_one_is_none(more: int, fault: Fault) -> None:
    """To the byte, though the header's checksum is right."""
    head = bytearray(frame_at(BASE)[:HEADER_BYTES])
    head[8:12] = (PAYLOAD_BYTES_MAX + more).to_bytes(4, "little")
    head[:4] = crc32c.crc32c(bytes(head[4:]), (SALT + BASE) & 0xFFFFFFFF).to_bytes(4, "little")
    assert walked(bytes(head))[1].fault is fault


def test_what_is_encoded_comes_back_with_its_place() -> None:
    """A reader needs all of it: where the next frame begins, whose record it is, what was durable."""
    data = frame_at(BASE) + frame_at(BASE + HEADER_BYTES + 7, b"", lsn=8)
    (first, second), stop = walked(data)
    assert first == Frame(BASE, BASE + HEADER_BYTES + 7, 7, Kind.BATCH, 0, -5, 3, frames.checksum_of(data), b"payload")
    assert (second.offset_bytes, second.end_bytes, second.lsn, second.payload) == (4143, 4183, 8, b"")
    assert stop == Stop(4183, Fault.END, HEADER_BYTES)


def test_the_header_is_forty_bytes_with_the_checksum_first() -> None:
    """The layout is a promise to every later version and to the document that shows it."""
    assert HEADER_BYTES == 40
    assert HEADER.offset_of("header_checksum") == 0
    assert HEADER.unpack(frame_at(BASE)[:HEADER_BYTES])["magic"] == MAGIC


@pytest.mark.parametrize("offset_bytes", [BASE + 1, BASE - 1, BASE + 4096])
def test_a_frame_of_another_place_does_not_pass(offset_bytes: int) -> None:
    """Misdirected and stale bytes carry a right checksum of the wrong place."""
    found, stop = walked(frame_at(offset_bytes))
    assert (found, stop.fault) == ([], Fault.HEADER)


def test_a_frame_of_another_segment_does_not_pass() -> None:
    """Blocks are handed from file to file by the file system; the salt tells them apart."""
    found, stop = walked(frame_at(BASE, salt=SALT - 1))
    assert (found, stop.fault) == ([], Fault.HEADER)


def test_every_flipped_bit_is_found() -> None:
    """One flipped bit anywhere must never give a record."""
    data = frame_at(BASE)
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        found, stop = walked(bytes(damaged))
        assert not found
        assert stop.fault is (Fault.PAYLOAD if bit >= HEADER_BYTES * 8 else Fault.HEADER)
        assert stop.offset_bytes == BASE


def test_a_damaged_payload_keeps_its_length_and_lsn() -> None:
    """The header has its own checksum so that damage in one record doesn't cost the next."""
    data = bytearray(frame_at(BASE))
    data[-1] ^= 1
    _, stop = walked(bytes(data))
    assert stop == Stop(BASE, Fault.PAYLOAD, len(data), 7)


def test_a_cut_frame_says_how_much_is_missing() -> None:
    """A reader in chunks asks for exactly that; a torn tail is told from damage."""
    data = frame_at(BASE)
    for length in range(1, len(data)):
        found, stop = walked(data[:length])
        assert not found
        assert stop.fault is Fault.SHORT
        assert stop.needed_bytes == (HEADER_BYTES if length < HEADER_BYTES else len(data))


@pytest.mark.parametrize("count", [1, HEADER_BYTES - 1, HEADER_BYTES, 500])
def test_zeros_are_prepared_space(count: int) -> None:
    """The space ahead is zeros; that is an end, not damage."""
    _, stop = walked(frame_at(BASE) + bytes(count), start_bytes=0)
    assert stop.fault is Fault.ZEROS
    assert stop.offset_bytes == BASE + HEADER_BYTES + 7


def test_a_giant_length_is_refused_before_it_sizes_anything() -> None:
    """A whole checksum can be forged; 4 GiB must not be read for a length that no writer writes."""
    size = PAYLOAD_BYTES_MAX + 1
    covered = frames._COVERED.pack(0, size, MAGIC | 1 << 16, 1, 0, 0)
    seed = (SALT + BASE) & 0xFFFF_FFFF
    data = frames.crc32c(covered, seed).to_bytes(4, "little") + covered
    _, stop = walked(data)
    assert stop == Stop(BASE, Fault.HEADER)


def test_a_walk_can_start_inside_its_buffer() -> None:
    """A search verifies candidates where they stand, without copying."""
    data = b"junk!" + frame_at(BASE + 5)
    found, _ = walked(data, start_bytes=5)
    assert [frame.offset_bytes for frame in found] == [BASE + 5]


def test_candidates_are_where_the_magic_is() -> None:
    """A search beyond damage looks at few places and misses none."""
    data = bytes(3) + frame_at(BASE + 3) + MAGIC.to_bytes(2, "little") + bytes(60)
    at = list(frames.candidates(data, 0))
    assert at == [3, 3 + HEADER_BYTES + 7 - 12]
    assert list(frames.candidates(data, 4)) == at[1:]


@pytest.mark.parametrize(
    ("kind", "flags", "known", "ignored"),
    [
        (1, 0, True, False),
        (3, 0x80, True, False),
        (1, 1, False, False),
        (0, 0, False, False),
        (4, 0, False, False),
        (128, 0, False, True),
        (255, 0x80, False, True),
        (128, 0x40, False, False),
    ],
)
def test_what_a_later_version_adds_is_known_ignored_or_refused(
    kind: int, flags: int, known: bool, ignored: bool
) -> None:
    """A reader that passes over what it must not would lose records silently."""
    assert frames.is_known(kind, flags) is known
    assert frames.may_ignore(kind, flags) is ignored
