"""`journalkit recover`: carry the recovery plan out, or print it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import journalkit
from journalkit.cli import codes
from journalkit.cli.arguments import Commands, add_command, add_path
from journalkit.cli.causes import damage_grid, damage_json
from journalkit.cli.examination import Examination, examine
from journalkit.cli.page import Cell, Fields, Grid, Part, Remarks, Toned, show
from journalkit.cli.terminal import count, progress, say, say_json
from journalkit.cli.verify import total_bytes
from journalkit.errors import CorruptionError
from journalkit.format import names
from journalkit.fs.posix import PosixFileSystem
from journalkit.recovery.apply import check_quarantine
from journalkit.recovery.forecast import Fate, foresee
from journalkit.recovery.plan import RECOVERY_MODES, Cut


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "recover",
        "check everything, recover, and rebuild a damaged snapshot; or print the plan",
        run=run,
        text="What is cut is kept in the store's quarantine. Modes: `default` cuts a torn tail, which nothing "
        "promised, and refuses damage; `strict` refuses both; `point-in-time` keeps the state before the first damage "
        "of the log and gives up what was promised behind it. `salvage` copies what is intact on both sides of it.",
        example="journalkit recover state --dry-run\njournalkit recover state --mode point-in-time",
    )
    add_path(parser)
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and change nothing")
    parser.add_argument("--mode", choices=RECOVERY_MODES, default="default", help="(default: default)")


def run(args: argparse.Namespace) -> int:
    """Print the plan, or carry it out and print the report."""
    fs = PosixFileSystem()
    with progress(f"verifying {args.path}", total_bytes(fs, args.path)) as advance:
        found = examine(fs, args.path, deep=True, causes=args.dry_run, advance=advance)
    if args.dry_run:
        _print_plan(fs, args, found)
    found.refuse(args.mode)
    if not args.dry_run:
        _carry_out(args, found)
        with progress(f"verifying {args.path}", total_bytes(fs, args.path)) as advance:
            # Whatever opening didn't mend is told, not left for the next reader to find.
            examine(fs, args.path, deep=True, advance=advance).refuse("default")
    return codes.DONE


def _carry_out(args: argparse.Namespace, found: Examination) -> None:
    rebuilt_lsn = None
    with progress(f"recovering {args.path}"):
        if found.manifest.kind == "journal":
            with journalkit.open_journal(args.path, create=False, recovery=args.mode) as journal:
                report = journal.recovery_report
        else:
            # A damaged snapshot that is older than the one in use goes when a fold keeps one snapshot.
            with journalkit.open(
                args.path,
                create=False,
                recovery=args.mode,
                compaction="manual",
                check_all=True,
                keep_snapshots=1 if found.snapshots_damaged else 2,
            ) as store:
                report = store.recovery_report
                if found.snapshots_damaged:
                    store.compact(full=True)
                    rebuilt_lsn = store.snapshot_lsn
    if args.json:
        say_json(asdict(report) | {"rebuilt_snapshot_lsn": rebuilt_lsn})
        return
    say(str(report))
    if rebuilt_lsn is not None:
        say(f"a damaged snapshot was replaced: the newest is at LSN {rebuilt_lsn}, and sound")


def _print_plan(fs: PosixFileSystem, args: argparse.Namespace, found: Examination) -> None:
    try:
        found.refuse(args.mode)
        refusal = None
    except CorruptionError as error:
        refusal = error.reason
    quarantine = os.path.join(args.path, names.QUARANTINE)
    fates: list[Fate] = []
    if found.usable:
        fates = foresee(
            found.manifest,
            found.plan,
            found.strays,
            dropped=found.dropped,
            rebuild=found.snapshots_damaged,
            present=fs.list(args.path),
            quarantined=fs.list(quarantine) if os.path.isdir(quarantine) else (),
        )
    if any(fate.action in ("cut", "set aside") for fate in fates):
        check_quarantine(fs, args.path)
    if args.json:
        say_json(_as_json(args, found, refusal, fates))
        return
    show(_page(args, found, refusal, fates))


def _page(args: argparse.Namespace, found: Examination, refusal: str | None, fates: Sequence[Fate]) -> list[Part]:
    plan = found.plan
    base = f"the snapshot at LSN {found.snapshot.lsn}" if found.snapshot is not None else "an empty state"
    kept: list[tuple[str, Cell]] = [
        ("start from", base),
        ("keep", f"the state at LSN {plan.last_lsn}, of {count(len(plan.segments), 'segment')}"),
        ("number new records from", f"LSN {plan.floor_lsn + 1}, under epoch {plan.epoch + 1}"),
    ]
    if found.snapshots_damaged:
        kept.append(("rebuild", "the damaged snapshot, by a fold"))
    done = [(fate.file, fate.action, _extent(fate), fate.reason) for fate in fates]
    given_up = sum(fate.action in ("cut", "set aside") for fate in fates)
    remarks: list[Cell] = []
    if given_up:
        remarks.append(f"what is cut or set aside is kept in {names.QUARANTINE}/; --json says under which name")
    remarks.append(
        Toned(f"this is refused: {refusal}", "bad") if refusal else Toned("this is what `recover` would do", "good")
    )
    remarks.append("nothing was changed")
    return [
        Fields(f"recovery of {args.path}, mode {args.mode}", kept),
        damage_grid(found.files),
        Grid(_title(found, refusal), ("file", "what is done", "bytes", "why"), done),
        Remarks(remarks),
    ]


def _title(found: Examination, refusal: str | None) -> str:
    if refusal is None:
        return "file by file"
    return f"with --mode {'point-in-time' if found.plan.damage else 'default'}, file by file"


def _extent(fate: Fate) -> str:
    if fate.offset_bytes is None:
        return ""
    return f"{fate.offset_bytes} to {fate.offset_bytes + fate.count_bytes}"


def _as_json(
    args: argparse.Namespace, found: Examination, refusal: str | None, fates: Sequence[Fate]
) -> dict[str, Any]:
    plan = found.plan
    return {
        "path": args.path,
        "mode": args.mode,
        "refused": refusal,
        "from_snapshot_lsn": found.snapshot.lsn if found.snapshot is not None else 0,
        "last_lsn": plan.last_lsn,
        "next_lsn": plan.floor_lsn + 1,
        "next_epoch": plan.epoch + 1,
        "rebuild_snapshot": found.snapshots_damaged,
        "cuts": [_cut_json(cut) for cut in plan.cuts],
        "given_up": [_cut_json(cut) for cut in plan.given_up],
        "damage": [
            {"file": item.file, "offset_bytes": item.offset_bytes, "lsn": item.lsn, "reason": item.reason}
            for item in plan.damage
        ],
        "findings": damage_json(found.files),
        "files": [
            {
                "file": fate.file,
                "action": fate.action,
                "reason": fate.reason or None,
                "offset_bytes": fate.offset_bytes,
                "count_bytes": fate.count_bytes or None,
                "kept_as": f"{names.QUARANTINE}/{fate.kept_as}" if fate.kept_as else None,
            }
            for fate in fates
        ],
        "sweep": list(found.strays.sweep),
    }


def _cut_json(cut: Cut) -> dict[str, Any]:
    return {
        "file": names.segment_name(cut.segment),
        "offset_bytes": cut.offset_bytes,
        "count_bytes": cut.count_bytes,
        "reason": cut.reason,
    }
