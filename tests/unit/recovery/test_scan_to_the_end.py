"""Where a scan of a segment ends, and how many records it passed on: of one that recovery ended, and of many.

Mutation testing found that an early end inside an ended segment could go
untold, and that only the last segment's records could be counted.
"""

from __future__ import annotations

import pytest

from journalkit.format.batch import encode_one
from journalkit.format.frame import Fault, Frame, Kind, encode
from journalkit.format.manifest import Manifest, SegmentEnd, SegmentEntry
from journalkit.format.names import segment_name
from journalkit.format.segment import SegmentHeader
from journalkit.recovery.scan import SegmentScan, read_kept, scan_log
from journalkit.testing import SimulatedDisk

STORE, WRITER, SALT = b"s" * 16, b"w" * 16, 5


def segment(number: int, first_lsn: int, count: int) -> tuple[bytes, list[int]]:
    """Return a segment of so many records, and where each of them ends."""
    data = SegmentHeader(SALT, STORE, WRITER, 1, number, first_lsn, 0, 0, 0, 0, 0).encode()
    ends = []
    for lsn in range(first_lsn, first_lsn + count):
        body = encode_one(b"k%d" % lsn, b"v")
        at = len(data)
        data += encode(body, lsn=lsn, time_us=0, durable_lsn=0, kind=Kind.BATCH, salt=SALT, offset_bytes=at)
        ends.append(len(data))
    return data, ends


def scan(data: bytes, end: SegmentEnd | None) -> SegmentScan:
    """Scan a log of one segment."""
    disk = SimulatedDisk()
    disk.write_bytes("/" + segment_name(1), data)
    entry = SegmentEntry(1, SALT, 1, 1, end)
    manifest = Manifest(STORE, "store", "cbor", 0, 1, 1, WRITER, (entry,), (), 0, 0, next_segment=2, next_table=1)
    return scan_log(disk, "/", manifest, after_lsn=0, sink=lambda _frame: None).segments[0]


def test_damage_inside_a_segment_that_recovery_ended_stops_the_scan_aloud() -> None:
    """Its end was promised: what stops before it is no torn tail, and has to be told as what it is."""
    data, ends = segment(1, 1, 3)
    end = SegmentEnd(3, ends[-1], 0, sealed=False)
    assert scan(data, end).stop == ""
    damaged = bytearray(data)
    damaged[ends[1] - 1] ^= 1
    found = scan(bytes(damaged), end)
    assert (found.stop, found.last_lsn, found.end_bytes) == (Fault.PAYLOAD.value, 1, ends[0])


@pytest.mark.parametrize(("behind", "stop"), [(b"", Fault.END), (bytes(500), Fault.ZEROS), (b"x" * 50, Fault.HEADER)])
def test_a_segment_that_goes_on_says_at_what_its_run_ends(behind: bytes, stop: Fault) -> None:
    """The plan judges by it: nothing, prepared space, or bytes that nobody can read."""
    data, _ = segment(1, 1, 2)
    assert scan(data + behind, None).stop == stop.value


def test_records_of_all_kept_segments_are_passed_on_and_counted() -> None:
    """The count is what an open reports as replayed."""
    disk = SimulatedDisk()
    entries = []
    for number, first_lsn, count in ((1, 1, 3), (2, 4, 2), (3, 6, 1)):
        data, ends = segment(number, first_lsn, count)
        disk.write_bytes("/" + segment_name(number), data)
        last_lsn = first_lsn + count - 1
        entries.append(SegmentEntry(number, SALT, 1, first_lsn, SegmentEnd(last_lsn, ends[-1], 0, sealed=False)))
    frames: list[Frame] = []
    assert read_kept(disk, "/", entries, after_lsn=1, sink=frames.append) == 5
    assert [frame.lsn for frame in frames] == [2, 3, 4, 5, 6]


def test_a_missing_segment_keeps_what_follows_it_from_the_replay() -> None:
    """A header and no fault of its own make a segment no part of the unbroken run again."""
    disk = SimulatedDisk()
    entries = []
    for number, first_lsn in ((1, 1), (2, 3), (3, 5)):
        data, ends = segment(number, first_lsn, 2)
        if number != 2:
            disk.write_bytes("/" + segment_name(number), data)
        entries.append(SegmentEntry(number, SALT, 1, first_lsn, SegmentEnd(first_lsn + 1, ends[-1], 0, sealed=False)))
    manifest = Manifest(STORE, "store", "cbor", 0, 1, 1, WRITER, tuple(entries), (), 0, 0, next_segment=4, next_table=1)
    frames: list[Frame] = []
    found = scan_log(disk, "/", manifest, after_lsn=0, sink=frames.append)
    assert [frame.lsn for frame in frames] == [1, 2]
    assert [one.present for one in found.segments] == [True, False, True]
    assert found.segments[2].last_lsn == 6
