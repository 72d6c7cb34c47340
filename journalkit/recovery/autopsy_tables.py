"""What happened inside a damaged table: each fault of its remains, with the cause that its bytes prove. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from journalkit.format.block import CRC_BYTES, block_length, decode_block, plain
from journalkit.format.checksum import SEED_MASK, seed_at
from journalkit.format.filters import page_length
from journalkit.format.index import decode_index
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.table import FOOTER_BYTES, HEADER_BYTES, TableInfo, decode_footer, decode_header
from journalkit.fs.interface import ReadableFile
from journalkit.recovery.autopsy import WINDOW_BYTES
from journalkit.recovery.damage import DamageKind
from journalkit.recovery.diagnosis import Cause, Finding, bit_text
from journalkit.recovery.evidence import SECTOR_BYTES, flipped_around, implied_seed, turned_back, zeroed
from journalkit.recovery.salvage_tables import Fault, TableRemains

_SEEDS_MAX: Final = 128 * 1024
"""The place for which longer blocks were written isn't looked for: it takes a step in Python a byte."""


@dataclass(frozen=True, slots=True)
class TableHome:
    """A table from which blocks may have come."""

    name: str
    salt: int
    file: ReadableFile


def examine_table(
    file: ReadableFile, remains: TableRemains, info: TableInfo | None, homes: Sequence[TableHome]
) -> list[Finding]:
    """Return each damage of a table as a finding, in the order in which `remains` tells them.

    `info` is the manifest's entry, None without a manifest: then a table
    that lost its end can't be told from one whose end was overwritten.

    Raises:
        OSError: The file can't be read.
    """
    size = remains.size_bytes
    expected = info.size_bytes if info is not None else size
    found = []
    for fault in remains.faults:
        end = fault.offset_bytes + fault.length_bytes
        if end >= size < expected:
            proof = f"the file ends at byte {size}, {expected} were promised"
            start = size if _is_footer(fault, size) else fault.offset_bytes
            found.append(
                Finding(remains.name, Cause(DamageKind.TRUNCATED_FILE, proof), start, expected, lost_keys=fault.keys)
            )
        else:
            cause = _cause(file, remains, fault, homes)
            found.append(Finding(remains.name, cause, fault.offset_bytes, end, lost_keys=fault.keys))
    return _merged(found)


def _merged(found: list[Finding]) -> list[Finding]:
    """Return one finding of a truncation, with the keys it costs, and the others as they are."""
    cut = [finding for finding in found if finding.cause.kind is DamageKind.TRUNCATED_FILE]
    if len(cut) < 2:
        return found
    keys = next((finding.lost_keys for finding in cut if finding.lost_keys is not None), None)
    start = min(finding.offset_bytes or 0 for finding in cut)
    one = Finding(cut[0].file, cut[0].cause, start, cut[0].end_bytes, lost_keys=keys)
    return [finding for finding in found if finding not in cut] + [one]


def _is_footer(fault: Fault, size_bytes: int) -> bool:
    return fault.length_bytes == FOOTER_BYTES and fault.offset_bytes == max(size_bytes - FOOTER_BYTES, 0)


def _cause(file: ReadableFile, remains: TableRemains, fault: Fault, homes: Sequence[TableHome]) -> Cause:
    at, size = fault.offset_bytes, remains.size_bytes
    raw = file.pread(min(fault.length_bytes, WINDOW_BYTES), at)
    flip = flipped_around(raw, seed=0 if at == 0 else seed_at(remains.salt, at)) if len(raw) > CRC_BYTES else None
    if flip is not None and _is_whole(turned_back(raw, flip), remains.salt, at, is_end=at + FOOTER_BYTES == size):
        return Cause(DamageKind.FLIPPED_BIT, bit_text(at, flip))
    origin = _origin(raw, remains.name, at, homes)
    if origin is not None:
        return Cause(DamageKind.MISDIRECTED_BLOCK, f"at byte {at} stands what was written for {origin}")
    base = at // SECTOR_BYTES * SECTOR_BYTES
    stop = min(-(-(at + max(fault.length_bytes, 1)) // SECTOR_BYTES) * SECTOR_BYTES, size, base + WINDOW_BYTES)
    window = file.pread(max(stop - base, 0), base)
    zeros = zeroed(window, base, at, at + fault.length_bytes, is_end=stop == size)
    if zeros is None:
        return Cause(DamageKind.DAMAGED)
    return Cause(DamageKind.ZEROED_PAGE, f"zeros from byte {zeros.start_bytes} to {zeros.end_bytes}")


def _is_whole(raw: bytes, salt: int, at: int, *, is_end: bool) -> bool:
    """Whether these bytes, whose checksum is right, are what a table has at this place."""
    if at == 0:
        return _decodes(lambda: decode_header(raw))
    if is_end and len(raw) == FOOTER_BYTES:
        return _decodes(lambda: decode_footer(raw, salt=salt, offset_bytes=at))
    is_page = page_length(raw) == len(raw)
    return is_page or _decodes(lambda: decode_block(plain(raw))) or _decodes(lambda: decode_index(raw, offset_bytes=at))


def _decodes(decode: Callable[[], object]) -> bool:
    try:
        decode()
    except (MalformedError, NewerFormatError):
        return False
    return True


def _origin(raw: bytes, name: str, at: int, homes: Sequence[TableHome]) -> str | None:
    """Return where the data block that stands here belongs, if it is one and stands there too."""
    length = block_length(raw)
    if not CRC_BYTES < length <= min(len(raw), _SEEDS_MAX):
        return None
    block = raw[:length]
    seed = implied_seed(block[:-CRC_BYTES], int.from_bytes(block[-CRC_BYTES:], "little"))
    for home in homes:
        offset = (seed - home.salt) & SEED_MASK
        elsewhere = offset >= HEADER_BYTES and (home.name, offset) != (name, at)
        if elsewhere and home.file.pread(length, offset) == block:
            return f"byte {offset} of {home.name}"
    return None
