"""Rounds: two contenders in turn, and the ratio of each round.

Which one goes first changes from round to round, so that a machine that slows
down or warms up does so for both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Run: TypeAlias = Callable[[], float]
"""Does the work once and returns seconds per operation."""


@dataclass(frozen=True, slots=True)
class Duel:
    """What the rounds gave: medians in seconds per operation, and ratios other / ours, higher is better for us."""

    ours_s: float
    other_s: float
    ratio: float
    ratio_low: float
    ratio_high: float
    rounds: int


def duel(ours: Run, other: Run, rounds: int) -> Duel:
    """Run both `rounds` times in turn, after one warm-up that isn't counted."""
    ours()
    other()
    pairs: list[tuple[float, float]] = []
    for number in range(rounds):
        if number % 2:
            other_s = other()
            ours_s = ours()
        else:
            ours_s = ours()
            other_s = other()
        pairs.append((ours_s, other_s))
    ratios = sorted(other_s / ours_s for ours_s, other_s in pairs)
    quarter = len(ratios) // 4
    return Duel(
        ours_s=statistics.median(ours_s for ours_s, _ in pairs),
        other_s=statistics.median(other_s for _, other_s in pairs),
        ratio=statistics.median(ratios),
        ratio_low=ratios[quarter],
        ratio_high=ratios[-1 - quarter],
        rounds=rounds,
    )


def timed(work: Callable[[], object], operations: int) -> float:
    """Return the seconds per operation of one run of `work`."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) / operations
