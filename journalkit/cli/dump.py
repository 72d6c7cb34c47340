"""`journalkit dump`: the whole state as JSON lines, for `load` and for anybody else."""

from __future__ import annotations

import argparse

import journalkit
from journalkit.cli import codes, jsonform
from journalkit.cli.arguments import Commands, add_command, add_path
from journalkit.cli.terminal import progress, say_json


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "dump",
        "print the whole state as JSON lines that `load` reads",
        run=run,
        text='One line an entry, {"key": ..., "value": ...}, in the order of keys and the lossless form; then one '
        'line an input position, {"offset": name, "value": ...}. The state is that of one moment. --json changes '
        "nothing.",
        example="journalkit dump state > state.jsonl\njournalkit dump state | journalkit load copy",
    )
    add_path(parser)


def run(args: argparse.Namespace) -> int:
    """Print every entry, then every offset."""
    with (
        journalkit.open(args.path, mode="r") as store,
        store.view() as view,
        progress(f"dumping {args.path}") as advance,
    ):
        for key, value in view.scan():
            say_json({"key": jsonform.to_json(key), "value": jsonform.to_json(value)})
            advance(1)
        for name, position in view.offsets.items():
            say_json({"offset": name, "value": jsonform.to_json(position)})
    return codes.DONE
