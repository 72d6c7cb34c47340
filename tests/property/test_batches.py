"""Batches: layers merged many entries at a time are layers merged one by one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from journalkit.format.block import Entry
from journalkit.format.codec import RawCodec
from journalkit.format.columns import Columns
from journalkit.fs.memory import MemoryFileSystem
from journalkit.snapshot.batches import LARGEST_ENTRIES, Batches, ColumnsBatch, entries_of, merge_batches, sizes
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.merge import merge_entries
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter
from journalkit.store.memtable import MemTable

KEYS = st.binary(min_size=1, max_size=2)
LAYER = st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=2)), max_size=30)
BOUND = st.one_of(st.none(), KEYS)


def in_batches(entries: list[Entry], cuts: list[int], *, reverse: bool) -> Batches:
    """Yield entries that ascend in batches of these sizes, and of one behind them; from the end if in reverse."""
    sizes_left, rest = iter(cuts), entries
    while rest:
        size = next(sizes_left, 1)
        part, rest = (rest[-size:], rest[:-size]) if reverse else (rest[:size], rest[size:])
        keys, values = zip(*part, strict=True)
        yield ColumnsBatch(Columns(list(keys), list(values)))


@given(st.lists(LAYER, max_size=4), st.lists(st.integers(1, 9), max_size=5), st.booleans())
def test_layers_merged_in_batches_are_layers_merged_one_by_one(
    layers: list[dict[bytes, bytes | None]], cuts: list[int], reverse: bool
) -> None:
    """The newest layer that speaks of a key decides; each key once, in order, whatever the batches' sizes."""
    ordered = [sorted(layer.items()) for layer in layers]
    merged = merge_batches([in_batches(layer, cuts, reverse=reverse) for layer in ordered], reverse=reverse)
    ones: list[Iterator[Entry]] = [iter(layer[::-1] if reverse else layer) for layer in ordered]
    plain = list(merge_entries(ones, reverse=reverse)) if ones else []
    assert list(entries_of(merged, reverse=reverse)) == plain


@given(LAYER, BOUND, BOUND, st.booleans(), st.integers(1, 5))
def test_a_part_of_a_layer_in_batches_is_that_part(
    layer: dict[bytes, bytes | None], start: bytes | None, stop: bytes | None, reverse: bool, first_entries: int
) -> None:
    """Of a memtable and of a table alike, in both directions, and no batch is empty."""
    fs = MemoryFileSystem()
    fs.make_directory("/t")
    with TableWriter(fs, "/t", 1, store_uuid=bytes(16), lsn=1, salt=1, block_bytes=64) as writer:
        writer.add_all(sorted(layer.items()))
        info = writer.finish()
    table = Table.open(fs, "/t", info, bytes(16), BlockCache(1 << 12))
    expected = [
        (key, value)
        for key, value in sorted(layer.items(), reverse=reverse)
        if (start is None or start <= key) and (stop is None or key < stop)
    ]
    for source in (table, MemTable(layer, 1, 0)):
        batches = list(source.batches(start, stop, reverse=reverse, first_entries=first_entries))
        assert all(batch.columns().keys for batch in batches)
        assert list(entries_of(iter(batches), reverse=reverse)) == expected
        assert list(source.scan(start, stop, reverse=reverse)) == expected
        for batch in batches:
            items = batch.items(RawCodec())
            keys, values = batch.columns()
            assert items is None or items == [(key[1:], value) for key, value in zip(keys, values, strict=True)]
    table.close()


def test_sizes_grow_to_a_bound() -> None:
    """The first is what was asked for; a long scan isn't held up by small ones, nor memory by large ones."""
    assert list(islice(sizes(2), 5)) == [2, 16, 128, LARGEST_ENTRIES, LARGEST_ENTRIES]
    assert next(sizes(0)) == 1
    assert next(sizes(10**9)) == LARGEST_ENTRIES
