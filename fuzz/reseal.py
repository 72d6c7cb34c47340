"""Checksums made right again, so that a mutation gets past them to what lies behind.

Each function takes the bytes of one kind of file, however damaged, and returns
them with every checksum that their layout calls for put where it belongs. They
follow lengths and offsets as they stand, since those are what was mutated; so
what comes out is what a hostile or a broken writer could have written.

Nothing else is repaired: which fields are wrong is the point.
"""

from __future__ import annotations

import struct

from journalkit.format import envelope, frame, segment, table
from journalkit.format.block import CRC_BYTES
from journalkit.format.checksum import checksum, seed_at
from journalkit.format.filters import PAGE_BLOCKS, page_length
from journalkit.format.index import INDEX_ENTRY, LEVELS_MAX

_U32 = struct.Struct("<I")
_FRAMES_MAX = 10_000
_BLOCKS_MAX = 10_000
_INDEX_HEAD_BYTES = 5


def _put(out: bytearray, at: int, value: int) -> None:
    out[at : at + CRC_BYTES] = value.to_bytes(CRC_BYTES, "little")


def frames(data: bytes, start_bytes: int, base_bytes: int, salt: int) -> bytes:
    """Seal the frames that follow one another from `start_bytes`; `base_bytes` is where `data` begins in its file."""
    out = bytearray(data)
    at = start_bytes
    magic_at = frame.HEADER.offset_of("magic")
    for _ in range(_FRAMES_MAX):
        body = at + frame.HEADER_BYTES
        if body > len(out) or not any(out[at:body]):
            break
        end = body + _U32.unpack_from(out, at + 8)[0]
        out[at + magic_at : at + magic_at + 2] = frame.MAGIC.to_bytes(2, "little")
        _put(out, at + 4, checksum(out[body:end], seed_at(salt, base_bytes + body)))
        _put(out, at, checksum(out[at + 4 : body], seed_at(salt, base_bytes + at)))
        if end > len(out):
            break
        at = end
    return bytes(out)


def segment_header(data: bytes) -> bytes:
    """Seal a segment's header."""
    if len(data) < segment.HEADER_BYTES:
        return data
    out = bytearray(data)
    end = segment.HEADER_BYTES - CRC_BYTES
    _put(out, end, checksum(out[:end]))
    return bytes(out)


def segment_file(data: bytes) -> bytes:
    """Seal a segment: its header and every frame."""
    if len(data) < segment.HEADER_BYTES:
        return data
    out = segment_header(data)
    salt = _U32.unpack_from(out, segment.HEADER.offset_of("salt"))[0]
    return frames(out, segment.HEADER_BYTES, 0, salt)


def durable_slot(data: bytes) -> bytes:
    """Seal a durable slot."""
    end = segment.DURABLE.size - CRC_BYTES
    return data[:end] + checksum(data[:end]).to_bytes(CRC_BYTES, "little") if len(data) > end else data


def manifest_file(data: bytes) -> bytes:
    """Seal a manifest, the length of its body included."""
    if len(data) < envelope.HEADER_BYTES:
        return data
    out = bytearray(data)
    body = out[envelope.HEADER_BYTES :]
    _put(out, envelope.HEADER.offset_of("body_bytes"), len(body))
    _put(out, envelope.HEADER.offset_of("body_checksum"), checksum(body))
    end = envelope.HEADER_BYTES - CRC_BYTES
    _put(out, end, checksum(out[:end]))
    return bytes(out)


def block(data: bytes, salt: int, offset_bytes: int) -> bytes:
    """Seal a block, data or index, that begins at this offset of a table."""
    body = data[:-CRC_BYTES]
    return body + checksum(body, seed_at(salt, offset_bytes)).to_bytes(CRC_BYTES, "little")


def table_header(data: bytes) -> bytes:
    """Seal a table's header."""
    end = table.HEADER_BYTES - CRC_BYTES
    return data[:end] + checksum(data[:end]).to_bytes(CRC_BYTES, "little") + data[table.HEADER_BYTES :]


def table_footer(data: bytes, salt: int, offset_bytes: int) -> bytes:
    """Seal a footer that begins at this offset."""
    return block(data, salt, offset_bytes)


def table_file(data: bytes) -> bytes:
    """Seal a table: header, every block that an index leads to, and the footer, which names the root's checksum."""
    if len(data) < table.HEADER_BYTES + table.FOOTER_BYTES:
        return data
    out = bytearray(table_header(data))
    is_filtered = out[table.HEADER.offset_of("version")] != table.UNFILTERED
    salt = _U32.unpack_from(out, table.HEADER.offset_of("salt"))[0]
    footer_at = len(out) - table.FOOTER_BYTES
    root_at, root_bytes = struct.unpack_from("<QI", out, footer_at + table.FOOTER.offset_of("root_offset"))
    if root_at >= table.HEADER_BYTES and root_bytes > CRC_BYTES and root_at + root_bytes <= footer_at:
        _seal_below(out, salt, root_at, root_bytes, is_filtered=is_filtered)
        root_checksum = _U32.unpack_from(out, root_at + root_bytes - CRC_BYTES)[0]
        _put(out, footer_at + table.FOOTER.offset_of("root_checksum"), root_checksum)
    end = len(out) - CRC_BYTES
    _put(out, end, checksum(out[footer_at:end], seed_at(salt, footer_at)))
    return bytes(out)


def _seal_below(out: bytearray, salt: int, root_at: int, root_bytes: int, *, is_filtered: bool) -> None:
    """Seal an index block and what it points to, as far as that lies in the file and ahead of the index."""
    waiting = [(root_at, root_bytes, LEVELS_MAX)]
    for _ in range(_BLOCKS_MAX):
        if not waiting:
            return
        at, length, levels = waiting.pop()
        end = at + length - CRC_BYTES
        _put(out, end, checksum(out[at:end], seed_at(salt, at)))
        if not levels or end - at < _INDEX_HEAD_BYTES:
            continue
        count, level = struct.unpack_from("<IB", out, at)
        rows = bytes(out[at + _INDEX_HEAD_BYTES : at + _INDEX_HEAD_BYTES + count * INDEX_ENTRY.size])
        rows = rows[: len(rows) - len(rows) % INDEX_ENTRY.size]
        for _, _, offset, size, _, _ in INDEX_ENTRY.struct.iter_unpack(rows):
            if offset >= table.HEADER_BYTES and size > CRC_BYTES and offset + size <= at:
                waiting.append((offset, size, min(levels - 1, level)))
        if is_filtered and not level:
            _seal_pages(out, salt, at, [row[4] for row in INDEX_ENTRY.struct.iter_unpack(rows)])


def _seal_pages(out: bytearray, salt: int, index_at: int, entry_counts: list[int]) -> None:
    """Seal the filter pages in front of an index block that counts these entries, as far as there is room for them."""
    counts = [sum(entry_counts[first : first + PAGE_BLOCKS]) for first in range(0, len(entry_counts), PAGE_BLOCKS)]
    end = index_at
    for count in reversed(counts):
        at = end - page_length(_U32.pack(count & 0xFFFF_FFFF))
        if at < table.HEADER_BYTES:
            return
        _put(out, end - CRC_BYTES, checksum(out[at : end - CRC_BYTES], seed_at(salt, at)))
        end = at
