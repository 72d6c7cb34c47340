"""Equal bytes at two places, to the byte: when they are sectors that went astray, and when nobody can say so."""

from __future__ import annotations

import random

from journalkit.fs.memory import MemoryFileSystem
from journalkit.recovery import moved
from journalkit.recovery.damage import DamageKind
from journalkit.recovery.diagnosis import Cause, Finding
from journalkit.recovery.evidence import SECTOR_BYTES

PLACE = "/store"
SIZE = 8 * SECTOR_BYTES
HOLE = Finding("two", Cause(DamageKind.DAMAGED), 2 * SECTOR_BYTES, 4 * SECTOR_BYTES)


def noise(seed: int, size: int = SIZE) -> bytes:
    """Return bytes like no others."""
    return random.Random(seed).randbytes(size)


def looked_for(one: bytes, two: bytes, hole: Finding = HOLE) -> str:
    """Return what is said of a hole of file `two`."""
    fs = MemoryFileSystem()
    fs.make_directory(PLACE)
    for name, data in {"one": one, "two": two}.items():
        file = fs.create(f"{PLACE}/{name}")
        file.pwrite(data, 0)
        file.close()
    found = moved.moved_sectors(fs, PLACE, ["one", "two"], [hole])
    return found[hole].proof if hole in found else ""


def put(data: bytes, at: int, piece: bytes) -> bytes:
    """Return the data with a piece of it replaced."""
    return data[:at] + piece + data[at + len(piece) :]


def test_one_sector_of_another_file_is_named_with_both_places() -> None:
    """The smallest thing that a device moves."""
    one = noise(1)
    two = put(noise(2), 2 * SECTOR_BYTES, one[5 * SECTOR_BYTES : 6 * SECTOR_BYTES])
    assert looked_for(one, two) == "bytes 1024 to 1536 are those from byte 2560 of one"


def test_the_last_sector_of_a_file_is_known_again() -> None:
    """Behind it there is nothing to compare with."""
    one = noise(1)
    two = put(noise(2), 2 * SECTOR_BYTES, one[-SECTOR_BYTES:])
    assert looked_for(one, two) == f"bytes 1024 to 1536 are those from byte {SIZE - SECTOR_BYTES} of one"


def test_bytes_that_go_on_into_half_a_sector_were_moved_by_no_device() -> None:
    """On either side."""
    one = noise(1)
    behind = put(noise(2), 2 * SECTOR_BYTES, one[4 * SECTOR_BYTES : 5 * SECTOR_BYTES + 100])
    before = put(noise(2), 2 * SECTOR_BYTES - 100, one[4 * SECTOR_BYTES - 100 : 5 * SECTOR_BYTES])
    assert (looked_for(one, behind), looked_for(one, before)) == ("", "")


def test_bytes_that_do_not_begin_where_a_sector_does_are_not_looked_for() -> None:
    """A value that was stored twice stands anywhere."""
    one = noise(1)
    two = put(noise(2), 2 * SECTOR_BYTES + 7, one[4 * SECTOR_BYTES : 5 * SECTOR_BYTES])
    assert looked_for(one, two) == ""


def test_a_hole_without_a_whole_sector_is_not_looked_for() -> None:
    """The end of a file says too little."""
    one = noise(1)
    two = noise(2, 2 * SECTOR_BYTES) + one[4 * SECTOR_BYTES : 5 * SECTOR_BYTES - 1]
    assert looked_for(one, two) == ""
