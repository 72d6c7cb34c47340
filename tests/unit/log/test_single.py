"""The quick way for a record that is alone is the plain way, in fewer steps."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from journalkit.errors import StorageError, StoreFullError
from journalkit.format.frame import Kind, encode_with_checksum
from journalkit.log.writer import LogWriter
from journalkit.testing import SimulatedDisk

Maker = Callable[..., Any]

OPERATIONS = ("pwrite", "sync_data")


def history(bench: Maker, *faults: tuple[str, int, int]) -> tuple[Any, list[object]]:
    """Do the same work on a disk with these faults; return the log and what each commit came to."""
    disk = SimulatedDisk()
    log = bench(fs=disk, segment_bytes_max=4096)
    for operation, nth, error in faults:
        disk.fail(operation, nth, error)
    outcomes: list[object] = []
    for number in range(40):
        try:
            outcomes.append(log.put(b"%03d" % number * (number + 1), durable=number % 3 == 0))
        except (StoreFullError, StorageError) as failure:
            outcomes.append(type(failure))
    return log, outcomes


def both(bench: Maker, monkeypatch: pytest.MonkeyPatch, *faults: tuple[str, int, int]) -> None:
    """Hold the quick way and the plain way to the same bytes and the same outcomes."""
    quick, quick_outcomes = history(bench, *faults)
    with monkeypatch.context() as patch:
        patch.setattr(LogWriter, "write_single", lambda _self, *_: 0)
        plain, plain_outcomes = history(bench, *faults)
    assert quick_outcomes == plain_outcomes
    assert quick.visible == plain.visible
    assert (quick.log.last_lsn, quick.log.durable_lsn) == (plain.log.last_lsn, plain.log.durable_lsn)
    for name in plain.fs.list("/store"):
        assert quick.fs.read_bytes(f"/store/{name}") == plain.fs.read_bytes(f"/store/{name}"), name


def test_a_single_record_is_written_as_a_group_of_one_would_be(bench: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ways to write that differ in a byte are two formats."""
    both(bench, monkeypatch)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_single_record_whose_sync_fails_ends_as_a_group_does(
    bench: Maker, monkeypatch: pytest.MonkeyPatch, operation: str, error: int
) -> None:
    """The quick way leaves everything out of the ordinary to the plain one; a failed fsync stays failed."""
    quick, outcomes = history(bench, (operation, 5, error))
    if operation == "sync_data":
        assert StorageError in outcomes
        both(bench, monkeypatch, (operation, 5, error))
    records = quick.check(quick.fs.crash("all"))
    # A record whose fsync failed may have reached the disk all the same; one that was refused for want of room not.
    assert 0 <= len(records) - quick.log.last_lsn <= (operation == "sync_data" or error == errno.EIO)


def test_a_short_write_of_a_single_record_is_finished(bench: Maker) -> None:
    """The kernel may take less than it was given; the record is acknowledged whole."""
    disk = SimulatedDisk()
    log = bench(fs=disk)
    disk.short_write(1, 10)
    assert log.put(b"a" * 100) == 1
    assert log.put(b"b", durable=True) == 2
    assert log.check(disk.crash("none")) == [(1, b"a" * 100), (2, b"b")]


def test_an_interrupted_single_record_is_carried_on_by_the_next_leader(bench: Maker) -> None:
    """What was begun stands where the next leader looks."""
    disk = SimulatedDisk()
    log = bench(fs=disk)
    interrupted = []

    def interrupt(_commits: object, _last_lsn: int) -> None:
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    log.apply = interrupt
    with pytest.raises(KeyboardInterrupt):
        log.put(b"first", durable=True)
    assert log.put(b"second", durable=True) == 2
    assert log.visible == {1: b"first", 2: b"second"}
    assert log.check(disk.crash("none")) == [(1, b"first"), (2, b"second")]


@pytest.mark.parametrize(
    ("failure", "is_written"),
    [(None, False), (None, True), (OSError(errno.EIO, "torn"), False), (OSError(errno.ENOSPC, "no room"), False)],
)
def test_what_the_compiled_path_has_begun_is_carried_on(
    bench: Maker, failure: OSError | None, is_written: bool
) -> None:
    """It notes the record before its write; from there on this is what `write_single` does itself."""
    disk = SimulatedDisk()
    log = bench(fs=disk)
    writer = log.log._writer
    active = writer.segments.position.active
    data, checksum = encode_with_checksum(b"begun", 1, 7, 0, Kind.RECORD, active.entry.salt, active.end_bytes)
    writer.single = iter((b"begun", Kind.RECORD, (), False, data, active.end_bytes, 1))
    active.unsure_until_bytes = active.end_bytes + len(data)
    if is_written:
        active.file.pwrite(data, active.end_bytes)
    if failure is None:
        assert writer.resume_single(None, is_written) == 1
        assert active.last_checksum == checksum
        assert log.put(b"next", durable=True) == 2
        assert log.check(disk.crash("none")) == [(1, b"begun"), (2, b"next")]
    elif failure.errno == errno.ENOSPC:
        with pytest.raises(StoreFullError):
            writer.resume_single(failure, False)
        assert log.put(b"next", durable=True) == 1
        assert log.check(disk.crash("none")) == [(1, b"next")]
    else:
        with pytest.raises(StorageError):
            writer.resume_single(failure, False)
        assert log.log.failure is not None


def test_a_record_whose_fsync_failed_on_the_compiled_path_is_refused(bench: Maker) -> None:
    """It was written; the kernel would sync it now and say 0, and that would be a lie."""
    log = bench(fs=SimulatedDisk())
    writer = log.log._writer
    active = writer.segments.position.active
    data, _ = encode_with_checksum(b"begun", 1, 7, 0, Kind.RECORD, active.entry.salt, active.end_bytes)
    active.file.pwrite(data, active.end_bytes)
    writer.single = iter((b"begun", Kind.RECORD, (), True, data, active.end_bytes, 1))
    active.attempts.failed_errno = errno.EIO
    with pytest.raises(StorageError, match="could not be synced"):
        writer.resume_single(None, True)
    assert log.log.failure is not None
    assert log.log.durable_lsn == 0
