"""Interleaving: who runs when, and which figures are compared."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

import pytest

from journalkit.bench.engine import BenchError
from journalkit.bench.rounds import Contender, contest, order, spread


def scripted(name: str, figures: Sequence[float], log: list[str]) -> Contender:
    """Return a contender whose figures are known; its warm-up would spoil every median."""

    def run(number: int) -> float:
        log.append(name)
        return figures[number - 1] if number else 1e9

    return Contender(name, run)


def test_every_contender_runs_once_a_round_and_each_goes_first() -> None:
    """Who always goes first meets another machine than who always goes last."""
    log: list[str] = []
    contest(scripted("a", [1] * 6, log), [scripted("b", [1] * 6, log), scripted("c", [1] * 6, log)], 6)
    rounds = [log[start : start + 3] for start in range(0, len(log), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert {one[0] for one in rounds} == {"a", "b", "c"} == {one[-1] for one in rounds}


@pytest.mark.parametrize("count", range(1, 9))
def test_an_order_is_of_all_of_them(count: int) -> None:
    """A contender that a rotation forgot would have a round less."""
    everyone = [Contender(str(index), lambda _: 0.0) for index in range(count)]
    for number in range(20):
        assert {one.name for one in order(everyone, number)} == {str(index) for index in range(count)}


def test_a_ratio_compares_figures_of_one_round_only() -> None:
    """The machine slows down tenfold: medians of times would mix that in, ratios of a round don't."""
    result = contest(scripted("ours", [1, 10, 100], []), [scripted("other", [2, 20, 200], [])], 3)
    [other] = result.others
    assert (other.ratio.low, other.ratio.median, other.ratio.high) == (2, 2, 2)
    assert other.figure.median == 20


def test_the_warm_up_is_not_counted() -> None:
    """The first time pays for what only the first time pays."""
    result = contest(scripted("ours", [3, 3], []), [], 2)
    assert result.ours.figure.high == 3


def test_a_spread_is_the_middle_half() -> None:
    """One round that was interrupted by something else says nothing."""
    found = spread([1, 2, 3, 4, 1000, 2, 3, 4])
    assert (found.low, found.median, found.high) == (2, 3, 4)


def failing(error: Exception, at: int) -> Callable[[int], float]:
    """Return the work of a contender that fails in a round."""

    def run(number: int) -> float:
        if number == at:
            raise error
        return 1.0

    return run


def test_a_peer_that_fails_drops_out_and_is_named() -> None:
    """A row without it is worth having; a row that hides it isn't."""
    result = contest(
        Contender("ours", lambda _: 1.0),
        [Contender("broken", failing(RuntimeError("no luck"), 2)), Contender("sound", lambda _: 2.0)],
        3,
    )
    assert [other.name for other in result.others] == ["sound"]
    [dropped] = result.dropped
    assert dropped.name == "broken"
    assert "no luck" in dropped.why


def test_journalkit_that_fails_ends_the_row() -> None:
    """A bench of journalkit without journalkit has nothing to say."""
    with pytest.raises(RuntimeError, match="no luck"):
        contest(Contender("ours", failing(RuntimeError("no luck"), 1)), [Contender("other", lambda _: 1.0)], 2)


def test_a_wrong_answer_ends_the_row_whoever_gave_it() -> None:
    """A peer that answers wrongly isn't slow or missing: the bench itself is in doubt."""
    with pytest.raises(BenchError):
        contest(Contender("ours", lambda _: 1.0), [Contender("liar", failing(BenchError("wrong"), 1))], 2)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_the_collector_is_as_before_afterwards(is_frozen: bool) -> None:
    """What is frozen for the rounds is let go, whatever ends them; where somebody froze before, that stays."""
    frozen: list[int] = []

    def run(number: int) -> float:
        frozen.append(gc.get_freeze_count())
        if number == 2:
            raise RuntimeError("no luck")
        return 1.0

    gc.unfreeze()
    if is_frozen:
        gc.freeze()
    try:
        with pytest.raises(RuntimeError):
            contest(Contender("ours", run), [], 3)
        assert all(frozen)
        assert (gc.get_freeze_count() > 0) == is_frozen
    finally:
        gc.freeze()


def test_names_tell_contenders_apart() -> None:
    """Two of one name would share their figures."""
    with pytest.raises(ValueError, match="one name"):
        contest(Contender("same", lambda _: 1.0), [Contender("same", lambda _: 1.0)], 1)
