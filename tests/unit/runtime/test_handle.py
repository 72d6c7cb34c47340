"""Handles: closed once, in time, by whoever comes first; and the lock goes last."""

from __future__ import annotations

import copy
import errno
import gc
import pickle
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import journalkit
from journalkit.errors import (
    ClosedError,
    ForkedError,
    JournalError,
    KeyTypeError,
    LockedError,
    StorageError,
    UsageError,
)
from journalkit.fs.posix import PosixFileSystem
from journalkit.runtime import lifecycle
from journalkit.testing import SimulatedClock, SimulatedDisk

STORE = "/store"


@pytest.fixture
def disk() -> SimulatedDisk:
    """An empty disk."""
    return SimulatedDisk()


def opened(disk: Any, **options: Any) -> journalkit.Store:
    """Open the store on a disk."""
    return journalkit.open(STORE, fs=disk, **({"compaction": "manual"} | options))


def threads() -> set[str]:
    """Return the names of journalkit's threads that run."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("journalkit")}


def until_released() -> None:
    """Wait for who gives a lock back late."""
    for thread in threading.enumerate():
        if thread.name == "journalkit-closer":
            thread.join(10)


def test_closing_is_idempotent_in_every_way(disk: SimulatedDisk) -> None:
    """By a with block, by hand, by many threads at once."""
    store = opened(disk, compaction="thread", sync="interval")
    assert threads() == {"journalkit-compactor", "journalkit-syncer"}
    store["a"] = 1
    closers = [threading.Thread(target=store.close) for _ in range(4)]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join()
    assert store.closed
    assert threads() == set()
    with opened(disk) as again:
        assert again == {"a": 1}
        again.close()
    with pytest.raises(ClosedError):
        again.__enter__()
    assert store.lsn == 1
    assert "closed" in repr(store)


def test_who_comes_second_waits_for_the_first(disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It returned at once, and its caller met the lock of the store that it had closed."""
    store = opened(disk)
    began, go_on = threading.Event(), threading.Event()
    close = store._opened.log.close  # type: ignore[union-attr]

    def slow() -> None:
        began.set()
        go_on.wait(10)
        close()

    monkeypatch.setattr(store._opened.log, "close", slow)  # type: ignore[union-attr]
    first = threading.Thread(target=store.close)
    first.start()
    began.wait(10)
    threading.Timer(0.05, go_on.set).start()
    store.close()
    opened(disk).close()
    first.join()


def test_what_was_visible_is_durable_after_a_close(disk: SimulatedDisk) -> None:
    """Under any sync."""
    with opened(disk, sync="never") as store:
        store["a"] = 1
        assert store.durable_lsn == 0
    with opened(disk.crash("none")) as store:
        assert store == {"a": 1}


def test_a_tail_that_was_lost_before_is_told_at_close(disk: SimulatedDisk) -> None:
    """The syncer had only logged it, and the with block ended as if all were well."""
    store = opened(disk, sync="never")
    store["a"] = 1
    disk.fail("sync_data", 1, errno.EIO)
    with pytest.raises(StorageError):
        store.sync()
    assert store["a"] == 1
    with pytest.raises(StorageError, match="could not be synced"):
        store.close()
    assert store.closed
    store.close()
    opened(disk.process_crash()).close()


def test_a_log_that_failed_without_a_loss_closes_quietly(disk: SimulatedDisk) -> None:
    """Its writer was told that the record may be lost; there is nothing new to tell."""
    store = opened(disk)
    store["a"] = 1
    disk.fail("sync_data", 1, errno.EIO)
    with pytest.raises(StorageError):
        store["b"] = 2
    store.close()


def test_a_seal_that_fails_closes_all_the_same(disk: SimulatedDisk) -> None:
    """And the lock is free at once."""
    store = opened(disk)
    store["a"] = 1
    disk.fail("sync_data", 1, errno.EIO)
    with pytest.raises(StorageError, match="sealed"):
        store.close()
    assert store.closed
    with opened(disk) as again:
        assert again == {"a": 1}


class Hanging(SimulatedDisk):
    """A disk whose fsyncs of segments return when it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs, self.hung, self.go_on = False, threading.Event(), threading.Event()

    def create(self, path: str) -> Any:
        return self._hanging(super().create(path))

    def open_write(self, path: str) -> Any:
        return self._hanging(super().open_write(path))

    def _hanging(self, file: Any) -> Any:
        sync_data = file.sync_data

        def slow() -> None:
            if self.hangs:
                self.hung.set()
                self.go_on.wait(20)
            sync_data()

        file.sync_data = slow
        return file


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """A disk that hangs when asked, and is let go at the end."""
    disk = Hanging()
    yield disk
    disk.go_on.set()


def test_closing_does_not_wait_for_a_disk_that_hangs_and_keeps_the_lock_until_it_returns(hanging: Hanging) -> None:
    """A write of ours must not land behind the back of the next owner."""
    store = opened(hanging, compaction="thread")
    store["a"] = 1
    hanging.hangs = True
    outcome: list[Any] = []

    def write() -> None:
        try:
            outcome.append(store.put("b", 2))
        except JournalError as error:
            outcome.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    assert hanging.hung.wait(10)
    began_s = time.monotonic()
    with pytest.raises(StorageError, match="hang"):
        store.close()
    assert time.monotonic() - began_s < 1.0
    with pytest.raises(LockedError):
        opened(hanging)
    assert store.closed
    store.close()
    hanging.hangs = False
    hanging.go_on.set()
    writer.join(10)
    assert len(outcome) == 1
    until_released()
    with opened(hanging) as again:
        assert again["a"] == 1
        if not isinstance(outcome[0], JournalError):
            assert again["b"] == 2


def test_closing_is_quick_while_a_fold_hangs(disk: SimulatedDisk) -> None:
    """Its table is never published, whatever becomes of it."""
    store = opened(disk)
    store.update({str(number): "v" * 100 for number in range(100)})
    began, pace, outcome = threading.Event(), threading.Event(), []
    compactor = store._engine.writing.compactor  # type: ignore[union-attr]
    compactor._pace = lambda: began.set() or (pace.wait(20) and None)  # type: ignore[func-returns-value,method-assign]

    def fold() -> None:
        try:
            store.compact()
        except ClosedError as error:
            outcome.append(error)

    folder = threading.Thread(target=fold)
    folder.start()
    assert began.wait(10)
    began_s = time.monotonic()
    store.close()
    assert time.monotonic() - began_s < 1.0
    until_released()
    with opened(disk) as again:
        pace.set()
        folder.join(10)
        again["new"] = 1
        again.compact()
        assert len(again) == 101
        assert len(outcome) == 1


def test_a_store_that_is_dropped_is_closed_with_a_warning(disk: SimulatedDisk) -> None:
    """Its threads end, its lock is free, and what it held is durable."""
    store = opened(disk, compaction="thread", sync="interval", sync_interval_ms=1000)
    store.put("a", 1, sync="never")
    gone = weakref.ref(store)
    with pytest.warns(ResourceWarning, match=r"LSN 1.* was not closed"):  # noqa: PT031 - both make it go
        del store
        gc.collect()
    assert gone() is None
    assert threads() == set()
    with opened(disk.crash("none")) as again:
        assert again == {"a": 1}
    opened(disk).close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_is_closed_even_if_the_warning_is_an_error(disk: SimulatedDisk) -> None:
    """As in every test run with -W error: the lock was kept then."""
    store = opened(disk)
    store["a"] = 1
    del store
    gc.collect()
    opened(disk).close()


def test_a_handle_of_which_only_iterators_are_left_is_dropped(disk: SimulatedDisk) -> None:
    """They hold what they need and not the store."""
    store = opened(disk)
    store["a"] = 1
    scan, view = store.scan(), store.view()
    with pytest.warns(ResourceWarning):  # noqa: PT031 - both make it go
        del store
        gc.collect()
    assert list(scan) == list(view.items()) == [("a", 1)]


@pytest.mark.parametrize("attempt", [copy.copy, copy.deepcopy, pickle.dumps], ids=["copy", "deepcopy", "pickle"])
def test_an_open_handle_is_not_copied(disk: SimulatedDisk, attempt: Callable[[Any], Any]) -> None:
    """Two would share one log, and the first to be collected closed it under the other."""
    with opened(disk) as store, journalkit.open_journal("/journal", fs=disk) as journal:
        for handle in (store, journal):
            with pytest.raises(KeyTypeError, match="pass its path"):
                attempt(handle)
        store["a"] = 1
        journal.append(1)


def test_a_signal_handler_that_closes_in_the_middle_of_a_write_costs_that_write_only(disk: SimulatedDisk) -> None:
    """The handler's thread is the one that writes: it would wait for itself."""
    store = opened(disk)
    store["before"] = 1
    refused: list[UsageError] = []

    class Interrupting(SimulatedClock):
        def wall_us(self) -> int:
            if not refused:
                with pytest.raises(UsageError) as caught:
                    store.close()
                refused.append(caught.value)
            return super().wall_us()

    store._opened.log._writer._wall_us = Interrupting().wall_us  # type: ignore[union-attr]
    with pytest.raises(StorageError):
        store["a"] = 1
    assert len(refused) == 1
    assert store.closed
    until_released()
    with opened(disk) as again:
        assert again == {"before": 1}


def test_an_error_at_exit_does_not_keep_the_others_open(disk: SimulatedDisk, caplog: pytest.LogCaptureFixture) -> None:
    """The first that failed ended the hook."""
    stores = [journalkit.open(f"/{name}", fs=disk, compaction="manual", sync="never") for name in "abc"]
    for store in stores:
        store["k"] = 1
    disk.fail("sync_data", 1, errno.EIO)
    lifecycle._at_exit()
    assert all(store.closed for store in stores)
    assert caplog.text.count("not closed properly") == 1


def test_one_error_that_many_callers_get_does_not_grow(disk: SimulatedDisk) -> None:
    """Each raise added its frames, and what those hold, to the one before."""
    store = opened(disk)
    store.close()
    depths = set()
    for _ in range(5):
        with pytest.raises(ClosedError) as caught:
            store["a"]
        depths.add(len(caught.traceback))
    assert len(depths) == 1


def test_the_lock_is_the_process_own_on_a_real_disk(tmp_path: Any) -> None:
    """And free as soon as close returns, with folds under way."""
    for number in range(5):
        with journalkit.open(tmp_path / "s", fold_bytes_min=1000, fold_ratio=0, fs=PosixFileSystem()) as store:
            for key in range(200):
                store.put(key, number, sync="never")
    with journalkit.open(tmp_path / "s") as store:
        assert set(store.values()) == {4}


def test_a_handle_that_is_forbidden_refuses_and_is_closed_by_nobody(disk: SimulatedDisk) -> None:
    """In a child: the parent's lock and log are not ours to end."""
    store = opened(disk)
    store["a"] = 1
    count = disk.operation_count
    store.forbid()
    for attempt in (lambda: store["a"], lambda: store.put("a", 1), lambda: store.view(), lambda: store.__enter__()):
        with pytest.raises(ForkedError, match="a child opens it for itself"):
            attempt()
    store.close()
    assert store.closed
    assert disk.operation_count == count
    store._refusal = None
    store.close()


def test_forking_forbids_what_is_open_and_forgets_it(disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the child opens later is its own."""
    monkeypatch.setattr(lifecycle, "_open", weakref.WeakValueDictionary())
    monkeypatch.setattr(lifecycle, "_forked_from", [])
    store = opened(disk)
    assert not lifecycle.was_forked()
    lifecycle._after_in_child()
    assert lifecycle.was_forked()
    assert len(lifecycle._open) == 0
    with pytest.raises(ForkedError):
        store["a"]
    with journalkit.open("/other", fs=disk) as other:
        other["a"] = 1
        other.compact()
        assert other == {"a": 1}
    store._refusal = None
    store.close()
