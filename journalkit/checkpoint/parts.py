"""One worker's part of a save: what it stands on, its pack, and what is left of it if the save isn't."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from journalkit.checkpoint.catalogue import Place
from journalkit.checkpoint.chunks import best_digest
from journalkit.checkpoint.finder import Finder
from journalkit.checkpoint.merging import part_of
from journalkit.checkpoint.pack import Known, Progress
from journalkit.checkpoint.said import Said
from journalkit.checkpoint.saving import SaveOptions, write_part
from journalkit.checkpoint.tree import Captured
from journalkit.clock import Clock
from journalkit.errors import FencedError, JournalError
from journalkit.format import names
from journalkit.format.checkpoint import CheckpointManifest
from journalkit.objects.interface import Objects


class Parts:
    """The parts of one rank. `damaged` are checkpoints that nothing is to stand on. For one thread at a time."""

    def __init__(
        self,
        objects: Objects,
        clock: Clock,
        finder: Finder,
        options: SaveOptions,
        damaged: Collection[str],
        *,
        job: bytes,
        epoch: int,
        rank: int,
        size: int,
    ) -> None:
        self._objects = objects
        self._clock = clock
        self._finder = finder
        self._options = options
        self._damaged = damaged
        self._job = job
        self._epoch = epoch
        self._rank = rank
        self._size = size
        self._base: tuple[Place, CheckpointManifest] | None = None
        self._is_base_known = False

    def write(
        self,
        place: Place,
        base: CheckpointManifest | None,
        captured: Captured,
        words: Said,
        progress: Progress | None,
    ) -> CheckpointManifest:
        """Write this rank's pack of a save on top of a checkpoint; return the manifest of the part."""
        digest = self._options.digest or best_digest()
        bases = [] if base is None else [part_of(base, self._rank, self._size)]
        said = CheckpointManifest(
            self._job, *place, self._rank, self._clock.wall_us(), digest, b"",
            offsets=words.offsets, metadata=words.metadata, metrics=words.metrics, name=words.name,
            prepared=words.prepared,
        )  # fmt: skip
        return write_part(self._objects, said, captured, Known.of(bases, digest), self._options, progress)

    def standing_on(self) -> tuple[Place, CheckpointManifest] | None:
        """Return the checkpoint from which this rank's next part takes what hasn't changed; None if it takes none.

        Raises:
            FencedError: A newer run has the job.
        """
        if not self._is_base_known:
            self._base, newest = None, None
            with contextlib.suppress(JournalError):  # then it is written whole
                newest = next(self._finder.sound(), None)
            if newest is not None and newest.epoch > self._epoch:
                where = self._objects.where
                raise FencedError(f"{where}: a newer run has epoch {newest.epoch}, not {self._epoch}: close")
            self._is_base_known = True
            with contextlib.suppress(JournalError):
                if newest is not None and newest.id not in self._damaged:
                    self._base = ((newest.epoch, newest.save), newest.manifest.said)
        return self._base

    def stand_on(self, place: Place, part: CheckpointManifest) -> None:
        """Take what hasn't changed from this part, which was published."""
        self._base, self._is_base_known = (place, part), True

    def look_anew(self) -> None:
        """Look the next time for what there is: others may have gone on meanwhile."""
        self._is_base_known = False

    def take_back(self, place: Place) -> None:
        """Delete this rank's pack of a save that isn't; what can't be is an orphan, and nobody's."""
        with contextlib.suppress(JournalError):
            self._objects.delete(names.pack_key(*place, self._rank))
