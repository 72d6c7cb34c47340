"""The proof at the machine's limits: a small piece of each, and stores that are broken on purpose."""

from __future__ import annotations

import os
from pathlib import Path

import forks
import full_disks
import limits
import mounts
import pytest
import scarce_descriptors
from units import Outcome, Unit

from journalkit.fs.lock import PosixLock
from journalkit.fs.posix import PosixFile


def prove(**arguments: object) -> Outcome:
    """Run a unit."""
    outcome = limits.prove(Unit("one", dict(arguments)))
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    return outcome


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("medium", ["tmpfs", "ext4", "btrfs"])
def test_a_full_disk_refuses_and_loses_nothing(medium: str) -> None:
    """Three levels of each scene; a full run tries a hundred and twenty."""
    outcome = prove(part="room", medium=medium, scenes=list(full_disks.SCENES), levels=[0, 2, 13])
    assert outcome.failures == []
    assert outcome.counts["refused for want of room"] > 3


def test_a_limit_of_file_sizes_refuses_and_loses_nothing() -> None:
    """EFBIG is a kind of full, and needs no root to be met."""
    outcome = prove(part="room", medium="file size", scenes=["fill", "open"], levels=[3, 70])
    assert outcome.failures == []
    assert outcome.counts["refused for want of room"] > 2


@pytest.mark.root
@pytest.mark.slow
def test_a_store_that_prepares_no_room_for_its_seal_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary: what closing needs is not set aside, and the disk is full."""
    monkeypatch.setattr(PosixFile, "allocate", lambda *_: None)
    outcome = prove(part="room", medium="tmpfs", scenes=["close"], levels=list(range(12)))
    assert outcome.failures
    assert "could not be sealed" in outcome.failures[0]


@pytest.mark.parametrize("scene", ["open", "fold"])
def test_a_want_of_descriptors_is_survived(tmp_path: Path, scene: str) -> None:
    """None, some, enough; and then the same handle goes on."""
    outcome = scarce_descriptors.try_all(str(tmp_path), scene, (0, 1, 3, 12))
    assert outcome.failures == []
    assert outcome.counts["refused for want of descriptors"] > 0


def test_a_store_that_keeps_its_lock_when_it_could_not_open_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary: a lock that is let go of never."""
    kept: list[PosixLock] = []
    monkeypatch.setattr(PosixLock, "close", lambda lock: kept.append(lock))
    outcome = scarce_descriptors.try_all(str(tmp_path), "open", (2, 12))
    for lock in kept:
        lock.abandon()
    assert any("LockedError" in failure for failure in outcome.failures)


@pytest.mark.root
@pytest.mark.slow
def test_a_file_system_that_turns_read_only_takes_nothing_acknowledged_with_it() -> None:
    """EROFS under an open store, and a mount that was read-only before."""
    outcome = prove(part="read-only")
    assert outcome.failures == []
    assert outcome.counts["read-only"] >= 10


@pytest.mark.parametrize(("act", "number"), [("storm", 4), ("traced", 1), ("handed on", 1)])
def test_a_fork_in_full_use_harms_nobody(tmp_path: Path, act: str, number: int) -> None:
    """A few children; each ends as a program may end."""
    outcome = forks.play(act, str(tmp_path), 3, number)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.failures == []


def test_a_child_that_is_not_told_that_it_is_one_is_found_out(tmp_path: Path) -> None:
    """The canary: what it gets is an error of the operating system, when it is too late."""
    outcome = forks.play("canary", str(tmp_path), 3, 4)
    assert len(outcome.failures) == 1
    assert "child 0 ended with" in outcome.failures[0]


def test_a_system_call_of_a_child_on_the_files_is_found_out() -> None:
    """The canary: a trace in which the child reads a segment, between its marks and before them."""
    touch = '7 pread64(5</tmp/x/store/log-0000000000000001.jks>, "", 24, 0) = 24\n'
    trace = f'{touch}7 write(2</dev/null>, "child begins", 12) = 12\n{{}}7 write(2</dev/null>, "child ends", 10) = 10\n'
    other = '7 read(3</etc/hosts>, "", 24) = 24\n'
    assert forks.calls_on_files(trace.format(other), "/tmp/x", Outcome()) == []
    assert len(forks.calls_on_files(trace.format(touch), "/tmp/x", Outcome())) == 1


def test_units_reach_the_goals() -> None:
    """A run that can't reach its goal would only be noticed at its end."""
    for size in ("ci", "full"):
        planned = limits.units(size, 1)
        assert len({unit.name for unit in planned}) == len(planned)
        tried = [unit.arguments for unit in planned if unit.arguments["part"] == "room"]
        levels = sum(len(arguments["levels"]) * len(arguments["scenes"]) for arguments in tried)
        [goal] = [goal for goal in limits.GOALS if goal.count == "levels"]
        assert levels >= (goal.least(size) or 0)
        forked = sum(unit.arguments["forks"] for unit in planned if unit.arguments["part"] == "forks")
        [goal] = [goal for goal in limits.GOALS if goal.count == "forks"]
        assert forked >= (goal.least(size) or 0)


def test_a_machine_without_loop_devices_skips_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every developer is root; what isn't run says so."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    outcome = limits.prove(Unit("one", {"part": "room", "medium": "ext4", "scenes": ["fill"], "levels": [0]}))
    assert outcome.skipped == mounts.lacking(mounts.EXT4) == "not root: nothing can be mounted"
