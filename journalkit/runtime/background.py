"""Threads at the edge: each loops on a `step` that a test can call by itself.

A thread holds its stepper weakly and is a daemon: it keeps neither a dropped
store nor the process alive.
"""

from __future__ import annotations

import threading
import weakref
from typing import Protocol


class Stepper(Protocol):
    """Something that does what is due."""

    def step(self) -> float:
        """Do it, and return after how many seconds to look again."""
        ...


class Background:
    """A thread that calls `step` until it is stopped or its stepper is dropped."""

    def __init__(self, stepper: Stepper, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=_loop, args=(weakref.ref(stepper), self._stop), name=name, daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Make the loop end after the step that it is in."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for the thread to end and return whether it did."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()


def _loop(stepper: weakref.ref[Stepper], stop: threading.Event) -> None:
    delay_s = 0.0
    while not stop.wait(delay_s):
        alive = stepper()
        if alive is None:
            return
        delay_s = alive.step()
        del alive
