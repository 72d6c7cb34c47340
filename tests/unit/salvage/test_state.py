"""Whatever is damaged, the state that comes out is right, and what is missing is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from journalkit.errors import StoreNotFoundError
from journalkit.format import names
from journalkit.format.block import block_checksum, block_length, decode_block
from journalkit.format.index import IndexBlock, IndexEntry, encode_index
from journalkit.format.table import HEADER_BYTES, UNFILTERED, TableFooter, decode_header, footer_checksum
from journalkit.fs.memory import MemoryFileSystem
from journalkit.recovery.salvage import take_stock
from journalkit.recovery.salvage_ranges import ALL_KEYS

PATH = "/store"
PADDING = "x" * 700


def test_a_sound_store_comes_out_whole(patient: Any) -> None:
    """What isn't damaged isn't reported."""
    remains = patient.stock()
    assert patient.salvaged(remains) == patient.model
    assert remains.is_complete
    assert remains.kind == "store"
    assert (remains.missing, remains.given_up, remains.foreign, remains.manifest_fault) == ([], [], [], "")
    assert not any(segment.faults for segment in remains.segments)
    assert [span.keys for span in remains.spans] == [ALL_KEYS]


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_the_manifest_is_not_needed(patient: Any, damage: str) -> None:
    """Segments and tables name themselves, so the smallest file can't cost the whole store."""
    if damage == "missing":
        patient.remove(names.MANIFEST)
    else:
        patient.flip(names.MANIFEST, 40)
    remains = patient.stock()
    assert patient.salvaged(remains) == patient.model
    assert remains.is_complete
    assert remains.manifest_fault


def test_progress_is_told_of_each_file(patient: Any) -> None:
    """Somebody waits for a large store."""
    told: list[int] = []
    take_stock(patient.fs, PATH, told.append)
    assert sum(told) == sum(len(patient.read(name)) for name in patient.segments + patient.tables)


def test_a_copy_under_a_second_name_is_not_counted_twice(patient: Any) -> None:
    """Without a manifest the header's own number decides."""
    patient.remove(names.MANIFEST)
    patient.write(names.segment_name(900), patient.read(patient.segments[-1]))
    remains = patient.stock()
    assert remains.foreign == [names.segment_name(900)]
    assert patient.salvaged(remains) == patient.model


def test_files_of_another_store_are_not_used(patient: Any, new_patient: Any) -> None:
    """Most of the files say whose directory it is."""
    stranger = new_patient()
    with stranger.open() as store:
        store["strange"] = PADDING
        store.compact()
        store["stranger"] = PADDING
    for name in (*stranger.segments, *stranger.tables):
        patient.write(name.replace("000000", "900000", 1), stranger.read(name))
    patient.remove(names.MANIFEST)
    patient.remove(names.DURABLE)
    remains = patient.stock()
    assert len(remains.foreign) == len(stranger.segments) + len(stranger.tables)
    assert patient.salvaged(remains) == patient.model


def test_a_snapshot_of_several_tables_is_merged(patient: Any) -> None:
    """The manifest's form allows it; a snapshot tells what its newest table says of a key."""
    remains = patient.stock()
    [span] = remains.spans
    assert span.layers is not None
    double = type(span)(span.keys, type(span.layers)(span.lsn, span.layers.tables * 2))
    remains.spans = [double]
    assert patient.salvaged(remains) == patient.model


def test_an_empty_store_has_nothing_to_lose(new_patient: Any) -> None:
    """A manifest and a segment without a record."""
    patient = new_patient()
    patient.open().close()
    remains = patient.stock()
    assert patient.salvaged(remains) == {}
    assert (remains.last_lsn, remains.is_complete, remains.store) == (0, True, remains.store)


def test_tables_alone_are_a_state(new_patient: Any) -> None:
    """Of all files the last snapshot is the one that somebody is likeliest to have kept."""
    patient = new_patient()
    with patient.open() as store:
        store["a"] = 1
        store.compact()
    for name in patient.fs.list(PATH):
        if names.table_number(name) is None:
            patient.remove(name)
    remains = patient.stock()
    assert patient.salvaged(remains) == {"a": 1}
    assert remains.is_complete


@pytest.mark.parametrize("place", ["/nowhere", "/file", "/empty"])
def test_where_nothing_is_ours_there_is_no_store(place: str) -> None:
    """An empty result would look like a store that lost everything."""
    fs = MemoryFileSystem()
    fs.make_directory("/empty")
    fs.create("/file").close()
    with pytest.raises(StoreNotFoundError):
        take_stock(fs, place)


def test_a_table_that_the_manifest_does_not_name_is_left_alone(patient: Any) -> None:
    """A prune that was cut short leaves one: an older state, which is in nobody's way."""
    name = patient.tables[-1]
    header = decode_header(patient.read(name)[:HEADER_BYTES])
    left = names.table_name(header.number - 100)
    patient.write(left, replace(header, number=header.number - 100).encode() + patient.read(name)[HEADER_BYTES:])
    remains = patient.stock()
    assert left not in [table.name for table in remains.tables]
    assert remains.foreign == []
    assert patient.salvaged(remains) == patient.model


def test_the_manifest_of_another_store_is_not_believed(patient: Any, new_patient: Any) -> None:
    """Believed, it made strangers of all the files that are there."""
    stranger = new_patient()
    with stranger.open() as store:
        store["strange"] = PADDING
    patient.write(names.MANIFEST, stranger.read(names.MANIFEST))
    remains = patient.stock()
    assert (remains.manifest, remains.manifest_fault) == (None, "the manifest is another store's")
    assert patient.salvaged(remains) == patient.model


def test_an_index_that_names_a_block_twice_is_followed_once(patient: Any) -> None:
    """Index blocks that named the same blocks, two by two, gave more ways than anybody has time for."""
    name = patient.tables[-1]
    raw = patient.read(name)
    header = replace(decode_header(raw[:HEADER_BYTES]), version=UNFILTERED)
    length = block_length(raw[HEADER_BYTES:])
    block = decode_block(raw[HEADER_BYTES : HEADER_BYTES + length])
    first, last = min(block), max(block)
    parts = [header.encode(), raw[HEADER_BYTES : HEADER_BYTES + length]]

    def add(index: IndexBlock) -> tuple[int, int]:
        at, body = sum(map(len, parts)), encode_index(index)
        parts.append(body + block_checksum(body, salt=header.salt, offset_bytes=at))
        return at, len(parts[-1])

    children = [add(index_of(0, (first, last, HEADER_BYTES, length))) for _ in range(2)]
    root = add(index_of(1, (first, last, *children[0]), (last + b"a", last + b"b", *children[1])))
    ends = {"version": UNFILTERED, "root_checksum": footer_checksum(parts[-1])}
    footer = TableFooter(header.store, 7, header.lsn, 2, 0, 1, 1, *root, **ends)
    patient.write(name, b"".join(parts) + replace(footer, number=header.number).encode(salt=header.salt))
    patient.remove(names.MANIFEST)
    [remains] = [table for table in patient.stock().tables if table.name == name]
    assert [fault.reason for fault in remains.faults] == ["an index names a block twice"]
    assert remains.entry_count == len(block)


def index_of(level: int, *entries: tuple[bytes, bytes, int, int]) -> IndexBlock:
    """Return an index block: first and last key, place and length of each block below it."""
    index = IndexBlock(level)
    for first, last, offset, length in entries:
        index.add(IndexEntry(first, last, offset, length, 1, 0))
    return index
