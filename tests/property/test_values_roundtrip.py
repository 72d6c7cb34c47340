"""Any value comes back the same or is refused; any bytes are a value or malformed."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone
from operator import attrgetter
from typing import Any

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import msgpack

from journalkit.errors import UsageError
from journalkit.format.codec import CborCodec, Codec, _decode_container, _decode_exactly, codec_named
from journalkit.format.malformed import MalformedError
from journalkit.format.msgpack import is_native
from journalkit.format.values import is_plain, same

CBOR = CborCodec()
MSGPACK = codec_named("msgpack")
NAME = attrgetter("name")

ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
PLAIN_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.integers(-(2**80), 2**80) | st.floats() | st.text() | st.binary()
)
# Signalling NaNs can't be hashed, so they are in no set and no key.
HASHABLE_SCALARS = (
    PLAIN_SCALARS
    | st.dates()
    | st.datetimes(timezones=ZONES)
    | st.decimals().filter(lambda number: not number.is_snan())
    | st.fractions()
    | st.uuids()
)
HASHABLES = st.recursive(
    HASHABLE_SCALARS,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
VALUES = st.recursive(
    HASHABLES | st.sets(HASHABLES, max_size=3) | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(HASHABLES, inner, max_size=4)
    ),
    max_leaves=8,
)
PLAIN = st.recursive(
    PLAIN_SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN_SCALARS, inner, max_size=4),
    max_leaves=8,
)
UTC_MOMENTS = st.lists(st.datetimes(timezones=st.just(UTC)), max_size=3)
ANYTHING = st.recursive(
    st.none()
    | st.text(st.characters())
    | st.complex_numbers()
    | st.timedeltas()
    | st.datetimes()
    | st.decimals()
    | st.builds(bytearray, st.binary()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("codec", [CBOR, MSGPACK], ids=NAME)
@given(value=VALUES)
def test_a_value_comes_back_the_same(codec: Codec, value: Any) -> None:
    """At every depth, in every nesting of lists, tuples, sets and keys."""
    assert same(codec.decode(codec.encode(value)), value)


@given(PLAIN)
def test_plain_values_are_what_the_library_writes(value: Any) -> None:
    """The quick paths of encode and decode have this twin."""
    data = CBOR.encode(value)
    assert data == cbor2.dumps(value)
    assert is_plain(value)
    assert same(CBOR.decode(data), cbor2.loads(data))


@given(PLAIN | UTC_MOMENTS)
def test_what_messagepack_can_say_is_what_the_library_writes(value: Any) -> None:
    """Without the extension, unless an integer is too large."""
    try:
        data = msgpack.encode(value)
    except OverflowError:
        assert type(msgpack.decode(MSGPACK.encode(value))) is msgpack.Ext
        return
    assert MSGPACK.encode(value) == data
    assert is_native(value)


@pytest.mark.parametrize("codec", [CBOR, MSGPACK], ids=NAME)
@given(value=ANYTHING)
def test_what_is_not_refused_comes_back(codec: Codec, value: Any) -> None:
    """Whatever an application passes: stored exactly, or an error of ours that nothing else hides."""
    try:
        data = codec.encode(value)
    except UsageError:
        return
    assert same(codec.decode(data), value)


def mutated(data: bytes, edits: list[tuple[int, int]], cut: int) -> bytes:
    """Return the bytes with some of them changed and some cut from the end."""
    changed = bytearray(data)
    for at, byte in edits:
        changed[at % len(changed)] = byte
    return bytes(changed[: len(changed) - cut % (len(changed) + 1)])


# First bytes of every kind of item, so that random input is often nested, tagged or nearly whole.
HEADS = (
    st.sampled_from([*range(0x18), *range(0x40, 0x46), *range(0x60, 0x66), *range(0x80, 0x84), *range(0xA0, 0xA3)]).map(
        lambda head: bytes((head,))
    )
    | st.sampled_from(
        (
            "18",
            "58",
            "78",
            "9f",
            "bf",
            "c0",
            "c2",
            "c3",
            "c4",
            "f4",
            "f6",
            "f7",
            "f8",
            "f97e00",
            "fb",
            "ff",
            "d819",
            "d81c",
        )
    ).map(bytes.fromhex)
    | st.sampled_from(
        ("d81d", "d81e", "d823", "d825", "d90100", "d90102", "d903ec", "da4a4b0001", "da4a4b0002", "da4a4b0003")
    ).map(bytes.fromhex)
)
ITEMS = st.lists(HEADS | st.binary(max_size=3), max_size=10).map(b"".join)
DAMAGED = st.builds(
    mutated,
    VALUES.map(CBOR.encode),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
    st.sampled_from([0, 0, 1, 2]),
)


@settings(max_examples=200)
@given(st.binary(max_size=40) | ITEMS | DAMAGED)
@example(b"\x80" + b"\x50journalkit.ends!")
@example(b"\x50journalkit.ends")
def test_any_bytes_are_a_storable_value_or_malformed(data: bytes) -> None:
    """Decoding raises nothing else, and never returns what could not be written again."""
    try:
        value = CBOR.decode(data)
    except MalformedError:
        return
    assert same(CBOR.decode(CBOR.encode(value)), value)


PACKED_HEADS = st.integers(0x80, 0xA2).map(lambda head: bytes((head,))) | st.sampled_from(
    [bytes((head,)) for head in (0xC0, 0xC2, 0xCA, 0xCB, 0xCC, 0xCF, 0xD0)]
    + [
        b"\xc4\2",
        b"\xc7\x0c",
        b"\xc7\2\x4a",
        b"\xd4\x4a",
        b"\xd6\xff",
        b"\xd7\xff",
        b"\xd9\1",
        b"\xdc\0\1",
        b"\xde\0\1",
    ]
)
PACKED = st.lists(PACKED_HEADS | st.binary(max_size=3), max_size=10).map(b"".join)
PACKED_DAMAGED = st.builds(
    mutated,
    VALUES.map(MSGPACK.encode),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
    st.sampled_from([0, 0, 1, 2]),
)


@settings(max_examples=200)
@given(st.binary(max_size=40) | PACKED | PACKED_DAMAGED)
def test_any_bytes_are_a_storable_packed_value_or_malformed(data: bytes) -> None:
    """The same of MessagePack."""
    try:
        value = MSGPACK.decode(data)
    except MalformedError:
        return
    assert same(MSGPACK.decode(MSGPACK.encode(value)), value)


@given(ITEMS | DAMAGED, st.binary(max_size=3))
def test_the_end_mark_finds_the_same_end_as_a_file(data: bytes, behind: bytes) -> None:
    """Asking a file object where it stopped is the plain way; the quick one must agree."""
    outcomes: list[Any] = []
    for decode in (_decode_container, _decode_exactly):
        try:
            outcomes.append(decode(data + behind))
        except (MalformedError, cbor2.CBORDecodeError):
            outcomes.append(MalformedError)
    assert same(outcomes[0], outcomes[1])


@pytest.mark.parametrize("codec", [CBOR, MSGPACK], ids=NAME)
@given(value=VALUES, behind=st.binary(min_size=1, max_size=20))
def test_nothing_may_follow_a_value(codec: Codec, value: Any, behind: bytes) -> None:
    """Bytes behind it mean that a length was wrong somewhere."""
    with pytest.raises(MalformedError):
        codec.decode(codec.encode(value) + behind)
