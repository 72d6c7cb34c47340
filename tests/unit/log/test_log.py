"""The log by itself: order, promises, refusals, rotation, the end."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from journalkit.errors import (
    ClosedError,
    ConflictError,
    CorruptionError,
    FencedError,
    RecordTooLargeError,
    StorageError,
    UsageError,
)
from journalkit.format import frame as frames
from journalkit.format.manifest import encode_manifest
from journalkit.format.names import MANIFEST
from journalkit.fs.memory import MemoryFileSystem
from journalkit.log import log as log_module
from journalkit.log.commit import Commit
from journalkit.log.durable import read_durable
from journalkit.testing import SimulatedDisk

Maker = Callable[..., Any]


def test_records_come_back_in_the_order_of_their_lsns(bench: Maker) -> None:
    """The log is the truth; everything else is derived from it."""
    log = bench()
    assert [log.put(b"r%d" % index) for index in range(5)] == [1, 2, 3, 4, 5]
    assert log.log.last_lsn == 5
    log.log.close()
    assert log.check() == [(index + 1, b"r%d" % index) for index in range(5)]


def test_a_durable_commit_survives_a_power_cut_at_once(bench: Maker) -> None:
    """The whole point."""
    log = bench()
    log.put(b"first")
    log.put(b"second", durable=True)
    assert log.log.durable_lsn == 2
    log.put(b"third")
    assert log.log.durable_lsn == 2
    records = log.check(log.fs.crash("none"), promised={1: b"first", 2: b"second"})
    assert len(records) == 2
    slot = read_durable(log.fs, "/store")
    assert slot is not None
    assert slot.lsn == 2


def test_a_commit_is_visible_when_it_returns_and_not_before(bench: Maker) -> None:
    """Readers must see a prefix of what was acknowledged or is about to be."""
    log = bench()
    seen: list[tuple[int, int]] = []
    log.apply = lambda commits, last_lsn: seen.append((last_lsn, log.log.last_lsn))
    log.put(b"a")
    log.put(b"b", durable=True)
    assert seen == [(1, 0), (2, 1)]


def test_what_could_not_be_made_visible_is_made_visible_later(bench: Maker) -> None:
    """The record has its LSN and its place: want of memory, say, can delay it and not undo it."""
    log = bench()
    failures = [MemoryError(), MemoryError()]

    def apply(commits: list[Commit], last_lsn: int) -> None:
        if failures:
            raise failures.pop()

    log.apply = apply
    with pytest.raises(MemoryError):
        log.put(b"a")
    assert log.put(b"b", durable=True) == 2
    assert log.visible == {1: b"a", 2: b"b"}
    log.log.close()
    log.check(log.fs.crash("none"))


def test_sync_makes_what_is_visible_durable(bench: Maker) -> None:
    """One fsync for all that was handed to the operating system before."""
    log = bench()
    log.put(b"a")
    log.put(b"b")
    assert log.log.sync() == 2
    assert log.log.statistics.syncs == 1
    assert log.log.sync() == 2
    assert log.log.statistics.syncs == 1
    log.check(log.fs.crash("none"))


def test_sync_does_not_overlook_a_record_that_is_just_becoming_visible(bench: Maker) -> None:
    """A fold takes what it sees, then syncs the log through it: a snapshot ahead of the log is refused at open."""
    log = bench()
    answers: list[int] = []
    threads: list[threading.Thread] = []

    def sync_from_elsewhere(commits: list[Commit], last_lsn: int) -> None:
        threads.append(threading.Thread(target=lambda: answers.append(log.log.sync())))
        threads[0].start()
        threads[0].join(0.05)
        log.apply = None

    log.apply = sync_from_elsewhere
    log.put(b"a")
    threads[0].join()
    assert answers == [1]
    assert log.log.durable_lsn == 1


def test_a_check_sees_the_log_as_it_will_be(bench: Maker) -> None:
    """What it decides must hold when the record gets its place."""
    log = bench()
    log.put(b"a")
    seen: list[tuple[int, int]] = []

    def check(last_lsn: int, earlier: Sequence[Commit]) -> None:
        seen.append((last_lsn, len(earlier)))

    log.put(b"b", check=check)
    assert seen == [(1, 0)]


@pytest.mark.parametrize("error", [ConflictError("no"), KeyError("no"), ZeroDivisionError()])
def test_what_a_check_raises_refuses_its_commit_alone(bench: Maker, error: Exception) -> None:
    """A conflict, or a mistake in somebody's comparison, mustn't stand in the way of the next commit."""
    log = bench()

    def refuse(last_lsn: int, earlier: Sequence[Commit]) -> None:
        raise error

    with pytest.raises(type(error)):
        log.put(b"refused", check=refuse)
    assert log.put(b"next") == 1
    assert log.check() == [(1, b"next")]


def test_a_record_over_the_limit_is_refused_before_it_is_written(bench: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader bounds lengths; what it would take for damage must not be acknowledged."""
    monkeypatch.setattr(log_module, "PAYLOAD_BYTES_MAX", 10)
    log = bench()
    with pytest.raises(RecordTooLargeError, match="11 bytes"):
        log.put(b"x" * 11)
    assert log.put(b"x" * 10) == 1


def test_the_short_way_writes_what_the_long_way_writes(bench: Maker) -> None:
    """One commit alone takes a path of its own, for speed and nothing else."""
    alone, queued = bench(), bench()
    for index in range(6):
        payload, durable = b"r%d" % index, index % 3 == 2
        alone.put(payload, durable=durable)
        commit = log_commit(payload, durable)
        writer = queued.log._writer
        queued.log._queue.append(commit)
        assert writer.lead(queued.log._queue) == [commit]
        assert commit.settled
        assert commit.lsn == index + 1
    assert alone.fs.read_bytes(alone.segment_path(1)) == queued.fs.read_bytes(queued.segment_path(1))
    assert alone.log.statistics == queued.log.statistics
    assert (alone.log.last_lsn, alone.log.durable_lsn) == (queued.log.last_lsn, queued.log.durable_lsn)
    assert alone.visible == queued.visible


def log_commit(payload: bytes, durable: bool) -> Commit:
    """Return the commit of one record."""
    return Commit(payload, frames.Kind.RECORD, (), durable)


# Calls from inside a commit, by a signal handler or a finalizer


def test_a_commit_inside_a_commit_is_refused_and_harms_nobody(bench: Maker) -> None:
    """A signal handler that writes would otherwise wait for the thread that it interrupted, for ever."""
    log = bench()
    refused: list[Exception] = []

    def nested(commits: list[Commit], last_lsn: int) -> None:
        log.apply = None
        for call in (lambda: log.put(b"inner"), log.log.rotate, lambda: log.log.forget(0)):
            with pytest.raises(UsageError, match="inside a commit") as caught:
                call()
            refused.append(caught.value)

    log.apply = nested
    assert log.put(b"outer") == 1
    assert len(refused) == 3
    assert log.put(b"next") == 2
    assert log.check() == [(1, b"outer"), (2, b"next")]


def test_an_interrupt_inside_a_nested_commit_leaves_the_outer_one_alone(bench: Maker) -> None:
    """The handler's own interruption is the handler's."""
    log = bench()

    class Interrupted(Commit):
        __slots__ = ()

        def settle(self, error: Exception | None) -> None:
            raise KeyboardInterrupt

    def nested(commits: list[Commit], last_lsn: int) -> None:
        log.apply = None
        with pytest.raises(KeyboardInterrupt):
            log.log.commit(Interrupted(b"inner", 2, (), False))

    log.apply = nested
    assert log.put(b"outer") == 1
    assert log.put(b"next") == 2


def test_a_close_inside_a_commit_closes_unsealed(bench: Maker) -> None:
    """The lock is given back right after, so not one more byte may be written; recovery tells the rest."""
    log = bench()
    log.put(b"a", durable=True)

    def nested(last_lsn: int, earlier: Sequence[Commit]) -> None:
        with pytest.raises(UsageError):
            log.log.close()

    with pytest.raises(StorageError):
        log.put(b"b", check=nested)
    assert isinstance(log.log.failure, StorageError | ClosedError)
    log.check()


# The end


def test_a_closed_log_is_sealed_and_refuses(bench: Maker) -> None:
    """The seal makes damage at the end visible; a second close is nothing."""
    log = bench()
    log.put(b"a")
    log.log.close()
    log.log.close()
    assert isinstance(log.log.failure, ClosedError)
    for call in (lambda: log.put(b"b"), log.log.sync, log.log.rotate, log.log.prepare_next):
        with pytest.raises(ClosedError):
            call()
    _, found = log.recovered(log.fs.crash("none"))
    assert found.plan.sealed
    assert found.plan.last_lsn == 1


@pytest.mark.parametrize("operation", ["sync_data", "pwrite", "truncate"])
def test_a_seal_that_fails_is_told_and_the_files_are_released(bench: Maker, operation: str) -> None:
    """Who closed must know that the last records may be gone, and can't do more about it."""
    log = bench()
    log.put(b"a")
    log.fs.fail(operation, 1, errno.EIO)
    with pytest.raises(StorageError, match="could not be sealed"):
        log.log.close()
    log.log.close()
    assert isinstance(log.log.failure, ClosedError)


def test_close_does_not_wait_for_a_disk_that_hangs(bench: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Close takes at most a second; the write that hangs acknowledges nobody afterwards."""
    monkeypatch.setattr(log_module, "_CLOSE_WAIT_S", 0.05)
    log = bench(fs=MemoryFileSystem())
    hangs, goes_on, outcome = threading.Event(), threading.Event(), []
    active = log.log.position.active.file
    real = active.sync_data

    def hang() -> None:
        hangs.set()
        goes_on.wait()
        real()

    active.sync_data = hang

    def commit() -> None:
        try:
            log.put(b"a", durable=True)
        except StorageError as error:
            outcome.append(error)

    thread = threading.Thread(target=commit)
    thread.start()
    hangs.wait()
    with pytest.raises(StorageError, match="has not returned within"):
        log.log.close()
    goes_on.set()
    thread.join()
    assert len(outcome) == 1
    assert log.acknowledged == {}


# Fencing


def test_a_newer_writer_fences_at_the_next_rotation(bench: Maker) -> None:
    """Where no lock holds it off, the epoch does."""
    log = bench(segment_bytes_max=4096)
    log.put(b"a")
    newer = log.keeper.current.next_generation(epoch=9, writer=b"n" * 16)
    log.fs.write_bytes(f"/store/{MANIFEST}", encode_manifest(newer))
    log.put(b"x" * 5000)
    for _ in range(2):
        with pytest.raises(FencedError):
            log.put(b"y")
    with pytest.raises(FencedError):
        log.log.rotate()


def test_a_manifest_that_is_gone_ends_the_log(bench: Maker) -> None:
    """Records in a segment that nothing names would be lost with it."""
    log = bench()
    log.put(b"a")
    log.fs.unlink(f"/store/{MANIFEST}")
    with pytest.raises(CorruptionError, match="missing"):
        log.log.rotate()
    assert isinstance(log.log.failure, CorruptionError)


def test_the_disk_behind_the_tests_is_the_strict_one(bench: Maker) -> None:
    """The claims above hold where nothing unsynced survives."""
    assert isinstance(bench().fs, SimulatedDisk)
