"""What a reader needs of a simulated disk that stands still: names and bytes, and no way to change them.

A proof that opens a store some hundred thousand times for reading has nothing
from a disk that counts operations, keeps what is durable apart and takes
faults. `seen` is what programs see of a disk, `left` what a power cut leaves of
it that keeps nothing. Bytes are shared with the disk, not copied: nobody may go
on writing there. A reader that tries to write finds no method for it.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from typing import Final, TypeAlias
from zlib import crc32

from journalkit.fs.interface import FileStatus
from journalkit.fs.tree import DirectoryNode, FileNode, Node, os_error
from journalkit.testing import SimulatedDisk
from journalkit.testing.medium import LOST

Bytes: TypeAlias = bytes | bytearray

_DIRECTORY: Final = FileStatus(size_bytes=0, is_directory=True, inode=0)


class Still:
    """A `ReadableFileSystem` of files by their whole paths, and of directories' names."""

    def __init__(self, files: Mapping[str, Bytes], directories: Mapping[str, list[str]]) -> None:
        self._files = files
        self._directories = directories

    def open_read(self, path: str) -> StillFile:
        """Open for reading."""
        return StillFile(self._data(path))

    def read(self, path: str, count_bytes: int, offset_bytes: int) -> bytes:
        """Return what a `pread` of the open file returns."""
        return StillFile(self._data(path)).pread(count_bytes, offset_bytes)

    def open_direct(self, path: str) -> StillFile:
        """Open for reading: there is no cache."""
        return self.open_read(path)

    def list(self, path: str) -> list[str]:
        """Return the names in a directory, sorted."""
        names = self._directories.get(path)
        if names is None:
            raise os_error(errno.ENOTDIR if path in self._files else errno.ENOENT, path)
        return names

    def status(self, path: str) -> FileStatus | None:
        """Return what is at `path`, or None when there is nothing."""
        data = self._files.get(path)
        if data is not None:
            return FileStatus(size_bytes=len(data), is_directory=False, inode=crc32(path.encode()))
        return _DIRECTORY if path in self._directories else None

    def free_bytes(self, path: str) -> int:
        """Return that there is room: nobody takes it."""
        return sys.maxsize

    def filesystem_type(self, path: str) -> str:
        """Return what a simulated disk is called."""
        return "simulated"

    def _data(self, path: str) -> Bytes:
        data = self._files.get(path)
        if data is None:
            raise os_error(errno.EISDIR if path in self._directories else errno.ENOENT, path)
        return data


class StillFile:
    """An open file. Closing it does nothing."""

    __slots__ = ("_data",)

    def __init__(self, data: Bytes) -> None:
        self._data = data

    def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
        """Return up to `count_bytes` from `offset_bytes`; short only at the end of the file."""
        if count_bytes < 0 or offset_bytes < 0:
            raise os_error(errno.EINVAL, "")
        return bytes(self._data[offset_bytes : offset_bytes + count_bytes])

    def size(self) -> int:
        """Return the file's size in bytes."""
        return len(self._data)

    def close(self) -> None:
        """Do nothing."""


def seen(disk: SimulatedDisk) -> Still:
    """Return what programs see of a disk that nobody writes to."""
    files: dict[str, Bytes] = {}
    directories: dict[str, list[str]] = {}

    def walk(path: str, directory: DirectoryNode) -> None:
        directories[path or "/"] = sorted(directory.entries)
        for name, node in directory.entries.items():
            below = f"{path}/{name}"
            if isinstance(node, FileNode):
                files[below] = node.content
            else:
                walk(below, node)

    walk("", disk._state.tree.root)
    return Still(files, directories)


def left(disk: SimulatedDisk) -> Still:
    """Return what a power cut leaves that keeps nothing un-synced: the same as `disk.crash("none")`, to be read."""
    state = disk._state
    files: dict[str, Bytes] = {}
    directories: dict[str, list[str]] = {}
    decided: dict[int, int] = {}
    placed: set[Node] = set()

    def walk(path: str, directory: DirectoryNode) -> None:
        entries = state.directory_medium(directory).after_crash(directory, _lost, decided)
        names = directories[path or "/"] = []
        for name in sorted(entries):
            node = entries[name]
            # A file of one name that two directories show is half of a rename; the first has it, as on the disk.
            if node in placed and not (isinstance(node, FileNode) and node.is_shared):
                continue
            placed.add(node)
            names.append(name)
            below = f"{path}/{name}"
            if isinstance(node, FileNode):
                medium = state.file_medium(node)
                files[below] = medium.after_crash(_lost) if medium.operations else medium.durable
            else:
                walk(below, node)

    walk("", state.tree.root)
    return Still(files, directories)


def _lost(_options: int) -> int:
    return LOST
