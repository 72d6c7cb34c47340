"""The compactor: when it folds, what it leaves behind, and how it gives up."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import pytest

import journalkit
from journalkit.errors import ClosedError, FencedError, StorageError, StoreFullError
from journalkit.store import compactor as module
from journalkit.store import folding
from journalkit.store.compactor import Compactor

Run = Callable[[Callable[[], Any]], Any]


class Bench(Protocol):
    disk: Any
    clock: Any

    def open(self, **options: Any) -> journalkit.Store: ...
    def compactor(self, store: journalkit.Store) -> Compactor: ...
    def names(self, ending: str) -> list[str]: ...


def test_a_fold_keeps_the_state_and_prunes_the_log(bench: Bench) -> None:
    """Deleted keys are gone, live ones in one table, and only the log behind it is left."""
    store = bench.open(keep_snapshots=1)
    store.update({"a": 1, "b": 2, "c": 3})
    del store["b"]
    store.compact()
    assert (store.snapshot_lsn, store.pruned_lsn, store.durable_lsn, store.lsn) == (2, 2, 2, 2)
    assert store == {"a": 1, "c": 3}
    store["d"] = 4
    statistics = store.statistics()
    assert (statistics.folds, statistics.fold_failures, statistics.snapshots, statistics.segments) == (1, 0, 1, 1)
    assert (statistics.memtables, statistics.commits, statistics.emergencies) == (1, 3, 0)
    assert statistics.snapshot_bytes == len(bench.disk.read_bytes(f"/store/{bench.names('.jkt')[0]}"))
    assert len(bench.names(".jks")) == 1
    store.close()
    reopened = bench.open()
    assert reopened == {"a": 1, "c": 3, "d": 4}
    assert reopened.recovery_report.records_replayed == 1


def test_folding_what_is_folded_already_does_nothing(bench: Bench, store: journalkit.Store) -> None:
    """Neither an empty store nor one that rests gets a table each time."""
    store.compact()
    assert (bench.names(".jkt"), store.statistics().folds) == ([], 0)
    store["a"] = 1
    store.compact()
    store.compact()
    assert (len(bench.names(".jkt")), store.statistics().folds) == (1, 1)


def test_as_many_snapshots_are_kept_as_were_asked_for_with_their_log(bench: Bench) -> None:
    """And each file that is there is named by the manifest."""
    store = bench.open(keep_snapshots=3)
    for number in range(6):
        store[number] = number
        store.compact()
    assert (store.statistics().snapshots, len(bench.names(".jkt")), store.pruned_lsn) == (3, 3, 4)
    assert len(bench.names(".jks")) == 3
    store.close()
    with bench.open(keep_snapshots=1) as store:
        store["x"] = 1
        store.compact()
        assert (store.statistics().snapshots, len(bench.names(".jkt")), store.pruned_lsn) == (1, 1, 7)


def test_undurable_records_are_durable_once_they_are_folded(bench: Bench) -> None:
    """A snapshot ahead of its log would be a gap after a power cut."""
    store = bench.open(sync="never")
    store["a"] = 1
    assert store.durable_lsn == 0
    store.compact()
    assert store.durable_lsn == 1
    bench.disk = bench.disk.crash("none")
    assert bench.open(mode="r") == {"a": 1}


# When


def due(bench: Bench, store: journalkit.Store) -> str:
    """Return why the compactor would fold now."""
    return bench.compactor(store).due()


def test_it_is_due_by_the_bytes_of_the_log(bench: Bench) -> None:
    """However large the snapshot is: a fold costs what changed."""
    store = bench.open(fold_bytes_min=1000)
    store["a"] = b"x" * 900
    assert due(bench, store) == ""
    store["b"] = b"x" * 200
    assert due(bench, store) == "log bytes"
    bench.compactor(store).step()
    assert (due(bench, store), store.snapshot_lsn) == ("", 2)
    store["c"] = b"x" * 900
    assert due(bench, store) == ""
    store["c"] = b"x" * 200
    assert due(bench, store) == "log bytes"


def test_it_is_due_by_the_time_that_a_replay_would_take(bench: Bench) -> None:
    """A restart takes no longer than the user allows, as far as is known."""
    store = bench.open(max_recovery=0.001)
    store["a"] = b"x" * int(module.REPLAY_BYTES_PER_S * 0.0009)
    assert due(bench, store) == ""
    store["a"] = b"x" * int(module.REPLAY_BYTES_PER_S * 0.0002)
    assert due(bench, store) == "replay time"


def test_it_learns_how_fast_this_machine_replays(bench: Bench) -> None:
    """From an open that had something to replay."""
    with bench.open() as store:
        store["a"] = b"x" * 5_000_000
    monotonic = bench.clock.monotonic_s
    bench.clock.monotonic_s = lambda: bench.clock.advance(0.5) or monotonic()
    store = bench.open(max_recovery=0.5)
    bench.clock.monotonic_s = monotonic
    assert due(bench, store) == "replay time"


def test_it_is_due_by_age(bench: Bench) -> None:
    """Of the oldest record that isn't in a snapshot, by the clock that never jumps."""
    store = bench.open(max_age=100)
    bench.clock.advance(1000)
    assert due(bench, store) == ""
    store["a"] = 1
    bench.clock.advance(99)
    bench.clock.jump_wall(10_000)
    store["b"] = 1
    assert due(bench, store) == ""
    bench.clock.advance(1)
    assert due(bench, store) == "age"
    bench.compactor(store).step()
    assert (due(bench, store), store.snapshot_lsn) == ("", 2)
    bench.clock.advance(1000)
    assert due(bench, store) == ""
    store["a"] = 2
    store.close()
    store = bench.open(max_age=100)
    bench.clock.advance(100)
    assert due(bench, store) == "age"


def test_it_is_due_by_segments_but_not_for_those_that_an_older_snapshot_keeps(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those stay however often it folds: it folded again for each record that came."""
    monkeypatch.setattr(module, "SEGMENTS_MAX", 4)
    store = bench.open(segment_bytes_max=4096)
    for number in range(20):
        store[number] = b"x" * 1000
        if due(bench, store):
            break
    assert due(bench, store) == "segments"
    bench.compactor(store).step()
    store["first"] = 1
    store.compact()
    for number in range(20):
        store[number] = b"x" * 1000
        bench.compactor(store).step()
    folds = store.statistics().folds
    assert 2 <= folds <= 4
    store["more"] = 1
    assert due(bench, store) == ""


def test_it_prepares_the_next_segment_ahead_of_the_rotation(bench: Bench) -> None:
    """So that no put has to wait for a file to be made and named."""
    store = bench.open(segment_bytes_max=4096)
    store["a"] = b"x" * 2500
    assert len(bench.names(".jks")) == 1
    bench.compactor(store).step()
    assert len(bench.names(".jks")) == 2
    manifests = sum("rename" in line for line in bench.disk.history())
    store["b"] = b"x" * 2500
    store["c"] = 1
    assert sum("rename" in line for line in bench.disk.history()) == manifests
    assert len(bench.names(".jks")) == 2


# How it fails


def test_it_backs_off_after_a_failure_and_recovers(bench: Bench) -> None:
    """Longer each time; statistics tell why, until a fold works."""
    store = bench.open(max_age=1)
    store["a"] = 1
    bench.clock.advance(1)
    compactor = bench.compactor(store)
    bench.disk.fail("create", 1, 5, times=3, path_contains=".jkt")
    waits = []
    for _ in range(3):
        failures = store.statistics().fold_failures
        compactor.step()
        assert store.statistics().fold_failures == failures + 1
        assert "a fold failed" in store.statistics().last_fold_error
        waits.append(0.0)
        while True:
            bench.clock.advance(0.5)
            waits[-1] += 0.5
            if bench.clock.monotonic_s() >= compactor._not_before_s:
                break
            assert compactor.step() == module.LOOK_AGAIN_S
            assert store.statistics().fold_failures == failures + 1
    assert waits == [1.0, 2.0, 4.0]
    compactor.step()
    statistics = store.statistics()
    assert (statistics.folds, statistics.last_fold_error, store.snapshot_lsn) == (1, "", 1)


def test_an_error_that_nobody_thought_of_does_not_end_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread died, and the log grew for ever after."""
    store = bench.open(max_age=1)
    store["a"] = 1
    bench.clock.advance(1)
    with monkeypatch.context() as broken:
        broken.setattr(folding, "fold", lambda *_, **__: 1 // 0)
        bench.compactor(store).step()
    assert "zero" in store.statistics().last_fold_error
    bench.clock.advance(100)
    bench.compactor(store).step()
    assert store.snapshot_lsn == 1


def test_a_closed_log_is_no_failure(bench: Bench) -> None:
    """The thread may be one step behind the close."""
    store = bench.open(max_age=1)
    store["a"] = 1
    bench.clock.advance(1)
    store.close()
    compactor = bench.compactor(store)
    assert compactor.step() == module.LOOK_AGAIN_S
    assert compactor.statistics().failures == 0
    with pytest.raises(ClosedError):
        compactor.compact()


def test_a_fenced_writer_folds_nothing_and_leaves_no_table(bench: Bench) -> None:
    """Somebody took the store over where locks don't hold."""
    store = bench.open()
    store["a"] = 1
    manifest = bench.disk.read_bytes("/store/MANIFEST")
    with journalkit.open("/store", fs=bench.disk.process_crash(), clock=bench.clock) as other:
        taken = other._engine.writing.opened.keeper._fs.read_bytes("/store/MANIFEST")  # type: ignore[union-attr,attr-defined]
    assert manifest != taken
    bench.disk.write_bytes("/store/MANIFEST", taken)
    with pytest.raises(FencedError):
        store.compact()
    assert bench.names(".jkt") == []
    with pytest.raises(FencedError):
        store["b"] = 2
    assert store["a"] == 1


def test_closing_gives_a_running_fold_up_at_its_next_block(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table is removed, its caller told, and the store can be opened at once."""
    store = bench.open()
    store.update({f"{number:05}": "v" * 100 for number in range(5000)})
    began, go_on = threading.Event(), threading.Event()
    pace = Compactor._pace

    def waiting(self: Compactor) -> None:
        began.set()
        go_on.wait(10)
        pace(self)

    monkeypatch.setattr(Compactor, "_pace", waiting)
    outcome: list[BaseException] = []

    def fold() -> None:
        try:
            store.compact()
        except ClosedError as error:
            outcome.append(error)

    thread = threading.Thread(target=fold)
    thread.start()
    began.wait(10)
    threading.Timer(0.02, go_on.set).start()
    store.close()
    thread.join()
    assert [str(error) for error in outcome] == ["/store is being closed; the fold was given up"]
    assert not any("jkt" in name for name in bench.disk.list("/store"))
    reopened = bench.open()
    assert len(reopened) == 5000
    reopened.compact()


def test_a_fold_that_outlives_the_close_publishes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk may hang for minutes; the next owner has the store meanwhile."""
    store = bench.open()
    store["a"] = 1
    began, go_on = threading.Event(), threading.Event()
    publish = Compactor._publish

    def late(self: Compactor, *arguments: Any) -> None:
        began.set()
        go_on.wait(10)
        publish(self, *arguments)

    monkeypatch.setattr(Compactor, "_publish", late)
    outcome: list[BaseException] = []

    def fold() -> None:
        try:
            store.compact()
        except ClosedError as error:
            outcome.append(error)

    thread = threading.Thread(target=fold)
    thread.start()
    began.wait(10)
    store.close()
    monkeypatch.undo()
    other = bench.open()
    other["b"] = 2
    other.compact()
    go_on.set()
    thread.join()
    assert len(outcome) == 1
    other["c"] = 3
    assert other == {"a": 1, "b": 2, "c": 3}
    other.close()
    assert bench.open() == {"a": 1, "b": 2, "c": 3}


def test_an_interrupted_fold_leaves_the_layers_as_they_were(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during compact() is no reason to lose sight of an entry."""
    store = bench.open()
    store["a"] = 1

    def interrupted(_self: Compactor) -> None:
        raise KeyboardInterrupt

    for place in ("_pace", "_write_table", "_publish"):
        with monkeypatch.context() as patched:
            patched.setattr(Compactor, place, lambda self, *_: interrupted(self))
            with pytest.raises(KeyboardInterrupt):
                store.compact()
        store[place] = 1
    assert set(store) == {"a", "_pace", "_write_table", "_publish"}
    store.compact()
    assert set(store) == {"a", "_pace", "_write_table", "_publish"}
    assert not any(memtable.folding for memtable in store._layers.frozen)


def test_a_manifest_whose_fate_is_unknown_leaves_the_table_where_it_is(bench: Bench) -> None:
    """The manifest may name it; the next open knows."""
    store = bench.open()
    store["a"] = 1
    renames = sum("rename" in line for line in bench.disk.history())
    assert renames
    store._engine.writing.opened.log.rotate()  # type: ignore[union-attr]
    # The directory is synced for the table, and then for the manifest.
    bench.disk.fail("sync_directory", 2, 5)
    with pytest.raises(StorageError):
        store.compact()
    assert len(bench.names(".jkt")) == 1
    assert (store["a"], store.statistics().folds) == (1, 0)
    store.close()
    assert bench.open() == {"a": 1}


def test_a_manifest_that_finds_no_room_takes_its_table_with_it(bench: Bench) -> None:
    """Nothing names it, and it is what fills the disk."""
    store = bench.open()
    store["a"] = 1
    bench.disk.fail("create", 1, errno.ENOSPC, times=None, path_contains="MANIFEST")
    with pytest.raises(StoreFullError):
        store.compact()
    assert bench.names(".jkt") == []
    assert (store["a"], store.snapshot_lsn) == (1, 0)


def test_a_table_that_a_kept_snapshot_shares_is_not_removed(bench: Bench) -> None:
    """A snapshot is a list of tables, and two may have one in common."""
    store = bench.open(keep_snapshots=1)
    store["a"] = 1
    store.compact()
    keeper = store._engine.writing.opened.keeper  # type: ignore[union-attr]
    newest = keeper.current.snapshots[0]
    keeper.current = replace(keeper.current, snapshots=(newest, replace(newest, lsn=0)))
    store.compact()
    assert store.statistics().snapshots == 1
    assert len(bench.names(".jkt")) == 1
    store.close()
    assert bench.open() == {"a": 1}
