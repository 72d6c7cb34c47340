"""Workers that save and load one checkpoint together: all parts or none, whoever fails."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import journalkit
from journalkit.checkpoint.rounds import StorageRounds
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointAbortedError,
    ClosedError,
    FencedError,
    KeyTypeError,
    KeyValueError,
    UnknownOutcomeError,
    UsageError,
)
from journalkit.format import names
from tests.unit.workers.conftest import Job


def part(rank: int, step: int) -> dict[str, Any]:
    """Return a state that is another for each rank and step, with something long in it."""
    long = np.random.default_rng([rank, step]).integers(0, 255, 100_000, np.uint8)
    return {"step": step, "mine": f"rank {rank}", "long": long, "model": np.arange(50_000.0)}


def same(found: Any, wanted: Any) -> bool:
    """Whether two such states are the same."""
    return set(found) == set(wanted) and all(np.array_equal(found[key], wanted[key]) for key in wanted)


def test_each_worker_gets_back_what_it_gave(job: Job) -> None:
    """And all of them the same checkpoint."""

    def first(worker: journalkit.Worker) -> Any:
        assert worker.load_latest() is None
        for step in (1, 2):
            checkpoint = worker.save(
                part(worker.rank, step), step=step, offsets={f"topic-{worker.rank}": step}, metadata=worker.rank,
                metrics={"loss": 1 / step}, name="the second" if step == 2 else None,
            )  # fmt: skip
        return checkpoint

    saved = job.run(3, first)
    assert [checkpoint.id for checkpoint in saved] == ["1.2"] * 3
    assert [checkpoint.name for checkpoint in saved] == ["the second"] * 3

    def second(worker: journalkit.Worker) -> Any:
        state, checkpoint = worker.load_latest() or (None, None)
        assert checkpoint is not None
        assert same(state, part(worker.rank, 2))
        return checkpoint.id, dict(checkpoint.offsets), checkpoint.metadata, dict(checkpoint.metrics)

    offsets = {f"topic-{rank}": 2 for rank in range(3)}
    assert job.run(3, second) == [("1.2", offsets, 0, {"loss": 0.5})] * 3


def test_a_save_writes_what_changed_in_each_part(job: Job) -> None:
    """Each rank stands on its own part of the latest, also behind a restart."""
    sizes: list[int] = []

    def live(worker: journalkit.Worker) -> None:
        worker.save({"big": np.random.default_rng(worker.rank).random(300_000), "small": worker.epoch})

    for _ in range(3):
        assert job.run(2, live) == [None, None]
        with job.checkpoints() as checkpoints:
            manifest = checkpoints.get("latest").manifest
            sizes.append(sum(pack.pack_bytes for pack in manifest.said.packs if pack.epoch == manifest.said.epoch))
            assert manifest.verify() == []
    assert sizes[0] > 4_000_000
    assert sizes[1:] == [0, 0]


def test_a_state_that_one_cannot_save_is_nobodys_checkpoint(job: Job) -> None:
    """The one is told what is wrong, the others who it was; and the next save works."""

    def live(worker: journalkit.Worker) -> Any:
        error: Any = None
        try:
            worker.save({"bad": object()} if worker.rank == bad else part(worker.rank, 1))
        except journalkit.errors.JournalError as caught:
            error = caught
        worker.save(part(worker.rank, 2))
        return error

    for bad in (0, 2):
        errors = job.run(3, live)
        for rank, error in enumerate(errors):
            assert isinstance(error, KeyTypeError if rank == bad else CheckpointAbortedError)
            assert rank == bad or f"rank {bad}" in str(error)
    with job.checkpoints() as checkpoints:
        assert [each.id for each in checkpoints] == ["2.2", "1.2"]


def test_a_worker_that_comes_late_makes_no_checkpoint(stored: Job) -> None:
    """Rank 0 waits for its patience; who comes later is told, and takes back what it wrote. They go on together."""
    told = threading.Event()

    def live(worker: journalkit.Worker) -> Any:
        if worker.rank == 1:
            told.wait()
        with pytest.raises(CheckpointAbortedError, match=r"rank 1 didn't come within 1\.5 s"):
            worker.save(part(worker.rank, 1))
        told.set()
        return worker.save(part(worker.rank, 2)).id

    assert stored.run(3, live, patience=lambda rank: 1.5 if rank == 0 else 30) == ["1.2"] * 3
    packs = {key for key in stored.contents() if key.startswith(names.PACKS)}
    assert packs == {names.pack_key(1, 2, rank) for rank in range(3)}


def test_a_worker_that_dies_ends_the_others_saves(stored: Job) -> None:
    """One that never comes again."""

    def live(worker: journalkit.Worker) -> Any:
        worker.save(part(worker.rank, 1))
        if worker.rank == 2:
            return "gone"
        with pytest.raises(CheckpointAbortedError, match="rank 2 didn't come"):
            worker.save(part(worker.rank, 2))
        return "told"

    assert stored.run(3, live, patience=1.5) == ["told", "told", "gone"]


def test_without_rank_0_nobody_knows(stored: Job) -> None:
    """Who waits for its word waits for twice the patience, and then says that it doesn't know."""

    def live(worker: journalkit.Worker) -> Any:
        if worker.rank == 0:
            return None
        with pytest.raises(UnknownOutcomeError, match="rank 0 has said nothing"):
            worker.save(part(worker.rank, 1))
        return "told"

    assert stored.run(2, live, patience=0.3) == [None, "told"]


def test_a_rank_0_that_ends_between_publishing_and_saying_so_is_heard_by_the_head(
    stored: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head is the truth; a verdict only tells of it."""
    monkeypatch.setattr(StorageRounds, "decide", lambda *_: None)

    def live(worker: journalkit.Worker) -> str:
        return worker.save(part(worker.rank, 1)).id

    assert stored.run(2, live, patience=1) == ["1.1", "1.1"]


def test_a_newer_run_fences_every_worker(job: Job) -> None:
    """Also those that only wait for what rank 0 says."""
    begun, newer = threading.Barrier(3), threading.Event()
    outcome: list[Any] = []

    def old(worker: journalkit.Worker) -> Any:
        worker.save(part(worker.rank, 1))
        begun.wait()
        newer.wait()
        return worker.save(part(worker.rank, 2))

    thread = threading.Thread(target=lambda: outcome.extend(job.run(2, old, run="old")))
    thread.start()
    begun.wait()
    assert job.run(2, lambda worker: worker.epoch, run="new") == [2, 2]
    newer.set()
    thread.join()
    assert [type(error) for error in outcome] == [FencedError, FencedError]
    with job.checkpoints() as checkpoints:
        assert [each.id for each in checkpoints] == ["1.1"]


def test_saves_in_the_background_are_of_the_moment_they_were_asked_for(job: Job) -> None:
    """What is changed afterwards isn't in them; one is under way at a time."""

    def live(worker: journalkit.Worker) -> Any:
        state = part(worker.rank, 1)
        saving = worker.save_async(state, step=1)
        state["long"][:] = 0
        state["mine"] = "changed"
        first = saving.wait()
        worker.save_async(part(worker.rank, 2), step=2)
        second = worker.save(part(worker.rank, 3), step=3)
        assert first is not None
        return first.id, second.id

    assert job.run(2, live) == [("1.1", "1.3")] * 2
    with job.checkpoints() as checkpoints:
        for rank in range(2):
            assert same(checkpoints.get("1.1").manifest.load(worker=(rank, 2)), part(rank, 1))


def test_a_checkpoint_that_is_given_up_in_the_background_is_told_who_asks(job: Job) -> None:
    """By waiting or closing; the next save is one of all again, since nobody else would know why it isn't."""

    def live(worker: journalkit.Worker) -> Any:
        saving = worker.save_async(part(worker.rank, 1), step=worker.rank)
        with pytest.raises(CheckpointAbortedError, match="step"):
            saving.wait()
        worker.save_async(part(worker.rank, 1), step=worker.rank).join()
        saved = worker.save(part(worker.rank, 2), step=2).id
        worker.save_async(part(worker.rank, 1), step=worker.rank).join()
        with pytest.raises(CheckpointAbortedError, match="step"):
            worker.close()
        return saved

    assert job.run(2, live) == ["1.3", "1.3"]


def test_workers_at_different_steps_make_no_checkpoint(job: Job) -> None:
    """It would be of no moment at all."""

    def live(worker: journalkit.Worker) -> Any:
        with pytest.raises(CheckpointAbortedError, match="rank 1 is at step 41, rank 0 at 40"):
            worker.save(part(worker.rank, 1), step=40 + worker.rank)
        return worker.save(part(worker.rank, 2), step=50).id

    assert job.run(2, live) == ["1.2", "1.2"]


def test_an_input_that_two_workers_read_makes_no_checkpoint(job: Job) -> None:
    """Which of their offsets counts nobody could say; the same twice is the same."""

    def live(worker: journalkit.Worker) -> Any:
        with pytest.raises(CheckpointAbortedError, match="an input is read by one worker"):
            worker.save({}, offsets={"topic": worker.rank})
        return worker.save({}, offsets={"topic": 7}).id

    assert job.run(2, live) == ["1.2", "1.2"]


def test_a_checkpoint_that_one_worker_finds_damaged_is_loaded_by_none(job: Job) -> None:
    """All go back to the one before it, together."""

    def save(worker: journalkit.Worker) -> None:
        for step in (1, 2):
            worker.save(part(worker.rank, step))

    job.run(3, save)
    path = f"{job.where}/{names.pack_key(1, 2, 2)}"
    with open(path, "r+b") as pack:
        pack.seek(-1, 2)
        last = pack.read(1)
        pack.seek(-1, 2)
        pack.write(bytes((last[0] ^ 1,)))

    def load(worker: journalkit.Worker) -> Any:
        state, checkpoint = worker.load_latest() or (None, None)
        assert same(state, part(worker.rank, 1))
        return checkpoint.id if checkpoint else None

    with pytest.warns(journalkit.errors.DamagedCheckpointWarning):
        assert job.run(3, load) == ["1.1"] * 3


def test_a_run_is_another_one_at_each_start(stored: Job) -> None:
    """By an old token a worker would join those that have ended."""
    assert stored.run(1, lambda worker: worker.epoch, run="twice") == [1]
    with pytest.raises(KeyValueError, match="isn't a new one"):
        journalkit.open_worker(stored.where, rank=0, size=1, run="twice")


def test_a_rank_is_one_process(stored: Job) -> None:
    """Two that believe to be it would write into one pack."""
    with journalkit.open_worker(stored.where, rank=0, size=2, run="r"), journalkit.open_worker(
        stored.where, rank=1, size=2, run="r"
    ), pytest.raises(UsageError, match="another process has joined as rank 1"):
        journalkit.open_worker(stored.where, rank=1, size=2, run="r")


def test_what_cannot_be_is_refused(stored: Job) -> None:
    """With a word about it."""
    where = stored.where
    for wrong in ({"rank": 2}, {"rank": -1}, {"rank": True}, {"rank": 0, "size": "2"}, {"run": None}, {"patience": 0}):
        given: dict[str, Any] = {"rank": 0, "size": 2, "run": "r"} | wrong
        with pytest.raises(UsageError):
            journalkit.open_worker(where, **given)
    with journalkit.open_worker(where, rank=0, size=2, run="r") as worker:
        assert repr(worker) == f"<Worker 0 of 2 at {where}, epoch 1>"
        with pytest.raises(KeyValueError, match="rank 0 says that there are 2 workers"):
            journalkit.open_worker(where, rank=1, size=3, run="r")
        with pytest.raises(ArchiveUnavailableError, match="didn't begin within"):
            journalkit.open_worker(where, rank=1, size=2, run="another", patience=0.1)
    with pytest.raises(ClosedError):
        worker.save({})


def test_a_run_leaves_nothing_but_checkpoints(job: Job) -> None:
    """What workers told each other goes, at the latest with the next run."""

    def live(worker: journalkit.Worker) -> None:
        for step in range(4):
            worker.save(part(worker.rank, step))

    job.run(3, live, keep=journalkit.Keep(last=1), trash_period=0)
    job.run(1, lambda worker: None)
    with journalkit.open_checkpoints(job.where, trash_period=0) as checkpoints:
        checkpoints.prune()
        needed = {*checkpoints.get("1.4").manifest.packs(), names.checkpoint_key(1, 4)}
    assert job.contents() == needed


def test_an_exchange_that_is_none_is_refused(stored: Job) -> None:
    """One that has other ranks, or too few of them."""
    with pytest.raises(UsageError, match="the exchange has 1 of other ranks"):
        journalkit.open_worker(stored.where, rank=0, size=2, exchange=lambda data: [data])
    with pytest.raises(UsageError, match="the exchange has 2 of other ranks"):
        journalkit.open_worker(stored.where, rank=1, size=2, exchange=lambda data: [data, data])


def test_workers_that_are_in_different_rounds_are_told(stored: Job) -> None:
    """By an exchange that gives what was said before."""
    given: list[bytes] = []

    def exchange(data: bytes) -> list[bytes]:
        given.append(data)
        return [given[1] if len(given) > 3 else data]

    with journalkit.open_worker(stored.where, rank=0, size=1, exchange=exchange) as worker:
        assert worker.save({}).id == "1.1"
        with pytest.raises(CheckpointAbortedError, match="aren't in the same round"):
            worker.save({})
