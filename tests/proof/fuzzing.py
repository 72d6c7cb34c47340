"""The fuzzer as a proof: every target for twenty seconds of processor time, or for ten minutes, and nothing found.

What the targets are and what counts as a finding is in `fuzz/`; a unit is one
target, run in a bounded process of its own. Where atheris is missing, inputs
are mutated blindly, and counted as that.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from units import Goal, Outcome, Size, Unit

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    # Behind all else, so that an installed package is the one under test.
    sys.path.append(str(ROOT))

from fuzz import session  # noqa: E402
from fuzz.child import WAITS_MAX  # noqa: E402
from fuzz.targets import TARGETS  # noqa: E402

SECONDS: dict[Size, float] = {"ci": 20.0, "full": 600.0}
"""For each target."""

INPUTS_MIN_PER_S = 1.0
"""Fewer, and the target hardly ran; the slowest manage ten times as many."""

GOALS = (
    Goal(count="targets", says="fuzz targets that found nothing", ci=len(TARGETS), full=len(TARGETS)),
    Goal(count="inputs", says="inputs run by them", ci=50_000, full=2_000_000),
)


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return a unit for each target."""
    seconds = SECONDS[size]
    timeout_s = WAITS_MAX * seconds + 240
    return [Unit(name, {"target": name, "seed": seed, "seconds": seconds}, timeout_s) for name in TARGETS]


def prove(unit: Unit) -> Outcome:
    """Run a target."""
    outcome = Outcome()
    seconds = float(unit.arguments["seconds"])
    result = session.run(str(unit.arguments["target"]), seed=int(unit.arguments["seed"]), seconds=seconds)
    outcome.add("inputs", result.inputs)
    if result.engine == "mutation":
        outcome.add("inputs mutated blindly, for want of atheris", result.inputs)
    if result.finding:
        outcome.failures.append(result.finding)
    elif result.inputs < seconds * INPUTS_MIN_PER_S:
        outcome.failures.append(f"{result.line()}: a target that hardly runs finds nothing")
    else:
        outcome.add("targets")
    return outcome
