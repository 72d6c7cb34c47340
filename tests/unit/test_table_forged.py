"""Forged tables: every checksum is right, and the table lies. Each lie is an error to who would believe it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from journalkit.errors import CorruptionError
from journalkit.format.block import Block, Entry, block_checksum, encode_block, run_of
from journalkit.format.index import IndexBlock, IndexEntry, encode_index
from journalkit.format.table import UNFILTERED, TableFooter, TableHeader, TableInfo, footer_checksum
from journalkit.fs.memory import MemoryFileSystem
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table

STORE = b"store-of-16-byte"
SALT = 0xCAFE_F00D
PATH = "/table-0000000000000007.jkt"

LEFT: Block = {b"a": b"1", b"b": None}
RIGHT: Block = {b"d": b"4"}
Claim = Callable[[IndexEntry], IndexEntry]


class Forger:
    """Builds table files with right checksums and chosen lies."""

    def __init__(self, version: int = UNFILTERED) -> None:
        self.fs = MemoryFileSystem()
        self.version = version
        self.raw = TableHeader(salt=SALT, store=STORE, number=7, lsn=5, version=version).encode()

    def seal(self, body: bytes) -> tuple[int, int]:
        offset_bytes = len(self.raw)
        self.raw += body + block_checksum(body, salt=SALT, offset_bytes=offset_bytes)
        return offset_bytes, len(self.raw) - offset_bytes

    def index(self, index: IndexBlock, claim: Claim | None = None) -> IndexEntry:
        summary = index.summary(*self.seal(encode_index(index)))
        return claim(summary) if claim is not None else summary

    def leaf(self, claim: Claim | None = None, *, gap: bytes = b"") -> IndexBlock:
        """Write LEFT and RIGHT and return their index, RIGHT's entry as `claim` has it."""
        index = IndexBlock(0)
        for block in (LEFT, RIGHT):
            body = encode_block([run_of(block.items())])
            entry = IndexEntry(min(block), max(block), *self.seal(body), len(block), list(block.values()).count(None))
            index.add(claim(entry) if claim is not None and block is RIGHT else entry)
            self.raw += gap
        return index

    def finish(self, root: IndexBlock, **lies: object) -> Table:
        """Write the root and the footer, and open what came of it."""
        summary = self.index(root)
        footer = {
            "store": STORE,
            "number": 7,
            "lsn": 5,
            "entry_count": summary.entry_count,
            "tombstone_count": summary.tombstone_count,
            "block_count": 2,
            "data_bytes": 42,
            "root_offset": summary.offset_bytes,
            "root_length": summary.length_bytes,
            "root_checksum": footer_checksum(self.raw),
            "version": self.version,
            **lies,
        }
        encoded = TableFooter(**footer).encode(salt=SALT)  # type: ignore[arg-type]
        self.raw += encoded
        self.fs.create(PATH).pwrite(self.raw, 0)
        info = TableInfo(7, len(self.raw), summary.entry_count, footer_checksum(encoded), SALT)
        return Table.open(self.fs, "/", info, STORE, BlockCache(0))


def test_a_forger_who_does_not_lie_is_believed() -> None:
    """Otherwise the tests below would prove nothing."""
    forger = Forger()
    table = forger.finish(forger.leaf())
    table.verify()
    assert list(table.scan(None, None)) == [*LEFT.items(), *RIGHT.items()]
    forger = Forger()
    root = IndexBlock(1)
    root.add(forger.index(forger.leaf()))
    forger.finish(root).verify()


@pytest.mark.parametrize(
    "lies",
    [
        {"store": b"another store's!"},
        {"number": 8},
        {"version": 2},
        {"lsn": 6},
        {"entry_count": 4},
        {"tombstone_count": 0},
        {"root_checksum": 1},
    ],
    ids=lambda lies: next(iter(lies)),
)
def test_a_footer_that_contradicts_its_table_is_damage(lies: dict[str, object]) -> None:
    """Two of the ends disagree: one of them is wrong, and nobody can tell which."""
    forger = Forger()
    with pytest.raises(CorruptionError):
        forger.finish(forger.leaf(), **lies)


@pytest.mark.parametrize("lies", [{"block_count": 3}, {"data_bytes": 40}], ids=lambda lies: next(iter(lies)))
def test_a_footer_that_counts_wrong_is_found_by_verify(lies: dict[str, object]) -> None:
    """These numbers lead nowhere and are shown to people: verify compares them."""
    forger = Forger()
    table = forger.finish(forger.leaf(), **lies)
    with pytest.raises(CorruptionError, match="counts"):
        table.verify()


@pytest.mark.parametrize(
    "claim",
    [
        lambda entry: entry._replace(first=b"c"),
        lambda entry: entry._replace(last=b"e"),
        lambda entry: entry._replace(entry_count=2),
    ],
    ids=["first", "last", "entries"],
)
def test_a_block_that_is_not_as_its_index_says_is_damage(claim: Claim) -> None:
    """The fold copies blocks by what the index says of them: a lie there would lose or revive keys."""
    forger = Forger()
    table = forger.finish(forger.leaf(claim))
    assert table.get(b"a") == b"1"
    with pytest.raises(CorruptionError):
        table.get(b"d")
    with pytest.raises(CorruptionError):
        list(table.scan(None, None))
    with pytest.raises(CorruptionError):
        table.verify()


def test_an_index_that_counts_tombstones_wrong_is_found_where_they_are_counted() -> None:
    """Nobody counts tombstones for a single key; who verifies or folds does."""
    forger = Forger()
    table = forger.finish(forger.leaf(lambda entry: entry._replace(tombstone_count=1)))
    assert table.get(b"d") == b"4"
    with pytest.raises(CorruptionError):
        list(table.blocks())[1].entries()
    with pytest.raises(CorruptionError):
        table.verify()


def lying_block(change: Callable[[bytearray], None]) -> Table:
    """Forge a table of one block that is right at its ends; `change` lies about what is between them."""
    entries: list[Entry] = [(b"a", b"1"), (b"b", b"22"), (b"c", None), (b"d", b"4")]
    forger = Forger()
    body = bytearray(encode_block([run_of(entries)]))
    change(body)
    index = IndexBlock(0)
    index.add(IndexEntry(b"a", b"d", *forger.seal(bytes(body)), 4, 1))
    return forger.finish(index, block_count=1, data_bytes=index.lengths[0])


def test_nonsense_inside_a_block_is_damage_to_who_meets_it() -> None:
    """Blocks aren't decoded to find one key: what a lookup or a scan comes by is bounded on the way."""

    def far(body: bytearray) -> None:
        body[12:16] = (2**32 - 1).to_bytes(4, "little")

    table = lying_block(far)
    assert table.get(b"a") == b"1"
    assert table.get(b"d") == b"4"
    with pytest.raises(CorruptionError, match="b'a' to b'd'"):
        table.get(b"b")
    for reverse in (False, True):
        with pytest.raises(CorruptionError):
            list(table.scan(None, None, reverse=reverse))
    with pytest.raises(CorruptionError):
        next(table.blocks()).entries()
    with pytest.raises(CorruptionError):
        table.verify()


def test_a_wrong_fingerprint_is_found_by_verify() -> None:
    """It hides a key from lookups: a table that was just written is verified before anything relies on it."""

    def hide(body: bytearray) -> None:
        body[4 + 4 * 6 + 1] ^= 1

    lying_block(lambda _: None).verify()
    with pytest.raises(CorruptionError, match="fingerprints"):
        lying_block(hide).verify()


@pytest.mark.parametrize(
    "claim",
    [lambda entry: entry._replace(last=b"e"), lambda entry: entry._replace(entry_count=4)],
    ids=["last", "entries"],
)
def test_an_index_block_that_is_not_as_its_parent_says_is_damage(claim: Claim) -> None:
    """Order throughout the table follows from each level agreeing with the one above."""
    forger = Forger()
    root = IndexBlock(1)
    root.add(forger.index(forger.leaf(), claim))
    table = forger.finish(root)
    with pytest.raises(CorruptionError):
        table.get(b"a")
    with pytest.raises(CorruptionError):
        table.verify()


def test_an_index_block_of_the_wrong_level_is_damage() -> None:
    """Levels count down to the data: that is why a lookup ends."""
    forger = Forger()
    root = IndexBlock(2)
    root.add(forger.index(forger.leaf()))
    table = forger.finish(root)
    with pytest.raises(CorruptionError):
        table.get(b"a")


@pytest.mark.parametrize("level", [0, 1])
def test_bytes_that_belong_to_no_block_are_damage(level: int) -> None:
    """Every byte is under a checksum: a gap would be a place where rot goes unseen."""
    forger = Forger()
    root = forger.leaf(gap=b"" if level else b"gap")
    if level:
        leaf = root
        forger.raw += b"gap"
        root = IndexBlock(1)
        root.add(forger.index(leaf))
    table = forger.finish(root)
    assert table.get(b"d") == b"4"
    with pytest.raises(CorruptionError, match="3 bytes belong to no block"):
        table.verify()
