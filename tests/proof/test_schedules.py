"""The proof of schedules finds what it is there to find: stores broken on purpose, and none that isn't.

Each canary says with how many preemptions it is found. A scene without a bug
comes to its end; a few of them run here, all of them in the proof.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import schedules
from exploration import Guided, Schedule, explore
from scenes import SCENES
from schedules import Stage
from units import Unit

from journalkit.log.commit import Commit
from journalkit.log.log import Log
from journalkit.log.writer import LogWriter
from journalkit.manifest import ManifestKeeper
from journalkit.store.layers import Frozen, Layers
from journalkit.store.memtable import MemTable

Patch = pytest.MonkeyPatch


class NoLock:
    """Keeps nobody out."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return True

    def release(self) -> None:
        pass

    def locked(self) -> bool:
        return False

    __enter__ = acquire

    def __exit__(self, *error: object) -> None:
        pass


def first_failure(name: str, *, preemptions: int = 2, **changes: Any) -> tuple[int, str]:
    """Explore a scene until something is wrong; return with how many preemptions, and what."""
    stage = Stage(name, replace(SCENES[name], **changes))
    found: list[tuple[int, str]] = []

    def run(schedule: Schedule, guided: Guided) -> bool:
        wrong = stage.play(guided)
        if wrong:
            found.append((preemptions_of(stage), wrong[0]))
        return not wrong

    with stage.ready():
        explore(run, preemptions=preemptions)
    assert found, f"nothing was wrong in {name}"
    return found[0]


def preemptions_of(stage: Stage) -> int:
    """How many preemptions the last schedule had."""
    assert stage.scheduler is not None
    return stage.scheduler.preemptions


def without_lock(patch: Patch, kind: type, attribute: str) -> None:
    """Make every new object of a class without one of its locks."""
    make = kind.__init__

    def made(self: Any, *arguments: Any, **more: Any) -> None:
        make(self, *arguments, **more)
        setattr(self, attribute, NoLock())

    patch.setattr(kind, "__init__", made)


def acknowledged_too_early(patch: Patch) -> None:
    """Have nobody wait for an fsync, whatever was asked for."""
    init, write = Commit.__init__, LogWriter.write_single
    patch.setattr(
        LogWriter,
        "write_single",
        lambda self, payload, kind, mutations, durable, check: write(self, payload, kind, mutations, False, check),
    )
    patch.setattr(
        Commit,
        "__init__",
        lambda self, payload, kind, mutations, durable, check=None: init(self, payload, kind, mutations, False, check),
    )


@pytest.mark.parametrize("name", ["two-writers", "weak-and-strong", "two-increments", "sync-writer", "writer-closer"])
def test_a_scene_has_no_schedule_that_is_wrong(name: str) -> None:
    """As the proof runs it, to its end; it also counts them."""
    outcome = schedules.prove(Unit(name, {"scene": name, "explore": {"preemptions": 2}}))
    assert outcome.failures == []
    assert outcome.counts["schedules"] > 50


def test_the_same_schedule_passes_the_same_points() -> None:
    """Otherwise a walk over schedules would be no walk over all of them."""
    for name in ("three-writers", "fold-closer", "background-fold"):
        stage = Stage(name, SCENES[name])
        traces: list[list[str]] = []
        with stage.ready():
            for _ in range(3):
                assert stage.play(Guided(((9, 1),)), is_traced=True) == []
                traces.append(stage.trace)
        assert traces[0] == traces[1] == traces[2]
        assert len(traces[0]) > 20


def test_random_schedules_are_the_same_for_the_same_seed() -> None:
    """A run is repeated by its seed."""
    outcomes = [
        schedules.prove(Unit("r", {"scene": "three-writers", "seed": seed, "random": 20})) for seed in (1, 1, 2)
    ]
    assert [outcome.failures for outcome in outcomes] == [[], [], []]
    assert outcomes[0].counts == outcomes[1].counts
    assert outcomes[0].counts["random schedules"] == 20
    assert outcomes[0].counts["opened images"] != outcomes[2].counts["opened images"]


def test_every_scene_is_a_unit_and_full_runs_add_dice() -> None:
    """In the two sizes; names are unique, or the runner would skip some."""
    for size in ("ci", "full"):
        found: Sequence[Unit] = schedules.units(size, 7)  # type: ignore[arg-type]
        assert len({unit.name for unit in found}) == len(found)
        expected = {name for name, scene in SCENES.items() if size == "full" or not scene.is_large}
        assert {unit.arguments["scene"] for unit in found} == expected
    total = sum(unit.arguments.get("random", 0) for unit in schedules.units("full", 7))
    assert total >= schedules.RANDOM_SCHEDULES


# Canaries


def test_an_acknowledgement_before_the_fsync_is_found_without_a_preemption(monkeypatch: Patch) -> None:
    """The power goes at each acknowledgement of every schedule."""
    acknowledged_too_early(monkeypatch)
    preemptions, wrong = first_failure("two-writers")
    assert preemptions == 0
    assert wrong.startswith("lost: after one: a=one-1")


def test_a_follower_told_too_early_is_found(monkeypatch: Patch) -> None:
    """Acknowledged when its leader took it. One preemption makes a group, one more lets a follower go on too early."""
    finish = LogWriter._finish_group

    def told_too_early(self: LogWriter) -> None:
        if self.group is not None:
            for commit in self.group.commits[1:]:
                commit.settle(None)
                commit.wake()
        finish(self)

    monkeypatch.setattr(LogWriter, "_finish_group", told_too_early)
    preemptions, wrong = first_failure("three-writers")
    assert preemptions == 2
    assert wrong.startswith("lost: ")


def test_a_follower_that_is_not_told_of_the_failed_fsync_is_found(monkeypatch: Patch) -> None:
    """Only the first of a group hears of it, the others are acknowledged."""
    finish = LogWriter._finish_group

    def told_to_one(self: LogWriter) -> None:
        group = self.group
        finish(self)
        if group is not None and group.error is not None:
            for commit in group.commits[1:]:
                commit.error = None

    monkeypatch.setattr(LogWriter, "_finish_group", told_to_one)
    preemptions, wrong = first_failure("failing-second-sync")
    assert preemptions == 1
    assert wrong.startswith("lost: ")


def test_a_check_that_forgets_its_own_group_is_found(monkeypatch: Patch) -> None:
    """Two writers in one group expect the same value and both are told that they got it."""
    init = Commit.__init__

    def forgetful(self: Commit, payload: Any, kind: int, mutations: Any, durable: bool, check: Any = None) -> None:
        inner = None if check is None else lambda lsn, commits: check(lsn, ())
        init(self, payload, kind, mutations, durable, inner)

    monkeypatch.setattr(Commit, "__init__", forgetful)
    preemptions, wrong = first_failure("group-expectations")
    assert preemptions == 1
    assert "isn't the fold of its commits" in wrong


@pytest.mark.parametrize(
    ("kind", "attribute", "scene", "preemptions"),
    [
        pytest.param(Log, "_leadership", "two-writers", 1, id="two leaders at once"),
        pytest.param(ManifestKeeper, "_lock", "rotation-fold", 1, id="two publish at once"),
    ],
)
def test_a_lock_that_matters_is_missed(
    monkeypatch: Patch, kind: type, attribute: str, scene: str, preemptions: int
) -> None:
    """Taken from the store, it is found to be missing, and with how few preemptions."""
    without_lock(monkeypatch, kind, attribute)
    found = first_failure(scene)
    assert found[0] == preemptions, found[1]


def test_a_freeze_that_shows_nothing_for_a_moment_is_found_by_line(monkeypatch: Patch) -> None:
    """The active memtable taken away before it is among the frozen ones: a reader between two lines misses a key."""

    def freeze(self: Layers) -> Frozen:
        active = self.active
        if active.entries:
            self.active = MemTable({}, active.last_lsn, 0)
            self.frozen = (active, *self.frozen)
        return Frozen(active.last_lsn, self.frozen, self.tables)

    monkeypatch.setattr(Layers, "_freeze", freeze)
    preemptions, wrong = first_failure("line-freeze", by_line=frozenset({__file__}))
    assert preemptions == 1
    assert re.match("reader: get . gave", wrong)


def test_a_failure_tells_how_it_came_about(monkeypatch: Patch) -> None:
    """The schedule, the points that it passed, and the command that plays it again."""
    acknowledged_too_early(monkeypatch)
    outcome = schedules.prove(Unit("two-writers", {"scene": "two-writers", "explore": {"preemptions": 2}}))
    text = outcome.failures[0]
    assert text.startswith("scene two-writers, schedule -: lost: ")
    assert "one: pwrite  at writer.py:" in text
    assert text.endswith("again: python tests/proof/schedules.py two-writers -")
    assert len(outcome.failures) < outcome.counts["schedules"] + 1
