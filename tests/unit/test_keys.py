"""The bytes of keys: what they are, what is refused, and what never decodes."""

from __future__ import annotations

import enum
from collections import namedtuple
from typing import Any

import pytest

from journalkit.errors import KeyTypeError, KeyValueError
from journalkit.format.keys import (
    KEY_BYTES_MAX,
    KEY_DEPTH_MAX,
    USER_FIRST,
    Keyspace,
    decode_key,
    encode_key,
    keyspace_bounds,
    prefix_bounds,
    reserved_key,
    reserved_name,
    successor,
)
from journalkit.format.malformed import MalformedError


class Colour(enum.IntEnum):
    RED = 1


class Name(str):
    __slots__ = ()


Point = namedtuple("Point", "x y")  # a subclass of tuple is what the test is about


def nested(depth: int) -> Any:
    """Return as many empty tuples inside each other."""
    key: Any = ()
    for _ in range(depth - 1):
        key = (key,)
    return key


EXAMPLES: list[tuple[Any, str]] = [
    (0, "19"),
    (1, "1a01"),
    (255, "1aff"),
    (256, "1b0100"),
    (2**64 - 1, "21ffffffffffffffff"),
    (2**64, "220009010000000000000000"),
    (-1, "18fe"),
    (-255, "1800"),
    (-256, "17feff"),
    (-(2**64) + 1, "110000000000000000"),
    (-(2**64), "10fff6feffffffffffffffff"),
    (b"", "30"),
    (b"\x00\xff", "3000ff"),
    ("", "40"),
    ("user:1", "40757365723a31"),
    ("é", "40c3a9"),
    ((), "50"),
    (("a", 1), "504061001a01"),
    ((b"\x00", "\x00"), "503000ff004000ff00"),
    (((), ("a",)), "5050005040610000"),
]


@pytest.mark.parametrize(("key", "encoded"), EXAMPLES)
def test_the_bytes_of_a_key_are_fixed(key: Any, encoded: str) -> None:
    """Stores on disk depend on every one of these bytes."""
    assert encode_key(key).hex() == encoded
    assert decode_key(bytes.fromhex(encoded)) == key
    assert type(decode_key(bytes.fromhex(encoded))) is type(key)


@pytest.mark.parametrize("key", [True, False, None, 1.5, Colour.RED, Name("a"), Point(1, 2), bytearray(b"a"), [1], {1}])
def test_only_the_exact_types_are_keys(key: Any) -> None:
    """A subclass or a bool would come back as something else."""
    for refused in (key, (key,), (1, (key,))):
        with pytest.raises(KeyTypeError, match="convert it to a plain str"):
            encode_key(refused)


@pytest.mark.parametrize("key", ["\ud800", ("a\udfff",), (1, ("\ud800",))])
def test_a_lone_surrogate_is_refused(key: Any) -> None:
    """It has no UTF-8, and an escape for it would break the order."""
    with pytest.raises(KeyValueError, match="lone surrogate at position"):
        encode_key(key)


@pytest.mark.parametrize("make", [lambda n: "x" * n, lambda n: b"x" * n, lambda n: ("x" * (n - 2),)])
def test_a_key_may_be_as_long_as_the_limit_and_no_longer(make: Any) -> None:
    """The bound holds on the encoded bytes, which is what tables and frames carry."""
    longest = encode_key(make(KEY_BYTES_MAX - 1))
    assert len(longest) == KEY_BYTES_MAX
    assert decode_key(longest) == make(KEY_BYTES_MAX - 1)
    with pytest.raises(KeyValueError, match="too long"):
        encode_key(make(KEY_BYTES_MAX))
    with pytest.raises(MalformedError, match="over the limit"):
        decode_key(longest + b"x")


@pytest.mark.parametrize("sign", [1, -1])
def test_integers_grow_to_the_limit(sign: int) -> None:
    """Python's integers have no size, and their text form has one: neither may surprise."""
    biggest = sign * ((1 << 8 * (KEY_BYTES_MAX - 3)) - 1)
    assert decode_key(encode_key(biggest)) == biggest
    with pytest.raises(KeyValueError, match="too long"):
        encode_key(biggest * 256)
    with pytest.raises(KeyValueError, match="too big"):
        encode_key(sign << 8 * 70_000)


def test_tuples_nest_to_the_limit() -> None:
    """Deeper ones would be decoded by recursion that a hostile file controls."""
    deepest = nested(KEY_DEPTH_MAX)
    assert decode_key(encode_key(deepest)) == deepest
    with pytest.raises(KeyValueError, match="nested too deep"):
        encode_key(nested(KEY_DEPTH_MAX + 1))
    with pytest.raises(MalformedError, match="nested too deep"):
        decode_key(b"\x50" * (KEY_DEPTH_MAX + 1) + b"\x00" * KEY_DEPTH_MAX)


@pytest.mark.parametrize(
    ("damage", "data"),
    [
        ("nothing at all", ""),
        ("a reserved tag", "0161"),
        ("the tag zero", "00"),
        ("a tag between types", "23"),
        ("a tag above all types", "51"),
        ("an integer cut short", "1b01"),
        ("an integer with a leading zero", "1b0001"),
        ("zero in one byte", "1a00"),
        ("a negative integer with a leading one", "17fffe"),
        ("minus zero in one byte", "18ff"),
        ("bytes behind an integer", "1a0100"),
        ("bytes behind zero", "1919"),
        ("a big integer without a length", "22"),
        ("a big integer with half a length", "2200"),
        ("a big integer cut short", "22000901"),
        ("a big integer that fits eight bytes", "220008" + "01" * 8),
        ("a big integer with a leading zero", "220009" + "00" + "01" * 8),
        ("a negative big integer that fits eight bytes", "10fff7" + "01" * 8),
        ("a negative big integer with a leading one", "10fff6" + "ff" + "01" * 8),
        ("no UTF-8", "40ff"),
        ("half a character", "40c3"),
        ("a surrogate in UTF-8", "40eda080"),
        ("no UTF-8 in a tuple", "5040ff00"),
        ("a string without an end", "504061"),
        ("a string that ends with an escape", "50406100ff"),
        ("a nested tuple without an end", "5050"),
        ("an end at the top", "5000"),
        ("a reserved tag in a tuple", "5001"),
        ("an integer cut short in a tuple", "501b01"),
    ],
)
def test_what_no_key_encodes_to_is_malformed(damage: str, data: str) -> None:
    """Two encodings of one key, or a key that reads as another, would lose an entry."""
    with pytest.raises(MalformedError):
        decode_key(bytes.fromhex(data))


def test_malformed_text_is_told_with_its_place() -> None:
    """Whoever looks at the hex dump wants the byte."""
    with pytest.raises(MalformedError) as caught:
        decode_key(b"\x40ab\xff")
    assert caught.value.offset_bytes == 3


def test_prefix_bounds_of_strings_are_those_of_the_bytes() -> None:
    """A scan by prefix is one range."""
    assert prefix_bounds("user:") == (b"\x40user:", b"\x40user;")
    assert prefix_bounds(b"a\xff") == (b"\x30a\xff", b"\x30b")
    assert prefix_bounds("") == (b"\x40", b"\x41")
    assert prefix_bounds(b"") == (b"\x30", b"\x31")


def test_a_tuple_prefix_matches_whole_elements() -> None:
    """What begins with the same bytes need not begin with the same elements."""
    first, stop = prefix_bounds(("a",))
    assert stop is not None
    for inside in (("a",), ("a", 0), ("a", -(2**99)), ("a", ("b",)), ("a", "\U0010ffff")):
        assert first <= encode_key(inside) < stop
    for outside in (("ab",), ("a\0",), ("a\0", 1), ("b",), (), "a", (("a",),)):
        assert not first <= encode_key(outside) < stop


@pytest.mark.parametrize("prefix", [1, 1.5, None, True])
def test_a_prefix_is_a_string_or_a_tuple(prefix: Any) -> None:
    """An int begins no other int."""
    with pytest.raises(KeyTypeError):
        prefix_bounds(prefix)


def test_the_successor_is_above_all_that_begin_so() -> None:
    """The end of a range by prefix, or None where nothing is above."""
    assert successor(b"a") == b"b"
    assert successor(b"a\xff\xff") == b"b"
    assert successor(b"\xff") is None
    assert successor(b"") is None


def test_reserved_keys_sort_before_all_user_keys_and_read_back() -> None:
    """Entries of journalkit itself live among the user's, and never meet them."""
    for space in Keyspace:
        key = reserved_key(space, "orders/0")
        assert reserved_name(key) == "orders/0"
        first, stop = keyspace_bounds(space)
        assert first <= reserved_key(space, "") <= key < stop <= USER_FIRST
        with pytest.raises(MalformedError):
            decode_key(key)
    assert encode_key(-(1 << 60_000)) >= USER_FIRST


def test_a_keyspace_of_a_later_version_still_has_names() -> None:
    """An older reader lists what it doesn't know."""
    assert reserved_name(b"\x0fnew") == "new"


@pytest.mark.parametrize("key", [b"", b"\x00a", USER_FIRST, b"\x40a", b"\x01\xff", b"\x01" + b"a" * KEY_BYTES_MAX])
def test_what_is_no_reserved_key_is_malformed(key: bytes) -> None:
    """A user key taken for a name would be a wrong offset."""
    with pytest.raises(MalformedError):
        reserved_name(key)


def test_a_reserved_name_is_bounded_like_a_key() -> None:
    """It becomes one."""
    assert len(reserved_key(Keyspace.OFFSETS, "x" * (KEY_BYTES_MAX - 1))) == KEY_BYTES_MAX
    with pytest.raises(KeyValueError, match="too long"):
        reserved_key(Keyspace.OFFSETS, "x" * KEY_BYTES_MAX)
    with pytest.raises(KeyValueError, match="surrogate"):
        reserved_key(Keyspace.OFFSETS, "\ud800")
