"""A full disk: readable, told in numbers, and the same handle goes on when there is room."""

from __future__ import annotations

import errno
import logging
from typing import Any, Protocol

import pytest

import journalkit
from journalkit.errors import StoreFullError
from journalkit.store.compactor import Compactor


class Bench(Protocol):
    disk: Any
    clock: Any

    def open(self, **options: Any) -> journalkit.Store: ...
    def compactor(self, store: journalkit.Store) -> Compactor: ...
    def names(self, ending: str) -> list[str]: ...


def fill(bench: Bench, free_bytes: int = 0) -> None:
    """Leave so many bytes on the disk."""
    bench.disk.capacity_bytes = 1 << 40
    bench.disk.capacity_bytes -= bench.disk.free_bytes("/") - free_bytes


def fill_up(store: journalkit.Store, size_bytes: int = 1000) -> dict[Any, Any]:
    """Write until nothing more fits; return what was taken."""
    taken: dict[Any, Any] = {}
    with pytest.raises(StoreFullError):  # noqa: PT012 - one of many is refused
        for number in range(10_000):
            store[number] = b"x" * size_bytes
            taken[number] = b"x" * size_bytes
    return taken


def test_the_same_handle_goes_on_when_there_is_room_again(bench: Bench) -> None:
    """Nothing was written by what was refused, and what was taken is there."""
    store = bench.open()
    store["before"] = 1
    fill(bench)
    taken = fill_up(store)
    with pytest.raises(StoreFullError) as caught:
        store["too much"] = b"x" * 200_000
    error = caught.value
    assert (error.errno, error.path, error.free_bytes) == (errno.ENOSPC, "/store", 0)
    assert error.needed_bytes >= 200_000
    assert "free space and go on" in str(error)
    assert store == {"before": 1, **taken}
    assert store.durable_lsn == store.lsn == len(taken) + 1
    store.check()
    bench.disk.capacity_bytes = None
    store["after"] = 2
    store.close()
    assert bench.open() == {"before": 1, **taken, "after": 2}


def test_a_small_write_may_fit_where_a_large_one_did_not(bench: Bench) -> None:
    """Each is judged by itself; deleting is possible as long as a few bytes are left."""
    store = bench.open()
    store["a"] = 1
    fill(bench)
    with pytest.raises(StoreFullError):
        store["b"] = b"x" * 100_000
    store["c"] = 3
    del store["a"]
    assert store == {"c": 3}


def test_closing_works_on_a_full_disk(bench: Bench) -> None:
    """Room for a seal is always there; the next open finds a clean end."""
    store = bench.open()
    fill(bench)
    taken = fill_up(store)
    store.close()
    bench.disk.capacity_bytes = None
    store = bench.open()
    assert store == taken
    assert store.recovery_report.bytes_cut == 0


def test_a_fold_that_finds_no_room_leaves_all_as_it_was_and_says_what_it_needs(bench: Bench) -> None:
    """The partial table is gone again, so that the log has what there is."""
    store = bench.open()
    store.update({f"{number:04}": "v" * 100 for number in range(1000)})
    fill(bench, 20_000)
    with pytest.raises(StoreFullError) as caught:
        store.compact()
    assert caught.value.needed_bytes > 100_000
    assert not any(".jkt" in name for name in bench.disk.list("/store"))
    statistics = store.statistics()
    assert (statistics.folds, statistics.fold_failures, statistics.emergencies) == (0, 1, 0)
    assert "no room" in statistics.last_fold_error
    store["more"] = 1
    assert len(store) == 1001
    bench.disk.capacity_bytes = None
    store.compact()
    statistics = store.statistics()
    assert (statistics.folds, statistics.last_fold_error) == (1, "")
    assert len(store) == 1001


def test_older_snapshots_and_their_log_make_room_in_an_emergency(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """keep_snapshots falls to one, and statistics say so; with what that frees the fold goes on."""
    store = bench.open(keep_snapshots=3)
    for number in range(3):
        store.update({f"{key:04}": f"{number}" * 100 for key in range(500)})
        store.compact()
    assert len(bench.names(".jkt")) == 3
    store.update({f"{key:04}": "x" * 100 for key in range(500)})
    fill(bench, 1000)
    with caplog.at_level(logging.WARNING):
        store.compact()
    assert "only the newest snapshot" in caplog.text
    assert (store.statistics().emergencies, store.statistics().snapshots, len(bench.names(".jkt"))) == (1, 2, 2)
    assert (store.statistics().folds, store.statistics().fold_failures) == (4, 0)
    assert set(store.values()) == {"x" * 100}
    store.close()
    assert set(bench.open().values()) == {"x" * 100}


def test_pruning_works_out_of_the_reserve_with_not_one_byte_free(bench: Bench) -> None:
    """A manifest has to be written before anything may be removed."""
    store = bench.open(keep_snapshots=2, segment_bytes_max=4096)
    for _ in range(2):
        for number in range(10):
            store[number] = b"x" * 1000
        store.compact()
    store["tail"] = b"x" * 3000
    used_before = sum(len(bench.disk.read_bytes(f"/store/{name}")) for name in bench.disk.list("/store"))
    fill(bench, 0)
    bench.disk.fail("create", 1, errno.ENOSPC, times=None, path_contains=".jkt")
    with pytest.raises(StoreFullError):
        store.compact()
    bench.disk.capacity_bytes = None
    used_after = sum(len(bench.disk.read_bytes(f"/store/{name}")) for name in bench.disk.list("/store"))
    assert used_after < used_before
    assert store.statistics().snapshots == 1
    assert len(store) == 11
    store.check()


def test_a_segment_that_finds_no_room_makes_the_compactor_clear_up(bench: Bench) -> None:
    """It tried the segment first and never came to the fold that would have made room."""
    store = bench.open(keep_snapshots=2, segment_bytes_max=4096, max_age=10)
    for _ in range(2):
        store["a"] = b"x" * 1000
        store.compact()
    store["b"] = b"x" * 2500
    fill(bench, 0)
    compactor = bench.compactor(store)
    compactor.step()
    assert store.statistics().emergencies == 1
    assert "no room" in store.statistics().last_fold_error
    bench.disk.capacity_bytes = None
    bench.clock.advance(100)
    compactor.step()
    assert (store.snapshot_lsn, store.statistics().last_fold_error) == (3, "")


def test_making_room_may_fail_too(bench: Bench) -> None:
    """Then what there was stays, and the caller hears of the full disk, not of the attempt."""
    store = bench.open(keep_snapshots=2)
    for number in range(2):
        store["a"] = number
        store.compact()
    store["a"] = 2
    bench.disk.fail("create", 1, errno.ENOSPC, path_contains=".jkt")
    bench.disk.fail("create", 1, errno.ENOSPC, times=None, path_contains="MANIFEST")
    with pytest.raises(StoreFullError):
        store.compact()
    assert store.statistics().snapshots == 2
    assert store["a"] == 2


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EFBIG])
def test_a_quota_is_a_full_disk(bench: Bench, number: int) -> None:
    """To a program it is the same: make room and go on."""
    store = bench.open()
    bench.disk.fail("pwrite", 1, number, path_contains=".jks")
    with pytest.raises(StoreFullError) as caught:
        store["a"] = 1
    assert caught.value.errno == number
    store["a"] = 2
    assert store == {"a": 2}


def test_a_transaction_that_found_no_room_can_be_run_again(bench: Bench) -> None:
    """It wrote nothing, and nothing of it is in the way."""
    store = bench.open()
    bench.disk.fail("pwrite", 1, errno.ENOSPC, path_contains=".jks")
    with pytest.raises(StoreFullError), store.transaction() as tx:
        tx["a"] = 1
    with store.transaction() as tx:
        tx["a"] = tx.get("a", 0) + 2
    assert (store["a"], store.lsn) == (2, 1)
