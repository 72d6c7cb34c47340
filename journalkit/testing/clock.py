"""A clock that stands still until it is told otherwise, and chance that repeats."""

from __future__ import annotations

import random
import threading

_START_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z


class SimulatedClock:
    """A `journalkit.clock.Clock` in a test's hand.

    Two clocks of one seed draw the same bytes in the same order.
    """

    def __init__(self, *, seed: int = 0, wall_us: int = _START_US) -> None:
        self._wall_us = wall_us
        self._monotonic_us = 0
        self._random = random.Random(seed)
        self._guard = threading.Lock()

    def wall_us(self) -> int:
        """Return microseconds since 1970-01-01T00:00Z, as the test set them."""
        return self._wall_us

    def monotonic_s(self) -> float:
        """Return the seconds that `advance` added up to."""
        return self._monotonic_us / 1_000_000

    def sleep(self, duration_s: float) -> None:
        """Let the time pass without waiting for it."""
        self.advance(duration_s)

    def random_bytes(self, count: int) -> bytes:
        """Return the next `count` bytes of the seed's sequence."""
        with self._guard:
            return self._random.randbytes(count)

    def advance(self, seconds: float) -> None:
        """Let time pass, on the wall and monotonically."""
        if seconds < 0:
            raise ValueError(f"time passes forwards; jump_wall() goes back: {seconds}")
        elapsed_us = round(seconds * 1_000_000)
        with self._guard:
            self._wall_us += elapsed_us
            self._monotonic_us += elapsed_us

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forwards or, if negative, back; monotonic time doesn't notice."""
        with self._guard:
            self._wall_us += round(seconds * 1_000_000)
