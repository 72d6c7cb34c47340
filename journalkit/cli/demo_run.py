"""The demo's course: worker after worker, killed at random moments, and what came of each.

Most kills fall at a random moment. Some are aimed, because chance may miss
what is short: at a fold, seen from outside by its temporary file, and at the
recovery from the kill before. An aimed kill that comes too late counts as what
it hit, and aim is taken again, sooner.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from journalkit.cli.demo_input import Input
from journalkit.cli.demo_lives import Hit, Worker
from journalkit.errors import StorageError

Aim: TypeAlias = Literal["random", "fold", "recovery"]

_RANDOM_KILLS: Final = 20
_AIMED: Final[tuple[Aim, ...]] = ("fold", "recovery", "fold", "fold", "recovery")
KILLS: Final = _RANDOM_KILLS + len(_AIMED)
SECONDS: Final = 23.0
_LIFE_S: Final = 0.7
_START_S: Final = 0.2
_FINISH_SHARE: Final = 0.2
"""Of the time, what is kept for the last life, which is left alone to come to the end."""

_OVERTIME: Final = 1.2
_STOP_SHARE: Final = 0.9
_FOLD_WAIT_S: Final = 2.0
_LOOK_S: Final = 0.0005
_AIM_JITTER_S: Final = 0.004
_TRIES_MAX: Final = 5
_CHUNK_BYTES_MAX: Final = 4096
_CHUNK_BYTES_MIN: Final = 128
_CHUNKS_WANTED: Final = 1500
_FOLD_BYTES_MAX: Final = 64 * 1024
_FOLD_BYTES_MIN: Final = 256
_FOLDS_WANTED: Final = 60


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long, how often, how fast."""

    seconds: float
    killing_s: float
    kills: int
    life_s: float
    bytes_per_s: float
    chunk_bytes: int
    fold_bytes_min: int

    def options(self, *, paced: bool) -> list[str]:
        """Return the worker's command line options."""
        options = [f"--chunk-bytes={self.chunk_bytes}", f"--fold-bytes-min={self.fold_bytes_min}"]
        return [*options, f"--bytes-per-s={self.bytes_per_s}"] if paced else options


def make_schedule(text: Input, seconds: float | None, kills: int | None) -> Schedule:
    """Fit what was asked for to the input; what wasn't asked for follows from the rest."""
    is_bound = seconds is not None
    if seconds is None:
        seconds = SECONDS if kills is None or kills <= KILLS else kills * _LIFE_S / (1 - _FINISH_SHARE)
    killing_s = seconds * (1 - _FINISH_SHARE)
    if kills is None:
        kills = KILLS if not is_bound else max(2, round(killing_s / _LIFE_S))
    working_s = max(killing_s - kills * _START_S, killing_s / 4)
    return Schedule(
        seconds=seconds,
        # Nobody asked for a time: on a slow machine the kills go on a little longer.
        killing_s=killing_s if is_bound else killing_s * _OVERTIME,
        kills=kills,
        life_s=killing_s / kills,
        bytes_per_s=text.size_bytes / working_s,
        chunk_bytes=_between(_CHUNK_BYTES_MIN, text.size_bytes // _CHUNKS_WANTED, _CHUNK_BYTES_MAX),
        fold_bytes_min=_between(_FOLD_BYTES_MIN, text.size_bytes // _FOLDS_WANTED, _FOLD_BYTES_MAX),
    )


def _between(least: int, wanted: int, most: int) -> int:
    return max(least, min(wanted, most))


@dataclass(slots=True)
class Kill:
    """One kill: when, aimed at what, what it hit; and how the life after it found the store.

    `position` is the last one acknowledged before it, `lost` whether the next
    life came up short of that. `recovery` is the next life's report.
    """

    number: int
    at_s: float
    aim: Aim
    hit: Hit
    position: tuple[int, int]
    recovery: str = ""
    recovery_s: float = 0.0
    records_replayed: int = 0
    bytes_cut: int = 0
    lost: bool = False


@dataclass(slots=True)
class Course:
    """What happened so far. `position` is the last one acknowledged."""

    kills: list[Kill] = field(default_factory=list)
    snapshots: set[int] = field(default_factory=set)
    position: tuple[int, int] = (0, 0)
    seconds: float = 0.0

    @property
    def lost(self) -> int:
        """How many recoveries came up short of what had been acknowledged."""
        return sum(kill.lost for kill in self.kills)

    def hits(self, hit: Hit) -> int:
        """How many kills hit that."""
        return sum(kill.hit == hit for kill in self.kills)


class Director:
    """Runs the course. `told` hears of each kill once the next life has recovered; `seen` of progress."""

    def __init__(
        self,
        store: str,
        text_path: str,
        schedule: Schedule,
        chance: random.Random,
        told: Callable[[Kill], None],
        seen: Callable[[Course], None],
    ) -> None:
        self._store = store
        self._text_path = text_path
        self._schedule = schedule
        self._chance = chance
        self._told = told
        self._seen = seen
        self._began_s = time.monotonic()
        self._untold: list[Kill] = []
        self.course = Course()

    def run(self) -> Course:
        """Kill as often as is planned, then let the last life come to its end.

        Raises:
            StorageError: A worker gave up by itself.
        """
        aims, tries, is_done = self._aims(), 0, False
        while aims and not is_done and self._now_s() < self._schedule.killing_s:
            hit = self._live(aims[-1], _AIM_JITTER_S / 4**tries)
            is_done = hit is None
            tries += 1
            if aims[-1] in ("random", hit) or tries == _TRIES_MAX:
                aims.pop()
                tries = 0
        self._last_life()
        self.course.seconds = self._now_s()
        return self.course

    def _aims(self) -> list[Aim]:
        """Deal the aims over the course; they are taken from the end."""
        kills = self._schedule.kills
        aims = [_AIMED[index % len(_AIMED)] for index in range(max(1, kills // 5))]
        aims += ["random"] * (kills - len(aims))
        self._chance.shuffle(aims)
        return aims

    def _now_s(self) -> float:
        return time.monotonic() - self._began_s

    def _live(self, aim: Aim, jitter_s: float) -> Hit | None:
        """Run one life and end it; return what the kill hit, None if the worker was done before it.

        An aimed kill comes up to `jitter_s` behind the moment that it waited for.
        """
        worker = Worker(self._store, self._text_path, self._schedule.options(paced=True))
        try:
            self._wait_for_moment(worker, aim, jitter_s)
            hit = worker.kill()
            self._take_in(worker)
        finally:
            worker.dispose()
        if hit is not None:
            kill = Kill(len(self.course.kills) + 1, self._now_s(), aim, hit, self.course.position)
            self.course.kills.append(kill)
            self._untold.append(kill)
        return hit

    def _wait_for_moment(self, worker: Worker, aim: Aim, jitter_s: float) -> None:
        chance, life_s = self._chance, self._schedule.life_s
        if aim == "random":
            self._attend(worker, lambda: False, chance.uniform(0.0, 2 * life_s))
            return
        if aim == "recovery":
            self._attend(worker, lambda: worker.is_opening, _FOLD_WAIT_S)
        else:
            self._attend(worker, worker.is_folding, _FOLD_WAIT_S + life_s)
        time.sleep(chance.uniform(0.0, jitter_s))

    def _attend(self, worker: Worker, is_moment: Callable[[], bool], limit_s: float) -> None:
        """Listen until the moment has come, the worker ended, or it is `limit_s` old."""
        while not is_moment() and not worker.ended and (left_s := limit_s - worker.age_s) > 0:
            worker.listen(min(_LOOK_S, left_s))
            self._take_in(worker)

    def _take_in(self, worker: Worker) -> None:
        """Note what a life said; once it is open, judge what it found."""
        course = self.course
        if worker.opened is not None and self._untold:
            self._tell(worker.opened)
        if worker.position is not None:
            course.position = worker.position
        course.snapshots |= worker.snapshots
        if worker.failure:
            raise StorageError(f"the demo's worker gave up: {worker.failure}")
        self._seen(course)

    def _tell(self, opened: dict[str, Any]) -> None:
        for kill in self._untold:
            kill.recovery = "killed again before it was open"
        last = self._untold[-1]
        last.recovery, last.recovery_s = _shortened(opened["report"]), opened["seconds"]
        last.records_replayed, last.bytes_cut = opened["records_replayed"], opened["bytes_cut"]
        last.lost = tuple(opened["position"]) < last.position
        untold, self._untold = self._untold, []
        for kill in untold:
            self._told(kill)

    def _last_life(self) -> None:
        worker = Worker(self._store, self._text_path, self._schedule.options(paced=False))
        try:
            is_asked = False
            while not worker.ended:
                worker.listen(0.02)
                self._take_in(worker)
                if not is_asked and self._now_s() > self._schedule.seconds * _STOP_SHARE:
                    worker.finish()
                    is_asked = True
            if not worker.done:
                raise StorageError("the demo's worker ended without a word; run the demo again")
        finally:
            worker.dispose()


def _shortened(report: str) -> str:
    """Return a recovery report's line without what every line of the demo would repeat."""
    return report.removeprefix("replayed: ").replace(" replayed in ", " in ").replace(" replayed, ", ", ")
