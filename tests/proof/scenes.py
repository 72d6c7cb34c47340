"""Scenes: what a few threads do to one store, small enough that all their schedules can be run.

A scene begins with a store that recovery has just opened from a disk that holds
a little already, two snapshots and log behind them, so that a fold folds and
prunes. Then each thread does one to three things. What they do and see is told
to a `Witness`, who judges; a scene says only what may happen.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from scheduled_threads import Medium, ScheduledClock, ScheduledFiles, Threads
from scheduler import Scheduler
from witness import STORE, Court, Witness

import journalkit
from journalkit import ABSENT
from journalkit.errors import ClosedError, StorageError
from journalkit.testing import SimulatedClock, SimulatedDisk

SEGMENT_BYTES: Final = 4096
"""The least a segment may have: one record of about that size makes the log rotate."""

SMALL: Final[dict[str, Any]] = {"compaction": "manual", "segment_bytes_max": SEGMENT_BYTES, "keep_snapshots": 1}


class World:
    """One schedule's store, its disk, and what its threads can do to it."""

    def __init__(self, threads: Threads, scheduler: Scheduler, clock: ScheduledClock, scene: Scene, court: Court):
        self.scheduler = scheduler
        self.disk = _prepared(scene.snapshots).crash("none")
        self.clock = clock
        medium = Medium()
        self.fs = ScheduledFiles(threads, self.disk, medium)
        self.witness = Witness(self.disk, medium, court)
        self._threads = threads
        self._values = 0
        for lsn, (key, value) in enumerate(BEFORE, 1):
            self.witness.knows(lsn, {key: value})
        self.sync = scene.options.get("sync", "always")
        self.is_closed = False
        self.store = journalkit.open(STORE, fs=self.fs, clock=clock, **(SMALL | scene.options))

    def act(self, name: str, *actions: Callable[[str], object]) -> None:
        """Add a thread that does these things, one after the other."""

        def body() -> None:
            for action in actions:
                action(name)

        self.scheduler.add(name, body)

    # What a thread can do: each takes the thread's name, for the witness

    def put(self, key: str, *, sync: Any = None, bytes_more: int = 0) -> Callable[[str], None]:
        """Commit one key; with `bytes_more` a record that makes the log rotate behind it."""

        def action(thread: str) -> None:
            value = self._value(thread, bytes_more)
            with self.witness.committing(thread, {key: value}, is_strong=self._is_strong(sync)) as attempt:
                attempt.lsn = self.store.put(key, value, sync=sync)

        return action

    def increment(self, key: str) -> Callable[[str], None]:
        """Read and write a counter in one transaction, which may meet a conflict."""

        def action(thread: str) -> None:
            changes: dict[Any, Any] = {}
            read: dict[Any, Any] = {}
            with self.witness.committing(thread, changes, is_strong=True, read=read) as attempt:
                transaction = self.store.transaction()
                with transaction:
                    read[key] = transaction.get(key, ABSENT)
                    changes[key] = self._value(thread, 0)
                    transaction[key] = changes[key]
                attempt.lsn = transaction.lsn

        return action

    def expect(self, key: str, value: Any) -> Callable[[str], None]:
        """Replace a value that has to be there."""

        def action(thread: str) -> None:
            new = self._value(thread, 0)
            with self.witness.committing(thread, {key: new}, is_strong=True, read={key: value}) as attempt:
                attempt.lsn = self.store.put(key, new, expect=value)

        return action

    def get(self, *keys: str) -> Callable[[str], None]:
        """Read keys one by one."""

        def action(thread: str) -> None:
            for key in keys:
                self._threads.point("read")
                least_lsn = self.witness.acknowledged_lsn
                got = self.store.get(key, ABSENT)
                self.witness.saw(thread, f"get {key}", {key: got}, least_lsn=least_lsn, is_whole=False)

        return action

    def scan(self, thread: str) -> None:
        """Read everything."""
        least_lsn = self.witness.acknowledged_lsn
        entries = self.store.items()
        got: dict[Any, Any] = {}
        for key, value in entries:
            got[key] = value
            self._threads.point("scan")
        self.witness.saw(thread, "scan", got, least_lsn=least_lsn, is_whole=True)

    def view(self, thread: str) -> None:
        """Take a view, look at it twice; it may not change."""
        least_lsn = self.witness.acknowledged_lsn
        with self.store.view() as view:
            first = dict(view.items())
            self.witness.saw(thread, "view", first, least_lsn=least_lsn, is_whole=True, lsn=view.lsn)
            self._threads.point("look again")
            if {key: view[key] for key in first} != first or dict(view.items()) != first:
                self.witness.wrong.append(f"{thread}: a view changed under its reader")

    def ladder(self, thread: str) -> None:
        """Ask for the four LSNs, each at another moment."""
        store, pause = self.store, self._threads.point
        pause("pruned_lsn")
        pruned_lsn = store.pruned_lsn
        pause("snapshot_lsn")
        snapshot_lsn = store.snapshot_lsn
        pause("durable_lsn")
        durable_lsn = store.durable_lsn
        pause("lsn")
        self.witness.climbed((pruned_lsn, snapshot_lsn, durable_lsn, store.lsn))

    def compact(self, thread: str) -> None:
        """Fold and prune."""
        with suppress(ClosedError):
            self.store.compact()
            if self.store.snapshot_lsn > self.store.durable_lsn:
                self.witness.wrong.append(f"{thread}: a snapshot beyond what is durable")

    def sync_log(self, thread: str) -> None:
        """Make everything visible durable."""
        least_lsn = self.witness.acknowledged_lsn
        with suppress(ClosedError):
            lsn = self.store.sync()
            if lsn < least_lsn:
                self.witness.wrong.append(f"{thread}: sync() returned LSN {lsn}, {least_lsn} was acknowledged before")
            self.witness.promised(f"{thread}: sync() to LSN {lsn}", lsn, is_strong=True)

    def close(self, thread: str) -> None:
        """Close the store."""
        self.store.close()
        self.is_closed = True
        self.witness.promised(f"{thread}: close", self.witness.acknowledged_lsn, is_strong=True)

    def close_or_be_told(self, thread: str) -> None:
        """Close the store where a disk may hang: StorageError says so."""
        with suppress(StorageError):
            self.close(thread)
        self.is_closed = True

    def look(self, thread: str) -> None:
        """Open the store for reading, as another process does, and read it."""
        lsn, durable_lsn = self.witness.acknowledged_lsn, self.store.durable_lsn
        with journalkit.open(STORE, fs=self.fs, clock=SimulatedClock(seed=5), mode="r") as reader:
            got = dict(reader.items())
            self.witness.saw(thread, "reading beside", got, least_lsn=lsn, is_whole=True, lsn=reader.lsn)
            if reader.durable_lsn < durable_lsn:
                self.witness.wrong.append(f"{thread}: durable {reader.durable_lsn}, it was {durable_lsn} before")

    def _value(self, thread: str, bytes_more: int) -> str:
        self._values += 1
        return f"{thread}-{self._values}" + "." * bytes_more

    def _is_strong(self, sync: Any) -> bool:
        return (sync or self.sync) == "always"

    # The end

    def judge(self) -> list[str]:
        """Return what was wrong."""
        scheduler, witness = self.scheduler, self.witness
        witness.wrong += [f"{name} ended with {type(e).__name__}: {e}" for name, e in scheduler.errors]
        if self.is_closed and self.disk.lock(f"{STORE}/lock") is None:
            witness.wrong.append("the store is closed, and its lock isn't free")
        return witness.judge()

    def drop(self) -> None:
        """Give the store up without closing it."""
        self.store.forbid()


BEFORE: Final = (("a", "old-a"), ("b", "old-b"), ("c", "old-c"))
_prepared_disks: dict[int, SimulatedDisk] = {}


def _prepared(snapshots: int) -> SimulatedDisk:
    """A disk with a closed store: three records, so many snapshots of them."""
    disk = _prepared_disks.get(snapshots)
    if disk is None:
        disk = _prepared_disks[snapshots] = SimulatedDisk()
        with journalkit.open(STORE, fs=disk, clock=SimulatedClock(seed=3), **SMALL) as store:
            for number, (key, value) in enumerate(BEFORE):
                store[key] = value
                if number < snapshots:
                    store.compact()
    return disk


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene: `plays` adds its threads to a world.

    `early_timeouts`: waits may end by their timeout at any point. `by_line`:
    every line of these files is a point. `stalls`: somebody may have to wait
    for a timeout. `shares` is into how many units its schedules are split.
    """

    says: str
    plays: Callable[[World], None]
    options: dict[str, Any] = field(default_factory=dict)
    snapshots: int = 0
    preemptions: int = 2
    early_timeouts: bool = False
    by_line: tuple[str, ...] = ()
    by_opcode: bool = False
    stalls: bool = False
    shares: int = 1


def _two_writers(world: World) -> None:
    world.act("one", world.put("a"), world.put("b"))
    world.act("two", world.put("a"))


def _three_writers(world: World) -> None:
    for name in ("one", "two", "three"):
        world.act(name, world.put("a"))


def _weak_and_strong(world: World) -> None:
    world.act("weak", world.put("a", sync="never"), world.put("b", sync="never"))
    world.act("strong", world.put("a"))


def _writer_and_reader(world: World) -> None:
    world.act("writer", world.put("a"), world.put("b"))
    world.act("reader", world.get("b", "a"), world.scan, world.get("a", "b"))


def _writer_and_view(world: World) -> None:
    world.act("writer", world.put("a"), world.put("b", sync="never"))
    world.act("viewer", world.view, world.view)


def _writer_and_fold(world: World) -> None:
    world.act("writer", world.put("a"))
    world.act("compactor", world.compact)


def _writer_and_closer(world: World) -> None:
    world.act("writer", world.put("a"), world.put("b"))
    world.act("closer", world.close)


def _slow_disk_and_closer(world: World) -> None:
    world.act("writer", world.put("a"))
    world.act("closer", world.close_or_be_told)


def _fold_and_closer(world: World) -> None:
    world.put("a")("before")
    world.act("compactor", world.compact)
    world.act("closer", world.close)


def _view_fold_writer(world: World) -> None:
    world.act("writer", world.put("a", sync="never"))
    world.act("viewer", world.view)
    world.act("compactor", world.compact)


def _rotation(world: World) -> None:
    world.act("one", world.put("a", bytes_more=SEGMENT_BYTES), world.put("b"))
    world.act("two", world.put("a"))


def _transaction(world: World) -> None:
    world.act("transaction", world.increment("a"))
    world.act("writer", world.put("a"))


def _two_increments(world: World) -> None:
    world.act("one", world.increment("a"))
    world.act("two", world.increment("a"))


def _two_expectations(world: World) -> None:
    world.act("one", world.expect("a", "old-a"))
    world.act("two", world.expect("a", "old-a"))


def _sync_and_writer(world: World) -> None:
    world.act("writer", world.put("a", sync="never"), world.put("b", sync="never"))
    world.act("syncer", world.sync_log, world.ladder)


def _failing_sync(world: World) -> None:
    world.disk.fail("sync_data", 1, errno.EIO)
    _three_writers(world)


def _full_disk(world: World) -> None:
    world.disk.fail("pwrite", 1, errno.ENOSPC, path_contains="log-")
    _three_writers(world)


def _reader_beside_fold(world: World) -> None:
    world.put("a")("before")
    world.act("reader", world.look)
    world.act("compactor", world.compact)


def _syncer_and_closer(world: World) -> None:
    world.act("writer", world.put("a"), world.put("b"))
    world.act("closer", world.close)


def _background_fold(world: World) -> None:
    world.act("writer", world.put("a"), world.close)


def _two_folds(world: World) -> None:
    world.put("a")("before")
    world.act("one", world.compact)
    world.act("two", world.compact)


def _two_closers(world: World) -> None:
    world.put("a", sync="never")("before")
    world.act("one", world.close)
    world.act("two", world.close)


def _ladder_and_fold(world: World) -> None:
    world.put("a", sync="never")("before")
    world.act("climber", world.ladder, world.ladder)
    world.act("compactor", world.compact)


SCENES: Final[dict[str, Scene]] = {
    "two-writers": Scene("two durable writers: group commit, leader and follower", _two_writers),
    "three-writers": Scene("three durable writers: a leader and two who wait", _three_writers),
    "weak-and-strong": Scene("a writer that waits for no fsync beside one that does", _weak_and_strong),
    "writer-reader": Scene("gets and a scan beside a writer", _writer_and_reader),
    "writer-view": Scene("views beside a writer", _writer_and_view),
    "writer-fold": Scene("a writer beside a fold that rotates, publishes and prunes", _writer_and_fold, snapshots=2),
    "writer-closer": Scene("a close in the middle of writes", _writer_and_closer),
    "slow-disk-closer": Scene(
        "a close beside a write that a slow disk holds up", _slow_disk_and_closer, early_timeouts=True, stalls=True
    ),
    "fold-closer": Scene("a close in the middle of a fold", _fold_and_closer, snapshots=2),
    "view-fold-writer": Scene("a view, a fold and a writer", _view_fold_writer, snapshots=1),
    "rotation": Scene("a rotation beside a second writer", _rotation),
    "transaction": Scene("a transaction beside a writer", _transaction),
    "two-increments": Scene("two transactions that read what the other writes", _two_increments),
    "two-expectations": Scene("two writers that expect the same value", _two_expectations),
    "sync-writer": Scene("sync() beside a writer that waits for no fsync", _sync_and_writer),
    "failing-sync": Scene("a leader whose fsync fails, and followers", _failing_sync),
    "full-disk": Scene("a leader whose write finds no room, and followers", _full_disk),
    "reader-fold": Scene("an open for reading beside a fold that prunes", _reader_beside_fold, snapshots=2),
    "syncer-closer": Scene(
        "the interval's thread, a writer and a close", _syncer_and_closer, options={"sync": "interval"}
    ),
    "background-fold": Scene(
        "the compactor's thread, a writer and a close",
        _background_fold,
        options={"compaction": "thread", "fold_bytes_min": 1, "fold_ratio": 0.0},
        snapshots=1,
    ),
    "two-folds": Scene("two threads that fold", _two_folds, snapshots=2),
    "two-closers": Scene("two threads that close", _two_closers),
    "ladder-fold": Scene("the ladder, asked for beside a fold", _ladder_and_fold, snapshots=2),
}
