"""Proof: a power cut at every operation of every workload, and every state that it may leave, within a bound.

In the manner of ALICE: before each operation that changes something the run
stands still, and what is pending then is lost, kept, reordered and torn in
every way that differs from "all of it kept" or "none of it kept" in up to two
operations. Each distinct image is recovered once and judged by the oracle; an
image that comes again under another history is held to that history too.
Readers, before and after the recovery, aren't asked twice where all of their
questions have the answers of another image: `readings.py`.

`states` counts distinct images, by hash of names and bytes; of the share that
is counted as "judged by all" `verify` and the independent reader were asked as
well, before and after, and the store was opened once more before it was
written to.
"""

from __future__ import annotations

import gc
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import second_oracle
from crash_phases import PHASES, Phases
from crash_states import Bound, Image, States, watch
from oracle import History, judged, manifests_remembered
from readings import Readings
from units import Goal, Outcome, Size, Unit
from workloads import BY_NAME, WORKLOADS, Workload

from journalkit.cli import examination
from journalkit.testing import SimulatedDisk

GOALS: Final = (
    Goal("states", "distinct crash states, each recovered and judged", 200_000, 2_000_000),
    Goal("points", "crash points in the workloads", 8_000, 32_000),
    Goal("judged by all", "of them judged by `verify` and the independent reader too", 10_000, 100_000),
    *(Goal(f"states in {phase}", f"of them met first in {phase}", 200, 2_000) for phase in PHASES),
)
SHARE_JUDGED_BY_ALL: Final = 1 / 19
FAILURES_MAX: Final = 5


@dataclass(slots=True)
class Run:
    """One workload, run once, stopped before each of its operations.

    Of its states those of one `part` are judged, told by their hash; `share` is
    how many of them by all. `random_states` are drawn at each crash point
    beside those within the bound.
    """

    workload: Workload
    seed: int
    bound: Bound
    options: Mapping[str, Any] = field(default_factory=dict)
    parts: int = 1
    part: int = 0
    share: float = SHARE_JUDGED_BY_ALL
    random_states: int = 0
    command: str = ""
    outcome: Outcome = field(default_factory=Outcome)
    _known: dict[tuple[bytes, int], int | None] = field(default_factory=dict)
    _readings: Readings = field(default_factory=Readings)

    def go(self, disk: SimulatedDisk | None = None, wrap: object = None) -> Outcome:
        """Run it; `wrap` puts something between the workload and its disk, for canaries."""
        disk = disk if disk is not None else SimulatedDisk()
        history, phases = History(), Phases()
        states = States(disk, self.bound)
        # The disk stands still while it is looked at: nobody has to wait for a writer.
        examination._LOOK_AGAIN_S = 0.0

        def at(operation: str, path: str, detail: str) -> None:
            history.observe()
            phase = phases.at(history.doing, operation, path, detail)
            self._judge_all(states, history, phase, f"before {operation} {path}{detail}", disk)

        watch(disk, at)
        self.workload.run(wrap(disk) if callable(wrap) else disk, history, self.seed, **self.options)
        self._judge_all(states, history, "end", "at the end", disk)
        return self.outcome

    def _judge_all(self, states: States, history: History, phase: str, point: str, disk: SimulatedDisk) -> None:
        if self.part == 0:
            self.outcome.add("points")
        drawn = states.random_images(random.Random(f"{point} {self.seed}"), self.random_states)
        for image in itertools.chain(states.images(), drawn):
            if len(self.outcome.failures) >= FAILURES_MAX:
                return
            if image.digest[0] % self.parts == self.part:
                self._judge(image, history, phase, point, disk)

    def _judge(self, image: Image, history: History, phase: str, point: str, disk: SimulatedDisk) -> None:
        key = image.digest, history.life
        complaints: list[str] = []
        if key in self._known:
            lsn = self._known[key]
            if (lsn is None and history.exists) or (lsn is not None and lsn < history.acknowledged):
                complaints.append(
                    f"this image opens to LSN {lsn}, and by now {history.acknowledged} commits were acknowledged"
                )
        else:
            if image.is_bare:
                # Every workload begins with the same few: they are judged, and count nothing.
                self.outcome.add("states without a store")
            elif not any((image.digest, life) in self._known for life in range(history.life)):
                self.outcome.add("states")
                self.outcome.add(f"states in {phase}")
            by_all = int.from_bytes(image.digest[-4:], "big") < self.share * (1 << 32)
            if by_all:
                self.outcome.add("judged by all")
            complaints, self._known[key] = judged(
                image.disk(),
                history.path,
                history,
                thorough=by_all,
                second_oracle=second_oracle.complaints,
                readings=self._readings,
            )
        opens_at = self._known[key] or 0
        if image.is_all_kept and opens_at < history.returned:
            complaints.append(
                f"as a kill leaves it, it opens to LSN {opens_at}, and commit {history.returned} had returned"
            )
        if complaints:
            self.outcome.failures.append(self._told(complaints, image, history, phase, point, disk))

    def _told(
        self, complaints: list[str], image: Image, history: History, phase: str, point: str, disk: SimulatedDisk
    ) -> str:
        lines = [
            f"workload {self.workload.name}, seed {self.seed}, {dict(self.options)}: power cut {point}, in {phase}",
            f"operation {disk.operation_count + 1}, image {image.digest.hex()}",
            *(f"  wrong: {complaint}" for complaint in complaints),
            *(f"  left: {told}" for told in image.told),
            history.tell(),
            "the last operations were:",
            *(f"  {line}" for line in disk.history()[-12:]),
        ]
        return "\n".join([*lines, f"again: {self.command}"])


class Variation(NamedTuple):
    """What a workload is run with beside its own options, and how much of its states is gone through."""

    name: str
    options: Mapping[str, Any]
    ci: Bound
    full: Bound


VARIATIONS: Final = (
    Variation("", {}, Bound(2, 2), Bound(3, 2)),
    Variation("unsynced", {"sync": "never"}, Bound(2, 1), Bound(3, 1)),
)
ONLY_IN_FULL: Final = frozenset(
    {("journal_of_large_records", "unsynced"), ("rotated_among_undurable_records", "unsynced")}
)
"""Those with the most states of one kind: CI has its number without them."""
SEEDS: Final[dict[Size, int]] = {"ci": 1, "full": 5}
RANDOM_STATES: Final[dict[Size, int]] = {"ci": 0, "full": 30}

_USUAL: Final = (3, 3, 5, 5)
_THOUSANDS: Final[dict[str, tuple[int, int, int, int]]] = {
    "journal_of_large_records": (4, 14, 4, 53),
    "killed_in_folds": (5, 3, 6, 4),
    "large_records": (3, 8, 3, 13),
    "large_undurable_records": (5, 4, 6, 6),
    "rotated_among_undurable_records": (24, 17, 85, 83),
    "rotated_by_size": (5, 10, 5, 40),
    "segments_prepared": (3, 4, 3, 10),
}
"""About how many thousand states there are: of each variation in CI, then in a full run. For splitting only."""
_THOUSANDS_IN_PART: Final[dict[Size, int]] = {"ci": 6, "full": 12}


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return a unit for each workload and variation, several where there are many states; more seeds when full."""
    found: list[Unit] = []
    for round_seed in range(seed, seed + SEEDS[size]):
        for workload, (number, variation) in itertools.product(WORKLOADS, enumerate(VARIATIONS)):
            if size == "ci" and (workload.name, variation.name) in ONLY_IN_FULL:
                continue
            thousands = _THOUSANDS.get(workload.name, _USUAL)[number + (2 if size == "full" else 0)]
            parts = -(-thousands // _THOUSANDS_IN_PART[size])
            bound = variation.ci if size == "ci" else variation.full
            for part in range(parts):
                names = [workload.name, variation.name, f"seed-{round_seed}" if SEEDS[size] > 1 else ""]
                names.append(f"part-{part + 1}" if parts > 1 else "")
                name = ".".join(filter(None, names))
                arguments = {
                    "workload": workload.name,
                    "variation": number,
                    "seed": round_seed,
                    "bound": list(bound),
                    "parts": parts,
                    "part": part,
                    "random_states": RANDOM_STATES[size],
                    "command": f"python tests/proof unit crashes {name} --size {size} --seed {seed}",
                }
                found.append(Unit(name, arguments, timeout_s=600))
    return found


def prove(unit: Unit) -> Outcome:
    """Cut the power of one workload everywhere."""
    given = unit.arguments
    gc.freeze()  # what was imported is not looked through again for each store that is dropped
    run = Run(
        BY_NAME[given["workload"]],
        given["seed"],
        Bound(*given["bound"]),
        VARIATIONS[given["variation"]].options,
        given["parts"],
        given["part"],
        random_states=given["random_states"],
        command=given["command"],
    )
    with manifests_remembered():
        return run.go()
