"""The simulated clock goes where it is told, and its chance repeats."""

from __future__ import annotations

import pytest

from journalkit.testing import SimulatedClock


def test_the_clock_moves_only_when_told() -> None:
    """A test that waits for real time is slow or wrong."""
    clock = SimulatedClock()
    wall, monotonic = clock.wall_us(), clock.monotonic_s()
    clock.advance(1.5)
    clock.jump_wall(-3600)
    assert clock.wall_us() - wall == 1_500_000 - 3_600_000_000
    assert clock.monotonic_s() - monotonic == 1.5
    with pytest.raises(ValueError):
        clock.advance(-1)


def test_chance_repeats_with_its_seed() -> None:
    """Identities and salts are in the files; a golden one has to come out the same."""
    first, same, other = SimulatedClock(seed=1), SimulatedClock(seed=1), SimulatedClock(seed=2)
    drawn = [first.random_bytes(16), first.random_bytes(16)]
    assert drawn == [same.random_bytes(16), same.random_bytes(16)]
    assert drawn[0] != drawn[1] != other.random_bytes(16)
