"""What goes wrong, and when: errors, short writes, sectors in the wrong place, a read-only mount, the end of power.

Counting starts at the call that asks for the fault, at 1. Operations are named
as the methods of `journalkit.fs.interface` are, `describe` being a lock's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

MUTATING = frozenset(
    {
        "allocate", "create", "describe", "link", "lock", "make_directory", "pwrite", "remove_directory", "rename",
        "sync", "sync_data", "sync_directory", "truncate", "unlink",
    }
)  # fmt: skip
OPERATIONS = MUTATING | {
    "drop_cache", "free_bytes", "list", "open_direct", "open_read", "open_write", "pread", "size", "status",
}  # fmt: skip
NOT_READ_ONLY = MUTATING | {"open_write"}
"""What a read-only mount refuses: opening for writing too, although it changes nothing."""


Share: TypeAlias = Callable[[int], int]
"""Given how many bytes a write has returns how many of them it takes."""


class PowerCut(BaseException):
    """The machine is off. Not an Exception: nothing that runs on the machine can catch it and go on."""


@dataclass(slots=True)
class _Window:
    """Which of the matching operations are meant: the nth and those right after it."""

    operation: str
    path_contains: str
    nth: int
    times: int | None
    seen: int = 0

    def hits(self, operation: str, path: str) -> bool:
        if operation != self.operation or self.path_contains not in path:
            return False
        self.seen += 1
        return self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)


class Place(NamedTuple):
    """Where bytes go or come from by mistake: an offset in a file, "" being the one that was meant."""

    path: str
    offset_bytes: int


class FaultPlan:
    """Counts operations and decides which of them go wrong. Not locked: its disk is."""

    def __init__(self) -> None:
        self.operation_count = 0
        self.lines: list[str] = []
        self._errors: list[tuple[_Window, int]] = []
        self._short_writes: list[tuple[_Window, int | Share]] = []
        self._astray: list[tuple[_Window, Place]] = []
        self._last_operation: int | None = None
        self._read_only_from: int | None = None
        self._is_off = False
        self.fault_count = 0

    def fail(self, operation: str, nth: int, error: int, *, times: int | None, path_contains: str) -> None:
        """Arrange for an operation to raise OSError."""
        if operation not in OPERATIONS:
            raise ValueError(f"no such operation: {operation!r}; there are {', '.join(sorted(OPERATIONS))}")
        self._errors.append((_Window(operation, path_contains, _counted(nth), times), error))

    def short_write(self, nth: int, count_bytes: int | Share, *, path_contains: str) -> None:
        """Arrange for a pwrite to take only some of its bytes."""
        self._short_writes.append((_Window("pwrite", path_contains, _counted(nth), 1), count_bytes))

    def misdirect(
        self, operation: str, nth: int, place: Place, *, times: int | None, path_contains: str
    ) -> None:
        """Arrange for a pwrite or pread to reach another place."""
        self._astray.append((_Window(operation, path_contains, _counted(nth), times), place))

    def remount(self, *, read_only_from: int | None) -> None:
        """Arrange for the file system to be read-only from so many mutating operations on, or never (None)."""
        self._read_only_from = None if read_only_from is None else self.operation_count + _counted(read_only_from) - 1

    def mend(self) -> None:
        """Forget every fault that is still to come; the power, once it is gone, stays away."""
        self._errors.clear()
        self._short_writes.clear()
        self._astray.clear()
        self._read_only_from = None

    def stop_after(self, count: int) -> None:
        """Arrange for the power to go when the count-th mutating operation begins."""
        self._last_operation = self.operation_count + _counted(count) - 1

    def step(self, operation: str, path: str, detail: str = "") -> None:
        """Let one operation begin: it is counted, and raises PowerCut or OSError if that is the plan."""
        is_change = operation in MUTATING
        if is_change and self.operation_count == self._last_operation:
            self._is_off = True
        if self._is_off:
            raise PowerCut(f"before {operation} {path}")
        is_refused = (
            self._read_only_from is not None
            and operation in NOT_READ_ONLY
            and self.operation_count >= self._read_only_from
        )
        if is_change:
            self.operation_count += 1
            self.lines.append(f"{self.operation_count} {operation} {path}{detail}")
        if not self._errors and not is_refused:
            return
        # Every window counts, so that two faults asked for together don't shift each other.
        due = [error for window, error in self._errors if window.hits(operation, path)]
        if is_refused:
            due.insert(0, errno.EROFS)
        if due:
            self.fault_count += 1
            if not is_change:
                self.lines.append(f"- {operation} {path}")
            self.fails(due[0])
            raise OSError(due[0], os.strerror(due[0]), path)

    def fails(self, error: int) -> None:
        """Note in the history that the operation just begun raised."""
        self.lines[-1] += f" -> {os.strerror(error)}"

    def astray(self, operation: str, path: str) -> Place | None:
        """Return where the operation just begun reaches instead, None if it goes where it should."""
        if not self._astray:
            return None
        places = [place for window, place in self._astray if window.hits(operation, path)]
        if not places:
            return None
        if operation not in MUTATING:
            self.lines.append(f"- {operation} {path}")
        place = Place(places[0].path or path, places[0].offset_bytes)
        self.fault_count += 1
        self.lines[-1] += f" -> astray, {place.path} at {place.offset_bytes}"
        return place

    def taken(self, path: str, count_bytes: int) -> int:
        """Return how many bytes the write just begun takes."""
        limits = [limit for window, limit in self._short_writes if window.hits("pwrite", path)]
        taken = min([count_bytes, *(each(count_bytes) if callable(each) else each for each in limits[:1])])
        if taken < count_bytes:
            self.fault_count += 1
            self.lines[-1] += f" -> {taken} bytes"
        return taken


def _counted(nth: int) -> int:
    if nth < 1:
        raise ValueError(f"operations are counted from 1: {nth}")
    return nth
