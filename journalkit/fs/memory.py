"""A file system without a disk: what `"memory://"` stores live on.

It does what a kernel does to a process that never crashes: the same names, the
same errors, unlinked files readable for who has them open. Nothing is durable,
so every sync succeeds at once. What a power cut leaves is
`journalkit.testing.SimulatedDisk`'s business.

Any number of threads may use it. A lock excludes within the process.
"""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Sequence

from journalkit.fs.interface import FileStatus
from journalkit.fs.tree import FileNode, Tree, os_error


class MemoryFile:
    """An open file of a `MemoryFileSystem`."""

    def __init__(self, node: FileNode, guard: threading.Lock, path: str, *, is_writable: bool) -> None:
        self._node = node
        self._guard = guard
        self._path = path
        self._is_writable = is_writable
        self._is_open = True

    def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
        """Return up to `count_bytes` from `offset_bytes`; short only at the end of the file."""
        with self._guard:
            return self._readable().read(count_bytes, offset_bytes)

    def size(self) -> int:
        """Return the file's size in bytes now."""
        with self._guard:
            return len(self._readable().content)

    def pwrite(self, data: bytes | bytearray | memoryview, offset_bytes: int, /) -> int:
        """Write all of the bytes and return how many they were."""
        taken = bytes(data)
        if offset_bytes < 0:
            raise os_error(errno.EINVAL, self._path)
        with self._guard:
            self._writable().write(taken, offset_bytes)
        return len(taken)

    def sync_data(self) -> None:
        """Do nothing: memory has nothing durable."""
        with self._guard:
            self._readable()

    def sync(self) -> None:
        """Do nothing: memory has nothing durable."""
        self.sync_data()

    def allocate(self, offset_bytes: int, count_bytes: int) -> None:
        """Extend the file with zeros to hold the range."""
        if offset_bytes < 0 or count_bytes < 0:
            raise os_error(errno.EINVAL, self._path)
        with self._guard:
            node = self._writable()
            if count_bytes:
                node.grow(offset_bytes + count_bytes)

    def truncate(self, size_bytes: int) -> None:
        """Set the size."""
        if size_bytes < 0:
            raise os_error(errno.EINVAL, self._path)
        with self._guard:
            self._writable().resize(size_bytes)

    def drop_cache(self) -> None:
        """Do nothing: there is no device behind the cache."""
        with self._guard:
            self._readable()

    def close(self) -> None:
        """Refuse further use; twice is harmless."""
        self._is_open = False

    def _readable(self) -> FileNode:
        if not self._is_open:
            raise os_error(errno.EBADF, self._path)
        return self._node

    def _writable(self) -> FileNode:
        if not self._is_writable:
            raise os_error(errno.EBADF, self._path)
        return self._readable()


class MemoryLock:
    """The exclusive lock on one file of a `MemoryFileSystem`."""

    def __init__(self, node: FileNode, owner: MemoryFileSystem, path: str) -> None:
        self._node = node
        self._owner = owner
        self._path = path
        self._is_open = True

    def describe(self, text: bytes) -> None:
        """Replace the words that a refused opener will read."""
        self._require_open()
        with self._owner.guard:
            self._node.content[:] = text

    def is_valid(self) -> bool:
        """Whether the lock file is still the one at its path."""
        self._require_open()
        status = self._owner.status(self._path)
        return status is not None and status.inode == self._node.inode

    def close(self) -> None:
        """Release the lock; twice is harmless."""
        with self._owner.guard:
            if self._is_open:
                self._is_open = False
                self._node.is_locked = False

    def _require_open(self) -> None:
        if not self._is_open:
            raise os_error(errno.EBADF, self._path)


class MemoryFileSystem:
    """A `FileSystem` that lives and dies with this object; its root exists."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self._tree = Tree()

    def open_read(self, path: str) -> MemoryFile:
        """Open an existing file for reading."""
        with self.guard:
            return MemoryFile(self._tree.file(path), self.guard, path, is_writable=False)

    def open_direct(self, path: str) -> MemoryFile:
        """Open an existing file for reading: there is no cache to bypass."""
        return self.open_read(path)

    def list(self, path: str) -> Sequence[str]:
        """Return the names in a directory, sorted."""
        with self.guard:
            return sorted(self._tree.directory(path).entries)

    def status(self, path: str) -> FileStatus | None:
        """Return what is at `path`, or None when there is nothing."""
        with self.guard:
            return self._tree.status(path)

    def free_bytes(self, path: str) -> int:
        """Return a number beyond any use: the process's memory sets the limit."""
        with self.guard:
            self._tree.get(path)
        return sys.maxsize

    def filesystem_type(self, path: str) -> str:
        """Return "memory"."""
        with self.guard:
            self._tree.get(path)
        return "memory"

    def open_write(self, path: str) -> MemoryFile:
        """Open an existing file for reading and writing."""
        with self.guard:
            return MemoryFile(self._tree.file(path), self.guard, path, is_writable=True)

    def create(self, path: str) -> MemoryFile:
        """Create a file that must not exist."""
        with self.guard:
            node = self._tree.new_file()
            self._tree.add(path, node)
            return MemoryFile(node, self.guard, path, is_writable=True)

    def make_directory(self, path: str) -> None:
        """Create one directory; FileExistsError if something is there."""
        with self.guard:
            self._tree.add(path, self._tree.new_directory())

    def rename(self, source: str, target: str) -> None:
        """Replace the file `target` by the file `source`, atomically."""
        with self.guard:
            self._tree.rename(source, target)

    def link(self, source: str, target: str) -> None:
        """Give the file `source` a second name that must not be taken."""
        with self.guard:
            self._tree.link(source, target)

    def unlink(self, path: str) -> None:
        """Remove a file's name; who has the file open keeps it."""
        with self.guard:
            self._tree.remove_file(path)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        with self.guard:
            self._tree.remove_directory(path)

    def sync_directory(self, path: str) -> None:
        """Do nothing to a directory that is there: memory has nothing durable."""
        with self.guard:
            self._tree.directory(path)

    def lock(self, path: str) -> MemoryLock | None:
        """Take the exclusive lock on the file at `path`, creating it if need be; None if somebody has it."""
        with self.guard:
            if self._tree.status(path) is None:
                self._tree.add(path, self._tree.new_file())
            node = self._tree.file(path)
            if node.is_locked:
                return None
            node.is_locked = True
            return MemoryLock(node, self, path)
