"""The oracle and the workloads: right stores pass, and each kind of wrong one is told."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from history import History
from oracle import judge
from workloads import BY_NAME, CI_WORKLOADS, WORKLOADS

from journalkit.fs.posix import PosixFileSystem
from journalkit.testing import PowerCut, SimulatedDisk


def played(name: str, disk: Any = None) -> tuple[Any, History]:
    """Return a disk on which a workload ran, and its history."""
    disk, history = disk if disk is not None else SimulatedDisk(), History()
    BY_NAME[name].run(disk, history)
    return disk, history


def test_there_are_forty_workloads_and_ten_stand_for_them() -> None:
    """Others count on these numbers."""
    assert len(WORKLOADS) >= 40
    assert len(BY_NAME) == len(WORKLOADS)
    assert len(CI_WORKLOADS) == 12


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_each_workload_repeats_itself_and_passes(name: str) -> None:
    """A crash point is a number of operations: it means nothing if two runs differ."""
    disk, history = played(name)
    other, _ = played(name)
    assert disk.history() == other.history()
    for after in (disk.process_crash(), disk.crash("none"), disk.crash("all"), disk.crash(1)):
        assert judge(after, history.path, history) == []


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_no_workload_starts_a_thread_of_the_store(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A syncer's first step once came between two operations of a run, in one run of many."""
    started: list[str] = []
    start = threading.Thread.start

    def note(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", note)
    played(name)
    # The closer is the end of a killed process, and finds nothing that it may do.
    assert [one for one in started if "journalkit" in one and "closer" not in one] == []


@pytest.mark.parametrize("name", sorted(workload.name for workload in CI_WORKLOADS))
def test_workloads_and_the_oracle_work_on_a_real_file_system(name: str, tmp_path: Path) -> None:
    """Real crashes are judged by the same oracle."""
    history = History(path=str(tmp_path / "store"))
    BY_NAME[name].run(PosixFileSystem(), history)
    assert judge(PosixFileSystem(), history.path, history) == []


@pytest.mark.parametrize("name", ["group_commit", "torn_tail_cut", "journal_pruned"])
def test_a_power_cut_anywhere_in_a_workload_leaves_a_history_that_can_be_judged(name: str) -> None:
    """What was submitted is noted before the call and what was promised behind it, whatever ends it."""
    count = played(name)[0].operation_count
    for at in range(1, count + 1, 7):
        disk, history = SimulatedDisk(), History()
        disk.stop_after(at)
        with pytest.raises(PowerCut):
            BY_NAME[name].run(disk, history)
        assert judge(disk.crash("none"), history.path, history) == [], f"cut at operation {at}"


def test_the_oracle_tells_a_lost_commit() -> None:
    """A promise that isn't kept is the first thing it is there for."""
    disk, history = played("durable_appends")
    history.submit({"never": "written"})
    history.acknowledge(history.submitted)
    assert any("were acknowledged" in complaint for complaint in judge(disk.crash("none"), history.path, history))


def test_the_oracle_tells_a_wrong_value() -> None:
    """The state is compared, not only counted."""
    disk, history = played("durable_appends")
    told = History()
    for commit in history.commits[:-1]:
        told.submit(dict(commit.changes))
    told.submit({"key 0": "another"})
    told.reopened(told.submitted)
    assert any("isn't the fold" in complaint for complaint in judge(disk.crash("all"), told.path, told))


def test_the_oracle_tells_records_that_nobody_submitted() -> None:
    """A store that is ahead of its history repeated something, or invented it."""
    disk, history = played("durable_appends")
    told = History()
    for commit in history.commits[:-2]:
        told.submit(dict(commit.changes))
    assert any("submitted" in complaint for complaint in judge(disk.crash("all"), told.path, told))


def test_the_oracle_tells_damage_and_a_store_that_is_gone() -> None:
    """Both by the reader and by verify; unreadable is not empty, and neither is nothing."""
    disk, history = played("durable_appends")
    disk.flip_bit(f"{history.path}/MANIFEST", 99)
    assert any("refused" in complaint for complaint in judge(disk, history.path, history))
    assert any("there is none" in complaint for complaint in judge(SimulatedDisk(), history.path, history))


def test_the_oracle_tells_a_store_that_looking_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading never writes: a reader with a side effect is found."""
    disk, history = played("durable_appends")
    status = disk.status

    def sneaky(path: str) -> Any:
        if path.endswith("/store"):
            disk.sync_directory("/")
        return status(path)

    monkeypatch.setattr(disk, "status", sneaky)
    assert any("changed it" in complaint for complaint in judge(disk, history.path, history))
