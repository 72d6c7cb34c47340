"""Batches: what a commit changes, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
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


def plainly(payload: bytes) -> list[tuple[bytes, bytes | None]] | None:
    """Decode a batch as the format's page says, one entry after the other; None if it isn't one."""
    found: list[tuple[bytes, bytes | None]] = []
    while payload:
        if len(payload) < ENTRY.size:
            return None
        key_bytes, value_bytes = ENTRY.unpack_from(payload)
        size = key_bytes + (0 if value_bytes == TOMBSTONE else value_bytes)
        entry, payload = payload[ENTRY.size : ENTRY.size + size], payload[ENTRY.size + size :]
        if len(entry) < size or not 0 < key_bytes <= KEY_BYTES_MAX:
            return None
        found.append((entry[:key_bytes], None if value_bytes == TOMBSTONE else entry[key_bytes:]))
    return found


@st.composite
def alike(draw: st.DrawFn) -> bytes:
    """Make a batch whose entries are all of one size, now and then but for a byte."""
    key_bytes, value_bytes, count = draw(st.integers(0, 5)), draw(st.integers(0, 3)), draw(st.integers(1, 40))
    size = ENTRY.size + key_bytes + value_bytes
    chance = draw(st.randoms(use_true_random=False))
    head = ENTRY.pack(key_bytes, value_bytes)
    payload = bytearray(b"".join(head + bytes(chance.choices(range(3), k=size - len(head))) for _ in range(count)))
    if draw(st.booleans()):
        payload[draw(st.integers(0, len(payload) - 1))] = draw(st.sampled_from([0, 1, 2, 255]))
    return bytes(payload[: len(payload) - draw(st.sampled_from([0, 0, 0, 1, size]))])


@given(alike())
@example(ENTRY.pack(1, 1).join([b"", *[b"kv"] * 40]))
@example(ENTRY.pack(KEY_BYTES_MAX, 0).join([b"", *[bytes(KEY_BYTES_MAX)] * 20]))
@example(ENTRY.pack(KEY_BYTES_MAX + 1, 0).join([b"", *[bytes(KEY_BYTES_MAX + 1)] * 20]))
@example((ENTRY.pack(1, 2) + b"kvv" + ENTRY.pack(2, 1) + b"kkv") * 20)
@example(ENTRY.pack(1, TOMBSTONE).join([b"", *[b"k"] * 40]))
def test_a_batch_of_entries_alike_is_decoded_as_any(payload: bytes) -> None:
    """They have a quick way of their own, which must take no more and no less."""
    expected = plainly(payload)
    entries: dict[bytes, bytes | None] = {}
    try:
        decode_into(payload, entries)
    except MalformedError:
        assert expected is None
    else:
        assert expected is not None
        assert entries == dict(expected)


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
