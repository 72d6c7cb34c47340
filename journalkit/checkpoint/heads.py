"""Heads: how one writer at a time, on any node, changes which checkpoints there are.

    heads/0000000041   created if absent, never changed
    heads/0000000042   the newest: the highest number. All of the truth is in it

To change anything is to create the next number on top of the newest head. Of
several writers that try a number one gets it; the others look again. What
looking again finds decides, and no clock does:

    newest head is        and it has at our number    so
    the one before ours   -                           not created (yet): the same bytes again
    at our number         our nonce                   won
    at our number         another nonce               lost
    beyond our number     our nonce, as ancestor      won, and others have built on it
    beyond our number     another, as ancestor        lost
    beyond our number     nothing: forgotten          the change says whether it sees itself there

The last rows are for writers that slept: heads are deleted once ten newer ones
are there, so that a sleeper may create a deleted number again. That head is
never the newest, and its writer looks before it believes.

Who lost and finds its own epoch tries again on top; who finds a higher epoch
is fenced, for good.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from journalkit.checkpoint.documents import decoded
from journalkit.clock import Clock
from journalkit.errors import (
    ArchiveUnavailableError,
    ConflictError,
    CorruptionError,
    FencedError,
    JournalError,
    UnknownOutcomeError,
)
from journalkit.format import names
from journalkit.format.head import ANCESTORS_MAX, NONCE_BYTES, Head, decode_head, encode_head
from journalkit.objects.interface import PAGE_MAX, Objects, ReadableObjects

HEADS_KEPT: Final = 10
_LOOKS_MAX: Final = 100
"""A head that is deleted between list and get has ten newer ones: who never gets one is too slow for this place."""
_TRIES_MAX: Final = 1000
"""How often a writer loses to others of its epoch, or to others that begin, before it gives up."""
_CREATES_MAX: Final = 5
_PAUSE_S: Final = 0.05

Change = Callable[[Head], Head | None]
"""Given the newest head returns the one to come: its checkpoints, pages, trash, boundary and writers count, and its
number, nonce, time, epoch and ancestors are set for it. None says that the head has it all. It may be called again."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """The newest head, and the numbers of all there are."""

    head: Head | None
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Settled:
    """The newest head once a number is taken, and the numbers of all there are."""

    head: Head
    numbers: tuple[int, ...]


def newest_head(objects: ReadableObjects, known: Head | None = None) -> Head | None:
    """Return the newest head, None if there is none; `known` itself if nothing is newer.

    One list and one get; one list if nothing is newer.

    Raises:
        CorruptionError: The newest head is damaged. An older one would be loss: nothing is fallen back to.
        UnsupportedFormatError: A later journalkit wrote it.
        ArchiveUnavailableError, StorageError: It can't be read.
    """
    return _look(objects, known).head


class HeadWriter:
    """A writer of one epoch. Threads may share it.

    Made by `begin`, which takes the epoch. `head` is the newest that it knows.
    """

    def __init__(self, objects: Objects, clock: Clock, head: Head) -> None:
        self._objects = objects
        self._clock = clock
        self._guard = threading.Lock()
        self._fenced_by = 0
        self.epoch = head.epoch
        self.head = head

    @classmethod
    def begin(cls, objects: Objects, clock: Clock, *, writers: str = "several") -> HeadWriter:
        """Take the next epoch: whoever had an older one publishes nothing any more.

        Durability:
            The epoch is taken for good once this returns.

        Raises:
            UnknownOutcomeError: Whether the epoch was taken isn't known, and nobody has it: begin again.
            ConflictError: Others kept beginning at the same time. Begin again.
            CorruptionError, UnsupportedFormatError, StorageError, StoreFullError,
            ArchiveUnavailableError: No epoch was taken.
        """
        newest = newest_head(objects)
        for _ in range(_TRIES_MAX):
            base = newest if newest is not None else Head(clock.random_bytes(NONCE_BYTES), 0, 0, b"", 0)
            candidate = _successor(base, replace(base, writers=writers), base.epoch + 1, clock)
            settled = _create(objects, clock, candidate)
            if _is_in(settled, candidate):
                # Looked at once more: a server that checks and writes in two steps may have let another one pass.
                newest = newest_head(objects)
                if newest is not None and newest.nonce_of(candidate.number) == candidate.nonce:
                    _prune(objects, settled.numbers)
                    return cls(objects, clock, candidate)
            else:
                newest = settled.head
        raise ConflictError(f"{objects.where}: others keep beginning to write here: begin again")

    @classmethod
    def join(cls, objects: Objects, clock: Clock) -> HeadWriter | None:
        """Publish in the epoch that there is, beside its writer, who isn't fenced by it; None if there is no head.

        For maintenance: to take checkpoints away. Whoever adds some begins an
        epoch. A new writer's beginning fences this one as well. Raises as `newest_head`.
        """
        newest = newest_head(objects)
        return None if newest is None else cls(objects, clock, newest)

    def publish(self, change: Change) -> Head:
        """Create the next head as `change` makes it of the newest one; return the head that has it.

        Durability:
            What the head says is so once this returns, whatever happens to this process or its machine.

        Raises:
            FencedError: A newer writer has the job. The change isn't in, unless an earlier call said that its
                outcome is unknown. Every later call raises it too.
            UnknownOutcomeError: The change may be in, now or a moment later. Call again with a change that
                knows itself: nothing is published twice.
            ConflictError: Others of this epoch were quicker a thousand times. Nothing was changed.
            CorruptionError, UnsupportedFormatError, StorageError, StoreFullError,
            ArchiveUnavailableError: Nothing was changed.
        """
        with self._guard:
            self._refuse_fenced(self.head)
            for _ in range(_TRIES_MAX):
                wanted = change(self.head)
                if wanted is None:
                    return self.head
                candidate = _successor(self.head, wanted, self.epoch, self._clock)
                settled = _create(self._objects, self._clock, candidate)
                self.head = settled.head
                if _is_in(settled, candidate):
                    _prune(self._objects, settled.numbers)
                    return candidate
                if self.head.nonce_of(candidate.number) is None and change(self.head) is None:
                    # We slept for longer than anybody remembers our number, and the change sees itself.
                    return self.head
                self._refuse_fenced(self.head)
            raise ConflictError(f"{self._objects.where}: others of epoch {self.epoch} keep publishing: try again")

    def refresh(self) -> Head:
        """Return the newest head, and be fenced if it is another writer's. Raises as `publish`; changes nothing."""
        with self._guard:
            head = newest_head(self._objects, self.head)
            self.head = head if head is not None else self.head
            self._refuse_fenced(self.head)
            return self.head

    def refuse_fenced(self) -> None:
        """Raise FencedError if it is known that a newer writer has the job."""
        self._refuse_fenced(self.head)

    def _refuse_fenced(self, newest: Head) -> None:
        self._fenced_by = max(self._fenced_by, newest.epoch)
        if self._fenced_by > self.epoch:
            raise FencedError(
                f"{self._objects.where}: a newer writer has epoch {self._fenced_by}, this one has {self.epoch}: "
                "nothing more was published, close"
            )
        if newest.epoch < self.epoch:
            reason = f"its newest head is of epoch {newest.epoch}, and epoch {self.epoch} had begun: it was set back"
            raise CorruptionError(
                reason, path=self._objects.where, next_step="open it again once you know what is there"
            )


def _successor(base: Head, wanted: Head, epoch: int, clock: Clock) -> Head:
    """Return the head to create on top of another."""
    return replace(
        wanted,
        job=base.job,
        number=base.number + 1,
        epoch=epoch,
        nonce=clock.random_bytes(NONCE_BYTES),
        time_us=clock.wall_us(),
        ancestors=(base.nonce, *base.ancestors)[:ANCESTORS_MAX] if base.number else (),
    )


def _is_in(settled: _Settled, candidate: Head) -> bool:
    """Whether the newest head is the candidate or stands on it."""
    return settled.head.nonce_of(candidate.number) == candidate.nonce


def _create(objects: Objects, clock: Clock, candidate: Head) -> _Settled:
    """Try to create a head until something is at its number or beyond; return what there is then.

    Raises:
        UnknownOutcomeError: Nothing is there, and a request may be on its way.
        JournalError: Whatever else: nothing was created.
    """
    data = encode_head(candidate)
    key = names.head_key(candidate.number)
    unknown: UnknownOutcomeError | None = None
    for turn in range(_CREATES_MAX):
        is_created = False
        try:
            is_created = objects.create(key, data)
        except UnknownOutcomeError as error:
            unknown = error
        except JournalError:
            if unknown is None:
                raise
            # An earlier try may have done it: that this one didn't says nothing about it.
        try:
            looked = _look(objects, None, candidate if is_created else None)
        except JournalError as error:
            # Whatever looking fails with says nothing about what was asked for before.
            if not (is_created or unknown is not None or isinstance(error, ArchiveUnavailableError)):
                raise
            unknown = UnknownOutcomeError(f"{objects.where}: whether {key} was created can't be seen: {error}")
        else:
            if looked.head is not None and looked.head.number >= candidate.number:
                return _Settled(looked.head, looked.numbers)
        clock.sleep(_PAUSE_S * (1 << turn))
    raise unknown or UnknownOutcomeError(f"{objects.where}: {key} was created and isn't listed")


def _look(objects: ReadableObjects, known: Head | None, created: Head | None = None) -> _Looked:
    """List the heads and read the newest, unless it is the one that was just created."""
    for _ in range(_LOOKS_MAX):
        numbers = _numbers(objects, known)
        if not numbers:
            return _Looked(known, ())
        if created is not None and numbers[-1] == created.number:
            return _Looked(created, numbers)
        key = names.head_key(numbers[-1])
        data = objects.get(key)
        if data is not None:
            return _Looked(_read_head(objects, key, data, numbers[-1], known or created), numbers)
    raise ArchiveUnavailableError(f"{objects.where}: its newest head is deleted before it is read, each time: retry")


def _numbers(objects: ReadableObjects, known: Head | None) -> tuple[int, ...]:
    found: list[int] = []
    after = "" if known is None else names.head_key(known.number)
    while True:
        page = objects.list(names.HEADS, after=after, limit=PAGE_MAX)
        found += [number for status in page if (number := names.head_number(status.key)) is not None]
        if len(page) < PAGE_MAX:
            return tuple(found)
        after = page[-1].key


def _read_head(objects: ReadableObjects, key: str, data: bytes, number: int, known: Head | None) -> Head:
    path = f"{objects.where}/{key}"
    step = "restore it from a copy, or begin in a new place"
    head = decoded(decode_head, data, path=path, next_step=step)
    if head.number != number:
        raise CorruptionError(f"it says that it is number {head.number}", path=path, next_step=step)
    # Of the first head of all there may be several candidates, each of a job of its own until one of them is there.
    if known is not None and known.number > 1 and head.job != known.job:
        raise CorruptionError("it belongs to another job", path=path, next_step=step)
    return head


def _prune(objects: Objects, numbers: tuple[int, ...]) -> None:
    """Delete the heads below the last ten. What can't be deleted now is, by a later publish."""
    old = [names.head_key(number) for number in numbers if number <= numbers[-1] - HEADS_KEPT]
    if old:
        with contextlib.suppress(JournalError):
            objects.delete(*old)
