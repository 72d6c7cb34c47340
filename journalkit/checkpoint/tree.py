"""Capture: a job's state as it is now, ready to be written while the job goes on.

A state is a tree of values, as a store has them, and of long bytes, arrays,
tensors, files and stores. What can't be preserved is refused here, with its place in
the tree, before anything is written.

What is short is encoded at once. What is long is copied into memory that is
kept for the next capture, or only looked at, where the caller waits until it
is written. A file's bytes are read at once: a file is captured as it is. A
store is taken as it is at this moment, and read when it is written.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from journalkit.checkpoint import arrays
from journalkit.checkpoint.chunks import INLINE_BYTES
from journalkit.checkpoint.keyed import Keyed, Shard, by_group, key_groups_of
from journalkit.checkpoint.stores import captured
from journalkit.checkpoint.streams import Remembered, Stream
from journalkit.errors import KeyTypeError, KeyValueError, UsageError
from journalkit.format.codec import CborCodec
from journalkit.format.nodes import BytesNode, Chunked, FileNode, GroupsNode, ShardNode, StoreNode, is_file_name
from journalkit.format.tree import encode_tree
from journalkit.format.values import SCALARS, VALUE_DEPTH_MAX, refuse_unstorable
from journalkit.fs.interface import ReadableFileSystem
from journalkit.fs.posix import PosixFileSystem, real_path

_READ_BYTES: Final = 8 << 20
_SHOWN_CHARACTERS_MAX: Final = 40

Steps = tuple[Any, ...]
"""The keys and numbers by which something in a tree is reached."""


class Kept(ABC):
    """What a load gives in the place of long bytes or a file: a state that holds it can be saved again."""

    file_name: str | None = None

    @abstractmethod
    def kept(self) -> Any:
        """Return what it stands for: for a file, what is in it."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """Long bytes of a state: an array's, which change in place, or others; in memory, or read as they are written.

    Private is what the application can't change any more.
    """

    view: memoryview | Stream
    is_array: bool
    is_private: bool
    steps: Steps

    @property
    def size_bytes(self) -> int:
        """How many bytes there are; of a stream perhaps about how many."""
        return self.view.size_bytes if isinstance(self.view, Stream) else len(self.view)


@dataclass(slots=True)
class Captured:
    """A state as it was. `tree` is its CBOR, or the number of the leaf that has it."""

    tree: bytes | int
    leaves: tuple[Leaf, ...]
    _held: list[Any] = field(default_factory=list, repr=False)
    _buffers: Buffers | None = field(default=None, repr=False)

    @property
    def is_streamed(self) -> bool:
        """Whether something of it isn't in memory, and can be read by this process alone."""
        return any(isinstance(leaf.view, Stream) for leaf in self.leaves)

    @property
    def size_bytes(self) -> int:
        """How many bytes there are in all."""
        return sum(leaf.size_bytes for leaf in self.leaves) + (len(self.tree) if isinstance(self.tree, bytes) else 0)

    def release(self) -> None:
        """Give the memory back for the next capture. The leaves can't be read any more."""
        if self._buffers is not None:
            self._buffers.give_back(_in_memory(self.leaves))
        self.leaves = ()
        self._held.clear()
        self._buffers = None


class Buffers:
    """Memory for captures, kept from one to the next: getting it from the system costs more than filling it.

    `remembered` is what saves have found out of what doesn't change.
    """

    def __init__(self, remembered: Remembered | None = None) -> None:
        self._free: list[memoryview] = []
        self.remembered = remembered if remembered is not None else Remembered()

    def take(self, size_bytes: int) -> memoryview:
        """Return memory of that size, of an earlier capture if there is any that fits."""
        fitting = [at for at, each in enumerate(self._free) if size_bytes <= len(each) <= 2 * size_bytes]
        if fitting:
            return self._free.pop(min(fitting, key=lambda at: len(self._free[at])))[:size_bytes]
        return arrays.empty(size_bytes)

    def give_back(self, views: list[memoryview]) -> None:
        """Keep the memory of the last capture; what it didn't need goes."""
        self._free = [memoryview(view.obj).cast("B") for view in views if not view.readonly]

    def clear(self) -> None:
        """Let go of all of it."""
        self._free.clear()


def capture(
    state: object,
    *,
    copy: bool = True,
    buffers: Buffers | None = None,
    fs: ReadableFileSystem | None = None,
    worker: tuple[int, int] | None = None,
) -> Captured:
    """Return a state as it is now.

    Args:
        state: The tree.
        copy: Whether long bytes are copied. If not, the caller changes none of it until it is written.
        buffers: Where memory for copies comes from, and goes back to; what it remembers is known.
        fs: Where files in the state are, the machine's own file system by default.
        worker: Whose state it is, of several: rank and size. What belongs to another one is refused.

    Raises:
        UsageError: Something in it can't be preserved, and where; or a file can't be read.
        ClosedError, ForkedError: It has a store, or a view, that is of no more use.
        CorruptionError, ArchiveUnavailableError, StorageError: It holds what another checkpoint has, which can't
            be read.

    Complexity:
        O(number of values), and a copy of the long bytes if one is asked for. O(1) for a store.
    """
    if buffers is None or not copy:
        # What nothing is given back to isn't taken from: a file's bytes are read into memory of their own.
        buffers = Buffers(buffers.remembered if buffers is not None else None)
    walk = _Capture(copy, buffers, fs, worker)
    try:
        data = encode_tree(walk.node(state, (), 1))
        tree: bytes | int = data
        if len(data) >= INLINE_BYTES:
            tree = walk.add(memoryview(data), data, (), is_array=False, is_ours=True)
    except BaseException:
        if copy:
            walk.buffers.give_back(_in_memory(walk.leaves))
        raise
    walk.buffers.remembered.keep({leaf.view.key for leaf in walk.leaves if isinstance(leaf.view, Stream)})
    return Captured(tree, tuple(walk.leaves), walk.held, walk.buffers if copy else None)


class _Capture:
    """One walk through a state."""

    def __init__(
        self, copy: bool, buffers: Buffers, fs: ReadableFileSystem | None, worker: tuple[int, int] | None
    ) -> None:
        self._copy = copy
        self._fs = fs
        self._worker = worker
        self._known: dict[tuple[int, int], int] = {}
        self._streams: dict[Any, int] = {}
        self._stores: dict[int, StoreNode] = {}
        self.buffers = buffers
        self.leaves: list[Leaf] = []
        self.held: list[Any] = []

    def node(self, value: Any, steps: Steps, depth: int) -> Any:
        """Return what stands for a value in the tree that is encoded."""
        kind = type(value)
        if kind in SCALARS:
            if kind is bytes and len(value) >= INLINE_BYTES:
                return BytesNode("bytes", self._content(memoryview(value), value, steps, is_ours=True)).content
            return value
        if kind is dict or kind is OrderedDict or kind is list or kind is tuple:
            if depth > VALUE_DEPTH_MAX:
                reason = f"is nested too deep, or contains itself: {VALUE_DEPTH_MAX} levels are the most"
                raise KeyValueError(f"{place(steps)} {reason}")
            return self._container(value, kind, steps, depth)
        if kind is bytearray:
            return BytesNode("bytearray", self._content(memoryview(value), value, steps))
        if kind is memoryview:
            if value.ndim != 1 or value.format != "B" or not value.contiguous:
                raise KeyTypeError(f"{place(steps)} is a memoryview of more than bytes: save an array")
            return BytesNode("memoryview", self._content(value, value, steps))
        if (is_array := arrays.is_array(value)) or arrays.is_tensor(value):
            try:
                make, (holder, view) = arrays.array_source(value) if is_array else arrays.tensor_source(value)
            except arrays.RefusedError as refused:
                raise KeyTypeError(f"{place(steps)} {refused}") from None
            return make(self._content(view, holder, steps, is_array=True))
        if isinstance(value, Kept):
            found = value.kept()
            if value.file_name is None:
                return self.node(found, steps, depth)
            return FileNode(value.file_name, self._content(memoryview(found), found, steps, is_ours=True))
        if isinstance(value, os.PathLike):
            return self._file(os.fspath(value), steps)
        if kind is Keyed:
            return self._keyed(value, steps)
        if kind is Shard:
            try:
                part = Shard(value.array, value.shape, value.offset)  # it may have been changed since it was made
            except UsageError as error:
                raise type(error)(f"{place(steps)}: {error}") from None
            return ShardNode(self.node(part.array, steps, depth), part.shape, part.offset)
        found = self._store(value, steps)
        if found is not None:
            return found
        self._refuse_unstorable(value, steps)
        return value

    def _container(self, value: Any, kind: type, steps: Steps, depth: int) -> Any:
        if kind is list or kind is tuple:
            items = [
                child if type(child) in _SHORT else self.node(child, (*steps, at), depth + 1)
                for at, child in enumerate(value)
            ]
            return items if kind is list else tuple(items)
        made = kind()
        for key, child in value.items():
            if type(key) not in SCALARS:
                self._refuse_unstorable(key, (*steps, key))
            made[key] = child if type(child) in _SHORT else self.node(child, (*steps, key), depth + 1)
        return made

    def _keyed(self, value: Keyed, steps: Steps) -> GroupsNode:
        mine = key_groups_of(*self._worker, value.groups) if self._worker is not None else None
        try:
            found = by_group(value, mine)
        except UsageError as error:
            raise type(error)(f"{place(steps)}: {error}") from None
        return GroupsNode(
            value.groups,
            {
                group: BytesNode("bytes", self._content(memoryview(data), data, (*steps, group), is_ours=True))
                for group, data in found.items()
            },
        )

    def _store(self, value: Any, steps: Steps) -> StoreNode | None:
        """Return a store's node, None if it is no store. One that is in the state twice is of one moment."""
        if id(value) in self._stores:
            return self._stores[id(value)]
        found = captured(value, self.buffers.remembered, place(steps))
        if found is None:
            return None
        node, streams = found
        self.held.append(value)
        numbers = [self._add_stream(stream, steps) for stream in streams]
        self._stores[id(value)] = node = replace(
            node,
            tables=tuple(replace(table, content=Chunked(at)) for table, at in zip(node.tables, numbers, strict=True)),
        )
        return node

    def _add_stream(self, stream: Stream, steps: Steps) -> int:
        number = self._streams.setdefault(stream.key, len(self.leaves))
        if number == len(self.leaves):
            self.leaves.append(Leaf(stream, is_array=True, is_private=True, steps=steps))
        return number

    def _refuse_unstorable(self, value: Any, steps: Steps) -> None:
        try:
            if type(value) in (set, frozenset):
                CborCodec().encode(value)
            else:
                refuse_unstorable(value)
        except UsageError as error:
            raise type(error)(place(steps) + str(error).removeprefix("value")) from None

    def _content(
        self, view: memoryview, holder: Any, steps: Steps, *, is_array: bool = False, is_ours: bool = False
    ) -> bytes | Chunked:
        if len(view) < INLINE_BYTES:
            return bytes(view)
        return Chunked(self.add(view, holder, steps, is_array=is_array, is_ours=is_ours))

    def add(self, view: memoryview, holder: Any, steps: Steps, *, is_array: bool, is_ours: bool) -> int:
        """Note long bytes, and return their number. The same memory twice is noted once."""
        self.held.append(holder)  # so that no address comes twice
        number = len(self.leaves)
        address = _address(holder)
        if address is not None and (known := self._known.setdefault((address, len(view)), number)) != number:
            return known
        if self._copy and not is_ours:
            target = self.buffers.take(len(view))
            arrays.fill(target, view)
            view = target
        self.leaves.append(Leaf(view, is_array, self._copy or is_ours, steps))
        return number

    def _file(self, path: str | bytes, steps: Steps) -> FileNode:
        if not isinstance(path, str):
            raise KeyTypeError(f"{place(steps)} is a path of bytes: say it as text")
        name = os.path.basename(path)
        if not is_file_name(name):
            raise KeyValueError(f"{place(steps)} is no file's name that every system has: {name!r:.100}")
        fs = self._fs
        try:
            file = PosixFileSystem().open_read(real_path(path)) if fs is None else fs.open_read(path)
            with contextlib.closing(file):
                data = self.buffers.take(file.size())
                at = 0
                while at < len(data) and (piece := file.pread(min(_READ_BYTES, len(data) - at), at)):
                    data[at : at + len(piece)] = piece
                    at += len(piece)
        except OSError as error:
            raise UsageError(f"{place(steps)} is {path}, which can't be read: {error.strerror}") from error
        return FileNode(name, self._content(data if at == len(data) else data[:at], data, steps, is_ours=True))


_SHORT: Final = SCALARS - {bytes}


def _in_memory(leaves: Iterable[Leaf]) -> list[memoryview]:
    return [leaf.view for leaf in leaves if not isinstance(leaf.view, Stream)]


def _address(holder: Any) -> int | None:
    """Return where the memory begins of which all is looked at, None if that can't be told."""
    if type(holder) in (bytes, bytearray):
        return id(holder)
    if hasattr(holder, "data_ptr"):
        return int(holder.data_ptr())
    described = getattr(holder, "__array_interface__", None)
    return None if described is None else int(described["data"][0])


def place(steps: Steps) -> str:
    """Return the words for a place in a state."""
    return "state" + "".join(_shown(steps))


def _shown(steps: Steps) -> Iterator[str]:
    for step in steps:
        text = repr(step)
        yield f"[{text}]" if len(text) <= _SHOWN_CHARACTERS_MAX else f"[<{type(step).__name__}>]"
