"""The merge policy over random histories: few tables, few rewrites, little disk."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from journalkit.store.merging import SMALL_PART, Layer, tables_to_merge

FOLD_BYTES = 1600
SMALL_BYTES = FOLD_BYTES // SMALL_PART
ENTRY_BYTES = 10

SIZES = st.lists(st.integers(1, 5000), min_size=1, max_size=120)
RATIOS = st.sampled_from([0.1, 0.5, 1.0])


class History:
    """Tables as byte counts, folded by the policy; `kept` is what share of a merge stays: the rest was overwritten."""

    def __init__(self, ratio: float, *, kept: float = 1.0) -> None:
        self.ratio = ratio
        self.kept = kept
        self.tables: list[Layer] = []
        self.before: list[Layer] = []
        self.written_bytes = self.logged_bytes = 0
        self.during_bytes = 0

    def fold(self, new_bytes: int, *, live_bytes: int | None = None) -> None:
        new = Layer(new_bytes, -(-new_bytes // ENTRY_BYTES))
        taken = tables_to_merge(new, self.tables, fold_bytes_min=FOLD_BYTES, base_ratio=self.ratio)
        merged, rest = self.tables[:taken], self.tables[taken:]
        size_bytes = new_bytes + int(self.kept * sum(table.size_bytes for table in merged))
        if not rest and live_bytes is not None:
            size_bytes = min(size_bytes, live_bytes)
        table = Layer(size_bytes, -(-size_bytes // ENTRY_BYTES))
        held = {id(one): one.size_bytes for one in (*self.tables, *self.before)}
        self.during_bytes = sum(held.values()) + size_bytes
        self.before, self.tables = self.tables, [table, *rest]
        self.written_bytes += size_bytes
        self.logged_bytes += new_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes of the tables of this snapshot and of the one before, each table once."""
        return sum({id(table): table.size_bytes for table in (*self.tables, *self.before)}.values())


@given(SIZES, RATIOS, st.floats(0, 1))
def test_each_delta_is_larger_than_all_newer_ones_and_small_ones_are_not_kept_apart(
    sizes: list[int], ratio: float, kept: float
) -> None:
    """So there are at most as many as doublings fit between a small table and the base, and a few."""
    history = History(ratio, kept=kept)
    for size in sizes:
        history.fold(size)
        *deltas, base = [table.size_bytes for table in history.tables]
        for newer, older in pairwise(deltas):
            assert older > max(newer, SMALL_BYTES)
        assert all(older > sum(deltas[:place]) for place, older in enumerate(deltas))
        assert len(deltas) <= 3 + math.log2(max(1, ratio * base / SMALL_BYTES))
        assert sum(deltas) <= ratio * base


@given(SIZES, RATIOS)
def test_a_byte_is_written_about_once_for_each_doubling(sizes: list[int], ratio: float) -> None:
    """Amortised: a byte that is written again comes into a table twice as large, or a base that grew."""
    history = History(ratio)
    for size in sizes:
        history.fold(size)
    doublings = math.log2(2 + history.logged_bytes / min(*sizes, SMALL_BYTES))
    growths = math.log(2 + history.logged_bytes / min(*sizes, SMALL_BYTES), 1 + ratio)
    small = SMALL_BYTES * len(sizes)
    assert history.written_bytes <= history.logged_bytes * (2 + doublings + growths) + small


@given(st.integers(2_000, 100_000), st.lists(st.integers(1, 1600), min_size=1, max_size=200))
def test_steady_overwrites_keep_the_tables_within_two_and_a_half_times_the_live_data(
    live_bytes: int, sizes: list[int]
) -> None:
    """Two snapshots are kept: what the older one alone has, and the newer one. The log comes on top of it."""
    history = History(0.5)
    history.fold(live_bytes)
    for size in sizes:
        history.fold(size, live_bytes=live_bytes)
        assert history.held_bytes <= 2.5 * live_bytes + 2 * FOLD_BYTES
        assert history.during_bytes <= 3.5 * live_bytes + 3 * FOLD_BYTES


def test_one_percent_changed_is_a_table_of_its_own() -> None:
    """That is what the whole is for."""
    base = Layer(100_000_000, 1_000_000)
    assert tables_to_merge(Layer(1_000_000, 10_000), [base], fold_bytes_min=16 << 20, base_ratio=0.5) == 0


def test_many_deletions_reach_the_base_though_they_are_small() -> None:
    """A tombstone has no value: counted in bytes, a store could be emptied and keep all its room."""
    base = Layer(100_000_000, 1_000_000)
    for count, taken in ((499_999, 0), (500_000, 1)):
        assert tables_to_merge(Layer(8 * count, count), [base], fold_bytes_min=1600, base_ratio=0.5) == taken


def test_a_small_state_is_written_anew_and_so_is_one_of_ratio_0() -> None:
    """A base that is small costs nothing to write, and a snapshot of its own is no other one's loss."""
    assert tables_to_merge(Layer(1, 1), [], fold_bytes_min=1600, base_ratio=0.5) == 0
    assert tables_to_merge(Layer(1, 1), [Layer(100, 10)], fold_bytes_min=1600, base_ratio=0.5) == 1
    assert tables_to_merge(Layer(1, 1), [Layer(101, 10)], fold_bytes_min=1600, base_ratio=0.5) == 0
    assert tables_to_merge(Layer(1, 1), [Layer(5, 1), Layer(10**9, 10**7)], fold_bytes_min=1600, base_ratio=0) == 2
