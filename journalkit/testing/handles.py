"""Open files and locks of a simulated disk."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from journalkit.fs.tree import FileNode, os_error
from journalkit.testing.faults import Place
from journalkit.testing.medium import SECTOR_BYTES, Allocate, Truncate, Write

if TYPE_CHECKING:
    from journalkit.testing.state import DiskState


class SimulatedFile:
    """An open file. Its data outlive it; `close` makes nothing durable."""

    def __init__(self, state: DiskState, node: FileNode, path: str, *, is_writable: bool, is_direct: bool) -> None:
        self._state = state
        self._node = node
        self._medium = state.file_medium(node)
        self._path = path
        self._is_writable = is_writable
        self._is_direct = is_direct
        self._is_open = True
        state.handles[node] += 1

    def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
        """Return up to `count_bytes` from `offset_bytes`; short only at the end of the file."""
        with self._state.guard:
            self._begin("pread", "")
            node = self._node
            if self._is_direct and not self._medium.is_as_cached:
                node = FileNode(0, bytearray(self._medium.on_device()))
            data = node.read(count_bytes, offset_bytes)
            place = self._state.plan.astray("pread", self._path)
            if place is None:
                return data
            # Where the length says that there are bytes the device gives some: what it found in the other sectors.
            elsewhere = self._state.tree.file(place.path)
            at = place.offset_bytes // SECTOR_BYTES * SECTOR_BYTES + offset_bytes % SECTOR_BYTES
            return elsewhere.read(len(data), at).ljust(len(data), b"\0")

    def size(self) -> int:
        """Return the file's size in bytes now."""
        with self._state.guard:
            self._begin("size", "")
            return len(self._node.content)

    def pwrite(self, data: bytes | bytearray | memoryview, offset_bytes: int, /) -> int:
        """Write at an offset; on a nearly full disk, or if a test asked for it, only some of the bytes."""
        whole = bytes(data)
        with self._state.guard:
            self._begin_writing("pwrite", f" {offset_bytes}+{len(whole)}", offset_bytes)
            taken = self._state.plan.taken(self._path, len(whole))
            size_bytes = len(self._node.content)
            if offset_bytes + taken > size_bytes:
                taken = min(taken, size_bytes + self._state.free_bytes() - offset_bytes)
                if taken <= 0 < len(whole):
                    self._state.require_room(self._path, offset_bytes + len(whole) - size_bytes)
            place = self._state.plan.astray("pwrite", self._path)
            if taken > 0 and place is not None:
                self._go_astray(Write(offset_bytes, whole[:taken]), place)
            elif taken > 0:
                self._do(Write(offset_bytes, whole[:taken]))
            return max(taken, 0)

    def sync_data(self) -> None:
        """Make this file's bytes and size durable, not its name."""
        self._sync("sync_data")

    def sync(self) -> None:
        """Make this file's bytes and size durable, not its name."""
        self._sync("sync")

    def allocate(self, offset_bytes: int, count_bytes: int) -> None:
        """Extend the file with zeros to hold the range, all of it or nothing."""
        with self._state.guard:
            self._begin_writing("allocate", f" {offset_bytes}+{count_bytes}", min(offset_bytes, count_bytes))
            if count_bytes:
                end = offset_bytes + count_bytes
                self._state.require_room(self._path, end - len(self._node.content))
                self._do(Allocate(end))

    def truncate(self, size_bytes: int) -> None:
        """Set the size."""
        with self._state.guard:
            self._begin_writing("truncate", f" {size_bytes}", size_bytes)
            self._state.require_room(self._path, size_bytes - len(self._node.content))
            self._do(Truncate(size_bytes))

    def drop_cache(self) -> None:
        """Do nothing: it is advice, and this kernel doesn't take it. `open_direct` sees the device."""
        with self._state.guard:
            self._begin("drop_cache", "")

    def close(self) -> None:
        """Give the file up; twice is harmless, and so is a cut."""
        with self._state.guard:
            if self._is_open:
                self._is_open = False
                self._state.release(self._node)

    def _begin(self, operation: str, detail: str) -> None:
        if not self._is_open:
            raise os_error(errno.EBADF, self._path)
        self._state.plan.step(operation, self._path, detail)

    def _begin_writing(self, operation: str, detail: str, least: int) -> None:
        if not self._is_writable:
            raise os_error(errno.EBADF, self._path)
        self._begin(operation, detail)
        if least < 0:
            raise os_error(errno.EINVAL, self._path)

    def _do(self, operation: Write | Truncate | Allocate) -> None:
        operation.apply(self._node)
        self._medium.add(operation)

    def _go_astray(self, write: Write, place: Place) -> None:
        """Do a write for the cache and the size, while the device puts its sectors elsewhere."""
        end = write.offset_bytes + len(write.data)
        write.apply(self._node)
        self._medium.add_astray(Allocate(end))
        first = write.offset_bytes // SECTOR_BYTES * SECTOR_BYTES
        sectors = self._node.read(-(-end // SECTOR_BYTES) * SECTOR_BYTES - first, first)
        elsewhere = self._state.tree.file(place.path)
        at = place.offset_bytes // SECTOR_BYTES * SECTOR_BYTES
        # The other file's length is the file system's to know: what would lie behind its end is nobody's.
        if there := sectors[: max(0, len(elsewhere.content) - at)]:
            self._state.file_medium(elsewhere).add_astray(Write(at, there))

    def _sync(self, operation: str) -> None:
        with self._state.guard:
            if not self._is_open:
                raise os_error(errno.EBADF, self._path)
            try:
                self._begin(operation, "")
            except OSError:
                self._medium.fail_sync()
                raise
            self._medium.sync()


class SimulatedLock:
    """An exclusive lock; it is gone with the disk object that it was taken on."""

    def __init__(self, state: DiskState, node: FileNode, path: str) -> None:
        self._state = state
        self._node = node
        self._path = path
        self._is_open = True
        node.is_locked = True

    def describe(self, text: bytes) -> None:
        """Replace the words that a refused opener will read."""
        with self._state.guard:
            self._require_open()
            self._state.plan.step("describe", self._path)
            for operation in (Write(0, text), Truncate(len(text))):
                operation.apply(self._node)
                self._state.file_medium(self._node).add(operation)

    def is_valid(self) -> bool:
        """Whether the lock file is still the one at its path."""
        with self._state.guard:
            self._require_open()
            self._state.plan.step("status", self._path)
            status = self._state.tree.status(self._path)
            return status is not None and status.inode == self._node.inode

    def close(self) -> None:
        """Release the lock; twice is harmless, and so is a cut."""
        with self._state.guard:
            if self._is_open:
                self._is_open = False
                self._node.is_locked = False

    def _require_open(self) -> None:
        if not self._is_open:
            raise os_error(errno.EBADF, self._path)
