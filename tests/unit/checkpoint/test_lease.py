"""Leases: one runs, the others wait, and one of them takes over once that one is silent."""

from __future__ import annotations

import threading
import time
from random import Random
from typing import Any

import pytest

from journalkit.checkpoint.board import NumberedBoard
from journalkit.checkpoint.lease import Lease, newest_notice
from journalkit.clock import SystemClock
from journalkit.errors import ArchiveUnavailableError, CorruptionError, LockedError, UsageError
from journalkit.format import names
from journalkit.testing import SimulatedBucket, SimulatedClock
from tests.unit.checkpoint.conftest import Place

TERM_S = 30.0


def lease(bucket: SimulatedBucket, clock: SimulatedClock, who: str) -> Lease:
    """Return a lease that nobody has asked for yet."""
    return Lease(NumberedBoard(bucket.handle(who)), clock, who, TERM_S)


def test_the_first_takes_it_and_keeps_it() -> None:
    """As long as it says so in time; the next has to wait, and is told for whom."""
    bucket, clock = SimulatedBucket(), SimulatedClock()
    one, other = lease(bucket, clock, "one"), lease(bucket, SimulatedClock(seed=1), "other")
    one.acquire()
    for _ in range(5):
        assert one.is_held
        pause_s = one.step()
        assert pause_s == 10
        clock.advance(pause_s)
    with pytest.raises(LockedError, match="one holds the lease") as caught:
        other.acquire(patience_s=20)
    assert caught.value.host == "one"
    assert not other.is_held


def test_a_silent_holder_is_followed_after_its_time_by_the_waiters_clock() -> None:
    """It is seen for as long as it is good, from when it was first seen."""
    bucket, clock, others = SimulatedBucket(), SimulatedClock(), SimulatedClock(seed=1)
    one, other = lease(bucket, clock, "one"), lease(bucket, others, "other")
    one.acquire()
    others.jump_wall(-86400)
    begun_s = others.monotonic_s()
    other.acquire()
    assert TERM_S <= others.monotonic_s() - begun_s < 1.3 * TERM_S
    assert other.is_held
    clock.advance(TERM_S)
    assert not one.is_held
    one.step()
    assert not one.is_held
    assert other.step() == 10
    notice = newest_notice(NumberedBoard(bucket.handle()))
    assert notice is not None
    assert notice.holder == "other"


def test_one_that_is_let_go_is_taken_at_once() -> None:
    """A planned restart waits for nobody."""
    bucket, clock = SimulatedBucket(), SimulatedClock()
    one, other = lease(bucket, clock, "one"), lease(bucket, clock, "other")
    one.acquire()
    one.release()
    one.release()
    before_s = clock.monotonic_s()
    other.acquire()
    assert clock.monotonic_s() == before_s
    assert not one.is_held


def test_a_holder_whose_replies_are_lost_goes_on_and_one_that_cant_be_heard_lets_go_in_time() -> None:
    """It doesn't believe in its lease for longer than others wait."""
    bucket, clock = SimulatedBucket(), SimulatedClock()
    one = lease(bucket, clock, "one")
    one.acquire()
    bucket.fail("create", 1, "lost-reply")
    clock.advance(one.step())
    assert one.is_held
    bucket.fail("create", 1, "unavailable", times=None)
    clock.advance(one.step())
    assert one.is_held
    clock.advance(one.step())
    assert not one.is_held


def test_few_numbers_are_kept() -> None:
    """A job runs for years."""
    bucket, clock = SimulatedBucket(), SimulatedClock()
    one = lease(bucket, clock, "one")
    one.acquire()
    for _ in range(100):
        clock.advance(one.step())
    assert len(bucket.contents()) <= 6
    assert one.is_held


@pytest.mark.parametrize("data", [b"", b"\x01", b"\xa0", b"\xa3ahahahahahah"])
def test_a_notice_that_makes_no_sense_is_damage(data: bytes) -> None:
    """Nobody takes over for that."""
    bucket = SimulatedBucket()
    bucket.handle().put(names.lease_key(1), (data,))
    with pytest.raises(CorruptionError, match="delete it"):
        lease(bucket, SimulatedClock(), "one").acquire()


@pytest.mark.parametrize("seed", range(15))
def test_of_several_that_come_and_go_one_holds_it_at_a_time(seed: int, turns: Any) -> None:
    """With pauses, lost replies, and holders that die: never two that believe in theirs at once."""
    bucket = SimulatedBucket(seed=seed, rates={"lost-reply": 0.05, "late": 0.03, "unavailable": 0.03})
    clock = SimulatedClock(seed=seed)
    racing = turns(seed)
    leases = {f"writer-{number}": lease(bucket, clock, f"writer-{number}") for number in range(3)}
    bucket.before = racing.pause
    terms: list[str] = []

    class Ticking:
        """The clock of all, which stands for as long as somebody is between two operations."""

        def sleep(self, duration_s: float) -> None:
            clock.advance(duration_s / 3)

        def __getattr__(self, name: str) -> Any:
            return getattr(clock, name)

    for each in leases.values():
        each._clock = Ticking()

    def live(who: str) -> None:
        mine, chance = leases[who], Random(seed * 7 + int(who[-1]))
        for _ in range(4):
            try:
                mine.acquire(patience_s=300)
            except (LockedError, ArchiveUnavailableError):
                continue
            terms.append(who)
            for _ in range(chance.randrange(4)):
                assert sum(each.is_held for each in leases.values()) <= 1
                clock.advance(chance.random() * TERM_S / 2)
                racing.pause(who)
                mine.step()
            assert sum(each.is_held for each in leases.values()) <= 1
            if chance.random() < 0.5:
                mine.release()

    racing.run({who: lambda who=who: live(who) for who in leases})
    assert terms


def test_a_standby_takes_over_the_job(place: Place) -> None:
    """It waits while the first one runs, begins when that one is closed, and finds all that was saved."""
    place.clock = SystemClock()  # type: ignore[assignment]
    one = place.open("one", lease=0.6)
    begun: list[float] = []

    def stand_by() -> None:
        other = place.open("other", lease=0.6)
        begun.append(time.monotonic())
        loaded = other.load_latest()
        assert loaded is not None
        assert loaded[0] == "the last"

    waiting = threading.Thread(target=stand_by)
    waiting.start()
    time.sleep(1)
    one.save("the last")
    assert not begun
    with pytest.raises(LockedError):
        place.open("third", lease=0.6, lease_patience=0)
    closed_s = time.monotonic()
    one.close()
    waiting.join()
    assert begun[0] - closed_s < 5
    with pytest.raises(UsageError):
        place.open("fourth", lease=0)
