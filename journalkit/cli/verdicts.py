"""The words for what was found: each file's verdict, what it holds, and what survives of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from journalkit.cli.terminal import count, span
from journalkit.fs.interface import ReadableFileSystem
from journalkit.recovery.damage import Damage, DamageKind
from journalkit.recovery.diagnosis import Finding
from journalkit.recovery.plan import Cut
from journalkit.recovery.salvage_ranges import LsnRange
from journalkit.recovery.scan import SegmentScan

Verdict: TypeAlias = Literal["sound", "torn tail", "damaged", "unjudged"]

NOTHING: Final = "nothing of it"
_RANGES_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """One file: what it holds, whether it is sound, and if not where, why, and what survives."""

    name: str
    size_bytes: int
    verdict: Verdict
    holds: str
    reason: str = ""
    offset_bytes: int | None = None
    lsn: int | None = None
    survives: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def kind(self) -> DamageKind | None:
        """What happened to it, first of all; None where nothing did, or nobody looked."""
        return self.findings[0].cause.kind if self.findings else None


def worst(files: Iterable[FileVerdict]) -> Verdict:
    """Return what the verdicts of a directory's files come to."""
    found = {file.verdict for file in files}
    if "damaged" in found:
        return "damaged"
    return "torn tail" if "torn tail" in found else "sound"


def size_of(fs: ReadableFileSystem, directory: str, name: str) -> int:
    """Return a file's size, 0 if there is none of that name."""
    status = fs.status(os.path.join(directory, name))
    return status.size_bytes if status is not None else 0


def blamed(file: FileVerdict, found: list[Damage]) -> FileVerdict:
    """Return the verdict as damage leaves it, the first of it in words."""
    if not found:
        return file
    first = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return replace(file, verdict="damaged", reason=first.reason + more, offset_bytes=first.offset_bytes, lsn=first.lsn)


def torn(file: FileVerdict, cut: Cut, segment: SegmentScan) -> FileVerdict:
    """Return the verdict of a segment with a tail that is to be cut."""
    survives = f"every promised record, up to LSN {cut.lsn - 1}"
    if segment.beyond.records:
        survives += f"; {count(segment.beyond.records, 'whole record')} in the tail that nobody was promised"
    return replace(
        file,
        verdict="torn tail",
        reason=f"{cut.count_bytes} bytes that nothing promised ({cut.reason})",
        offset_bytes=cut.offset_bytes,
        lsn=cut.lsn,
        survives=survives,
    )


def segment_holds(segment: SegmentScan) -> str:
    """Return what a segment holds, or would if it were whole."""
    entry = segment.entry
    if not segment.present:
        return "records"
    if segment.header is None:
        return "nothing yet: prepared ahead" if segment.is_blank else "records"
    first_lsn = entry.first_lsn or segment.header.first_lsn
    # Of a damaged segment, what belongs there.
    last_lsn = entry.end.last_lsn if entry.end is not None else segment.last_lsn
    what = span(first_lsn, last_lsn) if last_lsn >= first_lsn else "no record yet"
    if segment.sealed or (entry.end is not None and entry.end.sealed):
        return f"{what}, sealed"
    return f"{what}, ended by recovery" if entry.end is not None else f"{what}, open"


def segment_survives(segment: SegmentScan, whole: Sequence[LsnRange]) -> str:
    """Return what of a damaged segment can be read: the records that are known to be `whole`, or about how many."""
    if whole:
        shown = [span(*lsns) for lsns in whole[:_RANGES_SHOWN]] + ["..."] * (len(whole) > _RANGES_SHOWN)
        return ", ".join(shown)
    parts = []
    if segment.records and segment.header is not None:
        parts.append(f"{span(segment.header.first_lsn, segment.last_lsn)} before it")
    if segment.beyond.records:
        parts.append(f"{count(segment.beyond.records, 'whole record')} behind it")
    return ", ".join(parts) if parts else NOTHING
