"""Columns: many entries at a time are what decoding one by one makes of them."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.format.block import CRC_BYTES, START_BYTES, Block, decode_block, encode_block, run_of
from journalkit.format.codec import CborCodec, Codec, RawCodec
from journalkit.format.columns import bytes_head, columns, decode_keys, decode_values, same_sized_items
from journalkit.format.keys import KEY_BYTES_MAX, decode_key, encode_key
from journalkit.format.malformed import MalformedError

CODECS: list[Codec] = [CborCodec(), RawCodec()]
SIZES = (0, 1, 23, 24, 100, 255, 256, 65_535, 65_536)


def block_of(entries: dict[bytes, bytes | None]) -> bytes:
    """Return a block; its checksum is nobody's matter here."""
    return encode_block([run_of(sorted(entries.items()))]) + bytes(CRC_BYTES)


def plainly(block: bytes, low: int, high: int, codec: Codec) -> list[tuple[Any, Any]]:
    """Return keys and values of a part of a block, one by one."""
    entries = list(decode_block(block).items())[low:high]
    return [(decode_key(key), codec.decode(value)) for key, value in entries if value is not None]


@st.composite
def blocks_of_one_shape(draw: st.DrawFn) -> tuple[bytes, int, Codec]:
    """A block whose entries mostly have one shape, their number, and the codec."""
    codec = draw(st.sampled_from(CODECS))
    key_bytes, value_bytes = draw(st.integers(0, 6)), draw(st.integers(0, 40))
    if draw(st.booleans()):
        one_key: st.SearchStrategy[Any] = st.binary(min_size=key_bytes, max_size=key_bytes)
    else:
        one_key = st.text("abé\0", min_size=key_bytes, max_size=key_bytes)
    one_value: st.SearchStrategy[Any] = st.binary(min_size=value_bytes, max_size=value_bytes)
    pairs = draw(st.dictionaries(one_key, one_value, min_size=1, max_size=12))
    entries = {encode_key(key): codec.encode(value) for key, value in pairs.items()}
    if codec.name == "cbor" and draw(st.integers(0, 3)) == 0:
        entries[encode_key(draw(one_key))] = draw(st.sampled_from([b"\x07", codec.encode("é" * value_bytes)]))
    return block_of(dict(entries)), len(entries), codec


@given(blocks_of_one_shape(), st.data())
def test_entries_of_one_shape_are_what_they_are_one_by_one(
    drawn: tuple[bytes, int, Codec], data: st.DataObject
) -> None:
    """The quick way has no opinion of its own: it says the same, or nothing."""
    block, count, codec = drawn
    high = data.draw(st.integers(1, count))
    low = data.draw(st.integers(0, high - 1))
    expected = plainly(block, low, high, codec)
    entries = list(decode_block(block).items())
    assert list(zip(*columns(block, low, high), strict=True)) == entries[low:high]
    assert columns(block, low, low) == ([], [])
    for is_ordered in (False, True):
        items = same_sized_items(block, low, high, codec, is_ordered=is_ordered)
        assert items is None or items == expected


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("keys", [[b"%03d" % n for n in range(9)], [f"{n:03}" for n in range(9)]], ids=["bytes", "str"])
@pytest.mark.parametrize("value_bytes", [0, 23, 24, 300])
def test_the_usual_shapes_go_the_quick_way(codec: Codec, keys: list[Any], value_bytes: int) -> None:
    """Keys of a fixed width and values of bytes are what many programs keep."""
    pairs = {key: bytes((n,)) * value_bytes for n, key in enumerate(keys)}
    block = block_of({encode_key(key): codec.encode(value) for key, value in pairs.items()})
    assert same_sized_items(block, 2, 7, codec, is_ordered=False) == list(pairs.items())[2:7]


def forged(block: bytes, **fields: int) -> bytes:
    """Return a block whose first row says something else."""
    key_bytes, end = struct.unpack_from("<HI", block, START_BYTES)
    row = struct.pack("<HI", fields.get("key_bytes", key_bytes), fields.get("end", end))
    return block[:START_BYTES] + row + block[START_BYTES + len(row) :]


@pytest.mark.parametrize(
    "entries",
    [
        {b"\x30a": b"\x41x", b"\x30b": None},
        {b"\x30a": b"\x41x", b"\x30bc": b"\x41x"},
        {b"\x30a": b"\x41x", b"\x30b": b"\x61x"},
        {b"\x30a": b"\x41x", b"\x40b": b"\x41x"},
        {b"\x1a\x01": b"\x41x", b"\x1a\x02": b"\x41x"},
        {b"\x40a": b"\x41x", b"\x40\xff": b"\x41x"},
        {b"\x30a": b"\x18\x20", b"\x30b": b"\x18\x21"},
        {b"\x30a": b"", b"\x30b": b""},
        {b"": b"\x41x"},
        {b"\x30" + bytes(KEY_BYTES_MAX): b"\x41x"},
    ],
    ids=["tombstone", "longer", "text", "types", "integers", "no-text", "numbers", "nothing", "no-key", "too-long"],
)
def test_what_is_not_of_one_shape_takes_a_closer_look(entries: Block) -> None:
    """Whoever looks closer decides; here nothing is guessed."""
    assert same_sized_items(block_of(entries), 0, len(entries), CborCodec(), is_ordered=True) is None


def test_nonsense_in_the_rows_takes_a_closer_look() -> None:
    """No number in a block is trusted before it is bounded."""
    block = block_of({b"\x30a": b"\x41x", b"\x30b": b"\x41y"})
    for fields in ({"end": 2**32 - 1}, {"end": 0}, {"key_bytes": 500}, {"key_bytes": 0xFFFF}, {"key_bytes": 0}):
        assert same_sized_items(forged(block, **fields), 0, 2, CborCodec(), is_ordered=True) is None


def test_keys_that_do_not_ascend_are_noticed_once() -> None:
    """A scan must not show keys out of order; that they are in order is noted with the block."""
    entries = [(b"\x30a", b"\x41x"), (b"\x30c", b"\x41y"), (b"\x30b", b"\x41z")]
    block = encode_block([run_of(entries)]) + bytes(CRC_BYTES)
    for low, high in ((0, 3), (0, 2)):
        assert same_sized_items(block, low, high, CborCodec(), is_ordered=False) is None
    assert same_sized_items(block, 0, 3, CborCodec(), is_ordered=True) == [(b"a", b"x"), (b"c", b"y"), (b"b", b"z")]
    for others in ((), ((b"\x30d", b"longer"),)):
        block = encode_block([run_of([*entries, *others])]) + bytes(CRC_BYTES)
        with pytest.raises(MalformedError, match="ascend"):
            columns(block, 0, 3)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("size_bytes", SIZES)
def test_the_head_of_encoded_bytes_is_what_encoding_writes(codec: Codec, size_bytes: int) -> None:
    """And what follows it is the value, whatever it is."""
    for value in (bytes(size_bytes), b"\xff" * size_bytes):
        encoded = codec.encode(value)
        head = bytes_head(codec.encode, len(encoded))
        assert head is not None
        assert (encoded, codec.decode(head + value)) == (head + value, value)


def test_some_sizes_no_encoded_bytes_have() -> None:
    """One byte more than 24 encoded ones is a head of two bytes: none is left over."""
    assert [bytes_head(CborCodec().encode, size) for size in (0, 25, 258)] == [None, None, None]


@given(
    st.lists(st.one_of(st.binary(max_size=4), st.text(max_size=4), st.integers(), st.tuples(st.integers())), max_size=9)
)
def test_keys_together_are_keys_one_by_one(keys: list[Any]) -> None:
    """Whatever they are; in order, as a scan has them."""
    encoded = sorted(encode_key(key) for key in keys)
    assert decode_keys(encoded) == [decode_key(key) for key in encoded]


@pytest.mark.parametrize("bad", [b"", b"\x40\xff", b"\x30" + bytes(KEY_BYTES_MAX), b"\x60"])
def test_no_key_is_no_key_among_others(bad: bytes) -> None:
    """What one by one would refuse, together is refused too."""
    for others in ([], [b"\x30a"], [b"\x40a"], [b"\x30a", b"\x40a"]):
        with pytest.raises(MalformedError):
            decode_keys(sorted([bad, *others]))


@given(st.sampled_from(CODECS), st.lists(st.binary(max_size=3), max_size=6))
def test_values_together_are_values_one_by_one(codec: Codec, values: list[bytes]) -> None:
    """Of one size or of many."""
    assert decode_values([codec.encode(value) for value in values], codec) == values


def test_values_that_are_no_bytes_are_decoded_one_by_one() -> None:
    """Among bytes of the same size too; and what is no value is refused."""
    assert decode_values([b"\x42ab", b"\x62ab"], CborCodec()) == [b"ab", "ab"]
    for bad in ([b"\x42ab", b"\x43ab"], [b""], [b"\xff\xff"]):
        with pytest.raises(MalformedError):
            decode_values(bad, CborCodec())
