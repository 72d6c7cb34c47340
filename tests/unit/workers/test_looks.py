"""How workers find out at which call all save: look by look, with what each of them may meet."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from journalkit.checkpoint.looks import Looks, decided
from journalkit.checkpoint.preemption import SharedPreemption
from journalkit.checkpoint.rounds import StorageRounds
from journalkit.clock import Clock, SystemClock
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointAbortedError,
    ClosedError,
    CorruptionError,
    FencedError,
    StoreFullError,
    UnknownOutcomeError,
)
from journalkit.format import names
from journalkit.testing import SimulatedBucket
from tests.unit.workers.test_killed import QuickClock

SIZE = 2


class Pair:
    """Two workers' looks on one bucket, each step of which a test asks for."""

    def __init__(self, *, patience_s: float = 30, clock: Clock | None = None, check: Callable[[], Any] = list) -> None:
        self.bucket = SimulatedBucket()
        using = clock if clock is not None else SystemClock()
        self.looks = [
            Looks(
                lambda ending, rank=rank: StorageRounds(  # type: ignore[misc]
                    self.bucket.handle(f"rank {rank}"), ending, epoch=1, rank=rank, size=SIZE, patience_s=patience_s,
                    check=check, series=names.LOOK,
                ),
                using, is_first=rank == 0, every_s=5.0, patience_s=patience_s,
            )
            for rank in range(SIZE)
        ]  # fmt: skip

    def step(self) -> list[float]:
        """Let both look, and return for how long each pauses."""
        found = [math.nan] * SIZE

        def one(rank: int) -> None:
            found[rank] = self.looks[rank].step()

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(SIZE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return found

    def due(self, calls: int = 1, *, is_wanted: bool = False) -> list[list[bool]]:
        """Ask both as often, one after the other."""
        return [[looks.due(is_wanted=is_wanted) for _ in range(calls)] for looks in self.looks]


def preemption(looks: Looks, grace_s: float) -> SharedPreemption:
    """Return one that a worker listens to."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError

    made = SharedPreemption(never, never, SystemClock(), grace_s, ())
    looks.listen(made)
    return made


def test_a_save_is_agreed_on_in_two_looks() -> None:
    """In the first all hear that one is wanted, in the second they promise; nobody waits in between."""
    pair = Pair()
    assert pair.step() == [5.0, 5.0]
    assert pair.due(is_wanted=True) == [[False], [False]]
    assert pair.step() == [0.0, 0.0]
    assert pair.due(is_wanted=True) == [[False], [False]]
    assert pair.step() == [5.0, 5.0]
    # Two calls were made, and none during the looks: the third is that of all.
    assert pair.due(2) == [[True, False], [True, False]]
    assert pair.step() == [5.0, 5.0]


def test_rank_0_decides_by_its_own_policy_alone() -> None:
    """What the others' would say doesn't matter: their clocks may be others."""
    pair = Pair()
    pair.looks[1].due(is_wanted=True)
    assert pair.step() == [5.0, 5.0]


def test_the_one_that_is_furthest_says_where() -> None:
    """Nobody saves at a call that another is past; and one goes as far as it did in a look, and no further."""
    pair = Pair()
    pair.looks[0].due(is_wanted=True)
    for _ in range(7):
        pair.looks[1].due(is_wanted=False)
    pair.step()
    pair.step()
    assert [pair.looks[0].due(is_wanted=True) for _ in range(8)] == [False] * 6 + [True, False]
    assert [pair.looks[1].due(is_wanted=False) for _ in range(2)] == [True, False]


def test_who_has_promised_waits_at_that_call() -> None:
    """Until rank 0 has decided."""
    pair = Pair()
    pair.due(is_wanted=True)
    pair.step()
    second = pair.looks[1]
    going = threading.Thread(target=second.step)
    going.start()
    while second._promised is None:
        going.join(0.001)
    found: list[bool] = []
    waiting = threading.Thread(target=lambda: found.append(second.due(is_wanted=False)))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    pair.looks[0].step()
    waiting.join(60)
    going.join(60)
    assert found == [True]


def test_no_save_is_agreed_on_before_all_have_reached_the_last_one() -> None:
    """Nor when one hasn't promised: it missed what was said before."""
    pair = Pair()
    pair.due(is_wanted=True)
    pair.step()
    pair.looks[1]._is_asked = False
    assert pair.step() == [0.0, 0.0]
    pair.step()
    assert pair.looks[0].due(is_wanted=True)
    pair.looks[0].due(is_wanted=True)
    assert pair.step() == [5.0, 5.0]
    assert pair.looks[1].due(is_wanted=False)
    assert pair.step() == [0.0, 0.0]


def test_of_several_whose_time_is_up_the_shortest_counts() -> None:
    """By each one's own clock: nobody's is asked what time it is."""
    pair = Pair()
    first, second = preemption(pair.looks[0], 40.0), preemption(pair.looks[1], 20.0)
    assert pair.step() == [2.0, 2.0]
    first.request("first")
    first.request("again")
    second.request("second")
    pair.step()
    pair.step()
    assert (first.requested, second.requested) == (False, False)
    assert pair.due(2) == [[True, True]] * 2
    assert (first.reason, second.reason) == ("second", "second")
    for each in (first, second):
        assert 0 < each.remaining_s <= 20
    # Nobody looks any more, so nobody waits for one that has ended.
    count = pair.bucket.operation_count
    assert pair.looks[0].step() == 5.0
    assert (pair.bucket.operation_count, pair.looks[0].due(is_wanted=True)) == (count, True)


def test_one_that_listens_to_nothing_ends_with_the_others() -> None:
    """It is due from then on."""
    pair = Pair()
    preemption(pair.looks[1], 20.0).request()
    pair.step()
    pair.step()
    assert pair.due(2) == [[True, True]] * 2


def test_a_look_that_was_given_up_changes_nothing() -> None:
    """One didn't come in time; both are free of what they had promised."""
    pair = Pair(clock=QuickClock(), patience_s=4)
    pair.due(is_wanted=True)
    pair.step()
    assert pair.looks[0].step() == 5.0
    assert pair.looks[0].due(is_wanted=False) is False
    pair.looks[1].step()
    assert pair.due(5) == [[False] * 5] * 2
    assert pair.step() == [5.0, 5.0]


def test_who_isnt_told_ends_if_it_had_promised_and_goes_on_if_not() -> None:
    """The others may save at a call that it knows nothing of."""
    pair = Pair(clock=QuickClock(), patience_s=2)
    second = pair.looks[1]
    assert second.step() == 5.0
    assert second.due(is_wanted=False) is False
    second._is_asked = True
    second.step()
    for _ in range(2):
        with pytest.raises(UnknownOutcomeError, match="rank 0 has said nothing"):
            second.due(is_wanted=False)
    assert second.step() == 5.0


@pytest.mark.parametrize("times", [1, None])
def test_rank_0_says_again_what_it_has_decided(times: int | None) -> None:
    """A reply that is lost may have reached the others: it is theirs too. Where it can't be said nobody knows."""
    pair = Pair(clock=QuickClock(), patience_s=4)
    pair.due(is_wanted=True)
    pair.step()
    pair.bucket.fail("put", 1, "lost-reply" if times else "unavailable", times=times, key_contains="verdict")
    pair.step()
    if times:
        assert pair.due() == [[True], [True]]
    for looks in pair.looks if times is None else ():
        with pytest.raises(UnknownOutcomeError):
            looks.due(is_wanted=False)


def test_a_rank_that_cannot_say_anything_listens_all_the_same() -> None:
    """Its report may be there: what rank 0 makes of it counts."""
    pair = Pair(clock=QuickClock(), patience_s=4)
    pair.due(is_wanted=True)
    pair.step()
    pair.bucket.fail("put", 1, "lost-reply", key_contains="-000001")
    pair.step()
    assert pair.due() == [[True], [True]]


def test_rank_0_that_cannot_look_decides_nothing() -> None:
    """The others are told, and all look again."""
    pair = Pair(clock=QuickClock(), patience_s=2)
    pair.due(is_wanted=True)
    pair.step()
    pair.bucket.fail("list", 1, "unavailable", times=None)
    assert pair.step() == [5.0, 5.0]
    pair.bucket.mend()
    assert pair.due() == [[False], [False]]


def test_a_newer_run_is_told_where_the_job_asks() -> None:
    """Also where it has promised nothing."""

    def fenced() -> None:
        raise FencedError("a newer run has the job")

    pair = Pair(clock=QuickClock(), patience_s=100, check=fenced)
    pair.looks[1].step()
    with pytest.raises(FencedError, match="newer run"):
        pair.looks[1].due(is_wanted=False)


def test_a_full_storage_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be said now is said later."""
    pair = Pair(clock=QuickClock())
    rounds, refused = pair.looks[0]._rounds, itertools.count(1)
    decide = rounds.decide

    def full(said: Any) -> None:
        if next(refused) < 3:
            raise StoreFullError("no room", path="there")
        decide(said)

    monkeypatch.setattr(rounds, "decide", full)
    assert pair.step() == [5.0, 5.0]


def test_who_waits_in_a_call_is_told_that_it_was_closed() -> None:
    """By another thread; a look that is under way ends as well."""
    pair = Pair()
    second = pair.looks[1]
    second._is_asked = True
    second.begin()
    second.begin()
    while second._promised is None:
        pass
    errors: list[Exception] = []

    def wait() -> None:
        try:
            second.due(is_wanted=False)
        except ClosedError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    second.close()
    waiting.join(60)
    assert "closed" in str(errors[0])
    assert second._thread is not None
    assert second._thread.join(60)


@pytest.mark.parametrize(
    "verdict",
    [{}, {"pause_s": 5}, {"pause_s": 5.0, "at": "3"}, {"pause_s": 5.0, "at": 3, "end": 5},
     {"pause_s": 5.0, "at": 3, "end": ["a", "b"]}],
)  # fmt: skip
def test_a_verdict_that_makes_no_sense_is_damage(monkeypatch: pytest.MonkeyPatch, verdict: Any) -> None:
    """Whoever wrote it."""
    pair = Pair()
    monkeypatch.setattr(pair.looks[1]._rounds, "verdict", lambda: verdict)
    pair.looks[1].step()
    with pytest.raises(CorruptionError, match="doesn't say when to save"):
        pair.looks[1].due(is_wanted=False)


def test_a_report_that_makes_no_sense_decides_nothing() -> None:
    """It is of another round, or of another version."""
    sound = {"promised": None, "is_settled": True, "is_wanted": False, "end": None, "pause_s": 1.0}
    assert decided([sound, sound]) == {"pause_s": 1.0}
    for wrong in ({}, sound | {"pause_s": 1}, sound | {"promised": "a"}, {"manifest": b""}):
        with pytest.raises(CheckpointAbortedError, match="rank 1 doesn't look whether to save"):
            decided([sound, wrong])


def test_errors_of_the_looks_are_told_as_often_as_the_job_asks() -> None:
    """It may ask in a loop that catches them."""
    pair = Pair()
    pair.looks[0]._fail(ArchiveUnavailableError("gone"))
    pair.looks[0]._fail(ArchiveUnavailableError("and gone"))
    for _ in range(2):
        with pytest.raises(ArchiveUnavailableError, match=r"^gone"):
            pair.looks[0].due(is_wanted=False)
