"""What a decoder or an encoder says is wrong: the words that a report shows, and the types and limits in them.

Each could be `None`, or name another type, and no test noticed: an operator
would have read that a store is damaged because of nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest

from journalkit.errors import KeyTypeError, KeyValueError
from journalkit.format.block import block_checksum, block_shape, check_block, check_fingerprints, encode_block, run_of
from journalkit.format.checksum import checksum
from journalkit.format.codec import CborCodec, RawCodec
from journalkit.format.envelope import HEADER_BYTES
from journalkit.format.keys import decode_key, encode_key
from journalkit.format.layout import Field, Layout
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import (
    Manifest,
    SegmentEntry,
    SnapshotEntry,
    check_manifest,
    decode_manifest,
    encode_manifest,
)
from journalkit.format.segment import SegmentHeader
from journalkit.format.segment import decode_header as decode_segment_header
from journalkit.format.table import TableFooter, TableHeader, TableInfo, decode_footer
from journalkit.format.table import decode_header as decode_table_header

STORE = b"s" * 16
SEGMENT = SegmentHeader(1, STORE, b"w" * 16, 1, 1, 1, 0, 0, 0, 0, 0).encode()
TABLE = TableHeader(salt=1, store=STORE, number=1, lsn=1).encode()
FOOTER = TableFooter(STORE, 1, 1, 1, 0, 1, 20, 100, 50, 7).encode(salt=1)
MANIFEST = encode_manifest(
    Manifest(
        STORE, "store", "cbor", 0, 1, 1, b"w" * 16, (), (), pruned_lsn=0, durable_lsn=0, next_segment=1, next_table=1
    )
)
BODY = encode_block([run_of([(b"k", b"v")])])

NOT_BACK = "would not come back as it is: convert it to a plain built-in type first"


def flipped(data: bytes, at: int) -> bytes:
    """Return the bytes with one bit flipped."""
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def footer(data: bytes) -> object:
    """Decode a footer in its place."""
    return decode_footer(data, salt=1, offset_bytes=150)


@pytest.mark.parametrize(
    ("decode", "data", "reason", "offset_bytes"),
    [
        (decode_segment_header, flipped(SEGMENT, 0), "not a log segment", 0),
        (decode_segment_header, flipped(SEGMENT, 20), "the segment's header is damaged", 0),
        (decode_table_header, flipped(TABLE, 0), "not a table", 0),
        (decode_table_header, flipped(TABLE, 20), "the table's header is damaged", 0),
        (footer, flipped(FOOTER, 0), "no footer: the table is cut short, or its end was overwritten", 0),
        (footer, flipped(FOOTER, 20), "the table's footer is damaged", 0),
        (decode_manifest, flipped(MANIFEST, 0), "not a manifest", 0),
        (decode_manifest, flipped(MANIFEST, 12), "the manifest's header is damaged", 0),
        (decode_manifest, flipped(MANIFEST, HEADER_BYTES), "the manifest's body is damaged", HEADER_BYTES),
        (decode_manifest, MANIFEST + b"\0", "the manifest's body is damaged", HEADER_BYTES),
        (decode_manifest, MANIFEST[:5], f"5 bytes where {HEADER_BYTES} belong", 5),
        (block_shape, b"", "a data block too short for an entry", 0),
        (block_shape, b"\xff" * 20, "a data block whose entries can't begin at byte 4294967295", 0),
    ],
)
def test_damage_is_told_in_these_words(
    decode: Callable[[bytes], object], data: bytes, reason: str, offset_bytes: int
) -> None:
    """`verify` and `salvage` show them as they are."""
    with pytest.raises(MalformedError) as caught:
        decode(data)
    assert (caught.value.reason, caught.value.offset_bytes) == (reason, offset_bytes)


def test_a_block_tells_which_of_its_checks_failed() -> None:
    """A checksum and a fingerprint are found by different readers."""
    with pytest.raises(MalformedError, match=r"^the block's checksum doesn't match \(at byte 13\)$"):
        check_block(BODY + b"....", salt=1, offset_bytes=0)
    with pytest.raises(MalformedError, match=r"^a block shorter than its checksum"):
        check_block(b"...", salt=1, offset_bytes=0)
    with pytest.raises(MalformedError, match=r"^fingerprints in a block aren't those of its keys \(at byte 10\)$"):
        check_fingerprints(BODY + block_checksum(BODY, salt=1, offset_bytes=0), [b"x"])


def test_a_later_version_is_named() -> None:
    """Who reads it has to know what to upgrade to."""
    later = Layout(Field("magic", "8s", ""), Field("version", "H", "")).pack(magic=TABLE[:8], version=4)
    data = (later + TABLE[10:])[:-4]
    with pytest.raises(NewerFormatError, match=r"^a table of format 4, this version reads 1 to 3$"):
        decode_table_header(data + checksum(data).to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("d81e820100", "a fraction is out of bounds"),
        ("d81e8101", "a fraction is not two integers"),
        ("d9010201", "a set is not an array"),
        ("d90102820101", "a set has an element twice"),
        ("d8254101", "a UUID is not 16 bytes"),
        ("da4a4b000401", "tag 1246429188 is not one that is written here"),
        ("8001", "bytes go on behind the value"),
        ("f7", f"value is a cbor2.UndefinedType, which {NOT_BACK}"),
    ],
)
def test_a_malformed_value_is_told_in_our_words(data: str, reason: str) -> None:
    """The library wraps what a tag's decoder raised; what it wraps is what counts."""
    with pytest.raises(MalformedError) as caught:
        CborCodec().decode(bytes.fromhex(data))
    assert caught.value.reason == reason


@pytest.mark.parametrize("data", ["", "81", "61ff", "1c", "ff", "9f01ff"])
def test_what_the_library_refuses_has_a_reason_too(data: str) -> None:
    """Its words are its own, and there are some; never more than a line."""
    with pytest.raises(MalformedError) as caught:
        CborCodec().decode(bytes.fromhex(data))
    assert " " in caught.value.reason
    assert len(caught.value.reason) <= 200


class Strange(tzinfo):
    """A zone whose offset changes."""

    def utcoffset(self, _moment: datetime | None) -> timedelta:
        return timedelta(hours=1)

    def dst(self, _moment: datetime | None) -> None:
        return None

    def tzname(self, _moment: datetime | None) -> str:
        return "strange"


@pytest.mark.parametrize(
    ("refuse", "error", "words"),
    [
        (lambda: encode_key(1.5), KeyTypeError, "a key can't be or hold a float:"),
        (lambda: encode_key((None,)), KeyTypeError, "a key can't be or hold a NoneType:"),
        (lambda: encode_key("k" * 8192), KeyValueError, "8192 encoded bytes are the most, not 8193"),
        (lambda: encode_key("ab\ud800"), KeyValueError, "lone surrogate at position 2"),
        (lambda: RawCodec().encode("text"), KeyTypeError, "the raw codec stores bytes, not str:"),
        (lambda: CborCodec().encode([object()]), KeyTypeError, r"value\[0\] is a builtins.object,"),
        (
            lambda: CborCodec().encode(datetime(2026, 1, 1, tzinfo=Strange())),
            KeyTypeError,
            rf"is in a {Strange.__module__}\.Strange time zone",
        ),
    ],
)
def test_what_cannot_be_stored_is_named(refuse: Callable[[], object], error: type[Exception], words: str) -> None:
    """The developer who reads it may not have the value at hand."""
    with pytest.raises(error, match=words):
        refuse()


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        ("k" * 40, '["' + "k" * 40 + '"]'),
        ("k" * 41, "[<str>]"),
        ((1 << 40) - 1, f"[{(1 << 40) - 1}]"),
        (1 << 40, "[<int>]"),
    ],
)
def test_a_step_of_the_place_is_shown_up_to_forty_characters(step: Any, shown: str) -> None:
    """A message is one line, and a key may have a megabyte."""
    with pytest.raises(KeyTypeError) as caught:
        CborCodec().encode({step: object()})
    assert str(caught.value).startswith(f"value{shown} is a ")


@pytest.mark.parametrize("data", ["", "60", "1a0100"])
def test_a_malformed_key_has_a_reason(data: str) -> None:
    """Even one of no bytes."""
    with pytest.raises(MalformedError) as caught:
        decode_key(bytes.fromhex(data))
    assert " " in caught.value.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epoch": -1}, "epoch is -1"),
        ({"kind": 5}, "kind is 5"),
        ({"metadata": ()}, "the metadata is no mapping"),
        ({"store": b"s"}, "an identity has the wrong length"),
        ({"writer": b"w" * 17}, "an identity has the wrong length"),
        ({"segments": (SegmentEntry(2, 1, 1, 1), SegmentEntry(1, 1, 1, 1))}, "segments [2, 1] are out of order"),
        ({"snapshots": (SnapshotEntry(1, 0, ()),)}, "snapshots are out of order or empty"),
        ({"segments": (SegmentEntry(1, 1, 1, 1),), "next_segment": 1}, "the next segment's number is taken"),
        ({"pruned_lsn": 3, "durable_lsn": 3}, "the log begins behind LSN 3 and no snapshot is named"),
        (
            {"pruned_lsn": 3, "durable_lsn": 3, "snapshots": (SnapshotEntry(2, 0, (TableInfo(1, 1, 1, 1, 1),)),)},
            "the log was pruned beyond the oldest snapshot",
        ),
    ],
)
def test_a_manifest_that_contradicts_itself_says_how(changes: dict[str, Any], reason: str) -> None:
    """It is the one file whose bytes can be whole and still wrong: a copy of another day, or our bug."""
    with pytest.raises(MalformedError) as caught:
        check_manifest(dataclasses.replace(decode_manifest(MANIFEST), **changes))
    assert caught.value.reason == reason


def test_a_layout_says_which_field_is_wrong() -> None:
    """Whoever changed a format reads this."""
    layout = Layout(Field("kind", "B", ""), Field("number", "Q", ""))
    with pytest.raises(TypeError, match=r"^field 'number' is not given$"):
        layout.pack(kind=1, colour=2)
    with pytest.raises(TypeError, match=r"^fields are \('kind', 'number'\), given were \('kind',\)$"):
        layout.pack(kind=1)
    with pytest.raises(ValueError, match=r"^a field is named twice in \('kind', 'kind'\)$"):
        Layout(Field("kind", "B", ""), Field("kind", "Q", ""))
    with pytest.raises(ValueError, match=r"^a field holds one value, 'kind' is 'BB'$"):
        Field("kind", "BB", "")
