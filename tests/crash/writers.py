"""What the killed process writes, and what must be found of it afterwards.

Each of a few threads commits its own numbers, 1, 2, 3, ...; what a commit
holds follows from thread and number alone. So the state of a store follows
from one number a thread, and a lost, repeated, reordered or mixed-up commit
shows in it.
"""

from __future__ import annotations

from typing import Any

import journalkit

THREADS = 3
SLOTS = 500
_FILLER = bytes(range(256)) * 2


def changes_of(thread: int, number: int) -> list[tuple[Any, Any]]:
    """Return what a commit does: keys, each with its value, or ABSENT for a deletion."""
    changes: list[tuple[Any, Any]] = [
        (("count", thread), number),
        (("slot", thread, number * 7 % SLOTS), (number, _FILLER[: number * 37 % 300])),
    ]
    if number % 5 == 0:
        changes.append((("slot", thread, number * 11 % SLOTS), journalkit.ABSENT))
    if number % 9 == 0:
        changes.append((("rare", thread, number // 9 % 40), "x" * (number % 50)))
    return changes


def batch_of(thread: int, number: int) -> journalkit.Batch:
    """Return a commit as a batch."""
    batch = journalkit.Batch()
    for key, value in changes_of(thread, number):
        if value is journalkit.ABSENT:
            batch.delete(key)
        else:
            batch.put(key, value)
    batch.offsets[f"thread {thread}"] = number
    return batch


class Model:
    """The state that a store must have, kept beside it."""

    def __init__(self) -> None:
        self.state: dict[Any, Any] = {}
        self.counts = [0] * THREADS

    def advance(self, counts: list[int]) -> None:
        """Carry out each thread's commits up to these numbers."""
        for thread, count in enumerate(counts):
            for number in range(self.counts[thread] + 1, count + 1):
                for key, value in changes_of(thread, number):
                    if value is journalkit.ABSENT:
                        self.state.pop(key, None)
                    else:
                        self.state[key] = value
        self.counts = list(counts)


def counts_in(store: journalkit.Store) -> list[int]:
    """Return each thread's last number."""
    return [store.get(("count", thread), 0) for thread in range(THREADS)]


def complaints(store: journalkit.Store, model: Model, least: list[int], most: list[int]) -> list[str]:
    """Return what is wrong with a store after a kill, and bring the model up to it.

    `least` are the numbers that were acknowledged, `most` those that may have
    been submitted.
    """
    counts = counts_in(store)
    found = [
        f"thread {thread}: {count} was found, {low} acknowledged, {high} submitted"
        for thread, (low, count, high) in enumerate(zip(least, counts, most, strict=True))
        if not low <= count <= high
    ]
    if found:
        return found
    model.advance(counts)
    if store.lsn != sum(counts):
        found.append(f"LSN {store.lsn} after {sum(counts)} commits: some are missing, or there twice")
    offsets = {f"thread {thread}": count for thread, count in enumerate(counts) if count}
    if dict(store.offsets) != offsets:
        found.append(f"offsets {dict(store.offsets)} beside counts {counts}")
    if (state := dict(store)) != model.state:
        wrong = [key for key in state.keys() | model.state.keys() if state.get(key) != model.state.get(key)]
        found.append(f"{len(wrong)} keys are not what the commits made them, {wrong[0]!r} among them")
    return found
