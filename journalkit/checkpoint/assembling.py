"""A worker's state out of what several workers saved, when there are as many of them as before and when there aren't.

as many       each gets what it gave
more, fewer   keyed state goes by key group; arrays in parts are divided anew; all else has to have been the same
              with all of them, since nobody could say whose it is

Trees are compared and cut by what their nodes say; bytes are read afterwards,
and only those that this worker gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final, TypeAlias

from journalkit.checkpoint import arrays
from journalkit.checkpoint.keyed import key_groups_of
from journalkit.checkpoint.saved import made_of
from journalkit.checkpoint.tree import Steps, place
from journalkit.errors import KeyTypeError, KeyValueError
from journalkit.format.nodes import (
    NODES,
    ArrayNode,
    BytesNode,
    GroupsNode,
    Node,
    ShardNode,
    StoreNode,
    TensorNode,
    rebuilt,
)
from journalkit.format.values import same

Box: TypeAlias = tuple[tuple[int, int], ...]
"""Where something begins and ends, in each dimension."""
Regions: TypeAlias = Mapping[Steps, tuple[slice, ...]]
"""Which part of an array a worker wants, by where it stands in the state."""

_SAME: Final = "isn't the same with all workers: it goes to another number of them only in a Keyed or in a Shard"

_STORES_DIFFER: Final = (
    "is a store of each worker's own, which can't be divided among another number of them: start as many as saved it, "
    "or load each one's with worker=(rank, checkpoint.workers) and merge them"
)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Stands in a tree for an array, to be put together: boxes of what was saved, each with what has it, and where.

    There is one at least, though it be empty.
    """

    wanted: Box
    found: tuple[tuple[ArrayNode | TensorNode, tuple[int, ...], Box], ...]


AreOne: TypeAlias = Callable[[Node, Node], bool]
"""Whether two nodes say the same, bytes included."""


def assembled(trees: Sequence[Any], rank: int, size: int, regions: Regions, are_one: AreOne) -> Any:
    """Return the tree of one worker; in it `Pieces` stand for what has to be put together.

    Raises:
        UsageError: What was saved can't be divided among so many, or a region isn't one.
    """
    if not isinstance(regions, Mapping):
        raise KeyTypeError(f"regions={regions!r:.100} is no mapping of places to slices")
    for steps in regions:
        for tree in trees:
            _shard_at(tree, steps)
    if len(trees) != size:
        return _Joining(rank, size, regions, are_one).joined(list(trees), ())
    wanted = {
        steps: _of_pieces([_shard_at(tree, steps) for tree in trees], asked, steps) for steps, asked in regions.items()
    }
    return rebuilt(trees[rank], lambda steps, node: wanted.get(steps, node))


class _Joining:
    """Trees that are walked together."""

    def __init__(self, rank: int, size: int, regions: Regions, are_one: AreOne) -> None:
        self._rank = rank
        self._size = size
        self._regions = regions
        self._are_one = are_one

    def joined(self, found: list[Any], steps: Steps) -> Any:
        """Return what this worker gets of what all have in one place."""
        first = found[0]
        kind = type(first)
        if any(type(each) is not kind for each in found):
            raise KeyValueError(f"{place(steps)} {_SAME}")
        if kind is GroupsNode:
            return self._groups(found, steps)
        if kind is ShardNode:
            asked = self._regions.get(steps)
            return _of_pieces(found, asked if asked is not None else self._evenly(found), steps)
        if kind is StoreNode:
            if not all(self._are_one_store(first, each) for each in found[1:]):
                raise KeyValueError(f"{place(steps)} {_STORES_DIFFER}")
            return first
        if isinstance(first, NODES):
            if not all(self._are_one(first, each) for each in found[1:]):
                raise KeyValueError(f"{place(steps)} {_SAME}")
            return first
        if isinstance(first, dict):
            if any(set(each) != set(first) for each in found):
                raise KeyValueError(f"{place(steps)} has keys that aren't the same with all workers: save a Keyed")
            return kind({key: self.joined([each[key] for each in found], (*steps, key)) for key in first})
        if kind is list or kind is tuple:
            if any(len(each) != len(first) for each in found):
                raise KeyValueError(f"{place(steps)} {_SAME}")
            return kind(self.joined(list(each), (*steps, at)) for at, each in enumerate(zip(*found, strict=True)))
        if not all(same(first, each) for each in found[1:]):
            raise KeyValueError(f"{place(steps)} {_SAME}")
        return first

    def _are_one_store(self, one: StoreNode, other: StoreNode) -> bool:
        is_same = replace(one, tables=()) == replace(other, tables=()) and len(one.tables) == len(other.tables)
        return is_same and all(map(self._are_one, one.tables, other.tables))

    def _groups(self, found: list[GroupsNode], steps: Steps) -> GroupsNode:
        groups = found[0].groups
        if any(each.groups != groups for each in found):
            raise KeyValueError(f"{place(steps)} has another number of key groups with some workers")
        mine = key_groups_of(self._rank, self._size, groups)
        held: dict[int, BytesNode] = {}
        for each in found:
            for group, node in each.items():
                if group in mine and held.setdefault(group, node) is not node:
                    raise KeyValueError(f"{place(steps)} has key group {group} with two workers")
        return GroupsNode(groups, held)

    def _evenly(self, found: list[ShardNode]) -> tuple[slice, ...]:
        """Return an even part, along the first dimension along which it was divided."""
        shape = found[0].shape
        divided = (
            axis for axis in range(len(shape)) if any(_box_of(each)[axis] != (0, shape[axis]) for each in found)
        )
        axis = next(divided, 0)
        if not shape:
            return ()
        length = shape[axis]
        begin, end = (rank * length // self._size for rank in (self._rank, self._rank + 1))
        return (*(slice(None),) * axis, slice(begin, end))


def put_together(pieces: Pieces, handle: Callable[[Node], Any]) -> Any:
    """Return the array, given what reads a node: parts of it, or all.

    Raises what reading raises.
    """
    lengths = tuple(end - begin for begin, end in pieces.wanted)
    model = pieces.found[0][0]
    array = model.array if isinstance(model, TensorNode) else model
    plain = ArrayNode(array.kind, lengths, False, b"")
    bare = TensorNode(plain, False, False, model.device) if isinstance(model, TensorNode) else plain
    memory = arrays.empty(prod(lengths) * arrays.item_bytes(bare))
    target = made_of(bare, memory)
    wanted = tuple(begin for begin, _ in pieces.wanted)
    for node, offset, box in pieces.found:
        source = handle(_bare(node))
        inner, outer = _within(box, offset), _within(box, wanted)
        target[outer] = source[inner[0]][(slice(None), *inner[1:])] if inner else source[()]
    whole = replace(model, array=plain) if isinstance(model, TensorNode) else bare
    return made_of(whole, memory)


def _bare(node: ArrayNode | TensorNode) -> ArrayNode | TensorNode:
    """Return a node of what can be written into another."""
    return replace(node, requires_grad=False, is_parameter=False) if isinstance(node, TensorNode) else node


def _within(box: Box, base: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(begin - first, end - first) for (begin, end), first in zip(box, base, strict=True))


def _of_pieces(shards: list[ShardNode], asked: tuple[slice, ...], steps: Steps) -> ShardNode:
    """Return a part of an array by what it takes to put it together: each element from one of those that have it."""
    first = shards[0]
    if any(each.shape != first.shape or _kind_of(each) != _kind_of(first) for each in shards):
        raise KeyValueError(f"{place(steps)} is a part of another array with some workers")
    wanted = _box(asked, first.shape, steps)
    missing = [wanted] if prod(end - begin for begin, end in wanted) else []
    found: list[tuple[ArrayNode | TensorNode, tuple[int, ...], Box]] = []
    for each in shards:
        box = _box_of(each)
        left: list[Box] = []
        for lacking in missing:
            both = _common(lacking, box)
            if both is None:
                left.append(lacking)
            else:
                found.append((each.array, each.offset, both))
                left += _without(lacking, both)
        missing = left
    if missing:
        raise KeyValueError(f"{place(steps)} lacks elements that no worker saved: {_said(missing[0])}")
    if not found:
        found.append((first.array, first.offset, tuple((begin, begin) for begin in first.offset)))
    return ShardNode(Pieces(wanted, tuple(found)), first.shape, tuple(begin for begin, _ in wanted))


def _kind_of(shard: ShardNode) -> Any:
    array = shard.array
    return (TensorNode, array.array.kind) if isinstance(array, TensorNode) else array.kind


def _box_of(shard: ShardNode) -> Box:
    array = shard.array.array if isinstance(shard.array, TensorNode) else shard.array
    return tuple((begin, begin + size) for begin, size in zip(shard.offset, array.shape, strict=True))


def _box(asked: Any, shape: tuple[int, ...], steps: Steps) -> Box:
    if not isinstance(asked, tuple) or any(not isinstance(each, slice) for each in asked) or len(asked) > len(shape):
        raise KeyTypeError(f"the region for {place(steps)} is {asked!r:.100}: a slice for each dimension, in a tuple")
    full = (*asked, *(slice(None),) * (len(shape) - len(asked)))
    try:
        ranges = [each.indices(size) for each, size in zip(full, shape, strict=True)]
    except TypeError as error:
        raise KeyTypeError(f"the region for {place(steps)} is {asked!r:.100}: {error}") from None
    if any(step != 1 for _, _, step in ranges):
        raise KeyValueError(f"the region for {place(steps)} leaves elements out: slices have no step")
    return tuple((begin, max(begin, end)) for begin, end, _ in ranges)


def _common(one: Box, other: Box) -> Box | None:
    both = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))
    return both if all(begin < end for begin, end in both) else None


def _without(box: Box, hole: Box) -> Iterator[Box]:
    """Yield boxes that together are a box without one that lies in it."""
    rest = list(box)
    for axis, (begin, end) in enumerate(hole):
        if rest[axis][0] < begin:
            yield (*rest[:axis], (rest[axis][0], begin), *rest[axis + 1 :])
        if end < rest[axis][1]:
            yield (*rest[:axis], (end, rest[axis][1]), *rest[axis + 1 :])
        rest[axis] = (begin, end)


def _said(box: Box) -> str:
    return "[" + ", ".join(f"{begin}:{end}" for begin, end in box) + "]"


def _shard_at(tree: Any, steps: Steps) -> ShardNode:
    found = tree
    if not isinstance(steps, tuple):
        raise KeyTypeError(f"{steps!r:.100} is no place in a state: a tuple of keys and numbers")
    try:
        for step in steps:
            if isinstance(found, list | tuple) and (type(step) is not int or step < 0):
                raise LookupError
            found = found[step]
    except (LookupError, TypeError):
        found = None
    if not isinstance(found, ShardNode):
        raise KeyValueError(f"{place(tuple(steps))} is no Shard: only those have regions")
    return found
