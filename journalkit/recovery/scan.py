"""The scan: what the files of a log are, without a judgement.

One pass over the segments in order. Records of the unbroken run are handed to
a sink as they are read, so that nothing is read twice; whether the run may be
believed is for `journalkit.recovery.plan` to say, and a caller that is refused
throws the sink's work away. Who keeps a part of a damaged log scans without a
sink, plans, and reads the kept part with `read_kept`. Takes a file system that
can't write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from journalkit.errors import UnsupportedFormatError
from journalkit.format.frame import Frame, Kind, is_known, may_ignore
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import Manifest, SegmentEntry
from journalkit.format.names import segment_name
from journalkit.format.segment import HEADER_BYTES, DurableSlot, SegmentHeader, decode_header, decode_seal
from journalkit.fs.interface import ReadableFile, ReadableFileSystem
from journalkit.log.durable import read_durable
from journalkit.log.reader import Ahead, SegmentReader
from journalkit.recovery.replay import Replay, discard

Sink: TypeAlias = Callable[[Frame], None]

_BATCH: Final = int(Kind.BATCH)
_SEAL: Final = int(Kind.SEAL)

GAP: Final = "gap"
"""What a run ends at where a whole frame has an LSN that doesn't follow."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """Whole records found behind the end of the run, and whether a seal is among them."""

    records: int = 0
    first_lsn: int = 0
    last_lsn: int = 0
    durable_lsn: int = 0
    sealed: bool = False


@dataclass(frozen=True, slots=True)
class SegmentScan:
    """What one segment is.

    `present` is whether the file is there at all, `header` its header if that
    passed, `header_fault` why not. The run of whole, consecutive frames goes
    to `end_bytes` and LSN `last_lsn`; `stop` names what is there instead of the
    next frame, "" if the run ended with a seal or where the manifest ends it.
    `content_end_bytes` is behind the last byte that isn't zero. A segment that
    holds nothing new is only looked at by header and size (`scanned` False).
    """

    entry: SegmentEntry
    present: bool = True
    size_bytes: int = 0
    header: SegmentHeader | None = None
    header_fault: str = ""
    scanned: bool = True
    records: int = 0
    last_lsn: int = 0
    end_bytes: int = HEADER_BYTES
    checksum: int = 0
    sealed: bool = False
    stop: str = ""
    stop_lsn: int | None = None
    content_end_bytes: int = 0
    beyond: Beyond = field(default_factory=Beyond)

    @property
    def is_blank(self) -> bool:
        """Prepared ahead and never used: not one byte is set."""
        return self.present and self.header is None and self.content_end_bytes == 0


@dataclass(frozen=True, slots=True)
class LogScan:
    """Every segment that the manifest names, in order, and what the durable slot says."""

    segments: tuple[SegmentScan, ...]
    slot: DurableSlot | None
    records_sunk: int


def scan_log(
    fs: ReadableFileSystem,
    directory: str,
    manifest: Manifest,
    *,
    after_lsn: int,
    sink: Sink,
    everything: bool = False,
    bypass_cache: bool = False,
) -> LogScan:
    """Scan the log of `manifest`; records above `after_lsn` of the unbroken run go to `sink`, in order.

    Segments that end at or below `after_lsn` are only looked at by header and
    size unless `everything` is asked for. With `bypass_cache` segments whose
    end no manifest promises are read from the device, where possible.

    Raises:
        UnsupportedFormatError: A record of a kind that this version must not pass over.
        OSError: The files can't be read.
    """
    # The slot first: whatever it promises was in the files before they are read.
    slot = read_durable(fs, directory)
    scans: list[SegmentScan] = []
    sunk, last_lsn, unbroken = 0, manifest.pruned_lsn, True

    for entry in manifest.segments:
        end = entry.end
        skip = end is not None and end.last_lsn <= after_lsn and not everything
        file = _open(fs, os.path.join(directory, segment_name(entry.number)), bypass_cache and end is None)
        if file is None:
            scans.append(SegmentScan(entry, present=False, last_lsn=last_lsn))
            unbroken = False
            continue
        try:
            scan = _scan_header(file, SegmentScan(entry, size_bytes=file.size(), last_lsn=last_lsn))
            if skip and end is not None and scan.header is not None:
                scan = replace(
                    scan,
                    scanned=False,
                    last_lsn=end.last_lsn,
                    end_bytes=end.end_bytes,
                    checksum=end.checksum,
                    sealed=end.sealed,
                    content_end_bytes=end.end_bytes,
                )
            else:
                scan, count = _scan_frames(file, scan, sink if unbroken else discard, after_lsn, directory)
                sunk += count if unbroken else 0
        finally:
            file.close()
        scans.append(scan)
        last_lsn = scan.last_lsn
        unbroken = unbroken and not scan.stop and (scan.header is not None or scan.is_blank)
    return LogScan(tuple(scans), slot, sunk)


def _open(fs: ReadableFileSystem, path: str, bypass_cache: bool) -> ReadableFile | None:
    try:
        return fs.open_direct(path) if bypass_cache else fs.open_read(path)
    except FileNotFoundError:
        return None


def read_kept(
    fs: ReadableFileSystem, directory: str, segments: Sequence[SegmentEntry], *, after_lsn: int, sink: Sink
) -> int:
    """Give the records above `after_lsn` of ended segments to `sink`, in order; return how many.

    The segments are those that a plan keeps: scanned, and whole up to their ends.

    Raises:
        OSError: The files can't be read.
    """
    sunk = 0
    for entry in segments:
        if entry.end is None or entry.end.last_lsn <= after_lsn:
            continue
        file = fs.open_read(os.path.join(directory, segment_name(entry.number)))
        try:
            scan = _scan_header(file, SegmentScan(entry, size_bytes=file.size()))
            sunk += _scan_frames(file, scan, sink, after_lsn, directory)[1]
        finally:
            file.close()
    return sunk


def _scan_header(file: ReadableFile, scan: SegmentScan) -> SegmentScan:
    data = file.pread(HEADER_BYTES, 0)
    try:
        return replace(scan, header=decode_header(data), content_end_bytes=HEADER_BYTES)
    except NewerFormatError as error:
        raise UnsupportedFormatError(f"{segment_name(scan.entry.number)}: {error}; upgrade journalkit") from error
    except MalformedError as error:
        return replace(scan, header_fault=error.reason if any(data) else "blank")


def _scan_frames(
    file: ReadableFile, scan: SegmentScan, sink: Sink, after_lsn: int, directory: str
) -> tuple[SegmentScan, int]:
    """Walk one segment; return what it is, and how many records the sink got."""
    entry, size, header = scan.entry, scan.size_bytes, scan.header
    reader = SegmentReader(file, entry.salt)
    if header is None:
        beyond = _beyond(reader, 0, size)
        return replace(scan, end_bytes=0, content_end_bytes=reader.content_end(0, size), beyond=beyond), 0
    # What recovery once ended unsealed ends there for good; bytes behind it mean nothing.
    ended = entry.end is not None and not entry.end.sealed
    limit = min(entry.end.end_bytes, size) if entry.end is not None and ended else size
    run, sealed, stop, stop_lsn = _Run(header.first_lsn - 1), False, "", None
    ahead = _folding(run, sink, entry.salt, after_lsn) if isinstance(sink, Replay) else None
    # What a folding sink didn't take ahead: everything that isn't a plain batch, and whatever isn't whole.
    for frame in reader.frames(HEADER_BYTES, limit, ahead):
        _, frame_end, frame_lsn, kind, flags, _, _, frame_checksum, _ = frame
        is_read = True
        if flags or not _BATCH <= kind <= _SEAL:
            is_read = _must_read(frame, os.path.join(directory, segment_name(entry.number)))
        if kind == _SEAL:
            sealed = frame_lsn == run.lsn and _seals(frame, header.first_lsn)
            if sealed:
                run.end_bytes, run.checksum = frame_end, frame_checksum
            else:
                stop = GAP
            break
        if frame_lsn != run.lsn + 1:
            stop, stop_lsn = GAP, frame_lsn
            break
        run.lsn, run.end_bytes, run.checksum = frame_lsn, frame_end, frame_checksum
        if is_read and frame_lsn > after_lsn:
            sink(frame)
            run.sunk += 1
    lsn, end = run.lsn, run.end_bytes
    # A walk that was left early, at a seal or a gap, has no stop of its own.
    if reader.stop is not None and not (ended and end == limit):
        stop = reader.stop.fault.value
    content_end = reader.content_end(end, limit)
    beyond = _beyond(reader, end, limit) if content_end > end and not sealed else Beyond()
    found = replace(
        scan,
        records=lsn + 1 - header.first_lsn,
        last_lsn=lsn,
        end_bytes=end,
        checksum=run.checksum,
        sealed=sealed,
        stop=stop,
        stop_lsn=stop_lsn,
        content_end_bytes=content_end,
        beyond=beyond,
    )
    return found, run.sunk


class _Run:
    """How far the unbroken run of a segment has got."""

    __slots__ = ("checksum", "end_bytes", "lsn", "sunk")

    def __init__(self, lsn: int) -> None:
        self.lsn = lsn
        self.end_bytes = HEADER_BYTES
        self.checksum = 0
        self.sunk = 0


def _folding(run: _Run, replay: Replay, salt: int, after_lsn: int) -> Ahead:
    """Return what lets `replay` take plain batches of a buffer in one loop, once all that follow are wanted."""

    def fold(buffer: bytes, offset_bytes: int) -> int:
        if run.lsn < after_lsn:
            return 0
        folded = replay.fold(buffer, offset_bytes, salt, run.lsn)
        if folded.records:
            run.lsn, run.checksum = folded.lsn, folded.checksum
            run.end_bytes = offset_bytes + folded.position
            run.sunk += folded.records
        return folded.position

    return fold


def _must_read(frame: Frame, path: str) -> bool:
    """Return whether the record, of an unusual kind or with flags, is one to be read; False: it may be passed over.

    Raises:
        UnsupportedFormatError: It may not, and this version doesn't know it.
    """
    if is_known(frame.kind, frame.flags):
        return True
    if may_ignore(frame.kind, frame.flags):
        return False
    raise UnsupportedFormatError(
        f"{path}: record {frame.lsn} at byte {frame.offset_bytes} is of kind {frame.kind} with flags "
        f"{frame.flags:#x}, which this version doesn't know; upgrade journalkit"
    )


def _seals(frame: Frame, first_lsn: int) -> bool:
    try:
        return decode_seal(frame.payload) == (first_lsn, frame.lsn)
    except MalformedError:
        return False


def _beyond(reader: SegmentReader, start_bytes: int, stop_bytes: int) -> Beyond:
    found = Beyond()
    for frame in reader.search(start_bytes, stop_bytes):
        found = Beyond(
            found.records + (frame.kind != Kind.SEAL),
            found.first_lsn or frame.lsn,
            max(found.last_lsn, frame.lsn),
            max(found.durable_lsn, frame.durable_lsn),
            found.sealed or frame.kind == Kind.SEAL,
        )
    return found
