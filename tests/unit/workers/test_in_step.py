"""Workers stay in step: whatever one of them meets, its next call is the others' next call."""

from __future__ import annotations

import itertools
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import journalkit
from journalkit.checkpoint.heads import HeadWriter
from journalkit.checkpoint.rounds import StorageRounds
from journalkit.clock import SystemClock
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointAbortedError,
    CorruptionError,
    FencedError,
    KeyValueError,
    UnknownOutcomeError,
)
from journalkit.format import names
from journalkit.testing import SimulatedBucket
from tests.unit.workers.conftest import Gathering, Job


def test_a_worker_that_was_not_told_how_a_save_ended_stays_in_step(job: Job) -> None:
    """It is told so at its next call, which the others then give up; the call after that is one of all again."""

    def live(worker: journalkit.Worker) -> Any:
        def lost(place: Any) -> Any:
            worker.__class__._heard_of(worker, place)
            raise UnknownOutcomeError("no reply came")

        worker.save({"long": bytes(100_000), "rank": worker.rank})
        if worker.rank == 1:
            worker._heard_of = lost  # type: ignore[method-assign]
        saving = worker.save_async({"long": bytes(100_001), "rank": worker.rank})
        saving.join()
        worker.__dict__.pop("_heard_of", None)
        expected = UnknownOutcomeError if worker.rank == 1 else CheckpointAbortedError
        words = "no reply came" if worker.rank == 1 else "rank 1 couldn't do its part: an earlier save failed: no reply"
        with pytest.raises(expected, match=words):
            worker.save({})
        return [worker.save({"long": bytes(100_001), "rank": worker.rank}).id for _ in range(2)]

    found = job.run(3, live, keep=journalkit.Keep(last=1), trash_period=0)
    assert found == [["1.4", "1.5"]] * 3
    with job.checkpoints() as checkpoints:
        assert [each.verify() for each in checkpoints] == [[]]


def test_what_breaks_rank_0_behind_its_publishing_costs_nobody_his_part(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be anything, so nothing is taken back: the others look, and find the checkpoint."""
    publish = HeadWriter.publish

    def breaking(self: HeadWriter, change: Any) -> Any:
        publish(self, change)
        raise MemoryError

    monkeypatch.setattr(HeadWriter, "publish", breaking)

    def live(worker: journalkit.Worker) -> Any:
        try:
            return worker.save({"long": bytes(100_000 + worker.rank)}).id
        except MemoryError:
            return "broken"

    assert job.run(3, live) == ["broken", "1.1", "1.1"]
    with job.checkpoints() as checkpoints:
        assert [each.verify() for each in checkpoints] == [[]]


def test_a_worker_that_cannot_reach_the_storage_for_a_moment_stays_in_step(job: Job) -> None:
    """While it looks for what to load: the others are told at once, and all try again."""
    job.run(2, lambda worker: worker.save({"rank": worker.rank}) and None)

    def live(worker: journalkit.Worker) -> Any:
        find = worker._finder.find

        def once(which: str) -> Any:
            worker._finder.find = find  # type: ignore[method-assign]
            raise ArchiveUnavailableError("slow down")

        if worker.rank == 1:
            worker._finder.find = once  # type: ignore[method-assign]
        with pytest.raises(ArchiveUnavailableError if worker.rank == 1 else CheckpointAbortedError, match="slow down"):
            worker.load_latest()
        state, checkpoint = worker.load_latest() or (None, None)
        assert checkpoint is not None
        return state, checkpoint.id

    assert job.run(2, live) == [({"rank": rank}, "1.1") for rank in range(2)]


def test_what_a_worker_found_damaged_is_not_taken_for_its_next_part(job: Job) -> None:
    """The chunk is in memory as it should be, and written again."""
    long = [np.random.default_rng(rank).bytes(300_000) for rank in range(2)]

    def save(worker: journalkit.Worker) -> None:
        for step in range(2):
            worker.save({"long": long[worker.rank], "new": long[worker.rank][:150_000] * (1 + step)})

    job.run(2, save)
    with open(f"{job.where}/{names.pack_key(1, 1, 1)}", "r+b") as pack:
        pack.seek(1000)
        pack.write(b"damage")

    def live(worker: journalkit.Worker) -> None:
        with pytest.raises((CorruptionError, CheckpointAbortedError)):
            worker.load_latest()
        worker.save({"long": long[worker.rank]})

    with pytest.warns(journalkit.errors.DamagedCheckpointWarning):
        job.run(2, live)
    with job.checkpoints() as checkpoints:
        newest = checkpoints.get("latest")
        assert newest.verify() == []
        assert [newest.load(worker=(rank, 2))["long"] for rank in range(2)] == long


def test_a_base_that_is_deleted_beside_the_run_is_looked_for_no_more(job: Job) -> None:
    """One save is given up for it, at most."""

    def live(worker: journalkit.Worker) -> Any:
        state = {"long": np.random.default_rng(worker.rank).bytes(200_000)}
        saved = worker.save(state)
        if worker.rank == 0:
            with journalkit.open_checkpoints(job.where, mode="maintain", trash_period=0) as beside:
                beside.delete(saved.id)
                beside.prune()
        worker.save_async(state).join()
        outcomes = []
        for _ in range(3):
            try:
                outcomes.append(worker.save(state).id)
            except CheckpointAbortedError as error:
                outcomes.append(str(error))
        return outcomes

    first, second = job.run(2, live)
    assert first == second
    assert first[-1] == "1.5"
    with job.checkpoints() as checkpoints:
        assert all(not each.verify() for each in checkpoints)


def test_a_report_whose_reply_was_lost_is_a_report(stored: Job) -> None:
    """Rank 0 waits for nothing else: the checkpoint is there, and its worker is told so."""

    def live(worker: journalkit.Worker) -> Any:
        put = worker._objects.put

        def late(key: str, parts: Any) -> int:
            put(key, parts)
            if not key.startswith(names.ROUNDS):
                return 0
            worker._objects.put = put  # type: ignore[method-assign]
            raise ArchiveUnavailableError("the reply was lost")

        if worker.rank == 1:
            worker._objects.put = late  # type: ignore[method-assign]
        return [worker.save({"long": bytes(100_000)}).id for _ in range(3)]

    found = stored.run(2, live, keep=journalkit.Keep(last=1), trash_period=0)
    assert found == [["1.1", "1.2", "1.3"]] * 2


def test_who_misses_a_verdict_of_an_exchange_costs_nobody_his_part(tmp_path: Path) -> None:
    """What is exchanged is of two rounds then, and says nothing of the checkpoint: the head does."""
    gathering = Gathering(3)

    def exchange_of(rank: int) -> Any:
        calls = itertools.count(1)
        exchange = gathering.of(rank)

        def exchanging(data: bytes) -> Any:
            if rank == 2 and next(calls) == 3:  # of opening, report and verdict
                raise TimeoutError
            return exchange(data)

        return exchanging

    def live(worker: journalkit.Worker) -> Any:
        state = {"long": bytes(100_000 + worker.rank)}
        if worker.rank < 2:
            return worker.save(state).id
        with pytest.raises(TimeoutError):
            worker.save(state)
        with pytest.raises(CheckpointAbortedError, match="aren't in the same round"):
            worker.save(state)
        return "broken"

    job = Job(tmp_path)
    assert job.run(3, live, exchange=exchange_of) == ["1.1", "1.1", "broken"]
    with job.checkpoints() as checkpoints:
        assert [each.verify() for each in checkpoints] == [[]]


def test_a_run_that_was_replaced_is_told_so_at_every_call(stored: Job) -> None:
    """Also who saves for the first time, and would stand on the newer run's checkpoint."""
    with ExitStack() as stack:
        old, new = (
            [stack.enter_context(journalkit.open_worker(stored.where, rank=rank, size=2, run=run)) for rank in range(2)]
            for run in ("old", "new")
        )

        def save(workers: list[journalkit.Worker]) -> list[Any]:
            found: list[Any] = [None, None]

            def one(worker: journalkit.Worker) -> None:
                try:
                    found[worker.rank] = worker.save({"long": bytes(100_000)}).id
                except journalkit.errors.JournalError as error:
                    found[worker.rank] = type(error)

            threads = [threading.Thread(target=one, args=(worker,)) for worker in workers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return found

        assert save(new) == ["2.1", "2.1"]
        for _ in range(3):
            assert save(old) == [FencedError, FencedError]


def test_a_writer_that_was_replaced_is_told_so_at_every_save(tmp_path: Path) -> None:
    """And nothing else: it once built on the newer writer's checkpoint, and called its own manifest impossible."""
    with journalkit.open_checkpoints(tmp_path) as old, journalkit.open_checkpoints(tmp_path) as new:
        new.save({"long": bytes(100_000)})
        for _ in range(3):
            with pytest.raises(FencedError):
                old.save({"long": bytes(100_000)})


def test_a_part_that_cannot_be_said_in_the_background_leaves_all_in_step(job: Job) -> None:
    """It is the caller's mistake, and told at its next call as any other."""

    def live(worker: journalkit.Worker) -> Any:
        name = "n" * 300 if worker.rank == 1 else None
        with pytest.raises(journalkit.errors.UsageError if worker.rank == 1 else CheckpointAbortedError):
            worker.save({}, name=name)
        write = worker._parts.write

        def broken(*_: Any) -> Any:
            worker._parts.write = write  # type: ignore[method-assign]
            raise KeyValueError("a checkpoint can't say that")

        if worker.rank == 1:
            worker._parts.write = broken  # type: ignore[method-assign]
        worker.save_async({}).join()
        with pytest.raises(KeyValueError if worker.rank == 1 else CheckpointAbortedError, match="can't say that"):
            worker.save({})
        return worker.save({}).id

    assert job.run(2, live) == ["1.4", "1.4"]


def test_a_verdict_that_says_nothing_of_what_to_load_is_damage(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded by it."""

    def live(worker: journalkit.Worker) -> Any:
        if worker.rank == 1:
            asked = worker._rounds.verdict
            monkeypatch.setattr(worker._rounds, "verdict", lambda: (asked(), {"outputs": True})[1])
            with pytest.raises(CorruptionError, match="doesn't say what to load"):
                worker.load_latest()
            return None
        return worker.load_latest()

    assert job.run(2, live) == [None, None]


def test_a_report_that_is_listed_and_not_there_yet_is_waited_for() -> None:
    """Some storage lists what it doesn't give yet."""
    bucket = SimulatedBucket()
    ranks = [
        StorageRounds(bucket.handle(), SystemClock(), epoch=1, rank=rank, size=2, patience_s=30, check=list)
        for rank in range(2)
    ]
    for rank in ranks:
        rank.report({"rank": 7})
    get, given = ranks[0]._objects.get, iter([None])

    def late(key: str, **options: Any) -> Any:
        return next(given, get(key, **options))

    ranks[0]._objects.get = late  # type: ignore[method-assign]
    assert ranks[0].gather() == [{"rank": 7}] * 2
