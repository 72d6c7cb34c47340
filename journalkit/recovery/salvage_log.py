"""What survives of a log: every whole record that is still part of it, in LSN order.

Segments are taken by their own headers, by the manifest's word where a header
is damaged, and searched from end to end: a damaged record costs itself alone.
What an earlier recovery gave up stays given up: behind the place where a
successor, or the manifest, says that a segment ends, nothing is taken, and an
LSN that was used twice belongs to the later segment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from journalkit.format.frame import Frame, Kind, is_known, may_ignore
from journalkit.format.malformed import MalformedError
from journalkit.format.manifest import SegmentEntry
from journalkit.format.segment import HEADER_BYTES, SegmentHeader, decode_header
from journalkit.fs.interface import ReadableFile, ReadableFileSystem
from journalkit.log.reader import SegmentReader
from journalkit.recovery.salvage_ranges import LsnRange, LsnSet

NO_LIMIT: Final = 1 << 64
FAULTS_MAX: Final = 1000
"""So many damaged places of one segment are told; the records between the others are found all the same."""


@dataclass(slots=True)
class SegmentRemains:
    """A segment as far as it can be read.

    `limit_lsn` and `limit_bytes` are where it ends for whoever comes later;
    `faults` says what is damaged. `records` is filled by `survey`.
    """

    name: str
    number: int
    size_bytes: int
    header: SegmentHeader | None = None
    salt: int | None = None
    limit_lsn: int = NO_LIMIT
    limit_bytes: int = NO_LIMIT
    records: int = 0
    first_lsn: int = 0
    last_lsn: int = 0
    is_journal: bool = False
    promised_lsn: int = 0
    faults: list[tuple[str, int]] = field(default_factory=list)


def read_segment(
    fs: ReadableFileSystem, directory: str, name: str, number: int, entry: SegmentEntry | None
) -> SegmentRemains:
    """Read a segment's header; `entry` is what a sound manifest says of it.

    Raises:
        OSError: The file can't be read.
        NewerFormatError: A later version wrote it.
    """
    file = fs.open_read(os.path.join(directory, name))
    try:
        remains = SegmentRemains(name, number, file.size())
        raw = file.pread(HEADER_BYTES, 0)
    finally:
        file.close()
    try:
        header = decode_header(raw)
        if entry is not None and (header.number, header.salt) != (entry.number, entry.salt):
            raise MalformedError("the file is another segment than the manifest names")
        remains.header, remains.number, remains.salt = header, header.number, header.salt
    except MalformedError as error:
        if any(raw):
            remains.faults.append((error.reason, error.offset_bytes))
        remains.salt = entry.salt if entry is not None else None
    if entry is not None and entry.end is not None:
        remains.limit_lsn, remains.limit_bytes = entry.end.last_lsn, entry.end.end_bytes
        remains.promised_lsn = entry.end.last_lsn
    return remains


def settle(segments: Sequence[SegmentRemains]) -> list[LsnRange]:
    """Give each segment, in order of number, the limits that later ones set; return the LSNs given up for good."""
    given_up: list[LsnRange] = []
    for index, later in enumerate(segments):
        header = later.header
        if header is None:
            continue
        if header.previous_last_lsn < header.first_lsn - 1:
            given_up.append((header.previous_last_lsn + 1, header.first_lsn - 1))
        for earlier in segments[:index]:
            earlier.limit_lsn = min(earlier.limit_lsn, header.first_lsn - 1)
            if earlier.number == header.previous_number:
                earlier.limit_lsn = min(earlier.limit_lsn, header.previous_last_lsn)
                earlier.limit_bytes = min(earlier.limit_bytes, header.previous_end_bytes)
                earlier.promised_lsn = max(earlier.promised_lsn, header.previous_last_lsn)
    return given_up


def survey(fs: ReadableFileSystem, directory: str, segment: SegmentRemains, seen: LsnSet) -> None:
    """Count what is whole in a settled segment, and note its LSNs in `seen`. O(its bytes)."""
    if segment.salt is None:
        return
    file = fs.open_read(os.path.join(directory, segment.name))
    try:
        at = HEADER_BYTES
        for frame in _whole_frames(file, segment, segment.salt):
            if frame.offset_bytes > at and len(segment.faults) < FAULTS_MAX:
                segment.faults.append((f"{frame.offset_bytes - at} bytes that are no whole record", at))
            at = frame.end_bytes
            segment.promised_lsn = max(segment.promised_lsn, min(frame.durable_lsn, segment.limit_lsn))
            if frame.kind == Kind.SEAL:
                segment.promised_lsn = max(segment.promised_lsn, frame.lsn)
                continue
            seen.add(frame.lsn, frame.lsn)
            segment.is_journal = segment.is_journal or frame.kind == Kind.RECORD
            segment.records += 1
            segment.first_lsn = segment.first_lsn or frame.lsn
            segment.last_lsn = frame.lsn
        end = SegmentReader(file, segment.salt).content_end(at, min(segment.limit_bytes, segment.size_bytes))
        if end > at:
            segment.faults.append((f"{end - at} bytes that are no whole record", at))
    finally:
        file.close()


def records(fs: ReadableFileSystem, directory: str, segment: SegmentRemains) -> Iterator[Frame]:
    """Yield the whole records of a settled segment."""
    if segment.salt is None:
        return
    file = fs.open_read(os.path.join(directory, segment.name))
    try:
        for frame in _whole_frames(file, segment, segment.salt):
            if frame.kind != Kind.SEAL and is_known(frame.kind, frame.flags):
                yield frame
    finally:
        file.close()


def _whole_frames(file: ReadableFile, segment: SegmentRemains, salt: int) -> Iterator[Frame]:
    found = SegmentReader(file, salt).search(HEADER_BYTES, min(segment.limit_bytes, segment.size_bytes))
    # What may be ignored has an LSN like any other, and isn't missing.
    return (frame for frame in found if frame.lsn <= segment.limit_lsn and _is_ours(frame))


def _is_ours(frame: Frame) -> bool:
    return is_known(frame.kind, frame.flags) or may_ignore(frame.kind, frame.flags)
