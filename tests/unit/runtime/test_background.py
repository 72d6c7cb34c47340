"""Threads that loop on a step, and let go of what they step."""

from __future__ import annotations

import gc
import threading
import time
import weakref

from journalkit.runtime.background import Background


class Steps:
    """Counts its steps."""

    def __init__(self, delay_s: float = 0.001) -> None:
        self.count = 0
        self.delay_s = delay_s
        self.many = threading.Event()

    def step(self) -> float:
        self.count += 1
        if self.count == 3:
            self.many.set()
        return self.delay_s


def test_it_steps_until_it_is_asked_to_stop() -> None:
    """Whatever delay it was told: it doesn't sleep through a close."""
    steps = Steps()
    background = Background(steps, "test")
    assert steps.many.wait(10)
    steps.delay_s = 3600
    time.sleep(0.02)
    assert not background.join(0)
    background.ask_to_stop()
    assert background.join(5)


def test_it_keeps_neither_its_stepper_nor_the_process() -> None:
    """A store that is dropped has to be collected though its thread runs."""
    steps = Steps()
    background = Background(steps, "test")
    assert background._thread.daemon
    assert steps.many.wait(10)
    dropped = weakref.ref(steps)
    del steps
    assert background.join(5)
    gc.collect()
    assert dropped() is None


def test_a_thread_does_not_wait_for_itself() -> None:
    """A step that closes its own store would wait for ever."""
    ends: list[bool] = []

    class Ends:
        def step(self) -> float:
            background.ask_to_stop()
            ends.append(background.join(10))
            return 0

    started = threading.Event()
    stepper = Ends()
    stepper_step = stepper.step

    def step() -> float:
        started.wait(10)
        return stepper_step()

    stepper.step = step  # type: ignore[method-assign]
    background = Background(stepper, "test")
    began_s = time.monotonic()
    started.set()
    while not ends:
        time.sleep(0.001)
    assert ends == [False]
    assert time.monotonic() - began_s < 5
    assert background.join(5)
