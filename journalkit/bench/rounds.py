"""Rounds: every contender in turn, and the ratios within each round.

Who goes first changes from round to round, and the direction too, so that a
machine that slows down or warms up does so for all. A ratio compares two
figures of the same round only.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from journalkit.bench.engine import BenchError, MissingError
from journalkit.errors import JournalError

Run: TypeAlias = Callable[[int], float]
"""Does the work of one round, whose number it is given, and returns the figure: less is better. 0 is the warm-up."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Who takes part. `counts` says whether a goal against the best peer means this one too."""

    name: str
    run: Run
    settings: str = ""
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and the middle half around it."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Missing:
    """Who didn't take part, or stopped, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What one contender did; `ratio` is its figure through ours, above 1 where ours is the better one."""

    name: str
    settings: str
    counts: bool
    figure: Spread
    ratio: Spread


@dataclass(frozen=True, slots=True)
class Contest:
    """What the rounds gave: ours first, then the others."""

    ours: Figures
    others: tuple[Figures, ...]
    dropped: tuple[Missing, ...]
    rounds: int


def contest(ours: Contender, others: Sequence[Contender], rounds: int, *, warm_up: bool = True) -> Contest:
    """Run all `rounds` times in turn, after a warm-up that isn't counted.

    A peer that fails is dropped and named; journalkit that fails raises, and so does a wrong answer.
    """
    everyone = [ours, *others]
    figures: dict[str, list[float]] = {contender.name: [] for contender in everyone}
    if len(figures) != len(everyone):
        raise ValueError("two contenders of one name")
    dropped: list[Missing] = []
    with _out_of_the_collectors_way():
        _take_turns(ours, everyone, figures, dropped, range(0 if warm_up else 1, rounds + 1))
    own = figures[ours.name]
    return Contest(
        ours=_figures(ours, own, own),
        others=tuple(_figures(other, figures[other.name], own) for other in everyone[1:]),
        dropped=tuple(dropped),
        rounds=rounds,
    )


def _take_turns(
    ours: Contender, everyone: list[Contender], figures: dict[str, list[float]], dropped: list[Missing], numbers: range
) -> None:
    """Run the rounds; who fails moves from `everyone` to `dropped`."""
    for number in numbers:
        for contender in order(everyone, number):
            try:
                figure = contender.run(number)
            except (BenchError, MemoryError):
                raise
            except Exception as error:  # a peer's errors are of any class
                if contender is ours:
                    raise
                dropped.append(Missing(contender.name, reason(error)))
                everyone.remove(contender)
                continue
            if number:
                figures[contender.name].append(figure)


@contextmanager
def _out_of_the_collectors_way() -> Iterator[None]:
    """Keep what is there now, data of the bench and other contenders' objects, from being walked on a contender's time.

    What contenders make themselves is collected as ever. What was frozen before stays frozen, and all else with it:
    the collector can't tell them apart.
    """
    was_frozen = gc.get_freeze_count() > 0
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        if not was_frozen:
            gc.unfreeze()


def order(everyone: Sequence[Contender], number: int) -> list[Contender]:
    """Return who runs when in a round: the first one moves on each time, every other round goes backwards."""
    first = number // 2 % len(everyone)
    turned = [*everyone[first:], *everyone[:first]]
    return turned[::-1] if number % 2 else turned


def reason(error: BaseException) -> str:
    """Return in one line why a contender dropped out."""
    if isinstance(error, MissingError | JournalError):
        return str(error)
    return f"it failed: {type(error).__name__}: {error}"


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles' neighbours that were measured."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return Spread(statistics.median(ordered), ordered[quarter], ordered[-1 - quarter])


def timed(work: Callable[[], object], operations: int) -> float:
    """Return the seconds per operation of one run of `work`."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) / operations


def _figures(contender: Contender, values: Sequence[float], ours: Sequence[float]) -> Figures:
    ratios = [value / own for value, own in zip(values, ours, strict=True)]
    return Figures(contender.name, contender.settings, contender.counts, spread(values), spread(ratios))
