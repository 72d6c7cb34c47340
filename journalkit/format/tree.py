"""The tree of a checkpoint's state as CBOR: values as everywhere, and nodes for arrays, tensors and files.

    64..87      numbers as bytes: the typed arrays of RFC 8746
    40, 1040    arrays of any dimensions, row by row and column by column: [dimensions, elements]
    1246429200  long bytes, which lie in chunks: the number of a list of chunks in the manifest
    1246429201  bytearray, bytes
    1246429202  memoryview, bytes
    1246429203  elements that RFC 8746 has no tag for: [kind, bytes]
    1246429204  scalar of NumPy, an array without dimensions
    1246429205  tensor of PyTorch: [array, map of what else it is]
    1246429206  file: [name, bytes]
    1246429207  OrderedDict, a map
    1246429208  keyed state: [how many key groups there can be, map of bytes by the number of the group]
    1246429209  part of an array of several workers: [shape of the whole, where the part begins, array]
    1246429210  store: map of what it is, and its tables: `journalkit.format.stored`

Wherever bytes stand in this table, a list of chunks may stand instead.

What a node becomes takes libraries that this layer doesn't know:
`journalkit.checkpoint.arrays`. Here a tree is written and read, and a node's
sizes are held against each other where that takes no library.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, NoReturn

from cbor2 import CBORDecodeError, CBORDecoder, CBOREncodeError, CBOREncoder, dumps

from journalkit.errors import KeyValueError
from journalkit.format.cbor_tags import DECODERS, ENCODERS, FRAMES_OF_SCALAR, FRAMES_PER_CONTAINER
from journalkit.format.malformed import MalformedError
from journalkit.format.nodes import (
    DIMENSIONS_MAX,
    GROUPS_MAX,
    REASON_CHARACTERS_MAX,
    SIZE_MAX,
    ArrayNode,
    BytesNode,
    Chunked,
    Content,
    FileNode,
    GroupsNode,
    ShardNode,
    StoreNode,
    TensorNode,
    check_tree,
    fits,
    is_file_name,
)
from journalkit.format.stored import store_as_plain, store_from_plain
from journalkit.format.values import VALUE_DEPTH_MAX

TAG_CHUNKS: Final = 0x4A4B_0010
TAG_BYTEARRAY: Final = 0x4A4B_0011
TAG_MEMORYVIEW: Final = 0x4A4B_0012
TAG_ELEMENTS: Final = 0x4A4B_0013
TAG_SCALAR: Final = 0x4A4B_0014
TAG_TENSOR: Final = 0x4A4B_0015
TAG_FILE: Final = 0x4A4B_0016
TAG_ORDERED: Final = 0x4A4B_0017
TAG_GROUPS: Final = 0x4A4B_0018
TAG_SHARD: Final = 0x4A4B_0019
TAG_STORE: Final = 0x4A4B_001A
TAG_ROWS: Final = 40
TAG_COLUMNS: Final = 1040

TYPED: Final[dict[str, int]] = {
    "|u1": 64, ">u2": 65, ">u4": 66, ">u8": 67, "<u2": 69, "<u4": 70, "<u8": 71,
    "|i1": 72, ">i2": 73, ">i4": 74, ">i8": 75, "<i2": 77, "<i4": 78, "<i8": 79,
    ">f2": 80, ">f4": 81, ">f8": 82, "<f2": 84, "<f4": 85, "<f8": 86,
}  # fmt: skip
"""The tags of RFC 8746 by NumPy's name for the kind of number."""
_KIND_BY_TAG: Final = {tag: kind for kind, tag in TYPED.items()}

_KIND: Final = re.compile(r"[<>|][a-zA-Z]\d{0,9}(\[\d{0,9}[a-zA-Z]{1,8}(/\d{1,9})?\])?|[a-z][a-z0-9_]{0,40}", re.ASCII)
"""A kind of element: NumPy's name for it, or a name of PyTorch's (`bfloat16`)."""
_FRAMES_OF_NODE: Final = 8
_FRAMES_MAX: Final = FRAMES_PER_CONTAINER * VALUE_DEPTH_MAX + FRAMES_OF_SCALAR + _FRAMES_OF_NODE


def encode_tree(tree: object) -> bytes:
    """Return the bytes of a tree of values and nodes, each of which was found storable.

    Raises:
        UsageError: A text in it has a lone surrogate.
    """
    try:
        return dumps(tree, encoders=_ENCODERS)
    except (UnicodeEncodeError, CBOREncodeError) as error:
        raise KeyValueError(
            f"the state has a text that can't be stored: {str(error)[:REASON_CHARACTERS_MAX]}"
        ) from None


def decode_tree(data: bytes, lengths: Sequence[int]) -> Any:
    """Return the tree of those bytes, given how long each list of chunks is.

    Raises:
        MalformedError: `encode_tree` doesn't write such bytes.
    """
    file = BytesIO(data)
    try:
        tree = CBORDecoder(
            file,
            semantic_decoders=_DECODERS,
            max_depth=_FRAMES_MAX,
            allow_indefinite=False,
            allow_duplicate_keys=False,
        ).decode()
    except CBORDecodeError as error:
        _raise_verdict(error)
    if file.tell() != len(data):
        raise MalformedError("bytes go on behind the tree", file.tell())
    check_tree(tree, lengths, 1)
    return tree


# -- writing ------------------------------------------------------------------------------------


def _encode_chunked(encoder: CBOREncoder, value: Chunked) -> None:
    encoder.encode_semantic(TAG_CHUNKS, value.index)


def _encode_bytes(encoder: CBOREncoder, value: BytesNode) -> None:
    if value.kind == "bytes":
        encoder.encode(value.content)
    else:
        encoder.encode_semantic(TAG_BYTEARRAY if value.kind == "bytearray" else TAG_MEMORYVIEW, value.content)


@dataclass(frozen=True, slots=True)
class _Plain:
    """An array without the scalar's tag around it."""

    node: ArrayNode


@dataclass(frozen=True, slots=True)
class _Elements:
    kind: Any
    content: Content


def _encode_array(encoder: CBOREncoder, value: ArrayNode) -> None:
    if value.is_scalar:
        encoder.encode_semantic(TAG_SCALAR, _Plain(value))
    else:
        _encode_plain_array(encoder, _Plain(value))


def _encode_plain_array(encoder: CBOREncoder, value: _Plain) -> None:
    node = value.node
    tag = TAG_COLUMNS if node.by_columns else TAG_ROWS
    encoder.encode_semantic(tag, [list(node.shape), _Elements(node.kind, node.content)])


def _encode_elements(encoder: CBOREncoder, value: _Elements) -> None:
    tag = TYPED.get(value.kind) if type(value.kind) is str else None
    if tag is None:
        encoder.encode_semantic(TAG_ELEMENTS, [_kind_as_plain(value.kind), value.content])
    else:
        encoder.encode_semantic(tag, value.content)


def _kind_as_plain(kind: Any) -> Any:
    """Return a kind of element with lists for its tuples, which have a tag of their own."""
    return kind if type(kind) is str else [_kind_as_plain(each) if type(each) is tuple else each for each in kind]


def _encode_tensor(encoder: CBOREncoder, value: TensorNode) -> None:
    said = {"requires_grad": value.requires_grad, "is_parameter": value.is_parameter, "device": value.device}
    encoder.encode_semantic(TAG_TENSOR, [value.array, said])


def _encode_file(encoder: CBOREncoder, value: FileNode) -> None:
    encoder.encode_semantic(TAG_FILE, [value.name, value.content])


def _encode_ordered(encoder: CBOREncoder, value: OrderedDict[Any, Any]) -> None:
    encoder.encode_semantic(TAG_ORDERED, dict(value))


def _encode_groups(encoder: CBOREncoder, value: GroupsNode) -> None:
    encoder.encode_semantic(TAG_GROUPS, [value.groups, dict(value)])


def _encode_shard(encoder: CBOREncoder, value: ShardNode) -> None:
    encoder.encode_semantic(TAG_SHARD, [list(value.shape), list(value.offset), value.array])


def _encode_store(encoder: CBOREncoder, value: StoreNode) -> None:
    encoder.encode_semantic(TAG_STORE, store_as_plain(value))


_ENCODERS: Final[dict[type, Callable[[CBOREncoder, Any], None]]] = {
    **ENCODERS,
    Chunked: _encode_chunked,
    BytesNode: _encode_bytes,
    ArrayNode: _encode_array,
    _Plain: _encode_plain_array,
    _Elements: _encode_elements,
    TensorNode: _encode_tensor,
    FileNode: _encode_file,
    OrderedDict: _encode_ordered,
    GroupsNode: _encode_groups,
    ShardNode: _encode_shard,
    StoreNode: _encode_store,
}

# -- reading ------------------------------------------------------------------------------------


def _raise_verdict(error: CBORDecodeError) -> NoReturn:
    """Raise what the library's error means: it wraps whatever a tag's decoder raised, Ctrl-C included."""
    cause = error.__cause__
    if isinstance(cause, (MemoryError, RecursionError)) or not isinstance(cause, Exception | None):
        raise cause
    raise MalformedError(str(error if cause is None else cause)[:REASON_CHARACTERS_MAX]) from None


def _pair(item: object, what: str) -> tuple[Any, Any]:
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise ValueError(f"{what} is not a pair")
    return item[0], item[1]


def _content(item: object) -> Content:
    if type(item) is bytes:
        return item
    if type(item) is BytesNode and item.kind == "bytes" and type(item.content) is Chunked:
        return item.content
    raise ValueError("neither bytes nor a list of chunks")


def _decode_chunks(item: object, _immutable: bool) -> BytesNode:
    if type(item) is not int or not 0 <= item <= SIZE_MAX:
        raise ValueError("a list of chunks has no such number")
    return BytesNode("bytes", Chunked(item))


def _decode_bytearray(item: object, _immutable: bool) -> BytesNode:
    return BytesNode("bytearray", _content(item))


def _decode_memoryview(item: object, _immutable: bool) -> BytesNode:
    return BytesNode("memoryview", _content(item))


def _typed_decoder(kind: str) -> Callable[[Any, bool], _Elements]:
    return lambda item, _immutable: _Elements(kind, _content(item))


def _decode_elements(item: object, _immutable: bool) -> _Elements:
    kind, content = _pair(item, "elements")
    if kind in TYPED if type(kind) is str else False:
        raise ValueError("a kind of element that has a tag of its own")
    return _Elements(_checked_kind(kind, 1), _content(content))


def _checked_kind(kind: object, depth: int) -> Any:
    """Return a kind of element, frozen; a record's fields are names (or title and name), kinds and shapes."""
    if type(kind) is str:
        if not _KIND.fullmatch(kind):
            raise ValueError("no kind of element")
        return kind
    if not isinstance(kind, list | tuple) or not kind or depth > VALUE_DEPTH_MAX:
        raise ValueError("no kind of element")
    fields = []
    for field in kind:
        if not isinstance(field, list | tuple) or len(field) not in (2, 3):
            raise ValueError("no field of a record")
        name = field[0]
        if type(name) is not str and [type(each) for each in _pair(name, "a field's name")] != [str, str]:
            raise ValueError("no name of a field")
        shape = _checked_shape(field[2]) if len(field) == 3 else None
        name = name if type(name) is str else tuple(name)
        fields.append((name, _checked_kind(field[1], depth + 1), *((shape,) if shape is not None else ())))
    return tuple(fields)


def _checked_shape(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, list | tuple) or len(shape) > DIMENSIONS_MAX:
        raise ValueError("no dimensions of an array")
    if any(type(size) is not int or not 0 <= size <= SIZE_MAX for size in shape):
        raise ValueError("no dimensions of an array")
    return tuple(shape)


def _array_decoder(by_columns: bool) -> Callable[[Any, bool], ArrayNode]:
    def decode(item: object, _immutable: bool) -> ArrayNode:
        shape, elements = _pair(item, "an array")
        if type(elements) is not _Elements:
            raise ValueError("an array's elements are none")
        return ArrayNode(elements.kind, _checked_shape(shape), by_columns, elements.content)

    return decode


def _decode_scalar(item: object, _immutable: bool) -> ArrayNode:
    if type(item) is not ArrayNode or item.shape or item.is_scalar or item.by_columns:
        raise ValueError("a scalar is no array without dimensions")
    return ArrayNode(item.kind, (), False, item.content, is_scalar=True)


def _decode_tensor(item: object, _immutable: bool) -> TensorNode:
    array, said = _pair(item, "a tensor")
    if type(array) is not ArrayNode or array.is_scalar or array.by_columns:
        raise ValueError("a tensor's array is none")
    types = {"requires_grad": bool, "is_parameter": bool, "device": str}
    if not isinstance(said, dict) or {name: type(value) for name, value in said.items()} != types:
        raise ValueError("a tensor says something else of itself")
    return TensorNode(array, **said)


def _decode_file(item: object, _immutable: bool) -> FileNode:
    name, content = _pair(item, "a file")
    if type(name) is not str or not is_file_name(name):
        raise ValueError("no name of a file")
    return FileNode(name, _content(content))


def _decode_ordered(item: object, _immutable: bool) -> OrderedDict[Any, Any]:
    if type(item) is not dict:
        raise ValueError("an OrderedDict is not a map")
    return OrderedDict(item)


def _decode_groups(item: object, _immutable: bool) -> GroupsNode:
    groups, found = _pair(item, "keyed state")
    if type(groups) is not int or not 0 < groups <= GROUPS_MAX or type(found) is not dict:
        raise ValueError("keyed state has no groups")
    if any(type(group) is not int or not 0 <= group < groups for group in found):
        raise ValueError("a key group has no such number")
    return GroupsNode(groups, {group: BytesNode("bytes", _content(each)) for group, each in found.items()})


def _decode_shard(item: object, _immutable: bool) -> ShardNode:
    if not isinstance(item, list | tuple) or len(item) != 3:
        raise ValueError("a part of an array is no three things")
    shape, offset, array = _checked_shape(item[0]), _checked_shape(item[1]), item[2]
    if type(array) is not ArrayNode and type(array) is not TensorNode:
        raise ValueError("a part of an array is no array")
    node = array.array if isinstance(array, TensorNode) else array
    if not fits(node.shape, offset, shape):
        raise ValueError("a part of an array lies outside of it")
    return ShardNode(array, shape, offset)


def _decode_store(item: object, _immutable: bool) -> StoreNode:
    return store_from_plain(item)


_DECODERS: Final = type(DECODERS)(
    {
        **DECODERS,
        TAG_CHUNKS: _decode_chunks,
        TAG_BYTEARRAY: _decode_bytearray,
        TAG_MEMORYVIEW: _decode_memoryview,
        TAG_ELEMENTS: _decode_elements,
        TAG_SCALAR: _decode_scalar,
        TAG_TENSOR: _decode_tensor,
        TAG_FILE: _decode_file,
        TAG_ORDERED: _decode_ordered,
        TAG_GROUPS: _decode_groups,
        TAG_SHARD: _decode_shard,
        TAG_STORE: _decode_store,
        TAG_ROWS: _array_decoder(by_columns=False),
        TAG_COLUMNS: _array_decoder(by_columns=True),
        **{tag: _typed_decoder(kind) for tag, kind in _KIND_BY_TAG.items()},
    }
)
