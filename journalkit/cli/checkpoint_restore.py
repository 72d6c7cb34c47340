"""`journalkit checkpoints restore`: an older checkpoint as the newest again, or its state as ordinary files."""

from __future__ import annotations

import argparse
import os
import sys

from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.checkpoint.said import LATEST
from journalkit.cli import codes
from journalkit.cli.arguments import Commands, WrongUsageError
from journalkit.cli.checkpoint_words import add_action, by_head, check_name, opened, time_of
from journalkit.cli.exporting import STATE, check_target, export
from journalkit.cli.page import Remarks, show
from journalkit.cli.terminal import count, is_terminal, progress, say_json, size, tell, visible
from journalkit.fs.posix import PosixFileSystem


def add_parser(actions: Commands) -> None:
    """Register the action."""
    parser = add_action(
        actions, "restore", "make an older checkpoint the newest again, or write its state into files", run=_run,
        text="The restored one is a new checkpoint that shares all of its bytes with the other; restoring what was "
        "the newest before undoes it. The place is taken over: a job that runs there can publish nothing any more, "
        "so it is asked for on a terminal, and by --yes elsewhere. With --to nothing of that: the state is written "
        "into a directory, and the place is only read.",
        example="journalkit checkpoints restore job 3.17\n"
        "journalkit checkpoints restore s3://bucket/job before-upgrade --yes\n"
        "journalkit checkpoints restore job latest --to state-of-the-job",
    )  # fmt: skip
    parser.add_argument("which", metavar="CHECKPOINT", help="an id (3.17), a name, or latest: the newest sound one")
    parser.add_argument("--name", help="a name for the new one, which stays until it is deleted then")
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument(
        "--to", metavar="DIRECTORY", help="write the state into files of this directory, which is new or empty"
    )


def _run(args: argparse.Namespace) -> int:
    if args.to is None:
        return _restore(args)
    if args.name is not None or args.yes:
        raise WrongUsageError("--to changes nothing in the place: leave --name and --yes out")
    return _export(args)


def _restore(args: argparse.Namespace) -> int:
    check_name(args.name)
    with opened(args) as looked:
        found, newest = looked.get(args.which), by_head(looked, LATEST)
        _ = found.manifest  # whose damage is told before the place is taken over
    if not args.yes and not _is_confirmed(args, found, newest):
        tell("nothing was restored")
        return codes.ERROR
    with opened(args, mode="rw") as checkpoints:
        made = checkpoints.restore(found, name=args.name)
    if args.json:
        say_json({"restored": found.id, "id": made.id, "name": made.name, "newest_before": newest.id})
    else:
        undo = f"; `journalkit checkpoints restore {args.url} {newest.id}` undoes it" if newest.id != found.id else ""
        show([Remarks([f"restored {found.id}, saved {time_of(found)}, as {made.id}{undo}"])])
    return codes.DONE


def _is_confirmed(args: argparse.Namespace, found: Checkpoint, newest: Checkpoint) -> bool:
    """Ask on a terminal.

    Raises:
        WrongUsageError: There is none to ask on.
    """
    # Python has no standard input at all where whoever started it has closed it.
    if any(stream is None or not is_terminal(stream) for stream in (sys.stdin, sys.stderr)):
        raise WrongUsageError(
            f"a job that runs at {args.url} can publish nothing any more once a checkpoint is restored: say --yes"
        )
    tell(f"{found.id} of {args.url}, saved {time_of(found)}, becomes the newest")
    tell(f"the newest so far, {newest.id}, saved {time_of(newest)}, stays where it is, behind it")
    tell("a job that runs there is fenced: it can publish nothing any more")
    sys.stderr.write(visible("restore it? [y/N] "))
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _export(args: argparse.Namespace) -> int:
    fs = PosixFileSystem()
    with opened(args) as checkpoints:
        target = check_target(fs, args.to, checkpoints.where)
        checkpoint = checkpoints.get(args.which)
        total = checkpoint.size_bytes
        with progress(f"writing {args.to}", total or None, is_bytes=True) as advance:
            written = export(fs, checkpoint, target, advance)
    if args.json:
        say_json({
            "id": checkpoint.id,
            "to": os.path.abspath(args.to),
            "files": written.files,
            "size_bytes": written.size_bytes,
        })  # fmt: skip
    else:
        what = f"{STATE} and {count(written.files - 1, 'more file')}"
        show([Remarks([f"wrote {checkpoint.id} into {args.to}: {what}, {size(written.size_bytes)}"])])
    return codes.DONE
