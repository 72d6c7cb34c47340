"""Values as bytes: what is stored, what is refused and how it says so, and what never decodes."""

from __future__ import annotations

import enum
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

import cbor2
import pytest

from journalkit.errors import KeyTypeError, KeyValueError, UnsupportedFormatError
from journalkit.format import codec
from journalkit.format.codec import CborCodec, RawCodec, codec_named
from journalkit.format.values import FRACTION_BITS_MAX, VALUE_DEPTH_MAX, same

CBOR = CborCodec()
NOON = datetime(2026, 11, 1, 12, 0, 0, 250_000, tzinfo=UTC)


class Colour(enum.IntEnum):
    RED = 1


class Name(str):
    __slots__ = ()


class Zone(tzinfo):
    def utcoffset(self, dt: datetime | None) -> timedelta:
        return timedelta(0)


Point = namedtuple("Point", "x y")


def nested(depth: int, wrap: Any = lambda inner: [inner]) -> Any:
    """Return as many containers inside each other."""
    value = wrap(0)
    for _ in range(depth - 1):
        value = wrap(value)
    return value


STORABLE: list[Any] = [
    None,
    True,
    False,
    *(sign * (2**bits) + off for sign in (1, -1) for bits in (0, 5, 8, 16, 32, 64, 70) for off in (-1, 0, 1)),
    10**5000,
    1.5,
    -0.0,
    float("inf"),
    float("nan"),
    *(char * size for char in ("x", "é", b"x") for size in (0, 1, 23, 24, 255, 256, 65_535, 65_536)),
    [],
    {},
    (),
    set(),
    frozenset(),
    {"name": "Ada", "logins": 3, "tags": ["a", "b"]},
    {1: {2: {3.0: [None, True, b""]}}},
    (1, [2, (3, {"a": (4,)})]),
    {(1, ("a", frozenset({2}))): [(1,), [1]]},
    {1, 2.0, "a", b"a", (1, (2,)), frozenset({frozenset()})},
    frozenset({(1, frozenset({(2,)}))}),
    [{1}, frozenset({1}), {frozenset({1}): {1}}],
    date(1, 1, 1),
    date(9999, 12, 31),
    datetime(1, 1, 1, tzinfo=UTC),
    NOON,
    NOON.astimezone(timezone(timedelta(hours=-3, minutes=-30))),
    NOON.astimezone(timezone(timedelta(hours=23, minutes=59))),
    NOON.replace(tzinfo=timezone(timedelta(hours=1), "CET"), fold=1),
    {NOON: NOON.date()},
    *map(Decimal, ("0", "-0", "-0.00", "1.50", "1E+2", "1E-999999", "9.9E+999999")),
    *map(Decimal, ("NaN", "-NaN123", "sNaN", "Infinity", "-Infinity")),
    Decimal("1." + "23" * 5000),
    {Decimal("1.0"): Fraction(1, 3)},
    Fraction(-7),
    Fraction(2**FRACTION_BITS_MAX - 1, 2**FRACTION_BITS_MAX - 2),
    UUID(int=2**128 - 1),
    {UUID(int=0), Fraction(1, 3), NOON},
    {float("nan"): {float("nan"), (float("nan"),)}},
    b"journalkit.ends!",
    ["journalkit.ends!", b"journalkit.ends!", {b"Pjournalkit.ends!": ()}],
    nested(VALUE_DEPTH_MAX),
    nested(VALUE_DEPTH_MAX, lambda inner: {"a": inner}),
    nested(VALUE_DEPTH_MAX, lambda inner: (inner,)),
    nested(VALUE_DEPTH_MAX - 1, lambda inner: frozenset({inner})) | {frozenset({Fraction(1, 3)})},
]


@pytest.mark.parametrize("value", STORABLE, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_equal_and_of_the_same_types(value: Any) -> None:
    """The promise of a mapping: what is read is what was written."""
    back = CBOR.decode(CBOR.encode(value))
    assert type(back) is type(value)
    assert same(back, value)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ((1, ("a",)), "da4a4b00018201da4a4b0001816161"),
        ({"a": frozenset({1})}, "a16161da4a4b0002d901028101"),
        (Decimal("-0.50"), "da4a4b0003652d302e3530"),
        (Fraction(1, 3), "d81e820103"),
        (NOON, "c0781b323032362d31312d30315431323a30303a30302e3235303030305a"),
        (NOON.date(), "d903ec6a323032362d31312d3031"),
        (UUID(int=1), "d82550" + "00" * 15 + "01"),
        ({7}, "d901028107"),
        (2**64, "c249010000000000000000"),
    ],
)
def test_the_tags_on_disk_are_fixed(value: Any, encoded: str) -> None:
    """Stores depend on them, and on the library to keep writing them."""
    assert CBOR.encode(value).hex() == encoded
    assert same(CBOR.decode(bytes.fromhex(encoded)), value)


@pytest.mark.parametrize("value", STORABLE, ids=lambda value: type(value).__name__)
def test_the_quick_ways_equal_the_library(value: Any) -> None:
    """Scalars and plain containers are CBOR as anybody writes it, read by the same rules as the rest."""
    data = CBOR.encode(value)
    if isinstance(value, (type(None), int, float, str, bytes)) or value == {"name": "Ada", "logins": 3}:
        assert data == cbor2.dumps(value)
        assert same(cbor2.loads(data), CBOR.decode(data))
    assert same(codec._decode_container(data), CBOR.decode(data))
    assert same(codec._decode_exactly(data), CBOR.decode(data))


def test_heads_of_long_byte_strings_hold_any_size() -> None:
    """A head of eight bytes can't be tested with a value of four gigabytes."""
    assert codec._long_bytes_head((1 << 32) - 1) == b"\x5a\xff\xff\xff\xff"
    assert codec._long_bytes_head(1 << 32) == b"\x5b\x00\x00\x00\x01\x00\x00\x00\x00"


REFUSED_TYPES: list[Any] = [
    Colour.RED,
    Name("a"),
    Point(1, 2),
    OrderedDict(a=1),
    bytearray(b"a"),
    memoryview(b"a"),
    1j,
    time(12),
    timedelta(1),
    PurePath("a"),
    object(),
    int,
    cbor2.CBORTag(1, 0),
    cbor2.undefined,
    cbor2.CBORSimpleValue(3),
    NOON.replace(tzinfo=Zone()),
]


@pytest.mark.parametrize("value", REFUSED_TYPES, ids=lambda value: type(value).__name__)
def test_a_type_that_would_come_back_as_another_is_refused(value: Any) -> None:
    """The message names the type and the place, and says what to do."""
    with pytest.raises(KeyTypeError, match=r"^value is .*convert it"):
        CBOR.encode(value)
    with pytest.raises(KeyTypeError, match=r'^value\["a"\]\[3\] is .*convert it'):
        CBOR.encode({"x": (1,), "a": [0, 1, 2, value]})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a\ud800", "lone surrogate at position 1"),
        (NOON.replace(tzinfo=None), "naive"),
        (NOON.replace(tzinfo=timezone(timedelta(seconds=90))), "offset with seconds"),
        (Decimal("1E+1000000"), "exponent"),
        (Decimal("0E-1000000"), "exponent"),
        (Fraction(1, 2**FRACTION_BITS_MAX), "bits"),
        (Fraction(2**FRACTION_BITS_MAX), "bits"),
    ],
    ids=lambda item: item if type(item) is str and item.isascii() else type(item).__name__,
)
def test_a_value_out_of_range_is_refused(value: Any, reason: str) -> None:
    """Of a right type, but it would come back changed, or cost whoever reads it too much."""
    with pytest.raises(KeyValueError, match=f"^value .*{reason}"):
        CBOR.encode(value)
    with pytest.raises(KeyValueError, match=rf'^value\["a"\] .*{reason}'):
        CBOR.encode({"a": value})


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({(1, Name("a")): 1}, "value (a key)[1] "),
        ({(1, "\ud800"): 1}, "value (a key)[1] "),
        ({1: {2: [Name()]}}, "value[1][2][0] "),
        ([{Name()}], "value[0] (an element) "),
        ({"k" * 99: Name()}, "value[<str>] "),
        ({10**9999: Name()}, "value[<int>] "),
        ({1.5: Name()}, "value[<float>] "),
        ({"\ud800": Name()}, "value (a key) "),
        (({"\n": Name()},), 'value[0]["\\n"] '),
    ],
)
def test_the_place_of_what_is_refused_is_told_in_one_line(value: Any, place: str) -> None:
    """A value of a thousand parts with one bad one is found without a debugger."""
    with pytest.raises((KeyTypeError, KeyValueError)) as caught:
        CBOR.encode(value)
    assert str(caught.value).startswith(place)
    assert str(caught.value).isprintable()


def test_nesting_is_bounded_before_the_library_sees_it() -> None:
    """Its encoder kills the process on a deep value, and a value that contains itself is the deepest."""
    endless: list[Any] = []
    endless.append(endless)
    mutual: dict[str, Any] = {}
    mutual["a"] = ({"b": mutual},)
    for value in (
        endless,
        mutual,
        nested(VALUE_DEPTH_MAX + 1),
        nested(VALUE_DEPTH_MAX + 1, lambda inner: {"a": inner}),
        nested(VALUE_DEPTH_MAX + 1, lambda inner: (inner,)),
        nested(100_000),
    ):
        with pytest.raises(KeyValueError, match="nested too deep, or contains itself"):
            CBOR.encode(value)


def test_a_library_that_changes_its_mind_changes_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types beyond the plain ones are read back before they are stored: cbor2 has changed some before."""
    monkeypatch.setattr(codec, "dumps", lambda value, encoders: cbor2.dumps(list(value)))
    with pytest.raises(KeyValueError, match="would not come back"):
        CBOR.encode((1, 2))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ("a", b"a"),
        ([1], (1,)),
        ([1], [True]),
        ([1], [1, 1]),
        ({1}, frozenset({1})),
        ({1}, {True}),
        ({(1,)}, {(1.0,)}),
        ({"a": 1}, {"a": 1.0}),
        ({1: "a"}, {True: "a"}),
        ({1: 1, 2: 2}, {2: 2, 1: 1}),
        (Decimal("1.0"), Decimal("1.00")),
        (Decimal(0), Decimal("-0")),
        (NOON, NOON.astimezone(timezone(timedelta(hours=1)))),
        (float("nan"), Decimal("nan")),
    ],
)
def test_same_is_stricter_than_equal(left: Any, right: Any) -> None:
    """Python's == lets types, signs, digits and time zones differ."""
    assert same(left, left)
    assert same(right, right)
    assert not same(left, right)


def test_a_value_read_is_the_readers_own() -> None:
    """Changing it changes nothing that another read returns."""
    data = CBOR.encode({"a": [1]})
    CBOR.decode(data)["a"].append(2)
    assert CBOR.decode(data) == {"a": [1]}


def test_raw_stores_bytes_and_nothing_else() -> None:
    """It is for applications with their own encoding."""
    raw = RawCodec()
    assert raw.decode(raw.encode(b"\x00\xff")) == b"\x00\xff"
    for value in ("a", bytearray(b"a"), None, memoryview(b"a")):
        with pytest.raises(KeyTypeError, match="encode the value first"):
            raw.encode(value)


def test_codecs_are_found_by_the_name_in_the_file() -> None:
    """An unknown one is a newer store, left as it is."""
    assert isinstance(codec_named("cbor"), CborCodec)
    assert isinstance(codec_named("raw"), RawCodec)
    with pytest.raises(UnsupportedFormatError, match="upgrade journalkit, this one has cbor, msgpack, raw"):
        codec_named("pickle")
