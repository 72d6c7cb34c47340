"""A store on a simulated disk, below `Store`: opened, written, folded and cut off as a test wants it.

`world` keeps a model beside the disk: which records were submitted and which
of them were acknowledged as durable. `World.check` is the promise that all
crash tests make: a prefix of the submitted records, every acknowledged one in it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from journalkit.format import names
from journalkit.format.batch import encode_one
from journalkit.format.manifest import Manifest, SnapshotEntry, decode_manifest
from journalkit.fs.interface import ReadableFileSystem
from journalkit.fs.memory import MemoryFileSystem
from journalkit.log.commit import Commit, Mutations
from journalkit.recovery.look import look, require_manifest
from journalkit.recovery.replay import Replay
from journalkit.recovery.snapshots import SnapshotChoice, choose_snapshot
from journalkit.recovery.writer import OpenRequest, open_for_writing
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.writer import TableWriter
from journalkit.testing import SimulatedClock, SimulatedDisk

# What tests here share is imported by its plain name, as the programs of this folder do.
sys.path.append(str(Path(__file__).parent))

STORE = "/store"


def request(**options: Any) -> OpenRequest:
    """Return a request with the usual options, but for those that are given."""
    usual: dict[str, Any] = {
        "kind": "store",
        "create": True,
        "codec": None,
        "mode": "default",
        "metadata": None,
        "trust_filesystem": None,
        "segment_bytes_max": 1 << 20,
        "opened_at": "test:1",
    }
    return OpenRequest(**(usual | options))


class ReadableHalf:
    """A file system without one method that could change a byte."""

    def __init__(self, fs: ReadableFileSystem) -> None:
        self.open_read, self.open_direct, self.list = fs.open_read, fs.open_direct, fs.list
        self.status, self.free_bytes, self.filesystem_type = fs.status, fs.free_bytes, fs.filesystem_type


class Session:
    """A store that is open for writing, and its state as a dict of encoded keys and values."""

    def __init__(self, world: World, options: dict[str, Any]) -> None:
        self.world = world
        replay = Replay(STORE)
        self.opened = open_for_writing(
            world.fs, STORE, request(**options), BlockCache(1 << 20), world.clock, replay, self
        )
        self.log, self.keeper, self.report = self.opened.log, self.opened.keeper, self.opened.report
        self._over = replay.entries
        self._base: dict[bytes, bytes | None] | None = None

    @property
    def state(self) -> dict[bytes, bytes]:
        """The state now."""
        if self._base is None:
            self._base = {}
            for table in reversed(self.opened.tables):
                self._base |= dict(table.scan(None, None))
        return {key: value for key, value in (self._base | self._over).items() if value is not None}

    def apply(self, commits: list[Commit], _lsn: int) -> None:
        """Make a group visible."""
        for commit in commits:
            self._over.update(commit.mutations)

    def apply_one(self, mutations: Mutations, _payload: bytes, _lsn: int) -> None:
        """Make a record visible."""
        self._over.update(mutations)

    def put(self, *, durable: bool = True, value: bytes = b"value") -> int:
        """Commit the next record of the model: a key that is never used again."""
        key = b"key-%06d" % self.world.submitted
        self.world.submitted += 1
        lsn = self.log.append(encode_one(key, value), 1, ((key, value),), durable)
        if durable:
            self.world.acknowledged = self.world.submitted
        return lsn

    def fold(self, *, keep: int = 2, prune: bool = True) -> None:
        """Fold the state into a new snapshot and prune, as the compactor does."""
        fs, keeper = self.world.fs, self.keeper
        self.log.rotate()
        self.log.sync()
        self.world.acknowledged = self.world.submitted
        lsn = self.log.last_lsn
        with TableWriter(
            fs, STORE, keeper.current.next_table, store_uuid=keeper.current.store, lsn=lsn, salt=7, block_bytes=64
        ) as writer:
            writer.add_all(sorted(self.state.items()))
            info = writer.finish()
        entry = SnapshotEntry(lsn, 0, (info,))

        def publish(manifest: Manifest) -> Manifest:
            return manifest.next_generation(
                snapshots=(entry, *manifest.snapshots),
                segments=self.log.entries(manifest.pruned_lsn),
                durable_lsn=self.log.durable_lsn,
                next_table=info.number + 1,
            )

        keeper.publish(publish)
        if prune:
            self._prune(keep)

    def _prune(self, keep: int) -> None:
        fs, keeper = self.world.fs, self.keeper
        manifest = keeper.current
        kept, dropped = manifest.snapshots[:keep], manifest.snapshots[keep:]
        ends = [entry.end.last_lsn for entry in self.log.position.ended if entry.end is not None]
        pruned = max((end for end in ends if end <= kept[-1].lsn), default=manifest.pruned_lsn)
        keeper.publish(
            lambda current: current.next_generation(
                snapshots=kept, segments=self.log.entries(pruned), pruned_lsn=pruned, durable_lsn=self.log.durable_lsn
            )
        )
        for snapshot in dropped:
            for table in snapshot.tables:
                fs.unlink(os.path.join(STORE, names.table_name(table.number)))
        for segment in self.log.forget(pruned):
            fs.unlink(os.path.join(STORE, names.segment_name(segment.number)))

    def close(self) -> None:
        """Close properly."""
        self.release_tables()
        self.opened.close()

    def release_tables(self) -> None:
        """Close the tables, which belong to whoever opened; the state stays known."""
        assert self.state is not None
        for table in self.opened.tables:
            table.close()


class World:
    """A disk, a clock, and what was written so far."""

    def __init__(self, fs: Any = None, *, seed: int = 0) -> None:
        self.fs = fs if fs is not None else SimulatedDisk()
        self.clock = SimulatedClock(seed=seed)
        self.seed = seed
        self.submitted = 0
        self.acknowledged = 0
        self.older: list[dict[str, bytes]] = []

    def open(self, **options: Any) -> Session:
        """Open the store for writing."""
        return Session(self, options)

    def on(self, disk: Any) -> World:
        """Return a world with the same model on another disk, usually one that a crash left."""
        other = World(disk, seed=self.seed + 1)
        other.submitted, other.acknowledged = self.submitted, self.acknowledged
        return other

    def look(self, **options: Any) -> dict[bytes, bytes]:
        """Return the state that a reader finds, through a file system that can't write."""
        cache, replay, fs = BlockCache(1 << 20), Replay(STORE), ReadableHalf(self.fs)
        found = look(fs, STORE, require_manifest(fs, STORE), cache, replay, **({"mode": "default"} | options))
        state: dict[bytes, bytes | None] = {}
        for table in reversed(found.snapshot.tables):
            state |= dict(table.scan(None, None))
            table.close()
        state |= replay.entries
        return {key: value for key, value in state.items() if value is not None}

    def choose(self, *, deep: bool = False) -> SnapshotChoice:
        """Return which snapshot recovery starts from."""
        choice = choose_snapshot(ReadableHalf(self.fs), STORE, self.manifest, BlockCache(0), deep=deep)
        for table in choice.tables:
            table.close()
        return choice

    def fork(self) -> World:
        """Return this world as the next process finds it."""
        return self.on(self.fs.process_crash())

    def crash(self, keep: Any) -> World:
        """Return this world after a power cut."""
        return self.on(self.fs.crash(keep))

    def fill(self) -> World:
        """Write three segments of four records in three lives, and keep a copy of all files before and after each."""
        for _ in range(3):
            session = self.open()
            for _ in range(4):
                self.older.append(self.files())
                session.put()
            session.close()
            self.older.append(self.files())
        return self

    def check(self, session: Session) -> int:
        """Hold the promise: a prefix of what was submitted, every acknowledged record in it; return its length."""
        count = len(session.state)
        assert set(session.state) == {b"key-%06d" % n for n in range(count)}
        assert self.acknowledged <= count <= self.submitted
        return count

    def check_opens(self) -> int:
        """Open as the next process does, hold the promise, and close; return how many records there are."""
        session = self.fork().open()
        count = self.check(session)
        session.close()
        return count

    # What is on the disk

    @property
    def manifest(self) -> Manifest:
        """The manifest on the disk."""
        return decode_manifest(self.read(names.MANIFEST))

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        file = self.fs.open_read(f"{STORE}/{name}")
        try:
            return bytes(file.pread(file.size(), 0))
        finally:
            file.close()

    def write(self, name: str, data: bytes) -> None:
        """Make a file be these bytes, durably."""
        if isinstance(self.fs, SimulatedDisk):
            self.fs.write_bytes(f"{STORE}/{name}", data)
            return
        with suppress(FileNotFoundError):
            self.fs.unlink(f"{STORE}/{name}")
        file = self.fs.create(f"{STORE}/{name}")
        file.pwrite(data, 0)
        file.close()

    def remove(self, name: str) -> None:
        """Remove a file, durably."""
        self.fs.unlink(f"{STORE}/{name}")
        self.fs.sync_directory(STORE)

    def names(self) -> list[str]:
        """Return the names in the store's directory."""
        return list(self.fs.list(STORE))

    def segments(self) -> list[str]:
        """Return the file names of the segments that are there, in order."""
        return [name for name in self.names() if names.segment_number(name) is not None]

    def tables(self) -> list[str]:
        """Return the file names of the tables that are there, in order."""
        return [name for name in self.names() if names.table_number(name) is not None]

    def quarantined(self) -> list[str]:
        """Return what is in the quarantine."""
        return list(self.fs.list(f"{STORE}/{names.QUARANTINE}")) if names.QUARANTINE in self.names() else []

    def copy(self) -> World:
        """Return the same bytes on a disk of their own: `cp -r` of the directory, or of the machine."""
        return self.on(self.fs.crash("all"))

    def in_memory(self) -> World:
        """Return the same files on a file system that moves them between directories, which the simulated doesn't."""
        memory = MemoryFileSystem()
        memory.make_directory(STORE)
        for name, data in self.files().items():
            self.on(memory).write(name, data)
        return self.on(memory)

    def files(self) -> dict[str, bytes]:
        """Return every file of the store with its bytes."""
        found: dict[str, bytes] = {}
        for name in self.names():
            if name == names.QUARANTINE:
                found |= {f"{name}/{one}": self.read(f"{name}/{one}") for one in self.quarantined()}
            else:
                found[name] = self.read(name)
        return found


@pytest.fixture
def world() -> World:
    """An empty disk."""
    return World()


@pytest.fixture
def make_world() -> type[World]:
    """Worlds to be made as a test wants them."""
    return World
