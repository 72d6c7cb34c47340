"""The plan: what of a scanned log is kept, cut or refused. Pure.

A bad frame is a torn tail or corruption depending on one thing: whether
anything durable promised it. Promises are a seal, a later segment's header,
the manifest, the durable slot, and the durable mark that a later frame
carries. A valid frame behind a hole proves nothing by itself, because unsynced
writes reach the disk in any order.

| next frame continuous | whole | promised | verdict |
|---|---|---|---|
| no | - | - | refuse: gap |
| yes | yes | - | keep |
| yes | no | yes | refuse: loss |
| yes | no | no | cut, report |
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from journalkit.errors import CorruptionError, UsageError
from journalkit.format.manifest import Manifest, SegmentEnd, SegmentEntry
from journalkit.format.names import DURABLE, MANIFEST, segment_name
from journalkit.format.segment import DurableSlot
from journalkit.recovery.scan import GAP, LogScan, SegmentScan

RecoveryMode: TypeAlias = Literal["strict", "default", "point-in-time"]
RECOVERY_MODES: Final[tuple[RecoveryMode, ...]] = ("strict", "default", "point-in-time")


class Verdict(enum.Enum):
    """What is done about the next frame."""

    KEEP = "keep"
    CUT = "cut"
    REFUSE_GAP = "refuse: gap"
    REFUSE_LOSS = "refuse: loss"


def judge(*, continuous: bool, whole: bool, promised: bool) -> Verdict:
    """Return the verdict of the table in this module's docstring."""
    if not continuous:
        return Verdict.REFUSE_GAP
    if whole:
        return Verdict.KEEP
    return Verdict.REFUSE_LOSS if promised else Verdict.CUT


@dataclass(frozen=True, slots=True)
class Damage:
    """Something promised that isn't there as promised."""

    file: str
    reason: str
    offset_bytes: int | None = None
    lsn: int | None = None

    def as_error(self, directory: str) -> CorruptionError:
        """Return the error that a refused open raises."""
        return CorruptionError(
            self.reason,
            path=f"{directory}/{self.file}",
            offset_bytes=self.offset_bytes,
            lsn=self.lsn,
            next_step="restore a backup, keep the prefix with `journalkit recover --mode point-in-time`, "
            "or copy what is intact with `journalkit salvage`",
        )


@dataclass(frozen=True, slots=True)
class Cut:
    """Bytes behind the last whole record that nothing durable promised."""

    segment: int
    offset_bytes: int
    count_bytes: int
    lsn: int
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What recovery will do.

    `segments` are those that hold kept records, each with its end; `dropped`
    those that hold none. `floor_lsn` is the highest LSN that was ever shown
    durable: new records are numbered above it.
    """

    segments: tuple[SegmentEntry, ...]
    dropped: tuple[SegmentEntry, ...]
    last_lsn: int
    floor_lsn: int
    cuts: tuple[Cut, ...]
    damage: tuple[Damage, ...]
    sealed: bool

    @property
    def bytes_cut(self) -> int:
        """How many bytes are given up, quarantined first."""
        return sum(cut.count_bytes for cut in self.cuts)


def make_plan(manifest: Manifest, scan: LogScan) -> Plan:
    """Judge a scan. Damage stands in the plan; `permit` decides what a recovery mode makes of it."""
    promises = _Promises(manifest, scan)
    damage = list(promises.damage())
    kept: list[SegmentScan] = []
    cuts: list[Cut] = []
    previous: SegmentScan | None = None
    broken = False
    for index, segment in enumerate(scan.segments):
        found = list(_chain(segment, previous, manifest))
        if not found:
            found, cut = _tail(segment, index, promises)
            cuts += [cut] if cut and not broken else []
        damage += found
        # Records of a segment count up to its own damage; nothing behind it does.
        if not broken and segment.header is not None and segment.records + (not segment.scanned) > 0:
            kept.append(segment)
        broken = broken or bool(found)
        previous = segment if segment.header is not None else previous
    ended = tuple(_ended(segment) for segment in kept)
    last_lsn = max([manifest.pruned_lsn, *(end.end.last_lsn for end in ended if end.end is not None)])
    last_lsn = max([last_lsn, *(_floor_of(segment) for segment in scan.segments if not broken)])
    named = {entry.number for entry in ended}
    return Plan(
        segments=ended,
        dropped=tuple(entry for entry in manifest.segments if entry.number not in named),
        last_lsn=last_lsn,
        floor_lsn=max(last_lsn, promises.floor_lsn()),
        cuts=tuple(cuts),
        damage=tuple(damage),
        sealed=bool(kept) and kept[-1].sealed,
    )


def permit(plan: Plan, mode: RecoveryMode, directory: str) -> None:
    """Raise unless `mode` lets recovery go on with this plan.

    Raises:
        CorruptionError: Damage under `strict` and `default`, a torn tail under `strict`.
    """
    if mode not in RECOVERY_MODES:
        raise UsageError(f"recovery={mode!r} is none of {', '.join(RECOVERY_MODES)}")
    if mode == "point-in-time":
        return
    for damage in plan.damage:
        raise damage.as_error(directory)
    if mode == "strict":
        for cut in plan.cuts:
            raise CorruptionError(
                f"a torn tail ({cut.reason}), which recovery='strict' doesn't cut",
                path=f"{directory}/{segment_name(cut.segment)}",
                offset_bytes=cut.offset_bytes,
                lsn=cut.lsn,
                next_step="open with recovery='default'",
            )


def _floor_of(segment: SegmentScan) -> int:
    return segment.header.first_lsn - 1 if segment.header is not None else 0


def _ended(segment: SegmentScan) -> SegmentEntry:
    entry = segment.entry
    end = SegmentEnd(segment.last_lsn, segment.end_bytes, segment.checksum, segment.sealed)
    first_lsn = segment.header.first_lsn if segment.header is not None else entry.first_lsn
    return SegmentEntry(entry.number, entry.salt, entry.epoch, first_lsn, end)


def _chain(segment: SegmentScan, previous: SegmentScan | None, manifest: Manifest) -> Iterator[Damage]:
    """Whether the file is the one that the manifest and its predecessor name."""
    entry, header, name = segment.entry, segment.header, segment_name(segment.entry.number)
    if not segment.present:
        yield Damage(name, "the segment is missing", lsn=entry.first_lsn or None)
        return
    if header is None:
        if entry.first_lsn:
            yield Damage(name, f"the segment's header is gone ({segment.header_fault})", 0, entry.first_lsn)
        return
    if header.store != manifest.store:
        yield Damage(name, "the segment belongs to another store", 0)
    elif header.number != entry.number:
        yield Damage(name, f"the file is segment {header.number}, swapped or copied", 0)
    elif (header.salt, header.epoch) != (entry.salt, entry.epoch) or entry.first_lsn not in (0, header.first_lsn):
        yield Damage(name, "the segment is of another life of this store", 0)
    elif previous is None:
        if header.previous_last_lsn > manifest.pruned_lsn:
            yield Damage(name, "records before this segment are missing", 0, manifest.pruned_lsn + 1)
    elif (header.previous_number, header.previous_last_lsn, header.previous_end_bytes, header.previous_checksum) != (
        previous.entry.number,
        previous.last_lsn,
        previous.end_bytes,
        previous.checksum,
    ) and not _falls_short(previous, header.previous_last_lsn, header.previous_end_bytes):
        yield Damage(name, "the segment doesn't follow its predecessor", 0, header.first_lsn)


def _falls_short(segment: SegmentScan, last_lsn: int, end_bytes: int) -> bool:
    """Whether a promise reaches beyond the run that was found."""
    return last_lsn > segment.last_lsn or end_bytes > segment.end_bytes


def _tail(segment: SegmentScan, index: int, promises: _Promises) -> tuple[list[Damage], Cut | None]:
    """Judge where the segment's run ends."""
    name, at, lsn = segment_name(segment.entry.number), segment.end_bytes, segment.last_lsn + 1
    behind = segment.content_end_bytes - at
    if segment.sealed:
        if segment.scanned and behind > 0:
            return [Damage(name, "bytes stand behind the seal", at)], None
        end = segment.entry.end
        if end is not None and (end.last_lsn, end.end_bytes, end.checksum) != (lsn - 1, at, segment.checksum):
            return [Damage(name, "the segment isn't the one that the manifest ended", at, end.last_lsn)], None
        if segment.size_bytes < at:
            return [Damage(name, "the segment is cut short", segment.size_bytes)], None
        if promises.after(segment, index, sealed=True):
            return [Damage(name, "records that were promised behind the seal are missing", at, lsn)], None
        return [], None
    verdict = judge(continuous=segment.stop != GAP, whole=False, promised=promises.after(segment, index, sealed=False))
    if verdict is Verdict.REFUSE_GAP:
        found = f"record {segment.stop_lsn} follows record {lsn - 1}" if segment.stop_lsn else "the seal doesn't fit"
        return [Damage(name, found, at, lsn)], None
    if verdict is Verdict.REFUSE_LOSS:
        what = segment.stop or "end of data"
        return [Damage(name, f"{what} where a durable record was promised", at, lsn)], None
    if behind > 0:
        return [], Cut(segment.entry.number, at, behind, lsn, segment.stop or "bytes behind the end")
    return [], None


class _Promises:
    """Everything that vouches for records, in one place."""

    def __init__(self, manifest: Manifest, scan: LogScan) -> None:
        self._manifest = manifest
        self._scan = scan
        self._slot = self._valid_slot(scan.slot)

    def _valid_slot(self, slot: DurableSlot | None) -> DurableSlot | None:
        """A slot of another store, an older life or a clone promises nothing."""
        manifest = self._manifest
        if slot is None or slot.store != manifest.store or slot.epoch < manifest.epoch:
            return None
        if slot.epoch == manifest.epoch and slot.writer != manifest.writer:
            return None
        return slot

    def damage(self) -> Iterator[Damage]:
        """What contradicts the manifest as a whole."""
        slot, manifest = self._slot, self._manifest
        if slot is None:
            return
        numbers = {entry.number for entry in manifest.segments}
        if slot.epoch > manifest.epoch or slot.segment not in numbers:
            yield Damage(
                MANIFEST,
                f"the manifest is older than the log: {DURABLE!r} promises LSN {slot.lsn} in segment {slot.segment} "
                f"of epoch {slot.epoch}",
                lsn=slot.lsn,
            )

    def floor_lsn(self) -> int:
        """The highest LSN that anything ever showed durable."""
        marks = [self._manifest.durable_lsn, self._slot.lsn if self._slot else 0]
        for segment in self._scan.segments:
            marks += [segment.beyond.durable_lsn, segment.entry.end.last_lsn if segment.entry.end else 0]
            marks.append(_floor_of(segment))
            if segment.beyond.sealed:
                marks.append(segment.beyond.last_lsn)
        return max(marks)

    def after(self, segment: SegmentScan, index: int, *, sealed: bool) -> bool:
        """Whether anything promises a byte or a record behind the run of this segment.

        Behind a seal only a promise of this very segment counts; the log goes
        on in the next one.
        """
        at, last_lsn, number = segment.end_bytes, segment.last_lsn, segment.entry.number
        slot = self._slot
        if slot is not None and slot.segment == number and slot.end_bytes > at:
            return True
        if sealed:
            return False
        end = segment.entry.end
        if end is not None and (end.sealed or _falls_short(segment, end.last_lsn, end.end_bytes)):
            return True
        if segment.beyond.sealed or segment.beyond.durable_lsn > last_lsn:
            return True
        if end is None and (self._manifest.durable_lsn > last_lsn or (slot is not None and slot.lsn > last_lsn)):
            return True
        if slot is not None and slot.segment > number and end is None and not segment.is_blank:
            return True
        return any(
            later.header is not None and later.header.store == self._manifest.store and self._covers(later, segment)
            for later in self._scan.segments[index + 1 :]
        )

    @staticmethod
    def _covers(later: SegmentScan, segment: SegmentScan) -> bool:
        header = later.header
        if header is None or segment.is_blank:
            return False
        if header.previous_number == segment.entry.number:
            return _falls_short(segment, header.previous_last_lsn, header.previous_end_bytes)
        return header.first_lsn > segment.last_lsn + 1 and header.previous_last_lsn > segment.last_lsn

