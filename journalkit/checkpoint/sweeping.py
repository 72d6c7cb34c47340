"""What nobody needs any more, and its end.

A checkpoint that is deleted goes into the head's trash. When it has lain there
for the trash period it is taken out of the head, and only behind that are its
objects deleted, as far as no other checkpoint needs them:

    head n      checkpoint C in the trash, its time is up
    head n+1    C is in no list. Whoever saves on top of C finds that here, and writes again what it took from C
    delete      packs that only C needed, then its manifest

Head n+1 is created if absent, so no save that stands on C can have been
published between the two. What is needed is told by head n+1.

An orphan is an object that no checkpoint names: what a save left that failed
or was killed. One of an epoch below the head's belongs to nobody, as its
writer publishes nothing any more. One of the head's own epoch may belong to a
save in flight; only the epoch's writer knows which of those are.

No clock decides about anything but how long the trash waits.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, TypeAlias

from journalkit.checkpoint import catalogue
from journalkit.checkpoint.heads import HeadWriter
from journalkit.clock import Clock
from journalkit.errors import CorruptionError, JournalError
from journalkit.format import names
from journalkit.format.head import NUMBER_MAX, CheckpointEntry, Head, TrashEntry
from journalkit.objects.interface import PAGE_MAX, Objects, ObjectStatus, ReadableObjects

Needs: TypeAlias = Callable[[CheckpointEntry], Collection[str]]
"""The keys of the packs that a checkpoint needs. Raises CorruptionError if its manifest doesn't say."""

_DELETED_AT_ONCE: Final = 1000

_log = logging.getLogger("journalkit.checkpoint")


@dataclass(frozen=True, slots=True)
class Garbage:
    """Objects that nobody needs."""

    objects: tuple[ObjectStatus, ...] = ()

    @property
    def size_bytes(self) -> int:
        """How much room they take."""
        return sum(found.size_bytes for found in self.objects)


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Saves of an epoch at one moment that may still be published: some under way, and all from a number on."""

    in_flight: Collection[tuple[int, int]] = ()
    next_save: int = NUMBER_MAX + 1

    def __contains__(self, place: tuple[int, int]) -> bool:
        return place in self.in_flight or place[1] >= self.next_save


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune did, or would do.

    Attributes:
        leaving: Checkpoints that go into the trash.
        forgotten: Checkpoints whose time in the trash is up.
        remaining: How many more needn't stay, for which the trash has no room yet: prune again later.
        objects: How many objects are deleted: packs, manifests and pages that nobody needs.
        size_bytes: How much room that gives back.
    """

    leaving: tuple[CheckpointEntry, ...]
    forgotten: tuple[CheckpointEntry, ...]
    remaining: int
    objects: int
    size_bytes: int

    def and_then(self, more: Pruned) -> Pruned:
        """Return what both have done, the other one last."""
        return Pruned(
            self.leaving + more.leaving,
            self.forgotten + more.forgotten,
            more.remaining,
            self.objects + more.objects,
            self.size_bytes + more.size_bytes,
        )


NOTHING: Final = Pruned((), (), 0, 0, 0)
"""What a prune begins with."""


def due(head: Head, clock: Clock, trash_period_s: float) -> tuple[TrashEntry, ...]:
    """Return what has lain in the trash for long enough."""
    if math.isinf(trash_period_s):
        return ()
    before_us = clock.wall_us() - round(trash_period_s * 1_000_000)
    return tuple(trashed for trashed in head.trash if trashed.since_us <= before_us)


def forget(writer: HeadWriter, trashed: Iterable[TrashEntry]) -> Head:
    """Take checkpoints out of the trash, and out of the head; return the head that has it so.

    From here on their objects may be deleted, once it is seen who else needs them. Raises as `HeadWriter.publish`.
    """
    gone = {entry.checkpoint.place for entry in trashed}

    def change(head: Head) -> Head | None:
        left = tuple(entry for entry in head.trash if entry.checkpoint.place not in gone)
        return None if len(left) == len(head.trash) else replace(head, trash=left)

    return writer.publish(change)


def left_by(
    objects: ReadableObjects, head: Head, gone: Collection[CheckpointEntry], needs: Needs
) -> Garbage:
    """Return what only these checkpoints need, which are in the head no more, or are about to leave it.

    One whose own manifest can't be read leaves what it needed to a search for orphans.

    Raises:
        CorruptionError: A manifest of a checkpoint that is still there can't be read, so that nobody knows
            what it needs. Delete that one first.
        ArchiveUnavailableError, StorageError: The place can't be read.
    """
    candidates: list[str] = []
    for entry in gone:
        with contextlib.suppress(CorruptionError):
            candidates += needs(entry)
        # Behind its packs: as long as it is there they can be found by it.
        candidates.append(names.checkpoint_key(*entry.place))
    if not candidates:
        return Garbage()
    needed = _needed(objects, head, needs, gone)
    keys = [key for key in dict.fromkeys(candidates) if key not in needed]
    found = (objects.status(key) for key in keys)
    return Garbage(tuple(status for status in found if status is not None))


def orphans(
    objects: ReadableObjects,
    head: Head,
    needs: Needs,
    *,
    gone: Collection[CheckpointEntry] = (),
    unsettled: Unsettled | None = None,
) -> Garbage:
    """Return what no checkpoint of the head names. Lists the whole place and reads every manifest.

    Args:
        objects: Where.
        head: The newest head.
        needs: What a checkpoint needs.
        gone: Checkpoints of the head that don't count: they are about to leave it.
        unsettled: Which saves of the head's epoch weren't settled before the head was read, if the caller is its
            writer; None if it isn't, and leaves alone what is of that epoch.

    Raises as `left_by`.
    """
    needed = {*catalogue.page_keys(objects, head), *_needed(objects, head, needs, gone)}

    def is_nobodys(key: str) -> bool:
        place = names.saved_place(key)
        epoch = place[0] if place is not None else names.page_epoch(key) or names.run_epoch(key)
        if epoch is None or key in needed or epoch > head.epoch:
            return False
        if epoch < head.epoch:
            return True
        return unsettled is not None and place is not None and place not in unsettled

    prefixes = (names.PACKS, names.MANIFESTS, names.PAGES, names.RUNS, names.ROUNDS)
    listed = chain.from_iterable(_listed(objects, prefix) for prefix in prefixes)
    return Garbage(tuple(status for status in listed if is_nobodys(status.key)))


def sweep_after_the_last(objects: Objects, head: Head) -> None:
    """Delete what killed saves of earlier epochs left. What can't be, is by a later prune."""
    try:
        delete(objects, after_the_last(objects, head))
    except JournalError as error:
        _log.warning("%s: what a killed save left was not deleted: %s", objects.where, error)


def after_the_last(objects: ReadableObjects, head: Head) -> Garbage:
    """Return what saves of earlier epochs left that came behind the newest checkpoint: orphans for certain.

    A checkpoint needs packs of its own save and of earlier ones only. So this reads no manifest, and lists no more
    than what is behind the newest checkpoint, its own packs, and what workers of a run had to say to each other.
    Raises as `orphans`.
    """
    newest = next(catalogue.newest_first(objects, head), None)
    places = [entry.checkpoint.place for entry in head.trash] + ([newest.place] if newest is not None else [])
    last = max(places, default=(0, 0))
    found: list[ObjectStatus] = []
    for prefix, after in ((names.PACKS, names.pack_key(*last, 0)), (names.MANIFESTS, names.checkpoint_key(*last))):
        for status in _listed(objects, prefix, after):
            place = names.saved_place(status.key)
            if place is not None and last < place and place[0] < head.epoch:
                found.append(status)
    for prefix in (names.RUNS, names.ROUNDS):
        for status in _listed(objects, prefix):
            epoch = names.run_epoch(status.key)
            if epoch is not None and epoch < head.epoch:
                found.append(status)
    return Garbage(tuple(found))


def delete(objects: Objects, garbage: Garbage) -> None:
    """Delete it, in its order. Raises ArchiveUnavailableError, StorageError: some of it may be there still."""
    keys = [status.key for status in garbage.objects]
    for first in range(0, len(keys), _DELETED_AT_ONCE):
        objects.delete(*keys[first : first + _DELETED_AT_ONCE])


def _needed(
    objects: ReadableObjects, head: Head, needs: Needs, gone: Collection[CheckpointEntry]
) -> set[str]:
    """Return the keys of all manifests and packs of checkpoints in the head, in the trash as well, but for some."""
    out = {entry.place for entry in gone}
    needed: set[str] = set()
    for entry in catalogue.newest_first(objects, head):
        if entry.place not in out:
            needed.add(names.checkpoint_key(*entry.place))
            needed.update(needs(entry))
    for trashed in head.trash:
        if trashed.checkpoint.place not in out:
            needed.add(names.checkpoint_key(*trashed.checkpoint.place))
            # Nobody stands on one whose manifest can't be read, and nobody can be asked to delete it once more.
            with contextlib.suppress(CorruptionError):
                needed.update(needs(trashed.checkpoint))
    return needed


def _listed(objects: ReadableObjects, prefix: str, after: str = "") -> Iterator[ObjectStatus]:
    while True:
        page = objects.list(prefix, after=after, limit=PAGE_MAX)
        yield from page
        if len(page) < PAGE_MAX:
            return
        after = page[-1].key
