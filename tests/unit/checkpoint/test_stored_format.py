"""A store's node as CBOR: it comes back, and nothing that no store could say gets through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cbor2 import CBORTag, dumps

from journalkit.format.malformed import MalformedError
from journalkit.format.manifest import EPOCH_MAX, NUMBER_MAX
from journalkit.format.nodes import Chunked, StoreNode, TableNode, moved, rebuilt, walk
from journalkit.format.stored import TABLES_MAX, metadata_of, store_as_plain
from journalkit.format.tree import TAG_STORE, decode_tree, encode_tree

TABLES = (TableNode(7, Chunked(1)), TableNode(3, Chunked(0)))
STORE = StoreNode(b"u" * 16, "cbor", -5, 2, 9, 8, b"\xa1\x61a\x01", TABLES)
EMPTY = StoreNode(b"u" * 16, "raw", 5, 0, 0, 1, b"\xa0", ())
LENGTHS = [200, 300]


def written(**changes: Any) -> bytes:
    """Return the bytes of a store that says something else."""
    plain = store_as_plain(STORE) | {"tables": [[7, CBORTag(0x4A4B_0010, 1)], [3, CBORTag(0x4A4B_0010, 0)]]}
    plain |= changes
    return dumps(CBORTag(TAG_STORE, {name: value for name, value in plain.items() if value is not ...}))


@pytest.mark.parametrize("node", [STORE, EMPTY])
def test_stores_come_back_wherever_they_are(node: StoreNode) -> None:
    """Alone, in a map, in a tuple."""
    for tree in (node, {"a": [node, 1]}, (node,)):
        assert decode_tree(encode_tree(tree), LENGTHS) == tree
    assert written() == encode_tree(STORE)


def test_a_store_is_one_value_whose_tables_are_walked() -> None:
    """What is replaced is the store; what is counted, moved and read is its tables'."""
    assert dict(walk({"db": STORE})) == {
        ("db", "table-0000000000000007.jkt"): TABLES[0], ("db", "table-0000000000000003.jkt"): TABLES[1],
    }  # fmt: skip
    assert rebuilt({"db": STORE}, lambda steps, node: (steps, node)) == {"db": (("db",), STORE)}
    assert [table.content.index for table in moved(STORE, 5).tables] == [6, 5]
    assert metadata_of(STORE) == {"a": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"store": b"short"}, {"store": "u" * 16}, {"codec": ""}, {"codec": "x" * 41}, {"codec": 5}, {"epoch": -1},
        {"epoch": EPOCH_MAX + 1}, {"lsn": 0}, {"lsn": True}, {"lsn": 1 << 62}, {"next_table": 7},
        {"next_table": NUMBER_MAX + 1}, {"metadata": b""}, {"metadata": b"\x01"}, {"metadata": b"\xa1\x01\x01"},
        {"metadata": {}}, {"created_us": 1 << 70}, {"tables": []}, {"tables": {}}, {"tables": [[7]]}, {"tables": [7]},
        {"tables": [[7, b"bytes"]]}, {"tables": [[7, 0]]}, {"lsn": ...}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_store_says_is_refused(changes: dict[str, Any]) -> None:
    """A node that passed would make a store that nobody can open, or none of this job."""
    with pytest.raises(MalformedError):
        decode_tree(written(**changes), LENGTHS)


@pytest.mark.parametrize(
    "tables",
    [
        (TABLES[0], TABLES[0]), (TableNode(0, Chunked(0)),), (TableNode(8, Chunked(0)),), (TableNode(7, Chunked(2)),),
        tuple(TableNode(number, Chunked(0)) for number in range(1, TABLES_MAX + 2)),
    ],
    ids=["twice", "number 0", "beyond the next", "no such list", "too many"],
)  # fmt: skip
def test_tables_that_no_store_has_are_refused(tables: tuple[TableNode, ...]) -> None:
    """Two of one number, one of no number, or one whose bytes aren't there."""
    node = replace(STORE, tables=tables, next_table=8 if len(tables) < 9 else TABLES_MAX + 2)
    with pytest.raises(MalformedError):
        decode_tree(encode_tree(node), LENGTHS)


def test_a_store_is_no_map_key_and_holds_no_other_node() -> None:
    """Its fields are plain; a list of chunks stands for a table alone."""
    array = CBORTag(40, [[1], CBORTag(86, bytes(8))])
    for wrong in ({"metadata": array}, {"tables": [[7, array]]}, {"codec": CBORTag(TAG_STORE, {})}):
        with pytest.raises(MalformedError):
            decode_tree(written(**wrong), LENGTHS)
    with pytest.raises(MalformedError):
        decode_tree(b"\xa1" + written() + b"\x01", LENGTHS)
