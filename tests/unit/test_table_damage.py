"""Damaged, foreign and forged tables: every one is noticed, and no wrong value is ever given."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import pytest

from journalkit.errors import CorruptionError, UnsupportedFormatError
from journalkit.format.block import (
    Block,
    Entry,
    IndexBlock,
    IndexEntry,
    block_checksum,
    encode_block,
    encode_entry,
    encode_index,
)
from journalkit.format.checksum import checksum
from journalkit.format.names import table_name
from journalkit.format.table import HEADER, HEADER_BYTES, TableFooter, TableHeader, TableInfo, footer_checksum
from journalkit.fs.memory import MemoryFileSystem
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter
from journalkit.testing import SimulatedDisk
from journalkit.types import ABSENT

STORE = b"store-of-16-byte"
SALT = 0xCAFE_F00D
PATH = "/table-0000000000000007.jkt"
ENTRIES: list[Entry] = [(b"key-%02d" % n, None if n % 4 == 0 else b"value-%d" % n) for n in range(8)]
MODEL = dict(ENTRIES)


def write(
    disk: SimulatedDisk,
    entries: Sequence[Entry] = ENTRIES,
    *,
    number: int = 7,
    salt: int = SALT,
    store: bytes = STORE,
    block_bytes: int = 60,
) -> TableInfo:
    """Write a table of a few small blocks, or another."""
    with TableWriter(disk, "/", number, store_uuid=store, lsn=5, salt=salt, block_bytes=block_bytes) as writer:
        writer.add_all(entries)
        return writer.finish()


def opened(disk: SimulatedDisk | MemoryFileSystem, info: TableInfo) -> Table:
    """Open a table without a cache: every read goes to the file."""
    return Table.open(disk, "/", info, STORE, BlockCache(0))


def check_answers(table: Table) -> None:
    """Read everything in every way: each answer is right, or is an error."""
    for key in (*MODEL, b"key-", b"key-033", b"z"):
        with contextlib.suppress(CorruptionError):
            assert table.get(key) == MODEL.get(key, ABSENT)
    for reverse in (False, True):
        seen: list[Entry] = []
        with contextlib.suppress(CorruptionError):
            seen.extend(table.scan(None, None, reverse=reverse))
        assert seen == (ENTRIES[::-1] if reverse else ENTRIES)[: len(seen)]
        with contextlib.suppress(CorruptionError):
            for entry in table.scan(b"key-02", b"key-06", reverse=reverse):
                assert MODEL[entry[0]] == entry[1]


def test_any_flipped_bit_is_found_before_or_while_the_table_is_open() -> None:
    """Rot doesn't choose its place: not one bit of a table may turn over unseen, or give a wrong value."""
    disk = SimulatedDisk()
    info = write(disk)
    table = opened(disk, info)
    assert table.footer.block_count >= 3
    for bit in range(8 * info.size_bytes):
        disk.flip_bit(PATH, bit)
        with pytest.raises(CorruptionError):
            table.verify()
        check_answers(table)
        try:
            fresh = opened(disk, info)
        except CorruptionError:
            pass
        else:
            check_answers(fresh)
            fresh.close()
        disk.flip_bit(PATH, bit)
    table.verify()


def test_a_flip_on_the_device_alone_is_found_when_the_device_is_read() -> None:
    """The page cache can be right while the disk is wrong; pruning trusts the disk."""
    disk = SimulatedDisk()
    info = write(disk)
    table = opened(disk, info)
    table.verify(from_device=True)
    disk.flip_bit(PATH, 8 * HEADER_BYTES + 40)
    with pytest.raises(CorruptionError):
        table.verify(from_device=True)


def test_a_table_cut_short_anywhere_is_refused() -> None:
    """A partial copy or a lost tail must not pass for a smaller table."""
    disk = SimulatedDisk()
    info = write(disk)
    raw = disk.read_bytes(PATH)
    for size in range(info.size_bytes):
        disk.write_bytes(PATH, raw[:size])
        with pytest.raises(CorruptionError):
            opened(disk, info)
    disk.write_bytes(PATH, raw + b"\0")
    with pytest.raises(CorruptionError):
        opened(disk, info)


def test_a_file_that_shrinks_under_an_open_table_is_damage() -> None:
    """A short read is no smaller block."""
    disk = SimulatedDisk()
    table = opened(disk, write(disk))
    disk.write_bytes(PATH, disk.read_bytes(PATH)[:80])
    with pytest.raises(CorruptionError, match="ends inside"):
        table.get(b"key-07")
    with pytest.raises(CorruptionError):
        table.verify()


def test_even_a_record_of_a_tiny_table_cannot_make_us_read_before_the_file() -> None:
    """Sizes are compared before offsets are computed from them."""
    disk = SimulatedDisk()
    disk.write_bytes(PATH, bytes(100))
    with pytest.raises(CorruptionError):
        opened(disk, TableInfo(7, 100, 0, 0, 0))


def test_another_table_under_the_name_is_refused() -> None:
    """A restored old copy, a swapped file or another store's is as wrong as a damaged one."""
    disk = SimulatedDisk()
    info = write(disk)
    others = {
        "another store": {"store": b"another store's!"},
        "another number": {"number": 8},
        "another life": {"salt": SALT + 1},
        "an older copy": {"entries": [(b"KEY" + key[3:], value) for key, value in ENTRIES]},
    }
    for changed in others.values():
        other = SimulatedDisk()
        other_info = write(other, **changed)  # type: ignore[arg-type]
        assert other_info.size_bytes == info.size_bytes
        disk.write_bytes(PATH, other.read_bytes("/" + table_name(other_info.number)))
        with pytest.raises(CorruptionError, match=r"another|names"):
            opened(disk, info)


def test_a_right_block_in_the_wrong_place_is_damage() -> None:
    """A write that went astray: the bytes are whole, the place isn't theirs."""
    disk = SimulatedDisk()
    entries: list[Entry] = [(b"key-%d" % n, b"same size") for n in range(6)]
    info = write(disk, entries, block_bytes=1)
    table = opened(disk, info)
    first, second, *_ = table.blocks()
    raw = bytearray(disk.read_bytes(PATH))
    length = first.entry.length_bytes
    start, end = second.entry.offset_bytes, second.entry.offset_bytes + length
    raw[start:end] = raw[first.entry.offset_bytes : first.entry.offset_bytes + length]
    disk.write_bytes(PATH, bytes(raw))
    with pytest.raises(CorruptionError):
        table.get(b"key-1")
    assert table.get(b"key-0") == b"same size"


def test_damage_says_where_it_is_and_which_keys_it_costs() -> None:
    """The user has to know what is lost before choosing between a copy and salvage."""
    disk = SimulatedDisk()
    long_key = b"key-99" + b"x" * 1000
    info = write(disk, [*ENTRIES, (long_key, b"value")])
    table = opened(disk, info)
    *_, before, last = table.blocks()
    disk.flip_bit(PATH, 8 * before.entry.offset_bytes)
    with pytest.raises(CorruptionError) as caught:
        table.get(before.entry.first)
    assert caught.value.path == PATH
    assert caught.value.offset_bytes is not None
    assert 0 <= caught.value.offset_bytes - before.entry.offset_bytes < before.entry.length_bytes
    assert repr(before.entry.first) in caught.value.reason
    assert repr(before.entry.last) in caught.value.reason
    assert table.get(long_key) == b"value", "the other blocks stay readable"
    disk.flip_bit(PATH, 8 * last.entry.offset_bytes)
    with pytest.raises(CorruptionError, match=r"xxx'\.\.\. \(1006 bytes\)"):
        table.get(long_key)
    disk.flip_bit(PATH, 8 * (info.size_bytes - 1))
    with pytest.raises(CorruptionError, match="all keys of the table") as caught:
        opened(disk, info)
    assert caught.value.offset_bytes is not None
    assert caught.value.offset_bytes > last.entry.offset_bytes


def test_a_damaged_index_block_costs_its_own_keys_only() -> None:
    """An index of two levels: what lies under another leaf is still there."""
    disk = SimulatedDisk()
    entries: list[Entry] = [(b"%04d" % n, b"v") for n in range(300)]
    table = opened(disk, write(disk, entries, block_bytes=1))
    leaf = table.source.root.entry(0)
    assert table.source.root.level == 1
    disk.flip_bit(PATH, 8 * leaf.offset_bytes + 3)
    with pytest.raises(CorruptionError, match="b'0000' to b'0255'"):
        table.get(b"0100")
    assert table.get(b"0299") == b"v"
    with pytest.raises(CorruptionError):
        table.verify()


def test_a_table_of_a_later_format_is_refused_untouched() -> None:
    """Upgrade, says the error; nothing is damaged."""
    disk = SimulatedDisk()
    info = write(disk)
    raw = disk.read_bytes(PATH)
    header = HEADER.pack(**{**HEADER.unpack(raw[:HEADER_BYTES]), "version": 2})[:-4]
    disk.write_bytes(PATH, header + checksum(header).to_bytes(4, "little") + raw[HEADER_BYTES:])
    with pytest.raises(UnsupportedFormatError, match="upgrade"):
        opened(disk, info)


# -- forged: every checksum is right, and the table lies -----------------------------------------

LEFT: Block = {b"a": b"1", b"b": None}
RIGHT: Block = {b"d": b"4"}
Claim = Callable[[IndexEntry], IndexEntry]


class Forger:
    """Builds table files with right checksums and chosen lies."""

    def __init__(self) -> None:
        self.fs = MemoryFileSystem()
        self.raw = TableHeader(salt=SALT, store=STORE, number=7, lsn=5).encode()

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
            body = encode_block(len(block), [encode_entry(key, value) for key, value in block.items()])
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
            "data_bytes": 39,
            "root_offset": summary.offset_bytes,
            "root_length": summary.length_bytes,
            "root_checksum": footer_checksum(self.raw),
            **lies,
        }
        encoded = TableFooter(**footer).encode(salt=SALT)  # type: ignore[arg-type]
        self.raw += encoded
        self.fs.create(PATH).pwrite(self.raw, 0)
        info = TableInfo(7, len(self.raw), summary.entry_count, footer_checksum(encoded), SALT)
        return opened(self.fs, info)


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
        lambda entry: entry._replace(tombstone_count=1),
    ],
    ids=["first", "last", "entries", "tombstones"],
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
