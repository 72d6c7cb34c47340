"""What a store's node says, as plain values and back: nothing that no manifest could have said gets through."""

from __future__ import annotations

from typing import Any, Final

from journalkit.format.codec import CborCodec
from journalkit.format.envelope import Bounds, names_of, plain_of
from journalkit.format.malformed import MalformedError
from journalkit.format.manifest import EPOCH_MAX, LSN_MAX, NUMBER_MAX
from journalkit.format.nodes import BytesNode, Chunked, StoreNode, TableNode

TABLES_MAX: Final = 1 << 10
CODEC_CHARACTERS_MAX: Final = 40
_PAIR: Final = 2
_BOUNDS: Final = Bounds(
    {"epoch": EPOCH_MAX, **dict.fromkeys(("number", "next_table"), NUMBER_MAX)}, LSN_MAX, {"store": 16}
)


def store_as_plain(node: StoreNode) -> dict[str, Any]:
    """Return what a node says by name; in it a table is its number and the list of chunks that has it."""
    return plain_of(node) | {"tables": [[table.number, table.content] for table in node.tables]}


def store_from_plain(plain: object) -> StoreNode:
    """Return the node that says that.

    Raises:
        MalformedError: No node says that.
    """
    if type(plain) is not dict or set(plain) != set(names_of(StoreNode)):
        raise MalformedError("the fields of a store aren't there, or others are")
    tables = plain["tables"]
    if type(tables) is not list:
        raise MalformedError("a store's tables are none")
    node = StoreNode(**{**plain, "tables": tuple(_table(each) for each in tables)})
    check_store(node)
    return node


def check_store(node: StoreNode) -> None:
    """Raise MalformedError where fields contradict each other, or what a store can be."""
    _BOUNDS.check(node)
    if not 0 < len(node.codec) <= CODEC_CHARACTERS_MAX:
        raise MalformedError("a store's codec has no name")
    if bool(node.lsn) != bool(node.tables):
        raise MalformedError("a store has records and no tables, or tables and no records")
    if len(node.tables) > TABLES_MAX:
        raise MalformedError(f"a store of {len(node.tables)} tables")
    numbers = {table.number for table in node.tables}
    if len(numbers) != len(node.tables) or not all(0 < number < node.next_table for number in numbers):
        raise MalformedError("a store's tables have other numbers")
    metadata_of(node)


def metadata_of(node: StoreNode) -> dict[str, Any]:
    """Return what a store was created with. Raises MalformedError: That is no such thing."""
    metadata = CborCodec().decode(node.metadata)
    if type(metadata) is not dict or any(type(name) is not str for name in metadata):
        raise MalformedError("a store's metadata is no map by text")
    return metadata


def _table(plain: object) -> TableNode:
    if type(plain) is not list or len(plain) != _PAIR:
        raise MalformedError("a store's table is no pair")
    number, content = plain
    if type(content) is not BytesNode or content.kind != "bytes" or type(content.content) is not Chunked:
        raise MalformedError("a store's table is no list of chunks")
    table = TableNode(number, content.content)
    _BOUNDS.check(table)
    return table
