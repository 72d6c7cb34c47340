"""Rows: the best peer, the ratio that is judged, and the verdict."""

from __future__ import annotations

import pytest

from journalkit.bench.result import Goal, Row
from journalkit.bench.rounds import Contender, Contest, contest


def fixed(name: str, figure: float, *, counts: bool = True) -> Contender:
    """Return a contender that always takes as long."""
    return Contender(name, lambda _: figure, counts=counts)


def of(ours: float, **others: float) -> Contest:
    """Return the result of fixed figures."""
    return contest(fixed("journalkit", ours), [fixed(name, figure) for name, figure in others.items()], 3)


def row(goal: Goal | None, result: Contest | None, against: str = "best peer") -> Row:
    """Return a row with that goal and result."""
    return Row("name", "what", against, goal, result)


def test_the_best_peer_is_the_one_that_is_judged() -> None:
    """Beating the slowest is no goal."""
    found = row(Goal(1.2), of(1.0, slow=9.0, quick=1.3, middling=4.0))
    assert found.rival is not None
    assert found.rival.name == "quick"
    assert found.verdict == "met"


@pytest.mark.parametrize(("other", "verdict"), [(1.2, "met"), (1.19, "SHORT"), (0.5, "SHORT"), (10.0, "met")])
def test_at_least_is_met_from_the_goal_on(other: float, verdict: str) -> None:
    """The verdict is about the median ratio, not about being faster."""
    assert row(Goal(1.2), of(1.0, other=other)).verdict == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(4.0, "met"), (4.01, "SHORT"), (1.0, "met")])
def test_at_most_turns_the_ratio_round(ours: float, verdict: str) -> None:
    """A goal of at most 4 times as slow is read as it is said."""
    found = row(Goal(4, at_most=True), of(ours, other=1.0))
    assert found.verdict == verdict
    assert found.ratio is not None
    assert found.ratio.median == pytest.approx(ours)
    assert found.ratio.low <= found.ratio.median <= found.ratio.high


def test_who_is_named_is_the_rival_even_if_others_are_better() -> None:
    """The row against the bare device is about the device."""
    result = contest(fixed("journalkit", 2.0), [fixed("bare device", 1.0, counts=False), fixed("peer", 0.5)], 3)
    assert row(Goal(0.5), result, against="bare device").verdict == "met"
    assert row(Goal(0.5), result).verdict == "SHORT"


def test_who_does_not_count_is_not_the_best_peer() -> None:
    """What hands out its own cached object isn't reading a database."""
    result = contest(fixed("journalkit", 1.0), [fixed("live", 0.1, counts=False), fixed("peer", 2.0)], 3)
    assert row(Goal(1.5), result).verdict == "met"


def test_nothing_measured_is_never_met() -> None:
    """A row that wasn't run must not look like one that was."""
    for result in (None, of(1.0)):
        found = row(Goal(0.1), result)
        assert found.verdict == "not measured"
        assert found.met is None


def test_a_row_without_a_goal_has_a_ratio_and_no_verdict() -> None:
    """It informs."""
    found = row(None, of(1.0, other=2.0))
    assert (found.verdict, found.met) == ("no goal", None)
    assert found.ratio is not None
    assert found.ratio.median == 2
