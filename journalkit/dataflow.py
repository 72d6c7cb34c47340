"""Consistent cuts of a dataflow: barriers between messages that carry the number of a checkpoint from stage to stage.

Sources put `Barrier(n)` between two messages. A stage captures its state where
barrier n has come by all its inputs, and sends it on, so the states of all
stages together are of one moment: what came before the barriers is in them,
and nothing that came behind (after Chandy and Lamport, 1985; barriers as in
Carbone and others, "Lightweight Asynchronous Snapshots for Distributed
Dataflows", 2015).

    aligned     an input by which the barrier came waits until it came by all others
    unaligned   nothing waits: the state is captured at the first barrier, and what comes before the others is logged

Nothing here talks to anybody: what carries messages is the application's, as
long as each channel keeps their order.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from journalkit.errors import KeyTypeError, KeyValueError


@dataclass(frozen=True, slots=True)
class Barrier:
    """Stands between messages: what is before it belongs to checkpoint `number`, what is behind it doesn't."""

    number: int


@dataclass(frozen=True, slots=True)
class Message:
    """Process this now."""

    channel: Hashable
    value: Any


@dataclass(frozen=True, slots=True)
class Begin:
    """Capture the state as it is now, and send `Barrier(number)` on, before anything else is processed."""

    number: int


@dataclass(frozen=True, slots=True)
class End:
    """Save what was captured, and `in_flight` with it: pairs of channel and message.

    They are to be processed first when the state is loaded again.
    """

    number: int
    in_flight: tuple[tuple[Hashable, Any], ...]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Throw away what was captured for `number`, if anything was: a later barrier came first."""

    number: int


_CLOSED: Final = object()
"""Stands behind the last message of a channel that was closed."""

Event: TypeAlias = Message | Begin | End | GivenUp


class Alignment:
    """One stage's inputs. For one thread.

    Args:
        channels: The inputs, each by a name of its own.
        aligned: Whether inputs wait for each other at a barrier. It costs latency where one is slow; not to wait
            costs the bytes of what is logged.
        held_max: With `aligned`, how many messages wait at most: if there are more, this one cut goes on unaligned.
    """

    def __init__(self, channels: Iterable[Hashable], *, aligned: bool = True, held_max: int | None = None) -> None:
        self._open = dict.fromkeys(channels)
        if not self._open:
            raise KeyValueError("a stage without channels has nothing to align")
        if held_max is not None and (isinstance(held_max, bool) or not isinstance(held_max, int)):
            raise KeyTypeError(f"held_max={held_max!r} is not a whole number")
        self._is_aligned = aligned
        self._held_max = held_max
        self._closing: set[Hashable] = set()
        self._number = 0
        self._is_under_way = False
        self._is_begun = False
        self._passed: set[Hashable] = set()
        self._held: deque[tuple[Hashable, Any]] = deque()
        self._held_by: Counter[Hashable] = Counter()
        self._log: list[tuple[Hashable, Any]] = []
        self._ready: deque[Event] = deque()

    @property
    def held(self) -> int:
        """How many messages and barriers wait for a barrier of another channel."""
        return len(self._held)

    def receive(self, channel: Hashable, item: Any) -> Iterator[Event]:
        """Take what came by a channel, a message or a `Barrier`; yield what to do, in this order.

        Do each before asking for the next. What isn't asked for, since something was raised in between, comes first
        at the next call. Barriers of one channel have numbers that rise; one of a number that was ended or given up
        already is passed over.

        Raises:
            UsageError: There is no such channel, or it was closed; or a barrier has no number from 1 on.

        Complexity:
            O(1), and for the barrier that ends a cut O(messages that waited).
        """
        self._check(channel, item)
        if self._is_waiting(channel, item):
            self._hold(channel, item)
            is_too_much = self._held_max is not None and len(self._held) > self._held_max
            if is_too_much and not self._is_begun:
                self._begin()
                self._release()
        else:
            self._take(channel, item)
        return self._to_do()

    def close(self, channel: Hashable) -> Iterator[Event]:
        """Take note that a channel has ended: no barrier waits for it any more; yield what to do, as `receive`.

        What it had sent before and waits comes first, and belongs to the cuts to which it belongs.
        """
        self._check(channel, None)
        self._closing.add(channel)
        if self._is_waiting(channel, _CLOSED):
            self._hold(channel, _CLOSED)
        else:
            self._take(channel, _CLOSED)
        return self._to_do()

    # -- within ---------------------------------------------------------------------------------

    def _to_do(self) -> Iterator[Event]:
        while self._ready:
            yield self._ready.popleft()

    def _check(self, channel: Hashable, item: Any) -> None:
        if channel not in self._open or channel in self._closing:
            raise KeyValueError(f"channel {channel!r:.50} isn't one of {list(self._open)!r:.200}, or was closed")
        if isinstance(item, Barrier) and (type(item.number) is not int or item.number < 1):
            raise KeyValueError(f"{item!r}: checkpoints are numbered from 1")

    def _is_waiting(self, channel: Hashable, item: Any) -> bool:
        """Whether it waits: behind a barrier that others lack, or behind what waits itself."""
        if self._held_by[channel]:
            return True
        if not self._is_under_way or channel not in self._passed:
            return False
        # Of an unaligned cut only the next one's barrier waits.
        return not self._is_begun or (isinstance(item, Barrier) and item.number > self._number)

    def _hold(self, channel: Hashable, item: Any) -> None:
        self._held.append((channel, item))
        self._held_by[channel] += 1

    def _take(self, channel: Hashable, item: Any) -> None:
        if item is _CLOSED:
            del self._open[channel]
            self._look()
            return
        if not isinstance(item, Barrier):
            if self._is_begun and channel not in self._passed:
                self._log.append((channel, item))
            self._ready.append(Message(channel, item))
            return
        while item.number > self._number and self._is_under_way:
            self._give_up()  # and what has waited may begin another one, this one, or a later one
        if item.number > self._number:
            self._number, self._is_under_way, self._passed = item.number, True, set()
        elif item.number < self._number or not self._is_under_way:
            return
        self._passed.add(channel)
        if not self._is_aligned and not self._is_begun:
            self._begin()
        self._look()

    def _begin(self) -> None:
        self._is_begun = True
        self._log = []
        self._ready.append(Begin(self._number))

    def _look(self) -> None:
        """End the cut if the barrier came by all channels, and let go on what has waited."""
        if not self._is_under_way or not self._passed >= self._open.keys():
            return
        if not self._is_begun:
            self._begin()
        self._is_under_way = self._is_begun = False
        self._ready.append(End(self._number, tuple(self._log)))
        self._release()

    def _give_up(self) -> None:
        self._is_under_way = self._is_begun = False
        self._ready.append(GivenUp(self._number))
        self._release()

    def _release(self) -> None:
        """Take what has waited, in the order in which it came; behind the next barriers in it some goes on waiting."""
        waiting, self._held, self._held_by = self._held, deque(), Counter()
        for channel, item in waiting:
            if self._is_waiting(channel, item):
                self._hold(channel, item)
            else:
                self._take(channel, item)
