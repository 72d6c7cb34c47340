"""A job whose time is up: told by a signal, saved within the time that is left, whole or not at all.

Kubernetes sends SIGTERM and, after the grace period, SIGKILL. Slurm sends what
`--signal` says so many seconds before a job's end, and SIGTERM when it
preempts. A handler only notes it; the job asks between its steps, saves, and
ends by itself.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final, Self

from journalkit.checkpoint.background import Saving
from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.clock import Clock
from journalkit.errors import FencedError, JournalError, KeyValueError, UsageError

SIGNALS: Final = ("SIGTERM", "SIGUSR1")


class Preemption:
    """Notes that the job's time is up. Made by `Checkpoints.on_preemption`; a context manager.

    Handlers that were there before are called as well, and are there again afterwards.
    """

    def __init__(
        self,
        save_async: Callable[..., Saving],
        wait: Callable[[float], Checkpoint | None],
        clock: Clock,
        grace_s: float,
        names: Iterable[str],
    ) -> None:
        if not grace_s > 0:
            raise KeyValueError(f"grace={grace_s!r}: some time")
        self.grace_s = grace_s
        self._save_async = save_async
        self._wait = wait
        self._clock = clock
        self._numbers = [_number(name) for name in names]
        self._before: dict[int, Any] = {}
        self._requested_s: float | None = None
        self.reason = ""

    @property
    def requested(self) -> bool:
        """Whether the time is up: save, and end."""
        return self._requested_s is not None

    @property
    def remaining_s(self) -> float:
        """How many seconds of the grace period are left; all of it as long as nothing was requested."""
        if self._requested_s is None:
            return self.grace_s
        return max(0.0, self._requested_s + self.grace_s - self._clock.monotonic_s())

    def request(self, reason: str = "asked") -> None:
        """Say that the time is up, from wherever one learns it: a spot instance's notice, a file. Any thread may."""
        if self._requested_s is None:
            self.reason = reason
            self._requested_s = self._clock.monotonic_s()

    def save(
        self,
        state: Any,
        *,
        offsets: Mapping[Any, Any] | None = None,
        metadata: Any = None,
        metrics: Mapping[str, float] | None = None,
        name: str | None = None,
    ) -> Checkpoint | None:
        """Save within the time that is left, and return the checkpoint; None if that wasn't enough.

        The arguments are those of `Checkpoints.save_async`. What isn't done in time is none: the latest checkpoint is
        then the one that it was before, and the process may end at once, by whatever kills it. A save that was under
        way is waited for first, within the same time; what it failed with doesn't keep this one from being tried.

        Raises:
            FencedError: Another writer has the job already. End.
            JournalError: As `Checkpoints.save`: nothing was published.
        """
        return self._saved(state, offsets=offsets, metadata=metadata, metrics=metrics, name=name)

    def _saved(self, state: Any, **said: Any) -> Checkpoint | None:
        try:
            self._wait(self.remaining_s)
        except FencedError:
            raise
        except JournalError:
            pass
        if self.remaining_s <= 0:
            return None
        saving = self._save_async(state, **said)
        return saving.wait(self.remaining_s)

    def __enter__(self) -> Self:
        """Begin to listen.

        Raises:
            UsageError: Not in the main thread, where Python takes signals.
        """
        if self._numbers and threading.current_thread() is not threading.main_thread():
            raise UsageError("signals are taken in the main thread: enter on_preemption there")
        for number in self._numbers:
            try:
                self._before[number] = signal.signal(number, self._note)
            except (OSError, ValueError) as error:
                self.__exit__(None, None, None)
                raise KeyValueError(f"{signal.Signals(number).name} can't be handled by anybody: {error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            # None: it was set by something that isn't Python, and can't be set again from here.
            with suppress(TypeError):
                signal.signal(number, before)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.request(signal.Signals(number).name)
        before: Callable[[int, FrameType | None], object] | int | None = self._before.get(number)
        if callable(before):
            before(number, frame)


class SharedPreemption(Preemption):
    """Notes that the time of one of several workers is up: so it is for all, once all know.

    Made by `Worker.on_preemption`. `requested` says so in all of them from that call of `Worker.due` on at which all
    save, whichever of them was told.
    """

    _noted: tuple[str, float] | None = None

    def request(self, reason: str = "asked") -> None:
        """Say that the time is up, as `Preemption.request`: the others hear of it."""
        if self._noted is None:
            self._noted = (reason, self._clock.monotonic_s())

    def noted(self) -> tuple[str, float] | None:
        """Return why the time is up for this worker, and how many seconds of it are left; None if it isn't."""
        if self._noted is None:
            return None
        reason, noted_s = self._noted
        return reason, noted_s + self.grace_s - self._clock.monotonic_s()

    def agree(self, reason: str, end_s: float) -> None:
        """Say that all know, and when the time ends, by this worker's clock."""
        self.reason = reason
        self._requested_s = end_s - self.grace_s

    def save(
        self,
        state: Any,
        *,
        step: Any = None,
        offsets: Mapping[Any, Any] | None = None,
        metadata: Any = None,
        metrics: Mapping[str, float] | None = None,
        name: str | None = None,
    ) -> Checkpoint | None:
        """Save with the others within the time that is left, as `Preemption.save`; arguments as `Worker.save_async`.

        Raises:
            CheckpointAbortedError: Another worker couldn't do its part in time.
            JournalError: As `Preemption.save`.
        """
        return self._saved(state, step=step, offsets=offsets, metadata=metadata, metrics=metrics, name=name)


def _number(name: str) -> signal.Signals:
    try:
        return signal.Signals[name]
    except KeyError:
        raise KeyValueError(f"{name!r:.50} is no signal of this system, such as SIGTERM") from None
