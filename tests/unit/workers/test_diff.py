"""What differs between checkpoints of several workers, of as many of them and of more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import journalkit
from journalkit import Keyed, Shard, key_groups_of
from journalkit.checkpoint import contents
from journalkit.checkpoint.differing import Change
from tests.unit.workers.conftest import Job

ROWS = np.arange(60_000, dtype="f8").reshape(600, 100)


def part(worker: journalkit.Worker, rows: Any, keyed: dict[str, int], **besides: Any) -> dict[str, Any]:
    """Return a worker's state: its part of the rows, its keys."""
    begin, end = (rank * len(rows) // worker.size for rank in (worker.rank, worker.rank + 1))
    mine = key_groups_of(worker.rank, worker.size, 8)
    return {
        "w": Shard(rows[begin:end], rows.shape, (begin, 0)),
        "k": Keyed({key: value for key, value in keyed.items() if journalkit.key_group(key, 8) in mine}, groups=8),
        **besides,
    }


def saved(job: Job, size: int, make: Any) -> None:
    """Save what each worker makes."""
    found = job.run(size, lambda worker: worker.save(make(worker)) and None)
    assert found == [None] * size


def differences(job: Job) -> tuple[Change, ...]:
    """Return what differs between the two that there are."""
    with job.checkpoints() as checkpoints:
        newest, oldest = checkpoints
        return checkpoints.diff(oldest, newest).state


KEYS = {f"key-{number}": number for number in range(40)}


def test_as_many_are_compared_rank_by_rank(stored: Job) -> None:
    """Each place is behind the rank whose it is; parts by digest."""
    rows = ROWS.copy()
    rows[-1] += 1
    saved(stored, 2, lambda worker: part(worker, ROWS, KEYS, step=1))
    saved(stored, 2, lambda worker: part(worker, rows, {**KEYS, "key-0": -1}, step=2))
    found = {each.at: each for each in differences(stored)}
    steps = {("rank 0", "step"), ("rank 1", "step"), ("rank 1", "w")}
    [keyed] = set(found) - steps
    assert keyed[1] == "k"
    assert found.keys() >= steps
    assert found[("rank 1", "w")].before == "array float64 (300, 100) at (300, 0) of (600, 100)"
    assert found[("rank 1", "w")].differing_bytes == 240_000


def test_another_division_among_as_many_is_told(stored: Job) -> None:
    """Whose part is another one."""
    saved(stored, 2, lambda worker: part(worker, ROWS, {}))
    saved(stored, 2, lambda worker: {"w": Shard(ROWS, ROWS.shape, (0, 0)), "k": Keyed(groups=8)})
    assert [(each.at, each.differing_bytes) for each in differences(stored)] == [
        (("rank 0", "w"), 480_000), (("rank 1", "w"), 480_000),
    ]  # fmt: skip


@pytest.mark.parametrize("sizes", [(2, 3), (3, 1), (1, 2)])
def test_more_or_fewer_are_put_together_first(
    stored: Job, sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was only divided anew is the same; what changed is told once, by blocks."""
    monkeypatch.setattr(contents, "BLOCK_BYTES", 8000)
    rows = ROWS.copy()
    rows[5] += 1
    saved(stored, sizes[0], lambda worker: part(worker, ROWS, KEYS, step=1))
    saved(stored, sizes[1], lambda worker: part(worker, rows, {**KEYS, "key-0": -1}, step=2))
    found = {each.at: each for each in differences(stored)}
    assert set(found) == {("w",), ("k",), ("step",)}
    assert (found[("w",)].size_bytes, found[("w",)].differing_bytes) == (480_000, 8000)


def test_divided_anew_and_nothing_else_is_no_difference(stored: Job) -> None:
    """However many workers there are."""
    saved(stored, 2, lambda worker: part(worker, ROWS, KEYS, step=1))
    saved(stored, 3, lambda worker: part(worker, ROWS, KEYS, step=1))
    assert differences(stored) == ()


def test_an_array_of_another_shape_or_kind_isnt_read(stored: Job) -> None:
    """It differs as a whole; so does what is divided in one and isn't in the other."""
    saved(stored, 2, lambda worker: {**part(worker, ROWS, {}), "v": 1})
    saved(stored, 3, lambda worker: {**part(worker, ROWS.astype("f4"), {}), "v": Shard(ROWS, ROWS.shape, (0, 0))})
    found = {each.at: each for each in differences(stored)}
    assert found[("w",)].after == "divided float32 (600, 100)"
    assert found[("w",)].differing_bytes == found[("w",)].size_bytes == 240_000
    assert found[("v",)].before == "int"


def test_a_part_of_what_was_divided_is_no_whole_array(stored: Job) -> None:
    """One worker goes on with its own half: that isn't the array, and isn't read as one."""
    saved(stored, 2, lambda worker: part(worker, ROWS, {}))
    saved(stored, 1, lambda _worker: {"w": Shard(ROWS[:300], ROWS.shape, (0, 0)), "k": Keyed(groups=8)})
    [change] = differences(stored)
    assert change.after == "array float64 (300, 100) at (0, 0) of (600, 100)"
    assert change.differing_bytes == change.size_bytes == 240_000


def test_one_worker_is_no_rank(stored: Job) -> None:
    """Its state is the state."""
    saved(stored, 1, lambda worker: part(worker, ROWS, KEYS, step=1))
    saved(stored, 1, lambda worker: part(worker, ROWS, KEYS, step=2))
    assert [each.at for each in differences(stored)] == [("step",)]


def test_what_cant_be_put_together_is_compared_by_rank(stored: Job) -> None:
    """A value of each worker's own belongs to its rank."""
    saved(stored, 2, lambda worker: {"mine": worker.rank, "long": bytes([worker.rank]) * 70_000})
    saved(stored, 3, lambda worker: {"mine": 0, "long": bytes([worker.rank]) * 70_000})
    assert [(each.at, each.what) for each in differences(stored)] == [
        (("rank 1", "mine"), "changed"), (("rank 2",), "added"),
    ]  # fmt: skip


def test_what_one_restores_loads_with_all_its_parts(stored: Job) -> None:
    """A restore knows nothing of who gave what, and keeps it."""
    saved(stored, 2, lambda worker: part(worker, ROWS, KEYS, step=1))
    saved(stored, 2, lambda worker: part(worker, ROWS + 1, KEYS, step=2))
    with journalkit.open_checkpoints(stored.where) as operator:
        made = operator.restore(list(operator)[-1])
        assert (made.workers, made.verify()) == (2, [])
        assert not operator.diff(made.restores)

    def live(worker: journalkit.Worker) -> Any:
        loaded = worker.load_latest()
        assert loaded is not None
        return loaded[0]["step"], loaded[1].restores == made.restores, bool((loaded[0]["w"].array == ROWS[:300]).all())

    assert stored.run(2, live)[0] == (1, True, True)
