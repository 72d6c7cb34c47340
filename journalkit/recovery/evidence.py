"""What damaged bytes prove of what happened to them. Pure.

A checksum that fails says more than that it fails, because a CRC is linear:
how far it is off depends on the flipped bits alone, and one flipped bit can be
computed from it. It is a bijection of its seed, so bytes and a checksum that
belong together tell the one seed, and with it the one place, for which they
were written. And what a device gets wrong it gets wrong by sectors: zeros that
begin and end where sectors do are no accident of the data.

Nothing is guessed here: where the bytes don't tell, the answer is None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from journalkit.format.checksum import SEED_MASK, checksum

SECTOR_BYTES: Final = 512
FLIP_BYTES_MAX: Final = 128 * 1024
"""Longer bytes are not asked for their flipped bit: of arbitrary damage to so many one part in 4096 looks like one."""

_SLACK_BYTES: Final = 16
"""So many zeros may stand by chance on each side of zeroed sectors: numbers below 2**64 have fewer."""
_ZEROS_MIN: Final = 64
"""Less of a sector, where the file ends inside it, may be zero by chance."""

_ZEROS: Final = re.compile(rb"\0{%d,}" % SECTOR_BYTES)
_STEP: Final = [checksum(bytes([value])) ^ checksum(b"\0") for value in range(256)]
"""What a byte, exclusive-ored onto the last one of any bytes, does to their checksum."""
_FROM_TOP: Final = {step >> 24: value for value, step in enumerate(_STEP)}
_FLIPS: Final = {_STEP[1 << bit]: bit for bit in range(8)}


class Bit(NamedTuple):
    """One bit: which byte, and which of its bits, 0 for the lowest."""

    byte: int
    bit: int


class Zeros(NamedTuple):
    """Zeroed sectors: from where to where."""

    start_bytes: int
    end_bytes: int


def flipped_bit(count_bytes: int, syndrome: int) -> Bit | None:
    """Return the one bit of so many bytes whose flip puts their checksum off by `syndrome`, if there is one.

    `syndrome` is the checksum found exclusive-ored with the one that belongs there. O(count_bytes).
    """
    if count_bytes > FLIP_BYTES_MAX:
        return None
    state = syndrome
    for byte in range(count_bytes - 1, -1, -1):
        bit = _FLIPS.get(state)
        if bit is not None:
            return Bit(byte, bit)
        state = _step_back(state)
    return None


def flipped_around(data: bytes, *, seed: int = 0, checksum_first: bool = False) -> Bit | None:
    """Return the one flipped bit of bytes that hold their own checksum, in four bytes at one end of them."""
    covered, stored = (data[4:], data[:4]) if checksum_first else (data[:-4], data[-4:])
    syndrome = checksum(covered, seed) ^ int.from_bytes(stored, "little")
    before = len(stored) if checksum_first else 0
    found = flipped_bit(len(covered), syndrome)
    if found is not None:
        return Bit(before + found.byte, found.bit)
    if syndrome.bit_count() != 1:
        return None
    byte, bit = divmod(syndrome.bit_length() - 1, 8)
    return Bit(byte + (0 if checksum_first else len(covered)), bit)


def turned_back(data: bytes, flip: Bit) -> bytes:
    """Return the bytes with that bit flipped once more."""
    whole = bytearray(data)
    whole[flip.byte] ^= 1 << flip.bit
    return bytes(whole)


def implied_seed(covered: bytes, stored: int) -> int:
    """Return the only seed from which the checksum of these bytes is this one. O(len(covered))."""
    state = stored ^ checksum(covered)
    for _ in range(len(covered)):
        state = _step_back(state)
    return state


def zeroed_sectors(data: bytes, base_bytes: int, *, is_end: bool) -> Iterator[Zeros]:
    """Yield where whole sectors of a file are zero and the zeros end with them.

    `base_bytes` is where in the file `data` begins, at a sector; `is_end` is
    whether the file ends with it, perhaps inside a sector. A longer run of
    zeros, such as a value may hold, begins and ends anywhere and is not meant.
    """
    whole = data + bytes(-len(data) % SECTOR_BYTES) if is_end else data
    for run in _ZEROS.finditer(whole):
        first = -(-run.start() // SECTOR_BYTES) * SECTOR_BYTES
        last = run.end() // SECTOR_BYTES * SECTOR_BYTES
        shown = min(last, len(data)) - first
        if first - run.start() < _SLACK_BYTES and run.end() - last < _SLACK_BYTES and shown >= _ZEROS_MIN:
            yield Zeros(base_bytes + first, base_bytes + first + shown)


def zeroed(data: bytes, base_bytes: int, start_bytes: int, end_bytes: int, *, is_end: bool) -> Zeros | None:
    """Return the first of the `zeroed_sectors` that has a byte between `start_bytes` and `end_bytes` of the file."""
    for zeros in zeroed_sectors(data, base_bytes, is_end=is_end):
        if zeros.start_bytes < end_bytes and zeros.end_bytes > start_bytes:
            return zeros
    return None


def _step_back(state: int) -> int:
    """Return what a checksum's difference was before one more byte of zeros."""
    value = _FROM_TOP[state >> 24]
    return ((state ^ _STEP[value]) << 8 | value) & SEED_MASK
