"""The proof of schedules: every interleaving of small scenes with up to two preemptions, and random ones.

A unit is a scene, or a share of one that has many schedules. It fails when a
schedule ends in anything that the witness doesn't allow, in a deadlock, in a
livelock, or when the same decisions didn't lead to the same points: a walk that
isn't deterministic has left schedules out.
"""

from __future__ import annotations

import gc
import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Self

from exploration import Guided, Noted, Priorities, Schedule, Wanderer, explore, read, spelled
from scenes import SCENES, Scene
from scheduled_files import ScheduledClock
from scheduled_threads import Threads, installed
from scheduler import Crew, Scheduler, Strategy
from stage_world import JournalWorld, World
from units import Goal, Outcome, Size, Unit
from witness import Court

import journalkit.recovery.reserve as recovery_reserve
from journalkit.log import segment

RANDOM_SCHEDULES: Final = 100_000
_FAILURES_MAX: Final = 3
_COLLECT_EVERY: Final = 50
_CUT_CHANCE: Final = 0.1
_TRACE_LINES_MAX: Final = 200
_ROOM_BYTES: Final = 8192

GOALS = (
    Goal(count="schedules", says="schedules with up to two preemptions, all there are", ci=40_000, full=60_000),
    Goal(
        count="schedules by line",
        says="schedules with up to one preemption (full: two), every line of the lock-free paths a point",
        ci=3_200,
        full=40_000,
    ),
    Goal(count="random schedules", says="random schedules", ci=None, full=RANDOM_SCHEDULES),
)


class Stage:
    """Plays one scene again and again."""

    def __init__(self, name: str, scene: Scene) -> None:
        self.name = name
        self.scene = scene
        self.threads = Threads()
        self.crew = Crew()
        self.court = Court(self.threads, is_journal=scene.is_journal)
        self.trace: list[str] = []
        self.scheduler: Scheduler | None = None
        self.decisions = 0
        # Whether every opcode of the scene's lines is a point.
        self.by_opcode = False
        self._plays = 0

    @contextmanager
    def ready(self) -> Iterator[Self]:
        """Have journalkit use this stage's threads meanwhile.

        The collector waits: a finalizer that ran at its whim would make points at places that don't repeat.
        """
        was_enabled, was_frozen = gc.isenabled(), gc.get_freeze_count() > 0
        gc.collect()
        gc.freeze()
        gc.disable()
        logging.disable()  # What threads have to say of a disk that is slow on purpose is no news here.
        try:
            with installed(self.threads), _small_files():
                yield self
        finally:
            logging.disable(logging.NOTSET)
            if not was_frozen:
                gc.unfreeze()
            if was_enabled:
                gc.enable()

    def play(self, strategy: Strategy, *, is_traced: bool = False, cuts: random.Random | None = None) -> list[str]:
        """Run one schedule and return what was wrong; with `cuts` power cuts are thrown too, at preemptions."""
        self._plays += 1
        if not self._plays % _COLLECT_EVERY:
            gc.collect()
        scene, threads = self.scene, self.threads
        clock = ScheduledClock(threads, seed=11)
        scheduler = Scheduler(
            strategy,
            clock,
            self.crew,
            early_timeouts=scene.early_timeouts,
            is_traced=is_traced,
            line_files=scene.by_line,
            by_opcode=self.by_opcode,
        )
        self.scheduler = scheduler
        threads.scheduler = scheduler
        try:
            with scheduler:
                kind = JournalWorld if scene.is_journal else World
                world = kind(threads, scheduler, clock, self.court, snapshots=scene.snapshots, options=scene.options)
                if cuts is not None:
                    scheduler.on_preemption = lambda: _perhaps_cut(world, cuts)
                try:
                    scene.plays(world)
                    scheduler.run()
                    if scheduler.stuck:
                        return [scheduler.stuck]
                    stalled = ["somebody waited for a timeout"] if scheduler.stalls and not scene.stalls else []
                    return stalled + world.judge()
                finally:
                    world.drop()
        finally:
            self.trace = scheduler.trace or []
            threads.scheduler = None


@contextmanager
def _small_files() -> Iterator[None]:
    """Prepare less room than a store in use: nothing of a schedule depends on it, and a third of its time did."""
    step, reserve = segment.STEP_BYTES_MIN, recovery_reserve.RESERVE_BYTES
    segment.STEP_BYTES_MIN, recovery_reserve.RESERVE_BYTES = _ROOM_BYTES, 2 * _ROOM_BYTES  # type: ignore[misc]
    try:
        yield
    finally:
        segment.STEP_BYTES_MIN, recovery_reserve.RESERVE_BYTES = step, reserve  # type: ignore[misc]


def _perhaps_cut(world: World, cuts: random.Random) -> None:
    if cuts.random() < _CUT_CHANCE:
        world.lose_power(cuts.getrandbits(32))


def told(stage: Stage, name: str, schedule: Schedule, wrong: Sequence[str]) -> str:
    """Return a failure to read: what was wrong, and the points that led there. `name` is how `main` finds it."""
    stage.play(Guided(schedule), is_traced=True)
    return "\n".join(
        [
            f"scene {stage.name}, schedule {name}: {wrong[0]}",
            *(f"  {line}" for line in wrong[1:]),
            *(f"    {line}" for line in stage.trace[-_TRACE_LINES_MAX:]),
            f"  again: python tests/proof/schedules.py {stage.name} {name}",
        ]
    )


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Every scene, in shares; in a full run random schedules of each too."""
    found: list[Unit] = []
    for name, scene in SCENES.items():
        if scene.is_large and size == "ci":
            continue
        preemptions = scene.preemptions if size == "ci" else scene.preemptions_full
        shares = scene.shares if preemptions == scene.preemptions else scene.shares_full
        for share in range(shares):
            suffix = f"-{share + 1}of{shares}" if shares > 1 else ""
            arguments = {"preemptions": preemptions, "share": share, "shares": shares}
            found.append(Unit(f"{name}{suffix}", {"scene": name, "explore": arguments}, timeout_s=3600))
        if size == "full" and scene.by_line:
            arguments = {"preemptions": 1, "by_opcode": True}
            found.append(Unit(f"{name}-opcodes", {"scene": name, "explore": arguments}, timeout_s=3600))
        if size == "full":
            count = -(-RANDOM_SCHEDULES // len(SCENES))
            found.append(Unit(f"{name}-random", {"scene": name, "seed": seed, "random": count}, timeout_s=3600))
    return found


def prove(unit: Unit) -> Outcome:
    """Run all schedules of a scene, or some at random."""
    name = unit.arguments["scene"]
    stage = Stage(name, SCENES[name])
    outcome = Outcome()
    with stage.ready():
        if "random" in unit.arguments:
            _wander(stage, unit.arguments["seed"], unit.arguments["random"], outcome)
        else:
            _exhaust(stage, outcome, **unit.arguments["explore"])
    outcome.add("opened images", stage.court.openings)
    return outcome


def _exhaust(
    stage: Stage, outcome: Outcome, *, preemptions: int, share: int = 0, shares: int = 1, by_opcode: bool = False
) -> None:
    stage.by_opcode = by_opcode

    def run(schedule: Schedule, guided: Guided) -> bool:
        wrong = stage.play(guided)
        if guided.missed():
            wrong = [f"not deterministic: {guided.missed()}", *wrong]
        if wrong:
            outcome.failures.append(told(stage, spelled(schedule), schedule, wrong))
        return len(outcome.failures) < _FAILURES_MAX

    explored = explore(run, preemptions=preemptions, share=share, shares=shares)
    outcome.add("schedules by line" if stage.scene.by_line else "schedules", explored.schedules)


def _wander(stage: Stage, seed: int, count: int, outcome: Outcome) -> None:
    for number in range(count):
        name = f"{seed}/{number}"
        noted, wrong = _throw(stage, name)
        outcome.add("random schedules")
        if wrong:
            outcome.failures.append(told(stage, name, noted.schedule, wrong))
            if len(outcome.failures) == _FAILURES_MAX:
                break


def _throw(stage: Stage, name: str, *, is_traced: bool = False) -> tuple[Noted, list[str]]:
    """Play the schedule, and cut the power, as the dice of this name fall."""
    if not stage.decisions:
        base = Guided()
        stage.play(base)
        stage.decisions = len(base.total)
    dice = random.Random(f"{stage.name}/{name}")
    strategy: Strategy = Wanderer(f"{stage.name}/{name}")
    if dice.random() < 0.5:
        strategy = Priorities(f"{stage.name}/{name}", depth=dice.randint(2, 5), decisions=2 * stage.decisions)
    noted = Noted(strategy)
    return noted, stage.play(noted, is_traced=is_traced, cuts=dice)


def main(scene: str, name: str) -> int:
    """Play one schedule again and print what happens in it: one that is spelled out, or a random one (SEED/NUMBER)."""
    stage = Stage(scene, SCENES[scene])
    with stage.ready():
        if "/" in name:
            wrong = _throw(stage, name, is_traced=True)[1]
        else:
            wrong = stage.play(Guided(read(name)), is_traced=True)
    print(*stage.trace, *wrong, sep="\n")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    import sys

    sys.exit(main(*sys.argv[1:]))
