"""Diagnosis: what a file is that isn't what its name says, and what is wrong with a manifest. Pure.

A kind of damage is named only where bytes prove it: headers name store,
number, epoch and salt; checksums are seeded with a place.

What happened inside a segment is found by `recovery.autopsy`, inside a table by
`recovery.autopsy_tables`; both name it with the words of this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from journalkit.format import names
from journalkit.format.checksum import checksum
from journalkit.format.envelope import HEADER as MANIFEST_HEADER
from journalkit.format.envelope import HEADER_BYTES as MANIFEST_HEADER_BYTES
from journalkit.format.manifest import Manifest, SegmentEntry
from journalkit.format.segment import DurableSlot, SegmentHeader
from journalkit.format.table import TableHeader, TableInfo
from journalkit.recovery.damage import DamageKind
from journalkit.recovery.evidence import Bit, flipped_around, flipped_bit, zeroed_sectors
from journalkit.recovery.salvage_ranges import KeyRange, LsnRange


class Cause(NamedTuple):
    """A kind, and what proves it in words; "" if there is no more to say."""

    kind: DamageKind
    proof: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One damage: what happened, from which byte to which, and the records or the keys that it costs."""

    file: str
    cause: Cause
    offset_bytes: int | None = None
    end_bytes: int | None = None
    lost_lsns: LsnRange | None = None
    lost_keys: KeyRange | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file with a segment's or a table's name says it is.

    `header` None: nothing that can be believed; `is_blank`: it begins with zeros.
    """

    name: str
    size_bytes: int
    header: SegmentHeader | TableHeader | None
    is_blank: bool = False

    @property
    def own_name(self) -> str:
        """The name that belongs to the file by its header."""
        if self.header is None:
            return self.name
        is_segment = isinstance(self.header, SegmentHeader)
        return (names.segment_name if is_segment else names.table_name)(self.header.number)


Census = Mapping[str, Identity]


def bit_text(at_bytes: int, flip: Bit) -> str:
    """Return which bit was flipped, in something that begins at that byte of its file."""
    return f"one bit flipped: bit {flip.bit} of byte {at_bytes + flip.byte}"


def misplaced(name: str, census: Census, manifest: Manifest) -> Cause | None:
    """Return what it means that the file under this name is another one; None if its header doesn't say so."""
    here = census.get(name)
    if here is None or here.header is None:
        return None
    header, home = here.header, here.own_name
    if header.store != manifest.store:
        return Cause(DamageKind.FOREIGN_FILE, f"it is {home} of store {header.store.hex()}")
    if home == name:
        return _another_life(header, manifest)
    at_home = census.get(home)
    if at_home is None:
        if home in named_files(manifest):
            return Cause(DamageKind.RENAMED_FILE, f"it is {home}, which is missing under its own name")
        return Cause(DamageKind.ROLLED_BACK_FILE, f"it is {home}, which the manifest doesn't name")
    if at_home.is_blank:
        return Cause(DamageKind.SWAPPED_FILES, f"it is {home}, and what has that name was prepared for later")
    if at_home.header is None:
        return Cause(DamageKind.RENAMED_FILE, f"it is {home}, and what has that name can't be read")
    if _is_same(header, at_home.header):
        return Cause(DamageKind.DUPLICATED_FILE, f"it is a copy of {home}")
    return Cause(DamageKind.SWAPPED_FILES, f"it is {home}, and what has that name is {at_home.own_name}")


def _is_same(one: SegmentHeader | TableHeader, other: SegmentHeader | TableHeader) -> bool:
    return (one.store, one.number, one.salt) == (other.store, other.number, other.salt)


def _another_life(header: SegmentHeader | TableHeader, manifest: Manifest) -> Cause | None:
    """Return what a file of the right store and number is that has another salt or epoch than the manifest says."""
    entry = _named(header, manifest)
    if entry is None or entry.salt == header.salt:
        return None
    if isinstance(entry, SegmentEntry) and isinstance(header, SegmentHeader) and header.epoch != entry.epoch:
        proof = f"it is of epoch {header.epoch}, where the manifest names one of epoch {entry.epoch}"
        return Cause(DamageKind.ROLLED_BACK_FILE, proof)
    return Cause(DamageKind.FOREIGN_FILE, "it is of a clone of this store")


def _named(header: SegmentHeader | TableHeader, manifest: Manifest) -> SegmentEntry | TableInfo | None:
    entries = manifest.segments if isinstance(header, SegmentHeader) else tables_of(manifest)
    return next((entry for entry in entries if entry.number == header.number), None)


def tables_of(manifest: Manifest) -> list[TableInfo]:
    """Return the tables of all snapshots."""
    return [info for entry in manifest.snapshots for info in entry.tables]


def named_files(manifest: Manifest) -> set[str]:
    """Return the names of the segments and tables that the manifest names."""
    return {names.segment_name(entry.number) for entry in manifest.segments} | {
        names.table_name(info.number) for info in tables_of(manifest)
    }


def is_foreign_manifest(manifest: Manifest, census: Census, slot: DurableSlot | None) -> bool:
    """Whether the manifest is the stranger: no file is of its store, and at least two are of one other."""
    stores = Counter(found.header.store for found in census.values() if found.header is not None)
    if slot is not None:
        stores[slot.store] += 1
    return manifest.store not in stores and max(stores.values(), default=0) > 1


def manifest_cause(data: bytes | None) -> Cause:
    """Return what is wrong with the bytes of a manifest that can't be read; None: there is no such file."""
    if data is None:
        return Cause(DamageKind.MISSING_MANIFEST)
    return Cause(DamageKind.DAMAGED_MANIFEST, _manifest_proof(data))


def _manifest_proof(data: bytes) -> str:
    head, body = data[:MANIFEST_HEADER_BYTES], data[MANIFEST_HEADER_BYTES:]
    if len(head) < MANIFEST_HEADER_BYTES:
        return f"cut short: {len(data)} bytes are left"
    if checksum(head[:-4]) != int.from_bytes(head[-4:], "little"):
        flip = flipped_around(head)
        if flip is not None:
            return bit_text(0, flip)
    else:
        fields = MANIFEST_HEADER.unpack(head)
        if len(body) < fields["body_bytes"]:
            return f"cut short: {len(data)} of {MANIFEST_HEADER_BYTES + fields['body_bytes']} bytes are left"
        flip = flipped_bit(len(body), checksum(body) ^ fields["body_checksum"])
        if flip is not None:
            return bit_text(MANIFEST_HEADER_BYTES, flip)
    zeros = next(zeroed_sectors(data, 0, is_end=True), None)
    return f"zeros from byte {zeros.start_bytes} to {zeros.end_bytes}" if zeros is not None else ""
