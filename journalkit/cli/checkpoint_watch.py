"""`journalkit checkpoints watch`: each checkpoint as it is published, a line each."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.checkpoint.watching import Notice
from journalkit.cli import codes
from journalkit.cli.arguments import Commands, WrongUsageError, positive
from journalkit.cli.checkpoint_words import add_action, duration, opened, summary, time_of
from journalkit.cli.terminal import count, say, say_json, tell, visible
from journalkit.errors import UsageError

_INTERVAL_S: Final = 5.0


def add_parser(actions: Commands) -> None:
    """Register the action."""
    parser = add_action(
        actions, "watch", "print each checkpoint as it is published", run=_run,
        text="From now on, a line each; so is another writer that takes over, and checkpoints that were let go before "
        "they were seen. Until --count were printed or --timeout is up; Ctrl-C ends it. With --json one document a "
        "line. Exit code 2 if the time is up before --count were printed.",
        example="journalkit checkpoints watch job\n"
        "journalkit checkpoints watch s3://bucket/job --from 3.17 --interval 30s --json\n"
        "journalkit checkpoints watch job --count 1 --timeout 10m && echo saved",
    )  # fmt: skip
    parser.add_argument(
        "--interval", type=_seconds, default=_INTERVAL_S, metavar="S", help="seconds between two looks (default: 5)"
    )
    parser.add_argument("--count", type=positive, metavar="N", help="end once N checkpoints were printed")
    parser.add_argument("--timeout", type=_seconds, metavar="S", help="end after so many seconds")
    parser.add_argument(
        "--from", dest="since", metavar="WHICH",
        help="an id (3.17), a name, or latest: from that one on, those that are there first",
    )  # fmt: skip


def _run(args: argparse.Namespace) -> int:
    printed = 0
    with opened(args) as checkpoints:
        try:
            notices = checkpoints.watch(since=args.since, interval=args.interval, timeout=args.timeout)
        except UsageError as error:
            raise WrongUsageError(str(error)) from None
        for notice in notices:
            if notice.kind == "unavailable":
                tell(f"{notice.error}: asked again until it answers")
                continue
            if args.json:
                say_json(_as_json(notice))
            else:
                say(visible(_line(notice)))
            sys.stdout.flush()  # whoever reads the pipe waits for it
            printed += notice.checkpoint is not None
            if printed == args.count:
                return codes.DONE
    if args.count is not None:
        tell(f"{count(printed)} of {count(args.count, 'checkpoint')} published in {args.timeout:g} s")
        return codes.ERROR
    return codes.DONE


def _line(notice: Notice) -> str:
    if notice.checkpoint is not None:
        return _words(notice.checkpoint)
    if notice.kind == "epoch":
        return f"epoch {notice.epoch}: another writer took over"
    first, last = _ends(notice)
    which = f"{first} isn't" if first == last else f"{first} to {last} aren't"
    return f"gap: {which} there: let go before it was seen, or never published"


def _words(checkpoint: Checkpoint) -> str:
    said = [checkpoint.id, time_of(checkpoint), checkpoint.name]
    said += [f"restores {checkpoint.restores}"] if checkpoint.restores else []
    said += [f"{name}={value:g}" for name, value in checkpoint.metrics.items()]
    return "  ".join(word for word in said if word)


def _as_json(notice: Notice) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": notice.kind, "epoch": notice.epoch}
    if notice.checkpoint is not None:
        return told | summary(notice.checkpoint)
    if notice.kind == "gap":
        told["first"], told["last"] = _ends(notice)
    return told


def _ends(notice: Notice) -> tuple[str, str]:
    return f"{notice.epoch}.{notice.first_save}", f"{notice.epoch}.{notice.last_save}"


def _seconds(text: str) -> float:
    """Return seconds, a number or as other times, as argparse's `type`."""
    try:
        return float(text) if text[-1:].isdigit() and text[:1].isdigit() else duration(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
