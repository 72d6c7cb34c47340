"""What commands share on their command lines: the path, the types of keys, ranges, whole numbers.

A value that can't be what its option asks for is wrong usage (exit 64), told
by argparse; what the library refuses is its own error (exit 2).
"""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Callable
from typing import Any, Final, Literal, NoReturn, TypeAlias

from journalkit.cli import codes, jsonform
from journalkit.types import Key

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
Run: TypeAlias = "Callable[[argparse.Namespace], int]"
KeyType: TypeAlias = Literal["str", "bytes", "int", "json"]

_WIDTH: Final = 96
KEY_TYPES: Final[tuple[KeyType, ...]] = ("str", "bytes", "int", "json")


class Parser(argparse.ArgumentParser):
    """argparse, with our exit code for wrong usage and one hint instead of a page."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to look, and leave with 64."""
        self.exit(codes.WRONG_USAGE, f"{self.prog}: {message}\n{self.format_usage()}see `{self.prog} --help`\n")


class WrongUsageError(Exception):
    """Arguments that argparse let pass and that make no sense together: told as argparse tells its own."""


def add_command(commands: Commands, name: str, does: str, *, run: Run, example: str, text: str = "") -> Parser:
    """Register a command with `--json`; return its parser for the arguments of its own.

    Args:
        commands: What `ArgumentParser.add_subparsers` gave.
        name: The command.
        does: What it does, in a few words that follow the name in a list.
        run: Called with the parsed arguments; returns the exit code.
        example: One or more command lines, shown at the end of the help.
        text: More to say than `does`, above the arguments.
    """
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    parser = commands.add_parser(
        name,
        help=does,
        description=f"{does[:1].upper()}{does[1:]}." + (f"\n\n{textwrap.fill(text, _WIDTH)}" if text else ""),
        epilog=f"example:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print JSON on standard output and nothing else")
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_path(parser: Parser, *, required: bool = False) -> None:
    """Add PATH, the store's directory: the current one unless it is required."""
    if required:
        parser.add_argument("path", metavar="PATH", help="the store's directory")
    else:
        parser.add_argument(
            "path", metavar="PATH", nargs="?", default=os.curdir, help="the store's directory (default: this one)"
        )


def add_key_type(parser: Parser) -> None:
    """Add --key-type, which says what a key on the command line is."""
    parser.add_argument(
        "--key-type",
        choices=KEY_TYPES,
        default="str",
        help="what a key on this command line is: text, its bytes, an integer, or JSON in the lossless form, "
        'such as \'{"$tuple": ["a", 1]}\' (default: str)',
    )


def key_of(text: str, key_type: KeyType) -> Key:
    """Return the key that an argument names.

    Raises:
        WrongUsageError: It isn't of that type.
    """
    if key_type == "bytes":
        return os.fsencode(text)
    if key_type == "int":
        try:
            return int(text)
        except ValueError:
            raise WrongUsageError(f"the key {text!r} is no integer, which --key-type int asks for") from None
    if key_type == "json":
        return json_of(text, "the key")  # type: ignore[no-any-return]
    return text


def json_of(text: str, what: str) -> Any:
    """Return the value of an argument in JSON.

    Raises:
        WrongUsageError: It isn't JSON, or not in the lossless form.
    """
    try:
        return jsonform.loads(text)
    except jsonform.JsonFormError as error:
        hint = f"; for a string, quote it: '{jsonform.dumps(text)}'" if text.isidentifier() else ""
        raise WrongUsageError(f"{what} {_cut(text)!r} can't be read: {error}{hint}") from None


def positive(text: str) -> int:
    """Return a whole number from 1, as argparse's `type`."""
    return _whole(text, 1)


def not_negative(text: str) -> int:
    """Return a whole number from 0, as argparse's `type`."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least}")
    return number


def _cut(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
