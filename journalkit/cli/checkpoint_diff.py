"""`journalkit checkpoints diff`: what differs between two checkpoints."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from journalkit.checkpoint.differing import Change, Difference
from journalkit.checkpoint.said import LATEST
from journalkit.cli import codes, jsonform
from journalkit.cli.arguments import Commands
from journalkit.cli.checkpoint_words import add_action, opened, summary, time_of
from journalkit.cli.page import Cell, Fields, Grid, Part, Remarks, Toned, show
from journalkit.cli.states import shown, steps_shown
from journalkit.cli.terminal import count, progress, say_json, shortened, size

_LINES_MAX: Final = 40
_VALUE_WIDTH: Final = 30
_SECTIONS: Final = ("state", "offsets", "metadata", "metrics")


def add_parser(actions: Commands) -> None:
    """Register the action."""
    parser = add_action(
        actions, "diff", "tell what differs between two checkpoints", run=_run,
        text="What is long is compared by the digests of its chunks, and isn't read. Exit code 0, whether anything "
        "differs or not.",
        example="journalkit checkpoints diff job 3.16 3.17\njournalkit checkpoints diff job before-upgrade --json",
    )  # fmt: skip
    parser.add_argument("first", metavar="A", help="the one before: an id (3.17), a name, or latest")
    parser.add_argument("second", metavar="B", nargs="?", default=LATEST, help="the one after, as A (default: latest)")


def _run(args: argparse.Namespace) -> int:
    with opened(args) as checkpoints, progress(f"comparing {args.first} and {args.second}"):
        found = checkpoints.diff(args.first, args.second)
    if args.json:
        said = {name: [_as_json(change) for change in getattr(found, name)] for name in _SECTIONS}
        told = {
            "shared_bytes": found.shared_bytes,
            "first_bytes": found.first_bytes,
            "second_bytes": found.second_bytes,
        }
        say_json({"first": summary(found.first), "second": summary(found.second)} | said | told)
    else:
        show(_page(found))
    return codes.DONE


def _page(found: Difference) -> list[Part]:
    what: list[tuple[str, Cell]] = [
        (f"{words} {each.id}", f"saved {time_of(each)}" + (f", {each.name}" if each.name else ""))
        for words, each in (("before", found.first), ("after", found.second))
    ]
    what += [
        ("both have", size(found.shared_bytes)),
        (f"only {found.first.id}", size(found.first_bytes)),
        (f"only {found.second.id}", size(found.second_bytes)),
    ]
    grids = [_grid(name, getattr(found, name)) for name in _SECTIONS]
    more = [
        Toned(f"{count(len(changes) - _LINES_MAX)} more in {name}: --json has all", "quiet")
        for name in _SECTIONS
        if len(changes := getattr(found, name)) > _LINES_MAX
    ]
    return [Fields("", what), *grids, Remarks([*more, *([] if found else ["nothing differs"])])]


def _grid(name: str, changes: Sequence[Change]) -> Grid:
    rows = [
        (
            steps_shown(each.at),
            each.what,
            _words(each.before, each.old),
            _words(each.after, each.new),
            size(each.size_bytes) if each.size_bytes else "",
            size(each.differing_bytes) if each.size_bytes and each.what == "changed" else "",
        )
        for each in changes[:_LINES_MAX]
    ]
    return Grid(name, ("at", "what", "before", "after", "size", "differs"), rows, frozenset({"size", "differs"}))


def _words(kind: str, value: Any) -> str:
    """Return a plain value itself, of anything else what it is."""
    return kind if value is None else shortened(shown(value), _VALUE_WIDTH)


def _as_json(change: Change) -> dict[str, Any]:
    told: dict[str, Any] = {
        "at": jsonform.to_json(change.at),
        "what": change.what,
        "before": change.before or None,
        "after": change.after or None,
        "size_bytes": change.size_bytes,
        "differing_bytes": change.differing_bytes,
    }
    values = {"old": change.old, "new": change.new}
    return told | {name: jsonform.to_json(value) for name, value in values.items() if value is not None}
