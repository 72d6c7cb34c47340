"""Folds that write what changed: what is seen through deltas, what they cost, and what is kept of them."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any, Protocol

import pytest

import journalkit
from journalkit.errors import CorruptionError, StoreFullError
from journalkit.format.manifest import decode_manifest, encode_manifest
from journalkit.recovery.reserve import RESERVE_BYTES
from journalkit.store.compactor import Compactor

DELTAS: dict[str, Any] = {"fold_bytes_min": 1, "fold_ratio": 1.0}
MIB = 1 << 20


class Bench(Protocol):
    disk: Any
    clock: Any

    def open(self, **options: Any) -> journalkit.Store: ...
    def compactor(self, store: journalkit.Store) -> Compactor: ...
    def names(self, ending: str) -> list[str]: ...


def counts(store: journalkit.Store) -> list[tuple[int, int]]:
    """Return of each table, newest first, its entries and how many of them are tombstones."""
    return [(table.footer.entry_count, table.footer.tombstone_count) for table in store._layers.tables]


def based(bench: Bench, **options: Any) -> journalkit.Store:
    """Return a store with a base of a hundred keys."""
    store = bench.open(**(DELTAS | options))
    store.update(dict.fromkeys(range(100), "base" * 10))
    store.compact()
    return store


def test_a_fold_writes_what_changed_and_reads_see_through_it(bench: Bench) -> None:
    """Gets, scans, views, readers and the next open, all of them."""
    store = based(bench)
    folded_bytes = bench.compactor(store).statistics().bytes_folded
    state: dict[Any, Any] = dict(store)
    for number in range(0, 30, 10):
        store[number] = state[number] = "delta"
    del store[5], state[5]
    store["new"] = state["new"] = 1
    store.compact()
    assert counts(store) == [(5, 1), (100, 0)]
    assert bench.compactor(store).statistics().bytes_folded - folded_bytes < folded_bytes / 5
    assert store.statistics().snapshot_bytes == sum(len(bench.disk.read_bytes(f"/store/{n}")) for n in bench.names("t"))
    assert (store == state, list(store) == list(store.view()), len(store)) == (True, True, 100)
    assert (store.get(5), store[10], store[11], store["new"]) == (None, "delta", "base" * 10, 1)
    assert list(reversed(list(store.keys()))) == list(reversed(store))
    assert bench.open(mode="r") == state
    store.check()
    store.close()
    for check_all in (False, True):
        with bench.open(check_all=check_all) as store:
            assert store == state
            assert store.recovery_report.records_replayed == 0


def test_in_a_merge_the_newest_that_speaks_of_a_key_decides(bench: Bench) -> None:
    """Of what is in memory, two deltas and the base, each with a word on the same keys."""
    store = based(bench)
    store.update({1: "first" * 20, 2: "first" * 20, 3: "first" * 20})
    store.compact()
    store.update({1: "second", 2: "second"})
    store.compact()
    store[1] = "third"
    assert counts(store) == [(2, 0), (3, 0), (100, 0)]
    store.compact(full=True)
    assert (counts(store), store[1], store[2], store[3]) == ([(100, 0)], "third", "second", "first" * 20)


def test_a_deletion_hides_what_lies_below_until_the_base_is_merged(bench: Bench) -> None:
    """Dropped in a merge of deltas it would bring the key back."""
    store = based(bench, keep_snapshots=1)
    del store[7]
    store.compact()
    assert counts(store) == [(1, 1), (100, 0)]
    store.update(dict.fromkeys(range(20, 24), "more" * 20))
    store.compact()
    assert counts(store) == [(5, 1), (100, 0)]
    assert 7 not in store
    store.compact(full=True)
    assert counts(store) == [(99, 0)]
    assert (7 in store, len(store), len(bench.names(".jkt"))) == (False, 99, 1)
    store.close()
    assert 7 not in bench.open()


def test_many_deletions_end_in_a_new_base_by_themselves(bench: Bench) -> None:
    """Nobody has to ask for the room of what he deleted."""
    store = based(bench, keep_snapshots=1, fold_ratio=0.5)
    for number in range(99):
        del store[number]
        store.compact()
    assert list(store) == [99]
    assert sum(len(bench.disk.read_bytes(f"/store/{name}")) for name in bench.names(".jkt")) < 3000


def test_a_table_goes_when_no_kept_snapshot_names_it_and_not_before(bench: Bench) -> None:
    """Two snapshots share all but the newest table."""
    store = based(bench, keep_snapshots=2)
    for number in range(60):
        store[number % 7] = f"{number}" * (1 + number % 5)
        store.compact()
        manifest = bench.compactor(store)._keeper.current
        named = {f"table-{info.number:016}.jkt" for entry in manifest.snapshots for info in entry.tables}
        assert set(bench.names(".jkt")) == named
        assert len(manifest.snapshots) == 2
        assert len(store._layers.tables) <= 6
    store.close()
    with bench.open() as store:
        assert (len(store), store[59 % 7]) == (100, "59" * 5)


def test_views_stay_what_they_were_over_many_folds(bench: Bench) -> None:
    """Their tables are pinned, those that were merged and pruned since too."""
    store = based(bench, keep_snapshots=1)
    views = []
    for number in range(20):
        store[number] = "new" * number
        del store[50 + number]
        views.append((store.view(), dict(store)))
        store.compact(full=number == 15)
    for view, state in views:
        assert dict(view.items()) == state
        view.close()


def test_what_a_delta_changed_is_read_from_it_and_not_from_what_was_read_before(bench: Bench) -> None:
    """Values that were asked for again and again, and a key that wasn't there."""
    store = based(bench)
    for _ in range(3):
        assert [store[number] for number in range(4)] == ["base" * 10] * 4
        assert store.get("absent") is None
    store[1] = "changed"
    store["absent"] = "there"
    del store[2]
    store.compact()
    for _ in range(3):
        assert (store[0], store[1], store.get(2), store["absent"]) == ("base" * 10, "changed", None, "there")


def test_what_is_merged_is_not_read_through_the_cache_of_the_readers(bench: Bench) -> None:
    """A fold would leave it cold, or full of what nobody asked for."""
    store = based(bench)
    store[1] = "one" * 30
    store.compact()
    store[2] = "two" * 30
    before = store.statistics()
    store.compact(full=True)
    after = store.statistics()
    assert (after.cache_hits, after.cache_misses) == (before.cache_hits, before.cache_misses)
    assert counts(store) == [(100, 0)]


def test_a_full_fold_of_what_is_one_table_already_does_nothing(bench: Bench) -> None:
    """Only a snapshot of several tables, or news, is worth one."""
    store = based(bench)
    store.compact(full=True)
    assert store.statistics().folds == 1
    store[1] = 2
    store.compact()
    lsn = store.snapshot_lsn
    store.compact(full=True)
    assert (store.statistics().folds, store.snapshot_lsn, counts(store)) == (3, lsn, [(100, 0)])
    store.close()
    with bench.open() as store:
        assert (store[1], len(store)) == (2, 100)
        store[1] = 3
        store.compact()
        assert store[1] == 3


def test_who_outruns_the_fold_is_slowed_by_it(bench: Bench) -> None:
    """Else memory and log grow for as long as it lasts; a fold that keeps up lets go as often as it can."""
    store = bench.open(fold_bytes_min=1000)
    compactor = bench.compactor(store)
    stretches = []
    store["folded"] = b"x" * 20_000
    folded = store._layers.begin_fold()
    for _ in range(6):
        stretches.append(round(compactor._stretch_s() * 1e6))
        store["a"] = b"x" * 979
    assert 5_900 <= store._layers.waiting_bytes <= 6_000
    assert store._layers.unfolded_bytes > 20_000
    assert stretches == [250, 250, *stretches[2:5], 5000]
    assert 900 <= stretches[2] <= 1000
    assert stretches == sorted(stretches)
    store._layers.abandon_fold(folded)


# Damage


def test_a_damaged_delta_leaves_the_snapshot_that_does_not_share_it(bench: Bench) -> None:
    """With its log it is the same state."""
    store = based(bench, keep_snapshots=2)
    store[1] = "delta"
    store.compact()
    store[2] = "tail"
    store.close()
    bench.disk.flip_bit(f"/store/{bench.names('.jkt')[-1]}", 8 * 100)
    with bench.open() as store:
        assert store.recovery_report.fell_back
        assert (store[1], store[2], len(store)) == ("delta", "tail", 100)
        assert len(bench.names(".jkt")) == 1
        store.check()


def test_a_damaged_base_that_all_snapshots_share_is_refused(bench: Bench) -> None:
    """The log doesn't reach back so far: an empty state with some changes on it is no state."""
    store = based(bench, keep_snapshots=2)
    for number in range(3):
        store[number] = "delta" * (3 - number)
        store.compact()
    store.close()
    bench.disk.flip_bit(f"/store/{bench.names('.jkt')[0]}", 8 * 100)
    with pytest.raises(CorruptionError, match=bench.names(".jkt")[0]):
        bench.open()


@pytest.mark.parametrize("how", ["swapped", "base alone", "delta alone", "gap"])
def test_tables_that_are_not_where_they_belong_are_refused(bench: Bench, how: str) -> None:
    """Each is sound by itself; laid over each other like this they are a state that never was."""
    store = based(bench, keep_snapshots=1)
    for size in (30, 10):
        store.update(dict.fromkeys(range(size), "delta"))
        store.compact()
    assert counts(store) == [(10, 0), (30, 0), (100, 0)]
    store.close()
    manifest = decode_manifest(bench.disk.read_bytes("/store/MANIFEST"))
    top, middle, base = manifest.snapshots[0].tables
    tables = {
        "swapped": (middle, top, base),
        "base alone": (base,),
        "delta alone": (top,),
        "gap": (top, base),
    }[how]
    changed = replace(manifest, snapshots=(replace(manifest.snapshots[0], tables=tables),))
    bench.disk.write_bytes("/store/MANIFEST", encode_manifest(changed))
    with pytest.raises(CorruptionError, match="belong where"):
        bench.open()


def test_a_damaged_block_of_the_base_stops_the_fold_that_reads_it(bench: Bench) -> None:
    """Nothing is published over it; a delta beside it doesn't touch it, and costs the older snapshot nothing."""
    store = based(bench, keep_snapshots=2)
    bench.disk.flip_bit(f"/store/{bench.names('.jkt')[0]}", 8 * 100)
    store["beside"] = 1
    store.compact()
    with pytest.raises(CorruptionError):
        store.compact(full=True)
    assert (store["beside"], store.statistics().folds, len(bench.names(".jkt"))) == (1, 2, 2)


# A full disk


def fill(bench: Bench, free_bytes: int = 0) -> None:
    """Leave so many bytes on the disk."""
    bench.disk.capacity_bytes = 1 << 40
    bench.disk.capacity_bytes -= bench.disk.free_bytes("/") - free_bytes


def test_where_there_is_no_room_for_a_merge_a_delta_is_written(bench: Bench) -> None:
    """It needs room for what changed alone, and it frees the log."""
    store = bench.open(keep_snapshots=1, fold_ratio=0)
    store.update(dict.fromkeys(range(200), "v" * 1000))
    store.compact()
    store[1] = "changed"
    fill(bench, 20_000)
    store.compact()
    assert counts(store) == [(1, 0), (200, 0)]
    with pytest.raises(StoreFullError):
        store.compact(full=True)
    assert (store[1], len(store)) == ("changed", 200)
    bench.disk.capacity_bytes = None
    store[2] = "changed"
    store.compact()
    assert counts(store) == [(200, 0)]


def test_the_reserve_covers_a_delta_of_all_that_is_unfolded(bench: Bench) -> None:
    """On a disk without one free byte a fold still works, and gives the log's room back."""
    store = bench.open(keep_snapshots=1, fold_bytes_min=8 * MIB, segment_bytes_max=MIB)
    state = dict.fromkeys(range(100), b"base" * 5000)
    store.update(state)
    store.compact()
    for number in range(150):
        store[number] = state[number] = b"x" * 20_000
        bench.compactor(store).step()
    assert len(bench.disk.read_bytes("/store/reserve")) >= RESERVE_BYTES + 3_000_000
    fill(bench)
    store.compact()
    assert store.statistics().last_fold_error == ""
    assert bench.disk.free_bytes("/") > 3_000_000
    assert store == state
    bench.compactor(store).step()
    assert len(bench.disk.read_bytes("/store/reserve")) == RESERVE_BYTES
    bench.disk.capacity_bytes = None
    store.close()
    assert bench.open() == state


def test_a_disk_that_fails_twice_leaves_all_as_it_was(bench: Bench) -> None:
    """The second try is the last one."""
    store = based(bench)
    store[1] = 2
    bench.disk.fail("create", 1, errno.ENOSPC, times=2, path_contains=".jkt")
    with pytest.raises(StoreFullError):
        store.compact()
    assert (counts(store), store[1]) == ([(100, 0)], 2)
    store.compact()
    assert (counts(store), store[1]) == ([(1, 0), (100, 0)], 2)
