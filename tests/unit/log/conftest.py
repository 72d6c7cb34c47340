"""A log by itself: made without recovery, and read back with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from journalkit.clock import Clock
from journalkit.format.frame import Frame, Kind
from journalkit.format.manifest import Manifest, SegmentEntry
from journalkit.fs.interface import FileSystem
from journalkit.log.commit import Commit, Mutations
from journalkit.log.durable import DurableFile
from journalkit.log.log import Log
from journalkit.log.rotation import begin_segment
from journalkit.log.segment import SegmentWriter
from journalkit.log.succession import Position
from journalkit.manifest import ManifestKeeper, read_manifest
from journalkit.recovery.look import Found, look
from journalkit.snapshot.cache import BlockCache
from journalkit.testing import SimulatedClock, SimulatedDisk

STORE, WRITER = b"s" * 16, b"w" * 16


@dataclass
class Appliers:
    """Where a log under test makes its records visible."""

    apply: Callable[[list[Commit], int], None]
    apply_one: Callable[[Mutations, bytes, int], None]


@dataclass
class Bench:
    """A log under test. `visible` is what was applied, by LSN; `acknowledged` what commits returned."""

    fs: Any = None
    directory: str = "/store"
    clock: Clock = field(default_factory=SimulatedClock)
    segment_bytes_max: int = 1 << 20
    visible: dict[int, bytes] = field(default_factory=dict)
    acknowledged: dict[int, bytes] = field(default_factory=dict)
    apply: Callable[[list[Commit], int], None] | None = None

    def __post_init__(self) -> None:
        if self.fs is None:
            self.fs = SimulatedDisk()
        if self.fs.status(self.directory) is None:
            self.fs.make_directory(self.directory)
            self.fs.sync_directory(os.path.dirname(self.directory))
        self.log, self.keeper = self._new_log()

    def _new_log(self) -> tuple[Log, ManifestKeeper]:
        fs: FileSystem = self.fs
        entry = SegmentEntry(number=1, salt=77, epoch=1, first_lsn=1)
        segment = SegmentWriter.create(fs, self.directory, entry)
        begin_segment(segment, None, first_lsn=1, store=STORE, writer=WRITER, time_us=0)
        segment.file.sync()
        fs.sync_directory(self.directory)
        manifest = Manifest(
            store=STORE,
            kind="journal",
            codec="cbor",
            created_us=0,
            generation=0,
            epoch=1,
            writer=WRITER,
            segments=(entry,),
            snapshots=(),
            pruned_lsn=0,
            durable_lsn=0,
            next_segment=2,
            next_table=1,
        )
        keeper = ManifestKeeper(fs, self.directory, manifest, release_reserve=lambda: None)
        keeper.publish(lambda first: first.next_generation())
        log = Log(
            fs,
            self.directory,
            keeper,
            self.clock,
            Position((), segment),
            DurableFile(fs, self.directory, store=STORE, writer=WRITER, epoch=1),
            last_lsn=0,
            segment_bytes_max=self.segment_bytes_max,
            applier=Appliers(self._make_visible, self._make_one_visible),
        )
        return log, keeper

    def _make_visible(self, commits: list[Commit], last_lsn: int) -> None:
        for commit in commits:
            if commit.payload is not None:
                self.visible[commit.lsn] = commit.payload
        if self.apply is not None:
            self.apply(commits, last_lsn)

    def _make_one_visible(self, mutations: Mutations, payload: bytes, lsn: int) -> None:
        commit = Commit(payload, Kind.RECORD, mutations, durable=False)
        commit.lsn = lsn
        self._make_visible([commit], lsn)

    def put(self, payload: bytes, *, durable: bool = False, check: Any = None) -> int:
        """Commit one record."""
        lsn = self.log.append(payload, Kind.RECORD, (), durable, check)
        self.acknowledged[lsn] = payload
        return lsn

    def publish(self) -> None:
        """Replace the manifest, as a compactor does that has folded nothing."""
        self.keeper.publish(lambda manifest: manifest.next_generation(segments=self.log.entries(manifest.pruned_lsn)))

    def segment_path(self, number: int) -> str:
        """Where a segment is."""
        return f"{self.directory}/log-{number:016d}.jks"

    def recovered(self, fs: Any = None) -> tuple[list[tuple[int, bytes]], Found]:
        """Return the records that recovery would keep, and all that it saw."""
        disk = fs if fs is not None else self.fs
        frames: list[Frame] = []
        manifest = read_manifest(disk, self.directory)
        assert manifest is not None
        found = look(disk, self.directory, manifest, BlockCache(1 << 20), frames.append)
        return [(frame.lsn, frame.payload) for frame in frames], found

    def check(self, fs: Any = None, *, promised: dict[int, bytes] | None = None) -> list[tuple[int, bytes]]:
        """Hold the promises against a disk: no damage, dense LSNs, and everything that was promised."""
        records, found = self.recovered(fs)
        assert found.plan.damage == ()
        assert [lsn for lsn, _ in records] == list(range(1, len(records) + 1))
        expected = self.acknowledged if promised is None else promised
        assert {lsn: payload for lsn, payload in records if lsn in expected} == expected
        return records


def record(payload: bytes, *, durable: bool = False, check: Any = None) -> Commit:
    """Return a commit of one record."""
    return Commit(payload, Kind.RECORD, (), durable, check)


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """Return the maker of logs under test."""
    return Bench


@pytest.fixture
def new_record() -> Callable[..., Commit]:
    """Return the maker of commits."""
    return record
