"""The journal: the log alone, for event logs, outboxes and queues.

Each record holds one value. Nothing is folded; what is no longer needed is
pruned by whole segments, on request.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from journalkit.clock import Clock, SystemClock
from journalkit.errors import (
    CorruptionError,
    HistoryGoneError,
    KeyTypeError,
    KeyValueError,
    RecordTooLargeError,
    StorageError,
    salvage_step,
)
from journalkit.format.codec import codec_named
from journalkit.format.frame import PAYLOAD_BYTES_MAX, Frame, Kind
from journalkit.format.malformed import MalformedError
from journalkit.format.manifest import Manifest, SegmentEntry
from journalkit.format.names import segment_name
from journalkit.format.segment import HEADER_BYTES
from journalkit.fs.interface import FileSystem
from journalkit.log.commit import Stateless
from journalkit.log.gate import Made
from journalkit.log.reader import SegmentReader
from journalkit.manifest import read_manifest
from journalkit.options import MIB, Options
from journalkit.recovery.plan import RecoveryMode
from journalkit.recovery.replay import Records
from journalkit.recovery.report import RecoveryReport
from journalkit.recovery.writer import Opened, OpenRequest, open_for_writing
from journalkit.runtime.handle import Handle, started
from journalkit.runtime.place import Place, caller, resolve
from journalkit.runtime.request import check_mode, check_request, open_to_read
from journalkit.snapshot.cache import BlockCache
from journalkit.types import Lsn, Sync, Value

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One record: its LSN, when it was committed (a label, never an order), and its value."""

    lsn: Lsn
    time: datetime
    value: Value


@dataclass(frozen=True, slots=True)
class _Extent:
    """The part of a segment that holds records which may be read."""

    entry: SegmentEntry
    end_bytes: int
    last_lsn: int


def open_journal(
    path: str | os.PathLike[str],
    *,
    mode: Literal["rw", "r"] = "rw",
    create: bool = True,
    sync: Sync = "always",
    sync_interval_ms: int = 100,
    codec: str | None = None,
    recovery: RecoveryMode = "default",
    segment_bytes_max: int = 64 * MIB,
    metadata: Mapping[str, Any] | None = None,
    trust_filesystem: str | None = None,
    fs: FileSystem | None = None,
    clock: Clock | None = None,
) -> Journal:
    """Open the journal in a directory, creating it if there is none, and return it.

    Arguments, durability and errors are those of `journalkit.open`. With
    `mode="r"` it shows what is there now. There is no `check_all`: a journal
    has no snapshot that would stand for a part of the log, so all of it is
    checked at each opening.

    Complexity:
        O(bytes of the log that isn't pruned).
    """
    options = Options(sync=sync, sync_interval_ms=sync_interval_ms, segment_bytes_max=segment_bytes_max)
    check_mode(mode)
    request = check_request(
        OpenRequest(
            kind="journal",
            create=create,
            codec=codec,
            mode=recovery,
            metadata=metadata,
            trust_filesystem=trust_filesystem,
            segment_bytes_max=segment_bytes_max,
            opened_at=caller(),
        )
    )
    hands = clock if clock is not None else SystemClock()
    return started(Journal(resolve(path, fs), request, options, hands, writable=mode == "rw"))


class Journal(Handle):
    """A durable sequence of values; open one with `open_journal`. Any thread may call anything."""

    def __init__(self, place: Place, request: OpenRequest, options: Options, clock: Clock, *, writable: bool) -> None:
        """Use `open_journal`."""
        self._fs = place.fs
        self._directory = place.directory
        opened: Opened | None = None
        self._seen_durable_lsn = 0
        if writable:
            opened = open_for_writing(
                place.fs, place.directory, request, BlockCache(0), clock, Records(place.directory), Stateless()
            )
            self._report = opened.report
            self._manifest = opened.keeper.current
            self._extents: tuple[_Extent, ...] = ()
        else:
            found, self._report, _ = open_to_read(
                place.fs, place.directory, request, BlockCache(0), clock, lambda: Records(place.directory)
            )
            self._manifest = found.manifest
            self._seen_durable_lsn = found.plan.durable_lsn
            self._extents = tuple(_extent(entry) for entry in found.plan.segments)
        self._codec = codec_named(self._manifest.codec)
        super().__init__(place.name, options, opened, request.opened_at)

    # Where it stands

    @property
    def lsn(self) -> Lsn:
        """The last record; 0 if there is none."""
        return self._opened.log.last_lsn if self._opened else self._report.last_lsn

    @property
    def durable_lsn(self) -> Lsn:
        """The last record that is known to survive a power cut."""
        return self._opened.log.durable_lsn if self._opened else self._seen_durable_lsn

    @property
    def pruned_lsn(self) -> Lsn:
        """The last record that was pruned; 0 if none was."""
        return self._current().pruned_lsn

    @property
    def epoch(self) -> int:
        """How often the journal was opened for writing."""
        return self._current().epoch

    @property
    def uuid(self) -> str:
        """The journal's identity, 32 hexadecimal digits; copies share it."""
        return self._manifest.store.hex()

    @property
    def recovery_report(self) -> RecoveryReport:
        """What opening found and did; its `str` is one line."""
        return self._report

    def _current(self) -> Manifest:
        return self._opened.keeper.current if self._opened else self._manifest

    # Records

    def append(self, value: Value, *, sync: Sync | None = None) -> Lsn:
        """Append one record and return its LSN.

        Durability and errors are those of `Store.put`.
        """
        return self._require_gate().append(self._made, (value,), Kind.RECORD, self._durable(sync))

    def _made(self, value: Value) -> Made:
        payload = self._codec.encode(value)
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise RecordTooLargeError(
                f"a record of {len(payload)} bytes is over the limit of {PAYLOAD_BYTES_MAX}; split it",
                size_bytes=len(payload),
                limit_bytes=PAYLOAD_BYTES_MAX,
            )
        return payload, ()

    def read(self, from_lsn: Lsn | None = None, to_lsn: Lsn | None = None) -> Iterator[JournalRecord]:
        """Return an iterator over records in order, up to the last one that there is at this call.

        Args:
            from_lsn: The first record, inclusive; None is the oldest there is.
            to_lsn: The last record, inclusive; None is the newest there is.

        Raises:
            UsageError: An argument isn't an LSN.
            HistoryGoneError: Records from `from_lsn` on were pruned; also while
                iterating, if they are pruned meanwhile.
            CorruptionError: While iterating: a record is damaged.
            StorageError: While iterating: the file can't be read.
            ClosedError: Also while iterating, if the journal is closed meanwhile.

        Complexity:
            Whole segments before `from_lsn` are skipped; memory for one record.
        """
        self._require_open()
        # In this order: each extent is whole up to the first, and whatever is missing
        # in front of the extents was pruned by the time that the last is asked for.
        last_lsn, extents, pruned_lsn = self.lsn, self._readable(), self.pruned_lsn
        first_lsn = pruned_lsn + 1 if from_lsn is None else _checked(from_lsn, "from_lsn", least=1)
        stop_lsn = last_lsn if to_lsn is None else min(_checked(to_lsn, "to_lsn"), last_lsn)
        if first_lsn <= pruned_lsn:
            raise self._gone(first_lsn, pruned_lsn)
        return self._records(extents, first_lsn, stop_lsn)

    def _readable(self) -> tuple[_Extent, ...]:
        if self._opened is None:
            return self._extents
        log = self._opened.log
        # The LSN before the end: what is written in between is not shown, and never half shown.
        last_lsn, position = log.last_lsn, log.position
        active = _Extent(position.active.entry, position.active.end_bytes, last_lsn)
        return (*(_extent(entry) for entry in position.ended), active)

    def _records(self, extents: tuple[_Extent, ...], first_lsn: Lsn, stop_lsn: Lsn) -> Iterator[JournalRecord]:
        expected = first_lsn
        for extent in extents:
            if extent.last_lsn < first_lsn or expected > stop_lsn:
                continue
            for frame in self._frames(extent, expected):
                if frame.kind == Kind.RECORD and first_lsn <= frame.lsn <= stop_lsn:
                    yield self._record(frame)
                    expected = frame.lsn + 1

    def _frames(self, extent: _Extent, lsn: Lsn) -> Iterator[Frame]:
        self._require_open()
        path = os.path.join(self._directory, segment_name(extent.entry.number))
        try:
            file = self._fs.open_read(path)
            try:
                reader = SegmentReader(file, extent.entry.salt)
                yield from reader.frames(HEADER_BYTES, extent.end_bytes)
            finally:
                file.close()
        except FileNotFoundError as error:
            # A reader's own manifest may be older than what its writer pruned.
            pruned_lsn = self._pruned_by_now()
            if lsn <= pruned_lsn:
                raise self._gone(lsn, pruned_lsn) from error
            raise CorruptionError("the segment is missing", path=path, lsn=lsn) from error
        except OSError as error:
            raise StorageError(f"{path}: can't be read ({error.strerror}); try again", cause=error) from error
        stop = reader.stop
        if stop is None or stop.offset_bytes < extent.end_bytes:
            at = stop.offset_bytes if stop else HEADER_BYTES
            raise CorruptionError("a record is damaged", path=path, offset_bytes=at)

    def _record(self, frame: Frame) -> JournalRecord:
        try:
            value = self._codec.decode(frame.payload)
        except MalformedError as error:
            raise CorruptionError(
                f"the record is whole and isn't a value ({error.reason})",
                path=self.path,
                lsn=frame.lsn,
                next_step=salvage_step(self.path),
            ) from error
        return JournalRecord(frame.lsn, _moment(frame.time_us), value)

    def _pruned_by_now(self) -> Lsn:
        manifest = read_manifest(self._fs, self._directory)
        return manifest.pruned_lsn if manifest is not None else self.pruned_lsn

    def _gone(self, lsn: Lsn, pruned_lsn: Lsn) -> HistoryGoneError:
        return HistoryGoneError(
            f"record {lsn} of {self.path} was pruned; {pruned_lsn + 1} to {self.lsn} are there",
            first_lsn=pruned_lsn + 1,
            last_lsn=self.lsn,
        )

    def rotate(self) -> None:
        """Seal the segment that is written to and go on in a new one, so that `prune` may take it."""
        self._require_log().rotate()

    def prune(self, through_lsn: Lsn) -> Lsn:
        """Remove segments whose records are all at or below `through_lsn`; return the last pruned LSN.

        Only whole, sealed segments go: records near `through_lsn` may stay.

        Durability:
            What was pruned stays pruned once this returns.

        Raises:
            StoreFullError, StorageError, FencedError: From publishing; nothing was removed.
        """
        opened, limit = self._require_opened(), _checked(through_lsn, "through_lsn")
        ends = (entry.end for entry in opened.log.position.ended)
        gone_lsn = max((end.last_lsn for end in ends if end is not None and end.last_lsn <= limit), default=0)
        if gone_lsn <= self.pruned_lsn:
            return self.pruned_lsn

        def drop(manifest: Manifest) -> Manifest:
            # Another thread may have pruned more meanwhile.
            pruned_lsn = max(manifest.pruned_lsn, gone_lsn)
            return manifest.next_generation(
                segments=opened.log.entries(pruned_lsn), pruned_lsn=pruned_lsn, durable_lsn=opened.log.durable_lsn
            )

        opened.keeper.publish(drop)
        for segment in opened.log.forget(gone_lsn):
            # What stays is swept at the next open.
            with suppress(OSError):
                self._fs.unlink(os.path.join(self._directory, segment_name(segment.number)))
        return self.pruned_lsn

    def __repr__(self) -> str:
        if self.closed:
            return f"<journalkit.Journal {self.path!r}, closed>"
        mode = "rw" if self._opened is not None else "r"
        return f"<journalkit.Journal {self.path!r}, mode {mode!r}, LSN {self.lsn}, durable to {self.durable_lsn}>"


def _moment(time_us: int) -> datetime:
    """Return a record's time; at an end of the calendar for a label that lies beyond it."""
    try:
        return _EPOCH + timedelta(microseconds=time_us)
    except OverflowError:
        return _LAST if time_us > 0 else _FIRST


def _extent(entry: SegmentEntry) -> _Extent:
    end = entry.end
    return _Extent(entry, end.end_bytes, end.last_lsn) if end is not None else _Extent(entry, HEADER_BYTES, 0)


def _checked(lsn: Any, name: str, *, least: Lsn = 0) -> Lsn:
    if isinstance(lsn, bool) or not isinstance(lsn, int):
        raise KeyTypeError(f"{name}={lsn!r} is not an LSN")
    if lsn < least:
        raise KeyValueError(f"{name}={lsn} is below {least}; the first record has LSN 1")
    return lsn
