"""The result as a picture: each row's ratio on a logarithmic axis, with its spread and its goal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from journalkit.bench.result import Row
from journalkit.bench.rounds import Spread
from journalkit.errors import UsageError

GROWTH: Final = "growth-"
KINDS: Final = (".png", ".svg", ".pdf")
_MET, _SHORT, _PLAIN, _PEERS, _GOAL = "#2e7d32", "#c62828", "#546e7a", "#b0bec5", "#1a237e"
_RATIO_MIN: Final = 1e-3
_RATIO_MAX: Final = 1e4


def check(path: str) -> None:
    """Raise UsageError, before anything is measured, if nothing could be drawn there."""
    if not path.lower().endswith(KINDS):
        raise UsageError(f"--plot {path!r}: a picture's name ends in {', '.join(KINDS)}")
    if not os.path.isdir(os.path.dirname(path) or os.curdir):
        raise UsageError(f"--plot {path!r}: there is no such directory")
    _load()


def draw(rows: Sequence[Row], path: str, caption: str) -> None:
    """Draw all rows that were measured; a goal of at most is drawn as what it is for the ratio, its inverse."""
    measured = [row for row in rows if row.contest is not None and row.rival is not None]
    growing = [row for row in measured if row.name.startswith(GROWTH)]
    shown = [row for row in measured if row not in growing][::-1]
    heights = [1.2 + 0.28 * max(1, len(shown)), 4 if growing else 0]
    figure = _load().Figure(figsize=(10, sum(heights)), layout="constrained")
    if growing:
        above, below = figure.subplots(2, 1, height_ratios=heights)
        _draw_growth(below, growing)
    else:
        above = below = figure.subplots()
    _draw_ratios(above, shown)
    below.set_xlabel(f"{below.get_xlabel()}\n{caption}", fontsize=8)
    figure.savefig(path, dpi=150)


def _draw_ratios(axes: Any, shown: Sequence[Row]) -> None:
    for place, row in enumerate(shown):
        _draw_row(axes, place, row)
    axes.set_yticks(range(len(shown)), [f"{row.name}  ({row.rival.name})" for row in shown if row.rival])
    axes.set_xscale("log")
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(axis="x", which="major", color="#e0e0e0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("times that journalkit is better (logarithmic)", fontsize=8)
    axes.set_title(
        "dot: median ratio to the best other, line: middle half; bar: goal; small dots: the other contenders",
        fontsize=8,
    )
    axes.xaxis.set_major_formatter("{x:g}")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=8)


def _draw_row(axes: Any, place: int, row: Row) -> None:
    rival, contest = row.rival, row.contest
    if rival is None or contest is None:
        return
    others = [_bounded(other.ratio.median) for other in contest.others if other is not rival]
    axes.plot(others, [place] * len(others), ".", color=_PEERS, markersize=5, zorder=2)
    colour = {"met": _MET, "SHORT": _SHORT}.get(row.verdict, _PLAIN)
    ratio: Spread = rival.ratio
    axes.plot([_bounded(ratio.low), _bounded(ratio.high)], [place, place], color=colour, linewidth=2, zorder=3)
    axes.plot([_bounded(ratio.median)], [place], "o", color=colour, markersize=6, zorder=4)
    if row.goal is not None:
        goal = 1 / row.goal.times if row.goal.at_most else row.goal.times
        axes.plot([goal, goal], [place - 0.35, place + 0.35], color=_GOAL, linewidth=1.4, zorder=5)


def _draw_growth(axes: Any, rows: Sequence[Row]) -> None:
    """Draw what an operation costs on each size, through what it costs on the smallest."""
    for row in rows:
        if row.contest is not None:
            sizes = [*row.contest.others, row.contest.ours]
            first = sizes[0].figure.median
            axes.plot([size.name for size in sizes], [size.figure.median / first for size in sizes], "o-",
                      label=row.name.removeprefix(GROWTH), linewidth=1.2, markersize=4)  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.09), max(high, 11))
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_title("cost of one operation, through its cost on the smallest state", fontsize=8)
    axes.legend(fontsize=7, ncols=2, frameon=False)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _bounded(ratio: float) -> float:
    return min(max(ratio, _RATIO_MIN), _RATIO_MAX)


def _load() -> Any:
    try:
        from matplotlib import figure
    except ImportError as error:
        raise UsageError("--plot: matplotlib is not installed: pip install 'journalkit[bench]'") from error
    return figure
