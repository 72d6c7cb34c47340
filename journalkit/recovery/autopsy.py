"""What happened inside a damaged segment: each hole between its whole records, with the cause that its bytes prove.

A scan stops at the first damage, which is all that recovery needs to know. Who
has to decide between a backup, a prefix and a salvage needs the rest: how many
places, which records each of them cost, and whether a bit rotted, a write went
astray or the file's end is gone. Reads only, and only what is damaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from journalkit.format import frame as frames
from journalkit.format.checksum import SEED_MASK, checksum, seed_at
from journalkit.format.frame import Fault, Frame, Kind, Stop
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.segment import HEADER_BYTES, decode_header
from journalkit.fs.interface import ReadableFile
from journalkit.log.reader import SegmentReader
from journalkit.recovery.damage import DamageKind
from journalkit.recovery.diagnosis import Cause, Finding, bit_text
from journalkit.recovery.evidence import (
    FLIP_BYTES_MAX,
    SECTOR_BYTES,
    Bit,
    flipped_around,
    flipped_bit,
    implied_seed,
    turned_back,
    zeroed,
)
from journalkit.recovery.promises import Promised
from journalkit.recovery.salvage_ranges import LsnRange

WINDOW_BYTES: Final = 1024 * 1024
"""So much of one hole is looked at for its cause."""

REPAIRED_BYTES_MAX: Final = 16 * 1024 * 1024
"""A longer record isn't put together again to see whether a bit turned back makes it whole."""

FINDINGS_MAX: Final = 1000
"""So many damaged places of one file are told apart; what is behind them counts as one more, up to the end."""

_CANDIDATES_MAX: Final = 64
_FRAME: Final = frames.HEADER


@dataclass(frozen=True, slots=True)
class Home:
    """A segment from which bytes may have come: its name, size, salt and first LSN."""

    name: str
    size_bytes: int
    salt: int
    first_lsn: int


def examine_segment(
    file: ReadableFile, name: str, salt: int, first_lsn: int, promised: Promised, homes: Sequence[Home]
) -> list[Finding]:
    """Return each damage to what was promised of a segment, in the order of the file.

    `salt` and `first_lsn` are the manifest's, so that the header isn't needed.

    Raises:
        OSError: The file can't be read.

    Complexity:
        O(bytes); memory for one record and one window.
    """
    return _Autopsy(file, name, salt, promised, homes).run(first_lsn)


class _Autopsy:
    def __init__(self, file: ReadableFile, name: str, salt: int, promised: Promised, homes: Sequence[Home]) -> None:
        self._file = file
        self._name = name
        self._salt = salt
        self._promised = promised
        self._homes = homes
        self._size = file.size()
        self._reader = SegmentReader(file, salt)
        self._found: list[Finding] = []
        self._reach = 0

    def run(self, first_lsn: int) -> list[Finding]:
        at, expected = self._header(), first_lsn
        promised = self._promised
        limit = min(promised.end_bytes or self._size, self._size)
        for frame in self._reader.search(HEADER_BYTES, limit):
            if frame.offset_bytes > at and (at < promised.end_bytes or expected <= promised.last_lsn):
                last = frame.lsn if frame.kind == Kind.SEAL else frame.lsn - 1
                self._hole(at, frame.offset_bytes, expected, last)
                if len(self._found) >= FINDINGS_MAX:
                    cause = Cause(DamageKind.DAMAGED, "and more, which isn't told apart")
                    self._add(cause, frame.offset_bytes, limit, (frame.lsn, promised.last_lsn))
                    return self._found
            at, expected = frame.end_bytes, frame.lsn + 1
        if at < promised.end_bytes or expected <= promised.last_lsn:
            self._tail(at, expected)
        return self._found

    def _add(self, cause: Cause, start: int, end: int, lost: LsnRange) -> None:
        """Note a damage; one of the same kind right behind the last is the same, but for a flipped bit."""
        lsns = lost if lost[0] <= lost[1] else None
        last = self._found[-1] if self._found else None
        apart = last is None or last.cause.kind is not cause.kind or cause.kind is DamageKind.FLIPPED_BIT
        if last is None or apart or last.end_bytes != start:
            self._found.append(Finding(self._name, cause, start, end, lsns))
            return
        first, final = last.lost_lsns or lsns, lsns or last.lost_lsns
        lsns = (first[0], final[1]) if first is not None and final is not None else None
        self._found[-1] = replace(last, end_bytes=end, lost_lsns=lsns)

    def _header(self) -> int:
        """Look at the file's header; return where the records begin, or 0 if what is wrong may go on into them."""
        raw = self._file.pread(HEADER_BYTES, 0)
        if _is_header(raw):
            return HEADER_BYTES
        if len(raw) < HEADER_BYTES:
            return 0
        flip = flipped_around(raw)
        if flip is None or not _is_header(turned_back(raw, flip)):
            return 0
        self._add(Cause(DamageKind.FLIPPED_BIT, bit_text(0, flip)), 0, HEADER_BYTES, (1, 0))
        return HEADER_BYTES

    def _hole(self, at: int, end: int, first: int, last: int) -> None:
        """Name what is between two whole records, or before the first of them."""
        while at < end:
            flipped = self._flipped(at)
            if flipped is not None and flipped[1].end_bytes <= end:
                flip, frame = flipped
                lost = (frame.lsn, frame.lsn) if frame.kind != Kind.SEAL else (1, 0)
                self._add(Cause(DamageKind.FLIPPED_BIT, bit_text(at, flip)), at, frame.end_bytes, lost)
                at, first = frame.end_bytes, frame.lsn + 1
                continue
            stop = self._stop(at)
            stop_bytes, lsn = end, last
            if stop.fault is Fault.SHORT and stop.lsn is not None and at + stop.needed_bytes < end:
                stop_bytes, lsn = at + stop.needed_bytes, stop.lsn
            self._add(self._shape(at, stop_bytes), at, stop_bytes, (first, lsn))
            at, first = stop_bytes, lsn + 1

    def _tail(self, at: int, first: int) -> None:
        """Name what is behind the last whole record, where more was promised."""
        promised = self._promised
        end = promised.end_bytes or max(self._reader.content_end(at, self._size), at)
        last = promised.last_lsn
        if self._size < end or (self._size == at and not promised.end_bytes) or self._ends_inside(at):
            proof = f"the file ends at byte {self._size}"
            proof += f", {promised.end_bytes} were promised" if promised.end_bytes else ""
            self._add(Cause(DamageKind.TRUNCATED_FILE, proof), at, max(end, self._size), (first, last))
        elif self._is_older(at):
            proof = f"the file is as it was when its last record was LSN {first - 1}"
            self._add(Cause(DamageKind.ROLLED_BACK_FILE, proof), at, max(end, at), (first, last))
        else:
            self._hole(at, end if end > at else self._size, first, last)

    def _ends_inside(self, at: int) -> bool:
        """Whether a record begins here that the file ends inside."""
        stop = self._stop(at)
        return stop.fault is Fault.SHORT and at + stop.needed_bytes > self._size

    def _is_older(self, at: int) -> bool:
        """Whether the file ends with room that was prepared, right behind a whole record.

        Zeroed sectors begin where sectors do; and a file that was sealed was cut to its end.
        """
        if at % SECTOR_BYTES == 0 or at < HEADER_BYTES or self._size == self._promised.end_bytes:
            return False
        return self._reader.content_end(at, self._size) == at

    def _stop(self, at: int) -> Stop:
        """Return what the header of a frame at this place says, if it is one."""
        stops: list[Stop] = []
        list(frames.walk(self._file.pread(_FRAME.size, at), 0, at, self._salt, stops))
        return stops[0]

    def _flipped(self, at: int) -> tuple[Bit, Frame] | None:
        """Return the flipped bit of a frame at this place, and the frame as it was; None where that isn't proved."""
        raw = self._file.pread(_FRAME.size, at)
        if len(raw) < _FRAME.size:
            return None
        stop = self._stop(at)
        if stop.fault is Fault.SHORT:
            payload = self._file.pread(min(stop.needed_bytes - _FRAME.size, FLIP_BYTES_MAX + 1), at + _FRAME.size)
            checksums = _FRAME.unpack(raw)["payload_checksum"], checksum(payload, seed_at(self._salt, at + _FRAME.size))
            found = flipped_bit(len(payload), checksums[0] ^ checksums[1])
            flip = Bit(_FRAME.size + found.byte, found.bit) if found is not None else None
        else:
            flip = flipped_around(raw, seed=seed_at(self._salt, at), checksum_first=True)
        if flip is None:
            return None
        # Turned back, header and payload both have to pass.
        size = _FRAME.unpack(turned_back(raw, flip) if flip.byte < _FRAME.size else raw)["payload_bytes"]
        if size > REPAIRED_BYTES_MAX:
            return None
        whole = turned_back(raw + self._file.pread(size, at + _FRAME.size), flip)
        frame = next(frames.walk(whole, 0, at, self._salt, []), None)
        return (flip, frame) if frame is not None else None

    def _shape(self, start: int, end: int) -> Cause:
        """Return the cause that the bytes of a hole prove by what they are; the sectors of one reach into the next."""
        if start < self._reach:
            return self._found[-1].cause
        base = start // SECTOR_BYTES * SECTOR_BYTES
        stop = min(-(-end // SECTOR_BYTES) * SECTOR_BYTES, self._size, base + WINDOW_BYTES)
        window = self._file.pread(max(stop - base, 0), base)
        for moved in islice(frames.candidates(window, start - base), _CANDIDATES_MAX):
            origin = self._origin(window[moved : moved + _FRAME.size], base + moved)
            if origin is not None:
                place = base + moved
                self._reach = (place // SECTOR_BYTES + 1) * SECTOR_BYTES
                return Cause(DamageKind.MISDIRECTED_BLOCK, f"at byte {place} stands what was written for {origin}")
        zeros = zeroed(window, base, start, end, is_end=stop == self._size)
        if zeros is None:
            return Cause(DamageKind.DAMAGED)
        self._reach = zeros.end_bytes
        return Cause(DamageKind.ZEROED_PAGE, f"zeros from byte {zeros.start_bytes} to {zeros.end_bytes}")

    def _origin(self, raw: bytes, at: int) -> str | None:
        """Return for which place a frame's header was written, if that is another one of this log.

        Its checksum tells one place of each segment. Of arbitrary bytes that is none that a frame of this LSN
        could have, and a sector that went astray keeps its place inside sectors.
        """
        if len(raw) < _FRAME.size:
            return None
        fields = _FRAME.unpack(raw)
        if fields["flags"] or not Kind.BATCH <= fields["kind"] <= Kind.SEAL:
            return None
        seed = implied_seed(raw[4:], fields["header_checksum"])
        for home in self._homes:
            offset = (seed - home.salt) & SEED_MASK
            fits = HEADER_BYTES <= offset < home.size_bytes and (offset - at) % SECTOR_BYTES == 0
            if fits and home.first_lsn <= fields["lsn"] + 1 and (home.name, offset) != (self._name, at):
                return f"byte {offset} of {home.name}"
        return None


def _is_header(raw: bytes) -> bool:
    try:
        decode_header(raw)
    except (MalformedError, NewerFormatError):
        return False
    return True
