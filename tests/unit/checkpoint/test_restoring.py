"""A store made of a checkpoint: whole and opened, or nothing at all, whatever goes wrong at whichever operation."""

from __future__ import annotations

import errno
import itertools
import runpy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

import journalkit
from journalkit.checkpoint import saved_store
from journalkit.checkpoint.reading import ChunkReader
from journalkit.checkpoint.saved_store import SavedStore
from journalkit.cli.program import main
from journalkit.errors import (
    CorruptionError,
    JournalError,
    KeyTypeError,
    KeyValueError,
    LockedError,
    StorageError,
    StoreFullError,
    StoreNotFoundError,
    UnsupportedFormatError,
    UsageError,
)
from journalkit.format import compression
from journalkit.format.checksum import checksum
from journalkit.format.nodes import StoreNode, TableNode
from journalkit.format.table import FOOTER_BYTES, HEADER_BYTES
from journalkit.recovery import restoring
from journalkit.testing import PowerCut, SimulatedClock, SimulatedDisk
from tests.unit.checkpoint.conftest import Place

MANUAL: dict[str, Any] = {"compaction": "manual"}
Handle = SavedStore


@pytest.fixture(scope="module")
def expected() -> dict[Any, Any]:
    """What the store has."""
    return {key: Random(key).randbytes(100) for key in range(60)}


@pytest.fixture
def handle(expected: dict[Any, Any]) -> Iterator[Handle]:
    """A saved store of two tables."""
    place = Place()
    with journalkit.open("memory://", fold_bytes_min=1, **MANUAL) as store:
        store.update(expected | {"gone": 1})
        store.compact()
        del store["gone"]
        yield place.open().save({"db": store}).load(lazy=True)["db"]
    place.end()


def restore(handle: Handle, disk: SimulatedDisk, path: str = "/new", seed: int = 1, **options: Any) -> Any:
    """Restore, and return the store."""
    return handle.restore(path, fs=disk, clock=SimulatedClock(seed=seed), **MANUAL | options)


def is_sound(disk: SimulatedDisk, expected: dict[Any, Any]) -> bool:
    """Return whether there is a store, which then is the one; where there is none it can be restored."""
    try:
        store = journalkit.open("/new", fs=disk, create=False, clock=SimulatedClock(seed=9), **MANUAL)
    except (StoreNotFoundError, UsageError):
        return False
    with store:
        store.check()
        assert dict(store) == expected
        assert store.recovery_report.outcome in ("clean", "replayed")
    return True


# -- where to --------------------------------------------------------------------------------------


def test_it_goes_where_nothing_is_and_never_over_anything(handle: Handle, expected: dict[Any, Any]) -> None:
    """A store that is there may be the job's own of its last life, with more in it than was saved."""
    disk = SimulatedDisk()
    for path in ("/new", "/deep/er"):
        restore(handle, disk, path).close()
    disk.make_directory("/empty")
    with restore(handle, disk, "/empty") as store:
        store["more"] = 1
        with pytest.raises(UsageError, match="is a store already"):
            restore(handle, disk, "/empty")
    disk.make_directory("/other")
    disk.write_bytes("/other/mine.txt", b"x")
    with pytest.raises(UsageError, match=r"holds 'mine.txt'"):
        restore(handle, disk, "/other")
    with pytest.raises(UsageError, match="is a file or a link"):
        restore(handle, disk, "/other/mine.txt")
    assert disk.list("/other") == ["mine.txt"]
    with journalkit.open("/empty", fs=disk, **MANUAL) as store:
        assert dict(store) == expected | {"more": 1}


def test_what_a_table_alone_leaves_is_no_restore(handle: Handle) -> None:
    """Tables without a manifest and without the mark are what is left of somebody's store."""
    disk = SimulatedDisk()
    restore(handle, disk).close()
    disk.unlink("/new/MANIFEST")
    before = list(disk.list("/new"))
    with pytest.raises(UsageError, match="name an empty or a new directory"):
        restore(handle, disk)
    assert list(disk.list("/new")) == before
    with pytest.raises(CorruptionError, match="the manifest is missing"):
        journalkit.open("/new", fs=disk)


def test_options_that_cant_be_are_refused_and_nothing_is_left(handle: Handle) -> None:
    """Those that opening refuses too, which is when all is written."""
    disk = SimulatedDisk()
    for options in ({"codec": "raw"}, {"create": True}, {"metadata": {}}, {"colour": 1}):
        with pytest.raises(KeyTypeError, match="no option here"):
            restore(handle, disk, **options)
    for options in ({"sync": "sometimes"}, {"mode": "w"}, {"cache_bytes": -1}):
        with pytest.raises(UsageError):
            restore(handle, disk, **options)
    assert disk.status("/new") is None
    disk.make_directory("/new")
    with pytest.raises(UsageError):
        restore(handle, disk, mode="w")
    assert not disk.list("/new")
    with pytest.raises(KeyTypeError, match="neither a str nor a path"):
        handle.restore(5)  # type: ignore[arg-type]
    with pytest.raises(KeyValueError, match="a store lives in a directory"):
        handle.restore("s3://bucket/state")


def test_on_a_network_file_system_it_is_refused_unless_trusted(handle: Handle) -> None:
    """As opening is, before anything is written."""
    disk = SimulatedDisk(filesystem_type="nfs4")
    with pytest.raises(UsageError, match="nfs4"):
        restore(handle, disk)
    assert disk.status("/new") is None
    restore(handle, disk, trust_filesystem="nfs4").close()


def test_it_can_be_restored_for_reading_alone(handle: Handle, expected: dict[Any, Any]) -> None:
    """For who only looks; and a writer finds it as it was saved."""
    disk = SimulatedDisk()
    with restore(handle, disk, mode="r") as store:
        assert dict(store) == expected
        assert set(disk.list("/new")) == {"LOCK", "MANIFEST", *(n for n in disk.list("/new") if n.endswith(".jkt"))}
    assert is_sound(disk, expected)


def test_a_codec_that_isnt_installed_is_told_before_anything_is_written(
    handle: Handle,
) -> None:
    """Such as one that a later version has."""
    disk = SimulatedDisk()
    later = SavedStore(handle._reader, replace(handle._node, codec="later"), "state")
    with pytest.raises(UnsupportedFormatError, match="later"):
        restore(later, disk)
    assert disk.status("/new") is None


def test_tables_that_take_a_library_are_refused_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed ones, where there is no Zstandard."""
    place = Place()
    with journalkit.open("memory://", compression="zstd", **MANUAL) as store:
        store.update({key: "same" * 100 for key in range(100)})
        store.compact()
        handle = place.open().save(store).load(lazy=True)
    disk = SimulatedDisk()

    def missing() -> Any:
        raise compression.MissingLibraryError("compression takes a package")

    monkeypatch.setattr("journalkit.format.table.library", missing)
    with pytest.raises(UnsupportedFormatError, match="zstd"):
        restore(handle, disk)
    assert disk.status("/new") is None
    place.end()


# -- two at once -----------------------------------------------------------------------------------


def test_of_two_at_once_one_is_refused_and_harms_nothing(handle: Handle, expected: dict[Any, Any]) -> None:
    """Whenever the other one comes: while it is written, or between two looks."""
    disk = SimulatedDisk()
    disk.make_directory("/new")
    lock = disk.lock("/new/LOCK")
    assert lock is not None
    with pytest.raises(LockedError):
        restore(handle, disk)
    lock.close()
    restore(handle, disk, "/first").close()

    def late(fs: Any, directory: str) -> bool:
        del fs, directory
        monkey.undo()
        restore(handle, disk, seed=2).close()
        return True

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(restoring, "_check", late)
        with pytest.raises(UsageError, match="is a store already"):
            restore(handle, disk)
    assert is_sound(disk, expected)


def test_what_somebody_else_opened_meanwhile_isnt_taken_back(
    handle: Handle, expected: dict[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is a store it is anybody's: who has it keeps it, and what was written stays."""
    disk = SimulatedDisk()
    opened: list[Any] = []
    really = saved_store.open_store

    def first(*args: Any, **options: Any) -> Any:
        opened.append(really(*args, **options))
        return really(*args, **options)

    monkeypatch.setattr(saved_store, "open_store", first)
    with pytest.raises(LockedError):
        restore(handle, disk)
    with opened[0] as store:
        assert dict(store) == expected

    def and_closed(*args: Any, **options: Any) -> Any:
        with really(*args, **options) as store:
            store["theirs"] = 1
        raise KeyboardInterrupt

    monkeypatch.setattr(saved_store, "open_store", and_closed)
    with pytest.raises(KeyboardInterrupt):
        restore(handle, disk, "/other")
    with journalkit.open("/other", fs=disk, **MANUAL) as store:
        assert store["theirs"] == 1


# -- damage ----------------------------------------------------------------------------------------


class Spoiled(ChunkReader):
    """A reader of chunks that are sound and make no table."""

    def __init__(self, reader: ChunkReader, spoil: Callable[[bytes], bytes]) -> None:
        self._inner = reader
        self._spoil = spoil

    def length(self, index: int) -> int:
        return self._inner.length(index)

    def pieces(self, index: int, words: str | None = None, *, ahead: int | None = None) -> Any:
        yield memoryview(self._spoil(b"".join(self._inner.pieces(index, words, ahead=ahead))))


def spoiled_header(data: bytes) -> bytes:
    """Return a table that says that it is another one."""
    head = bytearray(data[: HEADER_BYTES - 4])
    head[40] ^= 7
    return bytes(head) + checksum(bytes(head)).to_bytes(4, "little") + data[HEADER_BYTES:]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: data[:50], "too short"),
        (lambda _: b"", "too short"),
        (lambda data: bytes(HEADER_BYTES) + data[HEADER_BYTES:], "not a table"),
        (lambda data: data[:-FOOTER_BYTES] + bytes(FOOTER_BYTES), "no footer"),
        (lambda data: data[:200] + bytes(8) + data[208:], "footer is damaged"),
        (lambda data: spoiled_header(data), "another table|header"),
    ],
)
def test_tables_that_are_none_make_no_store(handle: Handle, spoil: Any, words: str) -> None:
    """A checkpoint is no signature: what passes its checks can still be nonsense."""
    disk = SimulatedDisk()
    spoiled = SavedStore(Spoiled(handle._reader, spoil), handle._node, "state")
    with pytest.raises(CorruptionError, match=words):
        restore(spoiled, disk)
    assert disk.status("/new") is None


def test_tables_that_dont_belong_together_make_no_store(handle: Handle) -> None:
    """In another order, or one of them missing, or of another store, or at another LSN."""
    node = handle._node
    first, second = node.tables
    swapped = replace(node, tables=(TableNode(first.number, second.content), TableNode(second.number, first.content)))
    for wrong in (
        swapped,
        replace(node, tables=(second, first)),
        replace(node, tables=(first,)),
        replace(node, lsn=node.lsn + 1),
        replace(node, store=bytes(16)),
    ):
        disk = SimulatedDisk()
        with pytest.raises(CorruptionError, match="belong|another table"):
            restore(SavedStore(handle._reader, wrong, "state"), disk)
        assert disk.status("/new") is None


# -- whatever goes wrong, at whichever operation ---------------------------------------------------


@pytest.mark.parametrize("keep", ["all", "none", 1, 2])
def test_a_cut_at_any_operation_leaves_a_whole_store_or_none(
    handle: Handle, expected: dict[Any, Any], keep: Any
) -> None:
    """And where there is none, restoring again makes it: a job that was killed there is started again by nobody."""
    outcomes = set()
    for count in itertools.count(1):
        disk = SimulatedDisk()
        disk.stop_after(count)
        try:
            store = restore(handle, disk)
        except PowerCut:
            pass
        else:
            disk.stop_after(1000)
            store.close()
            break
        after = disk.crash(keep=keep)
        is_there = is_sound(after, expected)
        outcomes.add(is_there)
        if not is_there:
            with restore(handle, after, seed=3) as store:
                assert dict(store) == expected
            assert is_sound(after, expected)
    assert outcomes == {True, False}
    assert count > 30


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_an_error_at_any_operation_is_told_and_leaves_nothing(
    handle: Handle, expected: dict[Any, Any], code: int
) -> None:
    """A store that could not be opened in the end isn't left for somebody to take for his."""
    operations = ("create", "pwrite", "sync", "sync_directory", "rename", "lock", "list", "open_read", "open_direct",
                  "pread", "make_directory", "status", "describe", "unlink", "allocate")  # fmt: skip
    refused = 0
    for operation in operations:
        for nth in itertools.count(1):
            disk = SimulatedDisk()
            disk.fail(operation, nth, code)
            try:
                store = restore(handle, disk)
            except JournalError as error:
                refused += 1
                told = error if isinstance(error, OSError) else error.__cause__
                assert isinstance(told, OSError), f"{operation} {nth}: {error!r}"
                disk.mend()
                if is_sound(disk, expected):
                    # It was restored, and whether its opening came to anything isn't known.
                    assert "could not be published" in str(error), f"{operation} {nth}: {error}"
                    continue
                left = disk.list("/new") if disk.status("/new") is not None else []
                assert set(left) <= {"LOCK"}, f"{operation} {nth}"
                with restore(handle, disk, seed=3) as store:
                    assert dict(store) == expected
            else:
                was_hit = any("->" in line for line in disk.history())
                disk.mend()
                with store:
                    assert dict(store) == expected
                if not was_hit:
                    break
    assert refused > 30


def test_a_full_disk_is_told_as_that(handle: Handle) -> None:
    """And there is no more on it than before."""
    disk = SimulatedDisk(capacity_bytes=6000)
    with pytest.raises(StoreFullError):
        restore(handle, disk)
    assert disk.status("/new") is None


def test_an_error_that_stays_is_told_and_the_next_one_clears_away(handle: Handle, expected: dict[Any, Any]) -> None:
    """Where even what was written can't be removed, the mark says whose it is."""
    disk = SimulatedDisk()
    disk.fail("open_direct", 1, errno.EIO)
    disk.fail("unlink", 1, errno.EIO, times=None)
    disk.fail("remove_directory", 1, errno.EIO, times=None)
    with pytest.raises(StorageError, match="can't be restored"):
        restore(handle, disk)
    assert "restore.tmp" in disk.list("/new")
    disk.mend()
    with pytest.raises(UsageError, match="a restore that was cut short has left"):
        journalkit.open("/new", fs=disk)
    with pytest.raises(UsageError, match="a restore that was cut short has left"):
        journalkit.open("/new", mode="r", fs=disk)
    disk.write_bytes("/new/mine.txt", b"x")
    with pytest.raises(UsageError, match=r"mine\.txt"):
        restore(handle, disk)
    disk.unlink("/new/mine.txt")
    with restore(handle, disk) as store:
        assert dict(store) == expected


def test_a_mark_that_stays_means_nothing(handle: Handle, expected: dict[Any, Any]) -> None:
    """Beside a manifest it is swept by who opens, and where opening is refused it goes with the rest."""
    disk = SimulatedDisk()
    disk.fail("unlink", 1, errno.EIO, path_contains="restore.tmp")
    with restore(handle, disk, mode="r") as store:
        assert dict(store) == expected
    assert "restore.tmp" in disk.list("/new")
    with pytest.raises(UsageError, match="is a store already"):
        restore(handle, disk)
    assert is_sound(disk, expected)
    assert "restore.tmp" not in disk.list("/new")
    disk.fail("unlink", 1, errno.EIO, path_contains="restore.tmp")
    with pytest.raises(UsageError):
        restore(handle, disk, "/other", mode="w")
    assert disk.status("/other") is None


def test_the_largest_tables_are_synced_as_they_are_written(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing waits for all of them at the end."""
    monkeypatch.setattr(restoring, "SYNC_STRIDE_BYTES", 1)
    disk = SimulatedDisk()
    restore(handle, disk).close()
    assert any("sync_data" in line and ".jkt" in line for line in disk.history())


# -- a real directory ------------------------------------------------------------------------------


def test_others_find_it_sound(handle: Handle, expected: dict[Any, Any], tmp_path: Path) -> None:
    """The command that verifies, and the independent reader of the documentation."""
    with handle.restore(tmp_path / "new", mode="r") as store:
        assert dict(store) == expected
    assert main(["verify", str(tmp_path / "new")]) == 0
    reader = runpy.run_path(str(Path(__file__).parents[3] / "docs" / "reference" / "read_store.py"))
    assert reader["main"]([str(tmp_path / "new")]) == 0
    with journalkit.open(tmp_path / "new") as store:
        assert store.epoch == handle._node.epoch + 1


def test_a_node_without_tables_is_an_empty_store(handle: Handle) -> None:
    """With its identity and its metadata."""
    node: StoreNode = replace(handle._node, tables=(), lsn=0)
    with restore(SavedStore(handle._reader, node, "state"), SimulatedDisk()) as store:
        assert (dict(store), store.lsn, store.snapshot_lsn) == ({}, 0, 0)
