"""What to keep: rules joined by "or", and never a wrong one let go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.checkpoint.retention import Best, Keep
from journalkit.errors import UsageError
from journalkit.format.head import CheckpointEntry

HOUR_US = 3_600_000_000


def made(hours: Sequence[float], losses: Sequence[float] = (), named: Sequence[int] = ()) -> list[CheckpointEntry]:
    """Return checkpoints of these hours, newest first as a catalogue gives them."""
    entries = [
        CheckpointEntry(
            1, save, round(hour * HOUR_US), 1, b"d" * 32, "kept" if save in named else "",
            {"loss": losses[save]} if save < len(losses) else {},
        )
        for save, hour in enumerate(hours)
    ]  # fmt: skip
    return entries[::-1]


def left(keep: Keep, entries: Sequence[CheckpointEntry]) -> list[int]:
    """Return the saves that stay, oldest first."""
    leaving = {entry.save for entry in keep.leaving(entries)}
    return [entry.save for entry in reversed(entries) if entry.save not in leaving]


def test_the_last_ones_stay_and_the_oldest_leave_first() -> None:
    """In the order in which a save that lets few go should take them."""
    entries = made(range(6))
    assert [entry.save for entry in Keep(last=2).leaving(entries)] == [0, 1, 2, 3]
    assert Keep(last=6).leaving(entries) == [] == Keep(last=7).leaving(entries)
    assert Keep().leaving([]) == []


def test_the_newest_of_each_interval_stays_for_its_time() -> None:
    """One an hour for three hours, one every six hours for a day."""
    entries = made([0.5, 1.2, 1.8, 7, 20.1, 20.2, 21.5, 22.5, 23.1, 23.9])
    keep = Keep(every={timedelta(hours=1): timedelta(hours=3), 6 * 3600: 24 * 3600})
    assert left(keep, entries) == [2, 3, 6, 7, 9]


def test_the_best_stay_by_the_least_or_the_greatest_and_the_newer_of_equals() -> None:
    """What wasn't measured isn't among them, and NaN is no measurement."""
    entries = made(range(6), [0.5, 0.1, 0.3, 0.1, math.nan])
    assert left(Keep(best=Best("loss")), entries) == [3, 5]
    assert left(Keep(best=Best("loss", 2)), entries) == [1, 3, 5]
    assert left(Keep(best=[Best("loss", 1, "max"), Best("loss", 1)]), entries) == [0, 3, 5]
    assert left(Keep(best=Best("accuracy")), entries) == [5]


def test_what_has_a_name_stays_for_ever() -> None:
    """Whatever else is asked for."""
    assert left(Keep(last=1), made(range(5), named=[1])) == [1, 4]


@given(
    hours=st.lists(st.floats(0, 100), min_size=1, max_size=40),
    rules=st.tuples(st.integers(1, 5), st.integers(1, 20), st.integers(1, 100), st.integers(1, 3)),
    window=st.integers(1, 40),
    seed=st.integers(0, 9),
)
def test_who_looks_at_the_latest_only_lets_nobody_go_that_should_stay(
    hours: list[float], rules: tuple[int, int, int, int], window: int, seed: int
) -> None:
    """A save looks at those in the head; a prune at all."""
    chance = Random(seed)
    entries = made(sorted(hours), [chance.random() for _ in hours])
    last, interval, within, count = rules
    keep = Keep(last=last, every={3600 * interval: 3600 * within}, best=Best("loss", count))
    assert {entry.place for entry in keep.leaving(entries[:window])} <= {entry.place for entry in keep.leaving(entries)}


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40))
def test_who_looks_again_finds_nobody_more_to_let_go(hours: list[float]) -> None:
    """Otherwise each prune would take more, down to the last one."""
    entries = made(sorted(hours))
    keep = Keep(last=2, every={3600: 3600 * 5, 3600 * 10: 3600 * 50})
    leaving = {entry.place for entry in keep.leaving(entries)}
    assert keep.leaving([entry for entry in entries if entry.place not in leaving]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"last": 0}, {"last": True}, {"last": 1.5}, {"every": 5}, {"every": {0: 5}}, {"every": {math.inf: 5}},
        {"every": {5: 0}}, {"every": {"1h": 5}}, {"best": "loss"}, {"best": ["loss"]},
    ],
    ids=repr,
)  # fmt: skip
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    """Before they delete anything."""
    with pytest.raises(UsageError):
        Keep(**wrong)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"mode": "least"}, {"metric": 5}], ids=repr)
def test_a_best_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """A typing error in a mode would keep the worst."""
    with pytest.raises(UsageError):
        Best(**{"metric": "loss"} | wrong)
