"""When several workers save: all at the same call, or nobody goes on past it."""

from __future__ import annotations

import itertools
import math
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import journalkit
from journalkit.checkpoint.joining import worker_on
from journalkit.clock import SystemClock
from journalkit.errors import (
    ClosedError,
    JournalError,
    KeyTypeError,
    KeyValueError,
)
from journalkit.format import names
from journalkit.testing import SimulatedBucket
from tests.unit.workers.conftest import Job
from tests.unit.workers.test_killed import KilledError, QuickClock

PATIENCE_S = 10


def steps() -> Iterator[int]:
    """Yield the numbers of a job's steps, each of which takes its time."""
    for number in itertools.count(1):
        SystemClock().sleep(0.001)
        yield number


def test_all_save_at_the_same_call_when_rank_0_wants_to(job: Job) -> None:
    """However far one is before the others, and however often each looks at its clock."""

    def live(worker: journalkit.Worker) -> Any:
        saved: list[Any] = []
        for call in steps():
            if worker.due(steps=10):
                saved.append((call, worker.save({}, step=call).id))
                if len(saved) == 2:
                    saved.append(worker.save_async({}, step=call).wait() is not None)
                if len(saved) > 3:
                    return saved
        return None

    found = job.run(3, live, when=journalkit.Every(steps=95), look_every=0.01)
    assert found[0] == found[1] == found[2]
    assert [each[1] for each in (found[0][0], found[0][1], found[0][3])] == ["1.1", "1.2", "1.4"]
    assert found[0][0][0] >= 10


def test_all_end_together_when_the_time_of_one_is_up(job: Job) -> None:
    """Whichever is told: all hear of it at the same call, and one checkpoint is of that moment."""

    def live(worker: journalkit.Worker) -> Any:
        with worker.on_preemption(grace=60, signals=()) as preemption:
            assert not preemption.requested
            for call in steps():
                if worker.rank == 2 and call == 20:
                    preemption.request("a notice")
                    assert not preemption.requested
                if worker.due():
                    assert preemption.requested
                    assert worker.due()
                    assert 30 < preemption.remaining_s <= 60
                    saved = preemption.save({"call": call}, step=call, offsets={"in": call}, name="the last")
                    assert saved is not None
                    return call, preemption.reason, saved.id, saved.name, dict(saved.offsets) == {"in": call}
                assert not preemption.requested
        return None

    found = job.run(3, live, look_every=0.01)
    assert found[0] == found[1] == found[2]
    assert found[0][0] > 20
    assert found[0][1:] == ("a notice", "1.1", "the last", True)


def test_a_signal_is_noted_and_agreed_on(stored: Job) -> None:
    """A worker alone agrees with itself; until then it goes on."""
    with (
        journalkit.open_worker(stored.where, rank=0, size=1, run="r", look_every=0.01) as worker,
        worker.on_preemption(grace=30) as preemption,
    ):
        assert not worker.due()
        signal.raise_signal(signal.SIGUSR1)
        assert not preemption.requested
        step = next(step for step in steps() if worker.due())
        assert (preemption.requested, preemption.reason) == (True, "SIGUSR1")
        saved = preemption.save({"step": step}, step=step)
        assert saved is not None
        assert saved.load() == {"step": step}


def test_looks_leave_nothing_in_the_place(stored: Job) -> None:
    """At the latest the next run removes it."""

    def live(worker: journalkit.Worker) -> None:
        next(call for call in steps() if worker.due())

    stored.run(2, live, when=journalkit.Every(steps=1), look_every=0.01)
    stored.run(1, lambda worker: worker.save({}) and None)
    assert not any(names.LOOK in key for key in stored.contents())


def test_what_makes_no_sense_is_refused(stored: Job) -> None:
    """Before the job is touched, and by due itself."""
    for wrong in ({"when": 5}, {"look_every": "often"}, {"look_every": 0}, {"look_every": math.inf}):
        with pytest.raises((KeyTypeError, KeyValueError)):
            journalkit.open_worker(stored.where, rank=0, size=1, run="r", **wrong)  # type: ignore[arg-type]
    assert stored.contents() == set()
    with journalkit.open_worker(stored.where, rank=0, size=1, run="r") as worker:
        with pytest.raises(KeyValueError, match="when to save wasn't said"):
            worker.due()
        with pytest.raises(KeyValueError, match="grace"):
            worker.on_preemption(grace=0)
    for use in (worker.due, worker.on_preemption):
        with pytest.raises(ClosedError):
            use()


def agreed(
    bucket: SimulatedBucket, begun: Callable[[], None], *, saves: int = 3, patience_s: float = PATIENCE_S
) -> list[list[int]]:
    """Let three workers ask until they were due so many times or can't go on; return at which calls they were.

    Once one can't, the others ask for some time more, in which they could go past what it knows.
    """
    found: list[list[int]] = [[], [], []]
    ready = threading.Barrier(3, action=begun)
    is_ended = threading.Event()
    clock = QuickClock()

    def ask(worker: journalkit.Worker, due: list[int]) -> None:
        until_s = math.inf
        for call in steps():
            if worker.due():
                due.append(call)
            if is_ended.is_set():
                until_s = min(until_s, clock.monotonic_s() + 3 * PATIENCE_S)
            if len(due) == saves or clock.monotonic_s() >= until_s:
                return

    def live(rank: int) -> None:
        worker = worker_on(
            bucket.handle(f"rank {rank}"), clock, rank=rank, size=3, run="r", patience=patience_s,
            when=journalkit.Every(steps=5), look_every=0.01,
        )  # fmt: skip
        with worker:
            ready.wait(60)
            try:
                ask(worker, found[rank])
            except (JournalError, KilledError):
                is_ended.set()

    threads = [threading.Thread(target=live, args=(rank,), daemon=True) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a worker waits for ever"
    return found


def assert_in_step(found: list[list[int]], why: Any) -> None:
    """All were due at the same calls; who couldn't go on, at the first of them."""
    longest = max(found, key=len)
    assert all(each == longest[: len(each)] for each in found), f"{why}: {found}"


def test_whatever_the_storage_does_all_save_at_the_same_call() -> None:
    """Replies get lost, and requests fail: a look may be given up, and a worker that isn't told goes no further."""
    saved = 0
    for seed in range(5):
        bucket = SimulatedBucket(seed=seed)

        def spoil(bucket: SimulatedBucket = bucket) -> None:
            bucket.rates = {"unavailable": 0.02, "lost-reply": 0.1}

        found = agreed(bucket, spoil, patience_s=10 * PATIENCE_S)
        assert_in_step(found, seed)
        saved += len(found[0])
    assert saved


@pytest.mark.parametrize("victim", [0, 1])
def test_killed_at_any_operation_of_its_looks_nobody_saves_at_another_call(victim: int) -> None:
    """Who isn't told that the others save doesn't go on."""
    for operation in range(1, 14):
        left = itertools.count(1)
        bucket = SimulatedBucket(seed=operation)

        def kill(who: str, _: str, __: str, operation: int = operation, left: Any = left) -> None:
            if who == f"rank {victim}" and next(left) >= operation:
                raise KilledError

        def begun(bucket: SimulatedBucket = bucket, kill: Any = kill) -> None:
            bucket.before = kill

        assert_in_step(agreed(bucket, begun, saves=2), operation)


def test_the_storage_is_not_asked_between_looks(stored: Job) -> None:
    """A call costs a lock and no more."""

    def live(worker: journalkit.Worker) -> Any:
        worker.due()
        before = worker._looks._rounds._number
        return [worker.due() for _ in range(1000)], worker._looks._rounds._number - before < 3

    assert stored.run(2, live, when=journalkit.Every(steps=10**9)) == [([False] * 1000, True)] * 2
