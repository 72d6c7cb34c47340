"""Outputs of several workers: seen once the checkpoint of all is there, exactly once, whoever fails and goes on."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.checkpoint.agreeing import all_done
from journalkit.checkpoint.open import open_on
from journalkit.clock import SystemClock
from journalkit.errors import ArchiveUnavailableError, CheckpointAbortedError, UnknownOutcomeError, UsageError
from journalkit.testing import SimulatedBucket
from tests.unit.workers.conftest import Job


class Notes:
    """A sink that notes what it is asked, in a list that all share; what it has to fail at it fails at once."""

    def __init__(self, rank: int, told: list[tuple[str, int, Any]], name: str = "notes") -> None:
        self.name = name
        self.fails = ""
        self._rank = rank
        self._told = told
        self._new: list[str] = []

    def add(self, word: str) -> None:
        self._new.append(word)

    def prepare(self) -> Any:
        self._note("prepare", None)
        new, self._new = self._new, []
        return new or None

    def commit(self, handle: Any) -> None:
        self._note("commit", handle)

    def recover(self, handles: Sequence[Any]) -> None:
        self._note("recover", list(handles))
        self._new = []

    def _note(self, what: str, said: Any) -> None:
        if self.fails == what:
            self.fails = ""
            raise OSError(f"{what} failed")
        self._told.append((what, self._rank, said))


def committed(told: list[tuple[str, int, Any]]) -> list[tuple[int, Any]]:
    """Return who has committed what, by worker."""
    return sorted((rank, said) for what, rank, said in told if what == "commit")


def saved_and_not_committed(job: Job, size: int) -> None:
    """Leave a checkpoint whose outputs nobody has committed: all were killed right behind the publishing."""

    def live(worker: journalkit.Worker) -> None:
        sink = Notes(worker.rank, [])
        for number in (1, 2):
            sink.add(f"{worker.rank}.{number}")
            sink.fails = "commit"
            with pytest.raises(OSError, match="commit failed"):
                worker.save({}, sinks=[sink])

    job.run(size, live)


def test_outputs_are_committed_once_all_parts_are_there(job: Job) -> None:
    """By each worker its own; the next checkpoint has nothing of them."""
    told: list[tuple[str, int, Any]] = []

    def live(worker: journalkit.Worker) -> Any:
        sink = Notes(worker.rank, told)
        assert worker.load_latest(sinks=[sink]) is None
        sink.add(f"of {worker.rank}")
        first = worker.save({}, sinks=[sink])
        second = worker.save({}, sinks=[sink])
        return [[part.prepared for part in saved.manifest.said.parts] for saved in (first, second)]

    prepared = [{"notes": [["of 0"]]}, {"notes": [["of 1"]]}]
    assert job.run(2, live) == [[prepared, [{}, {}]]] * 2
    assert committed(told) == [(0, ["of 0"]), (1, ["of 1"])]


@pytest.mark.parametrize("what", ["prepare", "commit"])
def test_a_sink_that_fails_leaves_its_outputs_to_the_next_save(job: Job, what: str) -> None:
    """Before the checkpoint there is none, for nobody; behind it the one is told, and commits again."""
    told: list[tuple[str, int, Any]] = []

    def live(worker: journalkit.Worker) -> Any:
        sink = Notes(worker.rank, told)
        sink.add(f"first of {worker.rank}")
        sink.fails = what if worker.rank == 1 else ""
        try:
            first = worker.save({}, sinks=[sink]).id
        except (OSError, CheckpointAbortedError) as error:
            first = f"{type(error).__name__}: {error}"
        sink.add(f"second of {worker.rank}")
        return first, worker.save({}, sinks=[sink]).id

    found = job.run(2, live)
    assert [second for _, second in found] == ["1.2", "1.2"]
    assert found[1][0] == f"OSError: {what} failed"
    if what == "prepare":
        assert found[0][0] == "CheckpointAbortedError: rank 1 couldn't do its part: prepare failed"
        # What wasn't prepared is still with the sink.
        assert committed(told)[2:] == [(1, ["first of 1", "second of 1"])]
    else:
        assert found[0][0] == "1.1"
        assert committed(told)[2:] == [(1, ["first of 1"]), (1, ["second of 1"])]


def test_of_a_save_whose_outcome_is_unknown_nothing_is_committed_yet(job: Job) -> None:
    """Nor given up: the next save that succeeds has it."""
    told: list[tuple[str, int, Any]] = []

    def live(worker: journalkit.Worker) -> Any:
        def lost(place: Any) -> Any:
            worker.__class__._heard_of(worker, place)
            raise UnknownOutcomeError("no reply came")

        sink = Notes(worker.rank, told)
        sink.add(f"of {worker.rank}")
        if worker.rank == 1:
            worker._heard_of = lost  # type: ignore[method-assign]
            with pytest.raises(UnknownOutcomeError):
                worker.save({}, sinks=[sink])
            del worker._heard_of
            assert not [each for each in committed(told) if each[0] == 1]
        else:
            worker.save({}, sinks=[sink])
        return worker.save({}, sinks=[sink]).id

    assert job.run(2, live) == ["1.2", "1.2"]
    assert committed(told) == [(0, ["of 0"]), (1, ["of 1"])]


@pytest.mark.parametrize(
    ("size", "shares"), [(3, {0: [0], 1: [1], 2: [2]}), (2, {0: [0, 2], 1: [1]}), (1, {0: [0, 1, 2]}),
                         (4, {0: [0], 1: [1], 2: [2], 3: []})],
)  # fmt: skip
def test_whoever_goes_on_commits_what_all_had_prepared(job: Job, size: int, shares: dict[int, list[int]]) -> None:
    """With any number of workers: each output once, those of one former worker in order; all before any throws away."""
    saved_and_not_committed(job, 3)
    told: list[tuple[str, int, Any]] = []

    def live(worker: journalkit.Worker) -> Any:
        sink = Notes(worker.rank, told)
        assert worker.load_latest(sinks=[sink]) is not None
        sink.prepare()
        return [said for what, rank, said in told if (what, rank) == ("commit", worker.rank)]

    found = job.run(size, live)
    assert found == [[[f"{former}.{number}"] for former in shares[rank] for number in (1, 2)] for rank in range(size)]
    order = [what for what, _, _ in told]
    assert order == ["commit"] * 6 + ["recover"] * size + ["prepare"] * size


def test_one_process_goes_on_from_what_several_had_prepared(stored: Job) -> None:
    """And a copy of their checkpoint takes no outputs along."""
    saved_and_not_committed(stored, 2)
    told: list[tuple[str, int, Any]] = []
    with journalkit.open_checkpoints(stored.where) as job:
        with pytest.raises(UsageError, match="outputs of 'notes': give these sinks as well"):
            job.load_latest()
        assert job.load_latest(sinks=[Notes(0, told)]) is not None
        original = job.get("latest")
        with open_on(SimulatedBucket().handle(), SystemClock()) as other:
            copy = other.copy_from(original)
            assert [part.prepared for part in copy.manifest.said.parts] == [{}, {}]
    assert told == [("recover", 0, [[f"{rank}.{number}"] for rank in range(2) for number in (1, 2)])]


def test_several_workers_go_on_from_what_one_process_had_prepared(job: Job) -> None:
    """The first of them commits it."""
    told: list[tuple[str, int, Any]] = []
    with journalkit.open_checkpoints(job.where) as alone:
        sink = Notes(0, told)
        sink.add("alone")
        sink.fails = "commit"
        with pytest.raises(OSError, match="commit failed"):
            alone.save({}, sinks=[sink])
    job.run(2, lambda worker: worker.load_latest(sinks=[Notes(worker.rank, told)]) and None)
    assert committed(told) == [(0, ["alone"])]


def test_outputs_of_sinks_that_a_worker_does_not_give_are_refused(job: Job) -> None:
    """In that worker; the others are told who it is, and all try again together."""
    saved_and_not_committed(job, 2)
    told: list[tuple[str, int, Any]] = []

    def live(worker: journalkit.Worker) -> Any:
        sink = Notes(worker.rank, told)
        for sinks in ([], [sink] if worker.rank == 0 else []):
            expected = UsageError if worker.rank == 1 or not sinks else CheckpointAbortedError
            with pytest.raises((expected, CheckpointAbortedError), match="outputs of 'notes'"):
                worker.load_latest(sinks=sinks)
        with pytest.raises((UsageError, CheckpointAbortedError), match="told apart by their names"):
            worker.save({}, sinks=[sink, sink] if worker.rank else [sink])
        found = worker.load_latest(sinks=[sink])
        assert found is not None
        return found[1].id, worker.save({}, sinks=[sink]).id

    assert job.run(2, live) == [("1.2", "2.2")] * 2
    assert [said for what, _, said in told if what == "recover"] == [[], []]


def test_a_sink_that_fails_to_go_on_lets_nobody_go_on(job: Job) -> None:
    """Whatever it fails at; then all do it again."""
    saved_and_not_committed(job, 2)
    told: list[tuple[str, int, Any]] = []

    def live(worker: journalkit.Worker) -> None:
        sink = Notes(worker.rank, told)
        for what in ("commit", "recover"):
            sink.fails = what if worker.rank == 1 else ""
            expected: Any = OSError if worker.rank == 1 else CheckpointAbortedError
            with pytest.raises(expected, match=f"{what} failed"):
                worker.load_latest(sinks=[sink])
        assert worker.load_latest(sinks=[sink]) is not None

    assert job.run(2, live) == [None, None]


def test_what_is_left_of_a_save_travels_with_one_in_the_background_too(job: Job) -> None:
    """Its state counts the inputs that made the outputs: without them a job that goes on would throw them away."""
    told: list[tuple[str, int, Any]] = []

    def live(worker: journalkit.Worker) -> Any:
        sink = Notes(worker.rank, told)
        sink.add(f"of {worker.rank}")
        sink.fails = "commit"
        with pytest.raises(OSError, match="commit failed"):
            worker.save({}, sinks=[sink])
        saved = worker.save_async({}).wait()
        assert saved is not None
        return saved.manifest.said.parts[worker.rank].prepared

    assert job.run(2, live) == [{"notes": [[f"of {rank}"]]} for rank in range(2)]
    job.run(2, lambda worker: worker.load_latest(sinks=[Notes(worker.rank, told)]) and None)
    assert committed(told) == [(0, ["of 0"]), (1, ["of 1"])]


def test_outputs_that_were_left_are_forgotten_by_who_goes_on_from_before_them(job: Job) -> None:
    """From a checkpoint without any, and without sinks: they belong to inputs that come again."""

    def live(worker: journalkit.Worker) -> Any:
        sink = Notes(worker.rank, [])
        worker.save({})
        sink.add("lost")
        with pytest.raises(CheckpointAbortedError):
            worker.save({}, step=worker.rank, sinks=[sink])
        assert worker.load_latest() is not None
        return [part.prepared for part in worker.save({}).manifest.said.parts]

    assert job.run(2, live) == [[{}, {}]] * 2


def test_workers_of_one_table_count_their_batches_apart(job: Job, tmp_path: Path) -> None:
    """By one counter the second worker's rows would be taken for those of the first, and lost."""
    path = tmp_path / "rows.db"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE rows (rank INTEGER, step INTEGER)")
    made.close()
    together = threading.Barrier(3)

    def live(worker: journalkit.Worker) -> None:
        sink = journalkit.SqlSink(lambda: sqlite3.connect(path, timeout=60), "rows", ["rank", "step"])
        try:
            worker.load_latest(sinks=[sink])
            for step in range(3):
                sink.add((worker.rank, step))
                together.wait(60)
                worker.save({}, sinks=[sink])
        finally:
            sink.close()

    assert job.run(3, live) == [None] * 3
    connection = sqlite3.connect(path)
    assert sorted(connection.execute("SELECT rank, step FROM rows")) == [(r, s) for r in range(3) for s in range(3)]
    connection.close()


def test_who_does_something_else_while_all_go_on_is_told() -> None:
    """Such as a save: one call too few was made."""
    assert all_done([{"outputs": "committed"}] * 2, "committed") == {"done": True}
    with pytest.raises(CheckpointAbortedError, match="rank 1 doesn't recover outputs"):
        all_done([{"outputs": "committed"}, {"manifest": b""}], "committed")
    with pytest.raises(CheckpointAbortedError, match="rank 1 couldn't do its part: no"):
        all_done([{"outputs": "committed"}, {"failed": "no"}], "committed")


def test_a_worker_that_cannot_reach_its_outputs_commits_them_at_the_next_save(stored: Job) -> None:
    """With files in one bucket that all write to."""
    outputs = SimulatedBucket()

    def live(worker: journalkit.Worker) -> Any:
        sink = journalkit.FilesSink(stored.where + f"-unused-{worker.rank}")
        sink._objects = outputs.handle(f"rank {worker.rank}")
        worker.load_latest(sinks=[sink])
        sink.write(f"part-{worker.rank}", b"1")
        if worker.rank == 1:
            outputs.fail("put", 1, "unavailable", key_contains="part-1")
            with pytest.raises(ArchiveUnavailableError):
                worker.save({}, sinks=[sink])
        else:
            worker.save({}, sinks=[sink])
        sink.write(f"part-{worker.rank}-2", b"2")
        return worker.save({}, sinks=[sink]).id

    assert stored.run(2, live) == ["1.2", "1.2"]
    assert outputs.contents() == {"part-0": b"1", "part-1": b"1", "part-0-2": b"2", "part-1-2": b"2"}
