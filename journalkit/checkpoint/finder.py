"""Finds checkpoints: the newest sound one, one by id or name, all of them. For readers and writers alike."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from journalkit.checkpoint import catalogue
from journalkit.checkpoint.catalogue import Place
from journalkit.checkpoint.checkpoint import Checkpoint, are_one, id_of, place_of
from journalkit.checkpoint.heads import newest_head
from journalkit.checkpoint.loading import Manifest
from journalkit.checkpoint.manifests import Manifests
from journalkit.checkpoint.said import LATEST
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointNotFoundError,
    CorruptionError,
    DamagedCheckpointWarning,
    KeyTypeError,
)
from journalkit.format.head import CheckpointEntry, Head
from journalkit.objects.interface import ReadableObjects
from journalkit.runtime.place import callers_level

_LOOKS_MAX: Final = 100
"""A checkpoint that is deleted while it is looked at has newer ones behind it, or there is none."""


@dataclass(frozen=True, slots=True)
class CheckpointUsage:
    """What one checkpoint takes: in all, and how much of it would be free if it alone were deleted."""

    checkpoint: Checkpoint
    total_bytes: int
    own_bytes: int


class Finder:
    """Looks at one place. Threads may share it. Every method raises as `heads.newest_head`, besides what it says."""

    def __init__(self, objects: ReadableObjects, manifests: Manifests) -> None:
        self._objects = objects
        self._manifests = manifests
        self._head: Head | None = None
        self._guard = threading.Lock()

    def sound(self) -> Iterator[Checkpoint]:
        """Yield the checkpoints whose manifest is whole and whose packs are all there, newest first.

        Raises:
            CorruptionError: There are some, and none is sound.
        """
        skipped: list[CorruptionError] = []
        passed: set[Place] = set()
        is_any = False
        for _ in range(_LOOKS_MAX):
            head = self._look()
            if head is None:
                return
            for entry in catalogue.newest_first(self._objects, head):
                if entry.place in passed:
                    continue
                try:
                    manifest = self._manifests.read(entry)
                    self._manifests.check_packs(manifest)
                except CorruptionError as error:
                    if not self._is_there(entry):
                        # Deleted since the head was read, which is no damage. What is there instead, the head now says.
                        break
                    passed.add(entry.place)
                    skipped.append(error)
                    warn(id_of(entry), error)
                else:
                    passed.add(entry.place)
                    is_any = True
                    yield self.made(entry, manifest, skipped=tuple(skipped))
                    skipped = []
            else:
                if skipped and not is_any:
                    raise skipped[0]
                return
        raise self._too_slow()

    def load_sound(self, load: Callable[[Checkpoint], Any]) -> tuple[Any, Checkpoint] | None:
        """Return what `load` makes of the newest checkpoint that it doesn't find damaged, and that; None if none is.

        Raises:
            CorruptionError: There are some, and all are damaged.
        """
        for _ in range(_LOOKS_MAX):
            with contextlib.suppress(CheckpointNotFoundError):  # it was deleted while it was loaded: there are others
                return self._load_sound(load)
        raise self._too_slow()

    def find(self, which: str) -> Checkpoint:
        """Return a checkpoint by its id, by its name (the newest of that name), or "latest".

        Raises:
            CheckpointNotFoundError: There is none.
        """
        if not isinstance(which, str):
            raise KeyTypeError(f"{which!r:.100} is no checkpoint's id or name: a str")
        if which == LATEST:
            for checkpoint in self.sound():
                return checkpoint
            raise CheckpointNotFoundError(f"{self._objects.where} has no checkpoints yet")
        head = self._look()
        place = place_of(which)
        if head is not None:
            if place is not None:
                entry = catalogue.find(self._objects, head, place)
            else:
                entries = catalogue.newest_first(self._objects, head)
                entry = next((each for each in entries if each.name == which), None)
            if entry is not None:
                return self.made(entry)
        kind = "of that id" if place is not None else "of that name"
        raise CheckpointNotFoundError(f"{self._objects.where} has no checkpoint {which!r}: none {kind}")

    def placed(self, which: Checkpoint | str) -> Place:
        """Return the epoch and save of a checkpoint that is asked for by itself, or as `find`; raises as that."""
        found = self.own(which)
        return found.epoch, found.save

    def own(self, which: Checkpoint | str) -> Checkpoint:
        """Return a checkpoint of this place that is asked for by itself, or as `find`; raises as that."""
        found = self.find(which.id if isinstance(which, Checkpoint) else which)
        if isinstance(which, Checkpoint) and not are_one(found, which):
            raise CheckpointNotFoundError(f"{which!r} is none of {self._objects.where}, which has another of that id")
        return found

    def newest_first(self) -> Iterator[Checkpoint]:
        """Yield all, as they are now; pages of a hundred are read as one gets there."""
        head = self._look()
        if head is not None:
            yield from map(self.made, catalogue.newest_first(self._objects, head))

    def count(self) -> int:
        """Return how many there are."""
        head = self._look()
        return 0 if head is None else len(head.checkpoints) + sum(page.count for page in head.pages)

    def usage(self) -> list[CheckpointUsage]:
        """Return what each checkpoint takes, newest first. Reads every manifest.

        Raises:
            CorruptionError: A manifest can't be read.
        """
        head = self._look()
        if head is None:
            return []
        found = [
            (self.made(entry), self._manifests.read(entry).packs())
            for entry in catalogue.newest_first(self._objects, head)
        ]
        users: dict[str, int] = {}
        for _, packs in found:
            for key in packs:
                users[key] = users.get(key, 0) + 1
        return [
            CheckpointUsage(
                checkpoint,
                sum(use.used_bytes for use in packs.values()),
                sum(use.pack.pack_bytes for key, use in packs.items() if users[key] == 1),
            )
            for checkpoint, packs in found
        ]

    def made(
        self, entry: CheckpointEntry, manifest: Manifest | None = None, *, skipped: Iterable[CorruptionError] = ()
    ) -> Checkpoint:
        """Return a checkpoint of the head as a caller gets it."""
        made = Checkpoint(entry, self._manifests.read, self._is_there, self._objects.where, skipped=tuple(skipped))
        if manifest is not None:
            made.manifest = manifest
        return made

    # -- within ---------------------------------------------------------------------------------

    def _load_sound(self, load: Callable[[Checkpoint], Any]) -> tuple[Any, Checkpoint] | None:
        last: CorruptionError | None = None
        skipped: list[CorruptionError] = []
        for checkpoint in self.sound():
            try:
                state = load(checkpoint)
            except CorruptionError as error:
                last = error
                skipped += [*checkpoint.skipped, error]
                warn(checkpoint.id, error)
            else:
                checkpoint.skipped = (*skipped, *checkpoint.skipped)
                return state, checkpoint
        if last is not None:
            raise last
        return None

    def _too_slow(self) -> ArchiveUnavailableError:
        return ArchiveUnavailableError(
            f"{self._objects.where}: its checkpoints are deleted before they are read, each time: retry"
        )

    def _is_there(self, entry: CheckpointEntry) -> bool:
        """Whether a checkpoint that was seen to be damaged is there still; if so, nothing is saved on top of it."""
        head = self._look()
        is_there = head is not None and catalogue.find(self._objects, head, entry.place) is not None
        if is_there:
            self._manifests.note_damage(entry)
        return is_there

    def _look(self) -> Head | None:
        """Return the newest head, None if there is none."""
        with self._guard:
            self._head = newest_head(self._objects, self._head)
            return self._head


def warn(which: str, error: CorruptionError) -> None:
    """Say that a checkpoint is passed over."""
    text = f"checkpoint {which} is damaged and passed over: {error}"
    warnings.warn(text, DamagedCheckpointWarning, stacklevel=callers_level())
