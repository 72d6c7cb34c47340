"""What stays, what goes, and what it costs when there are many."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

from journalkit.checkpoint.retention import Best, Keep
from journalkit.errors import CorruptionError, UnknownOutcomeError, UsageError
from journalkit.format import names
from tests.unit.checkpoint.conftest import LONG, Place, needed, state


def test_a_save_lets_go_what_needn_t_stay(place: Place) -> None:
    """What has a name stays, and the best; their bytes go after the trash period."""
    job = place.open(keep=Keep(last=2, best=Best("loss")), trash_period=60)
    for number, loss in enumerate([5, 1, 4, 3, 2, 6]):
        job.save(state(number), metrics={"loss": loss}, name="before the change" if number == 2 else None)
    assert [each.load()["step"] for each in job] == [5, 4, 2, 1]
    assert len(place.data()) == 12
    place.clock.advance(61)
    job.save(state(6))
    assert [each.load()["step"] for each in job] == [6, 5, 2, 1]
    assert len(place.data()) == 10
    assert job.get("before the change").load()["step"] == 2


def test_a_jump_of_the_clock_lets_few_go(place: Place) -> None:
    """All would be too old by the new clock; the time to notice it is left."""
    job = place.open(keep=Keep(last=2, every={3600: 10 * 3600}))
    for number in range(10):
        place.clock.advance(3600)
        job.save(state(number))
    place.clock.jump_wall(365 * 86400)
    job.save(state(10))
    assert len(job) == 9


@pytest.mark.parametrize("period", [0, 60])
def test_a_dry_run_tells_what_a_prune_does(place: Place, period: float) -> None:
    """To the byte, and changes nothing."""
    job = place.open(trash_period=period)
    for number in range(6):
        job.save(state(number))
    job.delete("1.3")
    place.clock.advance(61)
    before = place.bucket.contents()
    told = job.prune(Keep(last=2), dry_run=True)
    assert place.bucket.contents() == before
    assert [entry.save for entry in told.leaving] == [1, 2, 4]
    assert [entry.save for entry in told.forgotten] == ([3, 1, 2, 4] if period == 0 else [3])
    done = job.prune(Keep(last=2))
    assert (done.leaving, done.objects, done.size_bytes) == (told.leaving, told.objects, told.size_bytes)
    assert sorted(entry.save for entry in done.forgotten) == sorted(entry.save for entry in told.forgotten)
    assert [each.save for each in job] == [6, 5]
    assert len(place.data()) == (4 if period == 0 else 10)


def test_more_than_the_trash_holds_leave_one_trash_after_the_other(place: Place) -> None:
    """A head names what is in the trash, and can't name any number; nobody's save fails for that."""
    job = place.open(trash_period=60)
    for _ in range(1205):
        job.save(1)
    with pytest.raises(UsageError, match="room for 500"):
        job.delete(*[each.id for each in job][:501])
    assert len(job) == 1205
    told = job.prune(Keep(last=5), dry_run=True)
    pruned = job.prune(Keep(last=5))
    assert (len(pruned.leaving), pruned.remaining, len(job)) == (500, 700, 705)
    assert told == pruned
    assert job.prune(Keep(last=5)).remaining == 700
    assert job.save(2).load() == 2
    place.clock.advance(60)
    assert job.prune(Keep(last=5)).remaining == 201
    janitor = place.open("janitor", mode="maintain", trash_period=0)
    done = janitor.prune(Keep(last=5))
    assert (done.remaining, len(job)) == (0, 5)
    assert {key for key in place.data() if not key.startswith(names.PAGES)} == needed(job)


def test_a_save_that_was_published_late_keeps_what_it_stands_on(place: Place) -> None:
    """Nobody knew whether it was there; what it shares with others that go stays."""
    job = place.open(trash_period=0, keep=Keep(last=1))
    shared = Random(1).randbytes(LONG)
    job.save({"shared": shared, "step": 1})
    place.bucket.fail("create", 1, "lost-reply", times=None)
    place.bucket.fail("list", 1, "unavailable", times=None)
    with pytest.raises(UnknownOutcomeError):
        job.save({"shared": shared, "step": 2})
    place.bucket.mend()
    for step in range(3, 6):
        job.save({"step": step, "other": Random(step).randbytes(LONG)})
    assert all(each.verify() == [] for each in job)


def test_usage_tells_what_would_be_free(place: Place) -> None:
    """What two share is nobody's own."""
    job = place.open()
    job.save({"model": bytes(LONG)})
    job.save({"model": bytes(LONG), "more": b"m" * LONG})
    newest, oldest = job.usage()
    assert (newest.checkpoint.id, oldest.checkpoint.id) == ("1.2", "1.1")
    assert (newest.total_bytes, oldest.total_bytes) == (2 * LONG, LONG)
    assert (newest.own_bytes, oldest.own_bytes) == (LONG + 64, 0)


def test_the_latest_and_a_save_cost_the_same_with_many_checkpoints(place: Place) -> None:
    """In requests: with ten, with hundreds, of which most are in pages."""
    job = place.open()
    costs = []
    for upto in (10, 400):
        while len(job) < upto:
            job.save({"step": 1})
        before = place.bucket.operation_count
        job.save({"step": 2})
        between = place.bucket.operation_count
        job.latest()
        costs.append((between - before, place.bucket.operation_count - between))
    assert costs[0] == costs[1]
    assert sum(costs[0]) < 12
    opened = place.bucket.operation_count
    place.open("next").latest()
    assert place.bucket.operation_count - opened < 30


# -- copies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_copy_needs_nothing_of_where_it_came_from(place: Place, compression: Any) -> None:
    """Though the original lies in several packs, compressed, and has one that others share."""
    source = place.open(compression=compression)
    array = np.arange(1_000_000, dtype=np.float32)
    for number in range(3):
        array[number * 300_000] = -1
        source.save({**state(number), "array": array, "zeros": np.zeros(800_000)}, offsets={0: number}, name="a name")
    other = Place(seed=3)
    target = other.open()
    copied = target.copy_from(source.get("1.3"))
    assert (copied.id, copied.name, copied.time) == ("1.1", "a name", source.get("1.3").time)
    place.bucket.handle().delete(*place.data())
    loaded = copied.load()
    assert np.array_equal(loaded["array"], array)
    assert (loaded["step"], copied.offsets) == (2, {0: 2})
    assert copied.verify() == []
    assert other.data() == needed(target) == {names.pack_key(1, 1, 0), names.checkpoint_key(1, 1)}


def test_a_second_copy_writes_what_the_first_didnt(place: Place) -> None:
    """A copy of each checkpoint of a job, one after the other, takes the room that they take there."""
    source = place.open()
    other = Place(seed=3)
    target = other.open()
    shared = Random(1).randbytes(LONG)
    sizes = []
    for number in range(3):
        source.save({"shared": shared, "own": Random(number).randbytes(LONG)})
        before = sum(map(len, other.bucket.contents().values()))
        target.copy_from(source.get("latest"), name=f"copy {number}")
        sizes.append(sum(map(len, other.bucket.contents().values())) - before)
    assert sizes[0] > 2 * LONG
    assert max(sizes[1:]) < 1.1 * LONG
    assert [each.name for each in target] == ["copy 2", "copy 1", "copy 0"]
    assert all(each.verify() == [] for each in target)


def test_a_damaged_original_isnt_copied(place: Place) -> None:
    """Each piece is checked on its way; nothing is published, and nothing left."""
    source = place.open()
    source.save(state(1))
    place.flip(names.pack_key(1, 1, 0))
    other = Place(seed=3)
    target = other.open()
    with pytest.raises(CorruptionError):
        target.copy_from(source.get("1.1"))
    assert target.latest() is None
    assert other.data() == set()


@pytest.mark.slow
def test_ten_thousand_checkpoints_cost_no_more_than_ten(place: Place) -> None:
    """Requests and bytes of a save, of the latest, of a page of the list; while two in three are let go again."""
    keep = Keep(last=10, every={2: 10**9})
    job = place.open(keep=keep, trash_period=5)
    costs = {}
    for upto in (10, 10_000):
        while job.save({"step": 1}).save < upto:
            place.clock.advance(0.7)
        requests = []
        for ask in (lambda: job.save({"step": 2}), job.latest, lambda: next(iter(job))):
            before = place.bucket.operation_count
            ask()
            requests.append(place.bucket.operation_count - before)
        newest = max(key for key in place.bucket.contents() if key.startswith(names.HEADS))
        costs[upto] = requests, len(place.bucket.contents()[newest])
    assert max(costs[10_000][0][1:]) <= max(costs[10][0][1:])
    # A save sweeps what is due beside it, with a head of its own.
    assert costs[10_000][0][0] <= costs[10][0][0] + 12
    assert costs[10_000][1] < 60_000
    assert 3000 < len(job) < 4000
