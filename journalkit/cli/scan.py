"""`journalkit scan`: a range of keys and their values, in order."""

from __future__ import annotations

import argparse

import journalkit
from journalkit.cli import codes, jsonform
from journalkit.cli.arguments import Commands, add_command, add_key_type, add_path, key_of, not_negative
from journalkit.cli.shown import key_text
from journalkit.cli.terminal import say, say_json, visible


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "scan",
        "print keys and values in order",
        run=run,
        text="Order: int < bytes < str < tuple. For people a line is a key, a tab and the value as JSON; with --json "
        'it is {"key": ..., "value": ...} in the lossless form.',
        example="journalkit scan state --prefix user: --limit 10\njournalkit scan state --start a --stop b --keys-only",
    )
    add_path(parser)
    parser.add_argument("--prefix", metavar="KEY", help="only keys that begin so; of a tuple, with these elements")
    parser.add_argument("--start", metavar="KEY", help="the first key, inclusive")
    parser.add_argument("--stop", metavar="KEY", help="the last key, exclusive")
    add_key_type(parser)
    parser.add_argument("--reverse", action="store_true", help="from the last key to the first")
    parser.add_argument("--limit", type=not_negative, metavar="N", help="at most N keys")
    parser.add_argument("--keys-only", action="store_true", help="leave the values out")


def run(args: argparse.Namespace) -> int:
    """Print the range."""
    prefix, start, stop = (
        key_of(text, args.key_type) if text is not None else None for text in (args.prefix, args.start, args.stop)
    )
    with journalkit.open(args.path, mode="r") as store:
        for key, value in store.scan(start, stop, prefix=prefix, reverse=args.reverse, limit=args.limit):
            if args.json:
                told = {"key": jsonform.to_json(key)}
                say_json(told if args.keys_only else told | {"value": jsonform.to_json(value)})
            elif args.keys_only:
                say(visible(key_text(key)))
            else:
                say(f"{visible(key_text(key))}\t{visible(jsonform.dumps(value))}")
    return codes.DONE
