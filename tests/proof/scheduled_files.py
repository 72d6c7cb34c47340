"""Files and time as a scheduler's tasks see them: every operation is a point of the schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scheduled_threads import Threads

from journalkit.testing import SimulatedClock


class ScheduledClock(SimulatedClock):
    """A clock whose `sleep` lets others run: it is a point, and takes no other's time."""

    def __init__(self, threads: Threads, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._threads = threads

    def sleep(self, duration_s: float) -> None:
        """Let the time pass, after whoever is chosen ran."""
        self._threads.point("sleep")
        self.advance(duration_s)


class Medium:
    """How often something was made durable: what a power cut leaves doesn't change in between."""

    __slots__ = ("syncs",)

    def __init__(self) -> None:
        self.syncs = 0


class ScheduledFiles:
    """A file system, or an open file, every operation of which is a point; locks of files too."""

    def __init__(self, threads: Threads, files: Any, medium: Medium) -> None:
        self._threads = threads
        self._files = files
        self._medium = medium

    def __getattr__(self, name: str) -> Any:
        threads, medium, operation = self._threads, self._medium, getattr(self._files, name)
        if name in _QUIET:
            return operation

        result: Callable[..., Any]
        if name in _OPENING:

            def opened(path: str) -> Any:
                threads.point(name, path)
                file = operation(path)
                return None if file is None else ScheduledFiles(threads, file, medium)

            result = opened
        elif name in _SYNCS:

            def synced(*arguments: Any) -> Any:
                threads.point(name, arguments[0] if arguments else "")
                medium.syncs += 1
                return operation(*arguments)

            result = synced
        else:

            def done(*arguments: Any) -> Any:
                threads.point(name, arguments[0] if arguments and isinstance(arguments[0], str) else "")
                return operation(*arguments)

            result = done
        # Found once: the next use is an attribute like any other.
        self.__dict__[name] = result
        return result


_OPENING = frozenset({"open_read", "open_direct", "open_write", "create", "lock"})
_SYNCS = frozenset({"sync", "sync_data", "sync_directory"})
_QUIET = frozenset({"close", "drop_cache", "filesystem_type", "reported_filesystem_type", "free_bytes", "describe"})
"""Nobody else can see whether these happened before or after: not points."""
