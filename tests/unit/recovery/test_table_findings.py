"""Inside a damaged table: every fault, with its cause where the bytes prove one."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

from journalkit.format.table import FOOTER_BYTES, HEADER_BYTES
from journalkit.manifest import read_manifest
from journalkit.recovery.autopsy_tables import TableHome, examine_table
from journalkit.recovery.damage import DamageKind
from journalkit.recovery.diagnosis import Cause, Finding
from journalkit.recovery.findings import Examiner
from journalkit.recovery.salvage_ranges import ALL_KEYS
from journalkit.recovery.salvage_tables import Fault, read_remains

PLACE = "/store"


def parts(bed: Any, name: str) -> dict[str, int]:
    """Return a byte in each part of a table."""
    size = len(bed.read(name))
    return {"header": 20, "block": 5000, "footer": size - 30, "root": size - FOOTER_BYTES - 20}


@pytest.mark.parametrize("part", ["header", "block", "footer", "root"])
def test_a_flipped_bit_is_proved_in_every_part(store: Any, part: str) -> None:
    """And only that one is told, with its byte and bit."""
    name = store.tables[-1]
    at = parts(store, name)[part]
    store.flip(name, at, 6)
    [found] = store.table(name)
    assert (found.cause.kind, found.cause.proof) == (DamageKind.FLIPPED_BIT, f"one bit flipped: bit 6 of byte {at}")
    assert (found.lost_keys is not None) == (part == "block")


def test_a_block_in_its_own_place_is_not_said_to_come_from_there(store: Any) -> None:
    """What is wrong with it may be what it says."""
    name = store.tables[-1]
    manifest: Any = read_manifest(store.fs, PLACE)
    remains = read_remains(store.fs, PLACE, name, manifest.snapshots[0].tables[0])
    place = remains.places[1]
    remains.faults = [Fault("a block: wrong", place.offset_bytes, place.length_bytes)]
    file = store.fs.open_read(f"{PLACE}/{name}")
    [found] = examine_table(file, remains, None, [TableHome(name, remains.salt, file)])
    file.close()
    assert found.cause == Cause(DamageKind.DAMAGED)


@pytest.mark.parametrize("part", ["header", "block", "footer", "root"])
def test_garbled_bytes_are_plain_damage_in_every_part(store: Any, part: str) -> None:
    """Nothing is proved, so nothing is said."""
    name = store.tables[-1]
    store.patch(name, parts(store, name)[part], b"garbled!")
    assert [found.cause for found in store.table(name)] == [(DamageKind.DAMAGED, "")]


def test_a_bit_that_makes_the_checksum_right_and_the_block_wrong_is_no_proof(store: Any) -> None:
    """A block has to be one, not only to pass."""
    name = store.tables[-1]
    manifest: Any = read_manifest(store.fs, PLACE)
    info = manifest.snapshots[0].tables[0]
    remains = read_remains(store.fs, PLACE, name, info)
    # A footer's bytes where a block is told to be: they pass by the footer's place alone.
    fault_at = len(store.read(name)) - FOOTER_BYTES
    store.flip(name, fault_at + 20)
    remains = read_remains(store.fs, PLACE, name, info)
    [fault] = remains.faults
    file = store.fs.open_read(f"{PLACE}/{name}")
    remains.size_bytes += 1
    assert examine_table(file, remains, None, ())[0].cause.kind is DamageKind.DAMAGED
    remains.size_bytes -= 1
    assert examine_table(file, remains, None, ())[0].cause.kind is DamageKind.FLIPPED_BIT
    file.close()
    assert fault.length_bytes == FOOTER_BYTES


@pytest.mark.parametrize("keep", [0, 30, HEADER_BYTES, 5000, 40_000, -FOOTER_BYTES, -1])
def test_a_table_cut_short_is_one_damage(store: Any, keep: int) -> None:
    """The footer that is gone and the blocks that are gone have one cause."""
    name = store.tables[-1]
    size = len(store.read(name))
    store.write(name, store.read(name)[:keep])
    [found] = store.table(name)
    assert (found.cause.kind, found.end_bytes) == (DamageKind.TRUNCATED_FILE, size)
    assert f"ends at byte {len(store.read(name))}, {size} were promised" in found.cause.proof


def test_a_zeroed_page_is_told_by_its_place(store: Any) -> None:
    """In one block or across two."""
    name = store.tables[-1]
    store.patch(name, 8192, bytes(4096))
    found = store.table(name)
    assert {item.cause for item in found} == {(DamageKind.ZEROED_PAGE, "zeros from byte 8192 to 12288")}


def test_what_verify_found_and_nobody_can_place_is_told_as_it_was(store: Any) -> None:
    """A table whose every block passes, and that is wrong all the same."""
    name = store.tables[-1]
    manifest: Any = read_manifest(store.fs, PLACE)
    info = manifest.snapshots[0].tables[0]
    remains = read_remains(store.fs, PLACE, name, info)
    examiner = Examiner(store.fs, PLACE, manifest)
    [found] = examiner.table(info, name, remains, "counts are wrong")
    assert found == Finding(name, Cause(DamageKind.DAMAGED, "counts are wrong"))
    assert examiner.look_further([found]) == [found]


def test_a_table_that_can_not_be_read_is_missing_or_unreadable(store: Any) -> None:
    """What the medium doesn't give back is another thing than what isn't there."""
    name = store.tables[-1]
    manifest: Any = read_manifest(store.fs, PLACE)
    info = manifest.snapshots[0].tables[0]
    [found] = Examiner(store.fs, PLACE, manifest).table(info, name, None, errno.errorcode[errno.EIO])
    assert (found.cause.kind, found.lost_keys) == (DamageKind.UNREADABLE, ALL_KEYS)
    data = store.read(name)
    store.remove(name)
    [found] = Examiner(store.fs, PLACE, manifest).table(info, name, None, "gone")
    assert (found.cause.kind, found.lost_keys) == (DamageKind.MISSING_FILE, ALL_KEYS)
    store.write("table-0000000000000099.jkt", data)
    [found] = Examiner(store.fs, PLACE, manifest).table(info, name, None, "gone")
    assert found.cause == (DamageKind.MISSING_FILE, "it stands under the name table-0000000000000099.jkt")
    assert found.lost_keys is None
    store.write(name, store.read(store.tables[1]))
    [found] = Examiner(store.fs, PLACE, manifest).table(replace(info), name, None, "another")
    assert (found.cause.kind, found.lost_keys) == (DamageKind.DUPLICATED_FILE, None)
