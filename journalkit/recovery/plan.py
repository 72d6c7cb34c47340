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
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from journalkit.errors import CorruptionError, UsageError
from journalkit.format.manifest import Manifest, SegmentEnd, SegmentEntry
from journalkit.format.names import MANIFEST, segment_name
from journalkit.recovery.damage import Damage
from journalkit.recovery.promises import Promises, falls_short
from journalkit.recovery.scan import GAP, LogScan, SegmentScan
from journalkit.recovery.strays import Strays

RecoveryMode: TypeAlias = Literal["strict", "default", "point-in-time"]
RECOVERY_MODES: Final[tuple[RecoveryMode, ...]] = ("strict", "default", "point-in-time")


class Verdict(enum.Enum):
    """What is done about the next frame."""

    KEEP = "keep"
    CUT = "cut, report"
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
class Cut:
    """Bytes of a segment that are given up; `lsn` is the first record that they may have held."""

    segment: int
    offset_bytes: int
    count_bytes: int
    lsn: int
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What recovery will do.

    `segments` hold the kept records, each with its end; the log before
    `pruned_lsn` is gone. `cuts` are tails to be copied into the quarantine,
    `given_up` whole segments to be moved there, `blank` segments that hold
    nothing. `floor_lsn` is the highest LSN that was ever shown durable: new
    records are numbered above it, under an epoch above `epoch`. `durable_lsn`
    is the last kept record that something vouches for. `sealed` is whether the
    log was closed properly.

    Without `damage` everything promised is kept; with it, the rest says what
    a point-in-time recovery would keep.
    """

    segments: tuple[SegmentEntry, ...]
    pruned_lsn: int
    last_lsn: int
    floor_lsn: int
    durable_lsn: int
    epoch: int
    cuts: tuple[Cut, ...]
    given_up: tuple[Cut, ...]
    blank: tuple[int, ...]
    damage: tuple[Damage, ...]
    sealed: bool

    @property
    def bytes_cut(self) -> int:
        """How many bytes are given up, quarantined first."""
        return sum(cut.count_bytes for cut in self.cuts + self.given_up)


def make_plan(manifest: Manifest, scan: LogScan, strays: Strays, *, snapshot_lsn: int) -> Plan:
    """Judge a scan, for a state that begins at `snapshot_lsn`.

    Damage stands in the plan; `permit` decides what a recovery mode makes of it.
    """
    promises = Promises(manifest, scan)
    damage = [*promises.damage(), *strays.damage]
    run = _Run(manifest.pruned_lsn, snapshot_lsn)
    previous: SegmentScan | None = None
    known = True
    for index, segment in enumerate(scan.segments):
        misplaced = _misplaced(segment, manifest)
        # Where the predecessor isn't itself, that is its own damage, and says nothing of who follows it.
        unlinked = _unlinked(segment, previous, manifest) if known and not misplaced else None
        lost, cut = (None, None) if misplaced else _tail(segment, index, promises)
        damage += [found for found in (misplaced, unlinked, lost) if found is not None]
        run.add(segment, cut, sound=not misplaced, linked=not unlinked, whole=not lost)
        previous = segment if segment.header is not None else previous
        known = not misplaced and (known or segment.header is not None)
    if promises.floor_lsn() > run.last_lsn and not damage:
        reason = f"the log ends at LSN {run.last_lsn}, and LSN {promises.floor_lsn()} was promised"
        damage.append(Damage(MANIFEST, reason, lsn=run.last_lsn + 1))
    if damage:
        run.reach_snapshot()
    kept = {segment.entry.number for segment in run.kept}
    rest = [segment for segment in scan.segments if segment.present and segment.entry.number not in kept]
    given_up = [segment for segment in rest if _holds_bytes(segment) and segment.entry.number not in run.torn]
    begun = [segment for segment in scan.segments if segment.header is not None]
    # Whatever was seen whole may have been shown to somebody; where nothing is damaged the promises tell.
    seen_lsn = max(promises.seen_lsn(), strays.last_lsn) if damage else 0
    sealed = all(segment.sealed for segment in begun[-1:])
    return Plan(
        segments=tuple(_ended(segment) for segment in run.kept),
        pruned_lsn=run.pruned_lsn,
        last_lsn=run.last_lsn,
        floor_lsn=max(run.last_lsn, promises.floor_lsn(), seen_lsn),
        durable_lsn=run.last_lsn if sealed else min(promises.floor_lsn(), run.last_lsn),
        epoch=max(promises.epoch, strays.epoch),
        cuts=tuple(cut for cut in run.cuts if cut.segment in kept | run.torn),
        given_up=tuple(_all_of(segment) for segment in given_up),
        blank=tuple(segment.entry.number for segment in rest if segment not in given_up),
        damage=tuple(damage),
        sealed=sealed,
    )


def permit(plan: Plan, mode: RecoveryMode, directory: str) -> None:
    """Raise unless `mode` lets recovery go on with this plan.

    Raises:
        CorruptionError: Damage under `strict` and `default`, a torn tail under `strict`.
        UsageError: There is no such mode.
    """
    if mode not in RECOVERY_MODES:
        raise UsageError(f"recovery={mode!r} is none of {', '.join(RECOVERY_MODES)}")
    if mode == "point-in-time":
        return
    if plan.damage:
        raise plan.damage[0].as_error(directory)
    if mode == "strict" and plan.cuts:
        cut = plan.cuts[0]
        raise CorruptionError(
            f"a torn tail ({cut.reason}), which recovery='strict' doesn't cut",
            path=f"{directory}/{segment_name(cut.segment)}",
            offset_bytes=cut.offset_bytes,
            lsn=cut.lsn,
            next_step="open with recovery='default'",
        )


class _Run:
    """The unbroken run of segments that is kept, from behind `pruned_lsn` to `last_lsn`.

    `torn` are segments without a whole record, whose bytes are all among the `cuts`.
    """

    def __init__(self, pruned_lsn: int, snapshot_lsn: int) -> None:
        self.snapshot_lsn = snapshot_lsn
        self.begin(pruned_lsn)

    def begin(self, pruned_lsn: int) -> None:
        """Start over: the log up to `pruned_lsn` is gone."""
        self.pruned_lsn = self.last_lsn = pruned_lsn
        self.kept: list[SegmentScan] = []
        self.cuts: list[Cut] = []
        self.torn: set[int] = set()
        self.broken = False

    def add(self, segment: SegmentScan, cut: Cut | None, *, sound: bool, linked: bool, whole: bool) -> None:
        """Go on with the next segment: `sound` is the right file, `linked` follows the last, `whole` lost nothing."""
        header = segment.header
        if (self.broken or not linked) and sound and header is not None and header.first_lsn <= self.snapshot_lsn + 1:
            # What is missing before it is in the snapshot.
            self.begin(header.first_lsn - 1)
        elif not (sound and linked):
            self.broken = True
        if self.broken:
            return
        self.last_lsn = max(self.last_lsn, segment.last_lsn)
        if cut is not None:
            self.cuts.append(cut)
        if segment.records or not segment.scanned:
            self.kept.append(segment)
        elif cut is not None and whole:
            self.torn.add(cut.segment)
        self.broken = not whole

    def reach_snapshot(self) -> None:
        """Give the log up through the snapshot if it ends before: no record could follow it without a gap."""
        if self.last_lsn < self.snapshot_lsn:
            self.begin(self.snapshot_lsn)


def _misplaced(segment: SegmentScan, manifest: Manifest) -> Damage | None:
    """Return what is wrong if the file isn't the one that the manifest names: nothing in it is believed then."""
    entry, header, name = segment.entry, segment.header, segment_name(segment.entry.number)
    if not segment.present:
        return Damage(name, "the segment is missing", lsn=entry.first_lsn or None)
    if header is None:
        if not entry.first_lsn:
            return None  # Prepared ahead, and perhaps torn while it was begun: the tail tells.
        return Damage(name, f"the segment's header is gone ({segment.header_fault})", 0, entry.first_lsn)
    if header.store != manifest.store:
        return Damage(name, "the segment belongs to another store", 0)
    if header.number != entry.number:
        return Damage(name, f"the file is segment {header.number}, swapped or copied", 0)
    if (header.salt, header.epoch) != (entry.salt, entry.epoch) or entry.first_lsn not in (0, header.first_lsn):
        return Damage(name, "the segment is of another life of this store", 0)
    if not segment.scanned and segment.size_bytes < segment.end_bytes:
        return Damage(name, "the segment is cut short", segment.size_bytes)
    return Damage(name, "the segment isn't the one that the manifest ended", 0) if _is_another(segment) else None


def _is_another(segment: SegmentScan) -> bool:
    """Whether the run reaches the end that the manifest names, or a seal, and ends otherwise."""
    end = segment.entry.end
    if end is None or (not segment.sealed and falls_short(segment, end.last_lsn, end.end_bytes)):
        return False
    return (segment.last_lsn, segment.end_bytes, segment.checksum) != (end.last_lsn, end.end_bytes, end.checksum)


def _unlinked(segment: SegmentScan, previous: SegmentScan | None, manifest: Manifest) -> Damage | None:
    """Return what is wrong if the segment doesn't go on where the one before it ends."""
    header, name = segment.header, segment_name(segment.entry.number)
    if header is None:
        return None
    if previous is None:
        if header.previous_last_lsn > manifest.pruned_lsn:
            return Damage(name, "records before this segment are missing", 0, manifest.pruned_lsn + 1)
        return None
    named = header.previous_number, header.previous_last_lsn, header.previous_end_bytes, header.previous_checksum
    there = previous.entry.number, previous.last_lsn, previous.end_bytes, previous.checksum
    # Where the predecessor falls short, that is its own damage; one that is whole by its own word doesn't.
    short = falls_short(previous, header.previous_last_lsn, header.previous_end_bytes) and not _is_whole(previous)
    if named != there and not short:
        return Damage(name, "the segment doesn't follow its predecessor", 0, header.first_lsn)
    return None


def _is_whole(segment: SegmentScan) -> bool:
    """Whether the run ends with a seal, or reaches the end that the manifest names."""
    end = segment.entry.end
    return segment.sealed or (end is not None and not falls_short(segment, end.last_lsn, end.end_bytes))


def _tail(segment: SegmentScan, index: int, promises: Promises) -> tuple[Damage | None, Cut | None]:
    """Judge where the segment's run ends: what is lost there, and what is cut."""
    if not segment.scanned:
        return None, None
    name, at, lsn = segment_name(segment.entry.number), segment.end_bytes, segment.last_lsn + 1
    behind = segment.content_end_bytes - at
    cut = Cut(segment.entry.number, at, behind, lsn, segment.stop or "bytes behind the end") if behind > 0 else None
    if segment.sealed:
        if behind > 0:
            return Damage(name, "bytes stand behind the seal", at), cut
        if promises.slot_is_behind(segment):
            return Damage(name, "records that were promised behind the seal are missing", at, lsn), cut
        return None, None
    continuous = segment.stop != GAP
    verdict = judge(continuous=continuous, whole=False, promised=promises.behind(segment, index))
    if verdict is Verdict.REFUSE_GAP:
        found = f"record {segment.stop_lsn} follows record {lsn - 1}" if segment.stop_lsn else "the seal doesn't fit"
        return Damage(name, found, at, lsn), cut
    if verdict is Verdict.REFUSE_LOSS:
        what = segment.stop or "end of data"
        return Damage(name, f"{what} where a durable record was promised", at, lsn), cut
    return None, cut


def _holds_bytes(segment: SegmentScan) -> bool:
    """Whether a segment that isn't kept is worth keeping aside: it has more than a header, a seal and zeros."""
    return bool(segment.records or segment.content_end_bytes > segment.end_bytes or not segment.scanned)


def _all_of(segment: SegmentScan) -> Cut:
    return Cut(segment.entry.number, 0, segment.content_end_bytes, segment.last_lsn + 1, "behind damage")


def _ended(segment: SegmentScan) -> SegmentEntry:
    entry = segment.entry
    # A seal with bytes behind it was permitted once and is not to be judged again.
    sealed = segment.sealed and segment.content_end_bytes <= segment.end_bytes and (not entry.end or entry.end.sealed)
    end = SegmentEnd(segment.last_lsn, segment.end_bytes, segment.checksum, sealed)
    first_lsn = segment.header.first_lsn if segment.header is not None else entry.first_lsn
    return SegmentEntry(entry.number, entry.salt, entry.epoch, first_lsn, end)
