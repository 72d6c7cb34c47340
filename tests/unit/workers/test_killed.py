"""A worker that dies at any operation on the storage: the others end, and the checkpoint is whole or isn't there."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest

from journalkit.checkpoint.joining import worker_on
from journalkit.checkpoint.open import open_on
from journalkit.clock import SystemClock
from journalkit.errors import JournalError, StoreNotFoundError
from journalkit.format import names
from journalkit.testing import SimulatedBucket

SIZE = 3


class KilledError(BaseException):
    """The process is no more."""


class QuickClock(SystemClock):
    """One for which a second is soon over."""

    def monotonic_s(self) -> float:
        return super().monotonic_s() * 50

    def sleep(self, duration_s: float) -> None:
        super().sleep(duration_s / 50)


def part(rank: int, step: int) -> dict[str, Any]:
    """Return a state that is another for each rank and step."""
    return {"step": step, "rank": rank, "long": bytes((rank, step)) * 50_000}


class Run:
    """Workers on one bucket, one of which is killed at one of its operations."""

    def __init__(self, bucket: SimulatedBucket, victim: int, operation: int) -> None:
        self.bucket = bucket
        self.told: list[str] = [""] * SIZE
        self.is_killed = False
        self._left = itertools.count(1)
        self._operation = operation
        bucket.before = lambda who, *_: self._count() if who == f"rank {victim}" else None
        threads = [threading.Thread(target=self._live, args=(rank,)) for rank in range(SIZE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a worker waits for ever"
        bucket.before = None

    def _count(self) -> None:
        if next(self._left) >= self._operation:
            self.is_killed = True
            raise KilledError

    def _live(self, rank: int) -> None:
        try:
            objects = self.bucket.handle(f"rank {rank}")
            worker = worker_on(objects, QuickClock(), rank=rank, size=SIZE, run="one", patience=4, threads=0)
            worker.load_latest()
            for step in (1, 2):
                self.told[rank] = worker.save(part(rank, step), step=step).id
        except JournalError:
            pass
        except KilledError:
            pass


def judged(run: Run) -> list[str]:
    """Return what is there: checkpoints, each whole, of one step in every part; and nothing else once it is swept."""
    try:
        with open_on(run.bucket.handle("judge"), SystemClock(), create=False, trash_period=0) as job:
            job.prune()
            found = []
            for checkpoint in job:
                manifest = checkpoint.manifest
                states = [manifest.load(worker=(rank, SIZE)) for rank in range(SIZE)]
                step = states[0]["step"]
                assert states == [part(rank, step) for rank in range(SIZE)], checkpoint.id
                assert checkpoint.id == f"1.{step}"
                assert checkpoint.verify() == []
                found.append(checkpoint.id)
            needed = {names.checkpoint_key(each.epoch, each.save) for each in job}
            needed |= {key for each in job for key in each.manifest.packs()}
    except StoreNotFoundError:
        return []
    there = {key for key in run.bucket.contents() if not key.startswith((names.HEADS, "probe/"))}
    assert there == needed
    return found


@pytest.mark.parametrize("victim", range(SIZE))
def test_killed_at_every_operation_of_a_rank_a_checkpoint_is_whole_or_not_there(victim: int) -> None:
    """And who was told that it is there was told the truth."""
    outcomes = set()
    for operation in itertools.count(1):
        run = Run(SimulatedBucket(seed=operation), victim, operation)
        there = judged(run)
        for told in filter(None, run.told):
            assert told in there, f"operation {operation}: {run.told}, and {there} are there"
        outcomes.add(tuple(there))
        if not run.is_killed:
            break
    assert outcomes >= {(), ("1.1",), ("1.2", "1.1")}
    assert operation > 10
