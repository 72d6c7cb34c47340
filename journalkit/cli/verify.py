"""`journalkit verify`: is it sound? Every byte is read and none written."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any, Final

from journalkit.cli import codes
from journalkit.cli.arguments import Commands, add_command, add_path
from journalkit.cli.examination import Examination, FileVerdict, Verdict, examine, list_remains, worst
from journalkit.cli.page import Cell, Fields, Grid, Part, Remarks, Tone, Toned, show
from journalkit.cli.terminal import count, progress, say_json, size
from journalkit.errors import CorruptionError
from journalkit.format import names
from journalkit.fs.posix import PosixFileSystem

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
        "writing cuts it. 2: damaged.",
        example="journalkit verify state\njournalkit verify state --json",
    )
    add_path(parser)


def run(args: argparse.Namespace) -> int:
    """Print each file's verdict and what it comes to."""
    fs = PosixFileSystem()
    with progress(f"verifying {args.path}", total_bytes(fs, args.path)) as advance:
        try:
            found = examine(fs, args.path, deep=True, advance=advance)
            files = found.files
        except CorruptionError as error:
            found, files = None, list_remains(fs, args.path, error, advance)
    if args.json:
        say_json(_as_json(args.path, files, found))
    else:
        show([*_files(files), Remarks([*_notes(found), *_conclusion(args.path, found)])])
    return EXIT_CODES[worst(files)]


def total_bytes(fs: PosixFileSystem, directory: str) -> int:
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
    if file.offset_bytes is not None:
        rows.append(("where", f"byte {file.offset_bytes}"))
    if file.lsn is not None:
        rows.append(("LSN", f"from {file.lsn}"))
    if file.survives:
        rows.append(("survives", file.survives))
    return Fields(file.name, rows)


def _notes(found: Examination | None) -> list[Cell]:
    notes: list[Cell] = []
    if found is None:
        return notes
    if left := len(found.strays.sweep):
        notes.append(Toned(f"{count(left, 'file')} left over, to be swept at the next open for writing", "quiet"))
    if unknown := found.strays.unknown:
        shown = ", ".join(unknown[:_NAMES_SHOWN]) + (", ..." if len(unknown) > _NAMES_SHOWN else "")
        notes.append(Toned(f"not journalkit's, left alone: {shown}", "quiet"))
    return notes


def _conclusion(path: str, found: Examination | None) -> list[Cell]:
    """Return what the verdict means and what to do next."""
    salvage = f"`journalkit salvage {path} NEW` copies every intact record"
    if found is None:
        return [
            Toned("damaged: the manifest can't be read, so nothing says what belongs to the store", "bad"),
            f"next: restore a backup, or {salvage}",
        ]
    manifest, plan = found.manifest, found.plan
    if found.verdict == "sound":
        return [Toned(f"sound: {manifest.kind} {manifest.store.hex()}, everything up to LSN {plan.last_lsn}", "good")]
    if found.verdict == "torn tail":
        return [
            Toned(f"torn tail: {plan.bytes_cut} bytes behind LSN {plan.last_lsn} that nothing promised", "warn"),
            f"nothing promised is lost; the next open for writing, or `journalkit recover {path}`, cuts it",
        ]
    if not plan.damage and found.usable:
        base = f"the snapshot at LSN {found.snapshot.lsn}" if found.snapshot is not None else "the beginning"
        return [
            Toned("damaged: a snapshot; nothing is lost", "bad"),
            f"the state is whole: {base} and the log give all of it, up to LSN {plan.last_lsn}",
            f"next: `journalkit recover {path}` rebuilds the snapshot",
        ]
    if not found.usable:
        return [
            Toned("damaged: no snapshot is sound, and the log doesn't reach back to the beginning", "bad"),
            f"next: restore a backup, or {salvage}",
        ]
    prefix = f"`journalkit recover {path} --mode point-in-time` keeps the state at LSN {plan.last_lsn}"
    return [
        Toned(f"damaged: the log, behind LSN {plan.last_lsn}", "bad"),
        f"next: restore a backup; or {prefix}; or {salvage}",
    ]


def _as_json(path: str, files: Sequence[FileVerdict], found: Examination | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "path": path,
        "verdict": worst(files),
        "files": [
            {
                "file": file.name,
                "size_bytes": file.size_bytes,
                "verdict": file.verdict,
                "holds": file.holds,
                "reason": file.reason or None,
                "offset_bytes": file.offset_bytes,
                "lsn": file.lsn,
                "survives": file.survives or None,
            }
            for file in files
        ],
    }
    if found is None:
        return told
    return told | {
        "kind": found.manifest.kind,
        "uuid": found.manifest.store.hex(),
        "last_lsn": found.plan.last_lsn,
        "bytes_cut": found.plan.bytes_cut,
        "left_over": list(found.strays.sweep),
        "unknown": list(found.strays.unknown),
    }
