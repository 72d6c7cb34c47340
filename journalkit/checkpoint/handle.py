"""What every handle on a place of checkpoints has: one save at a time, an end, and a child that may not use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from journalkit.checkpoint.background import OneAtATime
from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.checkpoint.tree import Buffers
from journalkit.clock import Clock
from journalkit.errors import ClosedError, ForkedError, JournalError
from journalkit.objects.interface import Objects
from journalkit.runtime import lifecycle


class Handle:
    """Base of `Checkpoints` and `Worker`. Threads may share it; saves go one after the other."""

    def __init__(self, objects: Objects, clock: Clock, opened_at: str, *, buffers: Buffers | None = None) -> None:
        self.where = objects.where
        self._objects = objects
        self._clock = clock
        self._opened_at = opened_at
        self._buffers = buffers if buffers is not None else Buffers()
        self._saves = OneAtATime()
        self._refusal: JournalError | None = None
        lifecycle.register(self)

    def wait(self, timeout_s: float | None = None) -> Checkpoint | None:
        """Wait for the save that is under way, and return its checkpoint; None if none was, or it takes longer.

        Raises:
            JournalError: What it failed with, if nobody has been told yet.
        """
        return self._saves.wait(timeout_s)

    def close(self) -> None:
        """Wait for a save that is under way, and let go. Idempotent.

        Raises:
            JournalError: What an earlier `save_async` failed with, if nobody has been told yet. Closed all the same.
        """
        if self._refusal is not None:
            return
        self._refusal = ClosedError(f"{self.where} was closed: open it again")
        try:
            self._saves.end()
        finally:
            lifecycle.unregister(self)
            self._buffers.clear()
            self._let_go()
            self._objects.close()

    def forbid(self) -> None:
        """Refuse every later use: this is a child of the process that opened it."""
        self._refusal = ForkedError(
            f"{self.where} was opened by the parent process (at {self._opened_at}); a child opens it for itself"
        )

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            # What the caller is about to be told is the first thing that went wrong.
            with suppress(JournalError):
                self.close()

    def _let_go(self) -> None:
        """Let go of what a kind of handle holds besides."""

    @contextmanager
    def _turn(self) -> Iterator[float]:
        self._require_open()  # a child of a process that is saving would wait for ever
        with self._saves.turn():
            self._require_open()  # it may have been closed while this one waited
            yield self._clock.monotonic_s()

    def _require_open(self) -> None:
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)
