"""The succession of a log's segments: which ended, which takes frames, which comes next.

The next segment is made, and named by a durable manifest, before the rotation
that needs it. Until the moment it takes its first frame every manifest goes on
naming it, whoever publishes: `entries` is what they ask.

Who rotates or forgets holds the log's leadership. Anybody may prepare or ask.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Final

from journalkit.clock import Clock
from journalkit.compiled import SuccessionFields
from journalkit.errors import StorageError
from journalkit.format.manifest import Manifest, SegmentEntry
from journalkit.format.names import segment_name
from journalkit.fs.full import is_full, store_full
from journalkit.fs.interface import FileSystem
from journalkit.log.rotation import Rotation
from journalkit.log.segment import STEP_BYTES_MIN, SegmentWriter
from journalkit.manifest import ManifestKeeper

SEGMENT_BYTES_MIN: Final = 4096
_RETRY_ROTATION_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Position:
    """Which segments hold records: replaced whole, so that it is always consistent."""

    ended: tuple[SegmentEntry, ...]
    active: SegmentWriter


class Succession(SuccessionFields):
    """The segments of one open log. `rotate_at_bytes` is the end at which the active one is full."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        keeper: ManifestKeeper,
        clock: Clock,
        position: Position,
        segment_bytes_max: int,
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._keeper = keeper
        self._clock = clock
        self._segment_bytes_max = max(segment_bytes_max, SEGMENT_BYTES_MIN)
        self._preparing = threading.Lock()
        self._following: SegmentWriter | None = None
        self.rotation: Rotation | None = None
        self.rotate_at_bytes = self._segment_bytes_max
        self.position = position

    # What there is

    def entries(self, after_lsn: int) -> tuple[SegmentEntry, ...]:
        """Return the segments that a manifest has to name if the log up to `after_lsn` is given up.

        Called while a manifest is being changed, no rotation can come in
        between: it needs a manifest of its own first.
        """
        # In this order: a rotation moves `_following` into `position` before it clears it.
        following, position = self._following, self.position
        live = [entry for entry in position.ended if entry.end is None or entry.end.last_lsn > after_lsn]
        live.append(position.active.entry)
        if following is not None and following.entry.number > live[-1].number and self._is_named(following):
            live.append(following.entry)
        return tuple(live)

    def _is_named(self, segment: SegmentWriter) -> bool:
        # Numbers are given out by the manifest that names their segment, so this is exact.
        return segment.entry.number < self._keeper.current.next_segment

    @property
    def wants_next(self) -> bool:
        """Whether the active segment is half full and no successor is ready."""
        following = self._following
        is_ready = following is not None and self._is_named(following)
        return not is_ready and self.position.active.end_bytes * 2 >= self._segment_bytes_max

    # The next one

    def prepare(self, durable_lsn: int) -> SegmentWriter:
        """Return the next segment, ready and named; made if there is none yet. `durable_lsn` goes into the manifest.

        Whatever this raises, the active segment is as it was, and trying again is safe.

        Raises:
            StoreFullError: No room.
            OSError: The file could not be made, or the manifest not be read.
            FencedError, CorruptionError, StorageError: From publishing.
        """
        with self._preparing:
            following = self._following
            if following is None:
                # Kept before it is named, so that an attempt which stops in between is carried on.
                self._following = following = self._make()
            if not self._is_named(following):
                entry = following.entry

                def name(manifest: Manifest) -> Manifest:
                    return manifest.next_generation(
                        segments=(*self.entries(manifest.pruned_lsn), entry),
                        next_segment=entry.number + 1,
                        durable_lsn=max(manifest.durable_lsn, durable_lsn),
                    )

                self._keeper.publish(name)
            return following

    def _make(self) -> SegmentWriter:
        """Make a segment's file and its name durable."""
        manifest = self._keeper.current
        salt = int.from_bytes(self._clock.random_bytes(4), "little")
        entry = SegmentEntry(manifest.next_segment, salt, manifest.epoch, 0)
        try:
            path = os.path.join(self._directory, segment_name(entry.number))
            if self._fs.status(path) is not None:
                # No manifest names it: an attempt of ours was cut short there.
                self._fs.unlink(path)
            segment = SegmentWriter.create(self._fs, self._directory, entry)
            try:
                segment.file.sync()
                self._fs.sync_directory(self._directory)
            except OSError:
                segment.discard(self._fs)
                raise
        except OSError as error:
            if is_full(error):
                raise store_full(self._fs, self._directory, STEP_BYTES_MIN, error) from error
            raise
        return segment

    # Rotation

    def begin_rotation(self, *, last_lsn: int, durable_lsn: int) -> None:
        """Decide to go on in the next segment; `carry_out` then has to be called until it returns or raises OSError.

        Raises:
            As `prepare`; nothing was begun.
        """
        try:
            self._keeper.check_fence()
        except StorageError as error:
            # Not being able to look, for want of a descriptor perhaps, fences nobody: the lock holds meanwhile.
            raise OSError(error.errno, str(error)) from error
        following = self.prepare(durable_lsn)
        self.rotation = Rotation(self.position.active, following, last_lsn=last_lsn, time_us=self._clock.wall_us())

    def postpone(self) -> None:
        """There is no successor: go on in the active segment for a while, which may have room."""
        self.rotate_at_bytes = self.position.active.end_bytes + _RETRY_ROTATION_BYTES

    def carry_out(self, rotation: Rotation, *, records_durable: bool) -> None:
        """Go on in the next segment; called again after an interruption it goes on where it was.

        Raises:
            OSError: Neither segment may be appended to.
        """
        if self.position.active is rotation.old:
            manifest = self._keeper.current
            ended = rotation.carry_out(store=manifest.store, writer=manifest.writer, records_durable=records_durable)
            self.position = Position((*self.position.ended, ended), rotation.new)
        if self._following is rotation.new:
            self._following = None
        self.rotate_at_bytes = self._segment_bytes_max
        rotation.old.file.close()

    def forget(self, through_lsn: int) -> tuple[SegmentEntry, ...]:
        """Drop ended segments whose last record is at or below `through_lsn` from the list and return them."""
        position = self.position
        gone = tuple(e for e in position.ended if e.end is not None and e.end.last_lsn <= through_lsn)
        self.position = Position(tuple(e for e in position.ended if e not in gone), position.active)
        return gone

    def close(self) -> None:
        """Release the files."""
        self.position.active.file.close()
        if self._following is not None:
            self._following.file.close()

