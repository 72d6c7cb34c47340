"""Merges in another process, seen from here: started, told, listened to, ended.

Whoever has the lock stays the one that publishes; a child that is killed,
lies or hangs costs a fold, never more. One that can't be started at all is no
reason not to fold: this process does it then, and says so. So it does for a
while when children keep failing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from journalkit.clock import Clock
from journalkit.format.table import TableInfo
from journalkit.fs.interface import Child, FileSystem
from journalkit.runtime.talk import BEGUN, Ear
from journalkit.store.fold_words import Job, outcome, told
from journalkit.store.memtable import MemTable

MODULE: Final = "journalkit.store.fold_child"
FAILURES_MAX: Final = 3
AWAY_S: Final = 600.0
"""For so long folds stay in this process after `FAILURES_MAX` children in a row."""
BEGIN_S: Final = 30.0
LISTEN_S: Final = 0.05

_log = logging.getLogger("journalkit.compactor")


class _NotBegunError(Exception):
    """No child can be had here."""


class Outside:
    """The children of one store, one at a time. `folds` counts those that worked, `refusal` says why none is asked."""

    def __init__(self, fs: FileSystem, clock: Clock) -> None:
        self._start: Callable[[str], Child] | None = getattr(fs, "start_child", None)
        self._clock = clock
        self._failures_in_a_row = 0
        self._not_before_s = 0.0
        self.folds = 0
        self.refusal = "" if self._start else "no other process sees this file system"

    def merge(
        self,
        job: Job,
        memtables: tuple[MemTable, ...],
        *,
        pace: Callable[[], None],
        step: Callable[[], None],
        is_urgent: Callable[[], bool],
    ) -> TableInfo | None:
        """Have a child write the table under its temporary name; None: this process has to do it.

        Args:
            job: What to write.
            memtables: What is new, newest first.
            pace: Called while there is nothing to do; may raise to give up, which ends the child.
            step: Called often; ditto.
            is_urgent: Whether a limited rate should be limited no more.

        Raises:
            ChildProcessError: The child failed, or ended by itself.
            CorruptionError, UnsupportedFormatError, OSError: What it met.
        """
        start = self._start
        if start is None or self._clock.monotonic_s() < self._not_before_s:
            return None
        try:
            info = _Conversation(_started(start), self._clock, pace).hold(job, memtables, step, is_urgent)
        except _NotBegunError as error:
            self._stay_away(f"no process could be started for it: {error}")
            return None
        except ChildProcessError as error:
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= FAILURES_MAX:
                self._failures_in_a_row = 0
                self._stay_away(f"{FAILURES_MAX} processes in a row failed at it: {error}")
            raise
        self.folds += 1
        self._failures_in_a_row, self.refusal = 0, ""
        return info

    def _stay_away(self, why: str) -> None:
        self._not_before_s = self._clock.monotonic_s() + AWAY_S
        self.refusal = why
        _log.warning("folds are done in this process for the next %.0f s: %s", AWAY_S, why)


def _started(start: Callable[[str], Child]) -> Child:
    try:
        return start(MODULE)
    except OSError as error:
        raise _NotBegunError(str(error)) from error


class _Conversation:
    """With one child."""

    def __init__(self, child: Child, clock: Clock, pace: Callable[[], None]) -> None:
        self._child = child
        self._clock = clock
        self._pace = pace
        self._ear = Ear(child)
        self._words = self._ear.words

    def hold(
        self, job: Job, memtables: tuple[MemTable, ...], step: Callable[[], None], is_urgent: Callable[[], bool]
    ) -> TableInfo:
        """Tell the child what to do and return what it says. It is ended, whatever happens."""
        try:
            self._await_begin()
            try:
                for part in told(job, memtables):
                    self._child.send(part, self._pace)
                    step()
            except BrokenPipeError:
                pass  # what it has to say tells more
            is_hurried = job.bytes_per_s is None
            while not self._words:
                if self._ear.listen(LISTEN_S) is None:
                    raise ChildProcessError(f"the process that merges {self._ear.end()[1]}")
                self._pace()
                if not is_hurried and is_urgent():
                    is_hurried = True
                    self._child.send(b"!", self._pace)
            info = outcome(self._words[0])
            if (info.number, info.salt) != (job.number, job.salt):
                raise ChildProcessError(f"table {job.number} was asked for, and the process wrote {info.number}")
            return info
        finally:
            self._child.end()

    def _await_begin(self) -> None:
        deadline_s = self._clock.monotonic_s() + BEGIN_S
        while not self._words:
            if self._ear.listen(LISTEN_S) is None:
                is_killed, how = self._ear.end()
                if is_killed:  # which says nothing of the next one
                    raise ChildProcessError(f"the process that merges {how}")
                raise _NotBegunError(f"it {how}")
            self._pace()
            if self._clock.monotonic_s() > deadline_s:
                raise _NotBegunError(f"it has not begun after {BEGIN_S:.0f} s")
        if BEGUN not in self._words.pop(0):
            raise _NotBegunError("it says something else than was expected")
