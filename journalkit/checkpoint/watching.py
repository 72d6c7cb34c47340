"""What is published in a place, as it happens: for whoever looks on.

    nothing new      one list of what is behind the head that is known, each interval
    a newer head     that head, and the pages that reach back to what was seen last

What was published and let go again between two looks is found no more. It is
told of as a gap: by the trash where that has it still, else by the number that
is missing, which a save that failed may have had. What the last saves of an
earlier writer were, and whether there were any behind the last that was seen,
nothing says any more once the trash is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, Literal

from journalkit.checkpoint import catalogue
from journalkit.checkpoint.catalogue import Place
from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.checkpoint.heads import newest_head
from journalkit.clock import Clock
from journalkit.errors import ArchiveUnavailableError, CorruptionError
from journalkit.format.head import CheckpointEntry, Head
from journalkit.objects.interface import ReadableObjects

PAUSE_MAX_S: Final = 60.0
"""How long the pauses get at most while the place can't be reached, unless the interval is longer."""
INTERVAL_MAX_S: Final = 86400.0
_DOUBLINGS_MAX: Final = 30
_LOOKS_MAX: Final = 100
"""Who is always too late for a page is too slow for this place just now."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What was seen.

    Attributes:
        kind: "checkpoint": one was published. "epoch": another writer took over. "gap": some aren't there that were
            published and let go, or were never published. "unavailable": the place can't be reached, and is asked
            again; it is said once.
        epoch: The writer's.
        checkpoint: The one that was published.
        first_save, last_save: Of a gap: which saves of the epoch aren't there.
        error: Why the place can't be reached.
    """

    kind: Literal["checkpoint", "epoch", "gap", "unavailable"]
    epoch: int
    checkpoint: Checkpoint | None = None
    first_save: int = 0
    last_save: int = 0
    error: ArchiveUnavailableError | None = None


class Watch:
    """Looks at one place again and again; `epoch` is the last that was seen. For one thread at a time."""

    def __init__(
        self, objects: ReadableObjects, made: Callable[[CheckpointEntry], Checkpoint], after: Place | None
    ) -> None:
        """Begin behind a checkpoint that there is or was; behind the newest if `after` is None.

        Raises as `heads.newest_head`.
        """
        self._objects = objects
        self._made = made
        self._head: Head | None = None
        self._last: Place = (0, 0)
        self.epoch = 0
        if after is not None:
            self._last, self.epoch = after, after[0]
            return
        self._head = newest_head(objects)
        if self._head is not None:
            newest = next(catalogue.newest_first(objects, self._head), None)
            places = [entry.checkpoint.place for entry in self._head.trash]
            self._last = max([*places, *([newest.place] if newest is not None else [])], default=(0, 0))
            self.epoch = self._head.epoch

    def look(self) -> list[Notice]:
        """Return what has happened since the last look. If it raises, nothing was, and the next look has it all.

        Raises:
            CorruptionError, UnsupportedFormatError, ArchiveUnavailableError, StorageError: It can't be told.
        """
        head = newest_head(self._objects, self._head)
        if head is None or head is self._head:
            return []
        head, there = self._there(head)
        gone = {trashed.checkpoint.place for trashed in head.trash if trashed.checkpoint.place > self._last}
        found = list(self._told(there, gone, head.epoch))
        self._head, self.epoch = head, max(self.epoch, head.epoch)
        self._last = max(self._last, *there, *gone) if there or gone else self._last
        return found

    # -- within ---------------------------------------------------------------------------------

    def _there(self, head: Head) -> tuple[Head, dict[Place, CheckpointEntry]]:
        """Return the checkpoints behind the last that was seen, and the head that has them."""
        for _ in range(_LOOKS_MAX):
            entries = catalogue.newest_first(self._objects, head)
            try:
                return head, {
                    entry.place: entry for entry in takewhile(lambda entry: entry.place > self._last, entries)
                }
            except CorruptionError:
                # A page that was swept since the head was read is no damage: a newer head says what is there instead.
                newest = newest_head(self._objects, head)
                if newest is None or newest is head:
                    raise
                head = newest
        raise ArchiveUnavailableError(f"{self._objects.where}: its pages are swept before they are read, each time")

    def _told(self, there: dict[Place, CheckpointEntry], gone: set[Place], newest_epoch: int) -> Iterator[Notice]:
        """Yield what happened, in order."""
        known_epoch = self.epoch
        for epoch in sorted({place[0] for place in (*there, *gone)}):
            if epoch > known_epoch:
                known_epoch = epoch
                yield Notice("epoch", epoch)
            save = self._last[1] if epoch == self._last[0] else 0
            for place in sorted(each for each in there if each[0] == epoch):
                if place[1] > save + 1:
                    yield Notice("gap", epoch, first_save=save + 1, last_save=place[1] - 1)
                yield Notice("checkpoint", epoch, self._made(there[place]))
                save = place[1]
            last = max((each[1] for each in gone if each[0] == epoch), default=0)
            if last > save:
                yield Notice("gap", epoch, first_save=save + 1, last_save=last)
        if newest_epoch > known_epoch:
            yield Notice("epoch", newest_epoch)


def notices(
    watch: Watch,
    clock: Clock,
    *,
    interval_s: float,
    timeout_s: float | None,
    require_open: Callable[[], None],
) -> Iterator[Notice]:
    """Yield what a watch sees, until the time is up. Raises as `Watch.look` and `require_open`."""
    begun_s = clock.monotonic_s()
    failures = 0
    while True:
        require_open()
        try:
            found = watch.look()
            failures = 0
        except ArchiveUnavailableError as error:
            failures += 1
            found = [Notice("unavailable", watch.epoch, error=error)] if failures == 1 else []
        yield from found
        pause_s = min(interval_s * 2 ** min(failures, _DOUBLINGS_MAX), max(interval_s, PAUSE_MAX_S))
        if timeout_s is not None:
            left_s = begun_s + timeout_s - clock.monotonic_s()
            if left_s <= 0:
                return
            pause_s = min(pause_s, left_s)
        clock.sleep(pause_s)
