"""Any value comes back the same or is refused; any bytes are a value or malformed."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from journalkit.errors import UsageError
from journalkit.format.codec import CborCodec, _decode_container, _decode_exactly
from journalkit.format.malformed import MalformedError
from journalkit.format.values import is_plain, same

CBOR = CborCodec()

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


@given(VALUES)
def test_a_value_comes_back_the_same(value: Any) -> None:
    """At every depth, in every nesting of lists, tuples, sets and keys."""
    assert same(CBOR.decode(CBOR.encode(value)), value)


@given(PLAIN)
def test_plain_values_are_what_the_library_writes(value: Any) -> None:
    """The quick paths of encode and decode have this twin."""
    data = CBOR.encode(value)
    assert data == cbor2.dumps(value)
    assert is_plain(value)
    assert same(CBOR.decode(data), cbor2.loads(data))


@given(ANYTHING)
def test_what_is_not_refused_comes_back(value: Any) -> None:
    """Whatever an application passes: stored exactly, or an error of ours that nothing else hides."""
    try:
        data = CBOR.encode(value)
    except UsageError:
        return
    assert same(CBOR.decode(data), value)


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


@given(VALUES, st.binary(min_size=1, max_size=20))
def test_nothing_may_follow_a_value(value: Any, behind: bytes) -> None:
    """Bytes behind it mean that a length was wrong somewhere."""
    with pytest.raises(MalformedError):
        CBOR.decode(CBOR.encode(value) + behind)
