"""Proof: recovery is cut off too, at each of its operations, and so is the recovery of that.

From states that a crash left, spread over what the workloads were doing, the
store is opened for writing, and before each operation of that open the power
goes: every state that this may leave, within a bound, is judged by the oracle.
From some of them it happens once more. Once the open has returned, what it
found is promised.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import second_oracle
from crash_phases import Phases
from crash_states import Bound, Image, States, watch
from crashes import FAILURES_MAX, SHARE_JUDGED_BY_ALL, VARIATIONS
from oracle import History, judged, opened
from units import Goal, Outcome, Size, Unit
from workloads import BY_NAME, WORKLOADS

from journalkit.cli import examination
from journalkit.errors import JournalError
from journalkit.testing import SimulatedDisk

GOALS: Final = (
    Goal("nested", "distinct states after a second crash in recovery, each recovered and judged", 10_000, 200_000),
    Goal("third crashes", "of them after a third", 1_000, 20_000),
    Goal("recoveries cut off", "recoveries cut off at each of their operations", 200, 4_000),
)
_IMAGES: Final[dict[Size, int]] = {"ci": 6, "full": 14}
_BOUNDS: Final[dict[Size, Bound]] = {"ci": Bound(1, 1), "full": Bound(2, 1)}
_VARIATIONS: Final[dict[Size, int]] = {"ci": 1, "full": len(VARIATIONS)}
"""How many of the variations a workload is run in; with fewer than there are, they take turns."""
_WORKLOADS_IN_UNIT: Final[dict[Size, int]] = {"ci": 8, "full": 2}
_SEEDS: Final[dict[Size, int]] = {"ci": 1, "full": 4}
_THIRD: Final = 0.7
"""How many of the first level's recoveries have one state whose own recovery is cut off again."""


class Left(NamedTuple):
    """What a crash left: the image, what had been promised by then, and how it came to be."""

    image: Image
    history: History
    told: tuple[str, ...]


@dataclass(slots=True)
class Nest:
    """The recoveries of one workload's crashes, cut off."""

    workload: str
    seed: int
    bound: Bound = Bound(1, 0)  # noqa: RUF009 - immutable
    command: str = ""
    outcome: Outcome = field(default_factory=Outcome)
    _seen: set[bytes] = field(default_factory=set)

    def go(self, images: int, variation: int = 0) -> Outcome:
        """Cut off the recovery of so many of the states that crashes of the workload leave."""
        examination._LOOK_AGAIN_S = 0.0
        chance = random.Random(f"{self.workload} {self.seed} {variation}")
        for left in self._choose(images, variation, chance):
            if len(self.outcome.failures) < FAILURES_MAX:
                self.cut_off(left, chance, level=2)
        return self.outcome

    def _choose(self, count: int, variation: int, chance: random.Random) -> Sequence[Left]:
        """Return states from different phases of the workload, the same ones each time."""
        by_phase: dict[str, dict[bytes, Left]] = {}
        disk, history, phases = SimulatedDisk(), History(), Phases()
        states = States(disk, Bound(1, 1))

        def at(operation: str, path: str, detail: str) -> None:
            history.observe()
            now, phase = history.copy(), phases.at(history.doing, operation, path, detail)
            for image in states.images():
                told = (f"the workload is cut off before {operation} {path}{detail}, in {phase}", *image.told)
                by_phase.setdefault(phase, {}).setdefault(image.digest, Left(image, now, told))

        watch(disk, at)
        BY_NAME[self.workload].run(disk, history, self.seed, **VARIATIONS[variation].options)
        lefts = [
            chance.choice(list(by_phase[phase].values())) for phase in chance.sample(sorted(by_phase), len(by_phase))
        ]
        while len(lefts) < count:
            lefts.append(chance.choice(list(by_phase[chance.choice(sorted(by_phase))].values())))
        return lefts[:count]

    def cut_off(self, left: Left, chance: random.Random, *, level: int) -> None:
        """Open what a crash left, and judge what a crash at each operation of that leaves."""
        self.outcome.add("recoveries cut off")
        self._seen.add(left.image.digest)
        found: list[Left] = []
        for new in self._crashes_of_open(left):
            if new.image.digest in self._seen:
                continue
            self._seen.add(new.image.digest)
            found.append(new)
            self.outcome.add("nested")
            if level > 2:
                self.outcome.add("third crashes")
            self._judge(new, chance)
            if len(self.outcome.failures) >= FAILURES_MAX:
                return
        if level == 2 and found and chance.random() < _THIRD:
            self.cut_off(chance.choice(found), chance, level=level + 1)

    def _crashes_of_open(self, left: Left) -> Iterator[Left]:
        disk, history = left.image.disk(), left.history.copy()
        states = States(disk, self.bound)
        crashes: dict[bytes, Left] = {}

        def at(operation: str, path: str, detail: str) -> None:
            told = (*left.told, f"its recovery is cut off before {operation} {path}{detail}")
            for image in states.images():
                crashes.setdefault(image.digest, Left(image, history, (*told, *image.told)))

        watch(disk, at)
        try:
            handle = opened(disk, history.path, history, seed=self.seed)
        except JournalError as error:
            self._fail([f"the open was refused: {type(error).__name__}: {error}"], left)
            return
        handle.forbid()
        after = history.copy()
        after.reopened(handle.lsn)
        for image in states.images():
            # Held to more than before: the open has returned.
            crashes[image.digest] = Left(image, after, (*left.told, "its recovery is complete", *image.told))
        yield from crashes.values()

    def _judge(self, left: Left, chance: random.Random) -> None:
        by_all = chance.random() < SHARE_JUDGED_BY_ALL
        complaints = judged(
            left.image.disk(),
            left.history.path,
            left.history,
            thorough=by_all,
            second_oracle=second_oracle.complaints,
            seed=self.seed + 1,
        ).complaints
        if complaints:
            self._fail(complaints, left)

    def _fail(self, complaints: list[str], left: Left) -> None:
        lines = [
            f"workload {self.workload}, seed {self.seed}, image {left.image.digest.hex()}",
            *(f"  wrong: {complaint}" for complaint in complaints),
            *(f"  {told}" for told in left.told),
            left.history.tell(),
            f"again: {self.command}",
        ]
        self.outcome.failures.append("\n".join(lines))


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return one unit for several workloads; more seeds, images and states when full."""
    found: list[Unit] = []
    step = _WORKLOADS_IN_UNIT[size]
    for round_seed in range(seed, seed + _SEEDS[size]):
        for first in range(0, len(WORKLOADS), step):
            names = [workload.name for workload in WORKLOADS[first : first + step]]
            name = f"{names[0]}-and-{len(names) - 1}-more.seed-{round_seed}"
            arguments = {
                "workloads": names,
                "seed": round_seed,
                "images": _IMAGES[size],
                "bound": list(_BOUNDS[size]),
                "variations": _VARIATIONS[size],
                "command": f"python tests/proof unit nested {name} --size {size} --seed {seed}",
            }
            found.append(Unit(name, arguments, timeout_s=600))
    return found


def prove(unit: Unit) -> Outcome:
    """Cut off recoveries of some workloads."""
    given, outcome = unit.arguments, Outcome()
    gc.freeze()
    for number, workload in enumerate(given["workloads"]):
        nest = Nest(workload, given["seed"], Bound(*given["bound"]), given["command"], outcome)
        for turn in range(given["variations"]):
            nest.go(given["images"], (number + turn) % len(VARIATIONS))
    return outcome
