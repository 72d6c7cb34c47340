"""What damaged bytes prove: the one flipped bit, the one place, zeros by sectors; and nothing where they don't."""

from __future__ import annotations

import random

import pytest

from journalkit.format.checksum import checksum
from journalkit.recovery.evidence import (
    FLIP_BYTES_MAX,
    SECTOR_BYTES,
    Bit,
    flipped_around,
    flipped_bit,
    implied_seed,
    turned_back,
    zeroed,
    zeroed_sectors,
)


def flip(data: bytes, number: int) -> bytes:
    """Return the bytes with one bit flipped, counted from the first byte's lowest."""
    return turned_back(data, Bit(*divmod(number, 8)))


@pytest.mark.parametrize("seed", range(20))
def test_the_flipped_bit_is_computed_from_how_far_the_checksum_is_off(seed: int) -> None:
    """Wherever it is, in bytes of any length, whatever their checksum started from."""
    chance = random.Random(seed)
    data, start = chance.randbytes(chance.randrange(1, 3000)), chance.getrandbits(32)
    number = chance.randrange(8 * len(data))
    syndrome = checksum(flip(data, number), start) ^ checksum(data, start)
    assert flipped_bit(len(data), syndrome) == divmod(number, 8)
    stored = checksum(data, start).to_bytes(4, "little")
    for whole, first in ((stored + data, True), (data + stored, False)):
        for number in (0, 33, 8 * len(whole) - 1):
            assert flipped_around(flip(whole, number), seed=start, checksum_first=first) == divmod(number, 8)


@pytest.mark.parametrize("flips", [2, 3, 40])
def test_more_than_one_flipped_bit_is_not_taken_for_one(flips: int) -> None:
    """A verdict that names a bit has to be right; of so few bytes no pattern looks like one flip by chance."""
    chance = random.Random(flips)
    for _ in range(200):
        data = chance.randbytes(200)
        whole = data + checksum(data, 7).to_bytes(4, "little")
        for number in chance.sample(range(8 * len(whole)), flips):
            whole = flip(whole, number)
        assert flipped_around(whole, seed=7) is None


def test_bytes_too_long_for_a_proof_are_not_asked() -> None:
    """Of so many, arbitrary damage would look like a flipped bit too often."""
    data = bytes(FLIP_BYTES_MAX + 1)
    assert flipped_bit(len(data), checksum(flip(data, 5)) ^ checksum(data)) is None


@pytest.mark.parametrize("seed", [0, 1, 0xFFFF_FFFF, 0x1234_5678])
def test_bytes_and_checksum_tell_the_seed(seed: int) -> None:
    """So a frame in the wrong place names the right one."""
    data = random.Random(seed).randbytes(500)
    assert implied_seed(data, checksum(data, seed)) == seed


def page(*parts: bytes) -> bytes:
    """Return parts one behind the other."""
    return b"".join(parts)


FULL = b"\xaa" * SECTOR_BYTES
ZERO = bytes(SECTOR_BYTES)


@pytest.mark.parametrize(
    ("data", "is_end", "found"),
    [
        (page(FULL, ZERO, FULL), False, [(4608, 5120)]),
        (page(FULL, ZERO, ZERO, FULL), False, [(4608, 5632)]),
        (page(ZERO, FULL, ZERO), False, [(4096, 4608), (5120, 5632)]),
        (page(FULL, ZERO, ZERO[:100]), True, [(4608, 5220)]),
        (page(FULL, ZERO[:100]), True, [(4608, 4708)]),
        (page(FULL, ZERO[:10]), True, []),
        (page(FULL, ZERO[:100]), False, []),
        (page(FULL[:-5], ZERO, ZERO[:5], FULL), False, [(4608, 5120)]),
        (page(FULL[:-200], ZERO, ZERO, FULL), False, []),
        (page(FULL, ZERO, ZERO[:200], FULL), False, []),
        (page(FULL, FULL), True, []),
    ],
)
def test_only_zeros_that_begin_and_end_with_sectors_are_zeroed_sectors(
    data: bytes, is_end: bool, found: list[tuple[int, int]]
) -> None:
    """A value of a thousand zeros is none; a number's zeros beside the sector don't hide it."""
    assert [tuple(zeros) for zeros in zeroed_sectors(data, 4096, is_end=is_end)] == found


@pytest.mark.parametrize(("start", "end", "hit"), [(4608, 4700, True), (4000, 4609, True), (5120, 6000, False)])
def test_zeroed_sectors_are_those_that_the_hole_reaches_into(start: int, end: int, hit: bool) -> None:
    """Zeros beside a hole are somebody else's."""
    found = zeroed(page(FULL, ZERO, FULL), 4096, start, end, is_end=False)
    assert found == ((4608, 5120) if hit else None)
