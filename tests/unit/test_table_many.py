"""Many keys of a table at once: what single gets say, and each block read once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.errors import CorruptionError
from journalkit.format.block import block_length
from journalkit.format.table import HEADER_BYTES
from journalkit.fs.memory import MemoryFileSystem
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter
from journalkit.types import ABSENT

STORE = b"store-of-16-byte"
keys_of = st.binary(min_size=1, max_size=3)


def table_of(entries: dict[bytes, bytes | None], block_bytes: int, cache_bytes: int = 0) -> Table:
    """Write a table and open it."""
    fs = MemoryFileSystem()
    with TableWriter(fs, "/", 1, store_uuid=STORE, lsn=1, salt=7, block_bytes=block_bytes) as writer:
        writer.add_all(sorted(entries.items()))
        return Table.open(fs, "/", writer.finish(), STORE, BlockCache(cache_bytes))


@given(
    st.dictionaries(keys_of, st.none() | st.binary(max_size=20)),
    st.sets(keys_of),
    st.sampled_from([1, 60, 16384]),
    st.sampled_from([0, 2000, 1 << 20]),
)
def test_many_keys_at_once_are_what_single_ones_are(
    entries: dict[bytes, bytes | None], asked: set[bytes], block_bytes: int, cache_bytes: int
) -> None:
    """In the table, deleted by it, between its keys, ahead of them and behind; with and without a filter asked."""
    table = table_of(entries, block_bytes, cache_bytes)
    keys = sorted(asked | set(list(entries)[::2]))
    for _ in range(2):
        found: dict[bytes, bytes | None] = {}
        silent = table.get_many(keys, found)
        assert silent == [key for key in keys if key not in entries]
        assert found == {key: entries[key] for key in keys if key in entries}
    assert all(table.get(key) == entries.get(key, ABSENT) for key in keys)


def test_a_table_of_several_levels_is_gone_through_from_left_to_right() -> None:
    """Hundreds of blocks in parts of an index: each key is looked for in its own."""
    entries: dict[bytes, bytes | None] = {b"%06d" % number: b"v%d" % number for number in range(0, 3000, 2)}
    table = table_of(entries, 1)
    assert table.source.root.level
    found: dict[bytes, bytes | None] = {}
    silent = table.get_many([b"", *(b"%06d" % number for number in range(0, 3000, 5)), b"x"], found)
    assert silent == [b"", *(b"%06d" % number for number in range(5, 3000, 10)), b"x"]
    assert found == {b"%06d" % number: b"v%d" % number for number in range(0, 3000, 10)}
    assert table.get_many([], found) == []


def test_each_block_is_read_once_whatever_is_asked_of_it() -> None:
    """What many keys at once are for, where no cache keeps the block."""
    table = table_of({b"%06d" % number: bytes(50) for number in range(100)}, 16384)
    reads = []
    file = table.source.file

    class Counted:
        def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
            reads.append(offset_bytes)
            return file.pread(count_bytes, offset_bytes)

        def size(self) -> int:
            return file.size()

    table.source = replace(table.source, file=Counted())
    found: dict[bytes, bytes | None] = {}
    assert table.get_many([b"%06d" % number for number in range(0, 100, 3)], found) == []
    assert (len(found), reads) == (34, [HEADER_BYTES])


def test_an_entry_that_is_nonsense_is_damage_to_who_asks_for_many() -> None:
    """As it is to who asks for it alone."""
    fs = MemoryFileSystem()
    with TableWriter(fs, "/", 1, store_uuid=STORE, lsn=1, salt=7) as writer:
        writer.add_all([(b"a", b"1"), (b"b", b"2"), (b"c", b"3")])
        info = writer.finish()
    table = Table.open(fs, "/", info, STORE, BlockCache(1 << 20))
    assert table.get(b"a") == b"1"
    [slot] = table._cache.slots.values()
    raw = bytearray(slot.block)
    assert block_length(bytes(raw)) == len(raw)
    raw[12:16] = (2**32 - 1).to_bytes(4, "little")
    slot.block = bytes(raw)
    with pytest.raises(CorruptionError, match="b'a' to b'c'"):
        table.get_many([b"a", b"b"], {})
