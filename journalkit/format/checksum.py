"""CRC32C, and what seeds it.

A checksum here vouches for bytes *at a place*: it starts from the salt of the
file and the offset inside it, so that the same bytes at another offset, or in
another file, don't pass. A different start gives a different end for the same
bytes, always, because a CRC is a bijection of its start.

CRC32C finds every burst of up to 32 bits and is no signature: who can write
the file can make it pass.
"""

from __future__ import annotations

from crc32c import crc32c

SEED_MASK = 0xFFFF_FFFF


def checksum(data: bytes | bytearray | memoryview, seed: int = 0) -> int:
    """Return the CRC32C of `data` started from `seed` (32 bits). O(len(data))."""
    return crc32c(data, seed)


def seed_at(salt: int, offset_bytes: int) -> int:
    """Return the seed of bytes that begin at `offset_bytes` of a file with this salt."""
    return (salt + offset_bytes) & SEED_MASK
