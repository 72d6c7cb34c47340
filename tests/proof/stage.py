"""Where workloads play: a process that can be killed on any file system, and an open store with its history beside it.

`Process` stands between a store and a file system. Killing it drops its files
and its lock, as the kernel does, so that the next process finds the same
bytes; that works on a simulated disk and on a real one. `Play` does to the
store what a workload wants and tells the history before and after.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from history import Commit, History

import journalkit
from journalkit import ABSENT
from journalkit.errors import ConflictError, FencedError, StoreFullError, UsageError
from journalkit.format import names
from journalkit.fs.interface import FileSystem
from journalkit.runtime import handle as handles
from journalkit.testing import SimulatedClock

NOTHING_WRITTEN = (ConflictError, FencedError, StoreFullError, UsageError)
_MUTATING = ("make_directory", "rename", "unlink", "remove_directory", "sync_directory")
_MUTATING_FILE = ("sync", "allocate", "truncate")


class Killed(BaseException):
    """The process is gone, as with SIGKILL. Not an Exception: nothing in it can go on."""


class Process:
    """A file system as one process has it.

    `fuse` is how many more operations that change something it lives through,
    `tear` the share of the next frame that is written before it dies, and
    `at_sync` is called once, when the next fsync of a segment begins.
    """

    def __init__(self, inner: FileSystem) -> None:
        self._inner = inner
        self._held: list[Any] = []
        self.is_dead = False
        self.fuse: int | None = None
        self.tear: float | None = None
        self.at_sync: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        self.step(is_change=name in _MUTATING)
        return getattr(self._inner, name)

    def open_read(self, path: str) -> ProcessFile:
        """Open for reading."""
        self.step()
        return self._file(self._inner.open_read(path), path)

    def open_direct(self, path: str) -> ProcessFile:
        """Open for reading past the cache."""
        self.step()
        return self._file(self._inner.open_direct(path), path)

    def open_write(self, path: str) -> ProcessFile:
        """Open for writing."""
        self.step()
        return self._file(self._inner.open_write(path), path)

    def create(self, path: str) -> ProcessFile:
        """Create a file."""
        self.step(is_change=True)
        return self._file(self._inner.create(path), path)

    def lock(self, path: str) -> Any:
        """Take the lock."""
        self.step(is_change=True)
        lock = self._inner.lock(path)
        if lock is not None:
            self._held.append(lock)
        return lock

    def step(self, *, is_change: bool = False) -> None:
        """Let one call begin, unless the process is dead."""
        if is_change and self.fuse is not None:
            self.fuse -= 1
            self.is_dead = self.is_dead or self.fuse < 0
        if self.is_dead:
            raise Killed

    def die(self) -> None:
        """Let go of everything: the kernel does it."""
        self.is_dead = True
        for held in self._held:
            held.close()
        self._held.clear()

    def _file(self, inner: Any, path: str) -> ProcessFile:
        self._held.append(inner)
        return ProcessFile(self, inner, path)


class ProcessFile:
    """An open file of a process."""

    def __init__(self, process: Process, inner: Any, path: str) -> None:
        self._process = process
        self._inner = inner
        self._is_segment = names.segment_number(path.rpartition("/")[2]) is not None

    def __getattr__(self, name: str) -> Any:
        self._process.step(is_change=name in _MUTATING_FILE)
        return getattr(self._inner, name)

    def pwrite(self, data: bytes | bytearray | memoryview, offset_bytes: int, /) -> int:
        """Write; of a frame perhaps only a part, and then the process is dead."""
        process = self._process
        process.step(is_change=True)
        if process.tear is not None and self._is_segment and offset_bytes:
            self._inner.pwrite(bytes(data)[: int(len(data) * process.tear)], offset_bytes)
            process.is_dead = True
            raise Killed
        return int(self._inner.pwrite(data, offset_bytes))

    def sync_data(self) -> None:
        """Sync, behind whatever was to happen when a sync begins."""
        process = self._process
        process.step(is_change=True)
        at_sync = process.at_sync
        if at_sync is not None and self._is_segment:
            process.at_sync = None
            at_sync()
        self._inner.sync_data()

    def close(self) -> None:
        """Close; the dead may."""
        self._inner.close()


class _Idle:
    """A background thread that there isn't: `Play.tick` does its steps."""

    def __init__(self, stepper: Any, name: str) -> None:
        self.stepper = stepper
        self.name = name

    def ask_to_stop(self) -> None:
        """There is nothing to stop."""

    def join(self, timeout_s: float) -> bool:
        """It has ended."""
        return timeout_s >= 0


@contextmanager
def without_threads() -> Iterator[None]:
    """Start no thread where a handle would: their steps are done by hand."""
    with mock.patch.object(handles, "Background", _Idle):
        yield


class Play:
    """One run of a workload: the open store or journal, and what is told to its history."""

    def __init__(self, fs: FileSystem, history: History, seed: int) -> None:
        self.fs = fs
        self.history = history
        self.chance = random.Random(seed)
        self.clock = SimulatedClock(seed=seed)
        self.process = Process(fs)
        self.handle: Any = None
        self.rotations = self.folds = self.pruned_lsn = 0
        self._options: dict[str, Any] = {}

    def value(self, size_bytes: int) -> bytes:
        """Return bytes that nothing else in this run has."""
        return self.chance.randbytes(size_bytes)

    # -- opening and the ends -------------------------------------------------------------------

    def open(self, **options: Any) -> None:
        """Open the store, or the journal; later opens repeat the options of earlier ones."""
        history = self.history
        self._options |= options
        history.doing = "recover" if history.exists else "open"
        usual = {"segment_bytes_max": 4096, "fs": self.process, "clock": self.clock}
        with without_threads():
            if history.kind == "journal":
                self.handle = journalkit.open_journal(history.path, **(usual | self._options))
            else:
                self.handle = journalkit.open(history.path, **({"compaction": "manual"} | usual | self._options))
        history.handle = self.handle
        history.reopened(self.handle.lsn)
        self._check()

    def _check(self) -> None:
        """Hold an open in the middle of a workload to the promise too."""
        history, handle = self.history, self.handle
        expected = history.state(handle.lsn)
        if history.kind == "journal":
            found = {record.lsn: record.value for record in handle.read()}
            wanted = {lsn: value for lsn, value in expected.entries.items() if lsn > handle.pruned_lsn}
        else:
            found, wanted = dict(handle.items()), expected.entries
        if found != wanted:
            raise AssertionError(f"opened at LSN {handle.lsn} with another state than was submitted\n{history.tell()}")

    def close(self) -> None:
        """Close properly."""
        self.history.doing = "close"
        self._count()
        self.handle.close()
        self.history.acknowledge(self.history.submitted)
        self._forget()

    def kill(self) -> None:
        """End the process without a word; what it wrote is there for the next one."""
        self._count()
        self.process.die()
        if self.handle is not None:
            self.handle.forbid()
        self._forget()
        self.process = Process(self.fs)

    def killed_within(self, operations: int, action: Callable[[], None]) -> None:
        """Do something, and be killed behind so many of its operations that change anything."""
        self.process.fuse = operations
        try:
            action()
        except Killed:
            self.kill()
            return
        raise AssertionError(f"there were no more than {operations} operations to be killed in")

    def torn(self, share: float, action: Callable[[], None]) -> None:
        """Commit something, and be killed when so much of its frame is written."""
        self.process.tear = share
        try:
            action()
        except Killed:
            self.kill()
            return
        raise AssertionError("no frame was written")

    def _count(self) -> None:
        if self.handle is None or self.handle.closed:
            return
        self.rotations += self.handle._opened.log.statistics.rotations
        self.pruned_lsn = max(self.pruned_lsn, self.handle.pruned_lsn)
        if self.history.kind == "store":
            self.folds += self.handle.statistics().folds

    def _forget(self) -> None:
        self.handle = self.history.handle = None

    def finish(self) -> None:
        """Hold that the workload did what every one has to: rotate, prune and, a store, fold."""
        self._count()
        if self.handle is not None:
            self.handle.forbid()
            self._forget()
        if not (self.rotations and self.pruned_lsn and (self.folds or self.history.kind == "journal")):
            raise AssertionError(f"{self.rotations} rotations, {self.folds} folds, pruned to {self.pruned_lsn}")

    def abandon(self) -> None:
        """Forget a store that something ended in the middle."""
        if self.handle is not None:
            self.handle.forbid()
            self._forget()
        self.process.die()

    # -- commits --------------------------------------------------------------------------------

    def put(self, key: Any, value: Any, **options: Any) -> None:
        """Set one key."""
        self._commit({key: value}, {}, lambda: self.handle.put(key, value, **options))

    def delete(self, key: Any, **options: Any) -> None:
        """Remove one key."""
        self._commit({key: ABSENT}, {}, lambda: self.handle.delete(key, **options))

    def batch(self, changes: Mapping[Any, Any], offsets: Mapping[str, Any] | None = None, **options: Any) -> None:
        """Commit a batch; ABSENT deletes."""
        batch = journalkit.Batch()
        for key, value in changes.items():
            if value is ABSENT:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.offsets.update(offsets or {})
        self._commit(changes, offsets or {}, lambda: self.handle.write(batch, **options))

    def transaction(self, changes: Mapping[Any, Any], offsets: Mapping[str, Any], **options: Any) -> None:
        """Commit a transaction that read something, with offsets."""

        def run() -> int:
            with self.handle.transaction(**options) as transaction:
                len(transaction)
                for key, value in changes.items():
                    if value is ABSENT:
                        transaction.delete(key)
                    else:
                        transaction.put(key, value)
                transaction.offsets.update(offsets)
            return int(transaction.lsn)

        self._commit(changes, offsets, run)

    def append(self, value: Any, **options: Any) -> None:
        """Append a journal's record."""
        self.history.submit_record(value)
        self._submitted(lambda: self.handle.append(value, **options))

    def _commit(self, changes: Mapping[Any, Any], offsets: Mapping[str, Any], call: Callable[[], int]) -> None:
        self.history.submit(changes, offsets)
        self._submitted(call)

    def _submitted(self, call: Callable[[], int]) -> None:
        history = self.history
        history.doing = "append"
        try:
            lsn = call()
        except NOTHING_WRITTEN:
            history.withdraw()
            raise
        if lsn != history.submitted:
            raise AssertionError(f"commit {history.submitted} was given LSN {lsn}")
        history.observe()

    def group(self, leader: Mapping[Any, Any], followers: list[Mapping[Any, Any]], syncs: list[Any]) -> None:
        """Commit from several threads: while the first is in its fsync the others queue, and become one group."""
        history, handle, first = self.history, self.handle, self.history.submitted
        outcomes: list[tuple[Commit, int, BaseException | None]] = []
        threads: list[threading.Thread] = []

        def commit(changes: Mapping[Any, Any], sync: Any, mine: Commit) -> None:
            batch = journalkit.Batch()
            batch.changes.extend(changes.items())
            try:
                outcomes.append((mine, handle.write(batch, sync=sync), None))
            except BaseException as error:  # noqa: BLE001 - carried to the thread that joins
                outcomes.append((mine, 0, error))

        def queue_followers() -> None:
            for number, (changes, sync) in enumerate(zip(followers, syncs, strict=True), start=1):
                history.submit(changes)
                arguments = (changes, sync, history.commits[-1])
                threads.append(threading.Thread(target=commit, args=arguments, daemon=True))
                threads[-1].start()
                while len(handle._log._queue) < number and threads[-1].is_alive():
                    threads[-1].join(0.0005)

        history.doing = "append"
        self.process.at_sync = queue_followers
        history.submit(leader)
        commit(leader, "always", history.commits[-1])
        for thread in threads:
            thread.join()
        self._settle_group(first, outcomes)

    def _settle_group(self, first: int, outcomes: list[tuple[Commit, int, BaseException | None]]) -> None:
        """Tell the history how a group came out: who was refused is in no LSN, and the others moved up."""
        known = sorted(((lsn, mine) for mine, lsn, error in outcomes if error is None), key=lambda one: one[0])
        unknown = [commit for commit, _, error in outcomes if error is not None and not _was_refused(error)]
        self.history.settle(first, [commit for _, commit in known] + unknown)
        for place, (lsn, _) in enumerate(known, start=first + 1):
            if lsn != place:
                raise AssertionError(f"the commits of a group were given LSNs {[lsn for lsn, _ in known]}")
        self.history.observe()
        for _, _, error in outcomes:
            if error is not None:
                raise error

    # -- upkeep ---------------------------------------------------------------------------------

    def sync(self) -> None:
        """Make everything durable."""
        self.history.doing = "append"
        self.history.acknowledge(self.handle.sync())

    def tick(self) -> None:
        """Let what would run in the background do one step."""
        self.history.doing = "append"
        for stepper, _ in self.handle._backgrounds:
            stepper.step()
        self.history.observe()

    def prepare(self) -> None:
        """Let the compactor do what it does between folds: prepare the next segment."""
        self.history.doing = "prepare"
        self.handle._engine.writing.compactor.step()
        self.history.observe()

    def fold(self) -> None:
        """Fold and prune."""
        self.history.doing = "fold"
        self.handle.compact()
        self.history.acknowledge(self.handle.snapshot_lsn)
        self.history.observe()

    def rotate(self) -> None:
        """Seal the journal's segment and go on in the next."""
        self.history.doing = "rotate"
        self.handle.rotate()
        self.history.observe()

    def prune(self, through_lsn: int) -> None:
        """Prune the journal."""
        self.history.doing = "prune"
        self.history.pruned_at_most = max(self.history.pruned_at_most, through_lsn)
        self.handle.prune(through_lsn)
        self.history.observe()


def _was_refused(error: BaseException) -> bool:
    return isinstance(error, NOTHING_WRITTEN)
