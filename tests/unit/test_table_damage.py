"""Damaged and foreign tables: every one is noticed, and no wrong value is ever given."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pytest

from journalkit.errors import CorruptionError, UnsupportedFormatError
from journalkit.format.block import Entry
from journalkit.format.checksum import checksum
from journalkit.format.names import table_name
from journalkit.format.table import HEADER, HEADER_BYTES, TableInfo
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


def opened(disk: SimulatedDisk, info: TableInfo) -> Table:
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
    header = HEADER.pack(**{**HEADER.unpack(raw[:HEADER_BYTES]), "version": 4})[:-4]
    disk.write_bytes(PATH, header + checksum(header).to_bytes(4, "little") + raw[HEADER_BYTES:])
    with pytest.raises(UnsupportedFormatError, match="upgrade"):
        opened(disk, info)
