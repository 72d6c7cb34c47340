"""Views: the state at one LSN, whatever happens to the store."""

from __future__ import annotations

import errno
from typing import Any, Protocol

import pytest

import journalkit
from journalkit.errors import ClosedError, CorruptionError, StorageError


class Bench(Protocol):
    disk: Any
    clock: Any

    def open(self, **options: Any) -> journalkit.Store: ...
    def names(self, ending: str) -> list[str]: ...


def test_a_view_stays_while_the_store_is_written_folded_and_pruned(bench: Bench) -> None:
    """It holds the files that it needs, also when they are gone from the directory."""
    store = bench.open(keep_snapshots=1, segment_bytes_max=4096, cache_bytes=0)
    views, states = [], []
    for number in range(12):
        store.update({str(number): number, "same": number, "big": b"x" * 2000})
        with store.transaction() as tx:
            tx.offsets["input"] = number
        views.append(store.view())
        states.append(dict(store))
        if number % 3 == 2:
            store.compact()
        if number % 5 == 4:
            store.clear()
    assert len(bench.names(".jkt")) == 1
    for number, (view, state) in enumerate(zip(views, states, strict=True)):
        assert view == state
        assert list(view.scan(reverse=True)) == list(view.items())[::-1]
        assert view.offsets == {"input": number}
        assert view["same"] == number
        assert str(number + 1) not in view
    assert [view.lsn for view in views] == sorted({view.lsn for view in views})


def test_a_running_scan_is_not_disturbed_by_a_fold(bench: Bench) -> None:
    """Begun on one table, it ends on that one."""
    store = bench.open(cache_bytes=0, keep_snapshots=1)
    store.update({f"{number:04}": "v" * 100 for number in range(1000)})
    store.compact()
    scan = store.scan()
    first = next(scan)
    store.clear()
    store.compact()
    assert [first, *scan] == [(f"{number:04}", "v" * 100) for number in range(1000)]
    assert store == {}


def test_a_closed_view_says_so_and_its_iterators_go_on(store: journalkit.Store) -> None:
    """Closing lets go of memory and files; who iterates holds them himself."""
    store["a"] = 1
    with store.view() as view:
        items = iter(view.items())
        assert repr(view) == "<journalkit.View of /store at LSN 1, open>"
    assert repr(view) == "<journalkit.View of /store at LSN 1, closed>"
    assert list(items) == [("a", 1)]
    assert view.lsn == 1
    for attempt in (lambda: view["a"], lambda: list(view), lambda: view.offsets, lambda: view.scan()):
        with pytest.raises(ClosedError, match="view is closed"):
            attempt()
    view.close()


def test_a_view_outlives_its_store(bench: Bench) -> None:
    """A report may be written while the program ends."""
    with bench.open() as store:
        store["a"] = 1
        store.compact()
        store["b"] = 2
        view = store.view()
    assert view == {"a": 1, "b": 2}
    with pytest.raises(ClosedError):
        store.view()


@pytest.fixture
def in_table(bench: Bench) -> journalkit.Store:
    """A store whose entries have to be read from a file, in blocks."""
    store = bench.open(cache_bytes=0)
    store.update({f"{number:04}": "v" * 100 for number in range(1000)})
    store.compact()
    return store


def test_what_the_disk_refuses_to_read_is_a_storage_error_and_may_be_tried_again(
    bench: Bench, in_table: journalkit.Store
) -> None:
    """An EIO came through as an OSError that no program expects."""
    store = in_table
    with store.view() as view:
        for attempt in (
            lambda: store["0500"],
            lambda: "0500" in store,
            lambda: view["0500"],
            lambda: list(store.scan("0500")),
            lambda: len(store),
            lambda: list(view.keys()),
            lambda: store.check(),
            lambda: store.pop("0500"),
        ):
            bench.disk.fail("pread", 1, errno.EIO, path_contains=".jkt")
            with pytest.raises(StorageError, match="try again") as caught:
                attempt()
            assert caught.value.errno == errno.EIO
        assert view["0500"] == store["0500"] == "v" * 100
    store["new"] = 1
    assert store["new"] == 1


def test_a_damaged_block_costs_its_keys_and_no_others(bench: Bench, in_table: journalkit.Store) -> None:
    """Never a wrong value, never a missing key, and the rest goes on; a fold doesn't build on it."""
    store = in_table
    (table,) = bench.names(".jkt")
    bench.disk.flip_bit(f"/store/{table}", 8 * 60_000)
    lost, lost_in = [], set()
    for number in range(1000):
        try:
            assert store[f"{number:04}"] == "v" * 100
        except CorruptionError as error:
            lost_in.add(error.path)
            lost.append(number)
    assert lost_in == {f"/store/{table}"}
    assert 0 < len(lost) < 300
    assert lost == list(range(lost[0], lost[-1] + 1))
    found = store.scan()
    with pytest.raises(CorruptionError):
        list(found)
    for damaged in (store.check, lambda: len(store)):
        with pytest.raises(CorruptionError):
            damaged()
    store[f"{lost[0]:04}"] = "written anew"
    with pytest.raises(CorruptionError):
        store.compact()
    assert store[f"{lost[0]:04}"] == "written anew"
    assert store.statistics().fold_failures == 1
    assert "are lost" in store.statistics().last_fold_error
    assert bench.names(".jkt") == [table]
