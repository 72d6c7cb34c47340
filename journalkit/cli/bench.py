"""`journalkit bench`: how fast, against whom, with the same durability."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from journalkit.cli import codes
from journalkit.cli.arguments import Commands, add_command
from journalkit.cli.page import Cell, Grid, Part, Remarks, Toned, show
from journalkit.cli.terminal import is_terminal, say_json, size, tell
from journalkit.errors import JournalError

if TYPE_CHECKING:
    from journalkit.bench.result import Row, Verdict
    from journalkit.bench.rounds import Spread

_NUMBERS: Final = frozenset({"ours", "theirs", "ratio", "goal"})


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "bench",
        "measure against peers and the device, as ratios",
        run=run,
        text=(
            "All contenders take turns; `ratio` is the best other's figure through ours, the median of all rounds, so "
            "above 1 journalkit is better. Goals that say ≤ turn it round. Peers come with the extra "
            "journalkit[bench]. `--rows` lists the rows; a name, the beginning of several, or a pattern selects."
        ),
        example="journalkit bench --quick\njournalkit bench durable-put 'ycsb-*-zipfian' --json",
    )
    parser.add_argument("names", nargs="*", metavar="ROW", help="only these rows")
    parser.add_argument("--rows", action="store_true", help="list the rows and measure nothing")
    parser.add_argument("--quick", action="store_true", help="a few seconds a row, for a look; figures are rough")
    parser.add_argument("--directory", default=tempfile.gettempdir(), help="where to write; names the disk measured")


def run(args: argparse.Namespace) -> int:
    """Run the rows one after the other, and show those that were done whatever ends it."""
    from journalkit.bench.arena import Bench
    from journalkit.bench.document import document
    from journalkit.bench.registry import NAMES, measure, select
    from journalkit.bench.scale import FULL, QUICK

    wanted = select(args.names)
    if args.rows:
        chosen = [name for name in NAMES if name in wanted]
        if args.json:
            say_json({"rows": chosen})
        else:
            show([Remarks(chosen)])
        return codes.DONE
    bench = Bench(args.directory, QUICK if args.quick else FULL)
    rows: list[Row] = []
    try:
        for row in measure(bench, wanted):
            rows.append(row)
            if is_terminal(sys.stderr) and not args.json:
                tell(f"{row.name}: {row.verdict}")
    except (JournalError, KeyboardInterrupt):
        if rows and not args.json:
            show(page(rows))
        raise
    if args.json:
        say_json(document(bench, rows))
    else:
        show(page(rows))
    return codes.DONE


def page(rows: Sequence[Row]) -> list[Part]:
    """Return what is shown: the verdicts, every contender's ratio, who was missing, and the settings."""
    return [
        Grid("", ("row", "what", "survives", "ours", "theirs", "against", "ratio", "middle half", "goal", ""),
             [_line(row) for row in rows], _NUMBERS),
        _everybody(rows),
        Remarks(_missing(rows), title="Not measured"),
        Remarks(_notes(rows), title="Notes"),
        Grid("Settings", ("who", "settings"), _settings(rows)),
    ]  # fmt: skip


def _line(row: Row) -> tuple[Cell, ...]:
    ratio, rival, contest = row.ratio, row.rival, row.contest
    goal = "" if row.goal is None else str(row.goal)
    survives = row.durability or "-"
    if contest is None or ratio is None or rival is None:
        return (row.name, row.what, survives, "-", "-", row.against, "-", "-", goal, _verdict(row.verdict))
    return (
        row.name,
        row.what,
        survives,
        _figure(contest.ours.figure.median, row.unit),
        _figure(rival.figure.median, row.unit),
        rival.name,
        f"{ratio.median:.2f}",
        _between(ratio),
        goal,
        _verdict(row.verdict),
    )


def _verdict(verdict: Verdict) -> Cell:
    if verdict == "met":
        return Toned(verdict, "good")
    return Toned(verdict, "bad" if verdict == "SHORT" else "quiet")


def _everybody(rows: Sequence[Row]) -> Grid:
    """Return the grid of all ratios: a line for each row, a column for each contender of more than one row."""
    seen: dict[str, int] = {}
    for row in rows:
        for other in row.contest.others if row.contest else ():
            seen[other.name] = seen.get(other.name, 0) + 1
    names = [name for name, count in seen.items() if count > 1]
    lines: list[tuple[str, ...]] = []
    for row in rows:
        ratios = {other.name: other for other in row.contest.others} if row.contest else {}
        if any(name in ratios for name in names):
            cells = [
                f"{ratios[name].ratio.median:.2f}" + ("" if ratios[name].counts else "*") if name in ratios else ""
                for name in names
            ]
            lines.append((row.name, *cells))
    title = "Times that journalkit is better than each (* shown, not counted for the goal)"
    return Grid(title, ("row", *names), lines, frozenset(names))


def _missing(rows: Sequence[Row]) -> list[str]:
    """Return who was missing and why, each reason once."""
    where: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for missing in row.missing:
            where.setdefault((missing.name, missing.why), []).append(row.name)
    return [f"  {name}, {_some(names)}: {why}" for (name, why), names in where.items()]


def _notes(rows: Sequence[Row]) -> list[str]:
    where: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            where.setdefault(row.note, []).append(row.name)
    return [f"  {_some(names)}: {note}" for note, names in where.items()]


def _settings(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return each contender's settings, each once."""
    found: dict[tuple[str, str], None] = {}
    for row in rows:
        for figures in (row.contest.ours, *row.contest.others) if row.contest else ():
            if figures.settings:
                found[figures.name, figures.settings] = None
    return sorted(found)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} rows from {names[0]} on"


def _between(ratio: Spread) -> str:
    return f"{ratio.low:.2f} to {ratio.high:.2f}"


def _figure(figure: float, unit: str) -> str:
    if unit == "bytes":
        return size(int(figure))
    if unit == "times":
        return f"{figure:.2f} times"
    return f"{figure * 1e6:.2f} us" if figure < 0.001 else f"{figure * 1e3:.2f} ms"
