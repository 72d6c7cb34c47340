"""Rounds: how the workers of a run agree, over the storage alone or over what they talk by anyway.

    each rank     report: what it has to say
    rank 0        gather: what all have said; decide
    the others    verdict: what rank 0 decided

Every worker takes part in every round, in the same order, so a number is all
that a round is known by. Nothing here is the truth about a checkpoint: that is
the head, and a verdict only says what became of it. A round of which somebody
is missing is given up by rank 0 after some time.

By the storage each report is an object, and so is the verdict:

    rounds/EPOCH/ROUND-RANK
    rounds/EPOCH/ROUND-verdict

They go once all have begun the next round; what a run leaves is swept by the
next writer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from journalkit.checkpoint.documents import decoded
from journalkit.clock import Clock
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointAbortedError,
    CorruptionError,
    JournalError,
    KeyTypeError,
    UnknownOutcomeError,
)
from journalkit.format import names
from journalkit.format.round import REPORT_BYTES_MAX, Report, decode_report, encode_report
from journalkit.objects.interface import PAGE_MAX, Objects

Exchange = Callable[[bytes], Sequence[bytes]]
"""Given what this rank says returns what all have said, by rank: an all-gather."""

_PAUSE_S: Final = 0.01
_PAUSE_MAX_S: Final = 1.0
_LOOK_EVERY_S: Final = 5.0
_SHOWN_MAX: Final = 5


class Rounds(Protocol):
    """One rank's side of the rounds of a run. For one thread at a time."""

    def report(self, said: Mapping[str, Any]) -> None:
        """Begin the next round, with what this rank has to say. Raises JournalError: It couldn't be said."""
        ...

    def fail(self, why: str, verdict: Mapping[str, Any] | None = None) -> None:
        """Take part in the next round with nothing but the reason why it fails, and end it. Raises no JournalError.

        With a verdict, if giving up says too little; other ranks propose it.
        """
        ...

    def gather(self) -> list[Mapping[str, Any]]:
        """Rank 0: return what all have said, by rank; as soon as one says that it fails, what there is.

        Raises:
            CheckpointAbortedError: Not all did in time.
            JournalError: The storage can't be asked.
        """
        ...

    def decide(self, said: Mapping[str, Any]) -> None:
        """Rank 0: end the round. Raises JournalError: The others may not hear of it."""
        ...

    def verdict(self) -> Mapping[str, Any]:
        """Return what rank 0 decided.

        Raises:
            UnknownOutcomeError: It says nothing.
            FencedError: A newer writer has the job.
            JournalError: The storage can't be asked.
        """
        ...


class StorageRounds:
    """Rounds over the storage. `check` is called now and then while it waits, and raises if the run is over.

    Rounds of another series have numbers of their own: they may be under way at the same time, in another thread.
    """

    def __init__(
        self,
        objects: Objects,
        clock: Clock,
        *,
        epoch: int,
        rank: int,
        size: int,
        patience_s: float,
        check: Callable[[], object],
        series: str = "",
    ) -> None:
        self._objects = objects
        self._clock = clock
        self._epoch = epoch
        self._rank = rank
        self._size = size
        self._patience_s = patience_s
        self._check = check
        self._series = series
        self._number = 0
        self._mine: Mapping[str, Any] = {}
        self._swept = 0

    def report(self, said: Mapping[str, Any]) -> None:
        """As `Rounds.report`."""
        self._number += 1
        self._mine = said
        if self._rank:
            data = encode_report(Report(self._epoch, self._number, self._rank, said))
            self._objects.put(names.report_key(self._epoch, self._number, self._rank, self._series), (data,))

    def fail(self, why: str, verdict: Mapping[str, Any] | None = None) -> None:
        """As `Rounds.fail`."""
        with contextlib.suppress(JournalError):
            self.report({"failed": why, **(verdict or {})})
            if not self._rank:
                self.decide(verdict or _given_up(why))

    def gather(self) -> list[Mapping[str, Any]]:
        """As `Rounds.gather`."""
        found: dict[int, Mapping[str, Any]] = {0: self._mine}
        failed: ArchiveUnavailableError | None = None
        waiting = _Waiting(self._clock, self._patience_s)
        while True:
            try:
                self._collect(found)
                failed = None
            except ArchiveUnavailableError as error:
                failed = error
            if len(found) == self._size:
                self._sweep()
            if len(found) == self._size or any("failed" in said for said in found.values()):
                return [found.get(rank, {}) for rank in range(self._size)]
            if not waiting.goes_on():
                if failed is not None:
                    raise failed
                raise CheckpointAbortedError(
                    f"{self._objects.where}: {_said(sorted(set(range(self._size)) - set(found)))} didn't come within "
                    f"{self._patience_s:g} s"
                )
            if waiting.is_time_to_look():
                self._look()

    def decide(self, said: Mapping[str, Any]) -> None:
        """As `Rounds.decide`."""
        data = encode_report(Report(self._epoch, self._number, 0, said))
        self._objects.put(names.verdict_key(self._epoch, self._number, self._series), (data,))

    def verdict(self) -> Mapping[str, Any]:
        """As `Rounds.verdict`."""
        key = names.verdict_key(self._epoch, self._number, self._series)
        # Rank 0 waits for everybody, so who waits for it has to wait for longer.
        waiting = _Waiting(self._clock, 2 * self._patience_s)
        while True:
            with contextlib.suppress(ArchiveUnavailableError):
                found = self._read(key, 0)
                if found is not None:
                    return found
            if not waiting.goes_on():
                raise UnknownOutcomeError(
                    f"{self._objects.where}: rank 0 has said nothing for {2 * self._patience_s:g} s"
                )
            if waiting.is_time_to_look():
                self._look()

    def _collect(self, found: dict[int, Mapping[str, Any]]) -> None:
        prefix = names.round_prefix(self._epoch, self._number, self._series)
        after = ""
        while True:
            page = self._objects.list(prefix, after=after, limit=PAGE_MAX)
            for status in page:
                last = status.key.removeprefix(prefix)
                rank = int(last) if last.isdecimal() else 0
                if 0 < rank < self._size and rank not in found:
                    said = self._read(status.key, rank)
                    if said is not None:
                        found[rank] = said
            if len(page) < PAGE_MAX:
                return
            after = page[-1].key

    def _read(self, key: str, rank: int) -> Mapping[str, Any] | None:
        data = self._objects.get(key, length=REPORT_BYTES_MAX)
        if data is None:
            return None
        path = f"{self._objects.where}/{key}"
        step = "start the run again"
        report = decoded(decode_report, data, path=path, next_step=step)
        if (report.epoch, report.number, report.rank) != (self._epoch, self._number, rank):
            raise CorruptionError("it is another round's, or another rank's", path=path, next_step=step)
        return report.said

    def _sweep(self) -> None:
        """Delete the rounds before this one: all that take part in this one know how those ended."""
        gone = range(self._swept + 1, self._number)
        epoch, series = self._epoch, self._series
        keys = [names.report_key(epoch, number, rank, series) for number in gone for rank in range(1, self._size)]
        keys += [names.verdict_key(epoch, number, series) for number in gone]
        if keys:
            with contextlib.suppress(JournalError):
                self._objects.delete(*keys)
                self._swept = self._number - 1

    def _look(self) -> None:
        with contextlib.suppress(ArchiveUnavailableError):
            self._check()


class ExchangedRounds:
    """Rounds over something by which the workers talk anyway: `torch.distributed`, MPI. What that raises is raised."""

    def __init__(self, exchange: Exchange, *, epoch: int, rank: int) -> None:
        self._exchange = exchange
        self._epoch = epoch
        self._rank = rank
        self._number = 0
        self._all: list[Mapping[str, Any]] = []

    def report(self, said: Mapping[str, Any]) -> None:
        """As `Rounds.report`; returns once all have said theirs."""
        self._number += 1
        self._all = self._exchanged(said, CheckpointAbortedError)

    def fail(self, why: str, verdict: Mapping[str, Any] | None = None) -> None:
        """As `Rounds.fail`."""
        with contextlib.suppress(JournalError):
            self.report({"failed": why, **(verdict or {})})
            self._exchanged({} if self._rank else verdict or _given_up(why), UnknownOutcomeError)

    def gather(self) -> list[Mapping[str, Any]]:
        """As `Rounds.gather`."""
        return self._all

    def decide(self, said: Mapping[str, Any]) -> None:
        """As `Rounds.decide`."""
        self._exchanged(said, UnknownOutcomeError)

    def verdict(self) -> Mapping[str, Any]:
        """As `Rounds.verdict`."""
        return self._exchanged({}, UnknownOutcomeError)[0]

    def _exchanged(self, said: Mapping[str, Any], otherwise: type[JournalError]) -> list[Mapping[str, Any]]:
        """Return what all say; raise `otherwise` if it isn't of this round: behind the reports nobody knows."""
        mine = encode_report(Report(self._epoch, self._number, self._rank, said))
        found = [
            decoded(decode_report, data, path=f"rank {rank}", next_step="start the run again")
            for rank, data in enumerate(exchanged(self._exchange, mine))
        ]
        round_of_mine = (self._epoch, self._number)
        if any((each.epoch, each.number, each.rank) != (*round_of_mine, at) for at, each in enumerate(found)):
            raise otherwise("the workers aren't in the same round: start the run again")
        return [each.said for each in found]


def exchanged(exchange: Exchange, data: bytes) -> list[bytes]:
    """Return what all have said. Raises UsageError: The exchange gives something else."""
    found: Any = exchange(data)
    if not isinstance(found, Sequence) or not all(isinstance(each, bytes | bytearray | memoryview) for each in found):
        raise KeyTypeError(f"the exchange gives {found!r:.100}: what all have said, as bytes, by rank")
    return [bytes(each) for each in found]


class _Waiting:
    """Pauses that grow, until patience is up."""

    def __init__(self, clock: Clock, patience_s: float) -> None:
        self._clock = clock
        self._pause_s = _PAUSE_S
        self._until_s = clock.monotonic_s() + patience_s
        self._looked_s = clock.monotonic_s()

    def goes_on(self) -> bool:
        """Pause, and return whether to try once more."""
        left_s = self._until_s - self._clock.monotonic_s()
        if left_s <= 0:
            return False
        self._clock.sleep(min(self._pause_s, left_s))
        self._pause_s = min(2 * self._pause_s, _PAUSE_MAX_S)
        return True

    def is_time_to_look(self) -> bool:
        """Whether it is time to see whether there is a newer writer."""
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s < _LOOK_EVERY_S:
            return False
        self._looked_s = now_s
        return True


def _given_up(why: str) -> dict[str, str]:
    return {"aborted": f"rank 0 couldn't do its part: {why}"}


def _said(ranks: Sequence[int]) -> str:
    """Return the words for some ranks."""
    shown = ", ".join(str(rank) for rank in ranks[:_SHOWN_MAX])
    more = f" and {len(ranks) - _SHOWN_MAX} more" if len(ranks) > _SHOWN_MAX else ""
    return f"rank {shown}" if len(ranks) == 1 else f"ranks {shown}{more}"
