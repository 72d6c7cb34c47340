"""When to save: policies that compose, told what has happened since the last save and what saves cost.

    Every(seconds=600)                      every ten minutes
    Every(steps=1000) | Every(seconds=600)  a thousand steps or ten minutes, whichever comes first
    Overhead(0.02)                          as often as two per cent of the run time allow
    YoungDaly(timedelta(hours=24))          as often as pays for a machine that fails about once a day
    YoungDaly(86400) & Every(seconds=60)    ditto, and no more than once a minute

Policies are values: pure, and shared as one likes. `Pace` counts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from journalkit.clock import Clock
from journalkit.errors import KeyTypeError, KeyValueError
from journalkit.options import Duration, seconds

_LATEST_WEIGHT: Final = 0.3
"""What the latest save counts in the mean cost: saves grow with the state, and one slow one is no rule."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What has happened since the last save, or since the beginning.

    `cost_s` is what a save costs the job, in seconds, as far as measured; None
    as long as there was none.
    """

    elapsed_s: float
    steps: int
    size_bytes: int
    cost_s: float | None


class When(ABC):
    """A policy. `a | b` is due when either is, `a & b` when both are."""

    __slots__ = ()

    @abstractmethod
    def is_due(self, moment: Moment) -> bool:
        """Whether to save now."""

    def __or__(self, other: When) -> When:
        """Return what is due when either is."""
        return _Joined((self, _checked(other)), is_any=True)

    def __and__(self, other: When) -> When:
        """Return what is due when both are."""
        return _Joined((self, _checked(other)), is_any=False)


@dataclass(frozen=True, slots=True)
class _Joined(When):
    policies: tuple[When, ...]
    is_any: bool

    def is_due(self, moment: Moment) -> bool:
        verdicts = [policy.is_due(moment) for policy in self.policies]
        return any(verdicts) if self.is_any else all(verdicts)


@dataclass(frozen=True, slots=True)
class Every(When):
    """Every so many seconds, steps or bytes of input; of several given, whichever comes first.

    Args:
        seconds: Time since the end of the last save; a timedelta too.
        steps: Steps as `Checkpoints.due` was told.
        bytes: Bytes as `Checkpoints.due` was told.
    """

    seconds: Duration | None = None
    steps: int | None = None
    bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense. Raises UsageError."""
        given = [each for each in (self.seconds, self.steps, self.bytes) if each is not None]
        if not given:
            raise KeyValueError("every what? seconds=, steps= or bytes= has to be given")
        if self.seconds is not None and not seconds(self.seconds, "seconds") > 0:
            raise KeyValueError(f"seconds={self.seconds!r}: later than now")
        for name in ("steps", "bytes"):
            count = getattr(self, name)
            if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
                raise KeyTypeError(f"{name}={count!r} is not a whole number")
            if count is not None and count < 1:
                raise KeyValueError(f"{name}={count!r}: one at least")

    def is_due(self, moment: Moment) -> bool:
        """Whether any of them has passed."""
        return (
            (self.seconds is not None and moment.elapsed_s >= seconds(self.seconds, "seconds"))
            or (self.steps is not None and moment.steps >= self.steps)
            or (self.bytes is not None and moment.size_bytes >= self.bytes)
        )


@dataclass(frozen=True, slots=True)
class Overhead(When):
    """As often as this share of the run time allows, by what saves cost so far. At once if none was measured yet.

    Args:
        share: Of the time from one save to the next, above 0 and below 1.
    """

    share: float

    def __post_init__(self) -> None:
        """Refuse what makes no sense. Raises UsageError."""
        if isinstance(self.share, bool) or not isinstance(self.share, int | float):
            raise KeyTypeError(f"share={self.share!r} is no number")
        if not 0 < self.share < 1:
            raise KeyValueError(f"share={self.share!r} is not between 0 and 1")

    def is_due(self, moment: Moment) -> bool:
        """Whether a save now would stay within the share."""
        return moment.cost_s is None or moment.elapsed_s >= moment.cost_s * (1 - self.share) / self.share


@dataclass(frozen=True, slots=True)
class YoungDaly(When):
    """At the interval that loses least to saves and to failures together, by what saves cost so far.

    J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", 2006, which refines
    J. W. Young's square root of twice the cost times the mean time between failures, 1974. At once if no save was
    measured yet.

    Args:
        mean_time_between_failures: Of the whole job: that of one node divided by their number. Seconds or a timedelta.
    """

    mean_time_between_failures: Duration

    def __post_init__(self) -> None:
        """Refuse what makes no sense. Raises UsageError."""
        if not 0 < seconds(self.mean_time_between_failures, "mean_time_between_failures") < math.inf:
            raise KeyValueError(f"mean_time_between_failures={self.mean_time_between_failures!r}: some time")

    def interval_s(self, cost_s: float) -> float:
        """Return the seconds from the end of one save to the beginning of the next."""
        mean_s = seconds(self.mean_time_between_failures, "mean_time_between_failures")
        if cost_s >= 2 * mean_s:
            return mean_s
        part = cost_s / (2 * mean_s)
        return math.sqrt(2 * cost_s * mean_s) * (1 + math.sqrt(part) / 3 + part / 9) - cost_s

    def is_due(self, moment: Moment) -> bool:
        """Whether the interval has passed."""
        return moment.cost_s is None or moment.elapsed_s >= self.interval_s(moment.cost_s)


class Pace:
    """Counts since the last save, and asks a policy. For one thread: the one that runs the job."""

    def __init__(self, when: When, clock: Clock) -> None:
        self._when = _checked(when)
        self._clock = clock
        self._since_s = clock.monotonic_s()
        self._steps = 0
        self._bytes = 0
        self._cost_s: float | None = None

    def is_due(self, *, steps: int = 1, size_bytes: int = 0) -> bool:
        """Count what was done, and return whether to save now. Stays so until something is saved."""
        self._steps += steps
        self._bytes += size_bytes
        elapsed_s = self._clock.monotonic_s() - self._since_s
        return self._when.is_due(Moment(elapsed_s, self._steps, self._bytes, self._cost_s))

    def saved(self, cost_s: float) -> None:
        """Begin anew: a save has just ended, and kept the job from its work for so long."""
        self._since_s = self._clock.monotonic_s()
        self._steps = self._bytes = 0
        known = self._cost_s
        self._cost_s = cost_s if known is None else known + _LATEST_WEIGHT * (cost_s - known)


def _checked(when: object) -> When:
    if not isinstance(when, When):
        raise KeyTypeError(f"{when!r} is no policy: Every, Overhead, YoungDaly, or several joined by | and &")
    return when
