"""What is refused, what that costs, and what goes on afterwards."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from journalkit.errors import ConflictError, StorageError, StoreFullError
from journalkit.format import frame as frames
from journalkit.log.commit import Commit

Maker = Callable[..., Any]


def log_commit(payload: bytes, durable: bool) -> Commit:
    """Return the commit of one record."""
    return Commit(payload, frames.Kind.RECORD, (), durable)


def test_a_failed_fsync_acknowledges_nobody_ever_again(bench: Maker) -> None:
    """The kernel's second fsync says 0 for pages that are gone."""
    log = bench()
    log.put(b"a", durable=True)
    log.put(b"b")
    log.fs.fail("sync_data", 1, errno.EIO)
    for _ in range(2):
        with pytest.raises(StorageError, match="could not be synced"):
            log.log.commit(log_commit(b"c", True))
    with pytest.raises(StorageError):
        log.log.commit(log_commit(b"d", False))
    with pytest.raises(StorageError):
        log.log.sync()
    assert isinstance(log.log.failure, StorageError)
    assert log.visible == {1: b"a", 2: b"b"}
    log.log.close()
    log.check(log.fs.crash("none"), promised={1: b"a"})


def test_a_write_that_fails_poisons_and_says_so(bench: Maker) -> None:
    """After EIO nobody knows what stands in the file."""
    log = bench()
    log.fs.fail("pwrite", 1, errno.EIO, path_contains="log-")
    with pytest.raises(StorageError, match="could not be written"):
        log.put(b"a")
    with pytest.raises(StorageError):
        log.put(b"b")


def test_a_poisoned_log_does_not_gather_tracebacks(bench: Maker) -> None:
    """A program that tries for ever mustn't fill the memory with frames of the past."""
    log = bench()
    log.fs.fail("sync_data", 1, errno.EIO)

    def depth() -> int:
        with pytest.raises(StorageError) as caught:
            log.put(b"a", durable=True)
        trace, count = caught.value.__traceback__, 0
        while trace is not None:
            trace, count = trace.tb_next, count + 1
        return count

    first, *later = [depth() for _ in range(6)]
    assert later == [later[0]] * 5
    assert later[0] <= first


def test_a_slot_that_cannot_be_written_poisons(bench: Maker) -> None:
    """Without it a damaged tail would be taken for a torn one."""
    log = bench()
    log.fs.fail("pwrite", 1, errno.EIO, times=2, path_contains="durable")
    with pytest.raises(StorageError, match="durable slot"):
        log.put(b"a", durable=True)


def test_a_slot_that_is_written_at_the_second_try_is_a_slot(bench: Maker) -> None:
    """It is never synced, so to try again hides nothing."""
    log = bench()
    log.fs.fail("pwrite", 1, errno.EIO, path_contains="durable")
    assert log.put(b"a", durable=True) == 1
    assert log.log.durable_lsn == 1


def test_a_slot_that_finds_no_room_is_no_reason_to_refuse(bench: Maker) -> None:
    """The record is durable; the older promise is merely shorter."""
    log = bench()
    log.fs.fail("pwrite", 1, errno.ENOSPC, path_contains="durable")
    assert log.put(b"a", durable=True) == 1
    assert log.log.durable_lsn == 1


def test_a_full_disk_refuses_the_record_and_the_same_handle_goes_on(bench: Maker) -> None:
    """At 3 am somebody frees space; nobody restarts the service."""
    log = bench()
    log.put(b"a", durable=True)
    log.fs.capacity_bytes = 0
    with pytest.raises(StoreFullError) as caught:
        log.put(b"b" * 200_000)
    assert caught.value.needed_bytes > 200_000
    assert log.put(b"small") == 2
    log.fs.capacity_bytes = None
    assert log.put(b"c" * 200_000, durable=True) == 3
    log.log.close()
    log.check()


def test_a_full_disk_still_lets_the_log_be_sealed(bench: Maker) -> None:
    """Room for the seal was set aside with each record."""
    log = bench()
    log.fs.capacity_bytes = 0
    with pytest.raises(StoreFullError):
        log.put(b"x" * 70_000)
    for _ in range(60):
        log.put(b"x" * 1000)
    with pytest.raises(StoreFullError):
        log.put(b"x" * 5000)
    log.log.close()
    log.check()
    _, found = log.recovered()
    assert found.plan.sealed


@pytest.mark.parametrize("taken", [0, 1, 30, 60, 100])
def test_a_half_written_record_never_shows_behind_a_shorter_one(bench: Maker, taken: int) -> None:
    """ENOSPC in the middle, then a smaller record at the same place: the rest must not be replayed."""
    log = bench()
    log.put(b"a", durable=True)
    queue = log.log._queue
    queue.extend([log_commit(b"x" * 20, False), log_commit(b"y" * 20, False)])
    log.fs.short_write(1, taken, path_contains="log-")
    log.fs.fail("pwrite", 2, errno.ENOSPC, path_contains="log-")
    log.fs.fail("pwrite", 4, errno.ENOSPC, times=2, path_contains="log-")
    log.log._writer.lead(queue)
    log.log._writer.lead(queue)
    log.log._writer.lead(queue)
    log.put(b"z" * 20, durable=True)
    log.log.close()
    for keep in ("none", "all", 1, 2, 3):
        records = log.check(log.fs.crash(keep))
        assert records[-1][1] == b"z" * 20


def test_remains_that_cannot_be_erased_poison(bench: Maker) -> None:
    """Nothing may be appended in front of bytes that might be replayed."""
    log = bench()
    log.fs.short_write(1, 10, path_contains="log-")
    log.fs.fail("pwrite", 2, errno.ENOSPC, path_contains="log-")
    log.fs.fail("pwrite", 3, errno.EIO, path_contains="log-")
    with pytest.raises(StorageError, match="could not be erased"):
        log.put(b"a" * 100)
    with pytest.raises(StorageError):
        log.put(b"b")


def test_remains_are_cut_off_where_zeros_need_room_too(bench: Maker) -> None:
    """On a file system that copies on write even overwriting wants space; truncating doesn't."""
    log = bench()
    log.put(b"a", durable=True)
    log.fs.short_write(1, 10, path_contains="log-")
    log.fs.fail("pwrite", 2, errno.ENOSPC, times=2, path_contains="log-")
    with pytest.raises(StoreFullError):
        log.put(b"b" * 100)
    assert log.put(b"c", durable=True) == 2
    log.log.close()
    assert [payload for _, payload in log.check(log.fs.crash("none"))] == [b"a", b"c"]


def test_a_neighbour_is_not_refused_for_somebody_elses_size(bench: Maker) -> None:
    """A full disk has room for the small ones, and a sync needs none at all."""
    log = bench()
    log.put(b"a")
    log.fs.capacity_bytes = 0
    small, giant, barrier = log_commit(b"s", False), log_commit(b"g" * 300_000, False), Commit(None, 0, (), True)
    queue = log.log._queue
    queue.extend([small, giant, barrier])
    while queue:
        log.log._writer.lead(queue)
    assert (small.error, small.lsn) == (None, 2)
    assert isinstance(giant.error, StoreFullError)
    assert (barrier.error, barrier.lsn) == (None, 2)
    assert log.log.durable_lsn == 2


def test_a_group_is_bounded(bench: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is joined for one write is held in memory once more."""
    monkeypatch.setattr("journalkit.log.writer.GROUP_BYTES_MAX", 100)
    log = bench()
    queue = log.log._queue
    queue.extend(log_commit(b"x" * 50, False) for _ in range(5))
    assert [len(log.log._writer.lead(queue)) for _ in range(3)] == [2, 2, 1]


def test_no_lsn_is_skipped_or_used_twice_around_a_refusal(bench: Maker) -> None:
    """LSNs are dense: a gap is damage to who reads them."""
    log = bench()

    def refuse(last_lsn: int, earlier: Sequence[Commit]) -> None:
        raise ConflictError("no")

    commits = [log_commit(b"1", False), Commit(b"2", 2, (), False, refuse), log_commit(b"3", True)]
    log.log._queue.extend(commits)
    log.log._writer.lead(log.log._queue)
    assert [commit.lsn for commit in commits if commit.error is None] == [1, 2]
    log.log.close()
    assert log.check() == [(1, b"1"), (2, b"3")]
