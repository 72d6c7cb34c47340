"""The world of one schedule: a store that has just been opened, and what threads can do to it.

It is opened from a disk that holds a little already, three records and perhaps
snapshots of them, so that a fold folds and prunes. What threads do and see is
told to a `Witness`, who judges.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Literal

from scheduled_files import Medium, ScheduledClock, ScheduledFiles
from scheduled_threads import Threads
from scheduler import Scheduler
from witness import PLACE, STORE, Court, Witness

import journalkit
from journalkit import ABSENT
from journalkit.errors import ClosedError, LockedError, StorageError
from journalkit.testing import SimulatedClock, SimulatedDisk

SEGMENT_BYTES: Final = 4096
"""The least a segment may have: one record of about that size makes the log rotate."""

SMALL: Final[dict[str, Any]] = {"compaction": "manual", "segment_bytes_max": SEGMENT_BYTES, "keep_snapshots": 1}

BEFORE: Final = (("a", "old-a"), ("b", "old-b"), ("c", "old-c"))


class World:
    """One schedule's store, its disk, and what its threads can do to it."""

    def __init__(
        self,
        threads: Threads,
        scheduler: Scheduler,
        clock: ScheduledClock,
        court: Court,
        *,
        snapshots: int,
        options: dict[str, Any],
    ) -> None:
        """Open the store of a schedule."""
        self.scheduler = scheduler
        self.disk = court.prepared(snapshots, self._prepared).crash("none")
        self.clock = clock
        medium = Medium()
        self.fs = ScheduledFiles(threads, self.disk, medium)
        self.witness = Witness(self.disk, medium, court)
        self._threads = threads
        self._values = 0
        for lsn, (key, value) in enumerate(BEFORE, 1):
            self.witness.knows(lsn, self._change(key, value))
        self.sync = options.get("sync", "always")
        self.is_closed = False
        scheduler.on_preemption = self.lose_power
        self.store: Any = self._open(fs=self.fs, clock=clock, **options)

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

    def glance(self, thread: str) -> None:
        """Take a view and look at it once."""
        least_lsn = self.witness.acknowledged_lsn
        with self.store.view() as view:
            self.witness.saw(thread, "view", dict(view), least_lsn=least_lsn, is_whole=True, lsn=view.lsn)

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

    def compact_or_be_told(self, thread: str) -> None:
        """Fold where a close may give up waiting for it."""
        with suppress(StorageError):
            self.compact(thread)

    def reopen(self, thread: str) -> None:
        """Open the store again, as the next process does, and commit; unless its lock isn't free yet."""
        try:
            again = journalkit.open(STORE, fs=self.fs, clock=self.clock, **SMALL)
        except LockedError:
            return
        value = self._value(thread, 0)
        with again, self.witness.committing(thread, {"a": value}, is_strong=True) as attempt:
            attempt.lsn = again.put("a", value)

    def look(self, thread: str) -> None:
        """Open the store for reading, as another process does, and read it."""
        lsn, durable_lsn = self.witness.acknowledged_lsn, self.store.durable_lsn
        with journalkit.open(STORE, fs=self.fs, clock=SimulatedClock(seed=5), mode="r") as reader:
            got = dict(reader.items())
            self._saw_beside(thread, got, lsn, reader)
            if reader.durable_lsn < durable_lsn:
                self.witness.wrong.append(f"{thread}: durable {reader.durable_lsn}, it was {durable_lsn} before")

    def _saw_beside(self, thread: str, got: dict[Any, Any], least_lsn: int, reader: Any) -> None:
        # It shows what is just being written too, and says how much of it is durable.
        lsn, durable_lsn = reader.lsn, reader.durable_lsn
        self.witness.saw(
            thread, "read beside", got, least_lsn=least_lsn, is_whole=True, lsn=lsn, durable_lsn=durable_lsn
        )

    def lose_power(self, keep: Literal["none"] | int = "none") -> None:
        """Ask what a power cut would leave now, somebody being in the middle of something."""
        self.witness.cut(keep)

    def _value(self, thread: str, bytes_more: int) -> str:
        self._values += 1
        return f"{thread}-{self._values}" + "." * bytes_more

    def _is_strong(self, sync: Any) -> bool:
        return bool((sync or self.sync) == "always")

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

    # What is opened

    def _open(self, **options: Any) -> Any:
        return journalkit.open(STORE, **(SMALL | options))

    def _change(self, key: str, value: str) -> dict[Any, Any]:
        return {key: value}

    def _prepared(self, snapshots: int) -> SimulatedDisk:
        """A disk with a closed store: three records, so many snapshots of them."""
        disk = SimulatedDisk()
        with self._open(fs=disk, clock=SimulatedClock(seed=3)) as store:
            for number, (key, value) in enumerate(BEFORE):
                store[key] = value
                if number < snapshots:
                    store.compact()
        return disk


class JournalWorld(World):
    """The same with a journal. What stands in it is told to the witness as LSN: value."""

    def append(self, *, sync: Any = None, bytes_more: int = 0) -> Callable[[str], None]:
        """Append one value."""

        def action(thread: str) -> None:
            value = self._value(thread, bytes_more)
            with self.witness.committing(thread, {PLACE: value}, is_strong=self._is_strong(sync)) as attempt:
                attempt.lsn = self.store.append(value, sync=sync)

        return action

    def read(self, thread: str) -> None:
        """Read all of it, as far as it went when reading began."""
        least_lsn = self.witness.acknowledged_lsn
        with suppress(ClosedError):
            got = {record.lsn: record.value for record in self.store.read()}
            self.witness.saw(thread, "read", got, least_lsn=least_lsn, is_whole=True)

    def read_beside(self, thread: str) -> None:
        """Read it as another process does."""
        least_lsn = self.witness.acknowledged_lsn
        with self._open(fs=self.fs, clock=SimulatedClock(seed=5), mode="r") as reader:
            got = {record.lsn: record.value for record in reader.read()}
            self._saw_beside(thread, got, least_lsn, reader)

    def rotate(self, thread: str) -> None:
        """Go on in a new segment."""
        self.store.rotate()

    def prune(self, thread: str) -> None:
        """Remove what the first segment holds; nothing that was written here is in it."""
        pruned_lsn = self.store.prune(len(BEFORE))
        if pruned_lsn != self.store.pruned_lsn:
            self.witness.wrong.append(f"{thread}: prune returned {pruned_lsn}, it is {self.store.pruned_lsn}")

    def _open(self, **options: Any) -> Any:
        return journalkit.open_journal(STORE, **({"segment_bytes_max": SEGMENT_BYTES} | options))

    def _change(self, key: str, value: str) -> dict[Any, Any]:
        return {PLACE: value}

    def _prepared(self, snapshots: int) -> SimulatedDisk:
        disk = SimulatedDisk()
        with self._open(fs=disk, clock=SimulatedClock(seed=3)) as journal:
            for _, value in BEFORE:
                journal.append(value)
        return disk
