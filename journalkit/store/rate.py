"""How fast a fold may write: a token bucket over the bytes of its table.

The bucket holds what a quarter of a second brings, so that a fold's first
blocks don't wait. Where waiting would cost more than a slow disk, `is_urgent`
says so, and the rest of the fold isn't held back any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from journalkit.clock import Clock

BUCKET_S: Final = 0.25
SLICE_S: Final = 0.02
"""A wait looks up this often whether it is still wanted: closing must not wait for it."""

_LEAST_S: Final = 0.001
"""No clock tells shorter waits apart, and one that stands still would be waited for without end."""


class RateLimit:
    """The limit of one fold."""

    def __init__(self, clock: Clock, bytes_per_s: float, is_urgent: Callable[[], bool]) -> None:
        self._clock = clock
        self._bytes_per_s = bytes_per_s
        self._is_urgent = is_urgent
        self._is_lifted = False
        self._tokens = self._bucket = bytes_per_s * BUCKET_S
        self._filled_s = clock.monotonic_s()
        self._written_bytes = 0

    def spend(self, written_bytes: int, pause: Callable[[], None]) -> None:
        """Wait until a table of so many bytes may have been written, calling `pause` meanwhile; it may raise."""
        self._fill()
        self._tokens -= written_bytes - self._written_bytes
        self._written_bytes = written_bytes
        while self._tokens < 0 and not self._is_lifted:
            self._is_lifted = self._is_urgent()
            self._clock.sleep(min(SLICE_S, max(_LEAST_S, -self._tokens / self._bytes_per_s)))
            pause()
            self._fill()

    def _fill(self) -> None:
        now_s = self._clock.monotonic_s()
        self._tokens = min(self._bucket, self._tokens + (now_s - self._filled_s) * self._bytes_per_s)
        self._filled_s = now_s
