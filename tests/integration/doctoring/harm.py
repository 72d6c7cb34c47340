"""Harm: each kind of damage that is done to a log or a manifest, and what verify has to say of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from journalkit.format import names


@dataclass
class Expected:
    """What verify has to say of a damage: the kind by file, and of log files where and which records."""

    kinds: dict[str, str]
    offset: int | None = None
    lost: list[int] = field(default_factory=list)
    proof: str = ""
    manifest: bool = True
    complete: bool | None = None


def middle(patient: Any) -> str:
    """Return a segment of the tail that isn't the last one: no snapshot holds its records."""
    return str(patient.segments[-3])


def lsns(records: list[Any]) -> list[int]:
    """Return the first and the last LSN."""
    return [records[0].lsn, records[-1].lsn]


def flipped_payload(patient: Any) -> Expected:
    """A bit of a record's payload."""
    record = patient.of(middle(patient))[2]
    patient.flip(record.file, record.offset + 100, 3)
    proof = f"one bit flipped: bit 3 of byte {record.offset + 100}"
    return Expected({record.file: "flipped-bit"}, record.offset, [record.lsn, record.lsn], proof)


def flipped_header(patient: Any) -> Expected:
    """A bit of a record's length."""
    record = patient.of(middle(patient))[2]
    patient.flip(record.file, record.offset + 9, 0)
    proof = f"one bit flipped: bit 0 of byte {record.offset + 9}"
    return Expected({record.file: "flipped-bit"}, record.offset, [record.lsn, record.lsn], proof)


def flipped_last_record(patient: Any) -> Expected:
    """A bit of the very last record, which only the slot or a seal promises."""
    record = patient.records[-1]
    patient.flip(record.file, record.offset + 100, 7)
    return Expected({record.file: "flipped-bit"}, record.offset, [record.lsn, record.lsn], "bit 7")


def flipped_file_header(patient: Any) -> Expected:
    """A bit of a segment's own header: all its records can still be read, since the manifest has the salt."""
    name = middle(patient)
    patient.flip(name, 30, 1)
    return Expected({name: "flipped-bit"}, 0, [], "one bit flipped: bit 1 of byte 30")


def zeroed(patient: Any, size: int) -> Expected:
    """Whole sectors that read as zeros."""
    name = middle(patient)
    at = 4096
    hit = [record for record in patient.of(name) if record.offset < at + size and record.end > at]
    patient.patch(name, at, bytes(min(size, len(patient.read(name)) - at)))
    return Expected({name: "zeroed-page"}, hit[0].offset, lsns(hit), f"zeros from byte {at} to")


def zeroed_sector(patient: Any) -> Expected:
    """512 bytes."""
    return zeroed(patient, 512)


def zeroed_page(patient: Any) -> Expected:
    """4096 bytes, or as many as the file has."""
    return zeroed(patient, 4096)


def misdirected(patient: Any, size: int) -> Expected:
    """Sectors of one segment in the place of another one's."""
    name, other = middle(patient), str(patient.segments[-2])
    at, source = 2048, 1024
    hit = [record for record in patient.of(name) if record.offset < at + size and record.end > at]
    patient.patch(name, at, patient.read(other)[source : source + size])
    return Expected({name: "misdirected-block"}, hit[0].offset, lsns(hit), other)


def misdirected_sector(patient: Any) -> Expected:
    """One sector, with or without the beginning of a record in it."""
    return misdirected(patient, 512)


def misdirected_page(patient: Any) -> Expected:
    """Four sectors."""
    return misdirected(patient, 2048)


def garbled(patient: Any) -> Expected:
    """Bytes of which nothing can be proved: plain damage, and no guess."""
    record = patient.of(middle(patient))[3]
    patient.patch(record.file, record.offset + 50, b"garbled, and nobody can say how")
    return Expected({record.file: "damaged"}, record.offset, [record.lsn, record.lsn])


def truncated(patient: Any) -> Expected:
    """A file that ends inside a record."""
    name = middle(patient)
    hit = patient.of(name)[4:]
    patient.write(name, patient.read(name)[: hit[0].offset + 77])
    return Expected({name: "truncated-file"}, hit[0].offset, lsns(hit), f"ends at byte {hit[0].offset + 77}")


def truncated_between(patient: Any) -> Expected:
    """A file that ends where a record does."""
    name = middle(patient)
    hit = patient.of(name)[4:]
    patient.write(name, patient.read(name)[: hit[0].offset])
    return Expected({name: "truncated-file"}, hit[0].offset, lsns(hit), f"ends at byte {hit[0].offset}")


def truncated_last(patient: Any) -> Expected:
    """The newest segment, cut inside a record."""
    name = str(patient.segments[-1])
    hit = patient.of(name)[1:]
    patient.write(name, patient.read(name)[: hit[0].offset + 20])
    return Expected({name: "truncated-file"}, hit[0].offset, lsns(hit), f"ends at byte {hit[0].offset + 20}")


def emptied(patient: Any) -> Expected:
    """A file of no bytes."""
    name = middle(patient)
    patient.write(name, b"")
    return Expected({name: "truncated-file"}, 0, lsns(patient.of(name)), "ends at byte 0")


def missing(patient: Any) -> Expected:
    """A file that isn't there."""
    name = middle(patient)
    (patient.path / name).unlink()
    return Expected({name: "missing-file"}, None, lsns(patient.of(name)))


def swapped(patient: Any) -> Expected:
    """Two files that changed names: nothing is lost."""
    one, other = middle(patient), str(patient.segments[-2])
    first, second = patient.read(one), patient.read(other)
    patient.write(one, second)
    patient.write(other, first)
    return Expected({one: "swapped-files", other: "swapped-files"}, 0, [], f"it is {other}")


def duplicated(patient: Any) -> Expected:
    """A copy of another segment, where one should be."""
    name, other = middle(patient), str(patient.segments[-2])
    patient.write(name, patient.read(other))
    return Expected({name: "duplicated-file"}, 0, lsns(patient.of(name)), f"copy of {other}")


def duplicated_beside(patient: Any) -> Expected:
    """A copy of a segment under a name that none has: nothing is lost."""
    other = middle(patient)
    name = names.segment_name(900)
    patient.write(name, patient.read(other))
    return Expected({name: "duplicated-file"}, 0, [], f"copy of {other}")


def renamed(patient: Any) -> Expected:
    """A segment under a name that none has: missing, and not lost."""
    other = middle(patient)
    name = names.segment_name(900)
    (patient.path / other).rename(patient.path / name)
    return Expected({other: "missing-file", name: "renamed-file"}, None, [], f"under the name {name}")


def rolled_back(patient: Any) -> Expected:
    """A segment as it was three records earlier: the same file, with room prepared behind."""
    name = middle(patient)
    hit = patient.of(name)[4:]
    patient.write(name, patient.read(name)[: hit[0].offset] + bytes(65536 - hit[0].offset))
    return Expected({name: "rolled-back-file"}, hit[0].offset, lsns(hit), f"last record was LSN {hit[0].lsn - 1}")


LOG_DAMAGES = [
    flipped_payload, flipped_header, flipped_last_record, flipped_file_header, zeroed_sector, zeroed_page,
    misdirected_sector, misdirected_page, garbled, truncated, truncated_between, truncated_last, emptied, missing,
    swapped, duplicated, duplicated_beside, renamed, rolled_back,
]  # fmt: skip


def manifest_flipped(patient: Any) -> Expected:
    """A bit of the manifest."""
    patient.flip(names.MANIFEST, 100, 5)
    return Expected({names.MANIFEST: "damaged-manifest"}, proof="bit 5 of byte 100", manifest=False)


def manifest_header_flipped(patient: Any) -> Expected:
    """A bit of the manifest's header."""
    patient.flip(names.MANIFEST, 13, 2)
    return Expected({names.MANIFEST: "damaged-manifest"}, proof="bit 2 of byte 13", manifest=False)


def manifest_zeroed(patient: Any) -> Expected:
    """The manifest's first sector, or all there is."""
    patient.write(names.MANIFEST, bytes(min(512, len(patient.read(names.MANIFEST)))))
    return Expected({names.MANIFEST: "damaged-manifest"}, proof="zeros from byte 0 to", manifest=False)


def manifest_truncated(patient: Any) -> Expected:
    """Half a manifest."""
    patient.write(names.MANIFEST, patient.read(names.MANIFEST)[:200])
    return Expected({names.MANIFEST: "damaged-manifest"}, proof="cut short: 200 of", manifest=False)


def manifest_emptied(patient: Any) -> Expected:
    """What some file systems leave of a file that was being written."""
    patient.write(names.MANIFEST, b"")
    return Expected({names.MANIFEST: "damaged-manifest"}, proof="0 bytes are left", manifest=False)


def manifest_missing(patient: Any) -> Expected:
    """No manifest."""
    (patient.path / names.MANIFEST).unlink()
    return Expected({names.MANIFEST: "missing-manifest"}, manifest=False)


MANIFEST_DAMAGES = [
    manifest_flipped, manifest_header_flipped, manifest_zeroed, manifest_truncated, manifest_emptied, manifest_missing,
]  # fmt: skip
