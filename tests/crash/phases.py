"""What a store is doing, seen from another process: a byte of shared memory for each of its threads.

`PhaseFileSystem` stands before the real file system and says, ahead of each
operation, which phase it belongs to. It knows that from the names of files
and the order of operations alone, so the package needs no hook for it.
"""

from __future__ import annotations

import enum
import itertools
import mmap
import os
import threading
from typing import Any

from journalkit.format import names
from journalkit.fs.posix import PosixFileSystem
from journalkit.log.segment import SEAL_BYTES

LANES = 16


class Phase(enum.IntEnum):
    """What a thread is in the middle of."""

    IDLE = 0
    APPEND = 1
    ROTATE = 2
    FOLD = 3
    PUBLISH = 4
    PRUNE = 5
    RECOVERY = 6


class Board:
    """The shared memory: a lane for each thread of the process that is watched."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, LANES)
        self._lane = threading.local()
        self._free = itertools.count()

    def clear(self) -> None:
        """Begin anew, for another process."""
        self._memory[:] = bytes(LANES)
        self._lane = threading.local()
        self._free = itertools.count()

    def show(self, phase: Phase) -> None:
        """Say what this thread is about to do."""
        try:
            lane = self._lane.number
        except AttributeError:
            lane = self._lane.number = next(self._free) % LANES
        self._memory[lane] = phase

    def has(self, phase: Phase) -> bool:
        """Whether any thread is in that phase."""
        return self._memory.find(bytes([phase]), 0) >= 0

    def now(self) -> set[Phase]:
        """Return the phases that threads are in."""
        return {Phase(value) for value in self._memory[:] if value}


class _Thread(threading.local):
    """Where one thread is; `named` is whether the manifest that it writes has its new name."""

    phase = Phase.IDLE
    has_published = False
    is_renamed = False


class PhaseFileSystem:
    """The real file system, watched."""

    def __init__(self, board: Board) -> None:
        self._inner = PosixFileSystem()
        self._board = board
        self._thread = _Thread()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def enter(self, phase: Phase) -> None:
        """This thread goes on with that phase. Recovery lasts until it is left by `leave_recovery`."""
        if self._thread.phase is not Phase.RECOVERY:
            self._thread.phase = phase
            self._board.show(phase)

    def leave_recovery(self) -> None:
        """The store is open."""
        self._thread.phase = Phase.IDLE
        self._board.show(Phase.IDLE)

    def leave(self, *phases: Phase) -> None:
        """This thread is done with these phases, if it is in one of them."""
        if self._thread.phase in phases:
            self.enter(Phase.IDLE)

    def create(self, path: str) -> PhaseFile:
        name, thread = os.path.basename(path), self._thread
        if names.segment_number(name) is not None:
            self.enter(Phase.ROTATE)
        elif name.startswith("table-"):
            self.enter(Phase.FOLD)
            thread.has_published = False
        elif name == names.temporary_name(names.MANIFEST):
            thread.is_renamed = False
            if thread.phase is Phase.FOLD:
                self.enter(Phase.PUBLISH)
            elif thread.has_published:
                self.enter(Phase.PRUNE)
        return PhaseFile(self._inner.create(path), name, self)

    def start_child(self, module: str) -> Any:
        self.enter(Phase.FOLD)
        self._thread.has_published = False
        return self._inner.start_child(module)

    def open_write(self, path: str) -> PhaseFile:
        return PhaseFile(self._inner.open_write(path), os.path.basename(path), self)

    def rename(self, source: str, target: str) -> None:
        self._inner.rename(source, target)
        self._thread.is_renamed = os.path.basename(target) == names.MANIFEST

    def sync_directory(self, path: str) -> None:
        self._inner.sync_directory(path)
        thread = self._thread
        if thread.is_renamed:
            thread.is_renamed = False
            thread.has_published = thread.phase is Phase.PUBLISH or thread.phase is Phase.PRUNE
            self.leave(Phase.PUBLISH, Phase.ROTATE)

    def unlink(self, path: str) -> None:
        name = os.path.basename(path)
        if names.segment_number(name) is not None or names.table_number(name) is not None:
            self.enter(Phase.PRUNE)
        self._inner.unlink(path)

    def status(self, path: str) -> Any:
        if os.path.basename(path) == names.RESERVE:
            self.leave(Phase.PRUNE)  # the last thing that a compaction looks at
        return self._inner.status(path)


class PhaseFile:
    """A file, watched."""

    def __init__(self, inner: Any, name: str, fs: PhaseFileSystem) -> None:
        self._inner = inner
        self._is_segment = names.segment_number(name) is not None
        self._is_durable = name == names.DURABLE
        self._fs = fs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def pwrite(self, data: bytes | bytearray | memoryview, offset_bytes: int, /) -> int:
        if self._is_segment:
            is_rotation = offset_bytes == 0 or len(data) == SEAL_BYTES
            self._fs.enter(Phase.ROTATE if is_rotation else Phase.APPEND)
        written: int = self._inner.pwrite(data, offset_bytes)
        if self._is_durable:
            self._fs.leave(Phase.APPEND, Phase.ROTATE)
        return written
