"""Proof: recovery is cut off too, at each of its operations, and so is the recovery of that.

From states that a power cut or a kill left, spread over what the workloads were
doing, the store is opened for writing, and before each operation of that open the power
goes: every state that this may leave, within a bound, is judged by the oracle.
From some of them it happens once more. Once the open has returned, what it
found is promised.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast

import second_oracle
from crash_phases import Phases
from crash_states import Bound, Image, States, watch
from crashes import FAILURES_MAX, SHARE_JUDGED_BY_ALL, VARIATIONS
from oracle import History, judged, manifests_remembered, opened
from readings import Readings
from units import Goal, Outcome, Size, Unit
from workloads import BY_NAME, WORKLOADS

from journalkit.cli import examination
from journalkit.errors import JournalError
from journalkit.format.names import MANIFEST
from journalkit.testing import SimulatedDisk

GOALS: Final = (
    Goal("nested", "distinct states after a second crash in recovery, each recovered and judged", 10_000, 200_000),
    Goal("third crashes", "of them after a third", 1_000, 20_000),
    Goal("behind kills", "of them after a kill, with what it left unsynced still pending", 1_000, 20_000),
    Goal("recoveries cut off", "recoveries cut off at each of their operations", 200, 3_000),
)
_IMAGES: Final[dict[Size, int]] = {"ci": 3, "full": 6}
_BOUNDS: Final[dict[Size, Bound]] = {"ci": Bound(1, 1), "full": Bound(2, 1)}
_VARIATIONS: Final[dict[Size, int]] = {"ci": 1, "full": len(VARIATIONS)}
"""How many of the variations a workload is run in; with fewer than there are, they take turns."""
_WORKLOADS_IN_UNIT: Final[dict[Size, int]] = {"ci": 8, "full": 2}
_SEEDS: Final[dict[Size, int]] = {"ci": 1, "full": 3}
_THIRD: Final = 0.7
"""How many of the first level's recoveries have one state whose own recovery is cut off again."""


_KEPT_KILLS: Final = 0.2
"""How often a later kill in a phase takes the place of an earlier one."""


class Left(NamedTuple):
    """What a crash left, and what had been promised by then.

    A power cut leaves an `image`. A kill leaves a `disk`, on which what wasn't
    synced is still pending: a cut in recovery may take what recovery has read.
    """

    history: History
    told: tuple[str, ...]
    image: Image | None = None
    disk: SimulatedDisk | None = None

    def found(self) -> SimulatedDisk:
        """Return the disk that the next process finds."""
        if self.image is not None:
            return self.image.disk()
        return cast(SimulatedDisk, self.disk).process_crash()


@dataclass(slots=True)
class Nest:
    """The recoveries of one workload's crashes, cut off."""

    workload: str
    seed: int
    bound: Bound = Bound(1, 0)  # noqa: RUF009 - immutable
    command: str = ""
    outcome: Outcome = field(default_factory=Outcome)
    _seen: dict[bytes, int] = field(default_factory=dict)
    """How many acknowledged commits each image was held to."""
    _readings: Readings = field(default_factory=Readings)

    def go(self, images: int, variation: int = 0) -> Outcome:
        """Cut off the recovery of so many of the states that crashes of the workload leave."""
        examination._LOOK_AGAIN_S = 0.0
        chance = random.Random(f"{self.workload} {self.seed} {variation}")
        for left in self._choose(images, variation, chance):
            if len(self.outcome.failures) < FAILURES_MAX:
                self.cut_off(left, chance, level=2)
        return self.outcome

    def _choose(self, count: int, variation: int, chance: random.Random) -> Sequence[Left]:
        """Return so many states from different phases of the workload, and half as many that a kill left."""
        cuts: dict[str, dict[bytes, Left]] = {}
        kills: dict[str, Left] = {}
        disk, history, phases = SimulatedDisk(), History(), Phases()
        states = States(disk, Bound(1, 1))

        def at(operation: str, path: str, detail: str) -> None:
            history.observe()
            now, phase = history.copy(), phases.at(history.doing, operation, path, detail)
            point = f"before {operation} {path}{detail}, in {phase}"
            for image in states.images():
                left = Left(now, (f"the power is cut {point}", *image.told), image)
                cuts.setdefault(phase, {}).setdefault(image.digest, left)
            if phase not in kills or chance.random() < _KEPT_KILLS:
                kills[phase] = Left(now, (f"the process is killed {point}",), disk=disk.process_crash())

        watch(disk, at)
        BY_NAME[self.workload].run(disk, history, self.seed, **VARIATIONS[variation].options)
        order = chance.sample(sorted(cuts), len(cuts))
        order += chance.choices(order, k=count)
        chosen = [chance.choice(list(cuts[phase].values())) for phase in order[:count]]
        return chosen + [kills[phase] for phase in chance.sample(sorted(kills), min(count // 2, len(kills)))]

    def cut_off(self, left: Left, chance: random.Random, *, level: int) -> None:
        """Open what a crash left, and judge what a crash at each operation of that leaves."""
        self.outcome.add("recoveries cut off")
        if left.image is not None:
            self._seen.setdefault(left.image.digest, left.history.acknowledged)
        found: list[Left] = []
        for image, new in self._crashes_of_open(left):
            known = self._seen.get(image.digest)
            if known is not None and known >= new.history.acknowledged:
                continue
            self._seen[image.digest] = new.history.acknowledged
            found.append(new)
            if known is None:
                self.outcome.add("nested")
                if level > 2:
                    self.outcome.add("third crashes")
                if left.image is None:
                    self.outcome.add("behind kills")
            self._judge(new, image, chance)
            if len(self.outcome.failures) >= FAILURES_MAX:
                return
        if level == 2 and found and chance.random() < _THIRD:
            self.cut_off(chance.choice(found), chance, level=level + 1)

    def _crashes_of_open(self, left: Left) -> Iterator[tuple[Image, Left]]:
        disk, history = left.found(), left.history.copy()
        if disk.status(f"{history.path}/{MANIFEST}") is None:
            # There was no store yet: this open makes one, and knows nothing of what the first would have said.
            history.metadata = {}
        states = States(disk, self.bound)
        crashes: dict[bytes, tuple[Image, Left]] = {}

        def note(history: History, what: str) -> None:
            for image in states.images():
                told = (*left.told, what, *image.told)
                crashes[image.digest] = (image, Left(history, told, image))

        def at(operation: str, path: str, detail: str) -> None:
            note(history, f"its recovery is cut off before {operation} {path}{detail}")

        watch(disk, at)
        try:
            handle = opened(disk, history.path, history, seed=self.seed)
        except JournalError as error:
            self._fail([f"the open was refused: {type(error).__name__}: {error}"], left)
            return
        handle.forbid()
        if not (history.returned if left.image is None else history.acknowledged) <= handle.lsn <= history.submitted:
            self._fail([f"it opens to LSN {handle.lsn}; {history.returned} had returned before a kill"], left)
            return
        # Whatever is left from here on is held to more: the open has returned.
        after = history.copy()
        after.reopened(handle.lsn)
        note(after, "its recovery is complete")
        yield from crashes.values()

    def _judge(self, left: Left, image: Image, chance: random.Random) -> None:
        by_all = chance.random() < SHARE_JUDGED_BY_ALL
        complaints = judged(
            image.disk(),
            left.history.path,
            left.history,
            thorough=by_all,
            second_oracle=second_oracle.complaints,
            readings=self._readings,
            seed=self.seed + 1,
        ).complaints
        if complaints:
            self._fail(complaints, left)

    def _fail(self, complaints: list[str], left: Left) -> None:
        lines = [
            f"workload {self.workload}, seed {self.seed}, image {left.image.digest.hex() if left.image else '-'}",
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
    with manifests_remembered():
        for number, workload in enumerate(given["workloads"]):
            nest = Nest(workload, given["seed"], Bound(*given["bound"]), given["command"], outcome)
            for turn in range(given["variations"]):
                nest.go(given["images"], (number + turn) % len(VARIATIONS))
    return outcome
