"""The manifest's bytes: whole and making sense, or refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from journalkit.format.checksum import checksum
from journalkit.format.codec import CborCodec
from journalkit.format.envelope import HEADER, HEADER_BYTES
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import (
    Manifest,
    SegmentEnd,
    SegmentEntry,
    SnapshotEntry,
    decode_manifest,
    encode_manifest,
)
from journalkit.format.table import TableInfo

TABLE = TableInfo(number=4, size_bytes=900, entry_count=3, footer_crc=1, salt=2)
MANIFEST = Manifest(
    store=b"s" * 16,
    kind="store",
    codec="cbor",
    created_us=-1,
    generation=12,
    epoch=3,
    writer=b"w" * 16,
    segments=(
        SegmentEntry(1, 11, 1, 1, SegmentEnd(9, 500, 77, sealed=True)),
        SegmentEntry(2, 22, 3, 10),
        SegmentEntry(3, 33, 3, 0),
    ),
    snapshots=(SnapshotEntry(8, 5, (TABLE,)), SnapshotEntry(2, 4, (dataclasses.replace(TABLE, number=3),))),
    pruned_lsn=2,
    durable_lsn=9,
    next_segment=4,
    next_table=5,
    metadata={"team": "storage", "limits": (1, 2)},
)


def with_header(data: bytes, **changes: Any) -> bytes:
    """Return the file with other fields in a sound header."""
    fields = HEADER.unpack(data[:HEADER_BYTES]) | {"header_checksum": 0} | changes
    head = HEADER.pack(**fields)[:-4]
    return head + checksum(head).to_bytes(4, "little") + data[HEADER_BYTES:]


def with_body(plain: Any) -> bytes:
    """Return a file of sound bytes with this body."""
    body = CborCodec().encode(plain)
    return with_header(
        encode_manifest(MANIFEST)[:HEADER_BYTES] + body, body_bytes=len(body), body_checksum=checksum(body)
    )


def plain_body() -> dict[str, Any]:
    """Return the body as plain values, to be changed."""
    plain: dict[str, Any] = CborCodec().decode(encode_manifest(MANIFEST)[HEADER_BYTES:])
    return plain


def test_a_manifest_comes_back() -> None:
    """It decides what is live; nothing of it may change on the way, its types included."""
    assert decode_manifest(encode_manifest(MANIFEST)) == MANIFEST
    empty = dataclasses.replace(MANIFEST, segments=(), snapshots=(), pruned_lsn=0, metadata={})
    assert decode_manifest(encode_manifest(empty)) == empty


def test_the_next_generation_is_one_further() -> None:
    """Two manifests of one number couldn't be told apart."""
    following = MANIFEST.next_generation(durable_lsn=10)
    assert (following.generation, following.durable_lsn, following.epoch) == (13, 10, 3)


def test_every_flipped_bit_is_found() -> None:
    """A manifest that is nearly right names the wrong files."""
    data = encode_manifest(MANIFEST)
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedError):
            decode_manifest(bytes(damaged))


def test_every_cut_and_every_extra_byte_is_found() -> None:
    """The rename is atomic, but copies of a directory aren't."""
    data = encode_manifest(MANIFEST)
    for length in range(len(data)):
        with pytest.raises(MalformedError):
            decode_manifest(data[:length])
    with pytest.raises(MalformedError):
        decode_manifest(data + b"\0")


@pytest.mark.parametrize("field", ["version", "reserved"])
def test_a_later_version_is_told_from_damage(field: str) -> None:
    """The one asks for an upgrade, the other for a backup."""
    with pytest.raises(NewerFormatError, match="this version reads 1"):
        decode_manifest(with_header(encode_manifest(MANIFEST), **{field: 2}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"store": b"short"}, "identity"),
        ({"writer": b""}, "identity"),
        ({"next_segment": 3}, "next segment"),
        ({"pruned_lsn": 3}, "pruned beyond"),
        ({"snapshots": []}, "no snapshot is named"),
        ({"durable_lsn": 1}, "pruned beyond what was durable"),
        ({"epoch": "3"}, "epoch is '3'"),
        ({"epoch": True}, "epoch is True"),
        ({"epoch": -1}, "epoch is -1"),
        ({"generation": 1 << 62}, "generation is"),
        ({"durable_lsn": 1 << 62}, "durable_lsn is"),
        ({"epoch": 1 << 32}, "epoch is 4294967296"),
        ({"next_segment": 10**16}, "next_segment is"),
        ({"next_table": 10**16}, "next_table is"),
        ({"kind": b"store"}, "kind is"),
        ({"metadata": [1]}, "metadata is no mapping"),
        ({"segments": [{"number": 1}]}, "doesn't say"),
        ({"segments": "x"}, "segments is 'x'"),
        ({"segments": None}, "segments is None"),
        ({"segments": {}}, "segments is {}"),
        ({"snapshots": b"", "pruned_lsn": 0}, "snapshots is b''"),
        ({"surplus": 1}, "doesn't say"),
    ],
)
def test_whole_bytes_that_make_no_sense_are_refused(change: dict[str, Any], reason: str) -> None:
    """A checksum is no signature; a wrong manifest must not become an empty store or a traceback."""
    with pytest.raises(MalformedError, match=reason):
        decode_manifest(with_body(plain_body() | change))


@pytest.mark.parametrize(
    ("part", "place", "change", "reason"),
    [
        ("segments", 1, {"number": 1}, "out of order"),
        ("segments", 1, {"first_lsn": None}, "first_lsn is None"),
        ("snapshots", 0, {"lsn": 1}, "snapshots are out of order"),
        ("snapshots", 0, {"tables": []}, "or empty"),
        ("snapshots", 0, {"created_us": 1.5}, "created_us is 1.5"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(
    part: str, place: int, change: dict[str, Any], reason: str
) -> None:
    """Order is meaning: the log is walked, and snapshots are tried, as they are listed."""
    plain = plain_body()
    plain[part][place] |= change
    with pytest.raises(MalformedError, match=reason):
        decode_manifest(with_body(plain))


def test_ends_and_tables_are_checked_too() -> None:
    """What is deep inside sizes reads as much as what is on top."""
    plain = plain_body()
    plain["segments"][0]["end"]["end_bytes"] = 3
    with pytest.raises(MalformedError, match="ends inside its header"):
        decode_manifest(with_body(plain))
    plain = plain_body()
    plain["segments"][0] |= {"first_lsn": 11}
    with pytest.raises(MalformedError, match="segment 1 ends before its first record"):
        decode_manifest(with_body(plain))
    plain = plain_body()
    plain["segments"][0]["end"]["sealed"] = 1
    with pytest.raises(MalformedError, match="sealed is 1"):
        decode_manifest(with_body(plain))
    plain = plain_body()
    plain["snapshots"][0]["tables"][0]["size_bytes"] = -1
    with pytest.raises(MalformedError, match="size_bytes is -1"):
        decode_manifest(with_body(plain))


def test_a_body_that_lacks_any_key_is_refused() -> None:
    """The independent reader refused one without metadata, and the package opened it."""
    for name in plain_body():
        plain = plain_body()
        del plain[name]
        with pytest.raises(MalformedError, match="doesn't say"):
            decode_manifest(with_body(plain))


def test_a_body_that_is_no_mapping_is_refused() -> None:
    """Any CBOR may stand there."""
    with pytest.raises(MalformedError):
        decode_manifest(with_body([1, 2]))
    data = with_body({})
    body = b"\xff"
    with pytest.raises(MalformedError, match="makes no sense"):
        decode_manifest(with_header(data[:HEADER_BYTES] + body, body_bytes=1, body_checksum=checksum(body)))
