"""`journalkit bench`: how fast, against whom, with the same durability."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from typing import TYPE_CHECKING

from journalkit.cli import codes
from journalkit.cli.arguments import Commands, add_command
from journalkit.cli.page import Grid, show
from journalkit.cli.terminal import say_json
from journalkit.errors import UsageError

if TYPE_CHECKING:
    from journalkit.bench.rows import Row

_NAMES = "durable-put, put, get-memory, get-tables, get-few, replay, open"


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "bench",
        "measure against peers and the device, as ratios",
        run=run,
        text=(
            "Both contenders take turns; `ratio` is the other's time through ours, the median of all rounds, so\n"
            "above 1 journalkit is faster. Peers come with the extra journalkit[bench]. Rows: " + _NAMES + "."
        ),
        example="journalkit bench\njournalkit bench --quick durable-put put --json",
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these rows")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for a look; figures are rough")
    parser.add_argument("--directory", default=tempfile.gettempdir(), help="where to write; names the disk measured")


def run(args: argparse.Namespace) -> int:
    """Run the rows one after the other."""
    from journalkit.bench.rows import FULL, QUICK, ROWS

    unknown = [name for name in args.rows if name not in ROWS]
    if unknown:
        raise UsageError(f"there is no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    scale = QUICK if args.quick else FULL
    rows: list[Row] = []
    for name in args.rows or ROWS:
        if not args.json and sys.stderr.isatty():
            print(f"measuring {name} ...", file=sys.stderr)
        rows.append(ROWS[name](args.directory, scale))
    if args.json:
        say_json({"python": platform.python_version(), "rows": [_plain(row) for row in rows]})
    else:
        show([Grid("", ("what", "ours", "other", "against", "ratio", "middle half", "goal", ""), _cells(rows),
                   frozenset({"ours", "other", "ratio", "goal"}))])  # fmt: skip
    return codes.DONE


def _cells(rows: list[Row]) -> list[tuple[str, ...]]:
    cells: list[tuple[str, ...]] = []
    for row in rows:
        duel, goal = row.duel, f"{row.goal:.2f}"
        if duel is None:
            cells.append((row.name, "-", "-", row.against, "-", row.missing, goal, "not measured"))
            continue
        spread = f"{duel.ratio_low:.2f} to {duel.ratio_high:.2f}"
        verdict = "met" if row.met else "SHORT"
        cells.append(
            (row.name, _time(duel.ours_s), _time(duel.other_s), row.against, f"{duel.ratio:.2f}", spread, goal, verdict)
        )
    return cells


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.2f} us" if seconds < 0.001 else f"{seconds * 1e3:.2f} ms"


def _plain(row: Row) -> dict[str, object]:
    duel = row.duel
    measured = {} if duel is None else {
        "ours_s": duel.ours_s, "other_s": duel.other_s, "ratio": duel.ratio,
        "ratio_low": duel.ratio_low, "ratio_high": duel.ratio_high, "rounds": duel.rounds,
    }  # fmt: skip
    return {
        "name": row.name, "against": row.against, "durability": row.durability, "goal": row.goal, "met": row.met,
        "missing": row.missing, **measured,
    }  # fmt: skip
