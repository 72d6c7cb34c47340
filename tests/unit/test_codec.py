"""Values as bytes: what is stored, what is refused and how it says so, and what never decodes."""

from __future__ import annotations

import decimal
import enum
import tracemalloc
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
from journalkit.format import cbor_tags, codec
from journalkit.format.codec import CborCodec, RawCodec, codec_named
from journalkit.format.malformed import MalformedError
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


MALFORMED: dict[str, str] = {
    "nothing": "",
    "a byte behind an integer": "0100",
    "a byte behind a constant": "f6f6",
    "a byte behind short bytes": "416161",
    "a byte behind a medium string": "7818" + "61" * 24 + "00",
    "a byte behind long bytes": "590100" + "61" * 256 + "00",
    "a byte behind a map": "a000",
    "the end mark behind an array": "80" + (b"\x50journalkit.ends!" * 2).hex(),
    "a head without its size": "58",
    "a head with half its size": "5901",
    "a string cut short": "6261",
    "bytes cut short, which the end mark would fill": "5061",
    "an array cut short": "8201",
    "an array that the end mark would fill": "81",
    "a map without its value": "a101",
    "a tag without its content": "c0",
    "no UTF-8": "61ff",
    "no UTF-8 in a medium string": "7818" + "ff" * 24,
    "a surrogate": "63eda080",
    "an integer of an unknown width": "1c",
    "a break": "ff",
    "a break in an array": "81ff",
    "a reserved simple value": "fc",
    "an indefinite array": "9f01ff",
    "an indefinite map": "bf0101ff",
    "indefinite bytes": "5f4161ff",
    "an indefinite string": "7f6161ff",
    "a key twice": "a201010102",
    "a key twice in another width": "a20101180102",
    "a key twice, as a float": "a20101f93c0002",
    "an element twice": "d90102820101",
    "undefined": "f7",
    "undefined in an array": "81f7",
    "a simple value": "e3",
    "a long simple value": "f8ff",
    "a simple value as a key": "a1e301",
    "a map as a key": "a1a001",
    "an epoch datetime": "c11a65000000",
    "a decimal fraction, quadratic to read": "c48221190113",
    "a decimal fraction with a huge exponent": "c4821b7fffffffffffffff01",
    "a bigfloat": "c5820101",
    "a string reference": "d81900",
    "a string namespace": "d9010080",
    "a shared value": "d81c80",
    "a shared value that holds itself": "d81c81d81d00",
    "a shared reference": "d81d00",
    "a regular expression": "d8236128",
    "a MIME message": "d8246161",
    "an IPv4 address": "d8344401020304",
    "an IPv6 address": "d83650" + "00" * 16,
    "an epoch date": "d8640a",
    "a deprecated IP address": "d901044401020304",
    "a network": "d90105a14401020304181c",
    "a complex number": "d9a7f8820102",
    "self-described CBOR": "d9d9f701",
    "an unknown tag": "da4a4b000401",
    "an unknown tag of eight bytes": "dbffffffffffffffff01",
    "a bignum of an array": "c28101",
    "a bignum of an integer": "c301",
    "a datetime that is no text": "c001",
    "a naive datetime": "c073323032302d30312d30325430333a30343a3035",
    "a datetime in the thirteenth month": "c074323032302d31332d30325430333a30343a30355a",
    "a datetime a day off": "c07819323032302d30312d30325430333a30343a30352b39393a3030",
    "a date that is none": "d903ec6a323032302d30322d3330",
    "a date of ten other characters": "d903ec6a323032302d5730312d31",
    "a date that is no text": "d903ec01",
    "a fraction over zero": "d81e820100",
    "a fraction over a negative": "d81e820120",
    "a fraction of three": "d81e83010203",
    "a fraction of a bool": "d81e8201f5",
    "a fraction of a float": "d81ef93c00",
    "a fraction beyond the bound": "d81e8201c2592001" + "ff" * 8193,
    "a UUID of fifteen bytes": "d8254f" + "00" * 15,
    "a UUID of sixteen numbers": "d82590" + "00" * 16,
    "a set of a string": "d901026161",
    "a set of a map": "d90102a0",
    "a set of a map in a set": "d9010281a0",
    "a tuple of a number": "da4a4b000101",
    "a tuple of a string": "da4a4b00016161",
    "a frozenset of an array": "da4a4b000280",
    "a frozenset in a key that is an array": "a1da4a4b00028001",
    "a decimal that is no number": "da4a4b0003616e",
    "a decimal with an underscore": "da4a4b000363315f30",
    "a decimal with a long exponent": "da4a4b00036931453939393939393939",
    "a decimal beyond the exponent": "da4a4b00036931452b31303030303030",
    "a decimal that is a float": "da4a4b0003fb3ff8000000000000",
    "nested beyond the library's bound": "81" * 500 + "01",
    "nested beyond ours": "81" * (VALUE_DEPTH_MAX + 1) + "01",
    "tags beyond the bound": "da4a4b0001" * 500 + "80",
    "an array of 2^64 elements": "9bffffffffffffffff",
    "a map of 2^64 entries": "bbffffffffffffffff",
    "bytes of 2^64": "5bffffffffffffffff",
    "a string of 2^63": "7b7fffffffffffffff",
    "bytes of 2^31 in an array": "815a7fffffff",
    "a set of 2^32 elements": "d901029b00000000ffffffff",
    "a bignum of 2^40 bytes": "c25b0000010000000000",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_hostile_bytes_are_malformed_and_cost_nothing(data: str) -> None:
    """No other error gets out, nothing is allocated for what is only announced, no code runs."""
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError) as caught:
            CBOR.decode(bytes.fromhex(data))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    assert len(caught.value.reason) <= 200


def test_a_decimal_is_checked_whatever_the_context() -> None:
    """Without traps, Python reads any text as a quiet NaN."""
    with decimal.localcontext(decimal.Context(traps=[], capitals=0)):
        assert same(CBOR.decode(CBOR.encode(Decimal("1E+50"))), Decimal("1E+50"))
        with pytest.raises(MalformedError):
            CBOR.decode(bytes.fromhex("da4a4b0003616e"))


def test_the_end_of_a_value_that_holds_the_end_mark_is_still_found() -> None:
    """The quick way to find the end steps back where it could be deceived."""
    data = CBOR.encode([b"journalkit.ends!"])
    assert CBOR.decode(data) == [b"journalkit.ends!"]
    with pytest.raises(MalformedError) as caught:
        CBOR.decode(data + b"\x50journalkit.ends!")
    assert caught.value.offset_bytes == len(data)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RecursionError])
def test_an_interrupt_while_decoding_is_no_verdict_on_the_bytes(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library wraps whatever its callbacks raise; a Ctrl-C taken for corruption would send someone to salvage."""

    def interrupted(item: object, immutable: bool) -> None:
        raise error

    monkeypatch.setitem(cbor_tags.DECODERS, cbor_tags.TAG_UUID, interrupted)
    with pytest.raises(error):
        CBOR.decode(cbor2.dumps(UUID(int=0)))


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
    with pytest.raises(UnsupportedFormatError, match="upgrade journalkit, this one has cbor, raw"):
        codec_named("pickle")
