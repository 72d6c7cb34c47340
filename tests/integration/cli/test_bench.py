"""`journalkit bench`, as a person calls it: rows, JSON, and what it says when it can't."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from journalkit.bench import registry, scale
from journalkit.bench.result import Goal, Row
from journalkit.bench.rounds import Contender, Missing, contest

Run = Callable[..., Any]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # peers' own


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure matters here."""
    monkeypatch.setattr(scale, "QUICK", scale.TINY)


def test_rows_are_measured_and_shown(run: Run, tmp_path: Path) -> None:
    """The row, its goal and a verdict; and the settings of who took part."""
    done = run("bench", "put-bytes", "--quick", "--directory", tmp_path)
    assert done.code == 0
    assert "put-bytes" in done.out
    assert "≥ 1.2" in done.out
    assert "synchronous=NORMAL" in done.out
    assert os.listdir(tmp_path) == []


def test_json_is_one_document(run: Run, tmp_path: Path) -> None:
    """And nothing else on standard output."""
    done = run("bench", "put-bytes", "--quick", "--json", "--directory", tmp_path)
    [row] = done.json["rows"]
    assert row["name"] == "put-bytes"
    assert done.json["scale"] == "tiny"


def test_the_rows_can_be_listed(run: Run) -> None:
    """Names are found where they are needed."""
    assert run("bench", "--rows").out.split() == list(registry.NAMES)
    assert run("bench", "--rows", "ycsb", "--json").json["rows"][0] == "ycsb-a-uniform"


@pytest.mark.parametrize("directory", ["nowhere", "a file"])
def test_a_wrong_directory_is_told(directory: str, run: Run, tmp_path: Path) -> None:
    """In one line."""
    (tmp_path / "a file").write_text("")
    done = run("bench", "put-bytes", "--quick", "--directory", tmp_path / directory)
    assert done.code == 2
    assert "is not a directory" in done.err
    assert done.err.count("\n") == 1


def test_an_unknown_row_is_told_with_those_there_are(run: Run) -> None:
    """Nobody remembers thirty names."""
    done = run("bench", "no-such-row")
    assert done.code == 64
    assert "scan-1000" in done.err


def finished(*missing: Missing) -> Row:
    """Return a row that was measured."""
    result = contest(Contender("journalkit", lambda _: 1e-6), [Contender("peer", lambda _: 3e-6)], 3)
    return Row("done", "a row that was done", "best peer", Goal(2), result, missing)


def test_ctrl_c_shows_the_rows_that_were_done(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour of measuring isn't thrown away."""

    def stopped(*_args: object) -> Iterator[Row]:
        yield finished(Missing("absent", "it is on holiday"))
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "measure", stopped)
    done = run("bench")
    assert done.code == 130
    assert "3.00" in done.out
    assert "it is on holiday" in done.out


def test_being_told_to_stop_is_as_ctrl_c(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is removed then too; afterwards the signal is what it was."""

    def stopped(*_args: object) -> Iterator[Row]:
        yield finished()
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(registry, "measure", stopped)
    assert run("bench").code == 130
    assert signal.getsignal(signal.SIGTERM) == before


def test_ctrl_c_leaves_json_unsaid(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a run must not pass for a whole one where nobody looks."""

    def stopped(*_args: object) -> Iterator[Row]:
        yield finished()
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "measure", stopped)
    done = run("bench", "--json")
    assert (done.code, done.out) == (130, "")


def test_a_layer_is_shown_and_told_as_json(run: Run, tmp_path: Path) -> None:
    """Each step with its part of the whole."""
    shown = run("bench", "--layer", "frame", "--quick", "--directory", tmp_path)
    assert shown.code == 0
    assert "header and checksums" in shown.out
    told = run("bench", "--layer", "frame", "--quick", "--json", "--directory", tmp_path).json
    assert told["layer"] == "frame"
    assert all(step["share"] > 0 for step in told["steps"])


def test_growth_has_a_table_of_its_own(run: Run, tmp_path: Path) -> None:
    """A column for each size."""
    done = run("bench", "growth-get", "growth-put", "--quick", "--directory", tmp_path)
    assert "Cost of one operation as the state grows" in done.out
    assert "300 keys" in done.out


def test_a_picture_is_drawn_beside_the_table(run: Run, tmp_path: Path) -> None:
    """And a name that can't be one is told first."""
    pytest.importorskip("matplotlib")
    assert run("bench", "put-bytes", "--quick", "--plot", tmp_path / "a.svg", "--directory", tmp_path).code == 0
    assert (tmp_path / "a.svg").read_text().lstrip().startswith("<?xml")
    assert run("bench", "put-bytes", "--quick", "--plot", tmp_path / "a.txt").code == 2
