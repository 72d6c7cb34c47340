"""The places at which CPython lets an interrupt in, and how to interrupt at the n-th of them.

A signal handler, or an exception that another thread sent, runs where the
interpreter looks for it: behind a call, at the start of a function, at the
backward jump of a loop, and nowhere else. `Interrupter` traces the package
instruction by instruction, counts these places and raises KeyboardInterrupt at
those that were asked for. A call between two Python functions counts too,
which is stricter than CPython 3.11 and what other versions do.

The simulated disk is the medium, not the program: nothing interrupts it. A
file operation is one step here, interrupted before it or behind it.
"""

from __future__ import annotations

import dis
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import journalkit

LETS_IN = ("CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD", "RESUME")

PACKAGE = os.path.dirname(journalkit.__file__) + os.sep
MEDIUM = (os.path.join(PACKAGE, "testing") + os.sep, os.path.join(PACKAGE, "fs", "tree.py"))


class Hang(BaseException):
    """Something took so long that it would not have ended."""


_lets_in: dict[CodeType, frozenset[int]] = {}


def _look_up(code: CodeType) -> frozenset[int]:
    """Return the offsets of a code's instructions behind which there is a place."""
    found = frozenset(each.offset for each in dis.get_instructions(code) if each.opname.startswith(LETS_IN))
    _lets_in[code] = found
    return found


class Interrupter:
    """Raises KeyboardInterrupt at each of the given places of what runs armed, the first being 1.

    `seen` counts places; `fired` tells where it raised; `on_fire` is called right before.
    """

    def __init__(self, *places: int, on_fire: Callable[[], None] | None = None) -> None:
        self.seen = 0
        self.fired: list[str] = []
        self.places = frozenset(places)
        self._on_fire = on_fire
        self._is_armed = False
        self._before: dict[FrameType, bool] = {}

    @property
    def is_due(self) -> bool:
        """Whether it raised already and will raise again."""
        return 0 < len(self.fired) < len(self.places)

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Trace what runs inside; a tracer that was there, for coverage perhaps, comes back afterwards."""
        previous, hook = sys.gettrace(), sys.unraisablehook
        # One that comes inside a finalizer can't be raised; CPython reports it and goes on.
        sys.unraisablehook = lambda report: None if report.exc_type is KeyboardInterrupt else hook(report)
        # Python 3.12 looks once, at settrace, whether any frame wants opcodes.
        sys._getframe().f_trace_opcodes = True
        self._is_armed = True
        sys.settrace(self._trace)
        try:
            yield
        finally:
            self._is_armed = False
            sys.setprofile(None)
            sys.settrace(previous)
            sys.unraisablehook = hook
            self._before.clear()

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "call":
            return self._look_at(frame)
        if event == "opcode":
            before, code = self._before, frame.f_code
            lets_in = before.get(frame, False)
            before[frame] = frame.f_lasti in (_lets_in.get(code) or _look_up(code))
            if lets_in:
                self._at_place(frame)
        elif event == "exception":
            # From a call that raises it goes to the handler, perhaps a lock that is given back; nothing comes between.
            self._before[frame] = False
        elif event == "return":
            self._before.pop(frame, None)
        return self._trace

    def _look_at(self, frame: FrameType) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGE) or name.startswith(MEDIUM):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._trace

    def _at_place(self, frame: FrameType) -> None:
        self.seen += 1
        if self.seen not in self.places:
            return
        where = f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        self.fired.append(where)
        if self._on_fire is not None:
            self._on_fire()
        if self.is_due:
            # A trace function that raises is switched off by CPython: a profiler, which isn't, switches it on again.
            sys.setprofile(self._resume)
        raise KeyboardInterrupt(where)

    def _resume(self, frame: FrameType, event: str, arg: object) -> None:
        """Trace again from the first call or return after an interrupt on."""
        sys.setprofile(None)
        if not self._is_armed:
            return
        self._before.clear()
        sys.settrace(self._trace)
        above: FrameType | None = frame
        while above is not None:
            above.f_trace = self._look_at(above)
            above = above.f_back


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise Hang in the main thread, out of a lock that it waits for too, if what runs inside doesn't end."""

    def hang(number: int, frame: FrameType | None) -> None:
        raise Hang(f"nothing after {seconds} s")

    previous = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


PATIENCE_S = 10.0


def elsewhere(function: Callable[[], Any], *, seconds: float | None = None) -> Any:
    """Run a function in another thread and return what it returned; raise what it raised, or Hang."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again where it can be seen
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    patience_s = PATIENCE_S if seconds is None else seconds
    thread.join(patience_s)
    if thread.is_alive():
        raise Hang(f"another thread waits for ever: nothing after {patience_s} s")
    if errors:
        raise errors[0]
    return results[0]
