"""Many commits by one caller who speaks for others: one group, an outcome for each."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from journalkit.errors import ConflictError, StorageError, StoreFullError, UsageError
from journalkit.fs.memory import MemoryFileSystem
from journalkit.log.commit import Commit
from journalkit.testing import SimulatedDisk

Maker = Callable[..., Any]


def refuse(_last_lsn: int, _earlier: Sequence[Commit]) -> None:
    """Refuse whatever comes."""
    raise ConflictError("never")


def outcomes(commits: list[Commit]) -> list[int | type[Exception]]:
    """Return each commit's LSN, or the class of its error."""
    assert all(commit.settled for commit in commits)
    return [commit.lsn if commit.error is None else type(commit.error) for commit in commits]


def test_all_of_them_are_one_write_and_one_fsync(bench: Maker, new_record: Maker) -> None:
    """That is what they are handed over together for."""
    log = bench()
    commits = [new_record(b"%d" % index, durable=index == 3) for index in range(100)]
    log.log.commit_all(commits)
    assert outcomes(commits) == list(range(1, 101))
    assert (log.log.statistics.groups, log.log.statistics.syncs, log.log.durable_lsn) == (1, 1, 100)
    log.log.close()
    log.check(promised={index + 1: b"%d" % index for index in range(100)})


def test_each_has_its_own_outcome(bench: Maker, new_record: Maker) -> None:
    """One that is refused is no reason to refuse its neighbours, nor to take a place."""
    log = bench()
    commits = [new_record(b"a"), new_record(b"b", check=refuse), new_record(b"c")]
    log.log.commit_all(commits)
    assert outcomes(commits) == [1, ConflictError, 2]
    assert log.visible == {1: b"a", 2: b"c"}


def test_what_was_withdrawn_takes_no_place(bench: Maker, new_record: Maker) -> None:
    """Whoever gave up before its record had an LSN has written nothing, the last of them too."""
    log = bench()
    commits = [new_record(b"a"), new_record(b"b"), new_record(b"c")]
    commits[0].withdraw()
    commits[2].withdraw()
    log.log.commit_all(commits)
    assert log.visible == {1: b"b"}
    assert commits[1].lsn == 1
    log.log.commit_all([commits[0]])
    assert log.log.last_lsn == 1


def test_none_of_them_waits_for_a_crowd(bench: Maker, new_record: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who leads for one record may wait for more; who brings all that there are would wait for nobody."""
    log = bench()
    log.log._crowd = 5
    monkeypatch.setattr(log.log, "_gather", lambda: pytest.fail("waited"))
    log.log.commit_all([new_record(b"a", durable=True)])
    assert log.log._crowd == 5


def test_a_full_disk_refuses_those_that_do_not_fit(bench: Maker, new_record: Maker) -> None:
    """The small ones beside a large one are written, and the log goes on."""
    disk = SimulatedDisk()
    log = bench(fs=disk)
    disk.capacity_bytes = 4_000_000
    commits = [new_record(b"a", durable=True), new_record(bytes(5_000_000)), new_record(b"c")]
    log.log.commit_all(commits)
    assert outcomes(commits) == [1, StoreFullError, 2]
    assert log.log.failure is None


def test_a_failed_fsync_is_told_to_all(bench: Maker, new_record: Maker) -> None:
    """Nobody is acknowledged by an fsync that failed."""
    disk = SimulatedDisk()
    log = bench(fs=disk)
    disk.fail("sync_data", nth=1, error=errno.EIO)
    commits = [new_record(b"a", durable=True), new_record(b"b")]
    log.log.commit_all(commits)
    assert outcomes(commits) == [StorageError, StorageError]
    log.log.commit_all(later := [new_record(b"c")])
    assert outcomes(later) == [StorageError]
    assert log.visible == {}


def test_called_by_the_leader_itself_it_refuses(bench: Maker, new_record: Maker) -> None:
    """A finalizer that strikes a leader mustn't wait for what only that leader could do."""
    log = bench()
    inner = [new_record(b"x"), new_record(b"y")]

    def nested(_last_lsn: int, _earlier: Sequence[Commit]) -> None:
        log.log.commit_all(inner)

    log.put(b"a", check=nested)
    assert outcomes(inner) == [UsageError, UsageError]
    assert log.visible == {1: b"a"}


def test_they_are_woken_when_another_leader_is_done(
    bench: Maker, new_record: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a thread's fsync and before another's: nobody is left to look again by itself, now and then."""
    monkeypatch.setattr("journalkit.log.log._WAIT_S", 60.0)
    log = bench(fs=MemoryFileSystem())
    begun, goes_on = threading.Event(), threading.Event()
    file = log.log.position.active.file

    def slow() -> None:
        begun.set()
        assert goes_on.wait(10)

    file.sync_data = slow
    commits = [new_record(b"%d" % index, durable=True) for index in range(5)]
    works: list[Callable[[], Any]] = [
        lambda: log.put(b"leader", durable=True),
        lambda: log.log.commit_all(commits),
        lambda: log.put(b"last", durable=True),
    ]
    threads = []
    for length, work in zip((0, 7, 8), works, strict=True):
        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        assert begun.wait(10)
        until = time.monotonic() + 10
        while len(log.log._queue) < length:
            assert time.monotonic() < until
            time.sleep(0.001)
    goes_on.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert outcomes(commits) == [2, 3, 4, 5, 6]
    assert log.visible[7] == b"last"


def test_interrupted_while_waiting_it_withdraws_what_has_no_place(
    bench: Maker, new_record: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else somebody would write for a caller that is gone."""
    log = bench(fs=MemoryFileSystem())
    commits = [new_record(b"a"), new_record(b"b")]
    commits[1].withdraw()

    def interrupted(_barrier: Any, _timeout_s: float) -> None:
        holder.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(Commit, "wait", interrupted)
    taken, holder = threading.Event(), threading.Event()

    def hold() -> None:
        with log.log._leadership:
            taken.set()
            holder.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(10)
    with pytest.raises(KeyboardInterrupt):
        log.log.commit_all(commits)
    thread.join(10)
    assert not commits[0].settled
    assert not log.log._queue
    assert log.put(b"next") == 1
