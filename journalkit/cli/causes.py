"""What happened, what is left and what to do next, in words and as JSON: for `verify`, `recover` and `salvage`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from journalkit.cli.examination import Examination
from journalkit.cli.page import Cell, Grid, Toned
from journalkit.cli.shown import range_json, range_text
from journalkit.cli.terminal import count, span
from journalkit.cli.verdicts import FileVerdict
from journalkit.recovery.damage import DamageKind
from journalkit.recovery.diagnosis import Finding
from journalkit.recovery.salvage import Remains
from journalkit.recovery.salvage_ranges import ALL_KEYS

_KEY_WIDTH: Final = 24
_SHOWN: Final = 4
_LINES_SHOWN: Final = 40

_BY_NAME: Final = {
    DamageKind.SWAPPED_FILES: "give the files back the names that belong to them, and verify again",
    DamageKind.RENAMED_FILE: "give the file back the name that belongs to it, and verify again",
}
"""What mends damage that is none to the bytes. Nothing of it is lost, and `journalkit` doesn't rename anything."""


def words(kind: DamageKind) -> str:
    """Return a kind as a person reads it."""
    return kind.value.replace("-", " ")


def finding_json(finding: Finding) -> dict[str, Any]:
    """Return one damage for JSON."""
    lsns, keys = finding.lost_lsns, finding.lost_keys
    return {
        "kind": finding.cause.kind,
        "proof": finding.cause.proof or None,
        "offset_bytes": finding.offset_bytes,
        "end_bytes": finding.end_bytes,
        "lost_lsns": list(lsns) if lsns is not None else None,
        "lost_keys": range_json(keys) if keys is not None else None,
    }


def damage_json(files: Sequence[FileVerdict]) -> list[dict[str, Any]]:
    """Return every damage for JSON, each with its file."""
    return [{"file": file.name} | finding_json(finding) for file in files for finding in file.findings]


def damage_grid(files: Sequence[FileVerdict]) -> Grid:
    """Return every damage in a line."""
    damage = [
        (file.name, Toned(words(finding.cause.kind), "bad"), where(finding).removeprefix("byte "), lost(finding))
        for file in files
        for finding in file.findings
    ]
    return Grid("damage", ("file", "what happened", "bytes", "lost"), damage[:_LINES_SHOWN])


def rows(findings: Sequence[Finding]) -> list[tuple[str, Cell]]:
    """Return the damages of one file as fields: the first in full, some more in a line each."""
    first = findings[0]
    found: list[tuple[str, Cell]] = []
    if first.cause.proof:
        found.append(("proof", first.cause.proof))
    if first.offset_bytes is not None:
        found.append(("where", where(first)))
    if cost := lost(first):
        found.append(("lost", cost))
    for other in findings[1:_SHOWN]:
        what = [words(other.cause.kind), where(other), lost(other), other.cause.proof]
        found.append(("and", "; ".join(part for part in what if part)))
    if len(findings) > _SHOWN:
        found.append(("and", f"{len(findings) - _SHOWN} more; --json tells all"))
    return found


def where(finding: Finding) -> str:
    """Return from which byte to which a damage goes, "" if it has no place."""
    if finding.offset_bytes is None:
        return ""
    if finding.end_bytes is None:
        return f"byte {finding.offset_bytes}"
    return f"byte {finding.offset_bytes} to {finding.end_bytes}"


def lost(finding: Finding) -> str:
    """Return which records or keys a damage costs, "" if none."""
    if finding.lost_lsns is not None:
        return span(*finding.lost_lsns)
    if finding.lost_keys == ALL_KEYS:
        return "all its keys"
    if finding.lost_keys is not None:
        return "keys " + " to ".join(range_text(finding.lost_keys, _KEY_WIDTH))
    return ""


def told(files: Sequence[FileVerdict]) -> str:
    """Return in one line how many files are damaged, and how."""
    damaged = [file for file in files if file.verdict == "damaged"]
    kinds = sorted({words(finding.cause.kind) for file in damaged for finding in file.findings})
    return f"{count(len(damaged), 'file')} ({', '.join(kinds)})"


def remains_json(remains: Remains) -> dict[str, Any]:
    """Return what a salvage would find, for JSON."""
    return {
        "complete": remains.is_complete,
        "last_lsn": remains.last_lsn,
        "records": sum(segment.records for segment in remains.segments),
        "missing_lsns": [list(gap) for gap in remains.missing],
        "snapshots": sorted({found.layers.lsn for found in remains.spans if found.layers is not None}, reverse=True),
        "lost_keys": [
            range_json(found.keys) | {"from_snapshot_lsn": found.lsn if found.layers is not None else None}
            for found in remains.losses
        ],
    }


def survives(found: Examination | None, remains: Remains | None) -> list[Cell]:
    """Return what survives of the whole, in a line or two."""
    if remains is None:
        return []
    lines: list[Cell] = []
    if found is not None:
        lines.append(f"recovery keeps: {_recovered(found, remains)}")
    if remains.is_complete:
        lines.append(f"salvage gives: everything, up to LSN {remains.last_lsn}")
    else:
        gaps = [span(*gap) for gap in remains.missing[:_SHOWN]] + ["..."] * (len(remains.missing) > _SHOWN)
        without = f" without {', '.join(gaps)}" if gaps else ""
        lines.append(f"salvage gives: the state up to LSN {remains.last_lsn}{without}")
    return lines


def _recovered(found: Examination, remains: Remains) -> str:
    if not found.usable:
        return "nothing: no snapshot is sound, and the log doesn't reach back to the beginning"
    base = f"the snapshot at LSN {found.snapshot.lsn}" if found.snapshot is not None else "the beginning"
    is_all = remains.is_complete and found.plan.last_lsn == remains.last_lsn
    lossless = "; nothing is lost" if not found.plan.damage else "; nothing of the state is lost" if is_all else ""
    return f"the state at LSN {found.plan.last_lsn}, from {base} and the log{lossless}"


def steps(path: str, found: Examination | None, files: Sequence[FileVerdict]) -> list[str]:
    """Return what to do next, the best first."""
    kinds = {finding.cause.kind for file in files for finding in file.findings}
    salvage = f"`journalkit salvage {path} NEW` copies every intact record"
    if found is not None and not found.plan.damage and found.usable:
        return [f"`journalkit recover {path}` rebuilds the snapshot"]
    mends = [step for kind, step in _BY_NAME.items() if kind in kinds]
    if found is not None and (extra := _only_extra(found)):
        mends.append(f"move {extra} out of the directory, and verify again")
    if found is None or not found.usable:
        return [*mends, "restore a backup", salvage]
    prefix = f"`journalkit recover {path} --mode point-in-time` keeps the state at LSN {found.plan.last_lsn}"
    return [*mends, "restore a backup", prefix, salvage]


def _only_extra(found: Examination) -> str:
    """Return the first of the files that don't belong there, if they are all the damage there is."""
    extra = {item.file for item in found.strays.damage if item.kind is not DamageKind.ROLLED_BACK_FILE}
    return min(extra) if extra and {item.file for item in found.plan.damage} <= extra else ""
