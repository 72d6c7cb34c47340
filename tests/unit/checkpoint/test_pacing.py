"""When to save: by time, work, share of the run, and by what failures cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from datetime import timedelta
from random import Random

import pytest

from journalkit.checkpoint.pacing import Every, Moment, Overhead, Pace, When, YoungDaly
from journalkit.errors import UsageError
from journalkit.testing import SimulatedClock


def run(when: When, *, hours: float, step_s: float, cost_s: float, step_bytes: int = 0) -> list[float]:
    """Run a job of equal steps and return when, in seconds, it saved."""
    clock = SimulatedClock()
    pace = Pace(when, clock)
    saves = []
    while clock.monotonic_s() < hours * 3600:
        clock.advance(step_s)
        if pace.is_due(size_bytes=step_bytes):
            saves.append(clock.monotonic_s())
            clock.advance(cost_s)
            pace.saved(cost_s)
    return saves


def test_every_so_often_by_time_steps_or_bytes() -> None:
    """Told from the end of the last save."""
    assert run(Every(seconds=600), hours=1, step_s=10, cost_s=30) == [600, 1230, 1860, 2490, 3120]
    assert run(Every(seconds=timedelta(minutes=30)), hours=1, step_s=60, cost_s=0) == [1800, 3600]
    assert run(Every(steps=90), hours=1, step_s=10, cost_s=0) == [900, 1800, 2700, 3600]
    assert run(Every(bytes=1000), hours=0.1, step_s=60, cost_s=0, step_bytes=400) == [180, 360]
    assert run(Every(seconds=600, steps=30), hours=0.25, step_s=10, cost_s=0) == [300, 600, 900]


def test_policies_compose() -> None:
    """Either, or both."""
    either = Every(steps=100) | Every(seconds=600)
    both = Every(steps=100) & Every(seconds=600)
    assert run(either, hours=0.5, step_s=10, cost_s=0) == [600, 1200, 1800]
    assert run(both, hours=0.6, step_s=10, cost_s=0) == [1000, 2000]
    assert run((both | Every(steps=10)) & Every(seconds=150), hours=0.1, step_s=10, cost_s=0) == [150, 300]


@pytest.mark.parametrize("share", [0.01, 0.02, 0.2])
def test_a_share_of_the_run_time_is_kept_to(share: float) -> None:
    """Whatever a save costs; the first one is made at once, to know."""
    saves = run(Overhead(share), hours=50, step_s=1, cost_s=20)
    assert saves[0] == 1
    spent = len(saves) * 20 / (50 * 3600)
    assert 0.95 * share < spent < 1.02 * share


def test_what_a_save_costs_follows_what_they_cost_lately() -> None:
    """A state grows; one slow save is no rule."""
    clock = SimulatedClock()
    pace = Pace(Overhead(0.5), clock)
    pace.saved(10)
    clock.advance(10)
    assert pace.is_due()
    pace.saved(20)
    clock.advance(12)
    assert not pace.is_due()
    clock.advance(1)
    assert pace.is_due()
    for _ in range(30):
        pace.saved(100)
    clock.advance(99)
    assert not pace.is_due()
    clock.advance(1.1)
    assert pace.is_due()


def lost_share(interval_s: float, cost_s: float, mean_s: float, chance: Random) -> float:
    """Simulate failures and return the share of the time that isn't work that counts."""
    work_s = total_s = 0.0
    while work_s < 300 * mean_s:
        fails_s = chance.expovariate(1 / mean_s)
        segments = math.floor(fails_s / (interval_s + cost_s))
        work_s += segments * interval_s
        total_s += fails_s
    return 1 - work_s / total_s


@pytest.mark.parametrize(("cost_s", "mean_s"), [(10, 3600), (60, 86400), (300, 3600)])
def test_the_interval_by_young_and_daly_loses_least(cost_s: float, mean_s: float) -> None:
    """Against half of it and twice of it, in a simulation with failures of that mean."""
    interval_s = YoungDaly(mean_s).interval_s(cost_s)
    lost: Callable[[float], float] = lambda factor: lost_share(interval_s * factor, cost_s, mean_s, Random(5))  # noqa: E731
    assert lost(1) < lost(0.4)
    assert lost(1) < lost(2.5)


def test_the_interval_is_what_daly_gives() -> None:
    """Young's, a little longer, without the cost; and no longer than the mean where saves cost more than they save."""
    assert YoungDaly(86400).interval_s(60) == pytest.approx(math.sqrt(2 * 60 * 86400) - 60, rel=0.01)
    assert YoungDaly(timedelta(hours=1)).interval_s(7200) == 3600
    assert YoungDaly(3600).interval_s(0) == 0
    saves = run(YoungDaly(3600), hours=2, step_s=1, cost_s=8)
    # 240 s by Young, 242.7 by Daly; without the cost 234.7, so in steps of a second 235, and the save itself.
    assert {round(after - before) for before, after in itertools.pairwise(saves)} == {235 + 8}


def test_a_policy_that_isnt_measured_yet_saves_at_once() -> None:
    """So that it is."""
    moment = Moment(0, 0, 0, None)
    assert YoungDaly(5).is_due(moment)
    assert Overhead(0.1).is_due(moment)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Every(), lambda: Every(seconds=0), lambda: Every(seconds="1h"), lambda: Every(steps=0),
        lambda: Every(steps=1.5), lambda: Every(bytes=True), lambda: Overhead(0), lambda: Overhead(1),
        lambda: Overhead("2%"), lambda: YoungDaly(0), lambda: YoungDaly(math.inf), lambda: Every(steps=1) | 600,
        lambda: Every(steps=1) & None, lambda: Pace(600, SimulatedClock()),
    ],
)  # fmt: skip
def test_policies_that_make_no_sense_are_refused(wrong: Callable[[], object]) -> None:
    """When they are made, not in the night."""
    with pytest.raises(UsageError):
        wrong()
