"""What a simulated disk is made of: the names and bytes that programs see, and what is durable of them."""

from __future__ import annotations

import errno
import sys
import threading
import weakref
from collections import Counter
from dataclasses import dataclass, field

from journalkit.fs.tree import DirectoryNode, FileNode, Node, Tree, os_error
from journalkit.testing.faults import FaultPlan
from journalkit.testing.medium import Chooser, DirectoryMedium, FileMedium, Link, NameOperation, Rename, Unlink


@dataclass(slots=True)
class DiskState:
    """A tree as the kernel shows it, and a medium for each of its files and directories.

    Media are held by their node: a file that no name, no handle and no
    un-synced change refers to is gone. `before` tells of the disk that this
    one was left by.
    """

    capacity_bytes: int | None
    tree: Tree = field(default_factory=Tree)
    plan: FaultPlan = field(default_factory=FaultPlan)
    guard: threading.RLock = field(default_factory=threading.RLock)
    handles: Counter[FileNode] = field(default_factory=Counter)
    before: tuple[str, ...] = ()
    _files: weakref.WeakKeyDictionary[FileNode, FileMedium] = field(default_factory=weakref.WeakKeyDictionary)
    _directories: weakref.WeakKeyDictionary[DirectoryNode, DirectoryMedium] = field(
        default_factory=weakref.WeakKeyDictionary
    )

    def file_medium(self, node: FileNode) -> FileMedium:
        """Return what is durable of a file."""
        medium = self._files.get(node)
        if medium is None:
            medium = self._files[node] = FileMedium()
        return medium

    def directory_medium(self, node: DirectoryNode) -> DirectoryMedium:
        """Return what is durable of a directory's names."""
        medium = self._directories.get(node)
        if medium is None:
            medium = self._directories[node] = DirectoryMedium()
        return medium

    def sync_directory(self, node: DirectoryNode) -> None:
        """Make a directory's changes of names durable, both ends of a rename together."""
        for rename, other in self.directory_medium(node).sync(node):
            self.directory_medium(other).settle(rename, other)

    def release(self, node: FileNode) -> None:
        """Count one handle less; a file without a name is gone with its last."""
        self.handles[node] -= 1
        if not self.handles[node]:
            del self.handles[node]

    def free_bytes(self) -> int:
        """Return the room left: a file takes its size, until its name and its last handle are gone."""
        if self.capacity_bytes is None:
            return sys.maxsize
        nodes = [node for node in list(self._files) if node.is_linked or self.handles[node]]
        return max(0, self.capacity_bytes - sum(len(node.content) for node in nodes))

    def require_room(self, path: str, growth_bytes: int) -> None:
        """Raise ENOSPC for the operation just begun if it doesn't fit as a whole."""
        if growth_bytes > 0 and growth_bytes > self.free_bytes():
            self.plan.fails(errno.ENOSPC)
            raise os_error(errno.ENOSPC, path)

    def after_crash(self, choose: Chooser) -> DiskState:
        """Return one state that a power cut may leave; all of it is durable then."""
        after = DiskState(self.capacity_bytes)
        decided: dict[int, int] = {}
        placed: dict[Node, FileNode | None] = {}

        def survive(old: DirectoryNode, new: DirectoryNode) -> None:
            names = self.directory_medium(old).after_crash(old, choose, decided)
            for name in sorted(names):  # a fixed order, so that a seed means one state
                child = names[name]
                there = placed.get(child)
                if there is not None and there.is_shared:
                    new.entries[name] = there
                    there.name_count += 1
                    continue
                if child in placed:
                    continue  # half of a chain of renames through directories: a file has one name
                placed[child] = None
                if isinstance(child, FileNode):
                    node = placed[child] = after.tree.new_file()
                    node.is_shared = child.is_shared
                    node.content = self.file_medium(child).after_crash(choose)
                    after.file_medium(node).durable = bytearray(node.content)
                    new.entries[name] = node
                else:
                    directory = after.tree.new_directory()
                    survive(child, directory)
                    new.entries[name] = directory
            after.directory_medium(new).durable = dict(new.entries)

        survive(self.tree.root, after.tree.root)
        return after

    def after_process_crash(self) -> DiskState:
        """Return the same names and bytes, durable or not as before, without handles, locks and fault plan."""
        after = DiskState(self.capacity_bytes)
        copies: dict[FileNode, FileNode] = {}
        directories: dict[DirectoryNode, DirectoryNode] = {}
        renames: dict[int, Rename] = {}

        def copied(old: Node) -> Node:
            if isinstance(old, DirectoryNode):
                return copied_directory(old)
            new = copies.get(old)
            if new is None:
                new = copies[old] = after.tree.new_file()
                new.content, new.name_count = bytearray(old.content), old.name_count
                new.is_shared = old.is_shared
                medium = self.file_medium(old)
                after._files[new] = medium.copy()
            return new

        def copied_directory(old: DirectoryNode) -> DirectoryNode:
            new = directories.get(old)
            if new is None:
                new = directories[old] = after.tree.new_directory()
                new.entries = {name: copied(child) for name, child in old.entries.items()}
                medium, copy = self.directory_medium(old), after.directory_medium(new)
                copy.durable = {name: copied(child) for name, child in medium.durable.items()}
                copy.operations = [copied_operation(operation) for operation in medium.operations]
            return new

        def copied_operation(old: NameOperation) -> NameOperation:
            if isinstance(old, Unlink):
                return old
            if isinstance(old, Link):
                return Link(old.name, copied(old.node))
            new = renames.get(id(old))  # one object in both directories
            if new is None:
                source, target = copied_directory(old.source), copied_directory(old.target)
                new = renames.setdefault(id(old), Rename(source, target, old.name, copied(old.node), old.old_name))
            return new

        after.tree.root = copied_directory(self.tree.root)
        return after
