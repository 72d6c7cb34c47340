"""A data block's bytes: what is written is found, one entry or all of them, and nonsense is an error."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.format.block import (
    CRC_BYTES,
    ENTRY_BYTES_MAX,
    KEY_BYTES_MAX,
    Block,
    block_checksum,
    block_length,
    check_block,
    check_ends,
    check_fingerprints,
    decode_block,
    encode_block,
    find_entry,
    is_as_indexed,
    position,
    run_of,
)
from journalkit.format.checksum import checksum
from journalkit.format.columns import columns
from journalkit.format.malformed import MalformedError
from journalkit.types import ABSENT

SALT = 0xFFFF_FF00

KEYS = st.binary(max_size=12)
BLOCKS = st.dictionaries(KEYS, st.none() | st.binary(max_size=40), min_size=1, max_size=20).map(
    lambda entries: dict(sorted(entries.items()))
)


def body_of(entries: Block) -> bytes:
    """Return a data block without its checksum."""
    return encode_block([run_of(entries.items())])


def block_of(entries: Block, *, offset_bytes: int = 0) -> bytes:
    """Return a whole data block for one place."""
    body = body_of(entries)
    return body + block_checksum(body, salt=SALT, offset_bytes=offset_bytes)


def flips(data: bytes) -> list[bytes]:
    """Return every version of the bytes that differs in one bit."""
    whole = int.from_bytes(data, "little")
    return [(whole ^ 1 << bit).to_bytes(len(data), "little") for bit in range(8 * len(data))]


def read_everything(block: bytes) -> None:
    """Do all that readers do with a block of which only the checksum is known to be right."""
    with contextlib.suppress(MalformedError):
        entries = decode_block(block)
        check_fingerprints(block, entries)
    length = block_length(block)
    assert length >= 0
    for count in range(1, 4):
        for first, last in ((b"", b""), (b"a", b"b")):
            with contextlib.suppress(MalformedError):
                check_ends(block, first, last, count)
                for key in (first, last, b"x"):
                    position(block, count, key)
                    with contextlib.suppress(MalformedError):
                        find_entry(block, count, key)
                with contextlib.suppress(MalformedError):
                    list(columns(block, 0, count))


class Huge(bytes):
    """Bytes that claim a size nobody wants to allocate in a test."""

    def __len__(self) -> int:
        return ENTRY_BYTES_MAX + 1


# -- what was written is found -------------------------------------------------------------------


@given(BLOCKS)
def test_a_block_gives_back_its_entries_in_order(entries: Block) -> None:
    """Values, tombstones and order are all that a table is for."""
    block = block_of(entries, offset_bytes=52)
    check_block(block, salt=SALT, offset_bytes=52)
    decoded = decode_block(block)
    assert list(decoded.items()) == list(entries.items())
    check_fingerprints(block, decoded)


@given(BLOCKS, st.lists(KEYS, max_size=5))
def test_a_single_key_is_found_as_decoding_everything_finds_it(entries: Block, others: list[bytes]) -> None:
    """A get doesn't decode the block; it must answer as if it did, for keys that aren't there too."""
    block = block_of(entries)
    keys = list(entries)
    check_ends(block, keys[0], keys[-1], len(keys))
    for key in (*keys, *others, *(key + b"\0" for key in keys), *(key[:-1] for key in keys)):
        assert find_entry(block, len(keys), key) == entries.get(key, ABSENT)
        assert position(block, len(keys), key) == sum(other < key for other in keys)


@given(BLOCKS, st.data())
def test_one_look_at_a_block_that_was_read_for_a_key_says_what_two_checks_do(
    entries: Block, data: st.DataObject
) -> None:
    """It may be stricter about nonsense, and lets nothing pass that they don't."""
    block, keys = bytearray(block_of(entries, offset_bytes=52)), list(entries)
    assert is_as_indexed(bytes(block), keys[0], keys[-1], len(keys), SALT + 52)
    first, last = data.draw(st.tuples(st.sampled_from([keys[0], b"x"]), st.sampled_from([keys[-1], b"y"])))
    count = data.draw(st.integers(0, len(keys) + 1))
    if data.draw(st.booleans()):
        block[data.draw(st.integers(0, len(block) - 1))] ^= data.draw(st.integers(1, 255))
    body = bytes(block[:-CRC_BYTES])
    for read in (bytes(block), body + block_checksum(body, salt=SALT, offset_bytes=52), bytes(block[:7]), b""):
        passes = is_as_indexed(read, first, last, count, SALT + 52)
        try:
            check_block(read, salt=SALT, offset_bytes=52)
            check_ends(read, first, last, count)
        except MalformedError:
            assert not passes
        else:
            assert passes


@given(BLOCKS, st.data())
def test_a_part_of_a_block_is_what_lies_between_two_places(entries: Block, data: st.DataObject) -> None:
    """A short scan pays for what it yields, not for the block."""
    high = data.draw(st.integers(0, len(entries)))
    low = data.draw(st.integers(0, high))
    assert list(zip(*columns(block_of(entries), low, high), strict=True)) == list(entries.items())[low:high]


def test_keys_of_one_fingerprint_are_told_apart() -> None:
    """A fingerprint is a hint: a byte says little, the key decides."""
    alike = sorted(key for n in range(3000) if checksum(key := b"%d" % n) & 0xFF == 7)
    entries: Block = dict.fromkeys(alike[::2], b"") | {alike[-1]: None}
    block = block_of(dict(sorted(entries.items())))
    assert len(alike) > 8
    for key in alike:
        assert find_entry(block, len(entries), key) == entries.get(key, ABSENT)


def test_a_block_is_these_bytes() -> None:
    """The format is fixed: where entries begin, rows, fingerprints, then the entries."""
    rows = struct.pack("<IHIHI", 18, 1, 22, 0xFFFF, 23)
    assert body_of({b"a": b"xyz", b"b": None}) == rows + bytes([0x30, 0xC4]) + b"axyzb"


def test_bodies_join_entries_and_each_other_without_being_parsed() -> None:
    """A fold heals small blocks by joining them; places in the block move with them, keys are not looked at."""
    first, second = body_of({b"a": b"1", b"b": b""}), body_of({b"d": None, b"e": b"22"})
    whole = {b"a": b"1", b"b": b"", b"c": b"3", b"d": None, b"e": b"22", b"f": None}
    joined = encode_block([first, run_of([(b"c", b"3")]), second, run_of([(b"f", None)])])
    assert joined == body_of(whole)
    assert encode_block([first]) is first, "a body alone isn't even copied"


def test_a_block_tells_its_own_length() -> None:
    """Salvage walks from block to block where the index is lost."""
    block = block_of({b"a": b"xyz", b"b": None})
    assert block_length(block + b"what follows") == len(block)
    for short in (block[:3], block[:17], b""):
        assert block_length(short) == 0


def test_the_longest_key_fits() -> None:
    """The limit is inclusive, of tombstones too."""
    longest = b"k" * KEY_BYTES_MAX
    for value in (b"", b"value", None):
        block = block_of({longest: value})
        assert decode_block(block) == {longest: value}
        assert find_entry(block, 1, longest) == value


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"k" * (KEY_BYTES_MAX + 1), b""), (b"k" * (KEY_BYTES_MAX + 1), None), (b"k", Huge())],
    ids=["long key", "long key deleted", "huge value"],
)
def test_what_the_format_cannot_hold_is_refused(key: bytes, value: bytes | None) -> None:
    """A length that overflows its field would be read back as another."""
    with pytest.raises(ValueError, match="at most"):
        run_of([(key, value)])


# -- damage and nonsense -------------------------------------------------------------------------


def test_any_flipped_bit_of_a_block_is_found() -> None:
    """Damage is found when a block is read, not when its wrong value is believed."""
    for damaged in flips(block_of({b"key": b"value", b"last": None}, offset_bytes=99)):
        with pytest.raises(MalformedError):
            check_block(damaged, salt=SALT, offset_bytes=99)


def test_a_block_passes_only_in_its_own_table_and_place() -> None:
    """A write that went astray leaves a right block in the wrong place."""
    block = block_of({b"key": b"value"}, offset_bytes=99)
    for salt, offset_bytes in ((SALT + 1, 99), (SALT, 100)):
        with pytest.raises(MalformedError):
            check_block(block, salt=salt, offset_bytes=offset_bytes)
    with pytest.raises(MalformedError):
        check_block(b"abc", salt=SALT, offset_bytes=99)


@given(st.binary(max_size=60), st.integers(0, 2**32 - 1))
def test_one_pass_over_a_block_and_its_checksum_tells_what_two_would(body: bytes, salt: int) -> None:
    """The residue of a CRC is a constant: the plain twin compares the checksum itself."""
    crc = block_checksum(body, salt=salt, offset_bytes=7)
    check_block(body + crc, salt=salt, offset_bytes=7)
    assert int.from_bytes(crc, "little") == checksum(body, (salt + 7) & 0xFFFF_FFFF)


def rows(*rows: tuple[int, int], start: int | None = None, data: bytes = b"") -> bytes:
    """Return a body with these rows, right fingerprints or not."""
    begin = 4 + 7 * len(rows) if start is None else start
    packed = b"".join(struct.pack("<HI", *row) for row in rows)
    return struct.pack("<I", begin) + packed + bytes(len(rows)) + data


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "too short"),
        (bytes(10), "too short"),
        (rows(start=4, data=bytes(7)), "can't begin"),
        (rows(start=3, data=bytes(7)), "can't begin"),
        (rows((0, 11), start=12), "can't begin"),
        (rows((0, 11), start=18), "can't begin"),
        (rows((0, 11), start=2**32 - 1), "can't begin"),
        (rows((3, 13), data=b"key"), "doesn't fit"),
        (rows((3, 10), data=b"key"), "doesn't fit"),
        (rows((0xFFFF, 10), data=b"key"), "doesn't fit"),
        (rows((0xFFFF, 0xFFFF + 11), data=bytes(0xFFFF)), "doesn't fit"),
        (rows((3, 21), (0, 20), data=b"key"), "doesn't fit"),
        (rows((3, 15), data=b"key"), "fill"),
        (rows((3, 14), data=b"key!"), "fill"),
        (rows((3, 2**32 - 1), data=b"key"), "fill"),
        (rows((1, 19), (1, 20), data=b"aa"), "ascend"),
        (rows((1, 19), (1, 20), data=b"ba"), "ascend"),
    ],
)
def test_bytes_that_are_no_block_are_malformed(body: bytes, reason: str) -> None:
    """Who can compute a checksum can still hand us nonsense; it may cost an error, never memory or a wrong value."""
    block = body + bytes(CRC_BYTES)
    if reason == "too short":
        block = body
    with pytest.raises(MalformedError, match=reason):
        decode_block(block)
    read_everything(block)


def test_a_block_whose_fingerprints_are_wrong_is_malformed() -> None:
    """A key behind a wrong fingerprint is never found: that has to be noticed before a table is published."""
    block = bytearray(block_of({b"a": b"1", b"b": b"2"}))
    block[4 + 2 * 6] ^= 1
    assert find_entry(bytes(block), 2, b"a") is ABSENT
    assert find_entry(bytes(block), 2, b"b") == b"2"
    with pytest.raises(MalformedError, match="fingerprints"):
        check_fingerprints(bytes(block), decode_block(bytes(block)))


@pytest.mark.parametrize(
    ("first", "last", "count", "cut", "reason"),
    [
        (b"x", b"c", 3, 0, "isn't the one"),
        (b"a", b"x", 3, 0, "isn't the one"),
        (b"a", b"c", 2, 0, "isn't the one"),
        (b"a", b"c", 3, 1, "fill"),
    ],
)
def test_a_block_with_other_ends_than_its_index_says_is_malformed(
    first: bytes, last: bytes, count: int, cut: int, reason: str
) -> None:
    """What a get relies on is checked before it does, without reading all of the block."""
    block = block_of({b"a": b"1", b"b": b"2", b"c": None})
    check_ends(block, b"a", b"c", 3)
    with pytest.raises(MalformedError, match=reason):
        check_ends(block[: len(block) - cut], first, last, count)


@pytest.mark.parametrize(
    "middle", [(1, 2**32 - 1), (1, 0), (0xFFFF, 0), (0xFFFF, 2**32 - 1)], ids=["far", "back", "none", "all"]
)
def test_an_entry_that_reaches_out_of_its_block_is_an_error_when_it_is_met(middle: tuple[int, int]) -> None:
    """The ends were right, the middle is nonsense: bounds hold where the entry is read."""
    body = rows((1, 26), middle, (1, 30), data=b"a1b2c3")
    block = body[:22] + bytes(checksum(key) & 0xFF for key in (b"a", b"b", b"c")) + body[25:] + bytes(CRC_BYTES)
    with pytest.raises(MalformedError):
        list(columns(block, 0, 3))
    with contextlib.suppress(MalformedError):
        assert find_entry(block, 3, b"b") in (ABSENT, None)
    read_everything(block)


def test_a_scan_finds_keys_that_do_not_ascend() -> None:
    """A reader that counts on order, as merging does, must not be given anything else."""
    body = encode_block([run_of([(b"a", b"1"), (b"c", b"2"), (b"b", None)])])
    assert columns(body + bytes(CRC_BYTES), 0, 2) == ([b"a", b"c"], [b"1", b"2"])
    with pytest.raises(MalformedError, match="ascend"):
        columns(body + bytes(CRC_BYTES), 1, 3)


@pytest.mark.parametrize("row", [(1, 12), (0, 9), (0, 20)], ids=["short", "before", "beyond"])
def test_a_body_that_cannot_be_joined_is_refused(row: tuple[int, int]) -> None:
    """Joining moves places: nonsense must not become other nonsense under a fresh checksum."""
    body = rows(row, data=b"ab")
    with pytest.raises(MalformedError, match="fill"):
        encode_block([body, run_of([(b"z", b"")])])


@given(st.binary(max_size=200), st.integers(0, 40))
def test_no_bytes_at_all_crash_a_reader(data: bytes, start: int) -> None:
    """The only way out is a value or MalformedError."""
    read_everything(data)
    read_everything(struct.pack("<I", start) + data)


@given(BLOCKS, st.data())
def test_changed_bytes_give_ascending_entries_or_an_error(entries: Block, data: st.DataObject) -> None:
    """Behind a checksum that happens to fit, order and bounds still hold."""
    block = bytearray(block_of(entries))
    block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    read_everything(bytes(block))
    try:
        keys = list(decode_block(bytes(block)))
    except MalformedError:
        return
    assert keys == sorted(set(keys))
