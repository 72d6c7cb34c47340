"""A store at one moment, for journalkit's own layers: what a checkpoint saves of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from journalkit.format.manifest import Manifest
from journalkit.store.layers import Frozen


@dataclass(frozen=True, slots=True)
class Moment:
    """The state at one LSN, encoded, and what the store's manifest says. It keeps the memory and files it needs.

    No table of the state has a number that the manifest doesn't know.
    """

    state: Frozen
    manifest: Manifest


class Momentary(ABC):
    """What can say how a store is at a moment: a store, or a view of it, under asyncio too."""

    __slots__ = ()

    @abstractmethod
    def moment(self) -> Moment:
        """Return it as it is now. O(1).

        Raises:
            ClosedError, ForkedError: It is of no more use.
            UsageError: Its time hasn't come: a view that wasn't taken, a store that isn't open yet.
        """
