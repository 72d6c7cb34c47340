"""Batches: sorted entries many at a time, as scans go through layers.

A batch is a stretch of one layer in key order, whichever way the scan goes:
one that runs in reverse takes batches from the end and turns each round. The
first batch of a scan is as large as who scans has said, later ones grow.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, Protocol, TypeAlias

from journalkit.format.block import Entry
from journalkit.format.codec import Codec
from journalkit.format.columns import Columns
from journalkit.types import Key

FIRST_ENTRIES: Final = 16
GROWTH: Final = 8
LARGEST_ENTRIES: Final = 1024


class Batch(Protocol):
    """At least one entry."""

    def columns(self) -> Columns:
        """Return the entries, encoded, in key order."""
        ...

    def items(self, codec: Codec) -> list[tuple[Key, bytes]] | None:
        """Return keys and values, decoded, in key order, if that is quick for all of them; else None."""
        ...


class ColumnsBatch:
    """Entries that are apart already."""

    __slots__ = ("_columns",)

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def columns(self) -> Columns:
        """As `Batch.columns`."""
        return self._columns

    def items(self, _codec: Codec) -> None:
        """As `Batch.items`."""
        return


Batches: TypeAlias = Iterator[Batch]


def sizes(first_entries: int) -> Iterator[int]:
    """Yield how many entries a scan's next batch should have at most, without end."""
    size = min(max(first_entries, 1), LARGEST_ENTRIES)
    while True:
        yield size
        size = min(size * GROWTH, LARGEST_ENTRIES)


def entries_of(batches: Batches, *, reverse: bool) -> Iterator[Entry]:
    """Yield the entries of batches one by one."""
    for batch in batches:
        keys, values = batch.columns()
        pairs = zip(keys, values, strict=True)
        yield from reversed(list(pairs)) if reverse else pairs


def merge_batches(layers: Sequence[Batches], *, reverse: bool = False) -> Batches:
    """Yield each key once, in order, with what the newest layer says; tombstones included.

    Args:
        layers: Newest first, each in key order, all in the direction asked for.
        reverse: The layers' batches descend, and so do the result's.

    Complexity:
        O(1) an entry where one layer speaks, O(log n) at the speed of C where several do; one batch of each in hand.
    """
    if len(layers) == 1:
        yield from layers[0]
        return
    rests = list(layers)
    hands: list[Columns] = [Columns([], []) for _ in rests]
    while True:
        for at in reversed(range(len(rests))):
            if hands[at].keys:
                continue
            batch = next(rests[at], None)
            if batch is None:
                del rests[at], hands[at]
            else:
                hands[at] = batch.columns()
        if len(rests) < 2:
            break
        yield _settled(hands, reverse=reverse)
    for hand, rest in zip(hands, rests, strict=True):
        yield ColumnsBatch(hand)
        yield from rest


def _settled(hands: list[Columns], *, reverse: bool) -> ColumnsBatch:
    """Take from each hand what no later batch can come before, and return it merged."""
    bound = max(hand.keys[0] for hand in hands) if reverse else min(hand.keys[-1] for hand in hands)
    taken: list[Columns] = []
    for at, (keys, values) in enumerate(hands):
        cut = bisect_left(keys, bound) if reverse else bisect_right(keys, bound)
        below, above = Columns(keys[:cut], values[:cut]), Columns(keys[cut:], values[cut:])
        part, hands[at] = (above, below) if reverse else (below, above)
        if part.keys:
            taken.append(part)
    if len(taken) == 1:
        return ColumnsBatch(taken[0])
    merged: dict[bytes, bytes | None] = {}
    for keys, values in reversed(taken):
        merged.update(zip(keys, values, strict=True))
    keys = sorted(merged)
    return ColumnsBatch(Columns(keys, list(map(merged.__getitem__, keys))))
