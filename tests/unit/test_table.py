"""Tables, read: as they were written, at a cost that doesn't grow with them."""

from __future__ import annotations

import contextlib
import errno
import gc
import random
import threading
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.errors import ClosedError
from journalkit.format.block import Block, Entry
from journalkit.format.table import TableInfo
from journalkit.fs.interface import FileSystem
from journalkit.fs.memory import MemoryFileSystem
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter
from journalkit.testing import SimulatedDisk
from journalkit.types import ABSENT, UNSET

STORE = b"store-of-16-byte"
SALT = 0x1234_5678
FINAL = "/table-0000000000000007.jkt"


def start(fs: FileSystem, *, block_bytes: int = 256) -> TableWriter:
    """Begin table 7."""
    return TableWriter(fs, "/", 7, store_uuid=STORE, lsn=99, salt=SALT, block_bytes=block_bytes)


def write(fs: FileSystem, entries: Iterable[Entry], *, block_bytes: int = 256) -> TableInfo:
    """Write table 7."""
    with start(fs, block_bytes=block_bytes) as writer:
        writer.add_all(entries)
        return writer.finish()


def opened(fs: FileSystem, info: TableInfo, *, budget_bytes: int = 1 << 20) -> Table:
    """Open a table with a cache of its own."""
    return Table.open(fs, "/", info, STORE, BlockCache(budget_bytes))


def numbered(count: int) -> list[Entry]:
    """Return entries with even numbers, every fifth a tombstone."""
    return [(b"key-%06d" % (2 * n), None if n % 5 == 0 else b"value-%d" % n) for n in range(count)]


class CountingFile:
    def __init__(self, owner: CountingFileSystem, path: str) -> None:
        self._file = owner.disk.open_read(path)
        self._owner = owner

    def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
        data = self._file.pread(count_bytes, offset_bytes)
        self._owner.reads.append(len(data))
        return data

    def size(self) -> int:
        return self._file.size()

    def close(self) -> None:
        self._owner.closed += 1
        self._file.close()


class CountingFileSystem(SimulatedDisk):
    """Knows what was read of it, and which files were closed."""

    def __init__(self, disk: SimulatedDisk) -> None:
        super().__init__()
        self.disk = disk
        self.reads: list[int] = []
        self.closed = 0

    def open_read(self, path: str) -> CountingFile:  # type: ignore[override]
        return CountingFile(self, path)

    def open_direct(self, path: str) -> CountingFile:  # type: ignore[override]
        return CountingFile(self, path)


# -- reading what was written --------------------------------------------------------------------


@given(
    st.dictionaries(st.binary(max_size=6), st.none() | st.binary(max_size=60), max_size=60),
    st.integers(1, 300),
    st.lists(st.tuples(st.none() | st.binary(max_size=6), st.none() | st.binary(max_size=6)), max_size=8),
    st.sampled_from([0, 2000, 1 << 20]),
)
def test_a_table_answers_as_a_dict_does(
    model: Block, block_bytes: int, ranges: list[tuple[bytes | None, bytes | None]], budget_bytes: int
) -> None:
    """Gets, ranges and reverse ranges over every shape of table and of cache are those of the entries themselves."""
    fs = MemoryFileSystem()
    entries = sorted(model.items())
    info = write(fs, entries, block_bytes=block_bytes)
    table = opened(fs, info, budget_bytes=budget_bytes)
    assert info.entry_count == table.footer.entry_count == len(model)
    assert table.footer.tombstone_count == list(model.values()).count(None)
    probes = [*model, b"", b"\xff", *(key + b"\0" for key in model), *(key[:-1] for key in model)]
    for key in probes:
        assert table.get(key) == model.get(key, ABSENT)
    for start_key, stop_key in [(None, None), *ranges]:
        inside = [
            entry
            for entry in entries
            if (start_key is None or start_key <= entry[0]) and (stop_key is None or entry[0] < stop_key)
        ]
        assert list(table.scan(start_key, stop_key)) == inside
        assert list(table.scan(start_key, stop_key, reverse=True)) == inside[::-1]
        covered = {key for block in table.blocks(start_key, stop_key) for key in block.entries()}
        assert covered >= {key for key, _ in inside}
    table.verify()
    table.verify(from_device=True)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 255, 256, 257, 513])
def test_every_depth_of_index_leads_to_every_key(count: int) -> None:
    """Index blocks fill, close and stack: the seams are where keys get lost. Long keys make deep indexes."""
    for key_tail in (b"", b"x" * 4000):
        fs = MemoryFileSystem()
        entries: list[Entry] = [(b"%04d" % (2 * n) + key_tail, b"v%d" % n) for n in range(count)]
        table = opened(fs, write(fs, entries, block_bytes=1))
        assert table.footer.block_count == count
        assert list(table.scan(None, None)) == entries
        assert list(table.scan(None, None, reverse=True)) == entries[::-1]
        for n, (key, value) in enumerate(entries):
            assert table.get(key) == value
            assert table.get(b"%04d" % (2 * n + 1)) is ABSENT
            assert [entry[0] for entry in table.scan(b"%04d" % (2 * n - 1), key + b"\0")] == [key]
        table.verify()


def test_opening_and_a_get_cost_the_same_for_every_size_of_table() -> None:
    """State may exceed memory: a restart must not read an index as long as the table."""
    cost = {}
    for count in (2000, 20000):
        disk = SimulatedDisk()
        info = write(disk, numbered(count), block_bytes=1)
        fs = CountingFileSystem(disk)
        table = Table.open(fs, "/", info, STORE, BlockCache(1 << 20))
        assert table.get(b"key-000002") == b"value-1"
        cost[count] = (len(fs.reads), sum(fs.reads))
    assert cost[2000][0] <= cost[20000][0] <= 6
    assert cost[20000][1] < 2 * 256 * 64


def test_a_block_is_read_once_while_it_is_cached() -> None:
    """A hot key costs no system call; one outside every block costs none either."""
    disk = SimulatedDisk()
    info = write(disk, numbered(1000))
    fs = CountingFileSystem(disk)
    cache = BlockCache(1 << 20)
    table = Table.open(fs, "/", info, STORE, cache)
    assert table.get(b"key-000002") == b"value-1"
    assert table.get(b"key-000012") == b"value-6"
    before = len(fs.reads)
    assert table.get(b"key-000002") == b"value-1"
    assert table.get(b"key-000000") is None
    assert table.get(b"key-000001") is ABSENT
    assert table.get(b"a") is ABSENT
    assert table.get(b"z") is ABSENT
    assert len(fs.reads) == before
    assert cache.statistics().hits >= 3
    assert list(table.scan(b"key-000002", b"key-000003")) == [(b"key-000002", b"value-1")]
    assert len(fs.reads) == before


def test_a_lookup_that_misses_the_cache_reads_one_block_and_no_index() -> None:
    """Data blocks come and go by the thousand; the few index blocks above them must not go with them."""
    disk = SimulatedDisk()
    info = write(disk, numbered(12000))
    fs = CountingFileSystem(disk)
    cache = BlockCache(300_000)
    table = Table.open(fs, "/", info, STORE, cache)
    assert table.source.root.level == 1
    keys = [entry[0] for entry in numbered(12000)]
    random.Random(5).shuffle(keys)
    for key in keys[:2000]:
        table.get(key)
    fs.reads.clear()
    misses = cache.statistics().misses
    for key in keys[2000:4000]:
        table.get(key)
    assert len(fs.reads) == cache.statistics().misses - misses > 500
    assert max(fs.reads) <= 256 + 8, "an index block is larger"


def test_a_large_value_has_a_block_of_its_own() -> None:
    """A small key beside a large value must not cost reading that value."""
    fs = MemoryFileSystem()
    large = bytes(3 << 20)
    entries: list[Entry] = [(b"a", b"1"), (b"b", large), (b"c", b"3")]
    table = opened(fs, write(fs, entries, block_bytes=16384))
    assert [block.entry[:2] for block in table.blocks()] == [(b"a", b"a"), (b"b", b"b"), (b"c", b"c")]
    assert list(table.scan(None, None)) == entries
    assert table.get(b"b") == large
    table.verify()


def test_blocks_are_about_as_large_as_asked_for() -> None:
    """The block is the unit of reading and of caching."""
    fs = MemoryFileSystem()
    table = opened(fs, write(fs, numbered(5000), block_bytes=4096))
    sizes = [block.entry.length_bytes for block in table.blocks()]
    assert all(3900 < size <= 4096 + 8 for size in sizes[:-1])


def test_a_table_knows_its_own_file() -> None:
    """The manifest's record has to fit the very bytes: size, counts, checksum, salt."""
    disk = SimulatedDisk()
    info = write(disk, numbered(10))
    raw = disk.read_bytes(FINAL)
    assert info == TableInfo(7, len(raw), 10, int.from_bytes(raw[-4:], "little"), SALT)
    table = opened(disk, info)
    assert (table.path, table.info) == (FINAL, info)
    assert (table.footer.lsn, table.footer.tombstone_count) == (99, 2)


def test_threads_read_one_table_through_one_small_cache() -> None:
    """Reads share a descriptor and a cache that evicts under them; values stay right."""
    fs = MemoryFileSystem()
    entries = numbered(2000)
    table = opened(fs, write(fs, entries), budget_bytes=60_000)
    wrong: list[object] = []

    def work(stride: int) -> None:
        for turn in range(600):
            key, value = entries[turn * stride % len(entries)]
            if table.get(key) != value:
                wrong.append(key)
        if list(table.scan(b"key-001000", b"key-002000")) != entries[500:1000]:
            wrong.append("scan")

    threads = [threading.Thread(target=work, args=(stride,)) for stride in (1, 7, 131, 977)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- the life of a table -------------------------------------------------------------------------


def test_a_closed_table_says_so_and_leaves_the_cache() -> None:
    """A read after close must not reach a descriptor that by now is another file's."""
    disk = SimulatedDisk()
    fs = CountingFileSystem(disk)
    cache = BlockCache(1 << 20)
    info = write(disk, numbered(1000))
    table = Table.open(fs, "/", info, STORE, cache)
    assert table.get(b"key-000002") == b"value-1"
    scan = table.scan(None, None)
    assert next(scan) == (b"key-000000", None)
    table.close()
    table.close()
    assert fs.closed == 1
    assert cache.statistics().size_bytes == 0
    with pytest.raises(ClosedError):
        table.get(b"key-000002")
    with pytest.raises(ClosedError):
        table.verify()
    with pytest.raises(ClosedError):
        list(scan)
    with pytest.raises(ClosedError):
        next(table.blocks()).bodies()


def test_a_dropped_table_closes_its_file() -> None:
    """Views pin tables by holding them; the last one to go gives the descriptor back."""
    disk = SimulatedDisk()
    fs = CountingFileSystem(disk)
    cache = BlockCache(1 << 20)
    info = write(disk, numbered(100))
    table = Table.open(fs, "/", info, STORE, cache)
    scan = table.scan(None, None)
    assert next(scan) == (b"key-000000", None)
    del table
    gc.collect()
    assert fs.closed == 0, "a scan under way still needs the table"
    del scan
    gc.collect()
    assert fs.closed == 1
    assert cache.statistics().size_bytes == 0


def test_an_open_that_fails_leaves_no_descriptor() -> None:
    """Recovery tries older snapshots: each refusal must not cost a descriptor."""
    disk = SimulatedDisk()
    info = write(disk, numbered(10))
    disk.flip_bit(FINAL, 3)
    fs = CountingFileSystem(disk)
    with contextlib.suppress(Exception):
        Table.open(fs, "/", info, STORE, BlockCache(0))
    assert fs.closed == 1


def test_verify_reads_the_device_in_large_pieces_and_closes_what_it_opened() -> None:
    """A direct read costs the same for 16 KiB as for one block, and memory stays bounded."""
    disk = SimulatedDisk()
    info = write(disk, ((b"%08d" % n, bytes(1000)) for n in range(5000)))
    fs = CountingFileSystem(disk)
    table = Table.open(fs, "/", info, STORE, BlockCache(0))
    fs.reads.clear()
    table.verify(from_device=True)
    assert fs.closed == 1
    assert max(fs.reads) <= 1 << 20
    assert len(fs.reads) < 60


def test_what_the_system_refuses_is_its_own_error() -> None:
    """A missing file may mean a newer manifest, a failing read a failing disk: neither is proof of damage."""
    disk = SimulatedDisk()
    info = write(disk, numbered(1000))
    table = opened(disk, info)
    disk.fail("pread", 1, errno.EIO)
    with pytest.raises(OSError) as caught:
        table.get(b"key-000002")
    assert caught.value.errno == errno.EIO
    disk.unlink(FINAL)
    assert table.get(b"key-000002") == b"value-1", "who has the file open keeps it"
    with pytest.raises(FileNotFoundError):
        opened(disk, info)


def test_a_hot_get_makes_no_objects_that_the_collector_walks() -> None:
    """A store under load must not pay for garbage collection with every read."""
    fs = MemoryFileSystem()
    table = opened(fs, write(fs, numbered(1000)))
    table.get(b"key-000002")
    gc.collect()
    gc.disable()
    try:
        before = gc.get_count()[0]
        for _ in range(200):
            table.get(b"key-000002")
        assert gc.get_count()[0] - before < 20
    finally:
        gc.enable()


def test_what_the_compiled_path_finds_is_the_answer() -> None:
    """And what it leaves is looked for as ever; tests/unit/store/test_compiled_reads.py holds what it finds to this."""
    fs = MemoryFileSystem()
    table = opened(fs, write(fs, numbered(50)))
    key, value = numbered(50)[1]
    assert table.get(key) == value
    table._find = lambda key: UNSET if key == b"left" else b"found " + key
    assert table.get(b"key") == b"found key"
    assert table.get(b"left") is ABSENT
    table.close()
