"""Tables, written: whole and durable, or not there."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

import pytest

from journalkit.format.block import Entry
from journalkit.format.table import TableInfo
from journalkit.fs.interface import FileSystem
from journalkit.fs.memory import MemoryFileSystem
from journalkit.snapshot import writer as writer_module
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter
from journalkit.testing import PowerCut, SimulatedDisk

STORE = b"store-of-16-byte"
SALT = 0x1234_5678
FINAL = "/table-0000000000000007.jkt"
TEMPORARY = FINAL + ".tmp"


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


def test_a_finished_table_survives_a_power_cut() -> None:
    """The manifest will name it and the log behind it will be pruned: it has to be there."""
    disk = SimulatedDisk()
    info = write(disk, numbered(300))
    after = disk.crash("none")
    assert after.list("/") == ["table-0000000000000007.jkt"]
    assert list(opened(after, info).scan(None, None)) == numbered(300)


def test_a_cut_at_any_moment_leaves_a_whole_table_or_none() -> None:
    """Under its final name there is never half a table, whatever order the disk wrote in."""
    whole = SimulatedDisk()
    info = write(whole, numbered(300))
    for count in range(1, whole.operation_count + 1):
        disk = SimulatedDisk()
        disk.stop_after(count)
        with pytest.raises(PowerCut):
            write(disk, numbered(300))
        for keep in ("all", "none", 1, 2, 3):
            after = disk.crash(keep)
            if "table-0000000000000007.jkt" in after.list("/"):
                opened(after, info).verify()


@pytest.mark.parametrize("operation", ["pwrite", "sync", "rename"])
def test_a_failure_before_the_name_leaves_nothing_behind(operation: str) -> None:
    """The disk is full or failing: the error is the system's, and the temporary's room is given back."""
    disk = SimulatedDisk()
    disk.fail(operation, 1, errno.ENOSPC)
    with pytest.raises(OSError) as caught:
        write(disk, numbered(300))
    assert caught.value.errno == errno.ENOSPC
    assert disk.list("/") == []


def test_a_name_that_may_not_be_durable_is_not_reported_as_done() -> None:
    """The rename happened, its durability is unknown: the caller must not let the manifest name the table."""
    disk = SimulatedDisk()
    disk.fail("sync_directory", 1, errno.EIO)
    with pytest.raises(OSError) as caught:
        write(disk, numbered(300))
    assert caught.value.errno == errno.EIO
    assert TEMPORARY[1:] not in disk.list("/")


def test_giving_up_on_a_failing_disk_is_quiet() -> None:
    """The first error is the one that matters; cleaning up may fail too."""
    disk = SimulatedDisk()
    writer = start(disk)
    disk.fail("unlink", 1, errno.EIO)
    writer.abort()
    writer.abort()
    assert disk.list("/") == [TEMPORARY[1:]]
    assert write(disk, numbered(3)).entry_count == 3, "the next writer removes it"
    assert disk.list("/") == [FINAL[1:]]


def test_leaving_early_leaves_nothing_behind() -> None:
    """A cancelled fold, or a KeyboardInterrupt, is no reason for a file that nobody knows."""
    disk = SimulatedDisk()

    def entries() -> Iterator[Entry]:
        yield b"key", b"value"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(disk, entries())
    assert disk.list("/") == []


def test_a_finished_table_is_not_given_up() -> None:
    """Callers abort in `finally`."""
    disk = SimulatedDisk()
    with start(disk) as writer:
        writer.finish()
    writer.abort()
    assert disk.list("/") == [FINAL[1:]]


def test_a_stale_temporary_is_not_built_upon() -> None:
    """A killed process leaves half a table; its bytes must not show through."""
    disk = SimulatedDisk()
    disk.write_bytes(TEMPORARY, b"half a table" * 1000)
    info = write(disk, numbered(3))
    assert disk.list("/") == [FINAL[1:]]
    opened(disk, info).verify()


@pytest.mark.parametrize("key", [b"b", b"a", b""])
def test_keys_out_of_order_are_our_bug(key: bytes) -> None:
    """A table out of order loses keys silently: the writer is the last to notice."""
    fs = MemoryFileSystem()
    block = next(opened(fs, write(fs, [(key, b"1"), (b"c", b"2")])).blocks())
    with start(fs) as writer:
        writer.add(b"b", None)
        with pytest.raises(ValueError, match="follow"):
            writer.add(key, b"")
    with start(fs) as writer:
        writer.add(b"b", None)
        with pytest.raises(ValueError, match="follow"):
            writer.add_block(block.bodies()[0], block.entry)


def test_the_empty_key_comes_first() -> None:
    """It is a key like any other, and not the absence of one."""
    fs = MemoryFileSystem()
    table = opened(fs, write(fs, [(b"", b"empty"), (b"a", b"1")], block_bytes=1))
    assert table.get(b"") == b"empty"
    assert list(table.scan(b"", b"a")) == [(b"", b"empty")]
    block = next(table.blocks())
    with start(fs) as writer:
        writer.add_block(block.bodies()[0], block.entry)
        with pytest.raises(ValueError, match="follow"):
            writer.add(b"", None)


def test_a_block_that_is_not_the_one_described_is_refused() -> None:
    """A copied block is never parsed; its count is the one thing that can be compared."""
    fs = MemoryFileSystem()
    block = next(opened(fs, write(fs, numbered(3))).blocks())
    with start(fs) as writer, pytest.raises(ValueError, match="described"):
        writer.add_block(block.bodies()[0], block.entry._replace(entry_count=2))


def test_small_blocks_join_their_neighbours_and_large_ones_do_not() -> None:
    """Blocks lose entries fold after fold: crumbs would cost an index entry and a read each."""
    fs = MemoryFileSystem()
    crumbs = opened(fs, write(fs, numbered(600), block_bytes=1))
    with start(fs, block_bytes=1024) as writer:
        for block in crumbs.blocks():
            writer.add_block(block.bodies()[0], block.entry)
        joined = opened(fs, writer.finish())
    assert list(joined.scan(None, None)) == numbered(600)
    assert joined.footer.tombstone_count == 120
    lengths = [block.entry.length_bytes for block in joined.blocks()]
    assert all(1024 < length <= 1024 * 3 // 2 + 8 for length in lengths[:-1])
    joined.verify()
    with start(fs, block_bytes=1024) as writer:
        for block in joined.blocks():
            writer.add_block(block.bodies()[0], block.entry)
        copied = opened(fs, writer.finish())
    assert [block.entry.first for block in copied.blocks()] == [block.entry.first for block in joined.blocks()]


def test_bytes_go_to_the_disk_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither memory nor the last fsync may grow with the table: the log's own fsync waits behind it."""
    monkeypatch.setattr(writer_module, "BUFFER_BYTES", 10_000)
    monkeypatch.setattr(writer_module, "SYNC_STRIDE_BYTES", 40_000)
    disk = SimulatedDisk()

    def entries() -> Iterator[Entry]:
        for n in range(1000):
            yield b"%06d" % n, bytes(200)

    info = write(disk, entries(), block_bytes=1000)
    names = [line.split()[1] for line in disk.history()]
    assert names.count("pwrite") > 15
    assert names.count("sync_data") == 5
    assert names[-3:] == ["sync", "rename", "sync_directory"]
    opened(disk, info).verify()


def test_short_writes_are_gone_on_with() -> None:
    """A write may take fewer bytes than it was given."""
    disk = SimulatedDisk()
    disk.short_write(1, 1000)
    opened(disk, write(disk, numbered(300))).verify()


def test_a_writer_tells_how_far_it_is() -> None:
    """A fold throttles itself by bytes written."""
    fs = MemoryFileSystem()
    with start(fs) as writer:
        sizes = []
        for key, value in numbered(50):
            writer.add(key, value)
            sizes.append(writer.size_bytes)
        assert sizes == sorted(set(sizes))
        assert sizes[-1] < writer.finish().size_bytes
