"""Reading a segment in chunks: the same frames as from one piece, wherever a chunk ends."""

from __future__ import annotations

import pytest

from journalkit.format import frame as frames
from journalkit.format.frame import HEADER_BYTES, Fault
from journalkit.fs.memory import MemoryFileSystem
from journalkit.log import reader as reading
from journalkit.log.reader import SegmentReader

SALT = 99


def encoded(payload: bytes, offset_bytes: int, lsn: int) -> bytes:
    """Return one frame."""
    return frames.encode(
        payload, lsn=lsn, time_us=0, durable_lsn=0, kind=2, salt=SALT, offset_bytes=offset_bytes
    )


def run_of(*payloads: bytes) -> bytes:
    """Return the frames of these payloads, one after the other."""
    data = b""
    for index, payload in enumerate(payloads):
        data += encoded(payload, len(data), index + 1)
    return data


def reader_of(data: bytes) -> SegmentReader:
    """Return a reader of a file of these bytes."""
    fs = MemoryFileSystem()
    fs.create("/file").pwrite(data, 0)
    return SegmentReader(fs.open_read("/file"), SALT)


@pytest.mark.parametrize("chunk_bytes", [1, 7, HEADER_BYTES, HEADER_BYTES + 1, 64, 100, 10_000])
def test_chunks_change_nothing(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame across a border of chunks is an ordinary frame."""
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    payloads = [b"", b"a" * 5, b"b" * 200, b"", b"c" * 64]
    data = run_of(*payloads)
    reader = reader_of(data + bytes(500))
    assert [frame.payload for frame in reader.frames(0, len(data) + 500)] == payloads
    assert reader.stop is not None
    assert (reader.stop.fault, reader.stop.offset_bytes) == (Fault.ZEROS, len(data))
    assert [frame.payload for frame in reader.frames(0, len(data))] == payloads
    assert (reader.stop.fault, reader.stop.offset_bytes) == (Fault.END, len(data))


@pytest.mark.parametrize("chunk_bytes", [HEADER_BYTES, 100, 10_000])
def test_the_run_ends_at_damage(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is behind damage doesn't follow; whether it counts is for others to say."""
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    data = bytearray(run_of(b"a" * 50, b"b" * 50, b"c" * 50))
    data[90 + HEADER_BYTES + 3] ^= 1
    reader = reader_of(bytes(data))
    assert [frame.lsn for frame in reader.frames(0, len(data))] == [1]
    assert reader.stop is not None
    assert (reader.stop.fault, reader.stop.offset_bytes, reader.stop.lsn) == (Fault.PAYLOAD, 90, 2)


def test_a_cut_record_is_short_at_the_end_of_the_file() -> None:
    """The file is shorter than was asked for: there is nothing more to wait for."""
    data = run_of(b"a" * 50, b"b" * 50)
    reader = reader_of(data[:-1])
    assert [frame.lsn for frame in reader.frames(0, len(data) + 1000)] == [1]
    assert reader.stop is not None
    assert (reader.stop.fault, reader.stop.needed_bytes) == (Fault.SHORT, 90)


def test_an_empty_range_is_an_end() -> None:
    """A range that ends before it begins reads nothing, whoever asked for it."""
    reader = reader_of(run_of(b"a"))
    assert list(reader.frames(41, 41)) == list(reader.frames(41, 0)) == []
    assert reader.stop is not None
    assert reader.stop.fault is Fault.END


@pytest.mark.parametrize("chunk_bytes", [HEADER_BYTES, 64, 100, 10_000])
@pytest.mark.parametrize("junk_bytes", [1, 39, 63, 64, 65, 300])
def test_a_search_finds_frames_behind_damage(
    chunk_bytes: int, junk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promise may stand in any of them, at any offset."""
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    data = b"\xf7\x4a" * junk_bytes
    expected = []
    for lsn, payload in enumerate([b"x", b"y" * 150, b""], start=5):
        expected.append((len(data), lsn))
        data += encoded(payload, len(data), lsn) + b"junk"
    reader = reader_of(data)
    assert [(frame.offset_bytes, frame.lsn) for frame in reader.search(0, len(data))] == expected


@pytest.mark.parametrize("junk_bytes", range(24))
def test_a_search_sees_a_frame_at_any_distance_from_a_chunks_border(
    junk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The magic may stand in one chunk and the rest of the header in the next, or nothing in the last one."""
    monkeypatch.setattr(reading, "CHUNK_BYTES", 12)
    data = bytes(junk_bytes) + encoded(b"x", junk_bytes, 3)
    assert [frame.offset_bytes for frame in reader_of(data).search(0, len(data))] == [junk_bytes]


def test_a_payload_cannot_pose_as_a_frame() -> None:
    """An application may store copies of log files; inside a record they are bytes."""
    inner = encoded(b"fake", HEADER_BYTES, 77)
    data = encoded(inner, 0, 1)
    reader = reader_of(data)
    assert [frame.lsn for frame in reader.search(0, len(data))] == [1]


def test_a_search_does_not_read_what_the_range_excludes() -> None:
    """Bytes behind an end that recovery decided mean nothing."""
    data = run_of(b"a" * 50, b"b" * 50)
    reader = reader_of(data)
    assert [frame.lsn for frame in reader.search(0, 100)] == [1]
    assert list(reader.search(5, 60)) == []


@pytest.mark.parametrize("chunk_bytes", [1, 3, 100])
def test_content_ends_behind_the_last_byte_that_is_set(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros to the end are prepared space; anything else has to be explained."""
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    reader = reader_of(bytes(10) + b"x" + bytes(5) + b"y" + bytes(20))
    assert reader.content_end(0, 37) == 17
    assert reader.content_end(17, 37) == 17
    assert reader.content_end(0, 12) == 11
    assert reader.content_end(0, 1000) == 17


@pytest.mark.parametrize("size_bytes", [0, 1, 100, 4095, 4096, 4097, 12_288, 12_289])
def test_content_ends_where_a_look_at_every_byte_says(size_bytes: int) -> None:
    """Zeros are compared by the page; the last byte may stand anywhere in one, or at its edge."""
    for at in {0, 1, size_bytes // 2, size_bytes - 4097, size_bytes - 4096, size_bytes - 4095, size_bytes - 1}:
        data = bytearray(size_bytes)
        if 0 <= at < size_bytes:
            data[at] = 1
        assert reader_of(bytes(data)).content_end(0, size_bytes) == len(bytes(data).rstrip(b"\0"))
