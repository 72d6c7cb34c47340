"""What just fits, and what just doesn't: the last byte, the last entry, the same key again.

Each was a change of one comparison or one constant that no test noticed.
"""

from __future__ import annotations

import dataclasses
import struct

import pytest

from journalkit.errors import KeyValueError
from journalkit.format.batch import decode_into, encode_one
from journalkit.format.block import (
    ABSENT,
    CRC_BYTES,
    ENTRY_OVERHEAD_BYTES,
    START_BYTES,
    block_checksum,
    decode_block,
    encode_block,
    find_entry,
    run_of,
)
from journalkit.format.codec import CborCodec
from journalkit.format.columns import columns
from journalkit.format.index import IndexBlock, IndexEntry, decode_index, encode_index
from journalkit.format.keys import KEY_BYTES_MAX, Keyspace, reserved_key, reserved_name, successor
from journalkit.format.malformed import MalformedError
from journalkit.format.manifest import Manifest, SegmentEnd, SegmentEntry, check_manifest
from journalkit.format.segment import HEADER_BYTES as SEGMENT_HEADER_BYTES

END_MARK = b"\x50journalkit.ends!"

MANIFEST = Manifest(
    store=b"s" * 16,
    kind="journal",
    codec="cbor",
    created_us=0,
    generation=1,
    epoch=1,
    writer=b"w" * 16,
    segments=(SegmentEntry(1, 1, 1, 1, SegmentEnd(0, SEGMENT_HEADER_BYTES, 0, sealed=False)),),
    snapshots=(),
    pruned_lsn=0,
    durable_lsn=0,
    next_segment=2,
    next_table=1,
)


def closed(body: bytes) -> bytes:
    """Return a block with the checksum of place 0."""
    return body + block_checksum(body, salt=1, offset_bytes=0)


def test_a_record_may_have_a_key_of_the_greatest_length() -> None:
    """What a put accepts has to be what recovery accepts, to the byte."""
    entries: dict[bytes, bytes | None] = {}
    decode_into(encode_one(b"k" * KEY_BYTES_MAX, b"v"), entries)
    assert entries == {b"k" * KEY_BYTES_MAX: b"v"}
    with pytest.raises(MalformedError):
        decode_into(encode_one(b"k" * (KEY_BYTES_MAX + 1), b"v"), entries)
    with pytest.raises(MalformedError):
        decode_into(encode_one(b"", b"v"), entries)


def test_a_reserved_name_of_the_greatest_length_comes_back() -> None:
    """Or a consumer whose name was accepted could not be listed."""
    name = "n" * (KEY_BYTES_MAX - 1)
    assert reserved_name(reserved_key(Keyspace.OFFSETS, name)) == name
    with pytest.raises(KeyValueError):
        reserved_key(Keyspace.OFFSETS, name + "n")
    with pytest.raises(MalformedError):
        reserved_name(bytes((Keyspace.OFFSETS,)) + b"n" * KEY_BYTES_MAX)


def test_a_reserved_name_may_be_empty() -> None:
    """It is accepted, so it has to come back."""
    assert reserved_name(reserved_key(Keyspace.SCHEMA, "")) == ""


def test_a_body_of_one_entry_without_a_byte_can_be_joined() -> None:
    """The format has room for it, so a fold that copies bodies unparsed must not stop at it."""
    body = encode_block([run_of([(b"", b"")])])
    assert len(body) == START_BYTES + ENTRY_OVERHEAD_BYTES
    joined = encode_block([body, run_of([(b"k", b"v")])])
    assert decode_block(closed(joined)) == {b"": b"", b"k": b"v"}


@pytest.mark.parametrize("beyond_bytes", [1, CRC_BYTES, CRC_BYTES + 1, 2 * CRC_BYTES])
def test_an_entry_that_reaches_into_the_checksum_is_refused(beyond_bytes: int) -> None:
    """Four bytes that nobody wrote would be taken for the end of a value."""
    body = bytearray(encode_block([run_of([(b"k", b"v")])]))
    (end,) = struct.unpack_from("<I", body, START_BYTES + 2)
    struct.pack_into("<I", body, START_BYTES + 2, end + beyond_bytes)
    with pytest.raises(MalformedError, match="reaches beyond"):
        find_entry(closed(bytes(body)), 1, b"k")


def test_an_entry_may_end_where_the_checksum_begins() -> None:
    """The last entry of every block does."""
    block = closed(encode_block([run_of([(b"k", b"v"), (b"l", None)])]))
    assert find_entry(block, 2, b"k") == b"v"
    assert find_entry(block, 2, b"l") is None
    assert find_entry(block, 2, b"m") is ABSENT


def test_the_same_key_twice_is_no_scan() -> None:
    """Strictly ascending: of two entries with one key a scan would show the older one last."""
    block = closed(encode_block([run_of([(b"k", b"1"), (b"k", b"2")])]))
    with pytest.raises(MalformedError, match="ascend"):
        columns(block, 0, 2)
    with pytest.raises(MalformedError, match="ascend"):
        decode_block(block)


def test_a_key_twice_beside_the_end_mark_is_malformed_too() -> None:
    """Data that hold the mark are decoded another way, and that way has to be as strict."""
    twice = b"\xa2" + (b"\x61k" + END_MARK) * 2
    with pytest.raises(MalformedError):
        CborCodec().decode(twice)
    assert CborCodec().decode(b"\xa1\x61k" + END_MARK) == {"k": END_MARK[1:]}


def test_lengths_without_an_end_beside_the_end_mark_are_malformed_too() -> None:
    """Ditto: what says no length can't be bounded."""
    with pytest.raises(MalformedError):
        CborCodec().decode(b"\x9f" + END_MARK + b"\xff")


def test_a_segment_may_end_where_its_header_does() -> None:
    """A writer that died before its first record leaves one."""
    check_manifest(MANIFEST)
    (entry,) = MANIFEST.segments
    assert entry.end is not None
    inside = dataclasses.replace(entry, end=dataclasses.replace(entry.end, end_bytes=SEGMENT_HEADER_BYTES - 1))
    with pytest.raises(MalformedError, match="inside its header"):
        check_manifest(dataclasses.replace(MANIFEST, segments=(inside,)))


def test_an_index_names_numbers_of_all_their_bits() -> None:
    """Whole and forged, or of a file nobody can have yet: numbers are compared, and no other error gets out."""
    entry = IndexEntry(b"a", b"b", (1 << 64) - (1 << 33), (1 << 32) - 1, (1 << 64) - 1, (1 << 64) - 1)
    index = IndexBlock(1)
    index.add(entry)
    block = encode_index(index) + bytes(CRC_BYTES)
    assert decode_index(block, offset_bytes=(1 << 64) - 1).entry(0) == entry
    with pytest.raises(MalformedError):
        decode_index(block, offset_bytes=entry.offset_bytes + entry.length_bytes - 1)


@pytest.mark.parametrize(
    ("stem", "above"),
    [(b"aX", b"aY"), (b"a\xff", b"b"), (b"aX\xff\xff", b"aY"), (b"\xffX", b"\xffY"), (b"\xff", None), (b"", None)],
)
def test_the_successor_gives_up_no_byte_but_the_greatest(stem: bytes, above: bytes | None) -> None:
    """Or a scan of a prefix that ends in some letter would show its neighbours' keys as well."""
    assert successor(stem) == above


def test_a_clock_may_stand_before_1970_but_not_beyond_its_bits() -> None:
    """Times are labels of a signed 64-bit field, numbers are not negative."""
    for label_us in (-(1 << 63), (1 << 63) - 1):
        check_manifest(dataclasses.replace(MANIFEST, created_us=label_us))
    for beyond_us in (-(1 << 63) - 1, 1 << 63):
        with pytest.raises(MalformedError, match=r"^created_us is"):
            check_manifest(dataclasses.replace(MANIFEST, created_us=beyond_us))
