"""How fast a fold writes, and when it isn't held back."""

from __future__ import annotations

from typing import Any

import pytest

import journalkit
from journalkit.errors import ClosedError, KeyTypeError, KeyValueError
from journalkit.store.compactor import Compactor
from journalkit.store.rate import BUCKET_S, SLICE_S, RateLimit
from journalkit.testing import SimulatedClock


def nothing() -> None:
    """Neither sleep nor give up."""


@pytest.mark.parametrize("step_bytes", [1, 100, 5000, 70_000])
def test_a_limit_holds_over_a_second_and_lets_the_first_bytes_pass(step_bytes: int) -> None:
    """A bucket of a quarter of a second, and from then on what the rate says."""
    clock = SimulatedClock()
    limit = RateLimit(clock, 10_000.0, lambda: False)
    for written in range(0, 100_001, step_bytes):
        limit.spend(written, nothing)
        least_s = max(0.0, written / 10_000 - BUCKET_S)
        assert least_s - 1e-3 <= clock.monotonic_s() <= least_s + 1e-3 + SLICE_S


def test_what_is_saved_is_no_more_than_the_bucket() -> None:
    """After an hour of rest a fold doesn't write an hour's bytes at once."""
    clock = SimulatedClock()
    limit = RateLimit(clock, 1000.0, lambda: False)
    clock.advance(3600)
    limit.spend(1250, nothing)
    assert clock.monotonic_s() == pytest.approx(3601, abs=1e-3)


def test_what_is_urgent_is_written_at_once_from_then_on() -> None:
    """A limit that costs more than it saves is no limit any more."""
    clock, urgent = SimulatedClock(), [False, False, True, False]
    limit = RateLimit(clock, 1000.0, lambda: urgent.pop(0))
    limit.spend(1_000_000, nothing)
    limit.spend(9_000_000, nothing)
    assert clock.monotonic_s() <= 3 * SLICE_S + 1e-9
    assert urgent == [False]


def test_a_wait_can_be_given_up() -> None:
    """Closing waits for no bucket."""
    clock = SimulatedClock()

    def give_up() -> None:
        raise ClosedError("closed")

    with pytest.raises(ClosedError):
        RateLimit(clock, 1.0, lambda: False).spend(1_000_000, give_up)
    assert clock.monotonic_s() <= SLICE_S


@pytest.mark.parametrize("is_outside", [False, True])
def test_a_fold_takes_as_long_as_its_limit_says(is_outside: bool, bench: Any) -> None:
    """Here; and a child is told the limit, and keeps it by a clock of its own."""
    store = bench.open(fold_bytes_per_s=10_000)
    if is_outside:
        bench.fold_outside(store)
    store.update(dict.fromkeys(range(5000), b"x" * 100))
    began_s = bench.clock.monotonic_s()
    store.compact()
    took_s = bench.clock.monotonic_s() - began_s
    least_s = store.statistics().snapshot_bytes / 10_000
    assert took_s == (pytest.approx(0, abs=1) if is_outside else pytest.approx(least_s, rel=0.1))
    store.check()


def test_a_fold_whose_writers_are_ahead_is_not_held_back(bench: Any) -> None:
    """Its log would fill the disk that the limit is to spare."""
    store = bench.open(fold_bytes_per_s=1000, fold_bytes_min=1000)
    store.update(dict.fromkeys(range(500), b"x" * 100))
    compactor: Compactor = bench.compactor(store)
    folded = store._layers.begin_fold()
    assert not compactor._is_urgent(1000)
    store["much"] = b"x" * 2000
    assert compactor._is_urgent(1000)
    store._layers.abandon_fold(folded)


def test_a_fold_on_a_disk_that_is_filling_is_not_held_back(bench: Any) -> None:
    """It is what makes room."""
    store = bench.open(fold_bytes_per_s=1000)
    compactor: Compactor = bench.compactor(store)
    used = 1 << 30
    assert not compactor._is_urgent(1000)
    bench.disk.capacity_bytes = 20_000_000
    assert compactor._is_urgent(1000)
    bench.disk.capacity_bytes = used
    assert not compactor._is_urgent(1000)
    bench.disk.fail("free_bytes", 1, 5)
    assert compactor._is_urgent(1000)


def test_a_limit_makes_sense_or_is_refused() -> None:
    """None is no limit; anything else is bytes a second."""
    wrongs = [("fast", KeyTypeError), (True, KeyTypeError), (0, KeyValueError), (float("nan"), KeyValueError)]
    for wrong, error in wrongs:
        with pytest.raises(error, match="fold_bytes_per_s="):
            journalkit.open("memory://", fold_bytes_per_s=wrong)  # type: ignore[arg-type]
    with journalkit.open("memory://", fold_bytes_per_s=None, compaction="manual") as store:
        assert store == {}
