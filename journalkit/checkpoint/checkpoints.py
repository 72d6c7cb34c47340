"""The checkpoints of a job: save, find, load, let go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from journalkit.checkpoint.background import Saving
from journalkit.checkpoint.checkpoint import Checkpoint, telling
from journalkit.checkpoint.finder import Finder
from journalkit.checkpoint.lease import Lease
from journalkit.checkpoint.looking import Looking
from journalkit.checkpoint.merging import outputs_of
from journalkit.checkpoint.outside import Outside
from journalkit.checkpoint.pacing import Pace
from journalkit.checkpoint.pack import Progress
from journalkit.checkpoint.preemption import SIGNALS, Preemption
from journalkit.checkpoint.retention import Keep
from journalkit.checkpoint.said import said
from journalkit.checkpoint.saver import Saver
from journalkit.checkpoint.sinks import Outputs, Sink
from journalkit.checkpoint.sweeping import Pruned
from journalkit.checkpoint.tree import capture
from journalkit.clock import Clock
from journalkit.errors import (
    KeyTypeError,
    KeyValueError,
    ReadOnlyError,
)
from journalkit.objects.interface import Objects
from journalkit.options import Duration, seconds

WRITING: Final = "rw"


class Checkpoints(Looking):
    """A job's checkpoints in a directory or in object storage. Made by `open_checkpoints`.

    Iterating yields them newest first; `len` is their number. Threads may share
    it; saves go one after the other.

    Attributes:
        where: The directory or URL.
        mode: "rw", "maintain" or "r".
    """

    def __init__(
        self,
        objects: Objects,
        clock: Clock,
        finder: Finder,
        saver: Saver | None,
        *,
        mode: str,
        pace: Pace | None,
        lease: Lease | None,
        outside: Outside | None,
        opened_at: str,
    ) -> None:
        self.mode = mode
        self._saver = saver
        self._pace = pace
        self._lease = lease
        self._outside = outside
        self._outputs = Outputs()
        self._preemption: Preemption | None = None
        buffers = outside.buffers if outside is not None else None
        super().__init__(objects, clock, finder, opened_at, buffers=buffers)

    # -- saving ---------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """This writer's incarnation: raised by each that opens the place for writing. Raises ReadOnlyError."""
        return self._require_writer().epoch

    def save(
        self,
        state: Any,
        *,
        offsets: Mapping[Any, Any] | None = None,
        metadata: Any = None,
        metrics: Mapping[str, float] | None = None,
        name: str | None = None,
        sinks: Sequence[Sink] = (),
        progress: Progress | None = None,
    ) -> Checkpoint:
        """Save a state with its input offsets, as one consistent checkpoint, and return it.

        Args:
            state: A tree of values as a store has them (dict, list, tuple, numbers, text, bytes, times, ...), of
                NumPy arrays, PyTorch tensors, paths of files, whose content is saved, and stores or views of them, as
                they are at this call.
            offsets: How far the inputs have been read, by input; loaded with the state.
            metadata: What else is worth knowing: a version, a configuration.
            metrics: Numbers that `Keep(best=...)` and the listing show.
            name: One with a name stays until it is deleted.
            sinks: Outputs that are to be seen once this checkpoint is there, exactly once: `FilesSink`, `SqlSink`.
            progress: Called with the bytes that were looked at, and those there are in all.

        Durability:
            Once this returns the checkpoint survives a power cut, and is what every node finds as the latest.
            If it raises, the latest is the one that it was before, unless the error says that the outcome is unknown.

        Raises:
            UsageError: The state can't be preserved, or the arguments can't be. Nothing was written.
            CorruptionError: A store in the state is damaged. Nothing was published.
            FencedError: A newer writer has the job; nothing was published, and nothing will be. Close.
            StoreFullError: No room. Nothing was published; the next save may succeed.
            UnknownOutcomeError: The storage didn't say whether it was published; `latest()` tells, once it can.
            ArchiveUnavailableError, StorageError: Nothing was published.
            JournalError: What an earlier `save_async` failed with, once; nothing was done for this call.

        Complexity:
            O(bytes of the state) to find what changed, of a store O(what is new); what changed is written.
        """
        saver, words = self._require_writer(), said(offsets, metadata, metrics, name)
        with self._turn() as begun_s:
            captured = capture(state, copy=False, buffers=self._buffers)
            saved = self._outputs.around(
                sinks, lambda kept: saver.save(captured, replace(words, prepared=kept), progress)
            )
            if self._pace is not None:
                self._pace.saved(self._clock.monotonic_s() - begun_s)
        return self._finder.made(saved.entry, saved.manifest)

    def save_async(
        self,
        state: Any,
        *,
        offsets: Mapping[Any, Any] | None = None,
        metadata: Any = None,
        metrics: Mapping[str, float] | None = None,
        name: str | None = None,
    ) -> Saving:
        """Capture a state now and save it while the job goes on; return what tells how that gets on.

        The state is copied before this returns, and of a store the moment is kept: what happens to it afterwards
        isn't in the checkpoint. At most one save is under way: if one is, it is waited for first. With
        `saving="process"` another process computes and writes, and this one only publishes.

        Durability:
            Nothing is saved when this returns: `wait()` says that it is. An error is raised there, or else by the
            next save, and by `close`: once.

        Raises:
            UsageError: As `save`.
            JournalError: What an earlier one failed with; nothing was done for this call.
            StorageError: With `saving="process"`: there is no memory for the copy.

        Besides what `save` raises `wait()` raises CheckpointAbortedError if the process that saves was killed, ended
        by itself or says nothing any more: there is no checkpoint then, and the next save starts another process.
        """
        saver, words = self._require_writer(), said(offsets, metadata, metrics, name)
        begun_s = self._clock.monotonic_s()
        with self._turn():
            words = replace(words, prepared=self._outputs.prepare(()))
            captured = capture(state, copy=True, buffers=self._buffers)

            def save(progress: Progress) -> Checkpoint:
                try:
                    saved = saver.save(captured, words, progress, outside=self._outside)
                    return self._finder.made(saved.entry, saved.manifest)
                finally:
                    captured.release()

            saving = self._saves.begin(save, otherwise=captured.release)
            if self._pace is not None:
                self._pace.saved(self._clock.monotonic_s() - begun_s)
        return saving

    def copy_from(
        self, checkpoint: Checkpoint, *, name: str | None = None, progress: Progress | None = None
    ) -> Checkpoint:
        """Copy a checkpoint of another place here, as the latest one, and return it.

        It is copied piece by piece, each checked on its way, and needs nothing of the other place; pieces that the
        latest one here has already aren't written again. Time, offsets, metadata and metrics are those of the original.

        Args:
            checkpoint: One of another place, or an older one of this place.
            name: Its name here; that of the original if it isn't given.
            progress: Called with the bytes that were copied, and those there are in all.

        Durability and errors as `save`, and:

        Raises:
            CorruptionError, CheckpointNotFoundError: The original is damaged, or was deleted. Nothing was published.
        """
        saver = self._require_writer()
        named = said(None, None, None, name).name if name is not None else checkpoint.name
        with self._turn():
            saved = saver.copy(checkpoint.manifest, named, progress)
        return self._finder.made(saved.entry, saved.manifest)

    def restore(self, which: Checkpoint | str, *, name: str | None = None) -> Checkpoint:
        """Make an older checkpoint of this place the newest again, and return the new one, which says so: `restores`.

        It shares every chunk with the other: nothing but a manifest is written. Offsets, metadata and metrics are
        those of the other; its time is now. Restoring what was the newest before undoes it.

        Load it then: a state in memory is still that of what was the newest before. What the outputs of the job
        (`sinks`) had prepared goes with it, and is committed by who loads it; what they committed behind it stays.

        Args:
            which: By itself, or as `get` takes it.
            name: One with a name stays until it is deleted. That of the other isn't taken.

        Durability and errors as `save`, and:

        Raises:
            CheckpointNotFoundError: There is none, or it was deleted meanwhile. Nothing was published.
            CorruptionError: Its manifest is damaged, or one of its packs isn't there. Nothing was published.

        Complexity:
            One request for each of its packs; none of them is read.
        """
        saver = self._require_writer()
        named = said(None, None, None, name).name
        with self._turn():
            found = self._finder.own(which)
            with telling(found):
                saved = saver.restore(found.manifest, named)
        return self._finder.made(saved.entry, saved.manifest)

    def due(self, *, steps: int = 1, size_bytes: int = 0) -> bool:
        """Count steps and bytes of input that were done, and return whether to save now, by `when`.

        Once a preemption was requested (`on_preemption`), it always is.

        Raises:
            UsageError: `open_checkpoints` was given no `when`, and nothing listens to preemptions.
        """
        self._require_open()
        if self._preemption is not None and (self._preemption.requested or self._pace is None):
            return self._preemption.requested
        if self._pace is None:
            raise KeyValueError("when to save wasn't said: open_checkpoints(..., when=Every(seconds=600))")
        return self._pace.is_due(steps=steps, size_bytes=size_bytes)

    def on_preemption(self, grace: Duration = 30.0, *, signals: Iterable[str] = SIGNALS) -> Preemption:
        """Return what notes that the job's time is up, to be entered by `with`; `due` says so from then on.

        Args:
            grace: How long the job lives on behind the signal; seconds or a timedelta. Leave a little to end in.
            signals: By name. Kubernetes and a preempting Slurm send SIGTERM; `sbatch --signal=USR1@120` SIGUSR1.

        Raises:
            UsageError: No such signal or grace can be, or it is entered in another thread than the main one.
        """
        self._require_writer()
        self._preemption = Preemption(self.save_async, self.wait, self._clock, seconds(grace, "grace"), signals)
        return self._preemption

    # -- finding --------------------------------------------------------------------------------

    def latest(self) -> Checkpoint | None:
        """Return the newest sound checkpoint, None if there is none at all.

        Sound is one whose manifest is whole and whose packs are all there, in their length: one request for each.
        Damaged ones are passed over with a `DamagedCheckpointWarning`, and told in `skipped`. Whether every byte is
        right is seen when it is loaded: `load_latest`.

        Raises:
            CorruptionError: There are some, and none is sound.
            ArchiveUnavailableError, StorageError, UnsupportedFormatError: It can't be told.

        Complexity:
            One list, one get and one request for each pack, however many checkpoints there are.
        """
        return next(self._found().sound(), None)

    def load_latest(
        self, *, sinks: Sequence[Sink] = (), lazy: bool = False, mapped: bool = False, progress: Progress | None = None
    ) -> tuple[Any, Checkpoint] | None:
        """Return the state of the newest checkpoint that can be loaded, and that checkpoint; None if there is none.

        `sinks` are those that `save` is given, in mode "rw": what the checkpoint says of them is committed, and all
        else that they had prepared or begun is thrown away. The other arguments are those of `Checkpoint.load`.

        Raises:
            CorruptionError: There are some, and none is sound.
            UsageError: The checkpoint has outputs of sinks that aren't given; or as `Checkpoint.load`.
            UnsupportedFormatError, ArchiveUnavailableError, StorageError: As `Checkpoint.load`.
        """
        if sinks:
            self._require_writer()
        found = self._found().load_sound(lambda each: each.load(lazy=lazy, mapped=mapped, progress=progress))
        if self.mode == WRITING:
            # What several workers have prepared is committed by this one process.
            self._outputs.recover(sinks, outputs_of(found[1].manifest.said, 0, 1) if found is not None else {})
        return found

    # -- letting go -----------------------------------------------------------------------------

    def delete(self, *which: Checkpoint | str) -> None:
        """Delete checkpoints: they are found no more, and their bytes go after the trash period.

        Raises:
            CheckpointNotFoundError: One of them isn't there; none was deleted.
            FencedError, ConflictError, ArchiveUnavailableError, StorageError: As `save`.
        """
        saver = self._require_saver()
        saver.trash([self._finder.placed(each) for each in which])

    def prune(self, keep: Keep | None = None, *, dry_run: bool = False) -> Pruned:
        """Let go what `keep` doesn't want, and delete everything that nobody needs any more.

        Also what killed and failed saves have left. Reads every manifest and lists the whole place.

        Args:
            keep: The rule; that of `open_checkpoints` if it isn't given, and if there is none either all stay.
            dry_run: Tell what would be done, and change nothing.

        Raises:
            CorruptionError: A manifest can't be read, so nobody knows what may go: delete that checkpoint first.
            FencedError, ArchiveUnavailableError, StorageError: Some of it may be done. Again is safe.
        """
        if keep is not None and not isinstance(keep, Keep):
            raise KeyTypeError(f"keep={keep!r} is no Keep")
        return self._require_saver().prune(keep, dry_run=dry_run)

    def __repr__(self) -> str:
        closed = ", closed" if self._refusal is not None else ""
        return f"<Checkpoints at {self.where}, mode {self.mode!r}{closed}>"

    # -- within ---------------------------------------------------------------------------------

    def forbid(self) -> None:
        """As `Handle.forbid`, and let go of what is shared with the process that saves for the parent."""
        super().forbid()
        if self._outside is not None:
            self._outside.abandon()

    def _let_go(self) -> None:
        try:
            if self._outside is not None:
                self._outside.close()
        finally:
            if self._lease is not None:
                self._lease.release()

    def _require_writer(self) -> Saver:
        """Return what saves: for who has taken over the job."""
        saver = self._require_saver()
        if self.mode != WRITING:
            raise ReadOnlyError(f"{self.where} is open to delete and prune only; open it with mode='rw' to save")
        return saver

    def _require_saver(self) -> Saver:
        self._require_open()
        if self._saver is None:
            raise ReadOnlyError(f"{self.where} is open for reading only; open it with mode='rw'")
        return self._saver

