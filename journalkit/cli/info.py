"""`journalkit info`: what a store is, where it stands, and what opening it would do."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
from typing import Any

from journalkit.cli import codes, jsonform
from journalkit.cli.arguments import Commands, add_command, add_path
from journalkit.cli.examination import Examination, examine
from journalkit.cli.page import Cell, Fields, Grid, Part, Toned, show
from journalkit.cli.terminal import count, say_json, shortened, size, span, time_json, when
from journalkit.cli.usage import Usage, measure
from journalkit.format import names
from journalkit.format.manifest import SegmentEntry
from journalkit.fs.lock import read_description
from journalkit.fs.posix import PosixFileSystem
from journalkit.recovery.plan import Plan

_SEGMENTS_SHOWN = 12
_METADATA_WIDTH = 100


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "info",
        "tell what a store is, where it stands and what opening it would do",
        run=run,
        text="Reads what opening would read, beside a writer too, and changes nothing. `verify` reads all of it.",
        example="journalkit info state\njournalkit info state --json",
    )
    add_path(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is known."""
    fs = PosixFileSystem()
    found = examine(fs, args.path, deep=False)
    usage = measure(fs, args.path, found.manifest)
    owner = _last_opener(fs, args.path)
    if args.json:
        say_json(_as_json(found, usage, owner))
    else:
        show(_page(found, usage, owner))
    return codes.DONE


def _last_opener(fs: PosixFileSystem, directory: str) -> dict[str, Any] | None:
    """Return what the last one to open for writing said of itself, and whether a process of that id runs here."""
    try:
        words = json.loads(read_description(fs, os.path.join(directory, names.LOCK)))
        owner: dict[str, Any] = {
            "host": str(words["host"]),
            "pid": int(words["pid"]),
            "since": str(words["since"]),
            "opened_at": str(words["opened_at"]),
        }
    except (ValueError, TypeError, KeyError, OSError):
        return None
    owner["running"] = _runs(owner["pid"]) if owner["host"] == socket.gethostname() else None
    return owner


def _runs(pid: int) -> bool:
    if pid < 1:
        return False
    with contextlib.suppress(OverflowError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    return False


def _outlook(found: Examination) -> list[Cell]:
    """Return what opening for writing would do, in words."""
    plan = found.plan
    if plan.damage or not found.usable:
        reason = plan.damage[0].reason if plan.damage else "no snapshot can be read"
        return [Toned(f"refuses: {reason}", "bad"), f"`journalkit verify {found.directory}` tells more"]
    base = f"the snapshot at LSN {found.snapshot.lsn}" if found.snapshot is not None else "an empty state"
    records = found.scan.records_sunk
    lines: list[Cell] = [Toned(f"opens from {base}, replays {count(records, 'record')}", "good")]
    if found.snapshots_damaged:
        lines.append(Toned("a snapshot is damaged and passed over; nothing is lost", "warn"))
    if plan.cuts:
        lines.append(Toned(f"cuts a torn tail of {plan.bytes_cut} bytes that nothing promised", "warn"))
    return lines


def _page(found: Examination, usage: Usage, owner: dict[str, Any] | None) -> list[Part]:
    manifest, plan = found.manifest, found.plan
    what: list[tuple[str, Cell]] = [
        ("path", os.path.abspath(found.directory)),
        ("kind", f"{manifest.kind}, values as {manifest.codec}"),
        ("uuid", manifest.store.hex()),
        ("created", when(manifest.created_us)),
        ("epoch", f"{manifest.epoch} (opened for writing {count(manifest.epoch, 'time')})"),
    ]
    if owner is not None:
        what.append(("last opened by", _opener_text(owner)))
    if manifest.metadata:
        what.append(("metadata", shortened(repr(dict(manifest.metadata)), _METADATA_WIDTH)))
    ladder: list[tuple[str, Cell]] = [
        ("pruned", f"LSN {manifest.pruned_lsn}"),
        ("snapshot", f"LSN {manifest.snapshots[0].lsn if manifest.snapshots else 0}"),
        ("durable", f"LSN {found.plan.durable_lsn}"),
        ("last", f"LSN {plan.last_lsn}"),
    ]
    snapshots = [
        (
            f"{entry.lsn}",
            when(entry.created_us),
            count(sum(info.entry_count for info in entry.tables)),
            size(sum(info.size_bytes for info in entry.tables)),
            ", ".join(names.table_name(info.number) for info in entry.tables),
        )
        for entry in manifest.snapshots
    ]
    files = {file.name: file for file in found.files}
    shown = manifest.segments[-_SEGMENTS_SHOWN:]
    segments = [
        (
            names.segment_name(entry.number),
            size(files[names.segment_name(entry.number)].size_bytes),
            _segment(entry, plan),
        )
        for entry in shown
        if names.segment_name(entry.number) in files
    ]
    title = (
        "log" if len(shown) == len(manifest.segments) else f"log (the last {len(shown)} of {len(manifest.segments)})"
    )
    total = usage.of()
    return [
        Fields("", what),
        Fields("where it stands", ladder),
        Grid(
            "snapshots", ("LSN", "created", "entries", "size", "file"), snapshots, frozenset({"LSN", "entries", "size"})
        ),
        Grid(title, ("segment", "size", "holds"), segments, frozenset({"size"})),
        Fields(
            "the next open",
            [("" if index else "recovery", line) for index, line in enumerate(_outlook(found))]
            + [("room", f"{size(total.size_bytes)} in {count(total.files, 'file')}; `journalkit du` tells more")],
        ),
    ]


def _opener_text(owner: dict[str, Any]) -> str:
    running = {True: ", a process of that id is running", False: ", which is gone", None: ""}[owner["running"]]
    return f"process {owner['pid']} on {owner['host']}{running}; {owner['since']}, at {owner['opened_at']}"


def _segment(entry: SegmentEntry, plan: Plan) -> str:
    """Return what a segment holds; its end is the manifest's, or the one that was found."""
    if not entry.first_lsn and entry.end is None:
        return "nothing yet: prepared ahead"
    ended = next((kept for kept in plan.segments if kept.number == entry.number), entry)
    if ended.end is None or ended.end.last_lsn < ended.first_lsn:
        return "no record"
    state = (
        "open" if entry.end is None and not ended.end.sealed else "sealed" if ended.end.sealed else "ended by recovery"
    )
    return f"{span(ended.first_lsn, ended.end.last_lsn)}, {state}"


def _as_json(found: Examination, usage: Usage, owner: dict[str, Any] | None) -> dict[str, Any]:
    manifest, plan = found.manifest, found.plan
    holds = {file.name: file.holds for file in found.files}
    return {
        "path": found.directory,
        "kind": manifest.kind,
        "codec": manifest.codec,
        "uuid": manifest.store.hex(),
        "created": time_json(manifest.created_us),
        "generation": manifest.generation,
        "epoch": manifest.epoch,
        "metadata": jsonform.to_json(dict(manifest.metadata)),
        "last_opened": owner,
        "pruned_lsn": manifest.pruned_lsn,
        "snapshot_lsn": manifest.snapshots[0].lsn if manifest.snapshots else 0,
        "durable_lsn": found.plan.durable_lsn,
        "last_lsn": plan.last_lsn,
        "snapshots": [
            {
                "lsn": entry.lsn,
                "created": time_json(entry.created_us),
                "tables": [
                    {
                        "file": names.table_name(info.number),
                        "size_bytes": info.size_bytes,
                        "entries": info.entry_count,
                        "holds": holds.get(names.table_name(info.number), ""),
                    }
                    for info in entry.tables
                ],
            }
            for entry in manifest.snapshots
        ],
        "segments": [
            {"file": file.name, "size_bytes": file.size_bytes, "holds": file.holds}
            for file in found.files
            if names.segment_number(file.name) is not None
        ],
        "recovery": {
            "verdict": found.verdict,
            "from_snapshot_lsn": found.snapshot.lsn if found.snapshot is not None else 0,
            "records_to_replay": found.scan.records_sunk,
            "bytes_to_cut": plan.bytes_cut,
        },
        "size_bytes": usage.of().size_bytes,
        "allocated_bytes": usage.of().allocated_bytes,
    }
