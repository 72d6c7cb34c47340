"""`threading` and `queue` as a scheduler's tasks see them.

`Threads` stands for the modules `threading` and `queue` in the program under
test: the same names, and every operation is a point of the schedule. Outside a
task (while a scene is set up or judged) operations simply happen, and one that
would wait is an error. A name that isn't here raises: nothing real slips in.

A lock gives no order to those who wait for it, nor do these: whoever can go on
is a choice. `installed` puts them in place of what journalkit's modules
imported; the product knows nothing of it.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Self

from scheduler import Scheduler, Task

_SPARED = ("journalkit.testing", "journalkit.fs.descriptors", "journalkit.cli", "journalkit.bench")
"""The disk's own guard, POSIX descriptors, and programs: nothing in them takes part in a schedule."""


class Threads:
    """The module. `scheduler` is the schedule that runs now, None while there is none."""

    def __init__(self) -> None:
        self.scheduler: Scheduler | None = None
        self.Empty = queue.Empty

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"threading.{name} isn't simulated; add it to tests/proof/scheduled_threads.py")

    def point(self, operation: str, what: object = "") -> None:
        """Pass a point, if a task runs."""
        scheduler = self.scheduler
        if scheduler is not None and scheduler.current is not None:
            scheduler.point(operation, what)

    def block(self, ready: Callable[[], bool], timeout_s: float | None, operation: str) -> bool:
        """Wait; False when the time is over. Nobody waits outside a task."""
        scheduler = self.scheduler
        if scheduler is None or scheduler.current is None:
            if timeout_s is None:
                raise RuntimeError(f"{operation} would wait for ever: no task runs that could end it")
            return False
        return scheduler.block(ready, timeout_s, operation)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Do something that is no part of the schedule, in the thread of a task."""
        scheduler, self.scheduler = self.scheduler, None
        task = scheduler.current if scheduler is not None else None
        if scheduler is not None:
            scheduler.current = None
        try:
            yield
        finally:
            self.scheduler = scheduler
            if scheduler is not None:
                scheduler.current = task

    @property
    def task(self) -> Task | None:
        """Who runs."""
        return self.scheduler.current if self.scheduler is not None else None

    def get_ident(self) -> int:
        """Return the current thread's number."""
        task = self.task
        return 1000 + task.number if task is not None else 1

    def current_thread(self) -> object:
        """Return what stands for the current thread."""
        task = self.task
        if task is None:
            return threading.main_thread()
        if task.owner is None:
            task.owner = ScheduledThread(self, name=task.name).standing_for(task)
        return task.owner

    def Lock(self) -> ScheduledLock:  # noqa: N802 - the name it has in threading
        """Make a lock."""
        return ScheduledLock(self)

    def RLock(self) -> ScheduledRLock:  # noqa: N802
        """Make a reentrant lock."""
        return ScheduledRLock(self)

    def Event(self) -> ScheduledEvent:  # noqa: N802
        """Make an event."""
        return ScheduledEvent(self)

    def Condition(self, lock: ScheduledRLock | ScheduledLock | None = None) -> ScheduledCondition:  # noqa: N802
        """Make a condition."""
        return ScheduledCondition(self, lock)

    def SimpleQueue(self) -> ScheduledQueue:  # noqa: N802
        """Make a queue."""
        return ScheduledQueue(self)

    def Thread(self, **arguments: Any) -> ScheduledThread:  # noqa: N802
        """Make a thread, to be started."""
        return ScheduledThread(self, **arguments)


class ScheduledLock:
    """`threading.Lock`."""

    __slots__ = ("_is_held", "_threads")

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._is_held = False

    def _is_free(self) -> bool:
        return not self._is_held

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it."""
        self._threads.point("acquire")
        if self._is_held:
            if not blocking:
                return False
            if not self._threads.block(self._is_free, timeout if timeout >= 0 else None, "acquire"):
                return False
        self._is_held = True
        return True

    def release(self) -> None:
        """Give it back."""
        self._threads.point("release")
        if not self._is_held:
            raise RuntimeError("release of a lock that nobody holds")
        self._is_held = False

    def locked(self) -> bool:
        """Whether somebody has it."""
        self._threads.point("locked")
        return self._is_held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class ScheduledRLock:
    """`threading.RLock`."""

    __slots__ = ("_count", "_owner", "_threads")

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._owner = 0
        self._count = 0

    def _is_free(self) -> bool:
        return not self._count

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, perhaps again."""
        threads = self._threads
        me = threads.get_ident()
        if self._owner == me and self._count:
            self._count += 1
            return True
        threads.point("acquire")
        if self._count:
            if not blocking:
                return False
            if not threads.block(self._is_free, timeout if timeout >= 0 else None, "acquire"):
                return False
        self._owner, self._count = me, 1
        return True

    def release(self) -> None:
        """Give it back once."""
        if self._owner != self._threads.get_ident() or not self._count:
            raise RuntimeError("release of a lock that is somebody else's")
        if self._count == 1:
            self._threads.point("release")
        self._count -= 1

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class ScheduledEvent:
    """`threading.Event`."""

    __slots__ = ("_is_set", "_threads")

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._is_set = False

    def _reads(self) -> bool:
        return self._is_set

    def is_set(self) -> bool:
        """Whether it happened."""
        self._threads.point("is_set")
        return self._is_set

    def set(self) -> None:
        """Make it have happened."""
        self._threads.point("set")
        self._is_set = True

    def clear(self) -> None:
        """Make it not have happened."""
        self._threads.point("clear")
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it; return whether it happened."""
        self._threads.point("wait")
        return self._is_set or self._threads.block(self._reads, timeout, "wait")


class ScheduledCondition:
    """`threading.Condition`; whom a notification wakes first is a choice."""

    def __init__(self, threads: Threads, lock: ScheduledRLock | ScheduledLock | None) -> None:
        self._threads = threads
        self._lock = lock if lock is not None else ScheduledRLock(threads)
        self._waiters: deque[ScheduledEvent] = deque()
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock back, wait, take it again."""
        told = ScheduledEvent(self._threads)
        self._waiters.append(told)
        self._lock.release()
        try:
            return told.wait(timeout)
        finally:
            self._lock.acquire()
            if told in self._waiters:
                self._waiters.remove(told)

    def notify(self, n: int = 1) -> None:
        """Wake some."""
        for _ in range(min(n, len(self._waiters))):
            self._waiters.popleft().set()

    def notify_all(self) -> None:
        """Wake all."""
        self.notify(len(self._waiters))

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


class ScheduledQueue:
    """`queue.SimpleQueue`."""

    __slots__ = ("_items", "_threads")

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._items: deque[Any] = deque()

    def _has_some(self) -> bool:
        return bool(self._items)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add one."""
        self._threads.point("put")
        self._items.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take one, or raise Empty."""
        self._threads.point("get")
        if not self._items and not (block and self._threads.block(self._has_some, timeout, "get")):
            raise queue.Empty
        return self._items.popleft()

    def empty(self) -> bool:
        """Whether there is none."""
        self._threads.point("empty")
        return not self._items


class ScheduledThread:
    """`threading.Thread`."""

    def __init__(
        self, threads: Threads, *, target: Callable[..., object] | None = None, name: str = "thread",
        args: tuple[Any, ...] = (), daemon: bool = False,
    ) -> None:  # fmt: skip
        self._threads = threads
        self._target = target
        self._arguments = args
        self._task: Task | None = None
        self.name = name
        self.daemon = daemon

    def standing_for(self, task: Task) -> Self:
        """Be what the program knows of a task that the scene began."""
        self._task = task
        return self

    @property
    def ident(self) -> int | None:
        """Its number, None before its start."""
        return 1000 + self._task.number if self._task is not None else None

    def start(self) -> None:
        """Add it to the schedule; it runs from the next point on."""
        scheduler, target = self._threads.scheduler, self._target
        if scheduler is None or target is None:
            raise RuntimeError(f"the thread {self.name!r} was started where no schedule runs")
        self._task = scheduler.add(self.name, lambda: target(*self._arguments), is_background=True)
        self._task.owner = self
        self._threads.point("start", self.name)

    def _is_done(self) -> bool:
        return self._task is not None and self._task.is_done

    def is_alive(self) -> bool:
        """Whether it runs."""
        self._threads.point("is_alive", self.name)
        return self._task is not None and not self._task.is_done

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        self._threads.point("join", self.name)
        if not self._is_done():
            self._threads.block(self._is_done, timeout, "join")


@contextmanager
def installed(threads: Threads) -> Iterator[None]:
    """Let journalkit's modules have `threads` where they have `threading` and `queue`."""
    stands_for: dict[int, object] = {id(threading): threads, id(queue): threads}
    for name in ("Lock", "RLock", "Event", "Condition", "Thread", "get_ident", "current_thread"):
        stands_for[id(getattr(threading, name))] = getattr(threads, name)
    stands_for[id(queue.SimpleQueue)] = threads.SimpleQueue
    replaced: list[tuple[Any, str, object]] = []
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] != "journalkit" or module_name.startswith(_SPARED):
            continue
        for name, value in list(vars(module).items()):
            if id(value) in stands_for:
                replaced.append((module, name, value))
                setattr(module, name, stands_for[id(value)])
    try:
        yield
    finally:
        for module, name, value in replaced:
            setattr(module, name, value)
