"""Names and bytes in memory, with the errors that a kernel gives.

A tree of directories and files, no locks, no threads, no durability:
`journalkit.fs.memory` and `journalkit.testing.SimulatedDisk` put those on top,
so that both refuse the same things with the same errno.

Paths are taken apart at "/", relative ones from the root; there are no
symbolic links. Only files are renamed: that is all journalkit does.
"""

from __future__ import annotations

import errno
import itertools
import os
import posixpath
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from journalkit.fs.interface import FileStatus


def os_error(number: int, path: str) -> OSError:
    """Return the OSError (of the matching subclass) that a kernel's errno becomes."""
    return OSError(number, os.strerror(number), path)


@dataclass(slots=True, eq=False, weakref_slot=True)
class FileNode:
    """A file: it lives as long as a name or a handle holds it. `is_shared` is one that ever had two names."""

    inode: int
    content: bytearray = field(default_factory=bytearray, repr=False)
    name_count: int = 1
    is_shared: bool = False
    is_locked: bool = False

    @property
    def is_linked(self) -> bool:
        """Whether any name stands for it."""
        return self.name_count > 0

    def read(self, count_bytes: int, offset_bytes: int) -> bytes:
        """Return what is there, short at the end of the file."""
        if count_bytes < 0 or offset_bytes < 0:
            raise os_error(errno.EINVAL, "")
        return bytes(self.content[offset_bytes : offset_bytes + count_bytes])

    def write(self, data: bytes, offset_bytes: int) -> None:
        """Put all of the bytes at an offset; a gap before them reads as zeros."""
        if data:
            self.grow(offset_bytes)
            self.content[offset_bytes : offset_bytes + len(data)] = data

    def grow(self, size_bytes: int) -> None:
        """Add zeros up to a size; a longer file stays as it is."""
        if size_bytes > len(self.content):
            self.content.extend(bytes(size_bytes - len(self.content)))

    def resize(self, size_bytes: int) -> None:
        """Cut, or add zeros."""
        del self.content[size_bytes:]
        self.grow(size_bytes)


@dataclass(slots=True, eq=False, weakref_slot=True)
class DirectoryNode:
    """A directory: names of files and directories."""

    inode: int
    entries: dict[str, Node] = field(default_factory=dict, repr=False)


Node: TypeAlias = FileNode | DirectoryNode


class Tree:
    """Every name there is, from an empty root on."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.root = self.new_directory()

    def new_file(self) -> FileNode:
        """Return a file that has no name yet."""
        return FileNode(next(self._numbers))

    def new_directory(self) -> DirectoryNode:
        """Return a directory that has no name yet."""
        return DirectoryNode(next(self._numbers))

    def get(self, path: str) -> Node:
        """Return what is at a path; FileNotFoundError or NotADirectoryError if there is nothing."""
        return self._walk(_names(path), path)

    def _walk(self, names: tuple[str, ...], path: str) -> Node:
        node: Node = self.root
        for name in names:
            if not isinstance(node, DirectoryNode):
                raise os_error(errno.ENOTDIR, path)
            child = node.entries.get(name)
            if child is None:
                raise os_error(errno.ENOENT, path)
            node = child
        return node

    def file(self, path: str) -> FileNode:
        """Return the file at a path; IsADirectoryError if it is none."""
        node = self.get(path)
        if isinstance(node, DirectoryNode):
            raise os_error(errno.EISDIR, path)
        return node

    def directory(self, path: str) -> DirectoryNode:
        """Return the directory at a path; NotADirectoryError if it is none."""
        node = self.get(path)
        if not isinstance(node, DirectoryNode):
            raise os_error(errno.ENOTDIR, path)
        return node

    def parent(self, path: str) -> tuple[DirectoryNode, str]:
        """Return the directory that holds a path's last name, and that name ("" for the root itself)."""
        names = _names(path)
        if not names:
            return self.root, ""
        directory = self._walk(names[:-1], path)
        if not isinstance(directory, DirectoryNode):
            raise os_error(errno.ENOTDIR, path)
        return directory, names[-1]

    def status(self, path: str) -> FileStatus | None:
        """Return what a directory says of a path, None when there is nothing."""
        try:
            node = self.get(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        is_directory = isinstance(node, DirectoryNode)
        size_bytes = 0 if isinstance(node, DirectoryNode) else len(node.content)
        return FileStatus(size_bytes=size_bytes, is_directory=is_directory, inode=node.inode)

    def add(self, path: str, node: Node) -> None:
        """Name a file or directory; FileExistsError if the name is taken."""
        directory, name = self.parent(path)
        if not name or name in directory.entries:
            raise os_error(errno.EEXIST, path)
        directory.entries[name] = node

    def remove_file(self, path: str) -> FileNode:
        """Take a file's name away; who holds the node keeps it."""
        node = self.file(path)
        directory, name = self.parent(path)
        del directory.entries[name]
        node.name_count -= 1
        return node

    def link(self, source: str, target: str) -> FileNode:
        """Give a file a second name; FileExistsError if it is taken, PermissionError for a directory."""
        node = self.get(source)
        if isinstance(node, DirectoryNode):
            raise os_error(errno.EPERM, source)
        self.add(target, node)
        node.name_count += 1
        node.is_shared = True
        return node

    def remove_directory(self, path: str) -> None:
        """Take an empty directory's name away."""
        node = self.directory(path)
        directory, name = self.parent(path)
        if not name:
            raise os_error(errno.EBUSY, path)
        if node.entries:
            raise os_error(errno.ENOTEMPTY, path)
        del directory.entries[name]

    def rename(self, source: str, target: str) -> None:
        """Move a file's name over another, whose file loses it."""
        node = self.file(source)
        source_directory, source_name = self.parent(source)
        target_directory, target_name = self.parent(target)
        replaced = target_directory.entries.get(target_name)
        if not target_name or isinstance(replaced, DirectoryNode):
            raise os_error(errno.EISDIR, target)
        if replaced is node:
            return
        if replaced is not None:
            replaced.name_count -= 1
        del source_directory.entries[source_name]
        target_directory.entries[target_name] = node


@lru_cache(maxsize=1024)
def _names(path: str) -> tuple[str, ...]:
    """Return the names in a path. Remembered: a store asks for the same few over and over."""
    return tuple(name for name in posixpath.normpath(path).split("/") if name not in ("", "."))
