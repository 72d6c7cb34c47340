"""A scheduler that runs threads one at a time, in an order that can be repeated.

Each task is a real thread, but only the one that holds the baton runs. It may
hand the baton on at a *point* (before an operation of a lock, an event, a
queue, a thread or a file, and where a test asks for it) and has to when it
blocks or ends. Who gets it is a *decision*, made by a `Strategy`; everything
else is deterministic, so the decisions are the schedule.

Option 0 is always the undisturbed one: go on, or, when that can't be, the first
task that can. Taking a task that could go on off the baton is a preemption.

Time stands still while anybody can run. A wait with a timeout ends by it when
nobody else can go on, the earliest deadline first; with `early_timeouts` also
whenever the strategy says so, which counts as a preemption, because a disk
that takes long lets any timeout pass.

Nothing here knows locks or stores: `scheduled_threads.py` and `scenes.py` do.
"""

from __future__ import annotations

import sys
import traceback
from _thread import allocate_lock
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from types import FrameType, TracebackType
from typing import Any, Final, Protocol, Self

STEPS_MAX: Final = 20_000
"""More points than this in one schedule are taken for a livelock."""

EARLY_TIMEOUTS_MAX: Final = 5
"""More timeouts than this don't come early in one schedule: dice would let one thread's time run out for ever."""

_HANG_S: Final = 20.0
_HERE: Final = f"{Path(__file__).parent}/"


class Abandoned(BaseException):
    """The schedule is over: unwind. Not an Exception, so that nothing under test goes on after it."""


class Strategy(Protocol):
    """Who makes the decisions."""

    def decide(self, tasks: Sequence[Task], free: int) -> int:
        """Return the index of who runs next. `tasks[free:]` cost a preemption; there are always at least two."""
        ...


class SteppedClock(Protocol):
    """What a scheduler asks of a clock: `journalkit.testing.SimulatedClock` is one."""

    def monotonic_s(self) -> float:
        """Return the time."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        ...


class Task:
    """One thread of a schedule. `ready` is what it waits for, None while it can run."""

    __slots__ = ("baton", "body", "deadline_s", "error", "is_background", "is_done", "name", "number", "owner", "ready",
                 "timed_out", "worker")  # fmt: skip

    def __init__(self, number: int, name: str, body: Callable[[], object], *, is_background: bool) -> None:
        self.number = number
        self.name = name
        self.body = body
        self.is_background = is_background
        self.ready: Callable[[], bool] | None = None
        self.deadline_s: float | None = None
        self.timed_out = False
        self.is_done = False
        self.error: BaseException | None = None
        # What stands for the thread in the program under test.
        self.owner: Any = None
        self.worker: _Worker | None = None


class _Worker:
    """A real thread that does one task after the other: making one for each would cost more than most schedules."""

    def __init__(self, idle: list[_Worker]) -> None:
        self.baton = allocate_lock()
        self.baton.acquire()
        self.job: Callable[[], None] | None = None
        self._idle = idle
        self.thread = Thread(target=self._loop, name="scheduled", daemon=True)
        self.thread.start()

    def _loop(self) -> None:
        while True:
            self.baton.acquire()
            job, self.job = self.job, None
            if job is None:
                return
            job()
            del job


class Crew:
    """The real threads that schedules share."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []

    def hire(self) -> _Worker:
        """Return a thread that has nothing to do."""
        return self._idle.pop() if self._idle else _Worker(self._idle)

    def give_back(self, worker: _Worker) -> None:
        """Take a thread back that is about to wait for its next job."""
        self._idle.append(worker)


class Scheduler:
    """One schedule. Use it in a `with` block: `add` tasks, `run`, look at what came of it.

    `stuck` says why it didn't come to its end, with every thread's stack; `trace` lists the points that were passed,
    if asked for; `stalls` counts the timeouts that somebody had to wait for because nobody woke him.
    """

    def __init__(
        self,
        strategy: Strategy,
        clock: SteppedClock,
        crew: Crew,
        *,
        early_timeouts: bool = False,
        is_traced: bool = False,
        line_files: frozenset[str] = frozenset(),
        by_opcode: bool = False,
    ) -> None:
        """Make one.

        `line_files` are source files in which every line (or every opcode) is a
        point too.
        """
        self._strategy = strategy
        self._clock = clock
        self._crew = crew
        self._early_timeouts = EARLY_TIMEOUTS_MAX if early_timeouts else 0
        self._line_files = line_files
        self._by_opcode = by_opcode
        # Called when a task is taken off the baton, before another one gets it.
        self.on_preemption: Callable[[], None] | None = None
        self._tasks: list[Task] = []
        self._foreground = 0
        self._finished = allocate_lock()
        self._finished.acquire()
        self._is_abandoned = False
        self.current: Task | None = None
        self.steps = 0
        self.preemptions = 0
        self.stalls = 0
        self.stuck = ""
        self.trace: list[str] | None = [] if is_traced else None

    # Tasks

    def add(self, name: str, body: Callable[[], object], *, is_background: bool = False) -> Task:
        """Have `body` run as a thread.

        The schedule ends when all that aren't in the background ended, and those only wait.
        """
        task = Task(len(self._tasks) + 1, name, body, is_background=is_background)
        self._tasks.append(task)
        self._foreground += not is_background
        return task

    def run(self) -> None:
        """Run every task to its end, or to where it is stuck."""
        first = self._choose([task for task in self._tasks if task.ready is None], is_blocked=True)
        self._hand_to(first)
        self._await()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        """Unwind who is still parked, one after the other."""
        self._is_abandoned = True
        for task in self._tasks:
            if task.worker is not None and not task.is_done:
                self.current = task
                task.worker.baton.release()
                self._await()
        self.current = None

    @property
    def errors(self) -> list[tuple[str, BaseException]]:
        """What ended a task that should have come to its end."""
        return [(task.name, task.error) for task in self._tasks if task.error is not None]

    # Points, called by the task that runs

    def point(self, operation: str, what: object = "") -> None:
        """Offer the baton to who could run too. Before the operation, which happens at once when this returns."""
        task = self.current
        if task is None:
            return
        self._count(task, operation, what)
        others = [other for other in self._tasks if other is not task and _can_run(other)]
        if not others and not self._early_timeouts:
            return
        chosen = self._choose([task, *others], is_blocked=False)
        if chosen is not task:
            if self.on_preemption is not None:
                self.on_preemption()
            self._switch(task, chosen)

    def block(self, ready: Callable[[], bool], timeout_s: float | None, operation: str) -> bool:
        """Wait until `ready`; return False if the time was over before."""
        task = self.current
        if task is None:
            raise RuntimeError(f"{operation}: nobody will ever end this wait")
        if self._is_abandoned:
            raise Abandoned
        task.ready = ready
        task.timed_out = False
        task.deadline_s = None if timeout_s is None else self._clock.monotonic_s() + timeout_s
        if self.trace is not None:
            self.trace.append(f"{task.name}: waits in {operation} at {_place()}")
        chosen = self._next()
        if chosen is None:
            self._finished.release()
            self._park(task)
        elif chosen is not task:
            self._switch(task, chosen)
        task.ready = task.deadline_s = None
        return not task.timed_out

    def _count(self, task: Task, operation: str, what: object) -> None:
        if self._is_abandoned:
            raise Abandoned
        self.steps += 1
        if self.trace is not None:
            self.trace.append(f"{task.name}: {operation} {what} at {_place()}")
        if self.steps > STEPS_MAX:
            self._give_up(f"livelock: {STEPS_MAX} points passed, and no end")
            self._finished.release()
            self._park(task)

    # Decisions

    def _choose(self, options: list[Task], *, is_blocked: bool) -> Task:
        """Return who runs next. Whoever is first in `options` may go on for nothing; all may, when one is blocked."""
        free = len(options) if is_blocked else 1
        if self._early_timeouts and self._foreground:
            late = min(filter(_is_timed, self._tasks), key=_deadline, default=None)
            if late is not None:
                options.append(late)
        if len(options) == 1:
            return options[0]
        index = self._strategy.decide(options, free)
        chosen = options[index]
        if index >= free:
            self.preemptions += 1
        if chosen.ready is not None and not chosen.ready():
            self._early_timeouts -= 1
            self._time_out(chosen)
        return chosen

    def _next(self) -> Task | None:
        """Return who runs while the current task can't; None at the end, and when nobody ever will."""
        options = [task for task in self._tasks if _can_run(task)]
        if options:
            return self._choose(options, is_blocked=True)
        if not self._foreground:
            return None
        late = min(filter(_is_timed, self._tasks), key=_deadline, default=None)
        if late is None:
            self._give_up("deadlock: nobody can go on")
            return None
        self.steps += 1
        if self.steps > STEPS_MAX:
            self._give_up(f"livelock: {STEPS_MAX} points passed, and only timeouts end waits")
            return None
        self.stalls += not late.is_background
        self._time_out(late)
        return late

    def _time_out(self, task: Task) -> None:
        self._clock.advance(max(0.0, _deadline(task) - self._clock.monotonic_s()))
        task.timed_out = True
        task.ready = None
        if self.trace is not None:
            self.trace.append(f"{task.name}: its wait is over by time")

    # The baton

    def _switch(self, task: Task, chosen: Task) -> None:
        self._hand_to(chosen)
        self._park(task)

    def _hand_to(self, task: Task) -> None:
        self.current = task
        worker = task.worker
        if worker is None:
            worker = task.worker = self._crew.hire()
            worker.job = lambda: self._do(task)
        worker.baton.release()

    def _park(self, task: Task) -> None:
        assert task.worker is not None
        task.worker.baton.acquire()
        if self._is_abandoned:
            raise Abandoned

    def _do(self, task: Task) -> None:
        """One task from its beginning to its end, in its thread."""
        assert task.worker is not None
        if self._line_files:
            sys.settrace(self._on_call)
        try:
            if not self._is_abandoned:
                task.body()
        except Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001 - the schedule tells what ended a thread
            task.error = error
        finally:
            if self._line_files:
                sys.settrace(None)
        task.is_done = True
        self._foreground -= not task.is_background
        self._crew.give_back(task.worker)
        chosen = None if self._is_abandoned or self.stuck else self._next()
        if chosen is None:
            self._finished.release()
        else:
            self._hand_to(chosen)

    def _await(self) -> None:
        if not self._finished.acquire(timeout=_HANG_S):
            raise RuntimeError("a thread waits for something that the scheduler doesn't know:\n" + self._stacks())

    def _give_up(self, why: str) -> None:
        self.stuck = f"{why}\n{self._stacks()}"

    def _stacks(self) -> str:
        frames = sys._current_frames()
        texts: list[str] = []
        for task in self._tasks:
            if task.worker is None or task.is_done:
                continue
            frame = frames.get(task.worker.thread.ident or 0)
            stack = traceback.extract_stack(frame) if frame is not None else []
            lines = [
                f"    {entry.filename}:{entry.lineno} {entry.name}: {entry.line}"
                for entry in stack
                if not entry.filename.endswith((__file__, "/threading.py"))
            ]
            texts.append("\n".join([f"  {task.name} stands at", *lines]))
        return "\n".join(texts)

    # Lines

    def _on_call(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in self._line_files:
            return None
        if self._by_opcode:
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._on_line

    def _on_line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event in ("line", "opcode"):
            self.point(event)
        return self._on_line


def _can_run(task: Task) -> bool:
    return not task.is_done and (task.ready is None or task.ready())


def _is_timed(task: Task) -> bool:
    return task.deadline_s is not None and not task.is_done and task.ready is not None and not task.ready()


def _deadline(task: Task) -> float:
    assert task.deadline_s is not None
    return task.deadline_s


def _place() -> str:
    """The line of the program under test that asked for this."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(_HERE) and frame.f_back is not None:
        frame = frame.f_back
    if frame is None:
        return "?"
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
