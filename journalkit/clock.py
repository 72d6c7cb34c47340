"""Time and chance: the only module that asks the machine for either.

Wall-clock time is a label on records and never orders or deletes anything by
itself. Chance makes identities and salts. Tests hand in a clock of their own.
"""

from __future__ import annotations

import os
import time
from typing import Protocol


class Clock(Protocol):
    """What journalkit asks of time and chance."""

    def wall_us(self) -> int:
        """Return microseconds since 1970-01-01T00:00Z; may jump either way."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds from an arbitrary origin; never goes back."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Wait."""
        ...

    def random_bytes(self, count: int) -> bytes:
        """Return `count` bytes that nobody else will draw."""
        ...


class SystemClock:
    """The machine's own clock and entropy."""

    def wall_us(self) -> int:
        """Return microseconds since 1970-01-01T00:00Z."""
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        """Return seconds of the monotonic clock."""
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        """Wait for that many seconds."""
        time.sleep(duration_s)

    def random_bytes(self, count: int) -> bytes:
        """Return `count` bytes of the operating system's entropy."""
        return os.urandom(count)
