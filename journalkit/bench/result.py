"""What the bench reports: rows with their goals, and how a goal is judged.

Nothing here measures. A row whose contenders didn't all take part says who
was missing; a row without a figure is "not measured", never met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from journalkit.bench.rounds import Contest, Figures, Missing, Spread

BEST_PEER: Final = "best peer"
Verdict: TypeAlias = Literal["met", "SHORT", "not measured", "no goal"]
Unit: TypeAlias = Literal["s", "bytes", "times"]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row's figure has to be: at least, or at most, so many times."""

    times: float
    at_most: bool = False

    def holds(self, figure: float) -> bool:
        """Whether a figure reaches the goal."""
        return figure <= self.times if self.at_most else figure >= self.times

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.times:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result.

    Attributes:
        name: What selects it on the command line.
        what: What was measured, for people.
        against: Whom the goal compares with; "best peer" is the best of those that count.
        goal: None for a row that only informs.
        contest: The figures; None if nothing was measured.
        missing: Who didn't take part, and why.
        durability: What each write of it survives; "" where nothing is written.
        unit: What the contenders' figures are, per operation.
        note: What one has to know to read it.
    """

    name: str
    what: str
    against: str
    goal: Goal | None
    contest: Contest | None
    missing: tuple[Missing, ...] = ()
    durability: str = ""
    unit: Unit = "s"
    note: str = ""

    @property
    def rival(self) -> Figures | None:
        """The one that the verdict is about: the one that `against` names, else the best of those that count."""
        if self.contest is None:
            return None
        named = [other for other in self.contest.others if other.name == self.against]
        rivals = named or [other for other in self.contest.others if other.counts]
        return min(rivals, key=_by_ratio, default=None)

    @property
    def ratio(self) -> Spread | None:
        """How many times better ours is; for an "at most" goal how many times the other's figure ours is."""
        rival = self.rival
        if rival is None:
            return None
        ratio = rival.ratio
        if self.goal is None or not self.goal.at_most:
            return ratio
        return Spread(*(1 / part if part else float("inf") for part in (ratio.median, ratio.high, ratio.low)))

    @property
    def verdict(self) -> Verdict:
        """Whether the goal is reached."""
        ratio = self.ratio
        if ratio is None:
            return "not measured"
        if self.goal is None:
            return "no goal"
        return "met" if self.goal.holds(ratio.median) else "SHORT"

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None if there is none, or nothing was measured."""
        return {"met": True, "SHORT": False}.get(self.verdict)


def _by_ratio(figures: Figures) -> float:
    return figures.ratio.median
