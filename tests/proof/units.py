"""What a proof is made of: units of work, what each came to, and the goals that their sums have to reach.

A proof is a module of this folder with `GOALS`, `units` and `prove`;
`registry.py` lists them, `runner.py` runs them. Nothing here knows a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

Size: TypeAlias = Literal["ci", "full"]


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a proof that runs alone, in a process of its own, and gives the same result each time.

    Its name is unique within the proof; `arguments` are what JSON can carry.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    timeout_s: float = 300.0


@dataclass(slots=True)
class Outcome:
    """What a unit came to: counts that are summed over units, and what was wrong, readable by itself.

    `skipped` is the reason why this machine can't run it; it counts nothing then.
    `cpu_s` is the processor's time that it took, with that of its children.
    """

    counts: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    skipped: str = ""
    cpu_s: float = 0.0

    def add(self, count: str, number: int = 1) -> None:
        """Count something."""
        self.counts[count] = self.counts.get(count, 0) + number


@dataclass(frozen=True, slots=True)
class Goal:
    """A line of the report: which count it shows, and what a run of each size has to reach; None for no number."""

    count: str
    says: str
    ci: int | None
    full: int | None

    def least(self, size: Size) -> int | None:
        """Return what the count must be at least."""
        return self.ci if size == "ci" else self.full


class Proof(Protocol):
    """A module of this folder."""

    GOALS: Sequence[Goal]

    def units(self, size: Size, seed: int) -> Sequence[Unit]:
        """Return the pieces of a run, cheaply and always the same."""
        ...

    def prove(self, unit: Unit) -> Outcome:
        """Do one of them."""
        ...
