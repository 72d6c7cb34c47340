"""Which packs somebody needs, counted as checkpoints come and go: so that a save knows at once what nobody needs.

The checkpoints that there were when the writer began are learned some at a
time, since each takes a request; until all are known nothing can be said. A
checkpoint that somebody else has taken away goes on being counted: its packs
stay until a prune looks at everything.

For one thread at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from journalkit.checkpoint.catalogue import Place
from journalkit.checkpoint.sweeping import Needs
from journalkit.format.head import CheckpointEntry


class Needed:
    """Counts needs. `there` yields every checkpoint that is in the newest head, in the trash as well."""

    def __init__(self, needs: Needs, there: Callable[[], Iterable[CheckpointEntry]]) -> None:
        self._needs = needs
        self._there = there
        self._waiting: Iterator[CheckpointEntry] | None = None
        self._packs: dict[Place, frozenset[str]] = {}
        self._count: Counter[str] = Counter()
        self.is_complete = False

    def learn(self, most: int) -> bool:
        """Learn at most so many more of those that there were; return whether all are known.

        Raises:
            JournalError: One can't be read. The next call begins anew, and passes over those that it knows.
        """
        if self.is_complete:
            return True
        if self._waiting is None:
            self._waiting = iter(self._there())
        waiting, self._waiting = self._waiting, None
        unknown = (entry for entry in waiting if entry.place not in self._packs)
        learned = 0
        for entry in islice(unknown, most):
            self.add(entry)
            learned += 1
        self._waiting = waiting
        self.is_complete = learned < most
        return self.is_complete

    def add(self, entry: CheckpointEntry) -> None:
        """Count a checkpoint. Raises as `Needs`."""
        if entry.place not in self._packs:
            packs = frozenset(self._needs(entry))
            self._packs[entry.place] = packs
            self._count.update(packs)

    def drop(self, entry: CheckpointEntry) -> list[str]:
        """Count a checkpoint no more; return the packs that nobody needs now, once all are known."""
        packs = self._packs.pop(entry.place, frozenset())
        self._count.subtract(packs)
        alone = sorted(key for key in packs if not self._count[key])
        for key in alone:
            del self._count[key]
        return alone
