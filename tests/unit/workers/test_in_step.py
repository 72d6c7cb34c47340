"""Workers stay in step: whatever one of them meets, its next call is the others' next call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import journalkit
from journalkit.checkpoint.heads import HeadWriter
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointAbortedError,
    CorruptionError,
    UnknownOutcomeError,
)
from journalkit.format import names
from tests.unit.workers.conftest import Job


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
