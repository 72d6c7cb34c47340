"""The result as one JSON document: every figure of every contender, and the machine it ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any

import journalkit
from journalkit.bench.arena import Bench
from journalkit.bench.layers import Layer
from journalkit.bench.result import Row
from journalkit.bench.rounds import Figures
from journalkit.compiled import IS_COMPILED
from journalkit.fs.mounts import filesystem_type


def machine(bench: Bench) -> dict[str, Any]:
    """Return what the figures depend on beside the engines."""
    return {
        "python": platform.python_version(),
        "compiled": IS_COMPILED,
        "system": f"{platform.system()} {platform.release()}",
        "processors": os.cpu_count(),
        "file_system": filesystem_type(bench.directory),
    }


def document(bench: Bench, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the whole run."""
    return {
        "journalkit": journalkit.__version__,
        "scale": bench.scale.name,
        **machine(bench),
        "rows": [plain(row) for row in rows],
    }


def caption(bench: Bench) -> str:
    """Return in a line what the figures depend on beside the engines."""
    on = machine(bench)
    path = "compiled" if on["compiled"] else "pure Python"
    return (
        f"journalkit {journalkit.__version__} ({path}), {bench.scale.name} sizes, Python {on['python']}, "
        f"{on['system']}, {on['processors']} processors, {on['file_system']} at {bench.directory}"
    )


def layer_document(bench: Bench, layer: Layer) -> dict[str, Any]:
    """Return one layer's steps; `share` is each one's part of the whole operation."""
    whole = layer.contest.ours
    return {
        "journalkit": journalkit.__version__,
        "scale": bench.scale.name,
        **machine(bench),
        "layer": layer.name,
        "what": layer.what,
        "whole": {"name": whole.name, "seconds": whole.figure.median},
        "steps": [
            {"name": step.name, "seconds": step.figure.median, "share": step.ratio.median}
            for step in layer.contest.others
        ],
    }


def plain(row: Row) -> dict[str, Any]:
    """Return one row; `ratio` and what follows it are absent where nothing was measured."""
    found: dict[str, Any] = {
        "name": row.name,
        "what": row.what,
        "durability": row.durability,
        "against": row.against,
        "goal": None if row.goal is None else {"at_most" if row.goal.at_most else "at_least": row.goal.times},
        "verdict": row.verdict,
        "met": row.met,
        "missing": [{"name": missing.name, "why": missing.why} for missing in row.missing],
        "note": row.note,
    }
    ratio, rival, contest = row.ratio, row.rival, row.contest
    if contest is None or ratio is None or rival is None:
        return found
    return {
        **found,
        "ratio": ratio.median,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "rival": rival.name,
        "unit": row.unit,
        "rounds": contest.rounds,
        "contenders": [_contender(figures) for figures in (contest.ours, *contest.others)],
    }


def _contender(figures: Figures) -> dict[str, Any]:
    return {
        "name": figures.name,
        "settings": figures.settings,
        "counts": figures.counts,
        "figure": figures.figure.median,
        "figure_low": figures.figure.low,
        "figure_high": figures.figure.high,
        "ratio": figures.ratio.median,
        "ratio_low": figures.ratio.low,
        "ratio_high": figures.ratio.high,
    }
