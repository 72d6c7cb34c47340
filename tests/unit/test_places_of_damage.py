"""Where a decoder says that the bytes stop making sense: what a person looks at first, and a report points to.

Each place was an argument that could be left out, or moved by one, and no test noticed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from journalkit.format.batch import decode_into, encode_one
from journalkit.format.block import (
    ROW_BYTES,
    START_BYTES,
    check_block,
    check_ends,
    check_fingerprints,
    decode_block,
    encode_block,
    find_entry,
    run_of,
)
from journalkit.format.checksum import checksum
from journalkit.format.codec import CborCodec
from journalkit.format.columns import columns
from journalkit.format.envelope import HEADER
from journalkit.format.index import IndexBlock, IndexEntry, decode_index, encode_index
from journalkit.format.keys import KEY_DEPTH_MAX, decode_key
from journalkit.format.malformed import MalformedError
from journalkit.format.manifest import MAGIC, VERSION, decode_manifest

END_MARK = b"\x50journalkit.ends!"
BODY = encode_block([run_of([(b"a", b"1"), (b"b", b"22"), (b"c", None)])])
START = START_BYTES + 3 * (ROW_BYTES + 1)
CRC = b"....."[:4]


def with_row(number: int, *, key_bytes: int | None = None, end: int | None = None) -> bytes:
    """Return the body with another row for an entry."""
    body = bytearray(BODY)
    at = START_BYTES + number * ROW_BYTES
    had = struct.unpack_from("<HI", body, at)
    struct.pack_into("<HI", body, at, had[0] if key_bytes is None else key_bytes, had[1] if end is None else end)
    return bytes(body)


def place(decode: Callable[[], object], reason: str) -> int:
    """Return where the error says the bytes are malformed."""
    with pytest.raises(MalformedError, match=f"^{reason}") as caught:
        decode()
    assert str(caught.value).endswith(f"(at byte {caught.value.offset_bytes})")
    return caught.value.offset_bytes


@pytest.mark.parametrize(
    ("data", "reason", "offset_bytes"),
    [
        ("4061ff", "key is not UTF-8", 2),
        ("504061ff00", "key is not UTF-8", 3),
        ("501a01406162ff00", "key is not UTF-8", 6),
        ("1a0100", "bytes behind the end of an integer key", 2),
        ("504061", "string without an end", 2),
        ("501a013061", "string without an end", 4),
        ("504000ff", "string without an end", 2),
        ("501b01", "integer is cut short", 1),
        ("50191a00", "integer is not in its shortest form", 2),
        ("5019220001ff", "integer is not in its shortest form", 2),
        ("505019", "tuple without an end", 3),
        ("501960", "unknown key tag 0x60", 2),
        ("60", "unknown key tag 0x60", 0),
        ("", "unknown key tag 0x00", 0),
        ("50" * (KEY_DEPTH_MAX + 1), "key is nested too deep", KEY_DEPTH_MAX),
    ],
)
def test_a_malformed_key_is_so_from_here(data: str, reason: str, offset_bytes: int) -> None:
    """`decode_key` is asked about bytes of a table or a log that somebody has to find there."""
    assert place(lambda: decode_key(bytes.fromhex(data)), reason) == offset_bytes


def test_a_malformed_batch_is_so_from_the_entry_that_does_not_fit() -> None:
    """The entries before it are whole, and salvage counts them."""
    first = encode_one(b"a", b"1")
    assert place(lambda: decode_into(first + b"\0", {}), "an entry is cut short") == len(first)
    assert place(lambda: decode_into(first + encode_one(b"", b""), {}), "an entry's lengths") == len(first)
    assert place(lambda: decode_into(first + encode_one(b"b", b"2")[:-1], {}), "an entry's lengths") == len(first)


def test_an_entry_that_does_not_fit_is_told_by_where_it_begins() -> None:
    """And never by a place behind the block, whatever the row before it says."""
    assert place(lambda: decode_block(with_row(1, key_bytes=4) + CRC), "an entry's key doesn't fit") == START + 2
    far = with_row(0, end=1 << 31) + CRC
    assert place(lambda: decode_block(far), "an entry's key doesn't fit") == len(BODY)
    short = with_row(2, end=len(BODY) - 1) + CRC
    assert place(lambda: decode_block(short), "entries don't fill") == len(BODY) - 1
    long = with_row(2, end=len(BODY) + 1) + CRC
    assert place(lambda: decode_block(long), "entries don't fill") == len(BODY)


def test_a_scan_stops_at_where_the_entry_begins() -> None:
    """As decoding does: the two are told by the same place."""
    assert place(lambda: list(columns(with_row(1, key_bytes=4) + CRC, 0, 3)), "an entry's key doesn't fit") == START + 2
    behind = with_row(0, end=1 << 31) + CRC
    assert place(lambda: list(columns(behind, 1, 3)), "an entry's key doesn't fit") == len(BODY)


def test_the_other_checks_of_a_block_name_their_part_of_it() -> None:
    """Where the entries begin, the fingerprints, the fingerprint that led astray, the checksum."""
    short = with_row(2, end=len(BODY) - 1) + CRC
    assert place(lambda: check_ends(short, b"a", b"c", 3), "entries don't fill") == START
    assert place(lambda: encode_block([short[:-4], run_of([(b"d", b"")])]), "entries don't fill") == START
    assert place(lambda: check_fingerprints(BODY + CRC, [b"x", b"b", b"c"]), "fingerprints") == START - 3
    assert place(lambda: check_block(BODY + CRC, salt=1, offset_bytes=0), "the block's checksum") == len(BODY)
    far = with_row(1, end=1 << 31) + CRC
    assert place(lambda: find_entry(far, 3, b"b"), "an entry reaches beyond") == START - 2


def test_bytes_behind_a_value_with_the_end_mark_are_told_by_where_they_begin() -> None:
    """The way for such data knows where the value ended."""
    data = b"\x81" + END_MARK
    assert place(lambda: CborCodec().decode(data + b"\0\0"), "bytes go on behind the value") == len(data)


def test_keys_that_do_not_fill_an_index_are_told_by_where_they_end() -> None:
    """Ditto for what points to blocks; never a place behind the block."""
    index = IndexBlock(0)
    index.add(IndexEntry(b"a", b"b", 100, 50, 1, 0))
    body = encode_index(index)
    assert place(lambda: decode_index(body + b"x" + CRC, offset_bytes=500), "keys don't fill") == len(body)
    assert place(lambda: decode_index(body[:-1] + CRC, offset_bytes=500), "keys don't fill") == len(body) - 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [([], "doesn't say what a manifest must"), ({"store": 1}, "doesn't say what a manifest must")],
    ids=str,
)
def test_a_manifest_that_is_none_is_told_by_where_its_body_begins(body: object, reason: str) -> None:
    """The header is right: what is wrong stands behind it."""
    data = CborCodec().encode(body)
    fields = {"magic": MAGIC, "version": VERSION, "reserved": 0, "body_bytes": len(data)}
    head = HEADER.pack(**fields, body_checksum=checksum(data), header_checksum=0)[:-4]
    whole = head + checksum(head).to_bytes(4, "little") + data
    assert place(lambda: decode_manifest(whole), f"the manifest's body {reason}") == len(head) + 4
