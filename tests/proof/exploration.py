"""Which schedules there are: all of them up to a number of preemptions, and random ones by seed.

A schedule is written as what it does differently from the undisturbed one: at
decision 17 option 1, at decision 40 option 2. Everything else is option 0, so a
schedule of two preemptions is two pairs, however long the run is.

Iterative context bounding (Musuvathi and Qadeer, CHESS): without a preemption
a task runs until it blocks or ends; what happens then, every choice of it, is
free; and most bugs of concurrency need but one or two preemptions. Schedules
are run in the order of their number of preemptions, so the first one that fails
is one of the simplest. Each is run exactly once, and the walk ends when there
is none left: nothing is sampled, and nothing is cut.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from scheduler import Strategy, Task

Schedule: TypeAlias = tuple[tuple[int, int], ...]
"""Decisions that differ from the undisturbed run: (number of the decision, option), in their order."""

PREEMPTION_CHANCES: Final = (0.02, 0.1, 0.3, 0.6)


def spelled(schedule: Schedule) -> str:
    """Return a schedule as a word."""
    return ",".join(f"{index}:{option}" for index, option in schedule) or "-"


def read(text: str) -> Schedule:
    """Return the schedule that was spelled."""
    pairs = [] if text == "-" else [pair.split(":") for pair in text.split(",")]
    return tuple((int(index), int(option)) for index, option in pairs)


class Guided:
    """Follows a schedule and notes what else could have been decided."""

    def __init__(self, schedule: Schedule = ()) -> None:
        self._options = dict(schedule)
        # Of each decision: how many options were free, and how many there were.
        self.free: list[int] = []
        self.total: list[int] = []
        self.diverged = ""

    def decide(self, tasks: Sequence[Task], free: int) -> int:
        """Do what the schedule says, else go on undisturbed."""
        index = len(self.total)
        self.free.append(free)
        self.total.append(len(tasks))
        option = self._options.get(index, 0)
        if option >= len(tasks):
            self.diverged = f"decision {index} has {len(tasks)} options, not one numbered {option}"
            return 0
        return option

    def missed(self) -> str:
        """Say whether the run came by every decision of the schedule: it has to, or it isn't deterministic."""
        beyond = [index for index in self._options if index >= len(self.total)]
        return self.diverged or (f"there were {len(self.total)} decisions, none numbered {beyond[0]}" if beyond else "")


class Noted:
    """Notes what another strategy decides, so that it can be repeated as a schedule."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._count = 0
        self._schedule: list[tuple[int, int]] = []

    def decide(self, tasks: Sequence[Task], free: int) -> int:
        """Ask the other one."""
        option = self._strategy.decide(tasks, free)
        if option:
            self._schedule.append((self._count, option))
        self._count += 1
        return option

    @property
    def schedule(self) -> Schedule:
        """What was decided."""
        return tuple(self._schedule)


class Wanderer:
    """Preempts with a chance that it draws for each schedule, from seldom to nearly always."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._chance = self._random.choice(PREEMPTION_CHANCES)

    def decide(self, tasks: Sequence[Task], free: int) -> int:
        """Throw the dice."""
        if free == len(tasks):
            return self._random.randrange(free)
        if self._random.random() >= self._chance:
            return self._random.randrange(free)
        return self._random.randrange(free, len(tasks))


class Priorities:
    """Runs the task of the highest priority; at a few random places that one falls behind all others.

    Probabilistic concurrency testing (Burckhardt and others): with n tasks, k
    decisions and d - 1 such places, a bug of depth d is met with a chance of at
    least 1 / (n * k ** (d - 1)).
    """

    def __init__(self, seed: str, *, depth: int, decisions: int) -> None:
        self._random = random.Random(seed)
        self._priorities: dict[int, float] = {}
        self._falls = {self._random.randrange(max(1, decisions)) for _ in range(depth - 1)}
        self._count = 0

    def decide(self, tasks: Sequence[Task], free: int) -> int:
        """Take the first by priority."""
        for task in tasks:
            if task.number not in self._priorities:
                self._priorities[task.number] = self._random.random()
        best = max(range(len(tasks)), key=lambda index: self._priorities[tasks[index].number])
        if self._count in self._falls:
            self._priorities[tasks[best].number] = -float(self._count)
            best = max(range(len(tasks)), key=lambda index: self._priorities[tasks[index].number])
        self._count += 1
        return best


@dataclass(slots=True)
class Explored:
    """How many schedules were run, by their number of preemptions, and how long the longest was."""

    by_preemptions: list[int]
    decisions_max: int = 0

    @property
    def schedules(self) -> int:
        """All of them."""
        return sum(self.by_preemptions)


def explore(run: Callable[[Schedule, Guided], bool], *, preemptions: int, share: int = 0, shares: int = 1) -> Explored:
    """Run every schedule with up to so many preemptions; stop early, and only then, if `run` returns False.

    With `shares`, those whose first difference falls to this share; all shares together are all schedules.
    """
    waiting: list[deque[Schedule]] = [deque() for _ in range(preemptions + 1)]
    waiting[0].append(())
    explored = Explored([0] * (preemptions + 1))
    dealt = 0
    while queue := next(filter(None, waiting), None):
        cost = waiting.index(queue)
        schedule = queue.popleft()
        guided = Guided(schedule)
        goes_on = run(schedule, guided)
        if schedule or share == 0:
            explored.by_preemptions[cost] += 1
        explored.decisions_max = max(explored.decisions_max, len(guided.total))
        if not goes_on:
            break
        for index in range(schedule[-1][0] + 1 if schedule else 0, len(guided.total)):
            for option in range(1, guided.total[index]):
                spent = cost + (option >= guided.free[index])
                if spent > preemptions:
                    break
                if not schedule:
                    dealt += 1
                    if dealt % shares != share:
                        continue
                waiting[spent].append((*schedule, (index, option)))
    return explored
