"""`journalkit checkpoints`: a job's checkpoints, looked at, checked and thinned out, without the job's own classes.

What takes more to say has a module of its own: `checkpoint_diff`, `checkpoint_restore`, `checkpoint_watch`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any, Final

from journalkit.checkpoint.checkpoint import Checkpoint, id_of
from journalkit.checkpoint.open import open_checkpoints
from journalkit.checkpoint.retention import Best, Keep
from journalkit.cli import checkpoint_diff, checkpoint_restore, checkpoint_watch, codes, jsonform
from journalkit.cli.arguments import Commands, Parser, WrongUsageError, positive
from journalkit.cli.checkpoint_words import (
    add_action,
    add_which,
    by_head,
    check_name,
    duration,
    opened,
    seconds_of,
    summary,
    time_of,
)
from journalkit.cli.page import Cell, Fields, Grid, Remarks, Toned, show
from journalkit.cli.states import leaves_of, shown, steps_shown
from journalkit.cli.terminal import count, progress, say_json, size, tell
from journalkit.errors import CheckpointNotFoundError, UsageError

_EVERY: Final = re.compile(r"([^=]+)=([^=]+)")
_BEST: Final = re.compile(r"([^=]+?)(?::(min|max))?=(\d+)")
_TREE_LINES_MAX: Final = 40


def add_parser(commands: Commands) -> None:
    """Register the command and what it can be asked for."""
    parser = commands.add_parser(
        "checkpoints",
        help="look at a job's checkpoints, check, compare, restore and thin them out",
        description="A job's checkpoints, in a directory or in object storage.",
        epilog="`journalkit checkpoints ACTION --help` tells more; each action takes --json.\n\n"
        "example:\n  journalkit checkpoints list job",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions: Commands = parser.add_subparsers(metavar="ACTION", dest="action", required=True, parser_class=Parser)
    add_action(
        actions, "list", "list the checkpoints, newest first", run=_list,
        example="journalkit checkpoints list job\njournalkit checkpoints list s3://bucket/job --limit 20 --json",
    ).add_argument("--limit", type=positive, metavar="N", help="only the newest N")  # fmt: skip
    add_which(
        add_action(
            actions, "show", "show one checkpoint: offsets, metadata, what its state is made of", run=_show,
            example="journalkit checkpoints show job\njournalkit checkpoints show job 3.17",
        )
    )  # fmt: skip
    verify = add_action(
        actions, "verify", "read every byte of a checkpoint and say whether it is sound", run=_verify,
        text="Exit code 0: sound. 2: damaged.",
        example="journalkit checkpoints verify job\njournalkit checkpoints verify job --all",
    )  # fmt: skip
    add_which(verify)
    verify.add_argument("--all", action="store_true", help="all of them")
    delete = add_action(
        actions, "delete", "delete checkpoints; their bytes go after the trash period", run=_delete,
        text="Beside the job, which isn't stopped by it.",
        example="journalkit checkpoints delete job 3.17 before-upgrade",
    )  # fmt: skip
    delete.add_argument("which", metavar="WHICH", nargs="+", help="ids (3.17) or names")
    prune = add_action(
        actions, "prune", "let go what needn't stay, and delete what nobody needs", run=_prune,
        text="A checkpoint stays if any of the rules wants it; without a rule all stay, and only what was deleted "
        "before and what killed saves have left goes. The newest stays, and so does one with a name.",
        example="journalkit checkpoints prune job --last 5 --every 1h=1d --every 1d=4w --best loss=3 --dry-run",
    )  # fmt: skip
    prune.add_argument("--last", type=positive, metavar="N", help="the newest N stay")
    prune.add_argument(
        "--every", action="append", default=[], metavar="INTERVAL=TIME",
        help="the newest of each INTERVAL stays, TIME back: 1h=1d; units are s, m, h, d, w",
    )  # fmt: skip
    prune.add_argument(
        "--best", action="append", default=[], metavar="METRIC[:max]=N",
        help="the N of the least, or greatest, METRIC stay",
    )  # fmt: skip
    prune.add_argument("--dry-run", action="store_true", help="tell what would be done, and change nothing")
    for action in (delete, prune):
        action.add_argument(
            "--trash-period", type=duration, default=3600.0, metavar="TIME",
            help="how long the bytes of deleted checkpoints stay (default: 1h)",
        )  # fmt: skip
    copy = add_action(
        actions, "copy", "copy a checkpoint to another place, as its latest one", run=_copy,
        text="Each byte is checked on its way, and what the other place has already isn't written again. The other "
        "place is taken over: a job that runs there can publish nothing any more.",
        example="journalkit checkpoints copy job s3://bucket/job\n"
        "journalkit checkpoints copy job /backup/job 3.17 --name before-upgrade",
    )  # fmt: skip
    copy.add_argument("to", metavar="TO", help="a directory, or s3://, gs://, az://; made if there is none")
    add_which(copy)
    copy.add_argument("--name", help="its name there; that of the original if it isn't given")
    add_action(
        actions, "du", "tell what each checkpoint takes, and what it shares", run=_du,
        example="journalkit checkpoints du job",
    )  # fmt: skip
    for command in (checkpoint_diff, checkpoint_restore, checkpoint_watch):
        command.add_parser(actions)


# -- actions ---------------------------------------------------------------------------------------


def _list(args: argparse.Namespace) -> int:
    with opened(args) as checkpoints:
        found: list[Checkpoint] = []
        for checkpoint in checkpoints:
            if args.limit is not None and len(found) == args.limit:
                break
            found.append(checkpoint)
        if args.json:
            say_json([summary(checkpoint) for checkpoint in found])
            return codes.DONE
        metrics = sorted({name for checkpoint in found for name in checkpoint.metrics})
        # A column by itself only where there is something to tell.
        extra = ["restores"] if any(each.restores for each in found) else []
        rows = [
            (
                *(each.id, time_of(each), each.name, *(each.restores for _ in extra)),
                *(_metric(each.metrics, name) for name in metrics),
            )
            for each in found
        ]
        show([Grid("", ("id", "saved", "name", *extra, *metrics), rows, frozenset(metrics))])
        more = len(checkpoints) - len(found)
        if more > 0:
            tell(f"{count(more)} more")
        elif not found:
            tell(f"no checkpoints at {checkpoints.where}")
    return codes.DONE


def _show(args: argparse.Namespace) -> int:
    with opened(args) as checkpoints:
        checkpoint = checkpoints.get(args.which)
        leaves = list(leaves_of(checkpoint))
        if args.json:
            parts = [
                {"at": jsonform.to_json(steps), "kind": kind, "size_bytes": taken} for steps, kind, taken in leaves
            ]
            told = {
                "offsets": jsonform.to_json(dict(checkpoint.offsets)),
                "metadata": jsonform.to_json(checkpoint.metadata),
                "size_bytes": checkpoint.size_bytes,
                "workers": checkpoint.workers,
                "state": parts,
            }
            say_json(summary(checkpoint) | told)
            return codes.DONE
        fields: list[tuple[str, Cell]] = [
            ("checkpoint", checkpoint.id),
            ("saved", time_of(checkpoint)),
            ("name", checkpoint.name or Toned("none", "quiet")),
            *([("restores", checkpoint.restores)] if checkpoint.restores else []),
            ("metadata", shown(checkpoint.metadata)),
            ("long values", size(checkpoint.size_bytes)),
            ("workers", count(checkpoint.workers)),
        ]
        lines = [(steps_shown(steps), kind, "" if taken is None else size(taken)) for steps, kind, taken in leaves]
        rest = [Toned(f"{count(len(lines) - _TREE_LINES_MAX)} more", "quiet")] if len(lines) > _TREE_LINES_MAX else []
        show([
            Fields("", fields),
            Fields("offsets", [(shown(key), shown(value)) for key, value in checkpoint.offsets.items()]),
            Fields("metrics", [(name, f"{value:g}") for name, value in checkpoint.metrics.items()]),
            Grid("state", ("at", "kind", "size"), lines[:_TREE_LINES_MAX], frozenset({"size"})),
            Remarks(rest),
        ])  # fmt: skip
    return codes.DONE


def _verify(args: argparse.Namespace) -> int:
    with opened(args) as checkpoints:
        asked = list(checkpoints) if args.all else [by_head(checkpoints, args.which)]
        found = []
        for checkpoint in asked:
            try:
                with progress(f"reading {checkpoint.id}", None):
                    found.append((checkpoint, checkpoint.verify()))
            except CheckpointNotFoundError:
                if not args.all:
                    raise
                # The job that runs beside has let it go meanwhile.
        damaged = sum(bool(errors) for _, errors in found)
        if args.json:
            say_json([
                {"id": checkpoint.id, "sound": not errors, "damage": [str(error) for error in errors]}
                for checkpoint, errors in found
            ])  # fmt: skip
        else:
            rows = [
                (checkpoint.id, Toned("damaged", "bad") if errors else Toned("sound", "good"), time_of(checkpoint))
                for checkpoint, errors in found
            ]
            lines = [Toned(f"{checkpoint.id}: {error}", "bad") for checkpoint, errors in found for error in errors]
            verdict = f"{count(damaged)} of {count(len(found), 'checkpoint')} {'is' if damaged == 1 else 'are'} damaged"
            show([Grid("", ("id", "verdict", "saved"), rows), Remarks(lines), Remarks([verdict] if damaged else [])])
            if not found:
                tell(f"no checkpoints at {checkpoints.where}")
    return codes.ERROR if damaged else codes.DONE


def _delete(args: argparse.Namespace) -> int:
    with opened(args, mode="maintain") as checkpoints:
        found = [checkpoints.get(which) for which in args.which]
        checkpoints.delete(*found)
    if args.json:
        say_json({"deleted": [checkpoint.id for checkpoint in found]})
    else:
        show([Remarks([f"deleted {checkpoint.id}, saved {time_of(checkpoint)}" for checkpoint in found])])
    return codes.DONE


def _prune(args: argparse.Namespace) -> int:
    keep = _keep(args)
    with opened(args, mode="maintain") as checkpoints, progress(f"pruning {args.url}"):
        pruned = checkpoints.prune(keep, dry_run=args.dry_run)
    if args.json:
        say_json({
            "dry_run": args.dry_run,
            "deleted": [id_of(entry) for entry in pruned.leaving],
            "forgotten": [id_of(entry) for entry in pruned.forgotten],
            "remaining": pruned.remaining,
            "objects": pruned.objects,
            "freed_bytes": pruned.size_bytes,
        })  # fmt: skip
        return codes.DONE
    would = "would be " if args.dry_run else ""
    lines: list[Cell] = [f"{id_of(entry)} {would}deleted" for entry in pruned.leaving]
    lines.append(
        f"{count(len(pruned.leaving), 'checkpoint')} {would}deleted, {count(pruned.objects, 'object')} of "
        f"{size(pruned.size_bytes)} {would}removed"
    )
    if pruned.remaining:
        lines.append(f"{count(pruned.remaining)} more needn't stay: prune again once the trash is empty")
    show([Remarks(lines)])
    return codes.DONE


def _copy(args: argparse.Namespace) -> int:
    check_name(args.name)
    with opened(args) as source:
        checkpoint = source.get(args.which)
        total = checkpoint.size_bytes
        try:
            target = open_checkpoints(args.to)
        except UsageError as error:
            raise WrongUsageError(str(error)) from None
        with target, progress(f"copying {checkpoint.id}", total or None, is_bytes=True) as advance:
            done = 0

            def told(done_bytes: int, _total: int) -> None:
                nonlocal done
                advance(done_bytes - done)
                done = done_bytes

            copied = target.copy_from(checkpoint, name=args.name, progress=told)
    if args.json:
        say_json({"copied": checkpoint.id, "to": copied.id, "size_bytes": total})
    else:
        show([Remarks([f"copied {checkpoint.id} of {source.where} to {copied.id} of {target.where}, {size(total)}"])])
    return codes.DONE


def _du(args: argparse.Namespace) -> int:
    with opened(args) as checkpoints:
        usage = checkpoints.usage()
    if args.json:
        say_json([
            {"id": each.checkpoint.id, "total_bytes": each.total_bytes, "own_bytes": each.own_bytes} for each in usage
        ])  # fmt: skip
        return codes.DONE
    rows = [(each.checkpoint.id, each.checkpoint.name, size(each.total_bytes), size(each.own_bytes)) for each in usage]
    show([Grid("", ("id", "name", "all of it", "its own"), rows, frozenset({"all of it", "its own"}))])
    return codes.DONE


# -- words -----------------------------------------------------------------------------------------


def _metric(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:g}" if name in metrics else ""


def _keep(args: argparse.Namespace) -> Keep | None:
    """Return the rule that the options say, None if they say none."""
    every: dict[Any, Any] = {}
    for text in args.every:
        match = _EVERY.fullmatch(text)
        if match is None:
            raise WrongUsageError(f"--every {text!r} is no INTERVAL=TIME, such as 1h=1d")
        every[seconds_of(match[1])] = seconds_of(match[2])
    best = []
    for text in args.best:
        match = _BEST.fullmatch(text)
        if match is None or int(match[3]) < 1:
            raise WrongUsageError(f"--best {text!r} is no METRIC=N, such as loss=3 or accuracy:max=3")
        best.append(Best(match[1], int(match[3]), "max" if match[2] == "max" else "min"))
    if args.last is None and not every and not best:
        return None
    try:
        return Keep(last=args.last or 1, every=every, best=best)
    except UsageError as error:
        raise WrongUsageError(str(error)) from None
