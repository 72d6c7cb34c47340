"""The scheduler by itself: toys with the bugs that it is there to find, and how many preemptions each takes."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from exploration import Explored, Guided, Noted, Priorities, Schedule, Wanderer, explore, read, spelled
from scheduled_files import ScheduledClock
from scheduled_threads import Threads, installed
from scheduler import Crew, Scheduler, Strategy

import journalkit.log.log
import journalkit.runtime.background

Toy = Callable[[Threads, Scheduler], Callable[[], bool]]
"""Adds its tasks, and returns what tells whether all was well."""


class Found:
    """What an exploration of a toy came to."""

    def __init__(self) -> None:
        self.wrong: list[tuple[int, Schedule, str]] = []
        self.explored = Explored([])

    @property
    def fewest_preemptions(self) -> int:
        return min(preemptions for preemptions, _, _ in self.wrong)


def play(toy: Toy, strategy: Strategy, crew: Crew, **arguments: Any) -> Scheduler:
    """Run one schedule of a toy; `stuck` says so if it was wrong."""
    threads = Threads()
    with Scheduler(strategy, ScheduledClock(threads), crew, **arguments) as scheduler:
        threads.scheduler = scheduler
        is_well = toy(threads, scheduler)
        scheduler.run()
        scheduler.stuck = scheduler.stuck or "".join(f"{name}: {error!r}" for name, error in scheduler.errors)
        if not scheduler.stuck and not is_well():
            scheduler.stuck = "wrong"
    return scheduler


def everything(toy: Toy, *, preemptions: int = 2, **arguments: Any) -> Found:
    """Run every schedule of a toy."""
    found, crew = Found(), Crew()

    def run(schedule: Schedule, guided: Guided) -> bool:
        scheduler = play(toy, guided, crew, **arguments)
        assert not guided.missed()
        if scheduler.stuck:
            found.wrong.append((scheduler.preemptions, schedule, scheduler.stuck))
        return True

    found.explored = explore(run, preemptions=preemptions)
    return found


def lost_update(
    threads: Threads, scheduler: Scheduler, lock: contextlib.AbstractContextManager[object] | None = None
) -> Callable[[], bool]:
    """Read, then write, with nothing that holds them together."""
    count = [0]

    def increment() -> None:
        with lock or contextlib.nullcontext():
            threads.point("read")
            read = count[0]
            threads.point("write")
            count[0] = read + 1

    scheduler.add("one", increment)
    scheduler.add("two", increment)
    return lambda: count == [2]


def locked_update(threads: Threads, scheduler: Scheduler) -> Callable[[], bool]:
    """The same under a lock."""
    return lost_update(threads, scheduler, threads.Lock())


def opposite_locks(threads: Threads, scheduler: Scheduler) -> Callable[[], bool]:
    """Two locks, taken in two orders."""
    first, second = threads.Lock(), threads.Lock()

    def take(*locks: Any) -> None:
        with locks[0], locks[1]:
            pass

    scheduler.add("one", lambda: take(first, second))
    scheduler.add("two", lambda: take(second, first))
    return lambda: True


def check_then_act(threads: Threads, scheduler: Scheduler) -> Callable[[], bool]:
    """Each looks whether the file is there, and makes it if not: two owners need no more than one switch."""
    made: list[str] = []

    def make(name: str) -> None:
        threads.point("status")
        if not made:
            threads.point("create")
            made.append(name)

    for name in ("one", "two", "three"):
        scheduler.add(name, lambda name=name: make(name))
    return lambda: len(made) == 1


def two_switches(threads: Threads, scheduler: Scheduler) -> Callable[[], bool]:
    """Seen half done only by who comes in between, and is himself left half way: two preemptions, not one."""
    state = SimpleNamespace(half=False, seen=False, acted=False)

    def change() -> None:
        threads.point("begin")
        state.half = True
        threads.point("end")
        state.half = False
        state.acted = state.seen

    def watch() -> None:
        threads.point("look")
        state.seen = state.half
        threads.point("turn away")
        state.seen = False

    scheduler.add("change", change)
    scheduler.add("watch", watch)
    return lambda: not state.acted


def test_a_lost_update_takes_one_preemption() -> None:
    """The smallest race of all; without a preemption nobody would ever see it."""
    found = everything(lost_update)
    assert found.fewest_preemptions == 1
    assert found.explored.by_preemptions[0] == 2


def test_a_lock_makes_every_schedule_right() -> None:
    """Nothing is found where there is nothing."""
    found = everything(locked_update, preemptions=4)
    assert found.wrong == []
    assert found.explored.schedules > 20


def test_opposite_locks_deadlock_with_one_preemption() -> None:
    """And the report names both threads and where they stand."""
    found = everything(opposite_locks)
    assert found.fewest_preemptions == 1
    report = found.wrong[0][2]
    assert report.startswith("deadlock")
    assert "one stands at" in report
    assert "two stands at" in report
    assert "with locks[0], locks[1]:" in report


def test_check_then_act_takes_one_preemption() -> None:
    """Three threads: the third one is a choice of its own."""
    assert everything(check_then_act).fewest_preemptions == 1


def test_a_bug_of_two_preemptions_is_not_found_with_one() -> None:
    """The bound means what it says, from both sides."""
    assert everything(two_switches, preemptions=1).wrong == []
    assert everything(two_switches, preemptions=2).fewest_preemptions == 2


def test_every_schedule_of_two_threads_is_run_once() -> None:
    """Two threads of n points have binomial(2n, n) interleavings: all of them, none twice, given enough preemptions."""
    orders: set[str] = set()

    def toy(threads: Threads, scheduler: Scheduler) -> Callable[[], bool]:
        order: list[str] = []

        def act(name: str) -> None:
            for _ in range(3):
                order.append(name)
                threads.point("step")

        scheduler.add("one", lambda: act("1"))
        scheduler.add("two", lambda: act("2"))
        return lambda: orders.add("".join(order)) is None

    found = everything(toy, preemptions=6)
    assert len(orders) == 20  # binomial(6, 3)
    assert found.wrong == []


def test_shares_are_all_schedules_together() -> None:
    """A unit is a share; what two of them run is what one would."""
    seen: list[list[Schedule]] = []
    for shares in (1, 3):
        seen.append([])
        counts = []
        for share in range(shares):
            crew = Crew()

            def run(schedule: Schedule, guided: Guided, share: int = share, crew: Crew = crew) -> bool:
                play(check_then_act, guided, crew)
                if schedule or share == 0:
                    seen[-1].append(schedule)
                return True

            counts.append(explore(run, preemptions=2, share=share, shares=shares).schedules)
        assert sum(counts) == len(seen[-1])
    assert sorted(seen[0]) == sorted(seen[1])
    assert len(set(seen[0])) == len(seen[0])


def test_a_schedule_can_be_written_down_and_repeated() -> None:
    """A failure is told as a word; the word leads there again, point by point."""
    _, schedule, _ = everything(lost_update).wrong[0]
    traces = [play(lost_update, Guided(read(spelled(schedule))), Crew(), is_traced=True).trace for _ in range(2)]
    assert traces[0] == traces[1]
    assert spelled(()) == "-"
    assert read("-") == ()


def test_a_schedule_that_does_not_fit_is_told() -> None:
    """A walk that isn't deterministic would leave schedules out without a word."""
    for schedule in (((99, 1),), ((0, 9),)):
        guided = Guided(schedule)
        play(lost_update, guided, Crew())
        assert guided.missed()


def test_a_thread_that_spins_is_a_livelock() -> None:
    """Nobody waits, and nothing happens: the bound on points ends it."""

    def toy(threads: Threads, scheduler: Scheduler) -> Callable[[], bool]:
        lock = threads.Lock()

        def spin() -> None:
            while True:
                with lock:
                    pass

        scheduler.add("spinner", spin)
        return lambda: True

    assert play(toy, Guided(), Crew()).stuck.startswith("livelock")


def test_time_passes_when_nobody_can_go_on() -> None:
    """A wait ends by its timeout, the earliest first, and the clock says so; nobody really waits."""
    ends: list[tuple[str, float]] = []

    def toy(threads: Threads, scheduler: Scheduler) -> Callable[[], bool]:
        clock, event = ScheduledClock(threads), threads.Event()
        scheduler._clock = clock
        for name, timeout_s in (("long", 60.0), ("short", 1.0)):

            def wait(name: str = name, timeout_s: float = timeout_s) -> None:
                assert not event.wait(timeout_s)
                ends.append((name, clock.monotonic_s()))

            scheduler.add(name, wait)
        return lambda: True

    scheduler = play(toy, Guided(), Crew())
    assert not scheduler.stuck
    assert ends == [("short", 1.0), ("long", 60.0)]
    assert scheduler.stalls == 2


def late_wakers(threads: Threads, scheduler: Scheduler) -> Callable[[], bool]:
    """Wrong only if the wait is over before the event, which somebody is about to set."""
    event, heard = threads.Event(), []
    scheduler.add("waits", lambda: heard.append(event.wait(5.0)))
    scheduler.add("wakes", event.set)
    return lambda: heard == [True]


def test_a_timeout_may_come_early_where_that_is_asked_for() -> None:
    """As a preemption: a machine that is slow lets any timeout pass."""
    assert everything(late_wakers).wrong == []
    assert everything(late_wakers, early_timeouts=True).fewest_preemptions == 1


@pytest.mark.parametrize("toy", [lost_update, check_then_act, opposite_locks, two_switches])
def test_random_schedules_find_them_too(toy: Toy) -> None:
    """Both ways of throwing dice; and what they found can be repeated without them."""
    for make in (Wanderer, lambda seed: Priorities(seed, depth=3, decisions=6)):
        crew = Crew()
        for number in range(200):
            noted = Noted(make(str(number)))
            if play(toy, noted, crew).stuck:
                break
        else:
            pytest.fail("200 random schedules found nothing")
        assert play(toy, Guided(noted.schedule), crew).stuck


def test_lines_can_be_points() -> None:
    """A race between two lines that no lock and no file separates, found where every line is a point."""
    state = SimpleNamespace(balance=0)

    def toy(threads: Threads, scheduler: Scheduler) -> Callable[[], bool]:
        state.balance = 0

        def deposit() -> None:
            balance = state.balance
            state.balance = balance + 1

        scheduler.add("one", deposit)
        scheduler.add("two", deposit)
        return lambda: state.balance == 2

    assert everything(toy).wrong == []
    here = frozenset({__file__})
    assert everything(toy, line_files=here, preemptions=1).fewest_preemptions == 1
    by_line = everything(toy, line_files=here, preemptions=1).explored.schedules
    assert everything(toy, line_files=here, by_opcode=True, preemptions=1).explored.schedules > by_line


def test_the_names_of_threading_behave_as_they_do_there() -> None:
    """A condition, a reentrant lock, a queue, a thread: used as programs use them."""

    def toy(threads: Threads, scheduler: Scheduler) -> Callable[[], bool]:
        condition, lock, items = threads.Condition(), threads.RLock(), threads.SimpleQueue()
        state = SimpleNamespace(turn=0, sum=0)

        def produce() -> None:
            for number in (1, 2, 3):
                with condition:
                    while state.turn:
                        condition.wait()
                    state.turn = number
                    condition.notify_all()

        def consume() -> None:
            for _ in range(3):
                with condition:
                    while not state.turn:
                        condition.wait()
                    items.put(state.turn)
                    state.turn = 0
                    condition.notify()

        def gather() -> None:
            helper = threads.Thread(target=consume, name="helper", daemon=True)
            helper.start()
            with lock, lock:
                state.sum = sum(items.get() for _ in range(3))
            helper.join()
            assert not helper.is_alive()
            assert helper.ident != threads.get_ident()
            assert threads.current_thread() is threads.current_thread()
            with pytest.raises(queue.Empty):
                items.get(timeout=1)
            with pytest.raises(RuntimeError):
                lock.release()

        scheduler.add("produce", produce)
        scheduler.add("gather", gather)
        return lambda: state.sum == 6

    found = everything(toy, preemptions=1)
    assert found.wrong == []
    assert found.explored.schedules > 20


def test_a_lock_left_held_outside_of_a_task_is_an_error_and_no_hang() -> None:
    """Whoever sets a scene up or judges it can't wait for anybody."""
    threads = Threads()
    lock = threads.Lock()
    assert lock.acquire()
    assert not lock.acquire(timeout=1)
    with pytest.raises(RuntimeError, match="for ever"):
        lock.acquire()


def test_journalkit_is_given_nothing_real() -> None:
    """Its modules have the scheduled names meanwhile, and their own again afterwards."""
    threads = Threads()
    with installed(threads):
        assert journalkit.log.log.Lock == threads.Lock  # type: ignore[attr-defined]
        assert journalkit.runtime.background.threading is threads  # type: ignore[attr-defined,comparison-overlap]
        with pytest.raises(AttributeError, match="isn't simulated"):
            journalkit.runtime.background.threading.Barrier(2)
    assert journalkit.log.log.Lock is threading.Lock  # type: ignore[attr-defined]
    assert journalkit.runtime.background.threading is threading
