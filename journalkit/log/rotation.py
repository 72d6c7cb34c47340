"""Rotation: seal a segment, begin the next. Each step can be repeated.

The order is the promise: the records are durable before the seal is written,
the seal before the successor's header, the header before the first frame
behind it. So a seal vouches for everything before it, and a header for its
whole predecessor.
"""

from __future__ import annotations

from journalkit.format import frame as frame_format
from journalkit.format.frame import Kind
from journalkit.format.manifest import SegmentEntry
from journalkit.format.segment import SegmentHeader, encode_seal
from journalkit.fs.atomic import write_all
from journalkit.log.segment import SegmentWriter


class Seal:
    """Closes one segment. Made once, so that repeating it writes the same bytes."""

    def __init__(self, segment: SegmentWriter, *, last_lsn: int, time_us: int) -> None:
        self._segment = segment
        self._offset_bytes = segment.end_bytes
        self._frame = frame_format.encode(
            encode_seal(segment.entry.first_lsn, last_lsn),
            lsn=last_lsn,
            time_us=time_us,
            durable_lsn=last_lsn,
            kind=Kind.SEAL,
            salt=segment.entry.salt,
            offset_bytes=segment.end_bytes,
        )

    def carry_out(self, *, records_durable: bool) -> None:
        """Make the records durable, then end the file with the seal and make that durable.

        Raises:
            OSError: The seal may or may not be on disk; nothing may be appended.
        """
        segment, end = self._segment, self._offset_bytes + len(self._frame)
        if not records_durable:
            segment.sync()
        segment.prepare(end)
        write_all(segment.file, self._frame, self._offset_bytes)
        segment.trim(end)
        segment.sync()
        segment.accept(end, frame_format.checksum_of(self._frame))


class Rotation:
    """From a segment that is full to its successor."""

    def __init__(self, old: SegmentWriter, new: SegmentWriter, *, last_lsn: int, time_us: int) -> None:
        self.old = old
        self.new = new
        self._last_lsn = last_lsn
        self._time_us = time_us
        self._seal = Seal(old, last_lsn=last_lsn, time_us=time_us)

    def carry_out(self, *, store: bytes, writer: bytes, records_durable: bool) -> SegmentEntry:
        """Seal the old segment, make the new one's header durable, and return how the old one ended.

        Raises:
            OSError: Neither segment may be appended to.
        """
        self._seal.carry_out(records_durable=records_durable)
        ended = self.old.ended(self._last_lsn, sealed=True)
        first_lsn = self._last_lsn + 1
        _write_header(self.new, ended, first_lsn=first_lsn, store=store, writer=writer, time_us=self._time_us)
        self.new.sync()
        self.new.begin(first_lsn)
        return ended


def begin_segment(
    new: SegmentWriter, old: SegmentEntry | None, *, first_lsn: int, store: bytes, writer: bytes, time_us: int
) -> None:
    """Begin a segment that no manifest names yet, behind `old` (None: it is the first).

    Durability:
        None: sync the file before a manifest names it.
    """
    _write_header(new, old, first_lsn=first_lsn, store=store, writer=writer, time_us=time_us)
    new.begin(first_lsn)


def _write_header(
    new: SegmentWriter, old: SegmentEntry | None, *, first_lsn: int, store: bytes, writer: bytes, time_us: int
) -> None:
    number, end = (old.number, old.end) if old else (0, None)
    new.write_header(
        SegmentHeader(
            salt=new.entry.salt,
            store=store,
            writer=writer,
            epoch=new.entry.epoch,
            number=new.entry.number,
            first_lsn=first_lsn,
            created_us=time_us,
            previous_number=number,
            previous_last_lsn=end.last_lsn if end else 0,
            previous_end_bytes=end.end_bytes if end else 0,
            previous_checksum=end.checksum if end else 0,
        )
    )
