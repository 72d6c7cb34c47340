"""Findings to the last field: the cause in words, from which byte to which, and what it costs."""

from __future__ import annotations

import random
from typing import Any

import pytest

import journalkit
from journalkit.format import names
from journalkit.format.block import block_length
from journalkit.format.checksum import checksum
from journalkit.format.segment import HEADER_BYTES as SEGMENT_HEADER_BYTES
from journalkit.format.segment import decode_header
from journalkit.format.table import FOOTER_BYTES, HEADER_BYTES
from journalkit.manifest import read_manifest
from journalkit.recovery import autopsy, autopsy_tables
from journalkit.recovery.autopsy import Home, examine_segment
from journalkit.recovery.census import take_census
from journalkit.recovery.damage import Damage, DamageKind
from journalkit.recovery.diagnosis import Cause, Finding
from journalkit.recovery.findings import Examiner, look_into
from journalkit.recovery.promises import Promised
from journalkit.recovery.replay import discard
from journalkit.recovery.salvage import take_stock
from journalkit.recovery.salvage_ranges import ALL_KEYS
from journalkit.recovery.scan import scan_log

PLACE = "/store"
SECTOR_BYTES = 512
FRAME_BYTES = 40


def test_a_copied_table_costs_all_keys_from_its_first_byte_to_its_last(store: Any) -> None:
    """Whatever is in it belongs to another snapshot."""
    one, other = store.tables
    store.write(other, store.read(one) + b"more")
    cause = Cause(DamageKind.DUPLICATED_FILE, f"it is a copy of {one}")
    assert store.table(other) == [Finding(other, cause, 0, len(store.read(one)) + 4, lost_keys=ALL_KEYS)]


@pytest.mark.parametrize(
    ("keep", "start"),
    [(0, 0), (30, 30), (HEADER_BYTES, HEADER_BYTES), (5000, HEADER_BYTES), (-FOOTER_BYTES, -FOOTER_BYTES)],
)
def test_a_table_that_was_cut_is_told_from_the_first_byte_that_is_of_no_use(store: Any, keep: int, start: int) -> None:
    """The block that the end stands in goes with it; a footer by itself begins where the file ends now."""
    name = store.tables[-1]
    size = len(store.read(name))
    store.write(name, store.read(name)[:keep])
    [found] = store.table(name)
    assert (found.offset_bytes, found.end_bytes) == (start % size, size)


def test_a_table_that_was_cut_may_be_damaged_before_that_too(store: Any) -> None:
    """Two causes, and each is told."""
    name = store.tables[-1]
    store.flip(name, 20, 6)
    store.write(name, store.read(name)[:40_000])
    flip = Cause(DamageKind.FLIPPED_BIT, "one bit flipped: bit 6 of byte 20")
    first, second = store.table(name)
    assert first == Finding(name, flip, 0, HEADER_BYTES)
    assert second.cause.kind is DamageKind.TRUNCATED_FILE


def test_zeros_to_a_tables_end_are_zeroed_sectors_though_the_last_is_none(store: Any) -> None:
    """A file ends anywhere; its last sector was zeroed with the one before it."""
    name = store.tables[-1]
    data = store.read(name)
    start = (len(data) // SECTOR_BYTES - 1) * SECTOR_BYTES
    store.write(name, data[:start] + bytes(len(data) - start))
    cause = Cause(DamageKind.ZEROED_PAGE, f"zeros from byte {start} to {len(data)}")
    assert cause in [found.cause for found in store.table(name)]


def test_a_tables_first_block_in_the_place_of_its_second_names_where_it_belongs(store: Any) -> None:
    """The place right behind the header is a place like any other."""
    name = store.tables[-1]
    data = store.read(name)
    length = block_length(data[HEADER_BYTES:])
    store.patch(name, HEADER_BYTES + length, data[HEADER_BYTES : HEADER_BYTES + length])
    proof = f"at byte {HEADER_BYTES + length} stands what was written for byte {HEADER_BYTES} of {name}"
    assert store.table(name)[0].cause == Cause(DamageKind.MISDIRECTED_BLOCK, proof)
    store.remove(names.MANIFEST)
    found = look_into(store.fs, PLACE, take_stock(store.fs, PLACE))
    assert found[name][0].cause == Cause(DamageKind.MISDIRECTED_BLOCK, proof)
    assert found[store.tables[0]] == []


@pytest.mark.parametrize("kind", ["table", "segment"])
def test_no_more_of_a_hole_is_looked_at_than_a_window(
    store: Any, ward: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A value may have hundreds of megabytes: what is behind the window isn't told, and costs no memory."""
    monkeypatch.setattr(autopsy if kind == "segment" else autopsy_tables, "WINDOW_BYTES", 1024)
    if kind == "table":
        store.patch(store.tables[-1], 8192, bytes(4096))
        found = store.table(store.tables[-1])
    else:
        store = ward()
        with journalkit.open_journal(PLACE, fs=store.fs) as opened:
            opened.append(b"x" * 20_000)
        store.patch(store.segments[0], 8192, bytes(4096))
        found = store.log()
    assert [item.cause.kind for item in found] == [DamageKind.DAMAGED] * len(found)
    assert found


# --- segments


def examined(bed: Any, name: str, promised: Promised, homes: tuple[Home, ...] = ()) -> list[Finding]:
    """Return what is found in a segment if so much of it was promised."""
    file = bed.fs.open_read(f"{PLACE}/{name}")
    salt = decode_header(bed.read(bed.segments[0])[:SEGMENT_HEADER_BYTES]).salt
    found = examine_segment(file, name, salt, 1, promised, homes)
    file.close()
    return found


@pytest.mark.parametrize("candidates", [64, 0])
def test_sectors_of_another_segment_are_known_by_a_record_that_begins_in_them(
    journal: Any, monkeypatch: pytest.MonkeyPatch, candidates: int
) -> None:
    """Its checksum tells the only place for which it was written; so many places are tried, and no more."""
    monkeypatch.setattr(autopsy, "_CANDIDATES_MAX", candidates)
    one, other = journal.segments[:2]
    data = journal.read(other)
    second = SEGMENT_HEADER_BYTES + FRAME_BYTES + int.from_bytes(data[SEGMENT_HEADER_BYTES + 8 :][:4], "little")
    sector = second // SECTOR_BYTES * SECTOR_BYTES
    journal.patch(one, sector, data[sector : sector + SECTOR_BYTES])
    proof = f"at byte {second} stands what was written for byte {second} of {other}"
    told = [found.cause for found in journal.log()]
    assert (Cause(DamageKind.MISDIRECTED_BLOCK, proof) in told) == (candidates > 0)


def test_what_is_whole_of_a_damaged_segment_is_known_too(journal: Any) -> None:
    """`verify` tells what a salvage would bring."""
    name = journal.segments[0]
    data = journal.read(name)
    second = SEGMENT_HEADER_BYTES + FRAME_BYTES + int.from_bytes(data[SEGMENT_HEADER_BYTES + 8 :][:4], "little")
    journal.flip(name, second + 60)
    manifest: Any = read_manifest(journal.fs, PLACE)
    scan = scan_log(journal.fs, PLACE, manifest, after_lsn=0, sink=discard, everything=True)
    examiner = Examiner(journal.fs, PLACE, manifest)
    assert examiner.whole(name) == []
    [found] = examiner.log(scan, [Damage(name, "told")])
    assert (found.lost_lsns, examiner.whole(name)) == ((2, 2), [(1, 1), (3, 4)])


@pytest.mark.parametrize("is_later", [False, True])
def test_a_header_of_a_later_version_says_nothing_of_who_it_is(store: Any, is_later: bool) -> None:
    """It may mean something else by every field."""
    for name, size, newest in ((store.segments[0], SEGMENT_HEADER_BYTES, 1), (store.tables[0], HEADER_BYTES, 3)):
        head = bytearray(store.read(name)[:size])
        head[8] = newest + is_later
        store.patch(name, 0, bytes(head[:-4]) + checksum(bytes(head[:-4])).to_bytes(4, "little"))
        assert (take_census(store.fs, PLACE)[name].header is None) == is_later


def test_a_sector_that_reaches_into_the_next_record_is_one_damage(ward: Any) -> None:
    """Its second record has the cause of its first, though nothing in what is left of the sector tells."""
    bed = ward()
    with journalkit.open_journal(PLACE, fs=bed.fs, codec="raw") as opened:
        for seed, size in enumerate((1000, 1000, 1000, 950, 950)):
            if seed == 3:
                opened.rotate()
            opened.append(random.Random(seed).randbytes(size))
    one, other = bed.segments[:2]
    bed.patch(one, 1024, bed.read(other)[1024:1536])
    [found] = bed.log()
    proof = f"at byte 1102 stands what was written for byte 1102 of {other}"
    assert found == Finding(one, Cause(DamageKind.MISDIRECTED_BLOCK, proof), 112, 2192, (1, 2))


def test_a_cut_of_which_nobody_knows_where_the_end_was_is_told_without_it(journal: Any) -> None:
    """A promise of records alone names no byte."""
    name = journal.segments[0]
    size = len(journal.read(name))
    journal.write(name, journal.read(name)[:2000])
    [found] = examined(journal, name, Promised(0, 4))
    assert found.cause == Cause(DamageKind.TRUNCATED_FILE, "the file ends at byte 2000")
    [found] = examined(journal, name, Promised(size, 4))
    assert found.cause == Cause(DamageKind.TRUNCATED_FILE, f"the file ends at byte 2000, {size} were promised")
    assert (found.end_bytes, found.lost_lsns) == (size, (2, 4))


def test_a_damaged_header_of_a_segment_that_promised_nothing_is_no_loss(journal: Any) -> None:
    """Without a manifest nobody promised anything, and the records are whole."""
    name = journal.segments[0]
    journal.patch(name, 20, b"not what was written")
    file = journal.fs.open_read(f"{PLACE}/{name}")
    salt = int.from_bytes(journal.read(name)[12:16], "little")
    assert examine_segment(file, name, salt, 1, Promised(0, 0), ()) == []
    file.close()


def test_room_behind_all_that_was_promised_is_no_loss(journal: Any) -> None:
    """It was prepared for what comes next."""
    name = journal.segments[0]
    whole = journal.read(name)
    journal.write(name, whole + bytes(9000))
    assert examined(journal, name, Promised(len(whole), 4)) == []


def test_room_where_a_record_was_promised_is_told_to_the_files_end(ward: Any) -> None:
    """The run ends where a sector does, so that nobody can say whether the file is older or was zeroed."""
    bed = ward()
    with journalkit.open_journal(PLACE, fs=bed.fs, codec="raw") as opened:
        opened.append(bytes(range(1, 219)) * 4)  # to the end of the second sector
    name = bed.segments[0]
    bed.write(name, bed.read(name)[:1024] + bytes(4096))
    cause = Cause(DamageKind.ZEROED_PAGE, "zeros from byte 1024 to 5120")
    assert examined(bed, name, Promised(0, 2)) == [Finding(name, cause, 1024, 5120, (2, 2))]


def test_without_a_manifest_the_next_segment_says_where_one_ended(journal: Any) -> None:
    """It names the end of the one before it to the byte; of the last one nobody says it."""
    one, *_, last = journal.segments
    size = len(journal.read(one))
    for name in (one, last):
        journal.write(name, journal.read(name)[:2000])
    journal.remove(names.MANIFEST)
    found = look_into(journal.fs, PLACE, take_stock(journal.fs, PLACE))
    cause = Cause(DamageKind.TRUNCATED_FILE, f"the file ends at byte 2000, {size} were promised")
    [told] = found[one]
    assert (told.cause, told.end_bytes, told.lost_lsns) == (cause, size, (2, 4))
    [told] = found[last]
    assert told.cause.kind is DamageKind.DAMAGED
    assert told.cause.proof.endswith(" bytes that are no whole record")


def test_without_a_manifest_a_segments_own_header_says_with_which_record_it_begins(journal: Any) -> None:
    """The first one that is whole may be a later one."""
    name = journal.segments[0]
    journal.patch(name, SEGMENT_HEADER_BYTES + 60, b"garbled")
    journal.remove(names.MANIFEST)
    [found] = look_into(journal.fs, PLACE, take_stock(journal.fs, PLACE))[name]
    assert (found.cause.kind, found.lost_lsns) == (DamageKind.DAMAGED, (1, 1))


def test_without_a_manifest_copies_and_strangers_are_told_by_their_headers(journal: Any, ward: Any) -> None:
    """What isn't used has to be named, or somebody misses it."""
    stranger = ward()
    with journalkit.open_journal(PLACE, fs=stranger.fs) as opened:
        opened.append(1)
    one = journal.segments[0]
    copy, foreign = names.segment_name(70), names.segment_name(71)
    journal.write(copy, journal.read(one))
    journal.write(foreign, stranger.read(stranger.segments[0]))
    journal.remove(names.MANIFEST)
    found = look_into(journal.fs, PLACE, take_stock(journal.fs, PLACE))
    store = decode_header(journal.read(foreign)[:SEGMENT_HEADER_BYTES]).store.hex()
    assert found[copy] == [Finding(copy, Cause(DamageKind.DUPLICATED_FILE, f"it is a copy of {one}"))]
    proof = f"it is {names.segment_name(1)} of store {store}"
    assert found[foreign] == [Finding(foreign, Cause(DamageKind.FOREIGN_FILE, proof))]


def test_a_stray_that_is_newer_accuses_the_manifest_too(journal: Any, told: Any) -> None:
    """Two findings of one cause: the file that can't be known, and the manifest that should know it."""
    name = names.segment_name(99)
    journal.write(name, b"anything")
    found = journal.look([told(name, "holds records", 0, kind=DamageKind.ROLLED_BACK_FILE)])
    assert found == [
        Finding(name, Cause(DamageKind.ROLLED_BACK_FILE), 0),
        Finding(names.MANIFEST, Cause(DamageKind.ROLLED_BACK_FILE, f"{name} is newer than the manifest")),
    ]
