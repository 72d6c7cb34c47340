"""When several workers save: at which call of `due`, so that all save at the same one.

A worker asks `due` between its steps, all of them as often. Rank 0's policy, or
a worker whose time is up, wants a save; all have to hear of it, and none may
have gone past the call at which the others save. So a thread of each looks now
and then, in a round of the storage, beside the rounds of saves:

    nobody wants one     look again after a pause
    somebody does        all promise: beyond such a call I don't go before I know
    all have promised    all save at the latest of these calls

Nobody waits for a look. Who has promised waits at that call, and no longer than
until rank 0 has decided. Only calls are counted, and how long something lasts:
whether clocks agree is nobody's concern.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from journalkit.checkpoint.agreeing import Words, heard, told
from journalkit.checkpoint.preemption import SharedPreemption
from journalkit.checkpoint.rounds import StorageRounds
from journalkit.clock import Clock
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointAbortedError,
    ClosedError,
    CorruptionError,
    JournalError,
    UnknownOutcomeError,
)
from journalkit.runtime.background import Background

_LOOKS_A_GRACE: Final = 10
"""So many looks there are in a grace period: two are needed, and the rest is for the save."""
_ALWAYS: Final = {"is_settled": bool, "is_wanted": bool, "pause_s": float}
_SAID: Final = [_ALWAYS | promised | end for promised in ({}, {"promised": int}) for end in ({}, {"end": tuple})]
_SLICE_S: Final = 0.1
_CLOSE_WAIT_S: Final = 5.0
_SAY_AGAIN_S: Final = 0.5


class Looks:
    """One worker's side. `due` is for the thread of the job, `step` for that of the looks.

    Args:
        rounds: Given a clock for its pauses, the rounds by which all look.
        clock: Time.
        is_first: Whether this is rank 0, which decides.
        every_s: How long to pause between two looks.
        patience_s: How long rank 0 tries to say what it has decided.
    """

    def __init__(
        self,
        rounds: Callable[[Clock], StorageRounds],
        clock: Clock,
        *,
        is_first: bool,
        every_s: float,
        patience_s: float,
    ) -> None:
        self._clock = _EndingClock(clock, lambda: self._is_closed)
        self._rounds = rounds(self._clock)
        self._is_first = is_first
        self._every_s = every_s
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._thread: Background | None = None
        self._preemption: SharedPreemption | None = None
        self._calls = 0
        self._calls_of_a_look = 0
        self._is_wanted = False
        self._is_asked = False
        self._promised: int | None = None
        self._at: int | None = None
        self._end: tuple[str, float] | None = None
        self._is_over = False
        self._is_closed = False
        self._failure: BaseException | None = None

    @property
    def is_listening(self) -> bool:
        """Whether somebody notes here that the time is up."""
        return self._preemption is not None

    def listen(self, preemption: SharedPreemption) -> None:
        """Let all know once one notes that the time is up."""
        self._preemption = preemption

    def begin(self) -> None:
        """Look in a thread, until `close`."""
        if self._thread is None:
            self._thread = Background(self, "journalkit-looks")

    def due(self, *, is_wanted: bool) -> bool:
        """Count a call, and return whether all save at it; wait if this one may be it.

        Args:
            is_wanted: Whether rank 0's policy wants a save.

        Raises:
            UnknownOutcomeError: What was decided can't be learned: the others may save at a call that this one knows
                nothing of.
            FencedError: Another run has the job.
            JournalError: The rounds can't go on.
        """
        with self._changed:
            self._calls += 1
            self._is_wanted = is_wanted
            while self._failure is None and self._promised is not None and self._calls >= self._promised:
                self._changed.wait()
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if self._at is None or self._calls < self._at:
                return self._is_over
            self._at, self._is_wanted = None, False
            if self._end is not None:
                self._is_over = True
                if self._preemption is not None:
                    self._preemption.agree(*self._end)
            return True

    def step(self) -> float:
        """Look once; return after how many seconds to do so again."""
        if self._failure is not None or self._end is not None:
            return self._every_s  # all have heard that they end: there is nothing more to agree on
        begun_s = self._clock.monotonic_s()
        with self._changed:
            calls = self._calls
            if self._is_asked and self._at is None:
                self._promised = calls + 1 + 2 * self._calls_of_a_look
            said = self._said()
        try:
            verdict = self._agreed(said)
        except UnknownOutcomeError as error:
            if said["promised"] is not None:
                self._fail(error)
            verdict = {}
        except (CheckpointAbortedError, ArchiveUnavailableError):  # rank 0 has decided nothing
            verdict = {}
        except BaseException as error:  # noqa: BLE001 - raised where the job asks
            self._fail(error)
            verdict = {}
        return self._heard(verdict, begun_s, calls)

    def close(self) -> None:
        """Look no more; who waits in `due` is told. The others may go on to look, and find that this one is gone."""
        self._is_closed = True
        self._fail(ClosedError("it was closed while it waited for the others"))
        if self._thread is not None:
            self._thread.ask_to_stop()
            self._thread.join(_CLOSE_WAIT_S)

    # -- within ---------------------------------------------------------------------------------

    def _said(self) -> dict[str, Any]:
        """Return what this worker says."""
        listening = self._preemption
        pause_s = self._every_s
        if listening is not None:
            pause_s = min(pause_s, listening.grace_s / _LOOKS_A_GRACE)
        return {
            "promised": self._promised,
            "is_settled": self._at is None,
            "is_wanted": self._is_wanted,
            "end": listening.noted() if listening is not None else None,
            "pause_s": pause_s,
        }

    def _agreed(self, said: Words) -> Words:
        # What couldn't be said isn't there, or is there all the same: rank 0 knows, and says how it ended.
        with suppress(JournalError):
            self._rounds.report(said)
        if not self._is_first:
            return _checked(heard(self._rounds.verdict()))
        try:
            verdict = decided(self._rounds.gather())
        except BaseException as error:
            with suppress(JournalError):
                self._rounds.decide(told(error, is_written=False))
            raise
        self._decide(verdict)
        return verdict

    def _decide(self, verdict: Words) -> None:
        """Say what was decided. Whether the others have heard it is unknown until it could be said."""
        until_s = self._clock.monotonic_s() + self._patience_s
        while True:
            try:
                self._rounds.decide(verdict)
            except JournalError as error:
                if self._clock.monotonic_s() >= until_s:
                    raise UnknownOutcomeError(f"the others may not have heard when all save: {error}") from error
                self._clock.sleep(_SAY_AGAIN_S)
            else:
                return

    def _heard(self, verdict: Words, begun_s: float, calls: int) -> float:
        with self._changed:
            self._promised = None
            self._is_asked = verdict.get("is_asked") is True
            self._calls_of_a_look = self._calls - calls
            if "at" in verdict:
                self._at = verdict["at"]
                end = verdict.get("end")
                self._end = (end[0], begun_s + end[1]) if end is not None else None
            self._changed.notify_all()
        return 0.0 if self._is_asked else verdict.get("pause_s", self._every_s)

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()


def decided(reports: Sequence[Words]) -> Mapping[str, Any]:
    """Return what follows from what all say: a pause, that all are to promise, or at which call all save.

    Raises:
        CheckpointAbortedError: One says what makes no sense here.
    """
    for rank, words in enumerate(reports):
        if {name: type(value) for name, value in words.items() if value is not None} not in _SAID:
            raise CheckpointAbortedError(f"rank {rank} doesn't look whether to save: all are to have the same version")
    pause_s = min(words["pause_s"] for words in reports)
    ends = [words["end"] for words in reports if words.get("end") is not None]
    is_wanted = reports[0]["is_wanted"] or ends
    if not is_wanted or not all(words["is_settled"] for words in reports):
        return {"pause_s": pause_s}
    promised = [words["promised"] for words in reports if words.get("promised") is not None]
    if len(promised) < len(reports):
        return {"pause_s": pause_s, "is_asked": True}
    # Of several whose time is up the one that has least of it counts.
    end = min(ends, key=lambda each: each[1]) if ends else None
    return {"pause_s": pause_s, "at": max(promised), "end": list(end) if end is not None else None}


def _checked(verdict: Words) -> Words:
    """Return what rank 0 says. Raises CorruptionError: It makes no sense."""
    at, end = verdict.get("at", 1), verdict.get("end")
    is_end = end is None or (type(end) is list and [type(each) for each in end] == [str, float])
    if type(verdict.get("pause_s")) is not float or type(at) is not int or not is_end:
        raise CorruptionError("it doesn't say when to save", path="rank 0", next_step="start the run again")
    return verdict


class _EndingClock:
    """A clock whose pauses end once a handle is closed."""

    def __init__(self, clock: Clock, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over
        self._clock = clock
        self.wall_us = clock.wall_us
        self.monotonic_s = clock.monotonic_s
        self.random_bytes = clock.random_bytes

    def sleep(self, duration_s: float) -> None:
        """Pause. Raises ClosedError."""
        while duration_s > 0 and not self._is_over():
            self._clock.sleep(min(duration_s, _SLICE_S))
            duration_s -= _SLICE_S
        if self._is_over():
            raise ClosedError("it was closed")
