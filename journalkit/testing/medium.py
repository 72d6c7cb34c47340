"""What a power cut may leave of a file and of a directory.

Pure: operations go in, one legal state comes out, and a chooser decides which.
The model is stricter than any one kernel, because code that is right here is
right on all of them:

- Of a file's un-synced operations each is lost, kept or, if it is a write over
  several 512-byte sectors, torn: any subset of its sectors. What is kept is
  applied in order; since any operation may be lost, any may be the last one.
- A lost write that made the file longer may leave the size, with zeros.
- Of a directory's un-synced changes of names each is lost or kept. A rename is
  one change: it happened or it didn't, between two directories too, and either
  one's sync makes it durable. A new file's name that is kept takes the name from
  whatever a lost change left there.
- A file with two names may be left with either, both or none, as each name's own change is kept or lost.
- A write that went astray lies, whole sectors of it, in another place, as
  durable as it would have been in the right one; there stays what was there.
  Readers see neither until they look past the cache or after a cut.
- A sync that failed leaves its writes clean but lost: reads show them, the next
  sync has nothing to do for them, a power cut may take them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from journalkit.fs.tree import DirectoryNode, FileNode, Node

SECTOR_BYTES = 512

Chooser: TypeAlias = Callable[[int], int]
"""Given a number of options returns one of them, from 0; 0 is always "lost" and 1 "kept"."""

LOST, KEPT, TORN = 0, 1, 2


def chooser(keep: Literal["all", "none"] | int | Chooser) -> Chooser:
    """Return the chooser that a `keep` argument stands for; a number is a seed."""
    if keep == "all":
        return lambda _options: KEPT
    if keep == "none":
        return lambda _options: LOST
    if isinstance(keep, int):
        return _seeded(keep)
    if isinstance(keep, str):
        raise ValueError(f'keep is "all", "none", a seed or a chooser, not {keep!r}')
    return keep


def _seeded(seed: int) -> Chooser:
    chance = random.Random(seed)
    # Fair coins alone would hardly ever show nearly everything kept, or nearly nothing.
    favourite = chance.choice((LOST, KEPT))
    bias = chance.choice((0.0, 0.5, 0.9))

    def choose(options: int) -> int:
        return favourite if chance.random() < bias else chance.randrange(options)

    return choose


class Write(NamedTuple):
    """Bytes put at an offset."""

    offset_bytes: int
    data: bytes

    def apply(self, file: FileNode) -> None:
        """Do it."""
        file.write(self.data, self.offset_bytes)

    def apply_crashed(self, file: FileNode, choose: Chooser) -> None:
        """Do as much of it as the chooser wants."""
        end = self.offset_bytes + len(self.data)
        first, last = self.offset_bytes // SECTOR_BYTES, (end - 1) // SECTOR_BYTES
        fate = choose(3 if last > first else 2)
        if fate == KEPT:
            self.apply(file)
            return
        if fate == TORN:
            for sector in range(first, last + 1):
                if choose(2) == KEPT:
                    start = max(sector * SECTOR_BYTES, self.offset_bytes)
                    part = self.data[start - self.offset_bytes : (sector + 1) * SECTOR_BYTES - self.offset_bytes]
                    file.write(part, start)
        if end > len(file.content) and choose(2) == KEPT:
            file.grow(end)


class Truncate(NamedTuple):
    """The size set."""

    size_bytes: int

    def apply(self, file: FileNode) -> None:
        """Do it."""
        file.resize(self.size_bytes)

    def apply_crashed(self, file: FileNode, choose: Chooser) -> None:
        """Do it or don't."""
        if choose(2) == KEPT:
            self.apply(file)


class Allocate(NamedTuple):
    """Zeros added up to a size."""

    end_bytes: int

    def apply(self, file: FileNode) -> None:
        """Do it."""
        file.grow(self.end_bytes)

    def apply_crashed(self, file: FileNode, choose: Chooser) -> None:
        """Do it or don't."""
        if choose(2) == KEPT:
            self.apply(file)


DataOperation: TypeAlias = Write | Truncate | Allocate
State: TypeAlias = Literal["pending", "lost", "synced"]


@dataclass(slots=True)
class FileMedium:
    """A file's durable bytes, and what was done to it since."""

    durable: bytearray = field(default_factory=bytearray)
    operations: list[tuple[DataOperation, State]] = field(default_factory=list)
    is_astray: bool = False

    @property
    def has_lost(self) -> bool:
        """Whether a sync failed here: reads may show what the device doesn't have."""
        return any(state == "lost" for _, state in self.operations)

    @property
    def is_as_cached(self) -> bool:
        """Whether the device has, or will have once it is synced, what reads show."""
        return not (self.is_astray or self.has_lost)

    def copy(self) -> FileMedium:
        """Return another that goes its own way from here."""
        return FileMedium(bytearray(self.durable), list(self.operations), self.is_astray)

    def add_astray(self, operation: DataOperation) -> None:
        """Note an operation of the device alone, which the cache and so the readers know nothing of."""
        self.is_astray = True
        self.add(operation)

    def add(self, operation: DataOperation) -> None:
        """Note an operation that no sync covers yet."""
        self.operations.append((operation, "pending"))

    def sync(self) -> None:
        """Make everything pending durable; what an earlier failure lost stays lost."""
        if not self.has_lost:
            file = FileNode(0, self.durable)
            for operation, _ in self.operations:
                operation.apply(file)
            self.operations.clear()
            return
        # A later write may lie over a lost one: the order has to be kept until somebody looks.
        self._mark_pending("synced")

    def fail_sync(self) -> None:
        """Mark everything pending clean but lost."""
        self._mark_pending("lost")

    def _mark_pending(self, state: State) -> None:
        self.operations = [(operation, state if old == "pending" else old) for operation, old in self.operations]

    def on_device(self) -> bytes:
        """Return what a read past the cache sees: pending writes are written back first, lost ones never.

        Sizes are the kernel's own, lost or not.
        """
        file = FileNode(0, bytearray(self.durable))
        for operation, state in self.operations:
            if state == "lost" and isinstance(operation, Write):
                file.grow(operation.offset_bytes + len(operation.data))
            else:
                operation.apply(file)
        return bytes(file.content)

    def after_crash(self, choose: Chooser) -> bytearray:
        """Return the bytes that a power cut leaves."""
        file = FileNode(0, bytearray(self.durable))
        for operation, state in self.operations:
            if state == "synced":
                operation.apply(file)
            else:
                operation.apply_crashed(file, choose)
        return file.content


class Link(NamedTuple):
    """A name given to a new file or directory, or to a file that has one."""

    name: str
    node: Node

    def apply(self, entries: dict[str, Node], _here: DirectoryNode) -> None:
        """Do it."""
        entries[self.name] = self.node


class Unlink(NamedTuple):
    """A name taken away, whatever it stands for by then."""

    name: str

    def apply(self, entries: dict[str, Node], _here: DirectoryNode) -> None:
        """Do it."""
        entries.pop(self.name, None)


class Rename(NamedTuple):
    """A file's name exchanged for another: one change, noted in both directories if they are two."""

    source: DirectoryNode
    target: DirectoryNode
    name: str
    node: Node
    old_name: str

    def apply(self, entries: dict[str, Node], here: DirectoryNode) -> None:
        """Do this directory's part of it. A file that has one name loses one that a lost rename left, too."""
        for name in [name for name, node in entries.items() if node is self.node and self._takes(name)]:
            del entries[name]
        if here is self.target:
            entries[self.name] = self.node

    def elsewhere(self, here: DirectoryNode) -> DirectoryNode | None:
        """Return the other directory, if there is one."""
        other = self.source if here is self.target else self.target
        return None if other is here else other

    def supersedes(self, older: NameOperation, here: DirectoryNode) -> bool:
        """Whether an older change in the directory means nothing any more once this one is durable."""
        if not isinstance(older, Unlink) and older.node is self.node and self._takes(older.name):
            return True
        return here is self.target and older.name == self.name

    def _takes(self, name: str) -> bool:
        """Whether the file gives up a name that it had: all, but of one with several names only the renamed one."""
        return name == self.old_name or not (isinstance(self.node, FileNode) and self.node.is_shared)


NameOperation: TypeAlias = Link | Unlink | Rename


@dataclass(slots=True)
class DirectoryMedium:
    """A directory's durable names, and what was done to them since; `here` is always that directory."""

    durable: dict[str, Node] = field(default_factory=dict)
    operations: list[NameOperation] = field(default_factory=list)

    def sync(self, here: DirectoryNode) -> list[tuple[Rename, DirectoryNode]]:
        """Make every change of names durable; return the renames that another directory has to settle."""
        done, self.operations = self.operations, []
        for operation in done:
            operation.apply(self.durable, here)
        renames = [operation for operation in done if isinstance(operation, Rename)]
        return [(rename, other) for rename in renames if (other := rename.elsewhere(here)) is not None]

    def settle(self, rename: Rename, here: DirectoryNode) -> None:
        """Make one rename durable because the other directory's sync did, ahead of what else is pending here."""
        place = next(index for index, operation in enumerate(self.operations) if operation is rename)
        older = [operation for operation in self.operations[:place] if not rename.supersedes(operation, here)]
        self.operations[: place + 1] = older
        rename.apply(self.durable, here)

    def after_crash(self, here: DirectoryNode, choose: Chooser, decided: dict[int, int]) -> dict[str, Node]:
        """Return the names that a power cut leaves; `decided` carries the fate of renames between directories."""
        entries = dict(self.durable)
        for operation in self.operations:
            fate = decided.get(id(operation))
            if fate is None:
                fate = decided[id(operation)] = choose(2)
            if fate == KEPT:
                operation.apply(entries, here)
        return entries
