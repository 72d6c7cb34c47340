"""A read without a lock, overtaken by a fold at each of its lines: it never misses an entry on its way down."""

from __future__ import annotations

import pytest

from journalkit.format.frame import Kind
from journalkit.format.table import WHOLE, delta_on
from journalkit.fs.memory import MemoryFileSystem
from journalkit.log.commit import Commit
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter
from journalkit.store.layers import Frozen, Layers
from journalkit.testing import SimulatedClock
from tests.unit.conftest import overtaken

STORE = b"s" * 16
CODES = {Layers.get.__code__, Layers.get_below.__code__}


def table_of(entries: dict[bytes, bytes], number: int, *, below: int = WHOLE) -> Table:
    """Return an open table."""
    fs = MemoryFileSystem()
    fs.make_directory("/t")
    with TableWriter(fs, "/t", number, store_uuid=STORE, lsn=number, salt=number, below=below) as writer:
        writer.add_all(sorted(entries.items()))
        info = writer.finish()
    return Table.open(fs, "/t", info, STORE, BlockCache(1 << 16))


@pytest.mark.parametrize("is_delta", [False, True])
@pytest.mark.parametrize("hot_bytes", [0, 1 << 20])
@pytest.mark.parametrize(("key", "value"), [(b"k", b"new"), (b"only", b"here")])
def test_a_get_that_a_fold_overtakes_at_any_line_finds_the_key(
    hot_bytes: int, key: bytes, value: bytes, is_delta: bool
) -> None:
    """Frozen memtables are asked before the tables are: the other way round the swap in between would hide the key."""
    line = 0
    came_so_far = True
    while came_so_far:
        line += 1
        layers = Layers(SimulatedClock(), hot_bytes=hot_bytes)
        base = table_of({b"k": b"old", b"z": b""}, 1)
        layers.load({}, (base,), lsn=1, payload_bytes=0)
        assert layers.get(b"k") == b"old"
        layers.apply([Commit(b"x", Kind.BATCH, ((b"k", b"new"), (b"only", b"here")), durable=False)], 2)
        folded = layers.begin_fold()
        changed = {b"k": b"new", b"only": b"here"}
        if is_delta:
            tables: tuple[Table, ...] = (table_of(changed, 2, below=delta_on(1)), base)
        else:
            tables = (table_of({**changed, b"z": b""}, 2),)

        def swap(layers: Layers = layers, folded: Frozen = folded, tables: tuple[Table, ...] = tables) -> None:
            layers.end_fold(folded, tables)

        found, came_so_far = overtaken(lambda layers=layers: layers.get(key), CODES, line, swap)
        assert found == value, f"line {line}"
        assert layers.get(key) == value, f"after line {line}"
    assert line >= 5


def test_a_get_that_a_freeze_overtakes_at_any_line_finds_the_key() -> None:
    """From the active memtable to a frozen one: seen twice perhaps, never not at all."""
    line = 0
    came_so_far = True
    while came_so_far:
        line += 1
        layers = Layers(SimulatedClock())
        layers.apply([Commit(b"x", Kind.BATCH, ((b"k", b"v"),), durable=False)], 1)
        found, came_so_far = overtaken(lambda layers=layers: layers.get(b"k"), CODES, line, layers.freeze)
        assert found == b"v", f"line {line}"
    assert line > 1
