"""`journalkit verify`: is it sound? Every byte is read and none written."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any, Final

from journalkit.cli import causes, codes
from journalkit.cli.arguments import Commands, add_command, add_path
from journalkit.cli.examination import Examination
from journalkit.cli.page import Cell, Fields, Grid, Part, Remarks, Tone, Toned, show
from journalkit.cli.remains import look_closely
from journalkit.cli.terminal import count, progress, say_json, size
from journalkit.cli.verdicts import FileVerdict, Verdict, worst
from journalkit.format import names
from journalkit.fs.interface import ReadableFileSystem
from journalkit.fs.posix import PosixFileSystem
from journalkit.recovery.salvage import Remains, take_stock
from journalkit.recovery.unreadable import ForgivingFileSystem

EXIT_CODES: Final[dict[Verdict, int]] = {"sound": codes.DONE, "torn tail": codes.TORN_TAIL, "damaged": codes.ERROR}
TONES: Final[dict[Verdict, Tone]] = {"sound": "good", "torn tail": "warn", "damaged": "bad", "unjudged": "quiet"}
_NAMES_SHOWN: Final = 5


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "verify",
        "check every byte of a store and change none",
        run=run,
        text="Exit code 0: sound. 1: a torn tail only; nothing that was promised is lost, the next open for "
        "writing cuts it. 2: damaged; each damage is told with its kind, its place, what it costs and what survives.",
        example="journalkit verify state\njournalkit verify state --json",
    )
    add_path(parser)


def run(args: argparse.Namespace) -> int:
    """Print each file's verdict and what it comes to."""
    fs = ForgivingFileSystem(PosixFileSystem())
    with progress(f"verifying {args.path}", total_bytes(fs, args.path)) as advance:
        found, files, remains = look_closely(fs, args.path, advance)
    if found is not None and found.verdict == "damaged":
        remains = take_stock(fs, args.path)
    if args.json:
        say_json(_as_json(args.path, files, found, remains))
    else:
        show([*_files(files), Remarks([*_notes(found), *_conclusion(args.path, found, remains, files)])])
    return EXIT_CODES[worst(files)]


def total_bytes(fs: ReadableFileSystem, directory: str) -> int:
    """Return the bytes of log and tables in a directory, 0 if it can't be listed: whoever reads it says why."""
    try:
        found = [
            fs.status(os.path.join(directory, name))
            for name in fs.list(directory)
            if names.segment_number(name) is not None or names.table_number(name) is not None
        ]
    except OSError:
        return 0
    return sum(status.size_bytes for status in found if status is not None)


def _files(files: Sequence[FileVerdict]) -> list[Part]:
    rows = [(file.name, size(file.size_bytes), Toned(file.verdict, TONES[file.verdict]), file.holds) for file in files]
    parts: list[Part] = [Grid("", ("file", "size", "verdict", "holds"), rows, frozenset({"size"}))]
    return parts + [_trouble(file) for file in files if file.reason]


def _trouble(file: FileVerdict) -> Part:
    rows: list[tuple[str, Cell]] = [("what", Toned(file.reason, TONES[file.verdict]))]
    if file.findings:
        rows += causes.rows(file.findings)
    elif file.offset_bytes is not None:
        rows.append(("where", f"byte {file.offset_bytes}"))
    if file.survives:
        rows.append(("survives", file.survives))
    kind = file.kind
    return Fields(f"{file.name}: {causes.words(kind)}" if kind is not None else file.name, rows)


def _notes(found: Examination | None) -> list[Cell]:
    notes: list[Cell] = []
    if found is None:
        return notes
    slot = _slot(found)
    if slot in ("damaged", "another store's"):
        notes.append(Toned(f"the slot {names.DURABLE!r} is {slot}: it promises nothing, and nothing needs it", "quiet"))
    if left := len(found.strays.sweep):
        notes.append(Toned(f"{count(left, 'file')} left over, to be swept at the next open for writing", "quiet"))
    if aside := found.strays.aside:
        notes.append(Toned(f"not part of the store, to be set aside: {_shown(aside)}", "quiet"))
    if unknown := found.strays.unknown:
        notes.append(Toned(f"not journalkit's, left alone: {_shown(unknown)}", "quiet"))
    return notes


def _slot(found: Examination) -> str:
    """Return what the slot is: a crash may tear it, a new store has none yet, and nobody has to restore it."""
    if found.slot is not None:
        return "sound" if found.slot.store == found.manifest.store else "another store's"
    status = PosixFileSystem().status(os.path.join(found.directory, names.DURABLE))
    return "damaged" if status is not None and status.size_bytes else "missing"


def _shown(found: Sequence[str]) -> str:
    return ", ".join(found[:_NAMES_SHOWN]) + (", ..." if len(found) > _NAMES_SHOWN else "")


def _conclusion(
    path: str, found: Examination | None, remains: Remains | None, files: Sequence[FileVerdict]
) -> list[Cell]:
    """Return what the verdict means and what to do next."""
    if found is None or remains is None:
        if found is not None and found.verdict == "sound":
            what = f"{found.manifest.kind} {found.manifest.store.hex()}"
            return [Toned(f"sound: {what}, everything up to LSN {found.plan.last_lsn}", "good")]
        if found is not None:
            plan = found.plan
            return [
                Toned(f"torn tail: {plan.bytes_cut} bytes behind LSN {plan.last_lsn} that nothing promised", "warn"),
                f"nothing promised is lost; the next open for writing, or `journalkit recover {path}`, cuts it",
            ]
    return [
        Toned(f"damaged: {causes.told(files)}", "bad"),
        *causes.survives(found, remains),
        *(f"next: {step}" if not at else f"or: {step}" for at, step in enumerate(causes.steps(path, found, files))),
    ]


def _as_json(
    path: str, files: Sequence[FileVerdict], found: Examination | None, remains: Remains | None
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "path": path,
        "verdict": worst(files),
        "damage_kinds": sorted({finding.cause.kind for file in files for finding in file.findings}),
        "files": [
            {
                "file": file.name,
                "size_bytes": file.size_bytes,
                "verdict": file.verdict,
                "kind": file.kind,
                "holds": file.holds,
                "reason": file.reason or None,
                "offset_bytes": file.offset_bytes,
                "lsn": file.lsn,
                "survives": file.survives or None,
                "damage": [causes.finding_json(finding) for finding in file.findings],
            }
            for file in files
        ],
    }
    if remains is not None:
        told["salvageable"] = causes.remains_json(remains)
        told["next"] = causes.steps(path, found, files)
    if found is None:
        return told
    return told | {
        "kind": found.manifest.kind,
        "uuid": found.manifest.store.hex(),
        "last_lsn": found.plan.last_lsn,
        "bytes_cut": found.plan.bytes_cut,
        "slot": _slot(found),
        "left_over": list(found.strays.sweep),
        "set_aside": list(found.strays.aside),
        "unknown": list(found.strays.unknown),
    }
