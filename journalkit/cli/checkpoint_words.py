"""What the actions of `journalkit checkpoints` share: how a place and a checkpoint are named, opened and told of."""

from __future__ import annotations

import argparse
import re
from typing import Any, Final, Literal

from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.checkpoint.checkpoints import Checkpoints
from journalkit.checkpoint.open import open_checkpoints
from journalkit.checkpoint.said import LATEST, said
from journalkit.cli import jsonform
from journalkit.cli.arguments import Commands, Parser, Run, WrongUsageError, add_command
from journalkit.errors import UsageError

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)


def add_action(actions: Commands, name: str, does: str, *, run: Run, example: str, text: str = "") -> Parser:
    """Register an action on a place; return its parser for the arguments of its own."""
    parser = add_command(actions, name, does, run=run, example=example, text=text)
    parser.add_argument("url", metavar="URL", help="a directory, or s3://, gs://, az://")
    return parser


def add_which(parser: Parser) -> None:
    """Add WHICH, the latest unless it is said."""
    parser.add_argument(
        "which", metavar="WHICH", nargs="?", default=LATEST, help="an id (3.17), a name, or latest (the default)"
    )


def opened(args: argparse.Namespace, *, mode: Literal["r", "maintain", "rw"] = "r") -> Checkpoints:
    """Open the place; none is made.

    Raises:
        WrongUsageError: There can be no such place.
    """
    try:
        return open_checkpoints(args.url, mode=mode, create=False, trash_period=getattr(args, "trash_period", 3600.0))
    except UsageError as error:
        raise WrongUsageError(str(error)) from None


def check_name(name: str | None) -> None:
    """Raise WrongUsageError unless a checkpoint may have that name: before a place is taken over for it."""
    if name is not None:
        try:
            said(None, None, None, name)
        except UsageError as error:
            raise WrongUsageError(str(error)) from None


def by_head(checkpoints: Checkpoints, which: str) -> Checkpoint:
    """Return a checkpoint as the head names it: `latest` may pass over the one that is to be looked at."""
    if which == LATEST:
        for checkpoint in checkpoints:
            return checkpoint
    return checkpoints.get(which)


def summary(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what a head says of a checkpoint, for JSON."""
    return {
        "id": checkpoint.id,
        "saved": checkpoint.time.isoformat(),
        "name": checkpoint.name,
        "restores": checkpoint.restores or None,
        "metrics": {name: jsonform.to_json(value) for name, value in checkpoint.metrics.items()},
    }


def time_of(checkpoint: Checkpoint) -> str:
    """Return when it was saved, for people."""
    return f"{checkpoint.time:%Y-%m-%d %H:%M:%S}Z"


def seconds_of(text: str) -> float:
    """Return how long a time is, such as 90s or 1d.

    Raises:
        WrongUsageError: It is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise WrongUsageError(f"{text!r} is no time: a number with s, m, h, d or w behind it, such as 90s or 1d")
    return float(match[1]) * _UNITS[match[2]]


def duration(text: str) -> float:
    """Return seconds, as argparse's `type`."""
    try:
        return seconds_of(text)
    except WrongUsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
