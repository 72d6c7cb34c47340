"""Sorted layers merged: what a reader sees through them, and a new table from them.

Layers speak of the same keys at different times; the newest that speaks of a
key decides. A tombstone is an answer, not a silence: it hides what older
layers say, and may be forgotten only where no older layer is left.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import TypeVar

from journalkit.format.block import Block, Entry
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter

_Said = TypeVar("_Said")

STEP_ENTRIES = 1024
"""How many changes a fold holds at a time, and how often it pauses among them."""


def merge_entries(
    layers: Sequence[Iterator[tuple[bytes, _Said]]], *, reverse: bool = False
) -> Iterator[tuple[bytes, _Said]]:
    """Yield each key once, in order, with what the newest layer says; tombstones (None) included.

    Args:
        layers: Newest first, each in strict key order, all in the direction asked for.
        reverse: The layers descend, and so does the result.

    Complexity:
        O(log len(layers)) an entry; a single layer passes through as it is.
    """
    if len(layers) == 1:
        yield from layers[0]
        return
    previous: bytes | None = None
    # heapq.merge is stable: of equal keys, the newest layer's comes first.
    for entry in heapq.merge(*layers, key=itemgetter(0), reverse=reverse):
        key = entry[0]
        if key != previous:
            previous = key
            yield entry


def fold(
    writer: TableWriter,
    overlay: Iterable[Entry],
    base: Table | None,
    *,
    drop_tombstones: bool,
    step: Callable[[], None] | None = None,
) -> None:
    """Write the base as the overlay changes it. The caller finishes the writer, or aborts it.

    A block of the base in whose range nothing changed is checked and copied
    unparsed. Nothing is guessed over damage: a bad block ends the fold.

    Args:
        writer: Takes the entries.
        overlay: What changed since the base, newest state, in strict key order.
        base: The table underneath, or None.
        drop_tombstones: Forget deletions: right only if no older layer lies under the result.
        step: Called at least once a block or thousand entries. May sleep, to throttle, or raise, to cancel.

    Raises:
        CorruptionError: A block of the base is damaged; abort the writer.
        OSError: As it comes; abort the writer.

    Complexity:
        O(overlay + size of the base); memory for one block.
    """
    pause = step or _go_on
    changes = _Changes(overlay)
    for block in base.blocks() if base is not None else ():
        pause()
        entry = block.entry
        while below := changes.take(below=entry.first):
            writer.add_all(_kept(below, drop_tombstones))
            pause()
        if not changes.touch(entry.last) and not (drop_tombstones and entry.tombstone_count):
            body, stored = block.bodies()
            writer.add_block(body, entry, block.filter_part(), stored=stored)
            continue
        for merged in _merged(block.entries(), changes, entry.last):
            writer.add_all(_kept(merged, drop_tombstones))
            pause()
    while rest := changes.take():
        writer.add_all(_kept(rest, drop_tombstones))
        pause()


class _Changes:
    """The overlay, taken in bounded runs."""

    __slots__ = ("_in_hand", "_rest")

    def __init__(self, overlay: Iterable[Entry]) -> None:
        self._rest = iter(overlay)
        self._in_hand = next(self._rest, None)

    def touch(self, last: bytes) -> bool:
        """Whether the change in hand is at or below `last`."""
        return self._in_hand is not None and self._in_hand[0] <= last

    def take(self, *, below: bytes | None = None) -> list[Entry]:
        """Return the changes below a key, at most `STEP_ENTRIES` of them; all that are left if it is None."""
        taken: list[Entry] = []
        change = self._in_hand
        while change is not None and (below is None or change[0] < below) and len(taken) < STEP_ENTRIES:
            taken.append(change)
            change = next(self._rest, None)
        self._in_hand = change
        return taken


def _merged(block: Block, changes: _Changes, last: bytes) -> Iterator[Iterable[Entry]]:
    """Yield a block's entries as the changes up to its last key have them, in runs."""
    just_above = last + b"\0"
    while len(taken := changes.take(below=just_above)) == STEP_ENTRIES:
        # More changes than we want to hold: settle the block up to the last of them.
        bound = taken[-1][0]
        settled = {key: value for key, value in block.items() if key <= bound}
        block = {key: value for key, value in block.items() if key > bound}
        yield _applied(settled, taken)
    yield _applied(block, taken)


def _applied(block: Block, taken: list[Entry]) -> Iterable[Entry]:
    count = len(block)
    block.update(taken)
    # Keys that were there keep their places; only new ones ask for sorting. Keys differ, so values don't compare.
    return block.items() if len(block) == count else sorted(block.items())


def _kept(entries: Iterable[Entry], drop_tombstones: bool) -> Iterable[Entry]:
    return [entry for entry in entries if entry[1] is not None] if drop_tombstones else entries


def _go_on() -> None:
    """Neither throttle nor cancel."""
