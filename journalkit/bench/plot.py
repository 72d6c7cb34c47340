"""The result as a picture: each row's ratio on a logarithmic axis, with its spread and its goal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from journalkit.bench.result import Row
from journalkit.bench.rounds import Spread
from journalkit.errors import UsageError

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
    shown = [row for row in rows if row.contest is not None and row.rival is not None][::-1]
    figures = _load()
    figure = figures.Figure(figsize=(10, 1.6 + 0.28 * max(1, len(shown))), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(shown):
        _draw_row(axes, place, row)
    axes.set_yticks(range(len(shown)), [f"{row.name}  ({row.rival.name})" for row in shown if row.rival])
    axes.set_xscale("log")
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(axis="x", which="major", color="#e0e0e0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("times that journalkit is better (logarithmic)")
    axes.set_title(
        "dot: median ratio to the best other, line: middle half; bar: goal; small dots: the other contenders",
        fontsize=8,
    )
    figure.text(0.995, 0.004, caption, ha="right", va="bottom", fontsize=7, color=_PLAIN)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=8)
    figure.savefig(path, dpi=150)


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


def _bounded(ratio: float) -> float:
    return min(max(ratio, _RATIO_MIN), _RATIO_MAX)


def _load() -> Any:
    try:
        from matplotlib import figure
    except ImportError as error:
        raise UsageError("--plot: matplotlib is not installed: pip install 'journalkit[bench]'") from error
    return figure
