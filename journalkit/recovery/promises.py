"""Promises: everything durable that vouches for records of the log, in one place. Pure.

A seal, the header of a later segment, the manifest, the durable slot, and the
durable mark that a later frame carries. A frame by itself promises nothing:
unsynced writes reach the disk in any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from journalkit.format.manifest import Manifest
from journalkit.format.names import DURABLE, MANIFEST
from journalkit.format.segment import DurableSlot
from journalkit.recovery.damage import Damage, DamageKind
from journalkit.recovery.scan import LogScan, SegmentScan


@dataclass(frozen=True, slots=True)
class Promised:
    """How far one segment was promised: to which byte (0: nobody says), and to which LSN."""

    end_bytes: int
    last_lsn: int


class Promises:
    """What vouches for the log of one scan."""

    def __init__(self, manifest: Manifest, scan: LogScan) -> None:
        self._manifest = manifest
        self._segments = scan.segments
        self._slot = _of_this_life(scan.slot, manifest)
        headers = [segment.header for segment in scan.segments if segment.header is not None]
        self._followers = {header.previous_number: header for header in headers if header.store == manifest.store}
        # A snapshot is published only when the log through its LSN is durable.
        self._manifest_lsn = max([manifest.durable_lsn, manifest.pruned_lsn, *(e.lsn for e in manifest.snapshots)])

    def damage(self) -> Iterator[Damage]:
        """What contradicts the manifest as a whole: the slot speaks of a log that it doesn't know."""
        slot, manifest = self._slot, self._manifest
        if slot is None:
            return
        named = slot.segment in {entry.number for entry in manifest.segments}
        # The slot is never synced, so a power cut may leave one of a segment that was folded and pruned since.
        pruned = slot.segment < manifest.next_segment and slot.lsn <= manifest.pruned_lsn
        if slot.epoch > manifest.epoch or not (named or pruned):
            yield Damage(
                MANIFEST,
                f"the manifest is older than the log: {DURABLE!r} promises LSN {slot.lsn} in segment {slot.segment} "
                f"of epoch {slot.epoch}",
                lsn=slot.lsn,
                kind=DamageKind.ROLLED_BACK_FILE,
            )

    @property
    def epoch(self) -> int:
        """The highest epoch that anything durable names."""
        return max(self._manifest.epoch, self._slot.epoch if self._slot is not None else 0)

    def floor_lsn(self) -> int:
        """The highest LSN that anything promises."""
        return self._floor_lsn

    @cached_property
    def _floor_lsn(self) -> int:
        marks = [self._manifest_lsn, self._slot.lsn if self._slot is not None else 0]
        for segment in self._ours():
            end, header, beyond = segment.entry.end, segment.header, segment.beyond
            marks += [
                end.last_lsn if end is not None else 0,
                header.first_lsn - 1 if header is not None else 0,
                beyond.last_lsn if beyond.sealed else beyond.durable_lsn,
            ]
        return max(marks)

    def seen_lsn(self) -> int:
        """The highest LSN of any record that is there, promised or not."""
        return max((max(segment.last_lsn, segment.beyond.last_lsn) for segment in self._ours()), default=0)

    def _ours(self) -> Iterator[SegmentScan]:
        for segment in self._segments:
            if segment.header is None or segment.header.store == self._manifest.store:
                yield segment

    def behind(self, segment: SegmentScan, index: int) -> bool:
        """Whether anything promises a byte or a record behind the run of the segment at this place of the log."""
        if self.slot_is_behind(segment):
            return True
        if segment.beyond.sealed or segment.beyond.durable_lsn > segment.last_lsn:
            return True
        end, slot = segment.entry.end, self._slot
        if end is not None:
            # Recovery or a rotation ended it there; the log goes on in the next one.
            return end.sealed or falls_short(segment, end.last_lsn, end.end_bytes)
        if self._manifest_lsn > segment.last_lsn or (slot is not None and slot.lsn > segment.last_lsn):
            return True
        # A log goes on only behind a seal, and this segment has none.
        return any(later.header is not None for later in self._segments[index + 1 :])

    def of(self, segment: SegmentScan) -> Promised:
        """Return how far a segment was promised, by whoever says most exactly."""
        end, slot, number = segment.entry.end, self._slot, segment.entry.number
        if end is not None:
            return Promised(end.end_bytes, end.last_lsn)
        follower = self._followers.get(number)
        if follower is not None:
            return Promised(follower.previous_end_bytes, follower.previous_last_lsn)
        if slot is not None and slot.segment == number:
            return Promised(slot.end_bytes, max(slot.lsn, self.floor_lsn()))
        return Promised(0, self.floor_lsn())

    def slot_is_behind(self, segment: SegmentScan) -> bool:
        """Whether the slot promises bytes of this very segment behind its run."""
        slot = self._slot
        return slot is not None and slot.segment == segment.entry.number and slot.end_bytes > segment.end_bytes


def falls_short(segment: SegmentScan, last_lsn: int, end_bytes: int) -> bool:
    """Whether a promise reaches beyond the run that was found."""
    return last_lsn > segment.last_lsn or end_bytes > segment.end_bytes


def _of_this_life(slot: DurableSlot | None, manifest: Manifest) -> DurableSlot | None:
    """Return the slot unless it is of another store, an older epoch or a clone: those promise nothing."""
    if slot is None or slot.store != manifest.store or slot.epoch < manifest.epoch:
        return None
    if slot.epoch == manifest.epoch and slot.writer != manifest.writer:
        return None
    return slot
