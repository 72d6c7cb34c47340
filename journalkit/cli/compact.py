"""`journalkit compact`: fold the log into a snapshot now."""

from __future__ import annotations

import argparse

import journalkit
from journalkit.cli import codes
from journalkit.cli.arguments import Commands, add_command, add_path
from journalkit.cli.page import Cell, Grid, show
from journalkit.cli.terminal import progress, say_json, size
from journalkit.cli.usage import LOG_KEPT, LOG_NEEDED, LOG_PREPARED, TABLES_NEWEST, TABLES_OLDER, Usage, measure
from journalkit.fs.posix import PosixFileSystem
from journalkit.recovery.look import require_manifest

_ROWS = {
    "log": (LOG_NEEDED, LOG_KEPT, LOG_PREPARED),
    "snapshots": (TABLES_NEWEST, TABLES_OLDER),
    "all files": (),
}


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "compact",
        "fold the log into a new snapshot and prune what nobody needs",
        run=run,
        text="An open store does this by itself. The command opens the store for writing, so nobody else may have it.",
        example="journalkit compact state",
    )
    add_path(parser)
    parser.add_argument("--full", action="store_true", help="merge all tables into one, whatever that costs")


def run(args: argparse.Namespace) -> int:
    """Fold, and tell what it changed."""
    fs = PosixFileSystem()
    manifest = require_manifest(fs, args.path)
    before, lsn_before = measure(fs, args.path, manifest), manifest.snapshots[0].lsn if manifest.snapshots else 0
    with (
        journalkit.open(args.path, create=False, compaction="manual") as store,
        progress(f"compacting {args.path}"),
    ):
        store.compact(full=args.full)
        lsn_after = store.snapshot_lsn
    after = measure(fs, args.path, require_manifest(fs, args.path))
    if args.json:
        say_json({"before": _as_json(before, lsn_before), "after": _as_json(after, lsn_after)})
        return codes.DONE
    rows: list[tuple[Cell, ...]] = [
        (what, size(before.of(*kinds).size_bytes), size(after.of(*kinds).size_bytes)) for what, kinds in _ROWS.items()
    ]
    rows.append(("newest snapshot", _lsn_text(lsn_before), _lsn_text(lsn_after)))
    show([Grid("", ("", "before", "after"), rows, frozenset({"before", "after"}))])
    return codes.DONE


def _lsn_text(lsn: int) -> str:
    return f"LSN {lsn}" if lsn else "none"


def _as_json(usage: Usage, snapshot_lsn: int) -> dict[str, int]:
    return {
        "snapshot_lsn": snapshot_lsn,
        "log_bytes": usage.of(*_ROWS["log"]).size_bytes,
        "snapshot_bytes": usage.of(*_ROWS["snapshots"]).size_bytes,
        "size_bytes": usage.of().size_bytes,
    }
