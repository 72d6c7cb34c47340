"""A table's bytes: what is written is read back, and nothing else is."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.format.block import BLOCK_BYTES_MIN, CRC_BYTES, KEY_BYTES_MAX
from journalkit.format.checksum import checksum, seed_at
from journalkit.format.index import (
    INDEX_BLOCK_BYTES_MAX,
    INDEX_ENTRY,
    INDEX_FANOUT_MIN,
    IndexBlock,
    IndexEntry,
    decode_index,
    encode_index,
)
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.table import (
    FOOTER,
    FOOTER_BYTES,
    FOOTER_MAGIC,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    WHOLE,
    TableFooter,
    TableHeader,
    decode_footer,
    decode_header,
    delta_on,
    footer_checksum,
)

SALT = 0xFFFF_FF00
FOOTER_OFFSET = 5000
HEADER_VALUE = TableHeader(salt=SALT, store=bytes(range(16)), number=7, lsn=2**63)
FOOTER_VALUE = TableFooter(
    store=bytes(range(16)),
    number=7,
    lsn=2**63,
    entry_count=5,
    tombstone_count=1,
    block_count=2,
    data_bytes=4900,
    root_offset=4952,
    root_length=48,
    root_checksum=0xDEADBEEF,
)

KEYS = st.binary(max_size=12)


def index_of(*entries: IndexEntry, level: int = 0) -> bytes:
    """Return an index block; its checksum is nobody's business here."""
    index = IndexBlock(level)
    for entry in entries:
        index.add(entry)
    return encode_index(index) + bytes(CRC_BYTES)


def reseal(data: bytes, seed: int = 0) -> bytes:
    """Return the bytes with the checksum that makes them whole."""
    return data[:-4] + checksum(data[:-4], seed).to_bytes(4, "little")


def flips(data: bytes) -> list[bytes]:
    """Return every version of the bytes that differs in one bit."""
    whole = int.from_bytes(data, "little")
    return [(whole ^ 1 << bit).to_bytes(len(data), "little") for bit in range(8 * len(data))]


# -- header and footer ---------------------------------------------------------------------------


def test_the_sizes_of_the_ends_are_part_of_the_format() -> None:
    """Stored tables stay readable: a field more or less would move every byte behind it."""
    assert (HEADER.size, FOOTER.size, INDEX_ENTRY.size, BLOCK_BYTES_MIN) == (52, 96, 32, 15)


def test_header_and_footer_say_what_they_were_told() -> None:
    """The ends place a table: store, number, LSN and counts must survive the way to disk."""
    assert decode_header(HEADER_VALUE.encode()) == HEADER_VALUE
    footer = FOOTER_VALUE.encode(salt=SALT)
    assert decode_footer(footer, salt=SALT, offset_bytes=FOOTER_OFFSET) == FOOTER_VALUE
    assert footer_checksum(footer) == FOOTER.unpack(footer)["footer_checksum"]


def test_any_flipped_bit_of_a_header_is_found() -> None:
    """A header misread by one bit would make the table another store's, or another table."""
    for damaged in flips(HEADER_VALUE.encode()):
        with pytest.raises(MalformedError):
            decode_header(damaged)


def test_any_flipped_bit_of_a_footer_is_found() -> None:
    """The footer leads to everything else."""
    for damaged in flips(FOOTER_VALUE.encode(salt=SALT)):
        with pytest.raises(MalformedError):
            decode_footer(damaged, salt=SALT, offset_bytes=FOOTER_OFFSET)


def test_a_delta_says_on_what_and_a_gap_between_two_shows() -> None:
    """16 bits of an LSN tell one table below from another; 0 is for those that need none."""
    assert {delta_on(lsn) for lsn in range(1 << 16)} == set(range(1, 1 << 16))
    for lsn in (0, 1, 65_534, 65_535, 2**62 - 1):
        header = replace(HEADER_VALUE, below=delta_on(lsn))
        assert decode_header(header.encode()) == header
        footer = replace(FOOTER_VALUE, below=delta_on(lsn))
        assert decode_footer(footer.encode(salt=SALT), salt=SALT, offset_bytes=FOOTER_OFFSET) == footer
    assert (HEADER_VALUE.below, FOOTER_VALUE.below) == (WHOLE, WHOLE)


def test_whole_ends_of_a_later_format_are_refused_as_such() -> None:
    """Newer is not damaged: the user has to upgrade, not to restore a copy."""
    changed: dict[str, object] = {**HEADER.unpack(HEADER_VALUE.encode()), "version": 4}
    with pytest.raises(NewerFormatError):
        decode_header(reseal(HEADER.pack(**changed)))
    changed = {**FOOTER.unpack(FOOTER_VALUE.encode(salt=SALT)), "version": 4}
    with pytest.raises(NewerFormatError):
        decode_footer(
            reseal(FOOTER.pack(**changed), seed_at(SALT, FOOTER_OFFSET)), salt=SALT, offset_bytes=FOOTER_OFFSET
        )


@pytest.mark.parametrize("size", [0, 1, HEADER_BYTES - 1, FOOTER_BYTES - 1, FOOTER_BYTES + 1])
def test_ends_of_the_wrong_length_are_malformed(size: int) -> None:
    """A file that was cut short gives short reads; they must not become struct errors."""
    with pytest.raises(MalformedError):
        decode_header((MAGIC + bytes(100))[:size])
    with pytest.raises(MalformedError):
        decode_footer((FOOTER_MAGIC + bytes(100))[:size], salt=SALT, offset_bytes=FOOTER_OFFSET)


def test_a_footer_passes_only_in_its_own_table_and_place() -> None:
    """A right footer in the wrong file would vouch for blocks that it never saw."""
    footer = FOOTER_VALUE.encode(salt=SALT)
    for salt, offset_bytes in ((SALT + 1, FOOTER_OFFSET), (SALT, FOOTER_OFFSET + 1)):
        with pytest.raises(MalformedError):
            decode_footer(footer, salt=salt, offset_bytes=offset_bytes)


@pytest.mark.parametrize(("root_offset", "root_length"), [(51, FOOTER_OFFSET - 51), (4952, 47), (4952, 49)])
def test_a_root_outside_its_place_is_malformed(root_offset: int, root_length: int) -> None:
    """Offsets from disk are bounded before anything is read with them."""
    fields = {**FOOTER.unpack(FOOTER_VALUE.encode(salt=SALT)), "root_offset": root_offset, "root_length": root_length}
    footer = reseal(FOOTER.pack(**fields), seed_at(SALT, FOOTER_OFFSET))
    with pytest.raises(MalformedError, match="root"):
        decode_footer(footer, salt=SALT, offset_bytes=FOOTER_OFFSET)


# -- index blocks --------------------------------------------------------------------------------

LEFT = IndexEntry(b"a", b"c", 52, 100, 10, 10)
RIGHT = IndexEntry(b"d", b"d", 200, 15, 1, 0)


@given(
    st.lists(KEYS, unique=True, max_size=20).map(sorted),
    st.lists(st.tuples(st.integers(0, 9), st.integers(15, 2**20), st.integers(1, 9)), min_size=20, max_size=20),
)
def test_an_index_block_gives_back_its_entries(keys: list[bytes], shapes: list[tuple[int, int, int]]) -> None:
    """Every lookup trusts what the index says of a block."""
    entries, position = [], HEADER_BYTES
    pairs = list(zip(keys[::2], keys[1::2], strict=False))
    for (first, last), (gap, length_bytes, count) in zip(pairs, shapes, strict=False):
        entries.append(IndexEntry(first, last, position + gap, length_bytes, count, count // 2))
        position += gap + length_bytes
    index = decode_index(index_of(*entries), offset_bytes=position)
    assert [index.entry(at) for at in range(len(index.firsts))] == entries
    assert index.level == 0


def test_an_index_block_sums_up_what_it_points_to() -> None:
    """The index above repeats the sum, so that a wrong block below is noticed."""
    index = decode_index(index_of(LEFT, RIGHT, level=3), offset_bytes=300)
    assert index.level == 3
    assert index.summary(300, 99) == IndexEntry(b"a", b"d", 300, 99, 11, 10)
    assert decode_index(index_of(), offset_bytes=52).summary(52, 9) == IndexEntry(b"", b"", 52, 9, 0, 0)


@given(st.binary(max_size=200), st.integers(0, 20))
def test_no_bytes_at_all_crash_the_decoder_of_index_blocks(data: bytes, count: int) -> None:
    """The only way out of a decoder is a value or MalformedError."""
    for hostile in (data, struct.pack("<I", count) + data):
        with contextlib.suppress(MalformedError):
            decode_index(hostile, offset_bytes=2**40)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"", "of 0 bytes"),
        (index_of()[:-1], "of 8 bytes"),
        (bytes(INDEX_BLOCK_BYTES_MAX + 1), "bytes"),
        (index_of(LEFT, level=16), "level 16"),
        (index_of(level=1), "level 1"),
        (struct.pack("<IB", 2**32 - 1, 0) + index_of(LEFT)[5:], "can't hold"),
        (index_of(LEFT)[:-4] + b"x" + bytes(4), "fill"),
        (struct.pack("<IB", 1, 0) + INDEX_ENTRY.struct.pack(9, 9, 52, 15, 1, 0) + b"a" + bytes(4), "fill"),
        (index_of(LEFT._replace(first=b"cc")), "ascend"),
        (index_of(LEFT, RIGHT._replace(first=b"c")), "ascend"),
        (index_of(LEFT, RIGHT._replace(first=b"b")), "ascend"),
        (index_of(LEFT._replace(offset_bytes=51)), "where none can be"),
        (index_of(LEFT, RIGHT._replace(offset_bytes=151)), "where none can be"),
        (index_of(LEFT, RIGHT._replace(offset_bytes=286)), "where none can be"),
        (index_of(LEFT, RIGHT._replace(offset_bytes=2**64 - 1, length_bytes=2**32 - 1)), "where none can be"),
        (index_of(LEFT._replace(length_bytes=14)), "too short"),
        (index_of(LEFT._replace(entry_count=0, tombstone_count=0)), "without entries"),
        (index_of(LEFT._replace(tombstone_count=11)), "more tombstones"),
    ],
)
def test_bytes_that_are_no_index_block_are_malformed(block: bytes, reason: str) -> None:
    """An index leads to reads of its own choosing: every place and length in it is bounded."""
    with pytest.raises(MalformedError, match=reason):
        decode_index(block, offset_bytes=300)


def test_an_index_block_of_the_longest_keys_is_within_its_bounds() -> None:
    """A writer must never make an index block that a reader refuses."""
    largest = INDEX_FANOUT_MIN * (INDEX_ENTRY.size + 2 * KEY_BYTES_MAX)
    assert largest < INDEX_BLOCK_BYTES_MAX
