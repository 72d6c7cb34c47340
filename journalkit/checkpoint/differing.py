"""What differs between two checkpoints, place by place.

Trees are walked together. What is long is told apart by `contents`, which
reads only what digests can't tell.

as many workers     each one's state is compared with that of the same rank
more, or fewer      what they gave is put together first: keyed state by group, divided arrays by their elements.
                    Where it can't be, since some value isn't the same with all, by rank as well
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from journalkit.checkpoint.assembling import Pieces
from journalkit.checkpoint.checkpoint import Checkpoint, telling
from journalkit.checkpoint.contents import Contents
from journalkit.checkpoint.loading import Manifest
from journalkit.checkpoint.tree import Steps
from journalkit.errors import KeyValueError
from journalkit.format.nodes import (
    COMPOUND,
    NODES,
    ArrayNode,
    BytesNode,
    FileNode,
    GroupsNode,
    ShardNode,
    StoreNode,
    TensorNode,
    content_of,
    walk,
)
from journalkit.format.values import SCALARS, same

_PLAIN_KIND: Final = re.compile(r"[<|]([biufc])(\d{1,2})", re.ASCII)
_NUMBERS: Final = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
_MAPS: Final = (dict, OrderedDict)
_WORDS: Final = {type(None): "none", str: "text"}
_LONG: Final = (*NODES, *COMPOUND, bytes)


@dataclass(frozen=True, slots=True)
class Change:
    """One place in which two checkpoints differ.

    Attributes:
        at: Keys and numbers that lead there; behind the rank ("rank 2") where several workers are compared.
        what: added, removed or changed.
        before, after: What is there, in words: "array float32 (1000, 3)", "text"; "" if nothing is.
        old, new: The value itself, if it is a plain one; None else.
        size_bytes: How many long bytes there are now, or were if it was removed.
        differing_bytes: How many of those lie in chunks that were others before.
    """

    at: Steps
    what: Literal["added", "removed", "changed"]
    before: str
    after: str
    old: Any = None
    new: Any = None
    size_bytes: int = 0
    differing_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two checkpoints.

    Attributes:
        first, second: The one before and the one after.
        state, offsets, metadata, metrics: The places that differ in each of them.
        shared_bytes: How many bytes of the second's chunks the first has as well, each chunk counted once. Digests
            of two kinds tell of none.
        first_bytes, second_bytes: How many only the first has, and only the second.
    """

    first: Checkpoint
    second: Checkpoint
    state: tuple[Change, ...]
    offsets: tuple[Change, ...]
    metadata: tuple[Change, ...]
    metrics: tuple[Change, ...]
    shared_bytes: int
    first_bytes: int
    second_bytes: int

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.state or self.offsets or self.metadata or self.metrics)


def difference(first: Checkpoint, second: Checkpoint) -> Difference:
    """Return what differs. Raises as `Checkpoints.diff`."""
    with telling(first), telling(second):
        contents = Contents(first.manifest, second.manifest)
        pair = _Pair(first.manifest, second.manifest, contents)
        mine, others = first.manifest.said, second.manifest.said
        shared, only_first, only_second = contents.shares()
        return Difference(
            first,
            second,
            tuple(pair.states()),
            tuple(pair.changes(dict(mine.offsets), dict(others.offsets), ())),
            tuple(pair.changes(mine.metadata, others.metadata, ())),
            tuple(pair.changes(dict(mine.metrics), dict(others.metrics), ())),
            shared,
            only_first,
            only_second,
        )


class _Pair:
    """Two trees that are walked together."""

    def __init__(self, first: Manifest, second: Manifest, contents: Contents) -> None:
        self._sides = (first, second)
        self._contents = contents

    def states(self) -> Iterator[Change]:
        """Yield what differs in what one or several workers gave."""
        first, second = self._sides
        before, after = (max(1, len(side.said.parts)) for side in self._sides)
        if before != after or before == 1:
            with suppress(KeyValueError):  # some value isn't the same with all workers: by rank, then
                return self.changes(first.whole_tree(), second.whole_tree(), ())
        return self.changes(_by_rank(first), _by_rank(second), ())

    def changes(self, before: Any, after: Any, steps: Steps) -> Iterator[Change]:
        """Yield what differs below a place, in the order of what was there before."""
        kind = type(before)
        if kind is type(after) and kind in _MAPS:
            yield from self._of_maps(before, after, steps)
        elif kind is type(after) and kind in (list, tuple) and (_is_deep(before) or _is_deep(after)):
            yield from self._of_maps(dict(enumerate(before)), dict(enumerate(after)), steps)
        elif isinstance(before, _LONG) and isinstance(after, _LONG):
            yield from self._of_long(before, after, steps)
        elif kind is not type(after) or not same(before, after):
            yield Change(
                steps, "changed", words_of(before), words_of(after), _plain(before), _plain(after),
                self._size(after, 1), self._size(after, 1),
            )  # fmt: skip

    def _of_maps(self, before: Mapping[Any, Any], after: Mapping[Any, Any], steps: Steps) -> Iterator[Change]:
        for key, value in before.items():
            at = (*steps, key)
            if key in after:
                yield from self.changes(value, after[key], at)
            else:
                yield Change(at, "removed", words_of(value), "", old=_plain(value), size_bytes=self._size(value, 0))
        for key, value in after.items():
            if key not in before:
                taken = self._size(value, 1)
                yield Change((*steps, key), "added", "", words_of(value), None, _plain(value), taken, taken)

    def _of_long(self, before: Any, after: Any, steps: Steps) -> Iterator[Change]:
        words = words_of(before), words_of(after)
        if isinstance(before, GroupsNode) and isinstance(after, GroupsNode):
            is_same, differing = self._groups(before, after)
        elif isinstance(before, ShardNode) and isinstance(after, ShardNode):
            is_same, differing = self._shards(before, after, steps)
        elif isinstance(before, StoreNode) and isinstance(after, StoreNode):
            is_same, differing = self._stores(before, after)
        elif isinstance(before, COMPOUND) or isinstance(after, COMPOUND):
            is_same, differing = False, self._size(after, 1)
        else:
            is_same, differing = self._contents.compared(_content(before), _content(after))
            is_same = is_same and _bare(before) == _bare(after)
        if not is_same:
            yield Change(steps, "changed", *words, size_bytes=self._size(after, 1), differing_bytes=differing)

    def _groups(self, before: GroupsNode, after: GroupsNode) -> tuple[bool, int]:
        is_same, differing = before.groups == after.groups and before.keys() == after.keys(), 0
        for group, node in after.items():
            if group in before:
                is_equal, count = self._contents.compared(before[group].content, node.content)
            else:
                is_equal, count = False, self._size(node, 1)
            is_same, differing = is_same and is_equal, differing + count
        return is_same, differing

    def _shards(self, before: ShardNode, after: ShardNode, steps: Steps) -> tuple[bool, int]:
        is_divided = isinstance(before.array, Pieces) or isinstance(after.array, Pieces)
        if not is_divided and (before.shape, before.offset) == (after.shape, after.offset):
            is_same, differing = self._contents.compared(content_of(before.array), content_of(after.array))
            return is_same and _bare(before.array) == _bare(after.array), differing
        is_one = before.shape == after.shape and _model(before.array) == _model(after.array)
        if not is_divided or not is_one or not (_is_whole(before) and _is_whole(after)):
            return False, self._size(after, 1)
        differing = self._contents.divided(after, steps)
        return not differing, differing

    def _stores(self, before: StoreNode, after: StoreNode) -> tuple[bool, int]:
        mine, others = ([table.content for table in store.tables] for store in (before, after))
        differing = self._contents.added(mine, others)
        is_alike = (before.store, before.codec, before.metadata) == (after.store, after.codec, after.metadata)
        return is_alike and before.lsn == after.lsn and not differing, differing

    def _size(self, value: Any, side: int) -> int:
        """Return how many bytes are below a place that may be long."""
        if isinstance(value, ShardNode) and isinstance(value.array, Pieces):
            return self._contents.divided_bytes(value)
        if isinstance(value, bytes):
            return len(value)
        return sum(self._contents.length(content_of(node), side) for _, node in walk(value))


def _by_rank(side: Manifest) -> dict[str, Any]:
    return {f"rank {rank}": tree for rank, tree in enumerate(side.trees())}


def words_of(value: Any) -> str:
    """Return what something in a tree is."""
    if isinstance(value, TensorNode):
        return f"tensor {element_name(value.array.kind)} {value.array.shape}"
    if isinstance(value, ArrayNode):
        name = element_name(value.kind)
        return f"scalar {name}" if value.is_scalar else f"array {name} {value.shape}"
    if isinstance(value, BytesNode):
        return value.kind
    if isinstance(value, FileNode):
        return f"file {value.name}"
    if isinstance(value, StoreNode):
        return f"store at LSN {value.lsn}"
    if isinstance(value, GroupsNode):
        return f"keyed, {value.groups} groups"
    if isinstance(value, ShardNode):
        if isinstance(value.array, Pieces):
            return f"divided {element_name(_model(value.array)[-1])} {value.shape}"
        return f"{words_of(value.array)} at {value.offset} of {value.shape}"
    kind = type(value)
    if kind in _MAPS or kind in (list, tuple, set, frozenset):
        return f"{kind.__name__} of {len(value)}"
    return _WORDS.get(kind, kind.__name__)


def element_name(kind: Any) -> str:
    """Return what NumPy calls a kind of element: by itself, in this machine's order of bytes."""
    if type(kind) is not str:
        return "records"
    match = _PLAIN_KIND.fullmatch(kind)
    if match is None:
        return kind
    return "bool" if match[1] == "b" else f"{_NUMBERS[match[1]]}{8 * int(match[2])}"


def _is_deep(items: Any) -> bool:
    return any(type(each) not in SCALARS and type(each) not in (set, frozenset) for each in items)


def _plain(value: Any) -> Any:
    """Return a value that says itself; None for what is long, or holds others."""
    is_short = type(value) in SCALARS or type(value) in (set, frozenset)
    is_list = type(value) in (list, tuple) and not _is_deep(value)
    return value if (is_short and type(value) is not bytes) or is_list else None


def _content(value: Any) -> Any:
    return value if isinstance(value, bytes) else content_of(value)


def _bare(value: Any) -> Any:
    """Return what something long is, without its bytes."""
    if isinstance(value, TensorNode):
        return TensorNode, value.requires_grad, value.is_parameter, value.device, _bare(value.array)
    if isinstance(value, ArrayNode):
        return ArrayNode, value.kind, value.shape, value.by_columns, value.is_scalar
    if isinstance(value, FileNode):
        return FileNode, value.name
    return value.kind if isinstance(value, BytesNode) else "bytes"


def _is_whole(shard: ShardNode) -> bool:
    """Whether all elements of the array are there: of what is put together they are."""
    array = shard.array.array if isinstance(shard.array, TensorNode) else shard.array
    return isinstance(array, Pieces) or array.shape == shard.shape


def _model(array: Any) -> tuple[Any, ...]:
    """Return of which library an array is, or its pieces are, and the kind of its elements."""
    node = array.found[0][0] if isinstance(array, Pieces) else array
    return (TensorNode, node.array.kind) if isinstance(node, TensorNode) else (ArrayNode, node.kind)
