"""Where workloads play: an open store on a process that can be killed, with its history beside it.

`Play` does to the store what a workload wants and tells the history before and after.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from history import Commit, History
from process import Killed, Process

import journalkit
from journalkit import ABSENT
from journalkit.errors import ConflictError, FencedError, StoreFullError, UsageError
from journalkit.fs.interface import FileSystem
from journalkit.runtime import handle as handles
from journalkit.runtime.place import _called_from
from journalkit.testing import SimulatedClock

NOTHING_WRITTEN = (ConflictError, FencedError, StoreFullError, UsageError)


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


@contextmanager
def without_a_name() -> Iterator[None]:
    """Leave the same words in a lock whoever runs this, and where: an image of the disk is told by its bytes."""
    token, before = _called_from.set("a workload"), (os.getpid, socket.gethostname)
    os.getpid, socket.gethostname = (lambda: 1), (lambda: "here")
    try:
        yield
    finally:
        os.getpid, socket.gethostname = before
        _called_from.reset(token)


class Play:
    """One run of a workload: the open store or journal, and what is told to its history."""

    def __init__(self, fs: FileSystem, history: History, name: str, seed: int, forced: Mapping[str, Any]) -> None:
        self.fs = fs
        self.history = history
        self.chance = random.Random(f"{name} {seed}")
        self.clock = SimulatedClock(seed=self.chance.getrandbits(64))
        self.process = Process(fs)
        self.handle: Any = None
        self.rotations = self.folds = self.pruned_lsn = 0
        self._seed = seed
        self._forced = forced
        self._options: dict[str, Any] = {}

    def value(self, size_bytes: int) -> bytes:
        """Return bytes that nothing else in this run has; with a seed other than 0 a few more or fewer."""
        if self._seed:
            size_bytes += self.chance.randint(-size_bytes // 10, size_bytes // 10)
        return self.chance.randbytes(size_bytes)

    # -- opening and the ends -------------------------------------------------------------------

    def open(self, **options: Any) -> None:
        """Open the store, or the journal; later opens repeat the options of earlier ones."""
        history = self.history
        self._options |= options | self._forced
        history.doing = "recover" if history.exists else "open"
        usual = {"segment_bytes_max": 4096, "fs": self.process, "clock": self.clock}
        with without_threads(), without_a_name():
            if history.kind == "journal":
                self.handle = journalkit.open_journal(history.path, **(usual | self._options))
            else:
                self.handle = journalkit.open(history.path, **({"compaction": "manual"} | usual | self._options))
        history.handle = self.handle
        if self.handle.lsn < history.returned:
            raise AssertionError(f"killed behind LSN {history.returned}, opened at {self.handle.lsn}\n{history.tell()}")
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
            # The first commit under "interval" starts a thread.
            with without_threads():
                lsn = call()
        except NOTHING_WRITTEN:
            history.withdraw()
            raise
        if lsn != history.submitted:
            raise AssertionError(f"commit {history.submitted} was given LSN {lsn}")
        history.returned = lsn
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
        self.history.returned = max([first, *(lsn for lsn, _ in known)])
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
