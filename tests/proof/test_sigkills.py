"""The proof by SIGKILL runs the killer, and tells what it found."""

from __future__ import annotations

from pathlib import Path

import pytest
import sigkills
from units import Unit


def test_a_few_kills_are_counted_by_phase() -> None:
    """The figures are the killer's own."""
    outcome = sigkills.prove(Unit("few", {"kills": 8, "seed": 5}))
    assert outcome.failures == []
    assert outcome.counts["kills"] == 8
    assert sum(number for count, number in outcome.counts.items() if count.startswith("kills in ")) == 8
    assert outcome.counts["acknowledged"] > 0


def test_a_process_that_acknowledges_too_early_is_a_failure_with_the_command_that_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary: a killer that finds nothing may be looking at nothing. It keeps what it found, here for pytest."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    outcome = sigkills.prove(Unit("canary", {"kills": 100, "seed": 1, "canary": True}))
    assert len(outcome.failures) == 1
    assert "acknowledged" in outcome.failures[0]
    assert "again: python tests/crash/kills.py --kills 100 --seed 1 --canary" in outcome.failures[0]


def test_units_reach_the_goals() -> None:
    """A run that can't reach its goal would only be noticed at its end."""
    for size, goal in (("ci", 200), ("full", 5_000)):
        planned = sigkills.units(size, 1)
        assert sum(unit.arguments["kills"] for unit in planned) >= goal
        assert len({unit.arguments["seed"] for unit in planned}) == len({unit.name for unit in planned}) == len(planned)
