"""Runs: consecutive batches, folded into a mapping in one loop.

What `frame.walk`, the scan's checks and `batch.decode_into` do one after the
other for each record, done here for the regular case only: a whole batch with
the next LSN and no flag. At anything else it stops, without a word on what
that is; the general code looks at the same bytes and says it. So this can't
accept what that would not; tests/property/test_runs.py holds the two together.

It exists because recovery reads records by the million, and three generators
and a tuple for each record cost more than checking and folding it.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from crc32c import crc32c

from journalkit.compiled import compiled
from journalkit.format.batch import decode_into
from journalkit.format.checksum import SEED_MASK
from journalkit.format.frame import HEADER_BYTES, MAGIC, Kind
from journalkit.format.keys import KEY_BYTES_MAX
from journalkit.format.malformed import MalformedError

_HEADERS: Final = struct.Struct("<IIIIQ16xHI")
"""A frame's header with magic, kind and flags as one number, without what nobody here reads (time and durable LSN),
and the header of its batch's first entry."""

_REGULAR: Final = MAGIC | Kind.BATCH << 16
"""That number in a batch without flags."""


class Run(NamedTuple):
    """How far a run went: `position` in the buffer, the last LSN and frame checksum, and what was folded."""

    position: int
    lsn: int
    checksum: int
    records: int
    payload_bytes: int


def fold_run(buffer: bytes, base_bytes: int, salt: int, lsn: int, entries: dict[bytes, bytes | None]) -> Run:
    """Fold the batches at the beginning of `buffer` that follow LSN `lsn` into `entries`.

    `base_bytes` is the file offset of the buffer's first byte. O(bytes), one pass.
    """
    return Run(*fold_regular(buffer, base_bytes, salt, lsn, entries))


@compiled
def fold_regular(
    buffer: bytes, base_bytes: int, salt: int, lsn: int, entries: dict[bytes, bytes | None]
) -> tuple[int, int, int, int, int]:
    """Do it, and return what makes a `Run`."""
    crc, unpack, mask = crc32c, _HEADERS.unpack_from, SEED_MASK
    header_bytes, headers_bytes, key_bytes_max, regular = HEADER_BYTES, _HEADERS.size, KEY_BYTES_MAX, _REGULAR
    position, limit, origin = 0, len(buffer), salt + base_bytes
    first_lsn, checksum = lsn, 0
    while True:
        key_at = position + headers_bytes
        if key_at > limit:
            break
        header_crc, payload_crc, size, what, next_lsn, key_bytes, value_bytes = unpack(buffer, position)
        body = position + header_bytes
        end = body + size
        if what != regular or next_lsn != lsn + 1 or end > limit:
            break
        if crc(buffer[position + 4 : body], (origin + position) & mask) != header_crc:
            break
        payload = buffer[body:end]
        if crc(payload, (origin + body) & mask) != payload_crc:
            break
        value_at = key_at + key_bytes
        if value_at + value_bytes == end and 0 < key_bytes <= key_bytes_max:
            entries[buffer[key_at:value_at]] = buffer[value_at:end]
        else:
            try:
                decode_into(payload, entries)
            except MalformedError:
                break
        lsn, checksum, position = next_lsn, header_crc, end
    records = lsn - first_lsn
    return position, lsn, checksum, records, position - records * header_bytes
