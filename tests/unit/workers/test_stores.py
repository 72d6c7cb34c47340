"""Stores of several workers: each its own in its part, which go back to as many workers, and are divided by nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.errors import KeyValueError
from tests.unit.workers.conftest import Job


def live(where: Path, *, same: bool = False) -> Any:
    """Return what a worker does that keeps its keys in a store of its own."""

    def begin(worker: journalkit.Worker) -> Any:
        with journalkit.open("memory://", compaction="manual") as store:
            store.update({f"key {number}": worker.rank for number in range(20)})
            store.compact()
            store.put("rank", worker.rank)
            worker.save({"db": store}, step=1)
            store.put("rank", -1)
        loaded = worker.load_latest()
        assert loaded is not None
        with loaded[0]["db"].restore(where / f"{worker.rank}-{same}", compaction="manual") as store:
            return dict(store)

    return begin


def test_each_worker_gets_its_own_store_back(job: Job, tmp_path: Path) -> None:
    """Of the same moment as all the others."""
    found = job.run(3, live(tmp_path))
    assert found == [{**{f"key {number}": rank for number in range(20)}, "rank": rank} for rank in range(3)]
    with job.checkpoints() as checkpoints:
        checkpoint = checkpoints.get("latest")
        assert checkpoint.verify() == []
        assert checkpoint.load(worker=(2, 3), lazy=True)["db"].lsn == 2


def test_another_number_of_workers_is_refused_where_stores_differ(stored: Job, tmp_path: Path) -> None:
    """Whose keys they were nobody could tell; each one's can be loaded, and merged."""
    stored.run(2, live(tmp_path))
    with stored.checkpoints() as checkpoints:
        checkpoint = checkpoints.get("latest")
        for size in (1, 3):
            with pytest.raises(KeyValueError, match=r"state\['db'\] is a store of each worker's own"):
                checkpoint.load(worker=(0, size))


def test_a_store_that_all_have_alike_goes_to_any_number(stored: Job) -> None:
    """A table of lookups that each worker has: told by digests, as all else that is the same with all."""
    with journalkit.open("memory://", compaction="manual") as store:
        store.update({number: number for number in range(20)})
        store.compact()
        view = store.view()
        stored.run(2, lambda worker: worker.save({"lookups": view, "rank": 1}, step=1))
        with stored.checkpoints() as checkpoints:
            state = checkpoints.get("latest").load(worker=(2, 3))
            assert (state["lookups"].lsn, state["rank"]) == (store.lsn, 1)
            with state["lookups"].restore("memory://", compaction="manual") as again:
                assert dict(again) == dict(store)
