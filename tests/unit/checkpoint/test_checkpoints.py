"""A job's checkpoints: what was saved is found and loaded, in the foreground and in the background."""

from __future__ import annotations

import gc
import os
import threading
import warnings
from datetime import UTC, datetime
from typing import Any

import pytest

from journalkit.checkpoint.open import open_checkpoints
from journalkit.checkpoint.pacing import Every
from journalkit.checkpoint.retention import Keep
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointNotFoundError,
    ClosedError,
    ForkedError,
    ReadOnlyError,
    StoreNotFoundError,
    UsageError,
)
from journalkit.testing import SimulatedDisk
from tests.unit.checkpoint.conftest import LONG, Place, state


def test_what_was_saved_is_loaded_with_its_offsets_and_what_else_was_said(place: Place) -> None:
    """By whoever comes next, on whatever node."""
    job = place.open()
    assert job.latest() is None
    assert job.load_latest() is None
    saved = job.save(state(1), offsets={"orders/0": 42}, metadata={"git": "abc"}, metrics={"loss": 1}, name="first")
    other = place.open("other node")
    found = other.latest()
    assert found is not None
    assert found.load() == state(1)
    assert (found.offsets, found.metadata, found.metrics) == ({"orders/0": 42}, {"git": "abc"}, {"loss": 1.0})
    assert found == other.get("first")
    assert {found, other.get("1.1")} == {found}
    assert found != saved.id
    assert (found.id, found.name, found.time) == ("1.1", "first", datetime(2026, 1, 1, tzinfo=UTC))
    assert found.size_bytes == LONG
    assert type(found.metrics["loss"]) is float
    assert other.load_latest() == (state(1), found)


def test_each_save_is_the_latest_and_the_older_ones_stay(place: Place) -> None:
    """Nobody asked for any to go."""
    job = place.open()
    for number in range(5):
        assert job.save(state(number)).id == f"1.{number + 1}"
    assert [each.load()["step"] for each in job] == [4, 3, 2, 1, 0]
    assert len(job) == 5
    assert job.get("latest").id == "1.5"


@pytest.mark.parametrize("where", ["directory", "memory://", "simulated disk"])
def test_a_directory_and_memory_are_places_too(where: str, tmp_path: Any) -> None:
    """One interface; what a place keeps is another matter."""
    target = {"directory": tmp_path / "job", "memory://": "memory://", "simulated disk": "job"}[where]
    fs = SimulatedDisk() if where == "simulated disk" else None
    if where == "memory://":
        pytest.importorskip("obstore")
    with open_checkpoints(target, fs=fs) as job:
        job.save(state(1), offsets={0: 1})
        job.save(state(2), offsets={0: 2})
        loaded = job.load_latest()
        assert loaded is not None
        assert loaded[0] == state(2)
        assert loaded[1].offsets == {0: 2}


def test_only_what_changed_is_written_again(place: Place) -> None:
    """A long value that is as it was lies where it lay."""
    job = place.open()
    job.save({"model": bytes(LONG), "step": 1})
    before = place.data()
    job.save({"model": bytes(LONG), "step": 2})
    assert {key.partition("/")[0] for key in place.data() - before} == {"manifests"}


def test_what_changes_behind_the_call_isnt_in_the_checkpoint(place: Place) -> None:
    """The job goes on at once."""
    job = place.open()
    gate = threading.Event()
    place.bucket.before = lambda _who, operation, _key: gate.wait() and None if operation == "put" else None
    changing: dict[str, Any] = {"list": [1], "model": bytearray(LONG)}
    saving = job.save_async(changing, offsets={0: 7})
    changing["list"].append(2)
    changing["model"][0] = 1
    assert not saving.done
    assert job.wait(0.01) is None
    gate.set()
    saved = saving.wait()
    assert saved is not None
    assert saved.load() == {"list": [1], "model": bytearray(LONG)}
    assert saving.progress == (LONG, LONG)
    assert job.latest() == saved


def test_at_most_one_save_is_under_way(place: Place) -> None:
    """The next one waits for it, in order."""
    job = place.open()
    for number in range(10):
        job.save_async(state(number))
    assert job.save(state(10)).id == "1.11"
    assert [each.load()["step"] for each in job] == list(range(10, -1, -1))


@pytest.mark.parametrize("told_by", ["save", "save_async", "wait", "close"])
def test_an_async_save_that_failed_is_told_once_by_whatever_comes_next(place: Place, told_by: str) -> None:
    """The latest one is as it was, and the save after the next works."""
    job = place.open()
    first = job.save(state(1))
    place.bucket.fail("put", 1, "unavailable")
    failing = job.save_async(state(2))
    failing.join()
    with pytest.raises(ArchiveUnavailableError):
        {"save": lambda: job.save(state(3)), "save_async": lambda: job.save_async(state(3)), "wait": job.wait,
         "close": job.close}[told_by]()  # fmt: skip
    if told_by != "close":
        assert job.latest() == first
        assert job.save(state(3)).load() == state(3)
    job.close()


def test_whoever_waited_for_the_failed_one_was_told(place: Place) -> None:
    """The next save has nothing more to say of it."""
    job = place.open()
    place.bucket.fail("put", 1, "unavailable")
    saving = job.save_async(state(1))
    for _ in range(2):
        with pytest.raises(ArchiveUnavailableError):
            saving.wait()
    assert job.save(state(2)).load() == state(2)


def test_what_cant_be_saved_is_refused_before_anything_is_written(place: Place) -> None:
    """With its place in the state."""
    job = place.open()
    before = place.bucket.operation_count
    for wrong, words in (({"a": [1, object()]}, r"state\['a'\]\[1\]"), ({"a": {1.5: lambda: 1}}, "state")):
        with pytest.raises(UsageError, match=words):
            job.save(wrong)
    for arguments in (
        {"offsets": [1]}, {"metrics": {"loss": "low"}}, {"metrics": {1: 1.0}}, {"metrics": {"x": True}},
        {"metrics": {str(n): 1.0 for n in range(65)}}, {"name": ""}, {"name": "latest"}, {"name": "1.2"},
        {"name": "x" * 201}, {"name": 5}, {"metadata": object()}, {"offsets": {"in": object()}},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            job.save({"a": 1}, **arguments)  # type: ignore[arg-type]
    assert place.bucket.operation_count == before
    assert job.latest() is None


def test_what_isnt_there_isnt_found(place: Place) -> None:
    """By id, by name, or at all."""
    job = place.open()
    for which in ("latest", "1.1", "good one"):
        with pytest.raises(CheckpointNotFoundError):
            job.get(which)
    job.save(state(1))
    for which in ("1.2", "01.1", "good one"):
        with pytest.raises(CheckpointNotFoundError):
            job.get(which)
    with pytest.raises(CheckpointNotFoundError):
        job.delete("1.1", "1.2")
    assert len(job) == 1


def test_of_several_of_a_name_the_newest_is_found(place: Place) -> None:
    """And all of them stay."""
    job = place.open(keep=Keep(last=1))
    for number in range(3):
        job.save(state(number), name="good")
    assert job.get("good").id == "1.3"
    assert len(job) == 3


def test_one_that_was_deleted_while_somebody_reads_it_is_told_from_a_damaged_one(place: Place) -> None:
    """The one asks for a copy of the bytes, the other for another checkpoint."""
    job = place.open(trash_period=0)
    old = place.open("reader", mode="r")
    job.save(state(1))
    found = old.get("1.1")
    job.save(state(2))
    job.delete(found)
    job.prune()
    for ask in (found.load, found.verify, lambda: found.offsets):
        with pytest.raises(CheckpointNotFoundError, match="deleted"):
            ask()


def test_reading_changes_nothing(place: Place) -> None:
    """Not a byte, and nobody is fenced."""
    job = place.open()
    job.save(state(1))
    before = place.bucket.contents()
    reader = place.open("reader", mode="r")
    assert reader.load_latest() == (state(1), reader.get("1.1"))
    assert len(reader) == 1
    for write in (lambda: reader.save(1), lambda: reader.delete("1.1"), reader.prune, lambda: reader.save_async(1)):
        with pytest.raises(ReadOnlyError):
            write()
    with pytest.raises(ReadOnlyError):
        assert reader.epoch
    assert place.bucket.contents() == before
    assert job.save(state(2)).id == "1.2"


@pytest.mark.parametrize("options", [{"mode": "r"}, {"create": False}])
def test_a_place_without_checkpoints_is_told(place: Place, options: dict[str, Any]) -> None:
    """A typing error in a path is no new job."""
    with pytest.raises(StoreNotFoundError, match="no checkpoints"):
        place.open(**options)
    assert place.bucket.contents() == {}


def test_a_store_is_no_place_for_checkpoints(tmp_path: Any) -> None:
    """Its directory is its own."""
    import journalkit

    journalkit.open(tmp_path).close()
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UsageError, match="holds a store"):
        open_checkpoints(tmp_path)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "w"}, {"writers": "many"}, {"keep": 5}, {"when": 5}, {"trash_period": -1}, {"trash_period": "1h"}],
    ids=repr,
)
def test_options_that_make_no_sense_are_refused(place: Place, wrong: dict[str, Any]) -> None:
    """Before anybody's epoch is taken."""
    with pytest.raises(UsageError):
        place.open(**wrong)
    assert place.bucket.contents() == {}


def test_a_closed_handle_refuses_and_a_childs_too(tmp_path: Any) -> None:
    """Closing waits for what is under way; a child opens for itself."""
    job = open_checkpoints(tmp_path / "job")
    job.save_async(state(1))
    child = os.fork()
    if child == 0:
        try:
            job.latest()
        except ForkedError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    job.close()
    job.close()
    with pytest.raises(ClosedError):
        job.save(state(2))
    assert "closed" in repr(job)
    with open_checkpoints(tmp_path / "job", mode="r") as reader:
        assert len(reader) == 1
        assert "mode 'r'" in repr(reader)


def test_a_with_block_that_fails_isnt_told_of_a_failed_save_instead(place: Place) -> None:
    """What went wrong first is what the caller is told."""
    job = place.open()
    place.bucket.fail("put", 1, "unavailable")
    job.save_async(state(1))
    with pytest.raises(ZeroDivisionError), job:
        raise ZeroDivisionError


def test_a_handle_that_is_due_says_so_until_it_saves(place: Place) -> None:
    """By what it was opened with."""
    job = place.open(when=Every(steps=3))
    assert [job.due() for _ in range(4)] == [False, False, True, True]
    job.save(state(1))
    assert not job.due()
    job.save_async(state(2))
    assert [job.due(steps=2), job.due()] == [False, True]
    with pytest.raises(UsageError, match="when"):
        place.open("other", mode="r").due()


def test_nothing_keeps_a_dropped_handle_alive(place: Place) -> None:
    """Nor is anything told of it at exit."""
    import weakref

    job = place.open()
    job.save(state(1))
    seen = weakref.ref(job)
    place.opened.clear()
    del job
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert seen() is None
