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
from journalkit.testing.medium import Chooser, DirectoryMedium, FileMedium, Unlink


@dataclass(slots=True)
class DiskState:
    """A tree as the kernel shows it, and a medium for each of its files and directories.

    Media are held by their node: a file that no name, no handle and no
    un-synced change refers to is gone.
    """

    capacity_bytes: int | None
    tree: Tree = field(default_factory=Tree)
    plan: FaultPlan = field(default_factory=FaultPlan)
    guard: threading.RLock = field(default_factory=threading.RLock)
    handles: Counter[FileNode] = field(default_factory=Counter)
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

    def require_room(self, operation: str, path: str, growth_bytes: int) -> None:
        """Raise ENOSPC for the operation just begun if it doesn't fit as a whole."""
        if growth_bytes > 0 and growth_bytes > self.free_bytes():
            self.plan.fails(operation, errno.ENOSPC)
            raise os_error(errno.ENOSPC, path)

    def after_crash(self, choose: Chooser) -> DiskState:
        """Return one state that a power cut may leave; all of it is durable then."""
        after = DiskState(self.capacity_bytes)

        def survive(old: DirectoryNode, new: DirectoryNode) -> None:
            names = self.directory_medium(old).after_crash(choose)
            for name in sorted(names):  # a fixed order, so that a seed means one state
                child = names[name]
                if isinstance(child, FileNode):
                    node = after.tree.new_file()
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
        copies: dict[Node, Node] = {}

        def copied(old: Node) -> Node:
            if old not in copies:
                copies[old] = copied_file(old) if isinstance(old, FileNode) else copied_directory(old)
            return copies[old]

        def copied_file(old: FileNode) -> FileNode:
            new = after.tree.new_file()
            new.content, new.is_linked = bytearray(old.content), old.is_linked
            medium = self.file_medium(old)
            after._files[new] = FileMedium(bytearray(medium.durable), list(medium.operations))
            return new

        def copied_directory(old: DirectoryNode) -> DirectoryNode:
            new = after.tree.new_directory()
            new.entries = {name: copied(child) for name, child in old.entries.items()}
            medium = self.directory_medium(old)
            after._directories[new] = DirectoryMedium(
                {name: copied(child) for name, child in medium.durable.items()},
                [
                    operation if isinstance(operation, Unlink) else operation._replace(node=copied(operation.node))
                    for operation in medium.operations
                ],
            )
            return new

        after.tree.root = copied_directory(self.tree.root)
        return after
