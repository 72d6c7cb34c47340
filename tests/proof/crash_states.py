"""Every state that a power cut may leave a simulated disk in, within a bound, as images that can be told apart.

The medium decides what is legal (`journalkit.testing.medium`); here its choices
are gone through instead of drawn. From each of four bases (names all kept or
all lost, bytes all kept or all lost) up to so many pending operations have
another fate than the base gives them. A write over several sectors has more
fates than two: one sector lost, one kept, the first few kept; and a lost one
that would have made its file longer may leave the length.

An image is names and bytes. Contents are built once for each file and hashed;
images are put together from them by hash, and made into a disk only for who
wants to open one.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

from journalkit.format.names import LOCK
from journalkit.fs.tree import DirectoryNode, FileNode, Node
from journalkit.testing import SimulatedDisk
from journalkit.testing.faults import MUTATING, FaultPlan
from journalkit.testing.medium import KEPT, LOST, SECTOR_BYTES, TORN, FileMedium, Link, NameOperation, Rename, Write
from journalkit.testing.state import DiskState

Fate: TypeAlias = tuple[int, ...]
"""What the medium's chooser answers for one operation."""

LOSE: Final[Fate] = (LOST, LOST)
LOSE_BUT_GROW: Final[Fate] = (LOST, KEPT)
KEEP: Final[Fate] = (KEPT,)
_SECTORS_TRIED_MAX: Final = 12


class Content(NamedTuple):
    """What one file may hold, and which of its operations had another fate than the base's."""

    digest: bytes
    data: bytearray
    told: tuple[str, ...]


class Image(NamedTuple):
    """One state of the whole disk."""

    digest: bytes
    files: tuple[tuple[str, Content], ...]
    directories: tuple[str, ...]
    told: tuple[str, ...]

    @property
    def is_all_kept(self) -> bool:
        """Whether it is what a kill leaves: nothing is lost, all is in its order."""
        return self.told == (_base_told(True, True),)

    @property
    def is_bare(self) -> bool:
        """Whether no byte in it is a store's: nothing but directories, empty files and a lock."""
        return not any(content.data and not path.endswith(f"/{LOCK}") for path, content in self.files)

    def disk(self) -> SimulatedDisk:
        """Return a disk of exactly this, all of it durable."""
        disk = SimulatedDisk()
        state = disk._state
        for path in self.directories:
            node = state.tree.new_directory()
            state.tree.add(path, node)
        for path, content in self.files:
            file = FileNode(next(state.tree._numbers), bytearray(content.data))
            directory, name = state.tree.parent(path)
            directory.entries[name] = file
            state.file_medium(file).durable = bytearray(content.data)
        for directory in _directories(state.tree.root):
            state.directory_medium(directory).durable = dict(directory.entries)
        return disk


class Bound(NamedTuple):
    """How far from a base a state may be: deviations from the pure bases, and from the mixed ones."""

    pure: int = 2
    mixed: int = 1


@dataclass(slots=True)
class _FileStates:
    """The contents of one file by how many of its operations deviate, each content once, where it costs least."""

    operations: tuple[Any, ...]
    by_deviations: dict[tuple[Fate, int], list[Content]] = field(default_factory=dict)


class States:
    """Goes through the states of one disk, again and again while something runs on it."""

    def __init__(self, disk: SimulatedDisk, bound: Bound = Bound()) -> None:  # noqa: B008 - immutable
        self._state: DiskState = disk._state
        self._bound = bound
        self._cache: dict[FileNode, _FileStates] = {}

    def images(self) -> Iterator[Image]:
        """Yield what a power cut now may leave; the same image may come more than once."""
        operations, everywhere = self._pending_names()
        for names_base, data_base in itertools.product((True, False), repeat=2):
            most = self._bound.pure if names_base == data_base else self._bound.mixed
            for count in range(min(most, len(operations)) + 1):
                for flipped in itertools.combinations(operations, count):
                    fates = {id(operation): KEPT if names_base else LOST for operation in operations}
                    fates |= {key: KEPT + LOST - fates[key] for key in map(id, flipped)}
                    told = tuple(
                        f"{'kept' if fates[id(one)] else 'lost'}: {_name_told(one)} in {everywhere[id(one)]}"
                        for one in flipped
                    )
                    files, directories = self._tree(fates)
                    yield from self._with_contents(
                        files,
                        directories,
                        KEEP if data_base else LOSE,
                        most - count,
                        (_base_told(names_base, data_base), *told),
                    )

    def random_images(self, chance: random.Random, count: int) -> Iterator[Image]:
        """Yield states in which every pending operation has a fate by chance, near to a base or far from it."""
        operations, _ = self._pending_names()
        for _ in range(count):
            kept, torn = chance.choice((0.1, 0.5, 0.9)), chance.choice((0.0, 0.1, 0.5))
            files, directories = self._tree({id(one): int(chance.random() < kept) for one in operations})
            listed = [(path, self._random_content(path, node, chance, kept, torn)) for path, node in files]
            yield _image(directories, tuple(listed), ("fates by chance:",))

    def _random_content(self, path: str, node: FileNode, chance: random.Random, kept: float, torn: float) -> Content:
        medium = self._state.file_medium(node)
        if not medium.operations:
            return self._contents(path, node, KEEP, 0)[0]
        chosen: dict[int, Fate] = {}
        for at, (operation, _) in enumerate(medium.operations):
            fates = fates_of(operation)
            lost = chance.choice((LOSE, LOSE_BUT_GROW))
            chosen[at] = chance.choice(fates) if chance.random() < torn else KEEP if chance.random() < kept else lost
        return _content(path, medium, chosen, KEEP)

    # -- names ----------------------------------------------------------------------------------

    def _pending_names(self) -> tuple[list[NameOperation], dict[int, str]]:
        """Return every pending change of names once, and the directory that it is in."""
        found: dict[int, NameOperation] = {}
        places: dict[int, str] = {}
        waiting: list[tuple[str, DirectoryNode]] = [("/", self._state.tree.root)]
        seen: set[int] = set()
        while waiting:
            path, directory = waiting.pop()
            if id(directory) in seen:
                continue
            seen.add(id(directory))
            medium = self._state.directory_medium(directory)
            for operation in medium.operations:
                found.setdefault(id(operation), operation)
                places.setdefault(id(operation), path)
            children = [*medium.durable.items(), *directory.entries.items()]
            children += [(one.name, one.node) for one in medium.operations if isinstance(one, Link)]
            waiting += [
                (f"{path.rstrip('/')}/{name}", node) for name, node in children if isinstance(node, DirectoryNode)
            ]
        return list(found.values()), places

    def _tree(self, fates: dict[int, int]) -> tuple[list[tuple[str, FileNode]], tuple[str, ...]]:
        """Return the files and directories that are there when names have these fates."""
        files: list[tuple[str, FileNode]] = []
        directories: list[str] = []
        placed: set[Node] = set()

        def survive(prefix: str, old: DirectoryNode) -> None:
            names = self._state.directory_medium(old).after_crash(old, _never_asked, fates)
            for name in sorted(names):
                child = names[name]
                if child in placed:
                    continue
                placed.add(child)
                if isinstance(child, FileNode):
                    files.append((f"{prefix}/{name}", child))
                else:
                    directories.append(f"{prefix}/{name}")
                    survive(f"{prefix}/{name}", child)

        survive("", self._state.tree.root)
        return files, tuple(directories)

    # -- bytes ----------------------------------------------------------------------------------

    def _with_contents(
        self,
        files: list[tuple[str, FileNode]],
        directories: tuple[str, ...],
        base: Fate,
        most: int,
        told: tuple[str, ...],
    ) -> Iterator[Image]:
        """Yield images of one tree of names: contents with up to `most` deviations in all."""
        plain = [(path, self._contents(path, node, base, 0)[0]) for path, node in files]

        def image(chosen: dict[int, Content]) -> Image:
            listed = tuple((path, chosen.get(at, content)) for at, (path, content) in enumerate(plain))
            return _image(directories, listed, told)

        yield image({})
        touched = [at for at, (_, node) in enumerate(files) if self._state.file_medium(node).operations]
        for deviations in range(1, most + 1):
            for at in touched:
                for content in self._contents(*files[at], base, deviations):
                    yield image({at: content})
        if most >= 2:
            for one, other in itertools.combinations(touched, 2):
                for mine in self._contents(*files[one], base, 1):
                    for yours in self._contents(*files[other], base, 1):
                        yield image({one: mine, other: yours})

    def _contents(self, path: str, node: FileNode, base: Fate, deviations: int) -> list[Content]:
        """Return what a file may hold with exactly so many deviations, and with no fewer."""
        medium = self._state.file_medium(node)
        states = self._cache.get(node)
        if states is None or not medium.operations or not _same(states.operations, medium.operations):
            states = self._cache[node] = _FileStates(tuple(medium.operations))
        found = states.by_deviations.get((base, deviations))
        if found is None:
            found = states.by_deviations[base, deviations] = self._build(path, node, medium, base, deviations)
        return found

    def _build(self, path: str, node: FileNode, medium: FileMedium, base: Fate, deviations: int) -> list[Content]:
        fewer = {one.digest for less in range(deviations) for one in self._contents(path, node, base, less)}
        found: dict[bytes, Content] = {}
        pending = [at for at, (_, state) in enumerate(medium.operations) if state != "synced"]
        for places in itertools.combinations(pending, deviations):
            variants = [[fate for fate in fates_of(medium.operations[at][0]) if fate != base] for at in places]
            for fates in itertools.product(*variants):
                chosen = dict(zip(places, fates, strict=True))
                content = _content(path, medium, chosen, base)
                if content.digest not in fewer:
                    found.setdefault(content.digest, content)
        return list(found.values())


def fates_of(operation: Any) -> Sequence[Fate]:
    """Return the fates of one pending operation that are gone through."""
    if not isinstance(operation, Write):
        return LOSE, KEEP
    first = operation.offset_bytes // SECTOR_BYTES
    count = (operation.offset_bytes + len(operation.data) - 1) // SECTOR_BYTES - first + 1
    fates: list[Fate] = [LOSE, KEEP, LOSE_BUT_GROW]
    if count == 1:
        return fates
    tried: Sequence[int] = range(count)
    if count > _SECTORS_TRIED_MAX:
        half = _SECTORS_TRIED_MAX // 3
        tried = sorted({*range(half), *range(count - half, count), *range(half, count, count // half)})
    torn: dict[Fate, None] = {}
    for sector in tried:
        only = tuple(KEPT if one == sector else LOST for one in range(count))
        without = tuple(LOST if one == sector else KEPT for one in range(count))
        prefix = tuple(KEPT if one < sector else LOST for one in range(count))
        for sectors in (only, without, prefix):
            if any(sectors):
                torn[TORN, *sectors, LOST] = torn[TORN, *sectors, KEPT] = None
    return [*fates, *torn]


def watch(disk: SimulatedDisk, callback: Any) -> None:
    """Call back when an operation that changes something begins, with its name, path and detail: a crash point."""
    disk._state.plan = _Watching(callback)


class _Watching(FaultPlan):
    """A plan by which nothing fails and everything is seen."""

    def __init__(self, callback: Any) -> None:
        super().__init__()
        self._callback = callback

    def step(self, operation: str, path: str, detail: str = "") -> None:
        """Let an operation begin."""
        if operation in MUTATING:
            self._callback(operation, path, detail)
        super().step(operation, path, detail)


def _content(path: str, medium: FileMedium, chosen: dict[int, Fate], base: Fate) -> Content:
    """Return what a file holds when some of its operations have fates of their own and the rest the base's."""
    file = FileNode(0, bytearray(medium.durable))
    for at, (operation, state) in enumerate(medium.operations):
        if state == "synced":
            operation.apply(file)
        else:
            answers = iter(chosen.get(at, base))
            operation.apply_crashed(file, lambda _options, answers=answers: next(answers, LOST))  # type: ignore[misc]
    told = tuple(
        f"{_fate_told(fate)}: {_told(medium.operations[at][0])} of {path}"
        for at, fate in chosen.items()
        if fate != base
    )
    return Content(hashlib.blake2b(file.content, digest_size=16).digest(), file.content, told)


def _image(directories: tuple[str, ...], files: tuple[tuple[str, Content], ...], told: tuple[str, ...]) -> Image:
    parts = [b"%s\0%s" % (path.encode(), content.digest) for path, content in files]
    whole = hashlib.blake2b("\0".join(directories).encode() + b"\0".join(parts), digest_size=16)
    return Image(whole.digest(), files, directories, told + tuple(one for _, content in files for one in content.told))


def _same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(map(lambda mine, theirs: mine is theirs, one, other))


def _directories(root: DirectoryNode) -> Iterator[DirectoryNode]:
    yield root
    for node in root.entries.values():
        if isinstance(node, DirectoryNode):
            yield from _directories(node)


def _never_asked(_options: int) -> int:
    raise AssertionError("a change of names whose fate nobody chose")


@cache
def _base_told(names: bool, data: bool) -> str:
    told = {True: "kept", False: "lost"}
    return f"names not synced are {told[names]}, bytes not synced are {told[data]}, but for:"


def _fate_told(fate: Fate) -> str:
    if fate == KEEP:
        return "kept"
    if fate[0] == LOST:
        return "lost, length kept" if fate == LOSE_BUT_GROW else "lost"
    sectors = "".join("+" if one == KEPT else "-" for one in fate[1:-1])
    return f"torn ({sectors}{', length kept' if fate[-1] == KEPT else ''})"


def _told(operation: Any) -> str:
    if isinstance(operation, Write):
        return f"write of {len(operation.data)} bytes at {operation.offset_bytes}"
    return repr(operation)


def _name_told(operation: NameOperation) -> str:
    if isinstance(operation, Rename):
        return f"rename to {operation.name}"
    return f"{type(operation).__name__.lower()} {operation.name}"
