"""Where a killer strikes: at the phase that was hit least so far, a random moment into it.

It looks at a `phases.Board` that the watched process writes on, and learns how
long it may wait: too late means to look sooner the next time, in time means
that there may be more to see further in.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Final

from phases import Board, Phase

PHASES: Final = (Phase.APPEND, Phase.ROTATE, Phase.FOLD, Phase.PUBLISH, Phase.PRUNE, Phase.RECOVERY)
UNAIMED_SHARE: Final = 0.1
WAIT_MAX_S: Final = 0.5
LIFE_MAX_S: Final = 0.15
LOOK_S: Final = 0.00002


class Aim:
    """Chooses a phase, waits for it, and keeps the count of what was hit."""

    def __init__(self, board: Board, chance: random.Random) -> None:
        self._board = board
        self._chance = chance
        self._windows_s = dict.fromkeys(PHASES, 0.002)
        self._phase: Phase | None = None
        self.hits: Counter[Phase] = Counter()

    def take(self) -> None:
        """Aim at the phase that was hit least; sometimes at none."""
        self._phase = None
        if self._chance.random() >= UNAIMED_SHARE:
            self._phase = min(PHASES, key=lambda phase: (self.hits[phase], self._chance.random()))

    def wait(self) -> None:
        """Wait until the moment has come, but not for ever: a phase may be over before anybody looks."""
        chance, board, phase = self._chance, self._board, self._phase
        deadline_s = time.monotonic() + WAIT_MAX_S
        # Not always the first such phase of a life.
        time.sleep(chance.uniform(0.0, LIFE_MAX_S) if phase is not Phase.RECOVERY else 0.0)
        if phase is None:
            return
        while not board.has(phase) and time.monotonic() < deadline_s:
            time.sleep(LOOK_S)
        until_s = time.perf_counter() + chance.uniform(0.0, self._windows_s[phase])
        while time.perf_counter() < until_s:
            pass

    def note(self, active: set[Phase]) -> Phase:
        """Count what was hit, learn from it, and return it: `active` are the phases that threads were in."""
        phase = self._phase
        if phase is not None:
            self._windows_s[phase] *= 1.15 if phase in active else 0.7
        hit = phase if phase is not None and phase in active else max(active, default=Phase.IDLE)
        self.hits[hit] += 1
        return hit
