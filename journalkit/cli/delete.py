"""`journalkit delete`: remove keys."""

from __future__ import annotations

import argparse

import journalkit
from journalkit.cli import codes, jsonform
from journalkit.cli.arguments import Commands, add_command, add_key_type, add_path, key_of
from journalkit.cli.shown import key_text
from journalkit.cli.terminal import count, say, say_json, tell


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "delete",
        "remove keys, all in one record; durable when the command is done",
        run=run,
        text="A key that isn't there is said to be so and is no error.",
        example="journalkit delete state user:1\njournalkit delete state 1 2 3 --key-type int",
    )
    add_path(parser, required=True)
    parser.add_argument("keys", metavar="KEY", nargs="+")
    add_key_type(parser)


def run(args: argparse.Namespace) -> int:
    """Remove the keys that are there."""
    keys = [key_of(text, args.key_type) for text in args.keys]
    batch = journalkit.Batch()
    with journalkit.open(args.path, create=False, compaction="manual") as store:
        absent = [key for key in keys if key not in store]
        for key in keys:
            if key not in absent:
                batch.delete(key)
        lsn = store.write(batch)
    if args.json:
        say_json({"lsn": lsn, "deleted": len(batch), "absent": [jsonform.to_json(key) for key in absent]})
        return codes.DONE
    for key in absent:
        tell(f"journalkit delete: no such key: {key_text(key)}")
    say(f"deleted {count(len(batch), 'key')}, LSN {lsn}")
    return codes.DONE
