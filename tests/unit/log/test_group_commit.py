"""Many threads, few fsyncs, and one order that all of them see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from journalkit.clock import SystemClock
from journalkit.errors import ConflictError, JournalError, StorageError
from journalkit.format.frame import Kind
from journalkit.fs.memory import MemoryFileSystem
from journalkit.log.commit import CHAINS, Commit, chain
from journalkit.testing import SimulatedDisk

Maker = Callable[..., Any]


class SlowSync:
    """Holds the fsyncs of a log's active segment until it is told to let them go."""

    def __init__(self, log: Any) -> None:
        self.begun, self.goes_on = threading.Event(), threading.Event()
        file = log.log.position.active.file
        self._real = file.sync_data
        file.sync_data = self._sync
        self.count = 0

    def _sync(self) -> None:
        self.count += 1
        self.begun.set()
        self.goes_on.wait(10)
        self._real()


def started(target: Callable[[], Any]) -> threading.Thread:
    """Return a thread that runs this."""
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def wait_for_queue(log: Any, length: int) -> None:
    """Wait until so many commits are in the queue."""
    until = time.monotonic() + 10
    while len(log.log._queue) < length:
        assert time.monotonic() < until
        time.sleep(0.001)


def leader_and_five(log: Any) -> tuple[SlowSync, list[threading.Thread], list[JournalError]]:
    """Return a log's held fsync with a leader inside and five who wait behind it, and where their errors go."""
    slow = SlowSync(log)
    errors: list[JournalError] = []

    def commit(payload: bytes) -> None:
        try:
            log.put(payload, durable=True)
        except JournalError as error:
            errors.append(error)

    threads = [started(lambda: commit(b"leader"))]
    slow.begun.wait(10)
    threads += [started(lambda index=index: commit(b"%d" % index)) for index in range(5)]
    wait_for_queue(log, 5)
    return slow, threads, errors


def test_who_comes_during_an_fsync_shares_the_next(bench: Maker) -> None:
    """Sixteen writers cost two fsyncs, not sixteen."""
    log = bench(fs=MemoryFileSystem())
    slow = SlowSync(log)
    threads = [started(lambda: log.put(b"leader", durable=True))]
    slow.begun.wait(10)
    threads += [started(lambda index=index: log.put(b"%d" % index, durable=True)) for index in range(15)]
    wait_for_queue(log, 15)
    slow.goes_on.set()
    for thread in threads:
        thread.join(10)
    assert len(log.acknowledged) == 16
    assert log.log.statistics.groups == slow.count == 2
    assert log.log.statistics.commits == 16
    log.log.close()
    log.check()


def test_followers_hear_of_their_leaders_failure(bench: Maker) -> None:
    """Nobody is acknowledged by an fsync that failed, least of all who only waited for it."""
    log = bench(fs=SimulatedDisk())
    slow, threads, errors = leader_and_five(log)

    def fail() -> None:
        raise OSError(5, "gone")

    slow._real = fail
    slow.goes_on.set()
    for thread in threads:
        thread.join(10)
    assert log.acknowledged == {}
    assert [type(error) for error in errors] == [StorageError] * 6
    assert log.visible == {}


def test_a_whole_group_hears_that_its_own_fsync_failed(bench: Maker) -> None:
    """Not only who led it: the others are told by the same outcome, and could be told another."""
    log = bench(fs=SimulatedDisk())
    slow, threads, errors = leader_and_five(log)
    real = slow._real

    def fail_from_the_second_on() -> None:
        if slow.count > 1:
            raise OSError(5, "gone")
        real()

    slow._real = fail_from_the_second_on
    slow.goes_on.set()
    for thread in threads:
        thread.join(10)
    assert log.acknowledged == {1: b"leader"}
    assert [type(error) for error in errors] == [StorageError] * 5
    assert log.visible == {1: b"leader"}


def test_who_waits_next_is_woken_and_not_left_to_its_timeout(bench: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking again now and then is for wake-ups that were lost with their thread; a latency of that is a bug."""
    monkeypatch.setattr("journalkit.log.log._WAIT_S", 60.0)
    monkeypatch.setattr("journalkit.log.writer.GROUP_BYTES_MAX", 0)  # so that each is a group of its own
    log = bench(fs=MemoryFileSystem())
    slow = SlowSync(log)
    threads = [started(lambda: log.put(b"leader", durable=True))]
    slow.begun.wait(10)
    threads += [started(lambda index=index: log.put(b"%d" % index, durable=True)) for index in range(3)]
    wait_for_queue(log, 3)
    slow.goes_on.set()
    for thread in threads:
        thread.join(4)
    assert len(log.acknowledged) == 4


def test_a_weaker_commit_waits_behind_a_stronger_one(bench: Maker) -> None:
    """It must not be visible before a record that precedes it; the log is a prefix for every reader."""
    log = bench(fs=MemoryFileSystem())
    slow = SlowSync(log)
    strong = started(lambda: log.put(b"strong", durable=True))
    slow.begun.wait(10)
    weak = started(lambda: log.put(b"weak"))
    wait_for_queue(log, 1)
    time.sleep(0.02)
    assert log.visible == {}
    assert log.log.last_lsn == 0
    slow.goes_on.set()
    strong.join(10)
    weak.join(10)
    assert log.visible == {1: b"strong", 2: b"weak"}


def test_a_check_sees_the_commits_of_its_own_group(bench: Maker) -> None:
    """They have LSNs and are not visible: a transaction that forgets them loses an update."""
    log = bench(fs=MemoryFileSystem())
    slow = SlowSync(log)
    threads = [started(lambda: log.put(b"leader", durable=True))]
    slow.begun.wait(10)
    seen: list[list[bytes | None]] = []

    def check(last_lsn: int, earlier: Sequence[Commit]) -> None:
        seen.append([each.payload for each in earlier])
        if earlier:
            raise ConflictError("somebody was first")

    refused: list[ConflictError] = []

    def conditional(payload: bytes) -> None:
        try:
            log.put(payload, durable=True, check=check)
        except ConflictError as error:
            refused.append(error)

    for count, payload in enumerate([b"first", b"second"], start=1):
        threads.append(started(lambda payload=payload: conditional(payload)))
        wait_for_queue(log, count)
    slow.goes_on.set()
    for thread in threads:
        thread.join(10)
    assert seen == [[], [b"first"]]
    assert len(refused) == 1
    assert log.visible == {1: b"leader", 2: b"first"}


def test_an_outcome_is_given_once(bench: Maker) -> None:
    """A leader that was interrupted may leave in the queue who has his outcome already."""
    log = bench(fs=MemoryFileSystem())
    served, waiting = (Commit(payload, Kind.RECORD, (), False) for payload in (b"served", b"waiting"))
    served.settle(None)
    log.log._queue.extend([served, waiting])
    assert log.log._writer.lead(log.log._queue) == [served, waiting]
    assert (served.lsn, waiting.lsn) == (0, 1)
    assert log.visible == {1: b"waiting"}


def test_leadership_that_was_left_is_taken_by_who_waits(bench: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wake-up may be lost with the thread that owed it; waiting is bounded all the same."""
    log = bench(fs=MemoryFileSystem())
    log.log._leadership.acquire()
    outcome: list[int] = []
    follower = started(lambda: outcome.append(log.put(b"follower")))
    wait_for_queue(log, 1)
    log.log._leadership.release()
    follower.join(10)
    assert outcome == [1]


def test_a_wake_that_came_first_is_not_lost() -> None:
    """Between looking and sleeping there is always time for the other thread."""
    commit = Commit(b"", Kind.RECORD, (), False)
    commit.wake()
    commit.wait(10)
    commit.listen()
    began = time.monotonic()
    for _ in range(2):
        commit.wake()
        commit.wake()
        commit.wait(10)
    assert time.monotonic() - began < 5
    commit.wait(0.001)


def test_two_who_wake_the_same_waiter_at_once_do_no_harm() -> None:
    """Its leader and whoever goes before it: both have looked, one comes second."""
    commit = Commit(b"", Kind.RECORD, (), False)

    class Bell:
        def locked(self) -> bool:
            return True

        def release(self) -> None:
            raise RuntimeError("release unlocked lock")

    commit._bell = Bell()  # type: ignore[assignment]
    commit.wake()


def test_who_was_served_wakes_who_comes_after_him() -> None:
    """Each waiter is somebody's to wake: the leader's or another's, and who has gone is nobody's."""
    commits = [Commit(b"%d" % number, Kind.RECORD, (), False) for number in range(8)]
    unheard = commits.pop(3)
    for commit in commits:
        commit.listen()
    chain([*commits[:3], unheard, *commits[3:]])
    assert [commit.is_called for commit in commits] == [False] * CHAINS + [True] * (7 - CHAINS)
    assert [commit.following for commit in commits] == [*commits[CHAINS:], *[None] * CHAINS]
    assert (unheard.is_called, unheard.following) == (False, None)
    commits[0].leave()
    began = time.monotonic()
    commits[CHAINS].wait(10)
    assert time.monotonic() - began < 5
    assert not commits[0].is_waited_for


def test_threads_agree_with_the_log_on_everything(bench: Maker) -> None:
    """Mixed strengths, rotations, syncs and somebody who prunes: dense LSNs, one outcome each, the same at the end."""
    log = bench(fs=MemoryFileSystem(), segment_bytes_max=8192, clock=SystemClock())

    def work(number: int) -> None:
        for index in range(150):
            log.put(b"%d:%d" % (number, index), durable=(number + index) % 3 == 0)
            if index % 40 == number:
                log.log.sync()
            if number == 0 and index % 50 == 0:
                log.log.prepare_next()
                log.log.rotate()
                log.publish()

    threads = [started(lambda number=number: work(number)) for number in range(8)]
    for thread in threads:
        thread.join(30)
    assert len(log.acknowledged) == 8 * 150
    log.log.close()
    records = log.check()
    assert dict(records) == log.visible == log.acknowledged
    for number in range(8):
        mine = [payload for _, payload in records if payload.startswith(b"%d:" % number)]
        assert mine == [b"%d:%d" % (number, index) for index in range(150)]


def test_a_crowd_is_waited_for_and_a_loner_is_not(bench: Maker) -> None:
    """Who was just served comes back during the next fsync; a leader that waits a moment takes him along."""
    log = bench(fs=MemoryFileSystem(), clock=SystemClock())
    sleeps: list[float] = []

    class Clock(SystemClock):
        def sleep(self, duration_s: float) -> None:
            sleeps.append(duration_s)

    log.log._clock = Clock()
    log.put(b"alone", durable=True)
    assert sleeps == []
    log.log._crowd = 5
    log.put(b"after a crowd, with a quick disk", durable=True)
    assert sleeps == []
    log.log._crowd, log.log._lead_s = 5, 1.0
    log.put(b"after a crowd", durable=True)
    assert sleeps == [0, 0]
    assert log.log._crowd == 1
    log.log._crowd, log.log._lead_s = 2, 1.0

    class Arrival(SystemClock):
        def sleep(self, duration_s: float) -> None:
            sleeps.append(duration_s)
            log.log._queue.append(Commit(b"arrival", Kind.RECORD, (), True))

    log.log._clock = Arrival()
    log.put(b"with company", durable=True)
    assert log.visible[5] == b"arrival"
    assert log.log._crowd == 2
    log.log._crowd = 5
    log.put(b"in no hurry")
    assert len(sleeps) == 3
