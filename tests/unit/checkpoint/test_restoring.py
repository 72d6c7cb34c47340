"""A store made of a checkpoint: where it goes, who else is there, and what makes none."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.checkpoint import saved_store
from journalkit.checkpoint.reading import ChunkReader
from journalkit.checkpoint.saved_store import SavedStore
from journalkit.cli.program import main
from journalkit.errors import (
    CorruptionError,
    KeyTypeError,
    KeyValueError,
    LockedError,
    UnsupportedFormatError,
    UsageError,
)
from journalkit.format import compression
from journalkit.format.checksum import checksum
from journalkit.format.nodes import StoreNode, TableNode
from journalkit.format.table import FOOTER_BYTES, HEADER_BYTES
from journalkit.recovery import restoring
from journalkit.testing import SimulatedDisk
from tests.unit.checkpoint.conftest import Place
from tests.unit.checkpoint.stored import MANUAL, is_sound, restore

# -- where to --------------------------------------------------------------------------------------


def test_it_goes_where_nothing_is_and_never_over_anything(handle: SavedStore, expected: dict[Any, Any]) -> None:
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


def test_what_a_table_alone_leaves_is_no_restore(handle: SavedStore) -> None:
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


def test_options_that_cant_be_are_refused_and_nothing_is_left(handle: SavedStore) -> None:
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


def test_on_a_network_file_system_it_is_refused_unless_trusted(handle: SavedStore) -> None:
    """As opening is, before anything is written."""
    disk = SimulatedDisk(filesystem_type="nfs4")
    with pytest.raises(UsageError, match="nfs4"):
        restore(handle, disk)
    assert disk.status("/new") is None
    restore(handle, disk, trust_filesystem="nfs4").close()


def test_it_can_be_restored_for_reading_alone(handle: SavedStore, expected: dict[Any, Any]) -> None:
    """For who only looks; and a writer finds it as it was saved."""
    disk = SimulatedDisk()
    with restore(handle, disk, mode="r") as store:
        assert dict(store) == expected
        assert set(disk.list("/new")) == {"LOCK", "MANIFEST", *(n for n in disk.list("/new") if n.endswith(".jkt"))}
    assert is_sound(disk, expected)


def test_a_codec_that_isnt_installed_is_told_before_anything_is_written(
    handle: SavedStore,
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
        store.update(dict.fromkeys(range(100), "same" * 100))
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


def test_of_two_at_once_one_is_refused_and_harms_nothing(handle: SavedStore, expected: dict[Any, Any]) -> None:
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
    handle: SavedStore, expected: dict[Any, Any], monkeypatch: pytest.MonkeyPatch
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
def test_tables_that_are_none_make_no_store(handle: SavedStore, spoil: Any, words: str) -> None:
    """A checkpoint is no signature: what passes its checks can still be nonsense."""
    disk = SimulatedDisk()
    spoiled = SavedStore(Spoiled(handle._reader, spoil), handle._node, "state")
    with pytest.raises(CorruptionError, match=words):
        restore(spoiled, disk)
    assert disk.status("/new") is None


def test_a_table_that_is_damaged_within_makes_no_store(handle: SavedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large one isn't looked at when it is opened: who restores it reads it back."""
    monkeypatch.setattr("journalkit.recovery.snapshots.SMALL_BYTES", 0)

    def spoil(data: bytes) -> bytes:
        return data[:1000] + bytes(8) + data[1008:] if len(data) > 5000 else data

    disk = SimulatedDisk()
    with pytest.raises(CorruptionError, match=r"(checksum|keys).*; load an older checkpoint"):
        restore(SavedStore(Spoiled(handle._reader, spoil), handle._node, "state"), disk)
    assert disk.status("/new") is None


def test_tables_that_dont_belong_together_make_no_store(handle: SavedStore) -> None:
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
        with pytest.raises(CorruptionError, match=r"belong|another table"):
            restore(SavedStore(handle._reader, wrong, "state"), disk)
        assert disk.status("/new") is None


# -- a real directory ------------------------------------------------------------------------------


def test_others_find_it_sound(handle: SavedStore, expected: dict[Any, Any], tmp_path: Path) -> None:
    """The command that verifies, and the independent reader of the documentation."""
    with handle.restore(tmp_path / "new", mode="r") as store:
        assert dict(store) == expected
    assert main(["verify", str(tmp_path / "new")]) == 0
    reader = runpy.run_path(str(Path(__file__).parents[3] / "docs" / "reference" / "read_store.py"))
    assert reader["main"]([str(tmp_path / "new")]) == 0
    with journalkit.open(tmp_path / "new") as store:
        assert store.epoch == handle._node.epoch + 1


def test_a_node_without_tables_is_an_empty_store(handle: SavedStore) -> None:
    """With its identity and its metadata."""
    node: StoreNode = replace(handle._node, tables=(), lsn=0)
    with restore(SavedStore(handle._reader, node, "state"), SimulatedDisk()) as store:
        assert (dict(store), store.lsn, store.snapshot_lsn) == ({}, 0, 0)
