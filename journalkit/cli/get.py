"""`journalkit get`: one value."""

from __future__ import annotations

import argparse
import sys

import journalkit
from journalkit.cli import codes, jsonform
from journalkit.cli.arguments import Commands, add_command, add_key_type, add_path, key_of
from journalkit.cli.shown import key_text
from journalkit.cli.terminal import say_json, tell
from journalkit.errors import UsageError
from journalkit.types import ABSENT


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "get",
        "print the value of one key, as JSON",
        run=run,
        text="The value is printed in the lossless JSON form, with or without --json. Exit code 1, and nothing on "
        "standard output, if there is no such key.",
        example="journalkit get state user:1\njournalkit get state 42 --key-type int\n"
        "journalkit get state photo --raw > photo.png",
    )
    add_path(parser, required=True)
    parser.add_argument("key", metavar="KEY")
    add_key_type(parser)
    parser.add_argument(
        "--raw", action="store_true", help="print bytes, or a string's UTF-8, exactly as they are; nothing else can be"
    )


def run(args: argparse.Namespace) -> int:
    """Print the value, or nothing."""
    key = key_of(args.key, args.key_type)
    with journalkit.open(args.path, mode="r") as store:
        value = store.get(key, ABSENT)
    if value is ABSENT:
        hint = "" if args.key_type != "str" else " (a str; for another type give --key-type)"
        tell(f"journalkit get: no such key: {key_text(key)}{hint}")
        return codes.ABSENT
    if not args.raw:
        say_json(jsonform.to_json(value))
        return codes.DONE
    if not isinstance(value, bytes | str):
        raise UsageError(f"the value is a {type(value).__name__}, which has no raw form; leave --raw out")
    sys.stdout.flush()
    sys.stdout.buffer.write(value if isinstance(value, bytes) else value.encode())
    sys.stdout.buffer.flush()
    return codes.DONE
