"""What to keep: which checkpoints stay, given all of them or the latest of them.

Pure. Rules are joined by "or": a checkpoint stays if any of them wants it. The
newest stays whatever they say, and so does one with a name, until it is
deleted by name.

Times are labels that a writer's clock made. Ages are therefore told against the newest
checkpoint's label, not against now, and after a jump of a clock a save lets at
most `LEAVING_MAX` checkpoints go.

Asked about the latest checkpoints only, the answer is never a wrong one to let
go: who is among the last, the best or the first of its interval among all is
it among some, too. So a save asks about those that stand in the head.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from journalkit.errors import KeyTypeError, KeyValueError
from journalkit.format.head import CheckpointEntry
from journalkit.options import Duration, seconds

LEAVING_MAX: Final = 2
"""How many checkpoints one save lets go: each adds one, so that twice as many get a backlog done."""

_MODES: Final = ("min", "max")


@dataclass(frozen=True, slots=True)
class Best:
    """Keep the `count` checkpoints with the best value of a metric; ties go to the newer one.

    Args:
        metric: Its name in `metrics=`. A checkpoint without it, or where it is NaN, isn't among the best.
        count: How many.
        mode: Whether the least ("min", a loss) or the greatest ("max", an accuracy) is best.
    """

    metric: str
    count: int = 1
    mode: Literal["min", "max"] = "min"

    def __post_init__(self) -> None:
        """Refuse what makes no sense. Raises UsageError."""
        if not isinstance(self.metric, str):
            raise KeyTypeError(f"metric={self.metric!r} is no str")
        if self.mode not in _MODES:
            raise KeyValueError(f"mode={self.mode!r} is none of {', '.join(_MODES)}")
        _check_count(self.count, "count")


@dataclass(frozen=True, slots=True)
class Keep:
    """Which checkpoints stay. Those with a name always do, and the newest.

    Example:
        The last five; beyond them one an hour for a day and one a day for a month; and the three of least loss:

            Keep(last=5, every={3600: timedelta(days=1), timedelta(days=1): timedelta(days=30)}, best=Best("loss", 3))

    Args:
        last: The newest so many.
        every: For each interval how far back the newest checkpoint of each such interval stays, told from the
            newest checkpoint; seconds or timedeltas. Intervals begin at 1970-01-01T00:00Z.
        best: The best by a metric, or by several.
    """

    last: int = 1
    every: Mapping[Duration, Duration] = field(default_factory=dict)
    best: Best | Sequence[Best] = ()

    def __post_init__(self) -> None:
        """Refuse what makes no sense. Raises UsageError."""
        _check_count(self.last, "last")
        if not isinstance(self.every, Mapping):
            raise KeyTypeError(f"every={self.every!r} maps no intervals to how far back they reach")
        for interval, within in self.every.items():
            if not 0 < seconds(interval, "every") < math.inf or not seconds(within, "every") > 0:
                raise KeyValueError(f"every={{{interval!r}: {within!r}}} is no interval for a time")
        if not all(isinstance(best, Best) for best in self._bests):
            raise KeyTypeError(f"best={self.best!r} is neither a Best nor several")

    @property
    def _bests(self) -> tuple[Best, ...]:
        return (self.best,) if isinstance(self.best, Best) else tuple(self.best)

    def leaving(self, entries: Iterable[CheckpointEntry]) -> list[CheckpointEntry]:
        """Return those that needn't stay, oldest first.

        Args:
            entries: All checkpoints, or the latest of them without a gap; newest first.

        Complexity:
            O(n log n) of those given.
        """
        newest_first = list(entries)
        staying = {entry.place for entry in newest_first[: self.last]}
        staying |= {entry.place for entry in newest_first if entry.name}
        for interval, within in self.every.items():
            staying |= _spaced(newest_first, seconds(interval, "every"), seconds(within, "every"))
        for best in self._bests:
            staying |= _best(newest_first, best)
        return [entry for entry in reversed(newest_first) if entry.place not in staying]


def _spaced(newest_first: Sequence[CheckpointEntry], interval_s: float, within_s: float) -> set[tuple[int, int]]:
    """Return the newest of each interval, back to the age asked for."""
    found: dict[int, CheckpointEntry] = {}
    for entry in newest_first:
        age_s = (newest_first[0].time_us - entry.time_us) / 1e6
        if age_s <= within_s:
            found.setdefault(math.floor(entry.time_us / 1e6 / interval_s), entry)
    return {entry.place for entry in found.values()}


def _best(newest_first: Sequence[CheckpointEntry], best: Best) -> set[tuple[int, int]]:
    sign = 1 if best.mode == "min" else -1
    measured = [entry for entry in newest_first if not math.isnan(entry.metrics.get(best.metric, math.nan))]
    # A stable sort: among equals the newer one comes first.
    measured.sort(key=lambda entry: sign * entry.metrics[best.metric])
    return {entry.place for entry in measured[: best.count]}


def _check_count(count: object, name: str) -> None:
    if isinstance(count, bool) or not isinstance(count, int):
        raise KeyTypeError(f"{name}={count!r} is not a whole number")
    if count < 1:
        raise KeyValueError(f"{name}={count!r}: one at least")
