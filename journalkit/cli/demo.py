"""`journalkit demo`: real work, killed without warning again and again, and nothing lost.

A worker keeps the word counts of real text and its position in that text in
one store. It is killed by SIGKILL, goes on from what it finds, and folds its
log in the background; a plain count without journalkit is the judge.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from typing import TYPE_CHECKING, Final

from journalkit.cli import codes
from journalkit.cli.arguments import Commands, WrongUsageError, add_command, positive
from journalkit.cli.terminal import progress

if TYPE_CHECKING:
    from journalkit.cli.demo_input import Input
    from journalkit.cli.demo_result import Result

_FAILED: Final = 1
_SEEDS: Final = 1_000_000


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "demo",
        "see it work: a real job, killed again and again, that loses nothing",
        run=run,
        text="A worker counts the words of Python's standard library into a store, is killed by SIGKILL at\n"
        "random moments, recovers each time, and folds its log in the background. In the end the counts\n"
        "must equal a plain single-pass count. Exit code 1: they don't, or fewer than three folds ran,\n"
        "or no kill landed inside one.",
        example="journalkit demo\njournalkit demo --seconds 60 --folder /usr/share/doc\njournalkit demo --kills 200",
    )
    parser.add_argument("--seconds", metavar="N", type=positive, help="take about so long (default: under 30)")
    parser.add_argument("--kills", metavar="N", type=positive, help="kill so often (default: 25)")
    parser.add_argument("--folder", metavar="DIR", help="count the text files below this folder instead")
    parser.add_argument("--path", metavar="DIR", help="keep the store here, in a new or empty directory")
    parser.add_argument("--seed", metavar="N", type=int, help="draw the moments of the kills from this number")


def run(args: argparse.Namespace) -> int:
    """Run the demo and tell how it went."""
    from journalkit.cli.demo_input import folder_input, standard_library
    from journalkit.cli.demo_show import show_result

    kept: str | None = args.path
    if kept is not None and os.path.lexists(kept) and (not os.path.isdir(kept) or os.listdir(kept)):
        raise WrongUsageError(f"--path {kept} is there already and isn't an empty directory; name a new one")
    text = standard_library() if args.folder is None else folder_input(args.folder)
    with tempfile.TemporaryDirectory(prefix="journalkit-demo-", ignore_cleanup_errors=True) as folder:
        result = _run(args, text, folder, os.path.abspath(kept or os.path.join(folder, "store")))
        show_result(result, kept=kept, as_json=args.json)
    return codes.DONE if result.passed else _FAILED


def _run(args: argparse.Namespace, text: Input, folder: str, store: str) -> Result:
    from journalkit.cli.demo_result import judge
    from journalkit.cli.demo_run import Director, make_schedule
    from journalkit.cli.demo_show import Showing

    text_path = os.path.join(folder, "input.json")
    text.save(text_path)
    schedule = make_schedule(text, args.seconds, args.kills)
    seed = args.seed if args.seed is not None else random.randrange(_SEEDS)
    with Showing(text, schedule, seed, is_quiet=args.json) as showing:
        course = Director(store, text_path, schedule, random.Random(seed), showing.tell, showing.see).run()
    counted_bytes = sum(text.sizes_bytes[: course.position[0]])
    with progress("counting the same text without journalkit", counted_bytes) as advance:
        return judge(store, text, course, seed, advance)
