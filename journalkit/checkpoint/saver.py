"""The writer of a job's checkpoints: writes, publishes, lets the old ones go.

    capture     by the caller
    pack        what the checkpoint doesn't share with the one that it stands on
    manifest
    head        the checkpoint is there, and those that needn't stay are in the trash: one create for both
    sweep       what was in the trash for long enough

A save stands on the newest checkpoint, and takes from it what hasn't changed.
Whether that one is still there is asked in the moment of publishing, by the
head that the new one is created on. If it isn't, all is written anew.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from journalkit.checkpoint import catalogue, sweeping
from journalkit.checkpoint.catalogue import PAGE_ENTRIES, Place
from journalkit.checkpoint.heads import HeadWriter
from journalkit.checkpoint.loading import Manifest
from journalkit.checkpoint.manifests import Manifests
from journalkit.checkpoint.needed import Needed
from journalkit.checkpoint.outside import Outside
from journalkit.checkpoint.pack import Progress
from journalkit.checkpoint.restoring import restored
from journalkit.checkpoint.retention import LEAVING_MAX, Keep
from journalkit.checkpoint.said import Said
from journalkit.checkpoint.saving import SaveOptions, Written
from journalkit.checkpoint.sweeping import NOTHING, Pruned
from journalkit.checkpoint.tree import Captured
from journalkit.checkpoint.writes import Write, of_copy, of_state
from journalkit.clock import Clock
from journalkit.errors import (
    CheckpointAbortedError,
    CheckpointNotFoundError,
    CorruptionError,
    FencedError,
    JournalError,
    KeyValueError,
    UnknownOutcomeError,
)
from journalkit.format import names
from journalkit.format.head import CheckpointEntry, Head
from journalkit.objects.interface import Objects

_PUBLISHES_MAX: Final = 3
"""How often a publish whose outcome is unknown is tried before the caller is told. Each waits and tries by itself."""
_READS_MAX: Final = 100
"""How many manifests of earlier checkpoints a save reads at most to know what may be deleted; the next goes on."""
_NOT_ENFORCED: Final = "the server doesn't enforce conditional writes when several come at once; close"
TRASH_MAX: Final = 500
"""How many checkpoints wait in the trash at most: a head names them all. Others stay until there is room."""

_log = logging.getLogger("journalkit.checkpoint")


class _SharedEpochError(FencedError):
    """Somebody else's checkpoint is in our place: what lies under its keys isn't ours to take back."""


class _BaseGoneError(Exception):
    """The checkpoint that a save stands on was deleted meanwhile."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One published checkpoint."""

    entry: CheckpointEntry
    manifest: Manifest
    written: Written


class Saver:
    """Changes what checkpoints there are, by one `HeadWriter`. Threads may share it; saves go one after the other."""

    def __init__(
        self,
        objects: Objects,
        clock: Clock,
        heads: HeadWriter,
        manifests: Manifests,
        *,
        keep: Keep | None,
        trash_period_s: float,
        options: SaveOptions,
        is_writer: bool,
    ) -> None:
        self._objects = objects
        self._clock = clock
        self._heads = heads
        self._manifests = manifests
        self._keep = keep
        self._trash_period_s = trash_period_s
        self._options = options
        self._is_writer = is_writer
        self._one_save = threading.Lock()
        self._numbers = threading.Lock()
        self._next_save = 1
        self._in_flight: set[Place] = set()
        self._newest: tuple[CheckpointEntry, Manifest] | None = None
        self._needed = Needed(manifests.needs, self._there)

    @property
    def epoch(self) -> int:
        """The writer's epoch."""
        return self._heads.epoch

    @property
    def job(self) -> bytes:
        """The job's identity."""
        return self._heads.head.job

    def save(
        self, captured: Captured, said: Said, progress: Progress | None = None, *, outside: Outside | None = None
    ) -> Saved:
        """Have a captured state written, here or by another process, and publish it.

        Raises as `Checkpoints.save`, and as `Outside.write_checkpoint`.
        """

        def entry(place: Place) -> CheckpointEntry | None:
            return self._found(self._heads.head, place)

        return self._published(
            of_state(self._objects, self._clock, self.job, captured, said, self._options, progress, outside, entry)
        )

    def copy(self, source: Manifest, name: str, progress: Progress | None = None) -> Saved:
        """Write another place's checkpoint and publish it. Raises as `Checkpoints.copy_from`."""
        return self._published(of_copy(self._objects, self.job, source, name, self._options, progress))

    def restore(self, source: Manifest, name: str) -> Saved:
        """Publish a checkpoint of this place once more, as the newest. Raises as `Checkpoints.restore`."""

        def write(place: Place, _base: Manifest | None) -> Written:
            return restored(self._objects, source, place, name=name, time_us=self._clock.wall_us())

        self._manifests.check_packs(source)
        try:
            return self._published(write)
        except _BaseGoneError:
            reason = f"{self._objects.where}: it was deleted meanwhile, and nothing was restored: restore another one"
            raise CheckpointNotFoundError(reason) from None

    def save_together(self, write: Write, number: int) -> Saved:
        """Publish what several workers have written as a save of that number, by `write`, which is called once.

        Raises as `Checkpoints.save`, what `write` raises, and:

        Raises:
            CheckpointAbortedError: A checkpoint that some of them stand on was deleted meanwhile.
        """
        return self._published(write, number)

    def trash(self, places: Collection[Place]) -> Head:
        """Put checkpoints into the trash. What isn't there is left out. Raises as `HeadWriter.publish`.

        Raises:
            UsageError: The trash hasn't got room for so many. None was put there.
        """
        wanted = set(places)

        def change(head: Head) -> Head | None:
            there = {place for place in wanted if catalogue.find(self._objects, head, place) is not None}
            room = TRASH_MAX - len(head.trash)
            if len(there) > room:
                raise KeyValueError(
                    f"{self._objects.where}: {len(there)} checkpoints, and the trash has room for {room} until what is "
                    "in it has been there for the trash period; prune then, and go on"
                )
            return catalogue.trash(self._objects, self._clock, head, there) if there else None

        return self._heads.publish(change)

    def prune(self, keep: Keep | None, *, dry_run: bool) -> Pruned:
        """Let go what needn't stay, and delete everything that nobody needs. Raises as `Checkpoints.prune`."""
        rule = keep if keep is not None else self._keep
        done = NOTHING
        while True:
            # Before the head is read: what has ended by now is in it, and what begins from now on has a higher number.
            unsettled = self._unsettled()
            head = self._heads.refresh()
            leaving = tuple(rule.leaving(catalogue.newest_first(self._objects, head))) if rule is not None else ()
            due = sweeping.due(head, self._clock, self._trash_period_s)
            moved = leaving[: max(0, TRASH_MAX - len(head.trash))]
            if dry_run:
                # What goes into the trash goes out of it at once if it waits for nothing there, and more goes in.
                at_once = () if self._trash_period_s else leaving
                gone = (*(entry.checkpoint for entry in due), *at_once)
                garbage = self._garbage(head, gone, unsettled)
                left = 0 if at_once else len(leaving) - len(moved)
                return Pruned(at_once or moved, gone, left, len(garbage.objects), garbage.size_bytes)
            if moved:
                head = self.trash([entry.place for entry in moved])
            due = sweeping.due(head, self._clock, self._trash_period_s)
            if due:
                head = sweeping.forget(self._heads, due)
            gone = tuple(entry.checkpoint for entry in due)
            garbage = self._garbage(head, gone, unsettled)
            sweeping.delete(self._objects, garbage)
            self._manifests.forget(gone)
            left = len(leaving) - len(moved)
            done = done.and_then(Pruned(moved, gone, left, len(garbage.objects), garbage.size_bytes))
            # As long as the trash is emptied there is room for more.
            if not done.remaining or not due:
                return done

    def _unsettled(self) -> sweeping.Unsettled | None:
        """Return which saves of this epoch may still be published; None if another handle knows."""
        with self._numbers:
            return sweeping.Unsettled(frozenset(self._in_flight), self._next_save) if self._is_writer else None

    def _garbage(
        self, head: Head, gone: Collection[CheckpointEntry], unsettled: sweeping.Unsettled | None
    ) -> sweeping.Garbage:
        """Return what only those checkpoints need, and what nobody does."""
        while True:
            try:
                orphans = sweeping.orphans(self._objects, head, self._manifests.needs, gone=gone, unsettled=unsettled)
                by_these = sweeping.left_by(self._objects, head, gone, self._manifests.needs)
            except CorruptionError:
                # Swept by somebody else since the head was read, perhaps: the newest head then says so.
                newest = self._heads.refresh()
                if newest.number == head.number:
                    raise
                head = newest
            else:
                found = {status.key: status for status in (*by_these.objects, *orphans.objects)}
                return sweeping.Garbage(tuple(found.values()))

    # -- within ---------------------------------------------------------------------------------

    def _base(self) -> tuple[CheckpointEntry, Manifest] | None:
        """Return the newest checkpoint, to stand on; None if it is damaged: what is taken from it would be, too."""
        newest = next(catalogue.newest_first(self._objects, self._heads.head), None)
        if newest is None or self._manifests.is_damaged(newest):
            return None
        if self._newest is not None and self._newest[0].place == newest.place:
            return self._newest
        try:
            manifest = self._manifests.read(newest)
            self._manifests.check_packs(manifest)
        except CorruptionError:
            return None
        return newest, manifest

    def _published(self, write: Write, number: int | None = None) -> Saved:
        with self._one_save:
            self._heads.refuse_fenced()
            try:
                saved = self._save_on(self._base(), write, number)
            except _BaseGoneError:
                if number is not None:
                    self._heads.refresh()  # raises if a newer writer has let it go
                    raise CheckpointAbortedError("what it stands on was deleted meanwhile: save again") from None
                saved = self._save_on(None, write)
            self._newest = (saved.entry, saved.manifest)
            self._tidy()
            return saved

    def _save_on(
        self, base: tuple[CheckpointEntry, Manifest] | None, write: Write, number: int | None = None
    ) -> Saved:
        with self._numbers:
            place = (self._heads.epoch, self._next_save if number is None else number)
            self._next_save = place[1] + 1
            self._in_flight.add(place)
        is_settled = True
        try:
            written = write(place, base[1] if base is not None else None)
            said = written.manifest
            entry = CheckpointEntry(
                *place, said.time_us, written.manifest_bytes, written.manifest_digest, said.name, dict(said.metrics),
                said.restores,
            )  # fmt: skip
            manifest = Manifest(self._objects, written.manifest_key, said)
            # Before it is published: one whose outcome stays unknown may be there from some later moment on.
            self._manifests.learn(entry, manifest)
            self._needed.add(entry)
            is_settled = False
            try:
                self._publish(entry, {*written.bases, *((base[0].place,) if base is not None else ())})
            except (UnknownOutcomeError, _SharedEpochError):
                raise
            except (JournalError, _BaseGoneError):
                # Whatever else is raised, Ctrl-C or a lack of memory, may have come behind the publishing.
                is_settled = True
                self._needed.drop(entry)
                raise
        except BaseException:
            if is_settled:  # else it stays, and is in flight for as long as the epoch lasts
                self._take_back(place)
            raise
        self._in_flight.discard(place)
        return Saved(entry, manifest, written)

    def _publish(self, entry: CheckpointEntry, bases: Collection[Place]) -> None:
        def change(head: Head) -> Head | None:
            there = self._found(head, entry.place)
            if there is not None and there.manifest_digest != entry.manifest_digest:
                raise _SharedEpochError(f"{self._objects.where}: another writer has this epoch: {_NOT_ENFORCED}")
            if there is not None:
                return None
            if any(self._found(head, base) is None for base in bases):
                raise _BaseGoneError
            added = catalogue.add(self._objects, self._clock, head, entry)
            leaving = self._leaving(added, is_all=added.pages != head.pages)
            return catalogue.trash(self._objects, self._clock, added, leaving) if leaving else added

        unknown: UnknownOutcomeError | None = None
        for turn in range(1, _PUBLISHES_MAX + 1):
            try:
                self._heads.publish(change)
            except UnknownOutcomeError as error:
                unknown = error
                if turn == _PUBLISHES_MAX:
                    raise
            except JournalError as error:
                if unknown is None:
                    raise
                # What the tries before did isn't known, whatever this one says.
                raise unknown from error
            else:
                return

    def _leaving(self, head: Head, *, is_all: bool) -> list[Place]:
        """Return what a save lets go: by those in the head, and by all of them whenever a page was written."""
        if self._keep is None:
            return []
        entries: Iterable[CheckpointEntry] = reversed(head.checkpoints)
        if is_all:
            # A page that can't be read keeps nobody from saving: its checkpoints stay, and a prune says why.
            with contextlib.suppress(CorruptionError):
                entries = tuple(catalogue.newest_first(self._objects, head))
        most = min(PAGE_ENTRIES if is_all else LEAVING_MAX, max(0, TRASH_MAX - len(head.trash)))
        return [entry.place for entry in self._keep.leaving(entries)[:most]]

    def _found(self, head: Head, place: Place) -> CheckpointEntry | None:
        """Return a checkpoint of the head, be it in the trash; None if it isn't there."""
        trashed = (entry.checkpoint for entry in head.trash if entry.checkpoint.place == place)
        return next(trashed, None) or catalogue.find(self._objects, head, place)

    def _take_back(self, place: Place) -> None:
        """Delete what a failed save wrote; what can't be is an orphan, and nobody's."""
        self._in_flight.discard(place)
        with contextlib.suppress(JournalError):
            self._objects.delete(names.pack_key(*place, 0), names.checkpoint_key(*place))

    def _tidy(self) -> None:
        """Sweep what is due. The save has succeeded, whatever happens here."""
        if not self._heads.head.trash:
            return
        try:
            if not self._needed.learn(_READS_MAX):
                return
            due = sweeping.due(self._heads.head, self._clock, self._trash_period_s)
            if not due:
                return
            sweeping.forget(self._heads, due)
            # Packs first: as long as the manifest is there they can be found by it.
            keys = [key for entry in due for key in self._needed.drop(entry.checkpoint)]
            keys += [names.checkpoint_key(*entry.checkpoint.place) for entry in due]
            self._objects.delete(*keys)
            self._manifests.forget(entry.checkpoint for entry in due)
        except FencedError:
            return  # who took over sweeps; the next save says so
        except JournalError as error:
            _log.warning("%s: deleted checkpoints were not swept: %s", self._objects.where, error)

    def _there(self) -> Iterator[CheckpointEntry]:
        """Yield every checkpoint that is in the newest head, in the trash as well."""
        head = self._heads.head
        yield from catalogue.newest_first(self._objects, head)
        yield from (entry.checkpoint for entry in head.trash)
