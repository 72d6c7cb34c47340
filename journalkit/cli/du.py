"""`journalkit du`: what takes the room."""

from __future__ import annotations

import argparse

from journalkit.cli import codes
from journalkit.cli.arguments import Commands, add_command, add_path
from journalkit.cli.page import Grid, show
from journalkit.cli.terminal import say_json, size
from journalkit.cli.usage import ORDER, measure
from journalkit.fs.posix import PosixFileSystem
from journalkit.recovery.look import require_manifest


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "du",
        "tell what takes the room: log, snapshots, quarantine and the rest",
        run=run,
        text="`size` is how long the files are, `on disk` what the file system gave them.",
        example="journalkit du state\njournalkit du state --json",
    )
    add_path(parser)


def run(args: argparse.Namespace) -> int:
    """Print bytes by kind."""
    fs = PosixFileSystem()
    usage = measure(fs, args.path, require_manifest(fs, args.path))
    total = usage.of()
    if args.json:
        kinds = {
            kind: {"files": use.files, "size_bytes": use.size_bytes, "allocated_bytes": use.allocated_bytes}
            for kind, use in usage.kinds.items()
        }
        told = {"path": args.path, "size_bytes": total.size_bytes, "allocated_bytes": total.allocated_bytes}
        say_json(told | {"kinds": {kind: kinds[kind] for kind in ORDER if kind in kinds}})
        return codes.DONE
    rows = [(kind, usage.kinds[kind]) for kind in ORDER if kind in usage.kinds]
    cells = [
        (kind, f"{use.files:,}", size(use.size_bytes), size(use.allocated_bytes))
        for kind, use in (*rows, ("total", total))
    ]
    show([Grid("", ("what", "files", "size", "on disk"), cells, frozenset({"files", "size", "on disk"}))])
    return codes.DONE
