"""The micro layer, and the picture."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from journalkit.bench import layers, plot
from journalkit.bench.arena import Bench
from journalkit.bench.result import Goal, Row
from journalkit.bench.rounds import Contender, contest
from journalkit.cli import bench as command
from journalkit.errors import UsageError

MakeBench = Callable[..., Bench]


@pytest.mark.parametrize("name", layers.LAYERS)
def test_a_layer_is_measured_step_by_step(name: str, bench: MakeBench, tmp_path: Path) -> None:
    """The whole first, then what it consists of; and nothing stays behind."""
    layer = layers.measure(bench(), name)
    assert layer.name == name
    assert layer.contest.ours.figure.median > 0
    assert len(layer.contest.others) >= 3
    assert list(tmp_path.iterdir()) == []


def test_the_command_offers_the_layers_that_there_are() -> None:
    """Its list is written out, so that `--help` doesn't load the bench."""
    assert set(command._LAYERS) == set(layers.LAYERS)


def rows() -> list[Row]:
    """Return rows of all kinds: met, short, at most, without a goal, beyond the axis, not measured."""
    figures = {"met": 3.0, "short": 0.4, "far": 1e9, "none": 2.0}
    made = [
        Row(name, name, "best peer", Goal(1.2),
            contest(Contender("journalkit", lambda _: 1.0), [Contender("peer", lambda _, ratio=ratio: ratio)], 3))  # type: ignore[misc]
        for name, ratio in figures.items()
    ]  # fmt: skip
    at_most = contest(Contender("journalkit", lambda _: 2.0), [Contender("peer", lambda _: 1.0)], 3)
    made.append(Row("at most", "at most", "peer", Goal(4, at_most=True), at_most))
    made.append(Row("no goal", "no goal", "peer", None, at_most))
    made.append(Row("not measured", "not measured", "best peer", Goal(1), None))
    return made


@pytest.mark.parametrize("kind", plot.KINDS)
def test_a_picture_is_drawn(kind: str, tmp_path: Path) -> None:
    """Of all rows that have figures, in each kind of file."""
    pytest.importorskip("matplotlib")
    path = tmp_path / f"speed{kind}"
    plot.check(str(path))
    plot.draw(rows(), str(path), "a caption")
    assert path.stat().st_size > 1000


def test_a_picture_of_nothing_is_drawn_too(tmp_path: Path) -> None:
    """A run whose peers are all missing ends without a traceback."""
    pytest.importorskip("matplotlib")
    plot.draw([], str(tmp_path / "speed.svg"), "a caption")


@pytest.mark.parametrize("path", ["speed.txt", "speed", "nowhere/speed.png"])
def test_a_picture_that_cannot_be_drawn_is_told_before_anything_is_measured(path: str, tmp_path: Path) -> None:
    """Not after an hour."""
    with pytest.raises(UsageError, match="--plot"):
        plot.check(str(tmp_path / path))


def test_without_matplotlib_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes with the extra alone."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"journalkit\[bench\]"):
        plot.check(str(tmp_path / "speed.png"))
