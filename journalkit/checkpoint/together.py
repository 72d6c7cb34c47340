"""What the workers of a run decide together besides saves: which checkpoint they go on from, and its outputs.

    all       report; rank 0 proposes the newest checkpoint that is sound
    all       load their shares; one that any of them finds damaged is loaded by none
    all       commit their shares of its outputs
    all       throw away what else their sinks have kept or begun

Each line is a round, so that nobody goes on before all have done it. Outputs
of several workers may lie in one place: what one threw away before another has
committed would be the other's, and so would be what is written before all have
thrown away. Where there are no outputs the last two are left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from journalkit.checkpoint.agreeing import (
    Words,
    all_done,
    candidate_in,
    has_outputs_in,
    heard,
    next_candidate,
    short,
    told,
)
from journalkit.checkpoint.assembling import Regions
from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.checkpoint.finder import Finder, warn
from journalkit.checkpoint.merging import has_outputs, outputs_of
from journalkit.checkpoint.rounds import Rounds
from journalkit.checkpoint.sinks import Outputs, Sink
from journalkit.errors import CheckpointNotFoundError, CorruptionError

_log = logging.getLogger("journalkit.checkpoint")

Found = tuple[Any, Checkpoint]


class Together:
    """One worker's side of it. For one thread at a time.

    Attributes:
        damaged: The checkpoints that this worker has found damaged.
    """

    def __init__(self, rounds: Rounds, finder: Finder, outputs: Outputs, rank: int, size: int, where: str) -> None:
        self._rounds = rounds
        self._finder = finder
        self._outputs = outputs
        self._worker = (rank, size)
        self._where = where
        self.damaged: set[str] = set()

    def load(self, sinks: Sequence[Sink], *, lazy: bool, mapped: bool, regions: Regions | None) -> Found | None:
        """Return this worker's share of the newest checkpoint that all can load. Raises as `Worker.load_latest`."""
        sound = self._finder.sound() if self._worker[0] == 0 else iter(())
        found: Found | None = None
        current: str | None = None
        news: dict[str, Any] = {}
        while True:
            is_any = bool(sinks) or (found is not None and has_outputs(found[1].manifest.said))
            verdict = self._next(news | {"loading": current, "outputs": is_any}, sound)
            candidate = candidate_in(verdict)
            if not candidate:
                # None is there at all, or all have loaded it.
                found = None if candidate is not None else found
                self._recover(sinks, found, is_any=has_outputs_in(verdict))
                return found
            current = candidate
            try:
                found, news = self._loaded(current, lazy=lazy, mapped=mapped, regions=regions), {}
            except (CorruptionError, CheckpointNotFoundError) as error:  # or somebody has deleted it meanwhile
                found, news = None, {"damaged": short(error)}
            except BaseException as error:
                self._rounds.fail(short(error))
                raise

    def tell(self, verdict: Words) -> None:
        """End a round. What was done is done, whether the others hear of it or not."""
        try:
            self._rounds.decide(verdict)
        except Exception as error:  # noqa: BLE001 - whatever the workers talk by raises
            _log.warning("%s: the other workers weren't told how it ended: %s", self._where, error)

    # -- within ---------------------------------------------------------------------------------

    def _agreed(self, said: Words, decide: Callable[[list[Words]], Words]) -> Words:
        """Take part in a round, and return what rank 0 decided of what all have said."""
        self._rounds.report(said)
        if self._worker[0]:
            return heard(self._rounds.verdict())
        try:
            verdict = decide(self._rounds.gather())
        except BaseException as error:
            self.tell(told(error, is_written=False))
            raise
        self._rounds.decide(verdict)
        return verdict

    def _next(self, said: Words, sound: Iterator[Checkpoint]) -> Words:
        return self._agreed(said, lambda reports: next_candidate(reports, sound, said["loading"], self._where))

    def _loaded(self, which: str, *, lazy: bool, mapped: bool, regions: Regions | None) -> Found:
        """Return this worker's share of a checkpoint; if it is damaged that is noted, so that nothing stands on it."""
        checkpoint = self._finder.find(which)
        try:
            return checkpoint.load(lazy=lazy, mapped=mapped, worker=self._worker, regions=regions), checkpoint
        except CorruptionError as error:
            warn(which, error)
            self.damaged.add(which)
            raise

    def _recover(self, sinks: Sequence[Sink], found: Found | None, *, is_any: bool) -> None:
        """Let the sinks go on from what was found, in step with those of the others."""
        prepared = outputs_of(found[1].manifest.said, *self._worker) if found is not None else {}
        if not is_any:
            self._outputs.recommit((), {})  # what was left of saves that failed
            return
        self._do("committed", lambda: self._outputs.recommit(sinks, prepared))
        self._do("discarded", lambda: self._outputs.discard(sinks))

    def _do(self, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException as error:
            self._rounds.fail(short(error))
            raise
        self._agreed({"outputs": what}, lambda reports: all_done(reports, what))
