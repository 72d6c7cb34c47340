"""Trees as CBOR: values and nodes come back, RFC 8746's tags are what they should be, and nothing hostile passes."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.errors import KeyValueError
from journalkit.format.malformed import MalformedError
from journalkit.format.nodes import (
    NODES,
    ArrayNode,
    BytesNode,
    Chunked,
    FileNode,
    TensorNode,
    content_of,
    is_file_name,
    item_bytes_of,
    rebuilt,
    walk,
)
from journalkit.format.tree import (
    TAG_BYTEARRAY,
    TAG_CHUNKS,
    TAG_ELEMENTS,
    TAG_FILE,
    TAG_MEMORYVIEW,
    TAG_ORDERED,
    TAG_SCALAR,
    TAG_TENSOR,
    TYPED,
    decode_tree,
    encode_tree,
)

ARRAY = ArrayNode("<f8", (2, 3), False, bytes(48))
RECORD = ArrayNode((("x", "<i4"), (("title", "y"), "<f8", (2, 1)), ("in", (("z", "|b1"),))), (1,), False, b"r" * 21)
TREE: dict[Any, Any] = {
    "a": ARRAY, "f": ArrayNode(">i2", (2, 1), True, b"1234"), "c": ArrayNode("|u1", (500,), False, Chunked(1)),
    "r": RECORD, "s": ArrayNode("<c16", (), False, bytes(16), is_scalar=True),
    "t": [TensorNode(ArrayNode("bfloat16", (2,), False, b"1234"), True, True, "cuda:0"), None],
    "b": (BytesNode("bytearray", b"x"), BytesNode("memoryview", Chunked(0))), "long": BytesNode("bytes", Chunked(0)),
    "file": FileNode("model.bin", Chunked(1)), ("a", 1): {1, 2}, "d": Decimal("1.50"),
    "o": OrderedDict(one=ARRAY, two=1), "m": ArrayNode("<M8[ns]", (1,), False, bytes(8)),
}  # fmt: skip
LENGTHS = [70, 500]


def as_written(tree: Any) -> Any:
    """Return a tree with long bytes as the walk through a state leaves them."""
    tree = dict(tree)
    tree["long"] = tree["long"].content
    return tree


def test_what_is_encoded_comes_back() -> None:
    """Every node and every value, of the same types."""
    found = decode_tree(encode_tree(as_written(TREE)), LENGTHS)
    assert found == TREE
    assert type(found["o"]) is OrderedDict
    assert type(found["b"]) is tuple
    assert decode_tree(encode_tree(found), LENGTHS) == TREE


def test_arrays_are_written_as_rfc_8746_says() -> None:
    """Whoever has the specification reads them with any CBOR library."""
    tag = cbor2.loads(encode_tree(ARRAY))
    assert (tag.tag, list(tag.value[0]), tag.value[1].tag, tag.value[1].value) == (40, [2, 3], 86, bytes(48))
    tag = cbor2.loads(encode_tree(TREE["f"]))
    assert (tag.tag, tag.value[1].tag) == (1040, 73)
    assert sorted(TYPED.values()) == [n for n in range(64, 87) if n not in (68, 76, 83)]


def test_nodes_are_found_with_their_places() -> None:
    """By them damage is told, and parts are loaded."""
    found = dict(walk(TREE))
    assert found["o", "one"] is ARRAY
    assert found["b", 1] == BytesNode("memoryview", Chunked(0))
    assert len(found) == 12
    assert content_of(found["t", 0]) == b"1234"
    assert dict(walk(7)) == {}


def test_a_tree_is_rebuilt_with_what_nodes_become() -> None:
    """And all else is as it was."""
    tree = decode_tree(encode_tree(as_written(TREE)), LENGTHS)
    made = rebuilt(tree, lambda steps, node: (len(steps), type(node).__name__))
    assert made["a"] == (1, "ArrayNode")
    assert made["b"] == ((2, "BytesNode"), (2, "BytesNode"))
    assert made["t"] == [(2, "TensorNode"), None]
    assert made["o"] == OrderedDict(one=(2, "ArrayNode"), two=1)
    assert made["d"] == Decimal("1.50")


def tagged(tag: int, value: Any) -> cbor2.CBORTag:
    """Return a tag."""
    return cbor2.CBORTag(tag, value)


FLOATS = tagged(86, bytes(16))
HOSTILE = [
    tagged(TAG_CHUNKS, 2), tagged(TAG_CHUNKS, -1), tagged(TAG_CHUNKS, b""), tagged(TAG_BYTEARRAY, 1),
    tagged(TAG_BYTEARRAY, tagged(TAG_BYTEARRAY, b"")), tagged(TAG_MEMORYVIEW, "x"), FLOATS, tagged(40, FLOATS),
    tagged(40, [[2], FLOATS, 1]), tagged(40, [[3], FLOATS]), tagged(40, [2, FLOATS]), tagged(40, [[-2], FLOATS]),
    tagged(40, [[2.0], FLOATS]), tagged(40, [[1] * 65, FLOATS]), tagged(40, [[2], bytes(16)]),
    tagged(40, [[1 << 62, 0], FLOATS]), tagged(40, [[2], tagged(86, "x")]),
    tagged(40, [[499], tagged(64, tagged(TAG_CHUNKS, 1))]), tagged(40, [[2], tagged(83, bytes(32))]),
    tagged(40, [[2], tagged(TAG_ELEMENTS, ["<f8", bytes(16)])]), tagged(40, [[1], tagged(TAG_ELEMENTS, ["é", b"x"])]),
    tagged(40, [[1], tagged(TAG_ELEMENTS, ["<i4,<i4", b"x"])]), tagged(40, [[1], tagged(TAG_ELEMENTS, [[], b"x"])]),
    tagged(40, [[1], tagged(TAG_ELEMENTS, [7, b"x"])]), tagged(40, [[1], tagged(TAG_ELEMENTS, [["x"], b"x"])]),
    tagged(40, [[1], tagged(TAG_ELEMENTS, [[["x"]], b"x"])]),
    tagged(40, [[1], tagged(TAG_ELEMENTS, [[[7, "<i4"]], bytes(4)])]),
    tagged(40, [[1], tagged(TAG_ELEMENTS, [[[["t", 7], "<i4"]], bytes(4)])]),
    tagged(40, [[1], tagged(TAG_ELEMENTS, [[["x", "<i4", 7]], bytes(4)])]),
    tagged(40, [[1], tagged(TAG_ELEMENTS, [[["x", "<i4", [-1]]], bytes(4)])]),
    tagged(TAG_SCALAR, tagged(40, [[2], FLOATS])), tagged(TAG_SCALAR, 1.0),
    tagged(TAG_SCALAR, tagged(TAG_SCALAR, tagged(40, [[], tagged(86, bytes(8))]))),
    tagged(TAG_TENSOR, [1, {}]), tagged(TAG_TENSOR, [tagged(40, [[2], FLOATS]), {"device": "cpu"}]),
    tagged(TAG_TENSOR, [tagged(1040, [[2], FLOATS]), {"requires_grad": True, "is_parameter": True, "device": ""}]),
    tagged(TAG_TENSOR, [tagged(40, [[2], FLOATS]), [1]]), tagged(TAG_FILE, ["../x", b""]), tagged(TAG_FILE, [7, b""]),
    tagged(TAG_FILE, ["", b""]), tagged(TAG_FILE, ["x", 7]), tagged(TAG_ORDERED, [1]), tagged(999, 1), tagged(35, "x"),
    tagged(258, [tagged(TAG_CHUNKS, 1)]), cbor2.undefined,
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_never_written_is_not_read(hostile: Any) -> None:
    """A node whose parts don't fit is no node, wherever it stands."""
    for tree in (hostile, [hostile], {"x": hostile}):
        with pytest.raises(MalformedError):
            decode_tree(cbor2.dumps(tree), LENGTHS)


@pytest.mark.parametrize("key", [HOSTILE[9], FLOATS, tagged(TAG_CHUNKS, 1), tagged(TAG_FILE, ["x", b""])])
def test_no_node_is_a_key(key: Any) -> None:
    """It is no value."""
    with pytest.raises(MalformedError):
        decode_tree(b"\xa1" + cbor2.dumps(key) + b"\x01", LENGTHS)


def test_a_tree_is_nested_as_deep_as_a_value_and_no_deeper() -> None:
    """The library wouldn't survive it."""

    def deep(levels: int) -> Any:
        tree: Any = TREE["t"][0]
        for _ in range(levels):
            tree = [tree]
        return tree

    assert decode_tree(encode_tree(deep(64)), ()) == deep(64)
    with pytest.raises(MalformedError, match="deep"):
        decode_tree(encode_tree(deep(65)), ())
    with pytest.raises(MalformedError):
        decode_tree(b"\x81" * 5000 + b"\x80", ())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_tree_or_malformed(data: bytes) -> None:
    """And what is a tree comes back."""
    try:
        tree = decode_tree(data, LENGTHS)
    except MalformedError:
        return
    again = decode_tree(encode_tree(tree), LENGTHS)
    assert repr(again) == repr(tree)


def test_bytes_behind_the_tree_are_refused() -> None:
    """All of it is one item."""
    with pytest.raises(MalformedError, match="go on"):
        decode_tree(b"\x00\x00", ())


def test_a_text_that_cannot_be_stored_is_refused() -> None:
    """A lone surrogate has no UTF-8."""
    with pytest.raises(KeyValueError, match="text"):
        encode_tree({"x": "\ud800"})


def test_interrupts_come_through_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library wraps what a tag's decoder raises; Ctrl-C is no malformed tree."""
    from journalkit.format import tree as module

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(module._DECODERS, TAG_FILE, interrupt)
    with pytest.raises(KeyboardInterrupt):
        decode_tree(encode_tree(TREE["file"]), LENGTHS)


def test_names_of_files_lead_nowhere_else() -> None:
    """A name from a checkpoint is put into a directory of the reader's."""
    assert is_file_name("model-00001.safetensors")
    for name in ("", ".", "..", "a/b", "a\\b", "a\0b", "x" * 256):
        assert not is_file_name(name)


def test_the_size_of_an_element_is_told_where_its_name_tells_it() -> None:
    """Of the rest a library has to."""
    assert [item_bytes_of(kind) for kind in ("<f8", "|b1", "<M8[ns]", "bfloat16", "|S5", (("x", "<i4"),))] == [
        8, 1, 8, None, None, None,
    ]  # fmt: skip
    assert len(NODES) == 5
