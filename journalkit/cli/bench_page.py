"""How `journalkit bench` shows its result: verdicts first, then every contender, then what they ran with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from journalkit.bench.result import BEST_PEER
from journalkit.cli.page import Cell, Grid, Part, Remarks, Toned
from journalkit.cli.terminal import size

if TYPE_CHECKING:
    from journalkit.bench.layers import Layer
    from journalkit.bench.result import Row, Verdict
    from journalkit.bench.rounds import Spread

_NUMBERS: Final = frozenset({"ours", "theirs", "ratio", "goal"})
_GROWTH: Final = "growth-"


def page(rows: Sequence[Row]) -> list[Part]:
    """Return what is shown: the verdicts, every contender's ratio, who was missing, and the settings."""
    return [
        Grid("", ("row", "what", "survives", "ours", "theirs", "against", "ratio", "middle half", "goal", ""),
             [_line(row) for row in rows], _NUMBERS),
        _everybody([row for row in rows if not row.name.startswith(_GROWTH)]),
        _growth([row for row in rows if row.name.startswith(_GROWTH)]),
        Remarks(_missing(rows), title="Not measured"),
        Remarks(_notes(rows), title="Notes"),
        Grid("Settings", ("who", "settings"), _settings(rows)),
    ]  # fmt: skip


def layer_page(layer: Layer) -> list[Part]:
    """Return the steps of a layer beside the whole."""
    ours = layer.contest.ours
    lines = [(ours.name, _figure(ours.figure.median, "s"), "")]
    lines += [
        (step.name, _figure(step.figure.median, "s"), f"{step.ratio.median:.0%}") for step in layer.contest.others
    ]
    return [Grid(layer.what, ("step", "each", "of the first"), lines, frozenset({"each", "of the first"}))]


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
    """Return the grid of all ratios: a line for each row, a column for each who takes part in rows for all."""
    open_to_all = [row.contest for row in rows if row.contest is not None and row.against == BEST_PEER]
    times = Counter(other.name for contest in open_to_all for other in contest.others)
    # A route that one row alone has would be a column of one cell; its figures are in the JSON.
    names = [name for name, count in times.items() if count > 1 or len(open_to_all) == 1]
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


def _growth(rows: Sequence[Row]) -> Grid:
    """Return the grid of costs: a line for each operation, a column for each size."""
    lines = []
    heads: list[str] = []
    for row in rows:
        if row.contest is not None:
            sizes = [*row.contest.others, row.contest.ours]
            heads = [size.name for size in sizes]
            lines.append((row.name, *(_figure(size.figure.median, row.unit) for size in sizes)))
    return Grid("Cost of one operation as the state grows", ("row", *heads), lines, frozenset(heads))


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
