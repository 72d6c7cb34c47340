"""Merging: the newest word on each key, in order, and nothing guessed over damage."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.errors import CorruptionError
from journalkit.format.block import Block, Entry
from journalkit.format.index import IndexEntry
from journalkit.fs.interface import FileSystem
from journalkit.fs.memory import MemoryFileSystem
from journalkit.snapshot import merge
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.merge import fold, merge_entries
from journalkit.snapshot.reader import Table
from journalkit.snapshot.source import TableSource
from journalkit.snapshot.writer import TableWriter
from journalkit.testing import SimulatedDisk

STORE = b"store-of-16-byte"

ENTRIES = st.dictionaries(st.binary(max_size=3), st.none() | st.binary(max_size=30), max_size=40)


class Shop:
    """Writes one table after another."""

    def __init__(self, fs: FileSystem, *, block_bytes: int = 200) -> None:
        self.fs = fs
        self._block_bytes = block_bytes
        self._numbers = itertools.count(1)
        self.cache = BlockCache(1 << 20)

    def writer(self) -> TableWriter:
        number = next(self._numbers)
        return TableWriter(
            self.fs, "/", number, store_uuid=STORE, lsn=number, salt=977 * number, block_bytes=self._block_bytes
        )

    def fold(
        self, overlay: Iterable[Entry], base: Table | None = None, *, drop_tombstones: bool = True, **options: object
    ) -> Table:
        with self.writer() as writer:
            fold(writer, overlay, base, drop_tombstones=drop_tombstones, **options)  # type: ignore[arg-type]
            info = writer.finish()
        table = Table.open(self.fs, "/", info, STORE, self.cache)
        table.verify()
        return table


def numbered(numbers: Iterable[int], word: str = "value") -> list[Entry]:
    """Return an entry for each number."""
    return [(b"%06d" % n, f"{word}-{n}".encode()) for n in numbers]


def contents(table: Table) -> list[Entry]:
    """Return all entries of a table."""
    return list(table.scan(None, None))


# -- merging iterators ---------------------------------------------------------------------------


@given(st.lists(ENTRIES, max_size=5), st.booleans())
def test_the_newest_layer_that_speaks_of_a_key_decides(layers: list[Block], reverse: bool) -> None:
    """Memtables and tables overlap; what was written last is what a reader must see, deletions included."""
    model: Block = {}
    for layer in reversed(layers):
        model.update(layer)
    merged = merge_entries([iter(sorted(layer.items(), reverse=reverse)) for layer in layers], reverse=reverse)
    assert list(merged) == sorted(model.items(), reverse=reverse)


def test_merging_takes_no_more_than_it_gives() -> None:
    """A scan with a limit must not read ahead through a table that exceeds memory."""
    taken: list[int] = []

    def endless(step: int) -> Iterator[Entry]:
        for n in itertools.count(0, step):
            taken.append(n)
            yield b"%09d" % n, b""

    merged = merge_entries([endless(2), endless(3)])
    assert [int(key) for key, _ in itertools.islice(merged, 5)] == [0, 2, 3, 4, 6]
    assert max(taken) <= 9


def test_equal_values_are_never_compared() -> None:
    """A tombstone has no order against bytes: keys alone decide."""
    assert list(merge_entries([iter([(b"a", None)]), iter([(b"a", b"old")])])) == [(b"a", None)]
    assert list(merge_entries([iter([(b"a", b"new")]), iter([(b"a", None)])], reverse=True)) == [(b"a", b"new")]


# -- folding -------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(ENTRIES, st.booleans()), max_size=5),
    st.sampled_from([1, 40, 200, 16384]),
    st.sampled_from([1, 2, 7, 1024]),
)
def test_fold_after_fold_is_the_dict_that_was_updated(
    rounds: list[tuple[Block, bool]], block_bytes: int, step_entries: int
) -> None:
    """Compaction runs for years: whatever was put and deleted, in whatever runs, the table is the state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "STEP_ENTRIES", step_entries)
        shop = Shop(MemoryFileSystem(), block_bytes=block_bytes)
        table, model = None, Block()
        for overlay, drop_tombstones in rounds:
            table = shop.fold(sorted(overlay.items()), table, drop_tombstones=drop_tombstones)
            model.update(overlay)
            if drop_tombstones:
                model = {key: value for key, value in model.items() if value is not None}
            assert contents(table) == sorted(model.items())
            assert table.footer.tombstone_count == list(model.values()).count(None)


def test_blocks_that_nothing_changed_are_copied_unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fold costs what changed, not what there is."""
    shop = Shop(MemoryFileSystem())
    base = shop.fold(numbered(range(0, 1000, 2)))
    parsed: list[bytes] = []
    decode = TableSource.block

    def decode_noted(source: TableSource, entry: IndexEntry) -> Block:
        parsed.append(entry.first)
        return decode(source, entry)

    monkeypatch.setattr(TableSource, "block", decode_noted)
    blocks = list(base.blocks())
    between = b"%06d" % (int(blocks[3].entry.last) + 1)
    changes = [(b"", b"before all"), (blocks[7].entry.last, b"the last of a block"), (b"x", b"after all")]
    with shop.writer() as writer:
        fold(writer, sorted([*changes, (between, b"between two blocks")]), base, drop_tombstones=True)
        writer.finish()
    assert parsed == [blocks[7].entry.first]


def test_tombstones_under_the_last_layer_are_dropped_even_from_blocks_that_nothing_changed() -> None:
    """Deleted keys must not cost room for ever; nor may one be dropped while an older layer still has the key."""
    shop = Shop(MemoryFileSystem())
    deleted: list[Entry] = [(b"%06d" % n, None) for n in range(100)]
    delta = shop.fold(deleted, drop_tombstones=False)
    assert contents(delta) == deleted
    kept = shop.fold(numbered([5000]), delta, drop_tombstones=False)
    assert contents(kept) == [*deleted, *numbered([5000])]
    dropped = shop.fold([(b"000003", b"again"), (b"000200", None)], kept, drop_tombstones=True)
    assert contents(dropped) == [(b"000003", b"again"), *numbered([5000])]
    empty = shop.fold([(b"000003", None), (b"005000", None)], dropped)
    assert contents(empty) == []
    assert empty.footer.block_count == 0


def test_more_changes_inside_one_block_than_are_held_at_a_time_are_all_there() -> None:
    """A small table under a large memtable: memory is bounded by the run, not by the gap it falls into."""
    shop = Shop(MemoryFileSystem(), block_bytes=16384)
    base = shop.fold(numbered([0, 1000, 1001, 5000, 9999]))
    overlay = numbered((n for n in range(1, 9000) if n != 1001), "new")
    table = shop.fold(iter(overlay), base)
    model = dict(numbered([0, 1001, 9999]))
    model.update(overlay)
    assert contents(table) == sorted(model.items())


@pytest.mark.parametrize("overlay_size", [0, 5000])
def test_a_fold_pauses_often_and_can_be_cancelled(overlay_size: int) -> None:
    """Compaction shares the machine with the application, and close waits for it."""
    shop = Shop(MemoryFileSystem())
    base = shop.fold(numbered(range(0, 10000, 100)))
    pauses: list[int] = []
    shop.fold(numbered(range(overlay_size)), base, step=lambda: pauses.append(1))
    assert len(pauses) >= base.footer.block_count

    def cancel() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        shop.fold(numbered(range(overlay_size)), base, step=cancel)
    with pytest.raises(TimeoutError):
        shop.fold(numbered(range(3000)), None, step=cancel)
    assert not [name for name in shop.fs.list("/") if name.endswith(".tmp")]


@pytest.mark.parametrize("touched", [False, True])
def test_a_fold_never_publishes_over_a_bad_block(touched: bool) -> None:
    """Copying damage under a fresh checksum would turn an error into a wrong value for good."""
    disk = SimulatedDisk()
    shop = Shop(disk)
    base = shop.fold(numbered(range(500)))
    bad = list(base.blocks())[4].entry
    disk.flip_bit(base.path, 8 * bad.offset_bytes + 50)
    names = disk.list("/")
    overlay: list[Entry] = [(bad.first, b"changed")] if touched else []
    with pytest.raises(CorruptionError) as caught:
        shop.fold(overlay, base)
    assert repr(bad.first) in caught.value.reason
    assert disk.list("/") == names


@pytest.mark.parametrize("operation", ["pread", "pwrite", "sync", "rename"])
def test_a_fold_that_fails_leaves_the_base_and_nothing_else(operation: str) -> None:
    """The next fold starts from the same base, with the room given back."""
    disk = SimulatedDisk()
    shop = Shop(disk)
    base = shop.fold(numbered(range(500)))
    names = disk.list("/")
    disk.fail(operation, 1, errno.EIO)
    with pytest.raises(OSError):
        shop.fold(numbered([7], "new"), base)
    assert disk.list("/") == names
    assert base.get(b"000007") == b"value-7"
    assert shop.fold(numbered([7], "new"), base).get(b"000007") == b"new-7"


def test_an_overlay_out_of_order_is_our_bug() -> None:
    """A memtable that isn't sorted would lose keys in silence."""
    shop = Shop(MemoryFileSystem())
    with pytest.raises(ValueError, match="follow"):
        shop.fold([(b"b", b""), (b"a", b"")])


def test_folding_does_not_evict_what_readers_use() -> None:
    """A fold reads every block once: through the cache it would leave it cold for everybody."""
    shop = Shop(MemoryFileSystem())
    base = shop.fold(numbered(range(2000)))
    assert base.get(b"000007") == b"value-7"
    before = shop.cache.statistics()
    with shop.writer() as writer:
        fold(writer, numbered(range(0, 2000, 3), "new"), base, drop_tombstones=True)
    assert shop.cache.statistics() == before
