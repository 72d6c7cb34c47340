"""Exceptions that threads send each other while they write, lead and wait in a group commit.

On the machine's own file system, where an fsync is one call that no exception
comes into. Chance decides who is hit when, so this finds what nobody thought
of; `interrupts` finds what is at a certain place.
"""

from __future__ import annotations

import ctypes
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from units import Outcome

import journalkit
from journalkit.errors import JournalError

WRITERS = 6
_JOIN_S = 20.0


class Sent(BaseException):
    """What one thread sends another."""


class Writer:
    """A thread's commits: what was submitted, and what of it was acknowledged. Its own keys, so none hides another."""

    def __init__(self, store: journalkit.Store, number: int, stop: threading.Event) -> None:
        self.submitted: list[int] = []
        self.acknowledged: set[int] = set()
        self.errors: list[JournalError] = []
        self.hits = 0
        self._store = store
        self._number = number
        self._stop = stop
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                while not self._stop.is_set():
                    self._step(len(self.submitted) + 1)
            except Sent:
                self.hits += 1
            except JournalError as error:
                self.errors.append(error)
                return

    def _step(self, index: int) -> None:
        self.submitted.append(index)
        store, number = self._store, self._number
        kind = index % 4
        if kind == 0:
            store.update({(number, index): index, (number, "last"): index})
        elif kind == 1:
            store.put((number, index), index, sync="never")
        elif kind == 2:
            with store.transaction() as transaction:
                transaction[(number, index)] = index
        else:
            store.put((number, index), index)
        self.acknowledged.add(index)


def prove(outcome: Outcome, seed: int, seconds: float) -> None:
    """Send for a while, then hold that all went on and that nothing acknowledged is missing."""
    with tempfile.TemporaryDirectory() as directory:
        store = journalkit.open(directory + "/store", segment_bytes_max=1 << 14)
        stop, chance = threading.Event(), random.Random(seed)
        writers = [Writer(store, number, stop) for number in range(WRITERS)]
        with untraced():
            for writer in writers:
                writer.thread.start()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                time.sleep(chance.random() * 0.002)
                send(chance.choice(writers).thread)
            stop.set()
            ends = time.monotonic() + _JOIN_S
            for writer in writers:
                writer.thread.join(max(0.0, ends - time.monotonic()))
        outcome.add("sent", sum(writer.hits for writer in writers))
        again = f"\n  again: python tests/proof unit interrupts sent-{seed}"
        hung = sum(writer.thread.is_alive() for writer in writers)
        if hung:
            outcome.failures.append(f"{hung} of {WRITERS} writers wait for ever after exceptions sent to them{again}")
            return
        outcome.failures += [f"{type(e).__name__}: {e}{again}" for writer in writers for e in writer.errors]
        outcome.failures += [what + again for what in judge(store, writers, directory)]


def judge(store: journalkit.Store, writers: list[Writer], directory: str) -> Iterator[str]:
    """Yield what is wrong: in memory, and in the store that is opened again."""
    yield from _wrong(dict(store), writers, "in memory")
    store.put("after", True)
    store.compact()
    shown = dict(store)
    store.close()
    with journalkit.open(directory + "/store", compaction="manual") as again:
        again.check()
        if dict(again) != shown:
            yield "the store opened again shows something else than memory did"


def _wrong(shown: dict[Any, Any], writers: list[Writer], where: str) -> Iterator[str]:
    for number, writer in enumerate(writers):
        present = {key[1] for key in shown if key[0] == number and key[1] != "last"}
        if missing := writer.acknowledged - present:
            yield f"{where}: writer {number}'s commits {sorted(missing)[:5]} were acknowledged and are missing"
        if extra := present - set(writer.submitted):
            yield f"{where}: writer {number} never wrote {sorted(extra)[:5]}"
        halves = [index for index in present if index % 4 == 0]
        if halves and shown.get((number, "last")) != max(halves):
            yield f"{where}: of writer {number}'s commit {max(halves)} only a half is there"


def send(thread: threading.Thread) -> int:
    """Send `Sent` to a thread; return how many threads of that number there were."""
    ident = ctypes.c_ulong(thread.ident or 0)
    return int(ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(Sent)))


@contextmanager
def untraced() -> Iterator[None]:
    """Have no tracer, for coverage perhaps: with one, CPython 3.11 spins while an exception waits for a thread."""
    mine, new_ones, hook = sys.gettrace(), threading.gettrace(), sys.unraisablehook
    # One that comes inside a finalizer can't be raised, only reported.
    sys.unraisablehook = lambda report: None if report.exc_type is Sent else hook(report)
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        threading.settrace(new_ones)  # type: ignore[arg-type]
        sys.settrace(mine)
        sys.unraisablehook = hook
