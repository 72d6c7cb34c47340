"""The runner, by proofs that are made up: what fails, hangs, crashes or falls short is told."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import report
import runner
from units import Goal, Outcome, Unit

RUN = runner.Run("1", "ci", 7)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that stands in for this folder's, answering as its unit's name says."""
    program = tmp_path / "program"
    program.mkdir()
    (program / "__main__.py").write_text(
        textwrap.dedent("""
        import json, os, sys, time
        _, command, proof, unit = sys.argv[:4]
        print("said before")
        if unit == "hangs":
            time.sleep(60)
        if unit == "dies":
            os._exit(3)
        failures = ["two is three"] if unit == "fails" else []
        answer = {"counts": {"things": 5}, "failures": failures, "skipped": ""}
        open(sys.argv[-1], "w").write(json.dumps(answer))
        """)
    )
    monkeypatch.setattr(runner, "HERE", program)
    return program


def ran(here: Path, *names: str) -> list[runner.Result]:
    """Run units by name, and return the results in their order."""
    found: dict[str, runner.Result] = {}
    units = [("made-up", Unit(name, timeout_s=1.0)) for name in names]

    def note(result: runner.Result) -> None:
        found[result.unit] = result

    assert runner.run_units(RUN, units, jobs=2, deadline_s=None, done=note)
    return [found[name] for name in names]


def test_each_unit_answers_with_its_counts(here: Path) -> None:
    """Sums are what goals are held against."""
    first, second = ran(here, "a", "b")
    assert (first.counts, first.failures, second.counts) == ({"things": 5}, [], {"things": 5})
    assert report.sums([first, second], "made-up") == {"things": 10}


def test_a_unit_that_was_mended_and_run_again_counts_once(here: Path, tmp_path: Path) -> None:
    """The report summed both runs of it, and its failure stayed."""
    results = runner.Results(tmp_path / "results.jsonl")
    for name in ("fails", "a", "fails"):
        results.add(ran(here, name)[0])
    results.add(replace(ran(here, "fails")[0], failures=[]))
    kept = runner.last_words(results)
    assert report.sums(kept, "made-up") == {"things": 10}
    assert not any(result.failures for result in kept)


def test_a_unit_that_fails_hangs_or_dies_is_a_failure_with_what_it_said(here: Path) -> None:
    """Silence must never pass for success."""
    fails, hangs, dies = ran(here, "fails", "hangs", "dies")
    assert fails.failures == ["two is three"]
    assert "hung" in hangs.failures[0]
    assert "said before" in dies.failures[0]
    assert "exit 3" in dies.failures[0]
    assert "unit made-up 'dies' --size ci --seed 7" in dies.failures[0]


def test_a_run_goes_on_where_it_was_cut_off(here: Path, tmp_path: Path) -> None:
    """Hours of work survive half a line, and other code's results are none."""
    results = runner.Results(tmp_path / "results")
    for result in ran(here, "a", "b"):
        results.add(result)
    with (tmp_path / "results").open("a") as file:
        file.write('{"version": "1", "si')
    assert {result.unit for result in results.of(RUN)} == {"a", "b"}
    assert results.of(runner.Run("2", "ci", 7)) == []


def test_a_deadline_leaves_units_and_says_so(here: Path) -> None:
    """A part of a run never passes for the whole."""
    units = [("made-up", Unit(f"{number}", timeout_s=5.0)) for number in range(40)]
    assert not runner.run_units(RUN, units, jobs=1, deadline_s=0.2, done=lambda _result: None)


def test_a_goal_that_is_not_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when everything that ran passed, or nothing ran, or all was skipped where nothing may be."""

    class MadeUp:
        GOALS = (Goal("things", "things done", ci=10, full=100),)

        def units(self, size: str, seed: int) -> list[Unit]:
            return []

        def prove(self, unit: Unit) -> Outcome:
            return Outcome()

    monkeypatch.setattr(report, "proof", lambda name: MadeUp())

    def result(count: int, skipped: str = "") -> runner.Result:
        return runner.Result("1", "ci", 7, "made-up", f"{count}", 1.0, {"things": count}, [], skipped)

    def short(*results: runner.Result, may_skip: bool = False) -> str:
        return "".join(report.shortfalls(results, ["made-up"], "ci", may_skip=may_skip))

    assert short(result(4), result(6)) == ""
    assert "9 of 10" in short(result(4), result(5))
    assert "NOTHING RUN" in short()
    assert "no root" in short(result(0, "no root"))
    assert short(result(0, "no root"), may_skip=True) == ""
