"""A close look at a store, with its manifest or without: then each file is told by what can be salvaged of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from journalkit.cli.examination import Advance, Examination, examine
from journalkit.cli.terminal import count, span
from journalkit.cli.verdicts import FileVerdict, size_of
from journalkit.errors import CorruptionError
from journalkit.format import names
from journalkit.format.manifest import MANIFEST_BYTES_MAX
from journalkit.fs.interface import ReadableFileSystem
from journalkit.recovery.damage import DamageKind
from journalkit.recovery.diagnosis import Cause, Finding, manifest_cause
from journalkit.recovery.findings import look_into
from journalkit.recovery.salvage import FOREIGN_MANIFEST, Remains, take_stock
from journalkit.recovery.unreadable import ForgivingFileSystem, Unreadable

_UNEXPLAINED: Final = (DamageKind.DAMAGED, DamageKind.DAMAGED_MANIFEST)


def look_closely(
    fs: ForgivingFileSystem, directory: str, advance: Advance
) -> tuple[Examination | None, Sequence[FileVerdict], Remains | None]:
    """Read every byte and look for the cause of each damage; return what was found, and each file's verdict.

    Where there is no sound manifest there is no examination, and the remains speak.

    Raises:
        StoreNotFoundError, UsageError: There is nothing of ours, or the path is a file.
        UnsupportedFormatError: A later version wrote it.
        OSError: The files can't be read.
    """
    try:
        found = examine(fs, directory, deep=True, causes=True, advance=advance)
    except CorruptionError as error:
        files, remains = list_remains(fs, directory, error, advance)
        return None, [_as_read(file, fs.unreadable) for file in files], remains
    found = replace(found, files=tuple(_as_read(file, fs.unreadable) for file in found.files))
    return found, found.files, None


def _as_read(file: FileVerdict, unreadable: Unreadable) -> FileVerdict:
    """Return the verdict of a file with what of it the device didn't give back."""
    findings = list(file.findings)
    for start, end in unreadable.ranges.get(file.name, ()):
        cause = Cause(DamageKind.UNREADABLE, f"the device doesn't give back byte {start} to {end}")
        hit = [at for at, found in enumerate(findings) if _overlaps(found, start, end)]
        for at in hit:
            findings[at] = replace(findings[at], cause=cause)
        if not hit:
            findings.append(Finding(file.name, cause, start, end))
    if file.verdict == "damaged" or not findings:
        return replace(file, findings=tuple(findings))
    return replace(file, verdict="damaged", reason="a part of it can't be read", findings=tuple(findings))


def _overlaps(found: Finding, start: int, end: int) -> bool:
    """Whether damage that nobody could explain is where these bytes are."""
    first = found.offset_bytes or 0
    return found.cause.kind in _UNEXPLAINED and first < end and (found.end_bytes is None or start < found.end_bytes)


def list_remains(
    fs: ReadableFileSystem, directory: str, error: CorruptionError, advance: Advance
) -> tuple[tuple[FileVerdict, ...], Remains]:
    """Return a verdict on each file of a store whose manifest can't be had, as `error` says; and its remains.

    Raises:
        UnsupportedFormatError: A later version wrote it.
        OSError: The files can't be read.
    """
    remains = take_stock(fs, directory, advance)
    found = look_into(fs, directory, remains)
    manifest = FileVerdict(
        names.MANIFEST,
        size_of(fs, directory, names.MANIFEST),
        "damaged",
        "what is live",
        error.reason,
        error.offset_bytes,
        survives="what `journalkit salvage` finds in the other files",
        findings=(Finding(names.MANIFEST, _cause(fs, directory, error), error.offset_bytes),),
    )
    files = [manifest]
    for segment in remains.segments:
        holds = count(segment.records, "whole record")
        if segment.records:
            holds += f", {span(segment.first_lsn, segment.last_lsn)}"
        files.append(_unjudged(segment.name, segment.size_bytes, holds, found[segment.name]))
    for table in remains.tables:
        holds = f"{count(table.entry_count, 'intact entry')} at LSN {table.lsn}"
        files.append(_unjudged(table.name, table.size_bytes, holds, found[table.name]))
    for name in remains.foreign:
        reason = "the file is another store's, or a copy"
        files.append(
            FileVerdict(name, size_of(fs, directory, name), "damaged", "", reason, findings=tuple(found[name]))
        )
    return tuple(files), remains


def _cause(fs: ReadableFileSystem, directory: str, error: CorruptionError) -> Cause:
    if error.reason == FOREIGN_MANIFEST:
        return Cause(DamageKind.FOREIGN_FILE)
    try:
        file = fs.open_read(os.path.join(directory, names.MANIFEST))
    except FileNotFoundError:
        return manifest_cause(None)
    try:
        return manifest_cause(file.pread(MANIFEST_BYTES_MAX, 0))
    finally:
        file.close()


def _unjudged(name: str, size_bytes: int, holds: str, found: Sequence[Finding]) -> FileVerdict:
    if not found:
        return FileVerdict(name, size_bytes, "unjudged", holds)
    first = found[0]
    reason = first.cause.proof or "bytes that are nothing whole"
    lsn = first.lost_lsns[0] if first.lost_lsns is not None else None
    survives = f"{holds}, by `journalkit salvage`"
    return FileVerdict(
        name, size_bytes, "damaged", holds, reason, first.offset_bytes, lsn, survives, findings=tuple(found)
    )
