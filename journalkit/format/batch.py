"""Batches: the mutations of one commit as a payload, and back.

A payload is a run of entries: key length, value length, key, value. A value
length of 0xFFFFFFFF is a deletion. Keys and values are encoded bytes and stay
so: folding and recovering never look inside a value.

The last entry of a key wins, as it does in a mapping.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from journalkit.format.keys import KEY_BYTES_MAX
from journalkit.format.malformed import MalformedError

ENTRY = struct.Struct("<HI")
ENTRY_BYTES: Final = ENTRY.size
TOMBSTONE: Final = 0xFFFF_FFFF


def encode_one(key: bytes, value: bytes | None) -> bytes:
    """Return the payload of a commit that touches one key: the hot path of a put."""
    if value is None:
        return ENTRY.pack(len(key), TOMBSTONE) + key
    return ENTRY.pack(len(key), len(value)) + key + value


def encode_batch(mutations: Iterable[tuple[bytes, bytes | None]]) -> bytes:
    """Return the payload of a commit, its mutations in the given order. O(bytes)."""
    pack = ENTRY.pack
    parts: list[bytes] = []
    for key, value in mutations:
        if value is None:
            parts += (pack(len(key), TOMBSTONE), key)
        else:
            parts += (pack(len(key), len(value)), key, value)
    return b"".join(parts)


def decode_into(payload: bytes, entries: dict[bytes, bytes | None]) -> None:
    """Apply a payload's mutations to `entries` (deletions become None). O(bytes).

    Raises:
        MalformedError: The payload isn't a batch; `entries` holds what came before.
    """
    unpack, position, limit = ENTRY.unpack_from, 0, len(payload)
    while position < limit:
        body = position + ENTRY_BYTES
        if body > limit:
            raise MalformedError("an entry is cut short", position)
        key_bytes, value_bytes = unpack(payload, position)
        middle = end = body + key_bytes
        value = None
        if value_bytes != TOMBSTONE:
            end += value_bytes
            value = payload[middle:end]
        if end > limit or not 0 < key_bytes <= KEY_BYTES_MAX:
            raise MalformedError("an entry's lengths don't fit its batch", position)
        entries[payload[body:middle]] = value
        position = end
