"""Sync modes: what is durable when, and who sees to it."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import journalkit
from journalkit.errors import StorageError
from journalkit.runtime.syncer import Syncer
from journalkit.testing import SimulatedDisk

STORE = "/store"


@pytest.fixture
def disk() -> SimulatedDisk:
    """An empty disk."""
    return SimulatedDisk()


@pytest.fixture
def store(disk: SimulatedDisk) -> Iterator[journalkit.Store]:
    """A store that syncs when told."""
    with journalkit.open(STORE, fs=disk, sync="never", compaction="manual") as store:
        yield store


def survivors(disk: SimulatedDisk) -> dict[Any, Any]:
    """Return what a power cut now would leave at least."""
    with journalkit.open(STORE, fs=disk.crash("none"), mode="r") as left:
        return dict(left)


def test_each_write_may_say_what_its_acknowledgement_means(disk: SimulatedDisk, store: journalkit.Store) -> None:
    """A durable one makes everything before it durable too."""
    assert store.put("a", 1) == 1
    assert (store.lsn, store.durable_lsn, survivors(disk)) == (1, 0, {})
    store.put("b", 2, sync="always")
    assert (store.lsn, store.durable_lsn, survivors(disk)) == (2, 2, {"a": 1, "b": 2})
    store.delete("a", sync="never")
    with store.transaction(sync="always") as tx:
        tx["c"] = 3
    assert store.durable_lsn == 4
    batch = journalkit.Batch()
    batch.put("d", 4)
    store.write(batch, sync="always")
    assert survivors(disk) == {"b": 2, "c": 3, "d": 4}


def test_sync_makes_everything_durable_and_says_how_far(disk: SimulatedDisk, store: journalkit.Store) -> None:
    """With nothing to do it does nothing."""
    assert store.sync() == 0
    store["a"] = 1
    store["b"] = 2
    syncs = store.statistics().syncs
    assert store.sync() == store.durable_lsn == 2
    assert store.sync() == 2
    assert store.statistics().syncs == syncs + 1
    assert survivors(disk) == {"a": 1, "b": 2}


@pytest.mark.parametrize("by_default", [True, False])
def test_an_interval_holds(disk: SimulatedDisk, by_default: bool) -> None:
    """Asked for by the store or by one write; nobody else has to do anything."""
    sync: Any = "interval" if by_default else "never"
    with journalkit.open(STORE, fs=disk, sync=sync, sync_interval_ms=20, compaction="manual") as store:
        for number in range(3):
            store.put(number, number, sync=None if by_default else "interval")
            deadline_s = time.monotonic() + 5
            while store.durable_lsn < number + 1 and time.monotonic() < deadline_s:
                time.sleep(0.001)
            assert store.durable_lsn == number + 1
            assert survivors(disk) == {key: key for key in range(number + 1)}
        store.put("x", 1, sync="interval")
        assert len(store._backgrounds) == 1


def test_the_syncer_syncs_only_what_needs_it(disk: SimulatedDisk, store: journalkit.Store) -> None:
    """A store that rests isn't synced ten times a second."""
    syncer = Syncer(store._opened.log, 0.25)  # type: ignore[union-attr]
    assert syncer.step() == 0.25
    assert store.statistics().syncs == 0
    store["a"] = 1
    syncer.step()
    syncer.step()
    assert (store.statistics().syncs, store.durable_lsn) == (1, 1)


def test_what_the_syncer_could_not_sync_is_told_to_the_next_writer(
    disk: SimulatedDisk, store: journalkit.Store, caplog: pytest.LogCaptureFixture
) -> None:
    """And at close; once in the log, not with every step."""
    syncer = Syncer(store._opened.log, 0.25)  # type: ignore[union-attr]
    store["a"] = 1
    disk.fail("sync_data", 1, errno.EIO)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            syncer.step()
    assert caplog.text.count("could not be synced") == 2  # the sentence, and its reason
    with pytest.raises(StorageError):
        store["b"] = 2
    assert store == {"a": 1}
    with pytest.raises(StorageError):
        store.close()


def test_a_closed_log_is_nothing_to_tell(
    disk: SimulatedDisk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread may be one step behind the close."""
    store = journalkit.open(STORE, fs=disk, sync="never", compaction="manual")
    store["a"] = 1
    log = store._opened.log  # type: ignore[union-attr]
    syncer = Syncer(log, 0.25)
    store.close()
    monkeypatch.setattr(type(log), "durable_lsn", 0)
    monkeypatch.setattr(type(log), "failure", None)
    assert syncer.step() == 0.25
    assert caplog.text == ""


def test_a_sync_asked_for_at_the_moment_of_closing_starts_no_thread(disk: SimulatedDisk) -> None:
    """It would run for ever on a closed log."""
    store = journalkit.open(STORE, fs=disk, sync="never", compaction="manual")
    store.close()
    with pytest.raises(journalkit.errors.ClosedError):
        store._start_syncer()
    assert store._backgrounds == []


def test_two_who_need_a_syncer_at_once_start_one(disk: SimulatedDisk, store: journalkit.Store) -> None:
    """The second looks again once the first is done."""
    began = threading.Event()

    def second() -> None:
        began.set()
        store.put("a", 1, sync="interval")

    thread = threading.Thread(target=second)
    with store._guard:
        thread.start()
        began.wait(10)
        time.sleep(0.05)
        store._start_syncer()
    thread.join(10)
    assert len(store._backgrounds) == 1
