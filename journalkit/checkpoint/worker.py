"""One of several workers that save one checkpoint together.

    every rank    capture, write its pack, report: the manifest of its part
    rank 0        gather, merge the parts into one manifest, publish it: the checkpoint is there
    every rank    is told what became of it, and returns or raises

Rank 0 is the job's writer, with its epoch; the others publish nothing. So a
checkpoint is there with all its parts or not at all, whoever dies when.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from journalkit.checkpoint.agreeing import (
    bases_in,
    check_parts,
    entry_in,
    heard,
    part_in,
    part_report,
    short,
    told,
)
from journalkit.checkpoint.assembling import Regions
from journalkit.checkpoint.background import Saving
from journalkit.checkpoint.catalogue import Place
from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.checkpoint.finder import Finder
from journalkit.checkpoint.handle import Handle
from journalkit.checkpoint.loading import Manifest
from journalkit.checkpoint.looks import Looks
from journalkit.checkpoint.merging import merged
from journalkit.checkpoint.pacing import Pace
from journalkit.checkpoint.pack import Progress
from journalkit.checkpoint.parts import Parts
from journalkit.checkpoint.preemption import SIGNALS, SharedPreemption
from journalkit.checkpoint.rounds import Rounds
from journalkit.checkpoint.said import Said, own, said
from journalkit.checkpoint.saver import Saver
from journalkit.checkpoint.saving import SaveOptions, Written, write_manifest
from journalkit.checkpoint.sinks import Outputs, Sink
from journalkit.checkpoint.together import Together
from journalkit.checkpoint.tree import Captured, capture
from journalkit.clock import Clock
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointAbortedError,
    CheckpointNotFoundError,
    ClosedError,
    FencedError,
    ForkedError,
    JournalError,
    KeyValueError,
    UnknownOutcomeError,
    UsageError,
)
from journalkit.format.envelope import plain_of
from journalkit.objects.interface import Objects
from journalkit.options import Duration, seconds

_log = logging.getLogger("journalkit.checkpoint")


class Worker(Handle):
    """One of several workers of a job. Made by `open_worker`.

    All workers make the same calls in the same order: each `save` and each `load_latest` is one that all take part in.
    Threads may share it; saves go one after the other.

    Attributes:
        where: The directory or URL.
        rank: Which of them this is, from 0.
        size: How many there are.
        epoch: Which writer of the job they are together.
    """

    def __init__(
        self,
        objects: Objects,
        clock: Clock,
        finder: Finder,
        saver: Saver | None,
        rounds: Rounds,
        looks: Looks,
        pace: Pace | None,
        *,
        job: bytes,
        epoch: int,
        rank: int,
        size: int,
        options: SaveOptions,
        opened_at: str,
    ) -> None:
        self.rank = rank
        self.size = size
        self.epoch = epoch
        self._finder = finder
        self._saver = saver
        self._rounds = rounds
        self._looks = looks
        self._pace = pace
        self._number = 0
        self._outputs = Outputs(rank)
        self._all = Together(rounds, finder, self._outputs, rank, size, objects.where)
        self._parts = Parts(
            objects, clock, finder, options, self._all.damaged, job=job, epoch=epoch, rank=rank, size=size
        )
        super().__init__(objects, clock, opened_at)

    def save(
        self,
        state: Any,
        *,
        step: Any = None,
        offsets: Mapping[Any, Any] | None = None,
        metadata: Any = None,
        metrics: Mapping[str, float] | None = None,
        name: str | None = None,
        sinks: Sequence[Sink] = (),
        progress: Progress | None = None,
    ) -> Checkpoint:
        """Save this worker's part of a checkpoint that all workers save together, and return the checkpoint.

        Args:
            state: As for `Checkpoints.save`. What is divided among the workers stands in a `Keyed`, by its keys, or in
                `Shard`s of arrays. All else is each worker's own.
            step: What has to be the same with all of them: the step of the computation, the number of a barrier. A
                checkpoint of workers that aren't at the same step isn't made.
            offsets: Of the inputs that this worker reads.
            metadata: Taken from rank 0, like `metrics` and `name`.
            metrics: As for `Checkpoints.save`.
            name: As for `Checkpoints.save`.
            sinks: This worker's outputs, to be seen once the checkpoint is there. All workers have sinks of the same
                names; what one of them has prepared travels in its part.
            progress: As for `Checkpoints.save`, of this worker's part.

        Durability:
            Once this returns, in whichever worker, the checkpoint survives a power cut with all its parts, and is
            what every node finds as the latest.

        Raises:
            CheckpointAbortedError: Another worker couldn't do its part, or didn't in time. There is no checkpoint;
                go on, and save the next one.
            UsageError: The state can't be preserved. The others get CheckpointAbortedError.
            UnknownOutcomeError: Rank 0 didn't say whether it was published; `load_latest` of the next run tells.
            FencedError: Another run has the job; nothing was published, and nothing will be. Close.
            StoreFullError, ArchiveUnavailableError, StorageError: As the second.
            JournalError: What an earlier `save_async` failed with, once; nothing was done for this call, and the others
                get CheckpointAbortedError.
            Exception: What a sink raised. In `prepare`: there is no checkpoint, and the others get
                CheckpointAbortedError. In `commit`, in this worker alone: the checkpoint is there, and the next save
                or load commits again.
        """
        with self._round() as begun_s:
            captured, words, at = self._captured(
                state, lambda: said(offsets, metadata, metrics, name), step, sinks, copy=False
            )
            saved = self._together(captured, words, at, progress)
            self._outputs.commit(sinks)
            self._paced(begun_s)
            return saved

    def save_async(
        self,
        state: Any,
        *,
        step: Any = None,
        offsets: Mapping[Any, Any] | None = None,
        metadata: Any = None,
        metrics: Mapping[str, float] | None = None,
        name: str | None = None,
    ) -> Saving:
        """Capture a state now and save it with the others while the job goes on; return what tells how that gets on.

        As `Checkpoints.save_async` for `save`. That a checkpoint was given up is raised by `wait()` or `close()`, and
        no reason for the next call not to save: it is logged then.
        """
        with self._round() as begun_s:
            captured, words, at = self._captured(
                state, lambda: said(offsets, metadata, metrics, name), step, (), copy=True
            )

            def run(progress: Progress) -> Checkpoint:
                try:
                    return self._together(captured, words, at, progress)
                finally:
                    captured.release()

            saving = self._saves.begin(run)
            self._paced(begun_s)
            return saving

    def load_latest(
        self,
        *,
        sinks: Sequence[Sink] = (),
        lazy: bool = False,
        mapped: bool = False,
        regions: Regions | None = None,
    ) -> tuple[Any, Checkpoint] | None:
        """Return this worker's share of the newest checkpoint that all can load, and that; None if there is none.

        With as many workers as have saved it each gets what it gave. With more or fewer a `Keyed` has the keys of this
        worker's groups, a `Shard` its even part, and everything else has to have been the same with all of them. What
        one process has saved is divided in the same way.

        Args:
            sinks: Those that `save` is given. What the checkpoint has of them is committed, what each worker gave by
                one worker, and once all have, everything else that they had prepared or begun is thrown away.
            lazy: As for `Checkpoint.load`.
            mapped: As for `Checkpoint.load`.
            regions: Which parts of arrays this worker wants, by where they stand in the state, if not the even ones:
                `{("model", "w"): (slice(0, 512), slice(None))}`.

        Raises:
            UsageError: It can't be divided among so many workers, or has outputs of sinks that aren't given; the
                others get CheckpointAbortedError.
            CheckpointAbortedError: Another worker couldn't load its share, or didn't say so in time.
            CorruptionError: There are some, and none is sound.
            UnknownOutcomeError, FencedError, ArchiveUnavailableError, StorageError: As `save`.
        """
        with self._round(numbers=0):
            return self._all.load(sinks, lazy=lazy, mapped=mapped, regions=regions)

    def due(self, *, steps: int = 1, size_bytes: int = 0) -> bool:
        """Count steps and bytes of input that were done, and return whether all workers save now, by `when`.

        All ask as often. When rank 0's policy is due, or the time of one of them is up (`on_preemption`), all are told
        at the same call: some seconds later, by the next looks. That call waits until it is known to be the one; all
        others cost nothing. Once all know that their time is up it is always due.

        Raises:
            UsageError: `open_worker` was given no `when`, and nothing listens to preemptions.
            UnknownOutcomeError: The storage couldn't be reached within `patience` once all were to decide: the others
                may save at a call that this one knows nothing of. End, and start the run again.
            FencedError: Another run has the job. Close.
            JournalError: The workers can't agree any more. End.
        """
        self._require_open()
        if self._pace is None and not self._looks.is_listening:
            raise KeyValueError("when to save wasn't said: open_worker(..., when=Every(seconds=600))")
        is_due = self._pace is not None and self._pace.is_due(steps=steps, size_bytes=size_bytes)
        self._looks.begin()
        return self._looks.due(is_wanted=is_due)

    def on_preemption(self, grace: Duration = 30.0, *, signals: Iterable[str] = SIGNALS) -> SharedPreemption:
        """Return what notes that the time of this worker is up, to be entered by `with`, in all workers.

        Whichever is told, `due` says so in all of them at the same call, and `requested` with it.

        Args:
            grace: As for `Checkpoints.on_preemption`.
            signals: As for `Checkpoints.on_preemption`.

        Raises:
            UsageError: As `Checkpoints.on_preemption`.
        """
        self._require_open()
        preemption = SharedPreemption(self.save_async, self.wait, self._clock, seconds(grace, "grace"), signals)
        self._looks.listen(preemption)
        return preemption

    def __repr__(self) -> str:
        closed = ", closed" if self._refusal is not None else ""
        return f"<Worker {self.rank} of {self.size} at {self.where}, epoch {self.epoch}{closed}>"

    def _let_go(self) -> None:
        self._looks.close()

    # -- saving ---------------------------------------------------------------------------------

    @contextmanager
    def _round(self, numbers: int = 1) -> Iterator[float]:
        """Take one's turn for a call in which all take part, of so many saves, and return when it began.

        Where this rank has to be told what an earlier save failed with the others are told that it doesn't do its
        part: they count this call, and so does it. A checkpoint that was given up is no reason: all know of it.
        """
        with ExitStack() as stack:
            try:
                try:
                    begun_s = stack.enter_context(self._turn())
                except CheckpointAbortedError as error:
                    _log.warning("%s: an earlier checkpoint was given up: %s", self.where, error)
                    begun_s = stack.enter_context(self._turn())
            except JournalError as error:
                if isinstance(error, ClosedError | ForkedError) or type(error) is UsageError:
                    raise  # no call at all: it is closed, or this thread is saving
                with self._saves.turn():
                    self._number += numbers
                    self._rounds.fail(f"an earlier save failed: {short(error)}")
                raise
            yield begun_s

    def _paced(self, begun_s: float) -> None:
        """Note that something is saved, and has kept the job from its work since then."""
        if self._pace is not None:
            self._pace.saved(self._clock.monotonic_s() - begun_s)

    def _captured(
        self, state: Any, words: Callable[[], Said], step: Any, sinks: Sequence[Sink], *, copy: bool
    ) -> tuple[Captured, Said, Any]:
        """Take the number of a save, and capture; what can't be is told to the others, who wait for this part."""
        self._number += 1
        try:
            said = words()
            at = own(step, "step")
            captured = capture(state, copy=copy, buffers=self._buffers, worker=(self.rank, self.size))
            said = replace(said, prepared=self._outputs.prepare(sinks))
        except BaseException as error:
            self._rounds.fail(short(error))
            raise
        return captured, said, at

    def _together(self, captured: Captured, words: Said, step: Any, progress: Progress | None) -> Checkpoint:
        if self._saver is not None:
            return self._lead(self._saver, captured, words, step, progress)
        return self._follow(captured, words, step, progress)

    def _lead(
        self, saver: Saver, captured: Captured, words: Said, step: Any, progress: Progress | None
    ) -> Checkpoint:
        """Be rank 0: publish what all have written."""
        is_begun = is_written = False

        def write(place: Place, base: Manifest | None) -> Written:
            nonlocal is_begun, is_written
            mine = base.said if base is not None else None
            part = self._parts.write(place, mine, captured, words, progress)
            is_begun = True
            self._rounds.report(part_report(part, step, None))
            reports = self._rounds.gather()
            check_parts(reports)
            parts = [part, *(part_in(words, part, rank) for rank, words in enumerate(reports) if rank)]
            written = replace(write_manifest(self._objects, merged(parts)), bases=bases_in(reports))
            is_written = True
            return written

        try:
            saved = saver.save_together(write, self._number)
        except BaseException as error:
            verdict = told(error, is_written=is_written)
            if is_begun:
                self._all.tell(verdict)
            else:
                self._rounds.fail(short(error), verdict if isinstance(error, FencedError) else None)
            raise
        self._all.tell({"published": list(plain_of(saved.entry).values())})
        return self._finder.made(saved.entry, saved.manifest)

    def _follow(self, captured: Captured, words: Said, step: Any, progress: Progress | None) -> Checkpoint:
        """Be another rank: write a part, and hear what became of it."""
        place = (self.epoch, self._number)
        try:
            base = self._parts.standing_on()
            part = self._parts.write(place, base[1] if base is not None else None, captured, words, progress)
            report = part_report(part, step, base[0] if base is not None else None)
        except BaseException as error:
            self._parts.take_back(place)
            self._rounds.fail(short(error), told(error, is_written=False) if isinstance(error, FencedError) else None)
            raise
        # What it stands on is looked for anew unless this becomes it: others may have gone on meanwhile.
        self._parts.look_anew()
        # A report whose reply was lost may be there, and be all that rank 0 waited for.
        with contextlib.suppress(ArchiveUnavailableError):
            self._rounds.report(report)
        try:
            checkpoint = self._heard_of(place)
        except CheckpointAbortedError:
            self._parts.take_back(place)
            raise
        self._parts.stand_on(place, part)
        return checkpoint

    def _heard_of(self, place: Place) -> Checkpoint:
        try:
            entry = entry_in(heard(self._rounds.verdict()))
        except UnknownOutcomeError:
            # Rank 0 may have ended between publishing and saying so.
            with contextlib.suppress(CheckpointNotFoundError):
                return self._finder.find(f"{place[0]}.{place[1]}")
            raise
        return self._finder.made(entry)
