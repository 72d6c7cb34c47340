"""Opening a store: where it may live, what may be asked for, and nothing changed if it may not."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

import journalkit
from journalkit.errors import (
    ClosedError,
    JournalError,
    KeyTypeError,
    KeyValueError,
    LockedError,
    StorageError,
    StoreNotFoundError,
    UnsupportedFormatError,
    UsageError,
)
from journalkit.testing import SimulatedDisk


class Bench(Protocol):
    disk: Any
    clock: Any

    def open(self, **options: Any) -> journalkit.Store: ...


def tree(path: Path) -> dict[str, bytes]:
    """Return every file below a directory."""
    return {str(found.relative_to(path)): found.read_bytes() for found in path.rglob("*") if found.is_file()}


def test_a_store_is_made_and_found_again(tmp_path: Path) -> None:
    """By str or PathLike, below directories that aren't there yet; private to its owner."""
    place = tmp_path / "new" / "state"
    with journalkit.open(place) as store:
        store["a"] = 1
        assert (store.path, store.closed) == (str(place), False)
        assert store.recovery_report.outcome == "created"
        assert repr(store) == f"<journalkit.Store {str(place)!r}, mode 'rw', LSN 1, durable to 1>"
    assert repr(store) == f"<journalkit.Store {str(place)!r}, closed>"
    with journalkit.open(str(place), create=False) as store:
        assert store == {"a": 1}
        assert store.epoch == 2
        assert len(bytes.fromhex(store.uuid)) == 16
    assert {found.stat().st_mode & 0o777 for found in place.iterdir() if found.is_file()} == {0o600}
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_relative_path_means_the_same_place_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that changes its directory would have gone on in another one."""
    monkeypatch.chdir(tmp_path)
    with journalkit.open("state", segment_bytes_max=4096, compaction="manual") as store:
        assert store.path == "state"
        monkeypatch.chdir("/")
        for number in range(8):
            store[number] = b"x" * 1000
        store.compact()
        assert len(store) == 8
    assert not Path("/state").exists()
    with journalkit.open(tmp_path / "state", mode="r") as reader:
        assert len(reader) == 8


def test_memory_behaves_alike_and_is_gone_with_its_handle() -> None:
    """For tests and caches; two of them have nothing in common."""
    with journalkit.open("memory://") as store, journalkit.open("memory://") as other:
        store["a"] = 1
        store.compact()
        assert (store == {"a": 1}, other == {}, store.path) == (True, True, "memory://")
    with pytest.raises(StoreNotFoundError):
        journalkit.open("memory://", mode="r")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (None, KeyTypeError),
        (5, KeyTypeError),
        (b"/tmp/bytes", KeyTypeError),
        ("", KeyValueError),
        ("nul\0", KeyValueError),
        ("\ud800", KeyValueError),
        ("s3://bucket/store", KeyValueError),
        ("memory:///", KeyValueError),
    ],
)
@pytest.mark.parametrize("opener", [journalkit.open, journalkit.open_journal])
def test_what_is_no_path_is_refused(opener: Any, path: Any, error: type[UsageError]) -> None:
    """In one sentence, as a TypeError or a ValueError."""
    with pytest.raises(error):
        opener(path)


def test_a_name_that_is_not_utf8_is_a_name(tmp_path: Path) -> None:
    """POSIX names are bytes; Python says so with surrogates."""
    place = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    with journalkit.open(place) as store:
        store["a"] = 1
    with journalkit.open(place, mode="r") as store:
        assert store == {"a": 1}


@pytest.mark.parametrize("mode", ["rw", "r"])
@pytest.mark.parametrize("opener", [journalkit.open, journalkit.open_journal])
def test_a_file_is_not_a_store(tmp_path: Path, mode: Any, opener: Any) -> None:
    """Nor is anything in it touched."""
    place = tmp_path / "file"
    place.write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        opener(place, mode=mode)
    assert tree(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("opener", [journalkit.open, journalkit.open_journal])
def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path, opener: Any) -> None:
    """A store among other people's files would take them for its own."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"thesis\.txt"):
        opener(tmp_path)
    with pytest.raises(StoreNotFoundError):
        opener(tmp_path, mode="r")
    assert tree(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize("options", [{"mode": "r"}, {"create": False}])
def test_a_store_that_is_not_there_is_not_made_where_none_is_wanted(tmp_path: Path, options: dict[str, Any]) -> None:
    """A typing error must not become an empty store."""
    with pytest.raises(StoreNotFoundError) as caught:
        journalkit.open(tmp_path / "nowhere", **options)
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.path == str(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


WRONG_OPTIONS: list[tuple[dict[str, Any], type[UsageError]]] = [
    ({"mode": "w"}, UsageError),
    ({"mode": None}, UsageError),
    ({"sync": "sometimes"}, UsageError),
    ({"sync": None}, UsageError),
    ({"sync_interval_ms": 0}, KeyValueError),
    ({"sync_interval_ms": float("nan")}, KeyValueError),
    ({"sync_interval_ms": float("inf")}, KeyValueError),
    ({"sync_interval_ms": "100"}, KeyTypeError),
    ({"compaction": "daily"}, UsageError),
    ({"keep_snapshots": 0}, KeyValueError),
    ({"keep_snapshots": 1.5}, KeyTypeError),
    ({"keep_snapshots": True}, KeyTypeError),
    ({"recovery": "hope"}, UsageError),
    ({"max_recovery": 0}, KeyValueError),
    ({"max_recovery": "10 s"}, KeyTypeError),
    ({"max_recovery": True}, KeyTypeError),
    ({"max_age": timedelta(0)}, KeyValueError),
    ({"max_age": -1}, KeyValueError),
    ({"fold_bytes_min": 0}, KeyValueError),
    ({"fold_bytes_min": 1.0}, KeyTypeError),
    ({"fold_ratio": -1}, KeyValueError),
    ({"segment_bytes_max": 100}, KeyValueError),
    ({"segment_bytes_max": 1e9}, KeyTypeError),
    ({"cache_bytes": -1}, KeyValueError),
    ({"cache_bytes": None}, KeyTypeError),
    ({"codec": "pickle"}, KeyValueError),
    ({"codec": 5}, KeyTypeError),
    ({"metadata": [1]}, KeyTypeError),
    ({"metadata": {1: 2}}, KeyTypeError),
    ({"metadata": {"a": object()}}, KeyTypeError),
    ({"metadata": {"a": "x" * 40_000}}, KeyValueError),
]


@pytest.mark.parametrize(("options", "error"), WRONG_OPTIONS, ids=lambda value: str(value)[:40])
def test_a_wrong_option_is_refused_and_nothing_is_made(
    tmp_path: Path, options: dict[str, Any], error: type[UsageError]
) -> None:
    """Also where it would only have been noticed much later, in a background thread."""
    with pytest.raises(error):
        journalkit.open(tmp_path / "store", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [{"recovery": "hope"}, {"codec": "pickle"}, {"metadata": {1: 2}}, {"mode": "a"}, {"sync": "no"}]
)
def test_a_journal_refuses_the_same(tmp_path: Path, options: dict[str, Any]) -> None:
    """Its directory was made before the recovery mode was looked at."""
    with pytest.raises(UsageError):
        journalkit.open_journal(tmp_path / "journal", **options)
    assert list(tmp_path.iterdir()) == []


def test_options_that_make_sense_are_taken(bench: Bench) -> None:
    """Durations as seconds or timedelta."""
    store = bench.open(max_recovery=timedelta(seconds=5), max_age=60, fold_ratio=0.5, cache_bytes=0, keep_snapshots=1)
    store["a"] = 1
    store.compact()
    assert store["a"] == 1


def test_a_codec_belongs_to_the_store(bench: Bench) -> None:
    """Naming it again is fine; naming another is a mistake, whichever way it is opened."""
    with bench.open(codec="raw") as store:
        store["a"] = b"\xff not CBOR"
        store["empty"] = b""
        with pytest.raises(KeyTypeError):
            store["b"] = "text"
        with store.transaction() as tx:
            tx.offsets["input"] = {"any": "value"}
        store.compact()
        assert (store["a"], store["empty"]) == (b"\xff not CBOR", b"")
    for mode in ("rw", "r"):
        with pytest.raises(UsageError, match="raw"):
            bench.open(codec="cbor", mode=mode)
        for codec in (None, "raw"):
            with bench.open(codec=codec, mode=mode) as store:
                assert dict(store) == {"a": b"\xff not CBOR", "empty": b""}
                assert store.offsets == {"input": {"any": "value"}}


def test_metadata_is_kept_and_handed_out_as_a_copy(bench: Bench) -> None:
    """What was given first stays; it describes the store, not the opening."""
    with bench.open(metadata={"git": "abc", "list": [1]}) as store:
        store.metadata["list"].append(2)
        with pytest.raises(TypeError):
            store.metadata["more"] = 1  # type: ignore[index]
    for mode in ("rw", "r"):
        with bench.open(mode=mode) as store:
            assert store.metadata == {"git": "abc", "list": [1]}


def test_a_store_is_no_journal_and_a_journal_no_store(bench: Bench) -> None:
    """Their records mean different things."""
    bench.open().close()
    journalkit.open_journal("/journal", fs=bench.disk).close()
    for mode in ("rw", "r"):
        with pytest.raises(UsageError, match="journal"):
            journalkit.open("/journal", fs=bench.disk, mode=mode)
        with pytest.raises(UsageError, match="store"):
            journalkit.open_journal("/store", fs=bench.disk, mode=mode)


def test_the_second_writer_is_told_who_has_the_store(bench: Bench) -> None:
    """Host, process, since when; in the same process also where it was opened."""
    bench.open()
    before = bench.disk.operation_count
    with pytest.raises(LockedError, match="in this process") as caught:
        bench.open()
    error = caught.value
    assert error.pid == os.getpid()
    assert error.host == os.uname().nodename
    assert error.since.startswith("2026-01-01T00:00:00")
    assert error.path == "/store"
    opened_in, line = error.opened_at.rsplit(":", 1)
    assert os.path.basename(opened_in) == "conftest.py"
    assert int(line)
    # The lock itself is an operation; nothing else happened.
    assert bench.disk.operation_count == before + 1


def test_the_opener_is_named_even_if_it_is_called_journalkit_something() -> None:
    """Frames were passed over by how their module's name begins."""
    scope: dict[str, Any] = {"__name__": "journalkit_app.main"}
    exec(compile("import journalkit\ndef go():\n    return journalkit.open('memory://')", "app.py", "exec"), scope)
    with scope["go"]() as store:
        assert store._opened_at == "app.py:3"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_where_nothing_may_be_written_the_error_says_how_to_read(bench: Bench, number: int) -> None:
    """A read-only file system, or a directory of somebody else."""
    bench.open().close()
    bench.disk.fail("lock", 1, number, path_contains="LOCK")
    with pytest.raises(StorageError, match="mode='r'") as caught:
        bench.open()
    assert caught.value.errno == number
    assert bench.open(mode="r") == {}


@pytest.mark.parametrize("kind", ["nfs4", "9p", "fuse.sshfs"])
def test_a_file_system_that_may_lie_has_to_be_asked_for_by_name(bench: Bench, kind: str) -> None:
    """Reading is fine everywhere."""
    bench.disk.reported_filesystem_type = kind
    before = bench.disk.operation_count
    with pytest.raises(UsageError, match="trust_filesystem"):
        bench.open()
    with pytest.raises(UsageError, match=kind):
        bench.open(trust_filesystem="ext4")
    assert bench.disk.operation_count == before
    with bench.open(trust_filesystem=kind) as store:
        store["a"] = 1
    assert bench.open(mode="r") == {"a": 1}


@pytest.mark.parametrize("operation", ["open_read", "pread", "list", "status"])
@pytest.mark.parametrize("opener", [journalkit.open, journalkit.open_journal])
def test_a_disk_that_cannot_be_read_is_a_storage_error_for_readers_too(operation: str, opener: Any) -> None:
    """It was an OSError that no program expects."""
    disk = SimulatedDisk()
    with opener("/x", fs=disk):
        pass
    disk.fail(operation, 1, errno.EIO)
    with pytest.raises(StorageError, match="try again") as caught:
        opener("/x", fs=disk, mode="r")
    assert caught.value.errno == errno.EIO
    opener("/x", fs=disk, mode="r").close()


def test_a_thread_that_cannot_be_started_leaves_the_store_closed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its lock would be held by nobody that could let go."""

    def start(_thread: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", start)
    for options in ({"compaction": "thread"}, {"sync": "interval"}):
        with pytest.raises(RuntimeError):
            bench.open(**options)
    monkeypatch.undo()
    bench.open()


def test_the_report_tells_how_the_store_came_to_be_open(bench: Bench) -> None:
    """In fields, and in one line."""
    with bench.open() as store:
        assert str(store.recovery_report).startswith("created: LSN 0, 0 records replayed in 0.")
        store["a"] = 1
        store["b"] = 2
    with bench.open() as store:
        report = store.recovery_report
        assert (report.outcome, report.last_lsn, report.records_replayed, report.snapshot_lsn) == ("replayed", 2, 2, 0)
        assert (report.fell_back, report.bytes_cut, report.quarantine) == (False, 0, "")
        store.compact()
    with bench.open() as store:
        report = store.recovery_report
        assert (report.outcome, report.snapshot_lsn, report.records_replayed) == ("clean", 2, 0)
        store["c"] = 3
    disk = bench.disk
    with bench.open() as store:
        store.put("d", 4, sync="never")
        bench.disk = disk.crash("none")
        with bench.open() as after:
            assert after == {"a": 1, "b": 2, "c": 3}
            assert after.lsn == after.durable_lsn == 3


def test_a_store_of_another_codec_than_this_version_has_is_left_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written by a later one: upgrade."""
    bench.open(codec="raw").close()
    monkeypatch.setattr("journalkit.format.codec._CODECS", {})
    before = bench.disk.operation_count
    for mode in ("rw", "r"):
        with pytest.raises(UnsupportedFormatError, match="raw"):
            bench.open(mode=mode)
    assert bench.disk.operation_count <= before + 1


def test_every_error_of_opening_is_the_contracts(bench: Bench) -> None:
    """And a closed store says what it is."""
    store = bench.open()
    store.close()
    store.close()
    for attempt in (lambda: store["a"], lambda: store.put("a", 1), lambda: store.sync(), lambda: store.__enter__()):
        with pytest.raises(ClosedError, match="open it again"):
            attempt()
    assert issubclass(ClosedError, JournalError)
