"""Sectors in the wrong place: found by their equals, and not where an application stored the same twice."""

from __future__ import annotations

import random
from typing import Any

import pytest

import journalkit
from journalkit.format.block import block_length
from journalkit.format.table import HEADER_BYTES
from journalkit.recovery import moved
from journalkit.recovery.damage import DamageKind

PLACE = "/store"


def noise(size: int) -> bytes:
    """Return bytes like no others."""
    return random.Random(size).randbytes(size)


def kinds(found: list[Any]) -> set[DamageKind]:
    """Return the kinds of findings."""
    return {item.cause.kind for item in found}


@pytest.mark.parametrize("sectors", [2048, 8])
def test_a_page_of_another_block_is_told_with_where_it_belongs(
    store: Any, monkeypatch: pytest.MonkeyPatch, sectors: int
) -> None:
    """No block begins in it, so nothing but its equal tells; also where no more may be compared."""
    monkeypatch.setattr(moved, "_RUN_SECTORS_MAX", sectors)
    name = store.tables[-1]
    page = store.read(name)[20480:24576]
    store.patch(name, 8192, page)
    found = store.table(name)
    assert kinds(found) == {DamageKind.MISDIRECTED_BLOCK}
    assert found[0].cause.proof == f"bytes 8192 to 12288 are those from byte 20480 of {name}"


def test_a_page_of_another_file_is_found_too(store: Any) -> None:
    """A device doesn't know files."""
    one, other = store.tables
    store.patch(other, 12288, store.read(one)[4096:8192])
    found = store.table(other)
    assert kinds(found) == {DamageKind.MISDIRECTED_BLOCK}
    assert all(one in item.cause.proof for item in found)


@pytest.mark.parametrize("shift", [0, 100])
def test_a_value_that_was_stored_twice_is_no_misdirected_block(ward: Any, shift: int) -> None:
    """Its equal begins and ends anywhere; a wrong verdict would send somebody looking for a broken disk."""
    bed = ward()
    value = noise(20_000)
    with journalkit.open_journal(PLACE, fs=bed.fs) as journal:
        # Such that both stand at the same place of a sector.
        journal.append(value)
        journal.append(b"." * (512 - (20_000 + 2 * 40 + 3 + 3) % 512 + 512 - shift))
        journal.append(value)
    bed.patch(bed.segments[0], 400, b"broken, and nobody knows how")
    assert kinds(bed.log()) == {DamageKind.DAMAGED}


def test_what_any_file_may_hold_is_not_looked_for(ward: Any) -> None:
    """A run of one letter has equals everywhere."""
    bed = ward()
    with journalkit.open_journal(PLACE, fs=bed.fs) as journal:
        for _ in range(3):
            journal.append("x" * 5000)
    bed.patch(bed.segments[0], 300, b"broken")
    assert kinds(bed.log()) == {DamageKind.DAMAGED}


def test_a_whole_block_in_the_place_of_another_names_its_own(store: Any) -> None:
    """Its checksum tells the only place for which it was written."""
    name = store.tables[0]
    data = store.read(name)
    first = HEADER_BYTES
    length = block_length(data[first:])
    second = first + length
    store.patch(name, first, data[second : second + length])
    [finding] = [item for item in store.table(name) if item.offset_bytes == first]
    assert finding.cause.kind is DamageKind.MISDIRECTED_BLOCK
    assert finding.cause.proof == f"at byte {first} stands what was written for byte {second} of {name}"


def test_a_files_first_sector_in_anothers_place_is_known_too(store: Any) -> None:
    """Nothing stands before it that could be equal or not."""
    one, other = store.tables
    store.patch(other, 0, store.read(one)[1024:1536])
    assert DamageKind.MISDIRECTED_BLOCK in kinds(store.table(other))
