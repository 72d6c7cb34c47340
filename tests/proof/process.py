"""A process between a store and a file system, that can be killed.

Killing it drops its files and its lock, as the kernel does, so that the next
process finds the same bytes; that works on a simulated disk and on a real one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from journalkit.format import names
from journalkit.fs.interface import FileSystem
from journalkit.testing.children import InlineChild

_MUTATING: Final = ("make_directory", "rename", "link", "unlink", "remove_directory", "sync_directory")
_MUTATING_FILE: Final = ("sync", "allocate", "truncate")


class Killed(BaseException):
    """The process is gone, as with SIGKILL. Not an Exception: nothing in it can go on."""


class Process:
    """A file system as one process has it.

    `fuse` is how many more operations that change something it lives through,
    `tear` the share of the next frame that is written before it dies, and
    `at_sync` is called once, when the next fsync of a segment begins.
    """

    def __init__(self, inner: FileSystem) -> None:
        self._inner = inner
        self._held: list[Any] = []
        self.is_dead = False
        self.fuse: int | None = None
        self.tear: float | None = None
        self.at_sync: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        self.step(is_change=name in _MUTATING)
        return getattr(self._inner, name)

    def open_read(self, path: str) -> ProcessFile:
        """Open for reading."""
        self.step()
        return self._file(self._inner.open_read(path), path)

    def open_direct(self, path: str) -> ProcessFile:
        """Open for reading past the cache."""
        self.step()
        return self._file(self._inner.open_direct(path), path)

    def open_write(self, path: str) -> ProcessFile:
        """Open for writing."""
        self.step()
        return self._file(self._inner.open_write(path), path)

    def create(self, path: str) -> ProcessFile:
        """Create a file."""
        self.step(is_change=True)
        return self._file(self._inner.create(path), path)

    def start_child(self, _module: str) -> InlineChild:
        """Give a fold a child that is killed with this process."""
        self.step()
        return InlineChild(self)  # type: ignore[arg-type]

    def lock(self, path: str) -> Any:
        """Take the lock."""
        self.step(is_change=True)
        lock = self._inner.lock(path)
        if lock is not None:
            self._held.append(lock)
        return lock

    def step(self, *, is_change: bool = False) -> None:
        """Let one call begin, unless the process is dead."""
        if is_change and self.fuse is not None:
            self.fuse -= 1
            self.is_dead = self.is_dead or self.fuse < 0
        if self.is_dead:
            raise Killed

    def die(self) -> None:
        """Let go of everything: the kernel does it."""
        self.is_dead = True
        for held in self._held:
            held.close()
        self._held.clear()

    def _file(self, inner: Any, path: str) -> ProcessFile:
        self._held.append(inner)
        return ProcessFile(self, inner, path)


class ProcessFile:
    """An open file of a process."""

    def __init__(self, process: Process, inner: Any, path: str) -> None:
        self._process = process
        self._inner = inner
        self._is_segment = names.segment_number(path.rpartition("/")[2]) is not None

    def __getattr__(self, name: str) -> Any:
        self._process.step(is_change=name in _MUTATING_FILE)
        return getattr(self._inner, name)

    def pwrite(self, data: bytes | bytearray | memoryview, offset_bytes: int, /) -> int:
        """Write; of a frame perhaps only a part, and then the process is dead."""
        process = self._process
        process.step(is_change=True)
        if process.tear is not None and self._is_segment and offset_bytes:
            self._inner.pwrite(bytes(data)[: int(len(data) * process.tear)], offset_bytes)
            process.is_dead = True
            raise Killed
        return int(self._inner.pwrite(data, offset_bytes))

    def sync_data(self) -> None:
        """Sync, behind whatever was to happen when a sync begins."""
        process = self._process
        process.step(is_change=True)
        at_sync = process.at_sync
        if at_sync is not None and self._is_segment:
            process.at_sync = None
            at_sync()
        self._inner.sync_data()

    def close(self) -> None:
        """Close; the dead may."""
        self._inner.close()
