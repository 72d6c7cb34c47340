"""The order of encoded keys is the order of keys, and nothing else decodes."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from journalkit.format.keys import USER_FIRST, decode_key, encode_key, prefix_bounds, successor
from journalkit.format.malformed import MalformedError

# Small alphabets, so that keys often share a prefix and hold what is escaped.
TEXTS = st.text(st.sampled_from("\x00\x01a\x7fé\uffff\U0010ffff"), max_size=4)
BYTES = st.binary(max_size=2) | st.text(st.sampled_from("\x00\x01\x10\xfe\xff"), max_size=4).map(
    lambda text: text.encode("latin-1")
)
EDGES = st.builds(
    lambda sign, bits, off: sign * ((1 << bits) + off),
    st.sampled_from([1, -1]),
    st.sampled_from([0, 8, 16, 56, 64, 72, 2048]),
    st.integers(-2, 2),
)
INTS = st.integers(-300, 300) | EDGES | st.integers()
SCALARS = INTS | BYTES | TEXTS
KEYS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)


def rank(key: Any) -> Any:
    """The order of keys, said in Python: by type, then by value, tuples element by element."""
    if isinstance(key, tuple):
        return 3, tuple(rank(item) for item in key)
    return (int, bytes, str).index(type(key)), key


@given(KEYS, KEYS)
@example(("a",), ("a\0",))
@example((("a",), 1), (("a\0",), 0))
@example((b"",), (b"\x00",))
@example(((),), ((0,),))
def test_bytes_order_is_key_order(left: Any, right: Any) -> None:
    """Scans, views, merges and bounds all compare bytes and mean keys."""
    assert (encode_key(left) < encode_key(right)) == (rank(left) < rank(right))
    assert (encode_key(left) == encode_key(right)) == (rank(left) == rank(right))


@given(st.lists(KEYS, max_size=12))
def test_sorting_encoded_keys_sorts_keys(keys: list[Any]) -> None:
    """The same over many keys at once, of all types."""
    decoded = [decode_key(data) for data in sorted(map(encode_key, keys))]
    assert [rank(key) for key in decoded] == sorted(map(rank, keys))


@given(KEYS)
def test_a_key_comes_back(key: Any) -> None:
    """Exactly, in value and type, and above every reserved key."""
    encoded = encode_key(key)
    assert rank(decode_key(encoded)) == rank(key)
    assert encoded >= USER_FIRST


@given(KEYS.filter(lambda key: type(key) is not int), KEYS)
def test_prefix_bounds_hold_what_begins_so(prefix: Any, key: Any) -> None:
    """And nothing else, in particular no key of another type."""
    first, stop = prefix_bounds(prefix)
    assert stop is not None
    begins = type(key) is type(prefix) and (
        rank(key[: len(prefix)]) == rank(prefix) if isinstance(key, tuple) else key.startswith(prefix)
    )
    assert (first <= encode_key(key) < stop) == begins
    if isinstance(prefix, tuple):
        assert first <= encode_key((*prefix, key)) < stop


@given(st.binary(max_size=3), st.binary(max_size=4), st.binary(max_size=3))
def test_the_successor_splits_all_bytes(stem: bytes, tail: bytes, other: bytes) -> None:
    """All that begin with the stem are below, all else that is above the stem is not."""
    stop = successor(stem)
    assert stop is None or stem + tail < stop
    if other >= stem and not other.startswith(stem):
        assert stop is not None
        assert other >= stop


@given(
    st.binary(max_size=12)
    | st.builds(
        lambda key, at, byte: encode_key(key)[:at] + byte + encode_key(key)[at + 1 :],
        KEYS,
        st.integers(0, 9),
        st.binary(max_size=2),
    )
)
def test_any_bytes_decode_to_their_only_key_or_are_malformed(data: bytes) -> None:
    """A decoder that takes two encodings for one key would hide an entry behind another."""
    try:
        key = decode_key(data)
    except MalformedError:
        return
    assert encode_key(key) == data
