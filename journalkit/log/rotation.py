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
from journalkit.log.attempt import SyncAttempt
from journalkit.log.segment import SegmentWriter


class Seal:
    """Closes one segment. Made once, so that repeating it writes the same bytes."""

    def __init__(self, segment: SegmentWriter, *, last_lsn: int, time_us: int) -> None:
        self._segment = segment
        self._records = SyncAttempt(segment.file)
        self._seal = SyncAttempt(segment.file)
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

    def carry_out(self, *, records_durable: bool, trim: bool) -> None:
        """Make the records durable, then write the seal behind them and make it durable.

        With `trim` the file ends with the seal afterwards.

        Raises:
            OSError: The seal may or may not be on disk; nothing may be appended.
        """
        if not records_durable:
            self._records.run()
        end = self._offset_bytes + len(self._frame)
        self._segment.prepare(end)
        write_all(self._segment.file, self._frame, self._offset_bytes)
        if trim:
            self._segment.trim(end)
        self._seal.run()
        self._segment.accept(end, frame_format.checksum_of(self._frame))


class Rotation:
    """From a sealed segment to its successor."""

    def __init__(self, old: SegmentWriter, new: SegmentWriter, *, last_lsn: int, time_us: int) -> None:
        self.old = old
        self.new = new
        self._last_lsn = last_lsn
        self._time_us = time_us
        self._seal = Seal(old, last_lsn=last_lsn, time_us=time_us)
        self._header = SyncAttempt(new.file)

    def carry_out(self, *, store: bytes, writer: bytes, records_durable: bool) -> None:
        """Seal the old segment and make the new one's header durable.

        Raises:
            OSError: Neither segment may be appended to.
        """
        self._seal.carry_out(records_durable=records_durable, trim=True)
        begin_segment(
            self.new,
            self.old.ended(self._last_lsn, sealed=True),
            first_lsn=self._last_lsn + 1,
            store=store,
            writer=writer,
            time_us=self._time_us,
        )
        self._header.run()


def begin_segment(
    new: SegmentWriter, old: SegmentEntry | None, *, first_lsn: int, store: bytes, writer: bytes, time_us: int
) -> None:
    """Write the header of `new`, which follows `old` (None: it is the first). Durable after a sync of `new`."""
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
    new.begin(first_lsn)
