"""Batches: what a commit changes, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.format.batch import ENTRY, TOMBSTONE, decode_into, encode_batch, encode_one
from journalkit.format.keys import KEY_BYTES_MAX
from journalkit.format.malformed import MalformedError

KEYS = st.binary(min_size=1, max_size=8)
MUTATIONS = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=20)), max_size=8)


@given(MUTATIONS)
def test_a_batch_does_what_its_mutations_do_in_order(mutations: list[tuple[bytes, bytes | None]]) -> None:
    """Replay has to end where the memtable was: the last mutation of a key wins."""
    entries: dict[bytes, bytes | None] = {b"before": b"kept"}
    decode_into(encode_batch(mutations), entries)
    assert entries == {b"before": b"kept"} | dict(mutations)


@given(KEYS, st.none() | st.binary(max_size=20))
def test_one_is_a_batch_of_one(key: bytes, value: bytes | None) -> None:
    """The short way of a put writes what the long way writes."""
    assert encode_one(key, value) == encode_batch([(key, value)])


@given(MUTATIONS, st.data())
def test_a_cut_batch_is_refused_or_a_shorter_one(
    mutations: list[tuple[bytes, bytes | None]], data: st.DataObject
) -> None:
    """No cut may make up a mutation that nobody wrote."""
    whole = encode_batch(mutations)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    entries: dict[bytes, bytes | None] = {}
    try:
        decode_into(cut, entries)
    except MalformedError:
        pass
    else:
        assert cut in {encode_batch(mutations[:count]) for count in range(len(mutations) + 1)}


@pytest.mark.parametrize(
    "payload",
    [
        ENTRY.pack(0, 1) + b"v",
        ENTRY.pack(KEY_BYTES_MAX + 1, 0) + bytes(KEY_BYTES_MAX + 1),
        ENTRY.pack(1, TOMBSTONE),
        ENTRY.pack(1, TOMBSTONE - 1) + b"k",
        ENTRY.pack(1, 2) + b"kv",
        b"short",
    ],
)
def test_lengths_that_do_not_fit_are_refused(payload: bytes) -> None:
    """A record may pass its checksum and still come from a hostile hand."""
    with pytest.raises(MalformedError):
        decode_into(payload, {})
