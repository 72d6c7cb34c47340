"""What stands in a checkpoint's tree for arrays, tensors, files, stores and long bytes: nodes.

A node says what it is and how large; its bytes are in it, or lie in chunks.
What it becomes takes libraries that this layer doesn't know:
`journalkit.checkpoint.arrays`. How a tree of values and nodes is written is
told in `journalkit.format.tree`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final, TypeAlias

from journalkit.errors import UsageError
from journalkit.format.malformed import MalformedError
from journalkit.format.names import table_name
from journalkit.format.values import SCALARS, VALUE_DEPTH_MAX, refuse_unstorable

DIMENSIONS_MAX: Final = 64
GROUPS_MAX: Final = 1 << 20
NAME_CHARACTERS_MAX: Final = 255
SIZE_MAX: Final = (1 << 62) - 1
REASON_CHARACTERS_MAX: Final = 200
_ITEM: Final = re.compile(r"[<>|][biufc](\d{1,4})|[<>|][mM](8)\[.*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Chunked:
    """Bytes that lie in chunks: the number of their list."""

    index: int


Content: TypeAlias = bytes | Chunked


@dataclass(frozen=True, slots=True)
class BytesNode:
    """Bytes that aren't `bytes` in the state, or are long. `kind`: bytes, bytearray or memoryview."""

    kind: str
    content: Content


@dataclass(frozen=True, slots=True)
class ArrayNode:
    """An array: what its elements are, how many in each dimension, and whether the first dimension varies quickest.

    `kind` is NumPy's name for the kind of element, or for records the list of its fields, as NumPy gives it.
    """

    kind: Any
    shape: tuple[int, ...]
    by_columns: bool
    content: Content
    is_scalar: bool = False


@dataclass(frozen=True, slots=True)
class TensorNode:
    """A tensor: its array, whether it learns, whether it is a parameter, and where it was."""

    array: ArrayNode
    requires_grad: bool
    is_parameter: bool
    device: str


@dataclass(frozen=True, slots=True)
class FileNode:
    """A file's bytes, under its name without directories."""

    name: str
    content: Content


class GroupsNode(dict[int, BytesNode]):
    """Keyed state: by number of the key group, the CBOR of its keys and values. `groups` is how many there can be."""

    __slots__ = ("groups",)

    def __init__(self, groups: int, found: Mapping[int, BytesNode]) -> None:
        super().__init__(found)
        self.groups = groups


@dataclass(frozen=True, slots=True)
class ShardNode:
    """A part of an array that lies with several workers: the shape of the whole, and where the part begins.

    In a file the array is a node; in memory something else may stand for it.
    """

    array: Any
    shape: tuple[int, ...]
    offset: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TableNode:
    """One table of a store: its number, and its bytes."""

    number: int
    content: Chunked


@dataclass(frozen=True, slots=True)
class StoreNode:
    """A store at one LSN: what its manifest says of it, and its tables, newest first.

    `store` is its UUID, `metadata` the CBOR of what it was created with. Tables of the store that restoring it makes
    are numbered from `next_table` on.
    """

    store: bytes
    codec: str
    created_us: int
    epoch: int
    lsn: int
    next_table: int
    metadata: bytes
    tables: tuple[TableNode, ...]


Node: TypeAlias = BytesNode | ArrayNode | TensorNode | FileNode | TableNode
NODES: Final = (BytesNode, ArrayNode, TensorNode, FileNode, TableNode)
COMPOUND: Final = (GroupsNode, ShardNode, StoreNode)
"""What holds nodes and is one value for the application."""


_REPLACED: Final = (*NODES, *COMPOUND)


def walk(tree: object, steps: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Node]]:
    """Yield every node of a tree, with the keys and numbers by which it is reached."""
    if isinstance(tree, NODES):
        yield steps, tree
    elif isinstance(tree, ShardNode):
        if isinstance(tree.array, NODES):
            yield steps, tree.array
    elif isinstance(tree, StoreNode):
        for table in tree.tables:
            yield (*steps, table_name(table.number)), table
    elif isinstance(tree, dict):
        for key, child in tree.items():
            if type(child) not in SCALARS:
                yield from walk(child, (*steps, key))
    elif isinstance(tree, list | tuple):
        for at, child in enumerate(tree):
            if type(child) not in SCALARS:
                yield from walk(child, (*steps, at))


def rebuilt(tree: Any, make: Callable[[tuple[Any, ...], Any], object], steps: tuple[Any, ...] = ()) -> Any:
    """Return a tree with its nodes replaced, those that hold others as one. Lists and maps are changed in place."""
    if isinstance(tree, _REPLACED):
        return make(steps, tree)
    if isinstance(tree, dict):
        for key, child in tree.items():
            if type(child) not in SCALARS:
                tree[key] = rebuilt(child, make, (*steps, key))
    elif type(tree) is list:
        for at, child in enumerate(tree):
            if type(child) not in SCALARS:
                tree[at] = rebuilt(child, make, (*steps, at))
    elif type(tree) is tuple:
        return tuple(rebuilt(child, make, (*steps, at)) for at, child in enumerate(tree))
    return tree


def content_of(node: Node) -> Content:
    """Return what a node's bytes are."""
    return node.array.content if isinstance(node, TensorNode) else node.content


def check_tree(tree: Any, lengths: Sequence[int], depth: int) -> None:
    """Raise MalformedError unless a tree is one that could have been written."""
    kind = type(tree)
    if kind in SCALARS:
        return
    if isinstance(tree, NODES):
        _check_node(tree, lengths)
        return
    if isinstance(tree, ShardNode):
        _check_node(tree.array, lengths)
        return
    if isinstance(tree, GroupsNode):
        for found in tree.values():
            _check_node(found, lengths)
        return
    if isinstance(tree, StoreNode):
        for table in tree.tables:
            _check_node(table, lengths)
        return
    if depth > VALUE_DEPTH_MAX:
        raise MalformedError("the tree is nested too deep")
    if kind is dict or kind is OrderedDict:
        for key, child in tree.items():
            if type(key) not in SCALARS:
                _check_value(key)
            check_tree(child, lengths, depth + 1)
    elif kind is list or kind is tuple:
        for child in tree:
            check_tree(child, lengths, depth + 1)
    else:
        _check_value(tree)


def _check_value(value: Any) -> None:
    try:
        refuse_unstorable(value)
    except UsageError as error:
        raise MalformedError(str(error)[:REASON_CHARACTERS_MAX]) from None


def _check_node(node: Node, lengths: Sequence[int]) -> None:
    content = content_of(node)
    if isinstance(content, Chunked):
        if content.index >= len(lengths):
            raise MalformedError(f"list {content.index} of chunks isn't there")
        size_bytes = lengths[content.index]
    else:
        size_bytes = len(content)
    array = node.array if isinstance(node, TensorNode) else node
    if isinstance(array, ArrayNode):
        item_bytes = item_bytes_of(array.kind)
        if item_bytes is not None and prod(array.shape) * item_bytes != size_bytes:
            raise MalformedError(f"an array of {array.shape} has {size_bytes} bytes")


def moved(node: Any, by: int) -> Any:
    """Return a node whose lists of chunks have numbers that are larger by so many."""
    if isinstance(node, GroupsNode):
        return GroupsNode(node.groups, {group: moved(found, by) for group, found in node.items()})
    if isinstance(node, ShardNode | TensorNode):
        return replace(node, array=moved(node.array, by))
    if isinstance(node, StoreNode):
        return replace(node, tables=tuple(moved(table, by) for table in node.tables))
    content = node.content
    return replace(node, content=Chunked(content.index + by)) if isinstance(content, Chunked) else node


def item_bytes_of(kind: Any) -> int | None:
    """Return how many bytes an element of a plain kind has, None where NumPy or PyTorch has to say."""
    match = _ITEM.fullmatch(kind) if type(kind) is str else None
    return int(match[1] or match[2]) if match else None


def is_file_name(name: str) -> bool:
    """Whether a file may have that name, in whatever directory it is put."""
    return 0 < len(name) <= NAME_CHARACTERS_MAX and name not in (".", "..") and not {"/", "\\", "\0"} & set(name)


def fits(part: Sequence[int], offset: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a part of that shape that begins there lies within an array."""
    return len(part) == len(offset) == len(shape) and all(
        begin >= 0 and begin + size <= whole for size, begin, whole in zip(part, offset, shape, strict=True)
    )
