"""Files that the manifest doesn't name: leftovers, what was given up, what says it is older, and what isn't ours."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from journalkit.format import names, table
from journalkit.format.frame import Kind, encode
from journalkit.format.manifest import Manifest, SegmentEntry, SnapshotEntry
from journalkit.format.segment import HEADER_BYTES, SegmentHeader, encode_seal
from journalkit.format.table import TableInfo
from journalkit.recovery.damage import Damage, DamageKind
from journalkit.recovery.strays import Strays, find_strays
from journalkit.testing import SimulatedDisk

STORE, OTHER = b"store-of-16-byte", b"other-of-16-byte"
EARLIER, NAMED, LATER = 2, 3, 4

MANIFEST = Manifest(
    store=STORE,
    kind="store",
    codec="cbor",
    created_us=0,
    generation=5,
    epoch=3,
    writer=b"w" * 16,
    segments=(SegmentEntry(NAMED, 0, 3, 50),),
    snapshots=(SnapshotEntry(40, 0, (TableInfo(8, 1, 1, 1, 1),)),),
    pruned_lsn=30,
    durable_lsn=49,
    next_segment=LATER,
    next_table=9,
)


def segment(number: int, *lsns: int, store: bytes = STORE, seal: bool = False, epoch: int = 2) -> bytes:
    """Return a segment that holds these records, with prepared space behind them."""
    first = lsns[0] if lsns else 31
    header = SegmentHeader(
        salt=5,
        store=store,
        writer=b"w" * 16,
        epoch=epoch,
        number=number,
        first_lsn=first,
        created_us=0,
        previous_number=0,
        previous_last_lsn=0,
        previous_end_bytes=0,
        previous_checksum=0,
    )
    data = header.encode()
    places: dict[str, Any] = {"time_us": 0, "durable_lsn": 0, "salt": 5}
    for lsn in lsns:
        data += encode(b"payload", lsn=lsn, kind=Kind.BATCH, offset_bytes=len(data), **places)
    if seal:
        last = lsns[-1] if lsns else first - 1
        data += encode(encode_seal(first, last), lsn=last, kind=Kind.SEAL, offset_bytes=len(data), **places)
    return data + bytes(100)


def sort(name: str, data: bytes) -> Strays:
    """Return how a directory with this one file is sorted."""
    disk = SimulatedDisk()
    disk.write_bytes("/" + name, data)
    return find_strays(disk, "/", MANIFEST)


def test_what_the_manifest_names_and_our_other_files_are_no_strays() -> None:
    """They are looked at elsewhere."""
    disk = SimulatedDisk()
    ours = (names.MANIFEST, names.LOCK, names.DURABLE, names.RESERVE, names.segment_name(NAMED), names.table_name(8))
    for name in ours:
        disk.write_bytes("/" + name, b"")
    disk.make_directory("/" + names.QUARANTINE)
    assert find_strays(disk, "/", MANIFEST) == Strays()


@pytest.mark.parametrize(
    "name", ["MANIFEST.tmp", "restore.tmp", "log-0000000000000009.jks.tmp", "table-0000000000000009.jkt.tmp"]
)
def test_temporaries_of_ours_are_swept(name: str) -> None:
    """PITFALLS 27: a kill leaves them, and they are never read."""
    assert sort(name, b"half").sweep == [name]


@pytest.mark.parametrize("name", ["notes.txt", "notes.txt.tmp", "log-1.jks", "table-x.jkt", ".nfs0001"])
def test_what_is_not_ours_is_unknown(name: str) -> None:
    """Promise 8: reported, never deleted."""
    assert sort(name, b"words").unknown == [name]


@pytest.mark.parametrize("data", [segment(LATER), segment(LATER)[:50], b"", bytes(4096)])
def test_an_empty_segment_ahead_is_swept(data: bytes) -> None:
    """An open, or a preparation, that was cut short before its manifest."""
    assert sort(names.segment_name(LATER), data).sweep == [names.segment_name(LATER)]


UNKNOWN = "the manifest doesn't know this segment, which holds records"
UNREAD = "the manifest doesn't know this segment, and its header can't be read (not a log segment (at byte 0))"


@pytest.mark.parametrize(
    ("data", "reason", "highest"),
    [
        (segment(LATER, 70, 71, epoch=9), UNKNOWN, (71, 9)),
        (segment(LATER) + b"torn", UNKNOWN, (0, 2)),
        (segment(LATER, 70, store=OTHER), "the segment belongs to another store", (0, 0)),
        (segment(LATER, store=OTHER), "the segment belongs to another store", (0, 0)),
        (segment(NAMED, 70), "the file is segment 3, swapped or copied", (0, 0)),
        (b"x" * 300, UNREAD, (0, 0)),
        (bytes(HEADER_BYTES) + b"x", UNREAD, (0, 0)),
    ],
)
def test_a_segment_ahead_that_holds_anything_says_that_the_manifest_is_older(
    data: bytes, reason: str, highest: tuple[int, int]
) -> None:
    """PITFALLS 7: the only trace, when slot and epoch don't tell; on request it is set aside, never swept."""
    found = sort(names.segment_name(LATER), data)
    kind = DamageKind.ROLLED_BACK_FILE if reason == UNKNOWN else DamageKind.DAMAGED
    assert found.damage == [Damage(names.segment_name(LATER), reason, 0, kind=kind)]
    assert found.aside == [names.segment_name(LATER)]
    assert found.sweep == []
    assert (found.last_lsn, found.epoch) == highest


@pytest.mark.parametrize(
    "data",
    [segment(EARLIER, 29, 30), segment(EARLIER, 29, 30, seal=True), segment(EARLIER, seal=True), b"", bytes(500)],
)
def test_a_pruned_or_empty_segment_is_swept(data: bytes) -> None:
    """A prune was cut short between the manifest and the unlink: its records are in a snapshot."""
    assert sort(names.segment_name(EARLIER), data).sweep == [names.segment_name(EARLIER)]


@pytest.mark.parametrize("data", [segment(EARLIER, 30, 31), segment(EARLIER) + b"torn", b"x" * 300])
def test_a_segment_that_was_given_up_is_set_aside(data: bytes) -> None:
    """A point-in-time recovery was cut short before it moved the file: what it holds is nowhere else."""
    found = sort(names.segment_name(EARLIER), data)
    assert (found.aside, found.damage) == ([names.segment_name(EARLIER)], [])


def test_a_segment_of_another_store_that_is_in_nobodys_way_is_unknown() -> None:
    """Copied here by mistake: somebody may want it back."""
    name = names.segment_name(EARLIER)
    assert sort(name, segment(EARLIER, 70, store=OTHER)).unknown == [name]


def test_a_table_that_no_manifest_names_is_swept_if_it_is_ours() -> None:
    """A fold that was cut short leaves one; a foreign or unreadable one is not ours to delete."""
    name = names.table_name(9)

    def header(store: bytes) -> bytes:
        return table.TableHeader(salt=1, store=store, number=9, lsn=5).encode() + b"blocks"

    assert sort(name, header(STORE)).sweep == [name]
    assert sort(name, header(OTHER)).unknown == [name]
    assert sort(name, b"x").unknown == [name]


def test_a_directory_or_an_unreadable_file_with_our_name_is_unknown() -> None:
    """It must not keep the store from opening, nor be taken for empty."""
    disk = SimulatedDisk()
    disk.make_directory("/" + names.segment_name(EARLIER))
    disk.write_bytes("/" + names.table_name(9), b"")
    disk.fail("open_read", 1, errno.EACCES, path_contains="table")
    assert find_strays(disk, "/", MANIFEST).unknown == [names.segment_name(EARLIER), names.table_name(9)]


def test_a_file_that_goes_away_while_we_look_is_nothing() -> None:
    """A writer beside us prunes."""
    disk = SimulatedDisk()
    disk.write_bytes("/" + names.segment_name(EARLIER), segment(EARLIER, 70))
    disk.fail("open_read", 1, errno.ENOENT)
    assert find_strays(disk, "/", MANIFEST) == Strays()
