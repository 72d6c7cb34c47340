"""`journalkit put`: set one key."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import journalkit
from journalkit.cli import codes
from journalkit.cli.arguments import (
    Commands,
    WrongUsageError,
    add_command,
    add_key_type,
    add_path,
    json_of,
    key_of,
)
from journalkit.cli.storable import Storable
from journalkit.cli.terminal import say, say_json, tell


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "put",
        "set one key; durable when the command is done",
        run=run,
        text='VALUE is JSON in the lossless form: a string is quoted, bytes are {"$bytes": "base64"}. A store is '
        "created if there is none.",
        example="""journalkit put state user:1 '{"name": "Ada", "logins": 3}'
journalkit put state greeting '"hello"'
journalkit put state photo --raw --stdin < photo.png""",
    )
    add_path(parser, required=True)
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("value", metavar="VALUE", nargs="?", help="the value, in JSON")
    add_key_type(parser)
    parser.add_argument("--stdin", action="store_true", help="read the value from standard input instead")
    parser.add_argument("--raw", action="store_true", help="the value is bytes, taken as they are, not JSON")


def run(args: argparse.Namespace) -> int:
    """Set the key."""
    if args.stdin == (args.value is not None):
        raise WrongUsageError("give the value either as VALUE or, with --stdin, on standard input")
    key = key_of(args.key, args.key_type)
    value = _value(args)
    Storable(args.path).check(key, value)
    with journalkit.open(args.path, compaction="manual") as store:
        if store.recovery_report.outcome == "created":
            tell(f"journalkit put: created the store {args.path}")
        lsn = store.put(key, value)
    if args.json:
        say_json({"lsn": lsn})
    else:
        say(f"LSN {lsn}")
    return codes.DONE


def _value(args: argparse.Namespace) -> Any:
    if args.raw:
        return sys.stdin.buffer.read() if args.stdin else os.fsencode(args.value)
    if not args.stdin:
        return json_of(args.value, "the value")
    try:
        return json_of(sys.stdin.buffer.read().decode(), "the value")
    except UnicodeDecodeError:
        raise WrongUsageError("standard input is not UTF-8; bytes are taken with --raw") from None
