"""That mutation testing would tell: a test that looks kills, one that looks away doesn't, and one that hangs is ended.

On a package of one small module, so that it takes seconds; the real one takes hours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mutmut", reason="mutation testing needs mutmut, which is nobody's dependency")

from mutating import mutants_of, mutated
from mutations import Results, table

COMMAND = Path(__file__).with_name("mutations.py")

MODULE = '''\
"""A module."""

STEP = 2


def _limits():
    return {"most": 1000}


MOST = _limits()["most"]

def count(limit, step=STEP, start=0):
    """Count up to a limit."""
    at = start
    while at < min(limit, MOST):
        at = at + step
    return at


class Box:
    """A box."""

    def __init__(self, size):
        self.size = size

    @property
    def room(self):
        """Twice the size."""
        return self.size * 2
'''

LOOKING = """\
from journalkit.format.small import Box, count

def test_counting():
    assert count(4) == 4
    assert count(1_000_000) == 1000

def test_room():
    assert Box(3).room == 6
"""

LOOKING_AWAY = """\
from journalkit.format.small import Box, count

def test_everything():
    count(4), Box(3).room
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Make a package of one module."""
    package = tmp_path / "journalkit"
    (package / "format").mkdir(parents=True)
    for folder in (package, package / "format"):
        (folder / "__init__.py").write_text("")
    (package / "format" / "small.py").write_text(MODULE)
    return package


def run(package: Path, test: str, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the command on that package with one test file; return its exit code and the results."""
    file = package.parent / "asked" / "test_small.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(test)
    results = package.parent / "results.jsonl"
    given = ["--folder", "format", "--tests", str(file.parent), "--results", str(results), *options]
    environment = os.environ | {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(COMMAND), "run", *given]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert results.exists(), done.stdout + done.stderr
    return done.returncode, [json.loads(line) for line in results.read_text().splitlines()]


def outcomes(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return what became of each change."""
    return {f"{row['was']} → {row['now']}": row["outcome"] for row in rows}


def test_mutants_are_in_functions_with_decorators_too(package: Path) -> None:
    """Or half of what reads a file, made by class methods, would never be mutated."""
    found = {(mutant.function, mutant.was, mutant.now) for mutant in mutants_of(package, "format/small.py")}
    assert ("Box.room", "self.size * 2", "self.size / 2") in found
    assert ("count", "< min(limit, MOST)", "<= min(limit, MOST)") in found
    assert ("", "2", "3") in found


def test_a_mutant_is_one_change_of_the_text(package: Path) -> None:
    """What is run has to be what is told."""
    chosen = next(mutant for mutant in mutants_of(package, "format/small.py") if mutant.now == "self.size / 2")
    assert mutated(package, chosen) == MODULE.replace("self.size * 2", "self.size / 2")


@pytest.mark.slow
def test_a_test_that_looks_kills_and_an_endless_one_is_ended(package: Path) -> None:
    """Bodies, constants and defaults alike; and a loop without end costs no more than its limit."""
    status, rows = run(package, LOOKING)
    told = outcomes(rows)
    assert told["self.size * 2 → self.size / 2"] == "killed"
    assert told["< min(limit, MOST) → <= min(limit, MOST)"] == "killed"
    assert told["at + step → at - step"] == "timed out"
    assert told["STEP = 2 → STEP = None"] == "killed"
    assert told["0 → 1"] == "killed"
    assert told["1000 → 1001"] == "killed"
    assert "survived" not in told.values()
    assert status == 0


@pytest.mark.slow
def test_a_test_that_looks_away_lets_them_live(package: Path) -> None:
    """The canary: if mutants were killed by anything else than a check, they would be here."""
    status, rows = run(package, LOOKING_AWAY)
    assert status == 1
    assert outcomes(rows)["< min(limit, MOST) → <= min(limit, MOST)"] == "survived"
    assert outcomes(rows)["2 → 3"] == "survived"


@pytest.mark.slow
def test_what_was_tried_is_not_tried_again(package: Path) -> None:
    """A run of hours is one that goes on."""
    _, first = run(package, LOOKING, "--sample", "3")
    _, second = run(package, LOOKING, "--sample", "4")
    assert second[:3] == first
    assert len(second) == 4


def test_a_table_counts_what_the_source_still_has(package: Path) -> None:
    """Results of a file that has changed since say nothing about it."""
    planned = list(mutants_of(package, "format/small.py"))
    path = package.parent / "results.jsonl"
    rows = [mutant.row | {"outcome": "killed"} for mutant in planned[:2]]
    rows[1] |= {"outcome": "survived"}
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[1] | {"key": "of another day"}]))
    told = table(Results(path), planned).splitlines()
    assert f"| `format/small.py` | {len(planned)} | 2 | 1 | 0 | 1 |" in told
    assert f"| all | {len(planned)} | 2 | 1 | 0 | 1 |" in told
    assert sum(line.endswith("| **?** |") for line in told) == 1
