"""The scan: what the files are. It reports and never judges, and it passes over nothing that it doesn't know."""

from __future__ import annotations

from typing import Any

import pytest

from journalkit.errors import CorruptionError, UnsupportedFormatError
from journalkit.format.batch import encode_one
from journalkit.format.checksum import checksum
from journalkit.format.frame import Frame, Kind, encode
from journalkit.format.manifest import Manifest, SegmentEnd, SegmentEntry
from journalkit.format.names import segment_name
from journalkit.format.segment import HEADER, SegmentHeader, encode_seal
from journalkit.recovery.replay import Records, Replay, discard
from journalkit.recovery.scan import GAP, Beyond, LogScan, SegmentScan, read_kept, scan_log
from journalkit.testing import SimulatedDisk

STORE, SALT = b"store-of-16-byte", 5


def header(**changes: Any) -> SegmentHeader:
    """Return the header of segment 1."""
    usual: dict[str, Any] = {
        "salt": SALT,
        "store": STORE,
        "writer": b"w" * 16,
        "epoch": 1,
        "number": 1,
        "first_lsn": 1,
        "created_us": 0,
        "previous_number": 0,
        "previous_last_lsn": 0,
        "previous_end_bytes": 0,
        "previous_checksum": 0,
    }
    return SegmentHeader(**(usual | changes))


class Disk:
    """Segment 1 in the making."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk()
        self.data = header().encode()
        self.frames: list[Frame] = []

    def add(self, lsn: int, *, kind: int = Kind.BATCH, flags: int = 0, payload: bytes | None = None) -> int:
        """Append a frame and return where it begins."""
        at = len(self.data)
        body = payload if payload is not None else encode_one(b"k%d" % lsn, b"v")
        frame = bytearray(encode(body, lsn=lsn, time_us=0, durable_lsn=lsn - 1, kind=kind, salt=SALT, offset_bytes=at))
        if flags:
            frame[15] = flags
            frame[:4] = checksum(bytes(frame[4:40]), SALT + at).to_bytes(4, "little")
        self.data += bytes(frame)
        return at

    def scan(self, *, sink: Any = None, end: SegmentEnd | None = None, **options: Any) -> LogScan:
        """Write the segment with prepared space behind it and scan it."""
        self.disk.write_bytes("/" + segment_name(1), self.data + bytes(500))
        entry = SegmentEntry(1, SALT, 1, 1, end)
        manifest = Manifest(
            STORE, "store", "cbor", 0, 1, 1, b"w" * 16, (entry,), (), 0, 0, next_segment=2, next_table=1
        )
        usual: dict[str, Any] = {"after_lsn": 0, "sink": sink or self.frames.append}
        return scan_log(self.disk, "/", manifest, **(usual | options))

    def first(self, **options: Any) -> SegmentScan:
        """Scan, and return what was found of the segment."""
        return self.scan(**options).segments[0]


@pytest.fixture
def log() -> Disk:
    """A segment without records."""
    return Disk()


def test_a_header_of_zeros_is_told_from_one_that_is_garbled(log: Disk) -> None:
    """The one was lost, or never written; the other was changed."""
    log.data = bytes(len(log.data))
    found = log.first()
    assert (found.header_fault, found.end_bytes, found.is_blank) == ("blank", 0, True)
    log.data = b"x" * len(log.data)
    assert log.first().header_fault == "not a log segment"


def test_records_go_to_the_sink_in_order_once(log: Disk) -> None:
    """One pass: nothing is read twice."""
    for lsn in (1, 2, 3):
        log.add(lsn)
    found = log.scan(after_lsn=1)
    assert [frame.lsn for frame in log.frames] == [2, 3]
    assert found.records_sunk == 2
    assert (found.segments[0].records, found.segments[0].last_lsn, found.segments[0].stop) == (3, 3, "zeros")


def test_a_kind_that_may_be_passed_over_is_counted_and_not_replayed(log: Disk) -> None:
    """A later version's annotation: it has an LSN and nothing to say to this one."""
    log.add(1)
    log.add(2, kind=200)
    log.add(3, flags=0x80)
    found = log.scan()
    assert [frame.lsn for frame in log.frames] == [1, 3]
    assert (found.records_sunk, found.segments[0].records) == (2, 3)


@pytest.mark.parametrize("unknown", [{"kind": 4}, {"kind": 100}, {"flags": 1}, {"kind": 200, "flags": 2}, {"kind": 0}])
def test_a_kind_or_flag_that_must_not_be_passed_over_is_refused(log: Disk, unknown: dict[str, int]) -> None:
    """Promise 7: a state without that record would be wrong; upgrade, nothing is touched."""
    log.add(1)
    at = log.add(2, **unknown)
    place = f"/{segment_name(1)}: record 2 at byte {at} is of kind .*upgrade journalkit"
    with pytest.raises(UnsupportedFormatError, match=f"^{place}"):
        log.scan()


def test_a_segment_of_a_later_format_is_refused(log: Disk) -> None:
    """Whole, checked and newer: no damage."""
    data = bytearray(log.data)
    data[HEADER.offset_of("version")] = 2
    log.data = bytes(data[:-4]) + checksum(bytes(data[:-4])).to_bytes(4, "little")
    with pytest.raises(UnsupportedFormatError, match="upgrade journalkit"):
        log.scan()


@pytest.mark.parametrize(
    ("lsn", "payload"), [(2, encode_seal(1, 2)), (1, encode_seal(2, 1)), (1, b"no seal"), (1, encode_seal(1, 2))]
)
def test_a_seal_that_does_not_fit_its_segment_ends_the_run_as_a_gap(log: Disk, lsn: int, payload: bytes) -> None:
    """A seal promises exactly the records before it; another one was not written here."""
    log.add(1)
    log.add(lsn, kind=Kind.SEAL, payload=payload)
    found = log.first()
    assert (found.stop, found.stop_lsn, found.sealed, found.last_lsn) == (GAP, None, False, 1)


def test_a_number_that_does_not_follow_ends_the_run_as_a_gap(log: Disk) -> None:
    """Dense from the header on."""
    log.add(1)
    log.add(3)
    found = log.first()
    assert (found.stop, found.stop_lsn, found.last_lsn) == (GAP, 3, 1)


def test_what_is_whole_behind_the_end_of_the_run_is_told_with_all_that_it_promises(log: Disk) -> None:
    """Whether the tail is torn or lost is decided by it; a seal counts as a promise and as no record."""
    log.add(1)
    log.data += b"torn"
    for lsn in (5, 7):
        log.add(lsn)
    assert log.first().beyond == Beyond(records=2, first_lsn=5, last_lsn=7, durable_lsn=6)
    log.add(7, kind=Kind.SEAL, payload=encode_seal(1, 7))
    assert log.first().beyond == Beyond(records=2, first_lsn=5, last_lsn=7, durable_lsn=6, sealed=True)


@pytest.mark.parametrize(
    ("scan", "is_blank"),
    [
        ({}, True),
        ({"content_end_bytes": 60}, False),
        ({"header": header()}, False),
        ({"present": False}, False),
    ],
)
def test_a_segment_is_blank_if_it_is_there_and_not_one_byte_is_set(scan: dict[str, Any], is_blank: bool) -> None:
    """One that is missing, torn or begun is something else each."""
    assert SegmentScan(SegmentEntry(1, SALT, 1, 0), **scan).is_blank is is_blank


@pytest.mark.parametrize("harm", ["torn", "missing", "headless"])
def test_nothing_behind_a_broken_run_is_sunk_or_counted_as_sunk(log: Disk, harm: str) -> None:
    """A sink that got it would hold a state that never was; a report that counted it would speak of such a one."""
    log.add(1)
    first, entries = segment_name(1), [SegmentEntry(number, SALT, 1, number) for number in (1, 2)]
    log.disk.write_bytes("/" + first, log.data + (b"torn" if harm == "torn" else b""))
    if harm == "missing":
        log.disk.unlink("/" + first)
    elif harm == "headless":
        log.disk.write_bytes("/" + first, b"x" + log.data[1:])
    second = header(number=2, first_lsn=2).encode()
    place: dict[str, Any] = {"salt": SALT, "offset_bytes": len(second)}
    second += encode(encode_one(b"k2", b"v"), lsn=2, time_us=0, durable_lsn=1, kind=Kind.BATCH, **place)
    log.disk.write_bytes("/" + segment_name(2), second)
    manifest = Manifest(
        STORE, "store", "cbor", 0, 1, 1, b"w" * 16, tuple(entries), (), 0, 0, next_segment=3, next_table=1
    )
    found = scan_log(log.disk, "/", manifest, after_lsn=0, sink=log.frames.append)
    sunk = [1] if harm == "torn" else []
    assert [frame.lsn for frame in log.frames] == sunk
    assert found.records_sunk == len(sunk)
    assert found.segments[1].records == 1


def test_what_recovery_ended_ends_there(log: Disk) -> None:
    """Bytes behind a recorded end mean nothing, whatever they look like."""
    log.add(1)
    end = len(log.data)
    log.add(2)
    found = log.first(end=SegmentEnd(1, end, 0, sealed=False))
    assert (found.last_lsn, found.stop, found.content_end_bytes) == (1, "", end)


def test_behind_a_seal_that_the_manifest_names_all_is_looked_at(log: Disk) -> None:
    """Only an end that recovery set, without a seal, has bytes behind it that mean nothing."""
    log.add(1)
    log.add(1, kind=Kind.SEAL, payload=encode_seal(1, 1))
    end = len(log.data)
    log.data += b"more"
    found = log.first(end=SegmentEnd(1, end, 0, sealed=True))
    assert (found.sealed, found.end_bytes, found.content_end_bytes) == (True, end, end + 4)


def test_a_segment_below_the_snapshot_is_looked_at_by_header_and_size_unless_all_is_asked_for(log: Disk) -> None:
    """Opening must not read history; `verify` does."""
    log.add(1)
    end = len(log.data)
    log.data = log.data[:-1] + b"?"
    ending = SegmentEnd(1, end, 77, sealed=True)
    found = log.first(end=ending, after_lsn=1)
    assert (found.scanned, found.last_lsn, found.checksum, found.size_bytes) == (False, 1, 77, end + 500)
    found = log.first(end=ending, after_lsn=1, everything=True)
    assert (found.scanned, found.last_lsn, found.stop) == (True, 0, "bad payload")
    log.data = b"x" + log.data[1:]
    assert log.first(end=ending, after_lsn=1).header_fault == "not a log segment"


def test_the_kept_part_is_read_again_exactly(log: Disk) -> None:
    """Point-in-time: what the sink gets is what the plan keeps, seals and the rest left out."""
    for lsn in (1, 2, 3):
        log.add(lsn)
    end = len(log.data)
    log.add(4)
    log.scan(sink=discard)
    kept = SegmentEntry(1, SALT, 1, 1, SegmentEnd(3, end, 0, sealed=False))
    assert read_kept(log.disk, "/", [kept], after_lsn=1, sink=log.frames.append) == 2
    assert [frame.lsn for frame in log.frames] == [2, 3]
    assert read_kept(log.disk, "/", [kept, SegmentEntry(2, 0, 1, 4)], after_lsn=3, sink=log.frames.append) == 0


def test_a_replay_folds_batches_and_weighs_them(log: Disk) -> None:
    """A deletion stays as None: it may hide a key of a snapshot."""
    log.add(1)
    log.add(2, payload=encode_one(b"k1", None))
    log.add(3, payload=b"")
    log.add(4, payload=encode_one(b"k1", b"new") + encode_one(b"k4", b""))
    replay = Replay("/")
    log.scan(sink=replay)
    assert replay.entries == {b"k1": b"new", b"k4": b""}
    assert replay.payload_bytes == (6 + 2 + 1) + (6 + 2) + 0 + (6 + 2 + 3) + (6 + 2)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [(Kind.RECORD, b"x"), (Kind.BATCH, b"x"), (Kind.BATCH, encode_one(b"k", b"v")[:-1]), (Kind.BATCH, bytes(6))],
)
def test_a_whole_record_that_makes_no_sense_is_corruption(log: Disk, kind: int, payload: bytes) -> None:
    """Both checksums pass and it still isn't a batch: our bug or somebody's hand, and never a guess."""
    at = log.add(1, kind=kind, payload=payload)
    with pytest.raises(CorruptionError, match="the record is whole and makes no sense") as caught:
        log.scan(sink=Replay("/store"))
    assert (caught.value.offset_bytes, caught.value.lsn) == (at, 1)


def test_a_batch_in_a_journal_is_corruption(log: Disk) -> None:
    """A journal keeps no state that it could belong to."""
    log.add(1, kind=Kind.RECORD)
    at = log.add(2)
    with pytest.raises(CorruptionError, match=r"makes no sense \(a batch in a journal\)") as caught:
        log.scan(sink=Records("/store"))
    assert (caught.value.path, caught.value.offset_bytes, caught.value.lsn) == ("/store", at, 2)
    assert "journalkit salvage" in str(caught.value)


def test_a_replay_begins_behind_the_snapshot_in_the_middle_of_a_segment(log: Disk) -> None:
    """PITFALLS 16: a record that is in the snapshot already is not replayed over it."""
    for lsn in (1, 2, 3):
        log.add(lsn)
    replay = Replay("/")
    assert log.scan(sink=replay, after_lsn=2).records_sunk == 1
    assert (replay.entries, replay.payload_bytes) == ({b"k3": b"v"}, 6 + 2 + 1)
