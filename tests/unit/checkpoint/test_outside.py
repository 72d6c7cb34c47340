"""Saves by another process: the same bytes, the same errors, and whatever becomes of it costs a save and no more."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import journalkit
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointAbortedError,
    ClosedError,
    FencedError,
    KeyValueError,
    StorageError,
    StoreFullError,
    UnknownOutcomeError,
)
from journalkit.format import checkpoint as format_checkpoint
from journalkit.format import names
from tests.unit.checkpoint.children import CHILD, Children, KilledError
from tests.unit.checkpoint.conftest import LONG, Place, needed, state


def a_lot(number: int) -> dict[str, Any]:
    """Return a state of all kinds of long values, and of a tree that is long itself."""
    rows = np.arange(400_000, dtype="i8") + number
    return {
        **state(number), "rows": rows, "view": memoryview(bytearray(rows.tobytes()[:LONG])), "again": rows,
        "tree": list(range(30_000)), "empty": rows[:0],
    }  # fmt: skip


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Whether two of those states are the same."""
    return left.keys() == right.keys() and all(
        np.array_equal(each, right[key]) if isinstance(each, np.ndarray) else each == right[key]
        for key, each in left.items()
    )


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_another_process_writes_the_bytes_that_the_thread_would(compression: Any) -> None:
    """Packs, manifests and heads' words of them: whole saves and such as stand on others."""
    found = []
    for is_outside in (False, True):
        place = Place(seed=3)
        begin = Children(place).begin if is_outside else None
        job = place.open(compression=compression, outside=begin, threads=0)
        for number in range(4):
            saved = job.save_async(a_lot(number % 3), offsets={"in": number}, metadata=[number], metrics={"x": number})
            checkpoint = saved.wait()
            assert checkpoint is not None
            assert same(checkpoint.load(), a_lot(number % 3))
            assert saved.progress[0] == saved.progress[1] > LONG
        found.append({key: data for key, data in place.bucket.contents().items() if not key.startswith(names.HEADS)})
        assert needed(job) == place.data()
        place.end()
    assert found[0] == found[1]


def test_short_states_need_no_memory(place: Place, children: Children) -> None:
    """All of one goes with the order."""
    job = place.open(outside=children.begin)
    assert job.save_async({"step": 1}).wait().load() == {"step": 1}  # type: ignore[union-attr]
    assert job.save_async(None).wait().load() is None  # type: ignore[union-attr]


def test_one_child_does_all_saves_and_ends_with_the_handle(place: Place, children: Children) -> None:
    """It is started when the job is opened; a save by who waits for it needs none."""
    job = place.open(outside=children.begin)
    for number in range(3):
        job.save_async(state(number)).wait()
    assert job.save(state(9)).load() == state(9)
    assert job.save_async(state(10)).wait().load() == state(10)  # type: ignore[union-attr]
    (child,) = children.started
    assert not child.is_ended
    job.close()
    assert child.is_ended
    with pytest.raises(ClosedError):
        job.save_async(state(11))


def test_a_state_is_saved_as_it_was_when_it_was_captured(place: Place, children: Children) -> None:
    """What happens to it afterwards isn't in the checkpoint, and the memory isn't used again too early."""
    job = place.open(outside=children.begin)
    rows = np.zeros(400_000)
    for number in range(1, 4):
        rows[:] = number
        saving = job.save_async({"rows": rows, "long": bytearray(rows.tobytes()[:LONG])})
        rows[:] = 99
        found = saving.wait().load()  # type: ignore[union-attr]
        assert (found["rows"].min(), found["rows"].max()) == (number, number)


def operations_of_the_child(place: Place) -> int:
    """Return how many operations a child has done."""
    return sum(each.split()[1] == CHILD for each in place.bucket.history())


def test_a_child_killed_at_any_operation_costs_its_save_alone() -> None:
    """What it wrote is nobody's, the latest is what it was, and the next save has another child."""
    for killed in itertools.count(1):
        place = Place()
        children = Children(place)
        job = place.open(outside=children.begin)
        first = job.save_async(state(1)).wait()
        left = itertools.count(1)

        def kill(who: str, *_: str, left: Iterator[int] = left, killed: int = killed) -> None:
            if who == CHILD and next(left) >= killed:
                raise KilledError

        place.bucket.before = kill
        saving = job.save_async({**state(2), "more": a_lot(2)})
        saving.join()
        place.bucket.before = None
        if next(left) <= killed:
            break
        with pytest.raises(CheckpointAbortedError, match="the process that saves was killed by SIGKILL"):
            saving.wait()
        assert job.latest() == first
        assert place.data() == needed(job)
        assert job.save_async(state(3)).wait().load() == state(3)  # type: ignore[union-attr]
        assert len(children.started) == 2
        place.end()
    assert killed == 3  # pack and manifest: the base is known


def test_a_job_killed_while_its_child_writes_leaves_what_the_next_writer_sweeps(
    place: Place, children: Children
) -> None:
    """Its child may write on for a moment: nothing of it is published, and nothing of it stays."""
    old = place.open("old", outside=children.begin)
    first = old.save_async(state(1)).wait()
    took_over: list[Any] = []

    def take_over(who: str, operation: str, key: str) -> None:
        if (who, operation) == (CHILD, "put") and key.startswith(names.MANIFESTS):
            place.bucket.before = None
            took_over.append(place.open("new"))
            place.bucket.before = kill

    def kill(who: str, *_: str) -> None:
        if who == "old":
            raise KilledError

    place.bucket.before = take_over
    with pytest.raises(KilledError):
        old.save_async(state(2)).wait()
    place.bucket.before = None
    (new,) = took_over
    assert [each.id for each in new] == [first.id]  # type: ignore[union-attr]
    new.save(state(3))
    assert place.data() - needed(new) == {names.checkpoint_key(1, 2)}  # behind the sweep of who took over
    new.prune()
    assert place.data() == needed(new)


def test_a_writer_that_was_replaced_publishes_nothing_that_its_child_wrote(place: Place, children: Children) -> None:
    """It is told at its next publish."""
    old = place.open("old", outside=children.begin)
    new = place.open("new")
    with pytest.raises(FencedError):
        old.save_async(state(2)).wait()
    assert place.data() == needed(new) == set()


@pytest.mark.parametrize(("operation", "fault", "error"), [
    ("put", "unavailable", ArchiveUnavailableError), ("put", "full", StoreFullError), ("put", "refused", StorageError),
    ("put", "partial", ArchiveUnavailableError), ("create", "unavailable", ArchiveUnavailableError),
])  # fmt: skip
def test_what_the_child_meets_is_raised_as_it_came(
    place: Place, children: Children, operation: str, fault: Any, error: type[Exception]
) -> None:
    """By class and words, once; the child stays, and nothing of the failed save does."""
    job = place.open(outside=children.begin)
    first = job.save_async(state(1)).wait()
    place.bucket.fail(operation, 1, fault)
    with pytest.raises(error):
        job.save_async(state(2)).wait()
    assert job.latest() == first
    assert place.data() == needed(job)
    assert job.save_async(state(3)).wait().load() == state(3)  # type: ignore[union-attr]
    assert len(children.started) == 1


def test_a_failure_nobody_waited_for_is_told_by_the_next_save(place: Place, children: Children) -> None:
    """As with the thread."""
    job = place.open(outside=children.begin)
    place.bucket.fail("put", 1, "unavailable")
    job.save_async(state(1)).join()
    with pytest.raises(ArchiveUnavailableError):
        job.save_async(state(2))
    assert job.save_async(state(3)).wait().id == "1.2"  # type: ignore[union-attr]


def test_an_unknown_outcome_is_the_jobs_own(place: Place, children: Children) -> None:
    """The child publishes nothing, so nothing is taken back that may be there."""
    job = place.open(outside=children.begin)
    place.bucket.fail("create", 1, "lost-request", times=None)
    with pytest.raises(UnknownOutcomeError):
        job.save_async(state(1)).wait()
    assert len(place.data()) == 2


def test_a_base_deleted_meanwhile_has_all_written_anew(place: Place, children: Children) -> None:
    """The child writes twice, under two numbers, from memory that is still there."""
    job = place.open(trash_period=0, outside=children.begin)
    job.save_async({"model": bytes(LONG), "step": 1}).wait()
    janitor = place.open("janitor", mode="maintain", trash_period=0)

    def interfere(who: str, operation: str, key: str) -> None:
        if (who, operation) == ("writer", "create") and key.startswith(names.HEADS):
            place.bucket.before = None
            janitor.delete("1.1")
            janitor.prune()

    place.bucket.before = interfere
    saved = job.save_async({"model": bytes(LONG), "step": 2}).wait()
    assert saved is not None
    assert (saved.id, saved.load()) == ("1.3", {"model": bytes(LONG), "step": 2})
    assert place.data() == {names.pack_key(1, 3, 0), names.checkpoint_key(1, 3)}


def test_a_child_that_wrote_nothing_yet_reads_what_a_save_stands_on(place: Place, children: Children) -> None:
    """The second writer writes what changed, and all of it where the manifest can't be read."""
    place.open("first").save(state(1))
    job = place.open("second", outside=children.begin)
    saved = job.save_async({**state(1), "step": 2}).wait()
    assert saved is not None
    assert list(saved.manifest.packs()) == [names.pack_key(1, 1, 0)]
    third = place.open("third", outside=children.begin)
    key = names.checkpoint_key(2, 1)

    def damage(who: str, *_: str) -> None:
        if who == CHILD:
            place.bucket.before = None
            place.flip(key)

    place.bucket.before = damage
    anew = third.save_async({**state(1), "step": 3}).wait()
    assert anew is not None
    assert list(anew.manifest.packs()) == [names.pack_key(3, 1, 0)]


def test_what_can_not_be_said_is_refused_before_anything_is_written(
    place: Place, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by itself it may be; a manifest of more than it holds can't."""
    monkeypatch.setattr(format_checkpoint, "MANIFEST_BYTES_MAX", 10_000)
    job = place.open(outside=children.begin)
    before = place.data()
    with pytest.raises(KeyValueError, match="can't say that"):
        job.save_async(state(1), offsets={"long": bytes(20_000)}).wait()
    assert place.data() == before
    assert len(children.started) == 1


def test_a_state_with_a_store_is_written_by_its_own_process(
    place: Place, children: Children, store: journalkit.Store, tmp_path: Path
) -> None:
    """Nobody else can read its tables and what is in its memory; the next state goes to the other process again."""
    job = place.open(outside=children.begin)
    (child,) = children.started
    heard = list[bytes]()
    child.send = lambda data, pause, send=child.send: (heard.append(data), send(data, pause))
    saved = job.save_async({"db": store, "long": LONG * b"x"}).wait()
    assert saved is not None
    with saved.load(lazy=True)["db"].restore(tmp_path / "state") as restored:
        assert dict(restored) == dict(store)
    assert not heard
    checkpoint = job.save_async(a_lot(1)).wait()
    assert checkpoint is not None
    assert heard
    assert same(checkpoint.load(), a_lot(1))
