"""Filters of tables: a key that isn't there costs no block, and one that is there is never denied."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.errors import CorruptionError
from journalkit.format import filters
from journalkit.format.block import Entry, block_checksum, encode_block, key_crcs, run_of
from journalkit.format.index import INDEX_ENTRY, IndexBlock, IndexEntry, decode_index, encode_index
from journalkit.format.malformed import MalformedError
from journalkit.format.table import (
    HEADER_BYTES,
    UNFILTERED,
    VERSION,
    TableFooter,
    TableHeader,
    TableInfo,
    footer_checksum,
)
from journalkit.fs.memory import MemoryFileSystem
from journalkit.recovery.salvage_tables import read_remains
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.merge import fold
from journalkit.snapshot.reader import FILTERED_READS, Table
from journalkit.snapshot.writer import TableWriter
from journalkit.types import ABSENT

STORE = b"store-of-16-byte"
SALT = 0xCAFE_F00D
NAME = "table-0000000000000001.jkt"


class Counted:
    """Block and page reads of a file, by length."""

    def __init__(self, file: object) -> None:
        self._file = file
        self.lengths: list[int] = []

    def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
        self.lengths.append(count_bytes)
        return self._file.pread(count_bytes, offset_bytes)  # type: ignore[attr-defined, no-any-return]

    def size(self) -> int:
        return self._file.size()  # type: ignore[attr-defined, no-any-return]


def key(number: int) -> bytes:
    """Return an encoded key."""
    return b"\x40key:%06d" % number


def entries(numbers: Iterable[int], value: bytes | None = b"v" * 20) -> list[Entry]:
    """Return entries of one value, in order."""
    return [(key(number), value) for number in numbers]


def written(fs: MemoryFileSystem, some: Iterable[Entry], *, number: int = 1, block_bytes: int = 256) -> TableInfo:
    """Write a table of small blocks."""
    with TableWriter(fs, "/", number, store_uuid=STORE, lsn=number, salt=SALT, block_bytes=block_bytes) as writer:
        writer.add_all(some)
        return writer.finish()


def opened(fs: MemoryFileSystem, info: TableInfo, *, cache_bytes: int = 0) -> tuple[Table, Counted]:
    """Open a table, and count what it reads from now on."""
    table = Table.open(fs, "/", info, STORE, BlockCache(cache_bytes))
    counted = Counted(table.source.file)
    table.source = replace(table.source, file=counted)
    return table, counted


def page_at(fs: MemoryFileSystem, info: TableInfo) -> int:
    """Return where the last filter page of a table with one index block begins."""
    table = Table.open(fs, "/", info, STORE, BlockCache(0))
    root = table.source.root
    return filters.page_place(root, len(root.firsts) - 1)[0]


def flip(fs: MemoryFileSystem, at: int) -> None:
    """Turn over a bit of the table."""
    file = fs.open_write(f"/{NAME}")
    file.pwrite(bytes((file.pread(1, at)[0] ^ 1,)), at)


# The format


@given(st.lists(st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=5), min_size=1, max_size=40))
def test_a_page_denies_no_key_that_is_there_wherever_its_block_lies(blocks: list[list[bytes]]) -> None:
    """A denied key would be lost in silence: no filter may ever say no to what it was made of."""
    index = IndexBlock(0)
    for number, keys in enumerate(blocks):
        index.add(IndexEntry(b"%04d" % number, b"%04d" % number, HEADER_BYTES + 100 * number, 100, len(keys), 0))
    decoded = decode_index(encode_index(index) + bytes(4), offset_bytes=1 << 20)
    parts = [filters.part_of(key_crcs(keys)) for keys in blocks]
    end = decoded.offset_bytes
    for page_number in reversed(range(filters.page_count(decoded))):
        first = page_number * filters.PAGE_BLOCKS
        last = min(first + filters.PAGE_BLOCKS, len(blocks))
        page = filters.encode_page(filters.joined(parts[first:last])) + bytes(4)
        offset, length, count = filters.page_place(decoded, first)
        assert (offset + length, length) == (end, len(page))
        end = offset
        filters.check_page(page, count)
        assert filters.page_length(page) == length
        for at in range(first, last):
            assert filters.page_place(decoded, at) == (offset, length, count)
            assert filters.part_in(page, decoded, at) == parts[at]
            low, high = (decoded.starts[place] - decoded.starts[first] for place in (at, at + 1))
            assert all(filters.may_hold(page, low, high, each) for each in blocks[at])


def test_a_page_denies_nearly_every_key_that_is_not_there() -> None:
    """It is asked so that blocks aren't read; one of 400 blocks of 150 entries may be read for nothing."""
    chance = Random(5)
    keys = [chance.randbytes(12) for _ in range(2400)]
    page = filters.encode_page(filters.part_of(key_crcs(keys))) + bytes(4)
    false = sum(filters.may_hold(page, 300, 450, chance.randbytes(12)) for _ in range(20_000))
    assert 10 <= false <= 100


def test_a_page_of_other_entries_than_counted_is_none() -> None:
    """A filter of other blocks would deny what is there."""
    page = filters.encode_page(filters.part_of(key_crcs([b"a", b"b"]))) + bytes(4)
    filters.check_page(page, 2)
    for wrong, count in ((page, 1), (page, 3), (page[:-1], 2), (b"\1" + page[1:], 2)):
        with pytest.raises(MalformedError, match="other entries"):
            filters.check_page(wrong, count)


def test_an_index_that_counts_more_than_any_file_holds_is_malformed() -> None:
    """Places of filters follow from these counts: they must not overflow what holds them."""
    index = IndexBlock(0)
    index.add(IndexEntry(b"a", b"a", HEADER_BYTES, 100, 2**64 - 1, 0))
    index.add(IndexEntry(b"b", b"b", HEADER_BYTES + 100, 100, 2**64 - 1, 0))
    with pytest.raises(MalformedError, match="counts"):
        decode_index(encode_index(index) + bytes(4), offset_bytes=4096)


def test_the_same_entries_make_the_same_filter_in_any_process() -> None:
    """What one process wrote the next one asks: nothing in it may depend on how Python hashes."""
    code = (
        "from journalkit.format import filters, block;"
        "print(filters.part_of(block.key_crcs([b'%d' % n for n in range(50)])).hex())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {filters.part_of(key_crcs([b"%d" % n for n in range(50)])).hex().encode() + b"\n"}


# Lookups


def test_a_key_that_is_not_there_costs_no_block_once_one_was_read_in_vain() -> None:
    """That is what the filter is for: tables over each other are asked for keys that others hold."""
    fs = MemoryFileSystem()
    table, reads = opened(fs, written(fs, entries(range(0, 4000, 2)), block_bytes=2000))
    assert table.get(key(2001)) is ABSENT
    pages = {filters.page_place(table.source.root, at)[1] for at in range(len(table.source.root.firsts))}
    assert not pages.intersection(reads.lengths)
    reads.lengths.clear()
    assert {table.get(key(number)) for number in range(101, 3901, 8)} == {ABSENT}
    assert table.get_many([key(number) for number in range(101, 3901, 8)], {}) == list(map(key, range(101, 3901, 8)))
    assert sum(length not in pages for length in reads.lengths) < 10


def test_keys_that_are_there_are_found_through_a_filter_that_is_asked() -> None:
    """The same lookups with a filter, without one, and with one that isn't asked: all say the same."""
    fs = MemoryFileSystem()
    some = [*entries(range(0, 900, 3)), *entries(range(900, 1000, 3), None)]
    table, _ = opened(fs, written(fs, some))
    expected = dict(some)
    for number in range(1000):
        table.get(key(number * 7 % 1000) + b"?")
        assert table.get(key(number)) == expected.get(key(number), ABSENT)


def test_a_filter_is_not_asked_where_everything_is_found() -> None:
    """Most tables hold what they are asked for: their filters cost neither time nor memory."""
    fs = MemoryFileSystem()
    table, reads = opened(fs, written(fs, entries(range(2000)), block_bytes=2000))
    for number in range(0, 2000, 7):
        assert table.get(key(number)) == b"v" * 20
    assert len(reads.lengths) == len(range(0, 2000, 7))
    table.get(key(50) + b"?")
    for number in range(0, 1000, 7):
        assert table.get(key(number)) == b"v" * 20
    assert len(reads.lengths) == len(range(0, 2000, 7)) + 1 + len(range(0, 1000, 7)) + FILTERED_READS


def test_a_page_is_read_once_while_the_cache_has_room() -> None:
    """It counts as any block does: in the budget, and gone with the table."""
    fs = MemoryFileSystem()
    info = written(fs, entries(range(0, 400, 2), b"v" * 200), block_bytes=2000)
    table, reads = opened(fs, info, cache_bytes=8000)
    for number in range(1, 399, 20):
        table.get(key(number))
    pages = [length for length in reads.lengths if length < 1500]
    root = table.source.root
    assert len(pages) == len(set(pages)) <= filters.page_count(root)
    assert table._cache.statistics().size_bytes <= 8000
    table.close()
    assert table._cache.statistics().block_count == 0


def test_a_damaged_page_costs_no_key_and_verify_names_it() -> None:
    """A wrong no would be silent loss; an error over a key that can be read would be loss of another kind."""
    fs = MemoryFileSystem()
    info = written(fs, entries(range(0, 100, 2)))
    at = page_at(fs, info)
    flip(fs, at + 8)
    table, _ = opened(fs, info)
    assert table.get(key(1)) is ABSENT
    for number in range(100):
        assert table.get(key(number)) == (ABSENT if number % 2 else b"v" * 20)
    with pytest.raises(CorruptionError, match=r"filter.*no key is lost") as caught:
        table.verify()
    assert (caught.value.path, (caught.value.offset_bytes or 0) >= at) == (f"/{NAME}", True)


def test_a_damaged_page_costs_salvage_nothing() -> None:
    """What it said the blocks say too; the damage is told all the same."""
    fs = MemoryFileSystem()
    info = written(fs, entries(range(0, 100, 2)))
    flip(fs, page_at(fs, info) + 8)
    for known in (info, None):
        remains = read_remains(fs, "/", NAME, known)
        assert [fault.reason for fault in remains.faults] == ["a filter: the block's checksum doesn't match"]
        assert (remains.lost, remains.entry_count) == ([], 50)


def test_salvage_reads_past_pages_where_the_index_is_lost() -> None:
    """Without an index, block is read behind block: what isn't one of either kind would end that."""
    fs = MemoryFileSystem()
    info = written(fs, entries(range(9000)))
    table = Table.open(fs, "/", info, STORE, BlockCache(0))
    flip(fs, table.footer.root_offset + 6)
    remains = read_remains(fs, "/", NAME, info)
    assert (remains.entry_count, remains.lost) == (9000, [])
    assert [fault.reason for fault in remains.faults] == ["an index block: the block's checksum doesn't match"]


# Folds


@pytest.mark.parametrize("block_bytes", [64, 256, 1024])
def test_a_fold_that_copies_blocks_takes_their_filters_along(block_bytes: int) -> None:
    """Copied, joined, merged, after a fold or ten: the filter is that of the keys, or verify says so."""
    fs, chance = MemoryFileSystem(), Random(3)
    model = dict(entries(range(0, 3000, 5)))
    table, _ = opened(fs, written(fs, sorted(model.items()), block_bytes=block_bytes))
    for number in range(2, 6):
        changes: dict[bytes, bytes | None] = dict(
            entries(range(start := chance.randrange(2900), start + 40), chance.choice([b"x", None]))
        )
        with TableWriter(fs, "/", number, store_uuid=STORE, lsn=number, salt=SALT, block_bytes=block_bytes) as writer:
            fold(writer, sorted(changes.items()), table, drop_tombstones=True)
            info = writer.finish()
        model = {each: value for each, value in (model | changes).items() if value is not None}
        table, _ = opened(fs, info)
        table.verify()
        assert dict(table.scan(None, None)) == model


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_fold_makes_the_filter_that_a_table_does_not_have(is_damaged: bool) -> None:
    """Tables from before have none, and a damaged one says nothing: a copy looks at the keys, and is whole."""
    fs = MemoryFileSystem()
    if is_damaged:
        info = written(fs, entries(range(50)))
        flip(fs, page_at(fs, info) + 8)
    else:
        info = forged(fs, VERSION_OF_BEFORE)
    base, _ = opened(fs, info)
    with TableWriter(fs, "/", 2, store_uuid=STORE, lsn=2, salt=SALT) as writer:
        fold(writer, [], base, drop_tombstones=True)
        copy, reads = opened(fs, writer.finish())
    copy.verify()
    assert copy.source.header.version == VERSION
    copy.get(key(5) + b"?")
    reads.lengths.clear()
    assert copy.get(key(5) + b"!") is ABSENT
    assert len(reads.lengths) == 1


def test_a_block_with_the_filter_of_another_is_refused() -> None:
    """It would go unnoticed up to the look that the whole table gets; this costs nothing."""
    fs = MemoryFileSystem()
    base, _ = opened(fs, written(fs, entries(range(50))))
    block = next(base.blocks())
    with (
        TableWriter(fs, "/", 2, store_uuid=STORE, lsn=2, salt=SALT) as writer,
        pytest.raises(ValueError, match="filter of another"),
    ):
        writer.add_block(block.bodies()[0], block.entry, b"ab")


# Tables of before, and lies

VERSION_OF_BEFORE = UNFILTERED


def forged(fs: MemoryFileSystem, version: int, pages: Iterable[bytes] = (), *, claimed: int | None = None) -> TableInfo:
    """Write a table of one block with these filter pages; its index claims so many entries."""
    some = entries(range(0, 20, 2))
    raw = TableHeader(salt=SALT, store=STORE, number=1, lsn=1, version=version).encode()

    def seal(body: bytes) -> tuple[int, int]:
        nonlocal raw
        at = len(raw)
        raw += body + block_checksum(body, salt=SALT, offset_bytes=at)
        return at, len(raw) - at

    index = IndexBlock(0)
    index.add(IndexEntry(some[0][0], some[-1][0], *seal(encode_block([run_of(some)])), claimed or len(some), 0))
    data_bytes = index.lengths[0]
    for page in pages:
        seal(page)
    root = seal(encode_index(index))
    footer = TableFooter(
        STORE, 1, 1, claimed or len(some), 0, 1, data_bytes, *root, footer_checksum(raw), version=version
    ).encode(salt=SALT)
    raw += footer
    fs.create(f"/{NAME}").pwrite(raw, 0)
    return TableInfo(1, len(raw), claimed or len(some), footer_checksum(footer), SALT)


def honest_page() -> bytes:
    """Return the page of a forged table that doesn't lie."""
    return filters.encode_page(filters.part_of(key_crcs([each for each, _ in entries(range(0, 20, 2))])))


def test_a_table_of_before_is_read_without_a_filter() -> None:
    """Old data stays readable, at the speed it had."""
    fs = MemoryFileSystem()
    table, reads = opened(fs, forged(fs, UNFILTERED))
    table.verify()
    for number in range(20):
        assert table.get(key(number)) == (ABSENT if number % 2 else b"v" * 20)
    assert len(set(reads.lengths[-19:])) == 1
    fs = MemoryFileSystem()
    table, _ = opened(fs, forged(fs, VERSION, [honest_page()]))
    table.verify()


def test_a_filter_of_other_keys_is_found_by_verify() -> None:
    """It would hide a key: a table that was just written is verified before anything relies on it."""
    for lie in (4, 4 + 10):
        page = bytearray(honest_page())
        page[lie] ^= 1
        fs = MemoryFileSystem()
        table, _ = opened(fs, forged(fs, VERSION, [bytes(page)]))
        with pytest.raises(CorruptionError, match="isn't that of the keys"):
            table.verify()


def test_a_filter_that_is_missing_or_too_short_denies_nothing() -> None:
    """Where a page is said to be may be anything: only one that is whole and counts right is believed."""
    short = struct.pack("<I", 2) + bytes(16 + 2)
    for pages in ([], [short]):
        fs = MemoryFileSystem()
        info = forged(fs, VERSION, pages)
        table, _ = opened(fs, info)
        for number in (1, 2, 3, 4):
            assert table.get(key(number)) == (ABSENT if number % 2 else b"v" * 20)
        with pytest.raises(CorruptionError):
            table.verify()
        assert read_remains(fs, "/", NAME, info).faults


def test_an_index_that_counts_more_than_fits_in_front_of_it_denies_nothing() -> None:
    """The place of such a filter would lie in front of the file."""
    fs = MemoryFileSystem()
    info = forged(fs, VERSION, [honest_page()], claimed=10_000)
    table, _ = opened(fs, info)
    with pytest.raises(CorruptionError, match="filter"):
        table.source.page(table.source.root, 0)
    [fault, *_] = [fault for fault in read_remains(fs, "/", NAME, info).faults if "filter" in fault.reason]
    assert fault.offset_bytes == 0
    assert INDEX_ENTRY.size == 32
