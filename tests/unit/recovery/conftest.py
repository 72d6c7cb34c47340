"""A log or a store in memory whose files can be damaged, and what is found in it."""

from __future__ import annotations

import random
from typing import Any

import pytest

import journalkit
from journalkit.format import names
from journalkit.fs.memory import MemoryFileSystem
from journalkit.manifest import read_manifest
from journalkit.recovery.damage import Damage
from journalkit.recovery.diagnosis import Finding
from journalkit.recovery.findings import Examiner
from journalkit.recovery.plan import make_plan
from journalkit.recovery.replay import discard
from journalkit.recovery.salvage_tables import read_remains
from journalkit.recovery.scan import scan_log
from journalkit.recovery.strays import find_strays

PLACE = "/store"


class Bed:
    """A directory in memory."""

    def __init__(self) -> None:
        self.fs = MemoryFileSystem()

    @property
    def segments(self) -> list[str]:
        return [name for name in self.fs.list(PLACE) if names.segment_number(name) is not None]

    @property
    def tables(self) -> list[str]:
        return [name for name in self.fs.list(PLACE) if names.table_number(name) is not None]

    def read(self, name: str) -> bytes:
        file = self.fs.open_read(f"{PLACE}/{name}")
        try:
            return file.pread(file.size(), 0)
        finally:
            file.close()

    def write(self, name: str, data: bytes) -> None:
        path = f"{PLACE}/{name}"
        file = self.fs.create(path) if self.fs.status(path) is None else self.fs.open_write(path)
        file.truncate(0)
        file.pwrite(data, 0)
        file.close()

    def patch(self, name: str, at: int, data: bytes) -> None:
        whole = bytearray(self.read(name))
        whole[at : at + len(data)] = data
        self.write(name, bytes(whole))

    def flip(self, name: str, at: int, bit: int = 0) -> None:
        self.patch(name, at, bytes([self.read(name)[at] ^ 1 << bit]))

    def remove(self, name: str) -> None:
        self.fs.unlink(f"{PLACE}/{name}")

    def log(self) -> list[Finding]:
        """Return what is found in the log, compared with all other places."""
        manifest: Any = read_manifest(self.fs, PLACE)
        scan = scan_log(self.fs, PLACE, manifest, after_lsn=manifest.pruned_lsn, sink=discard, everything=True)
        plan = make_plan(manifest, scan, find_strays(self.fs, PLACE, manifest), snapshot_lsn=0)
        return self.look(plan.damage)

    def look(self, damage: Any) -> list[Finding]:
        """Return what is found where damage was told."""
        manifest: Any = read_manifest(self.fs, PLACE)
        scan = scan_log(self.fs, PLACE, manifest, after_lsn=manifest.pruned_lsn, sink=discard, everything=True)
        examiner = Examiner(self.fs, PLACE, manifest)
        return examiner.look_further(examiner.log(scan, tuple(damage)))

    def table(self, name: str) -> list[Finding]:
        """Return what is found in a table."""
        manifest: Any = read_manifest(self.fs, PLACE)
        number = names.table_number(name)
        [info] = [info for entry in manifest.snapshots for info in entry.tables if info.number == number]
        examiner = Examiner(self.fs, PLACE, manifest)
        remains = read_remains(self.fs, PLACE, name, info)
        return examiner.look_further(examiner.table(info, name, remains, "told"))


def noise(seed: int, size: int) -> bytes:
    """Return bytes like no others."""
    return random.Random(seed).randbytes(size)


@pytest.fixture
def ward() -> type[Bed]:
    """Makes an empty one."""
    return Bed


@pytest.fixture
def journal() -> Bed:
    """A closed journal of twelve records of some 1050 bytes, four to a segment."""
    bed = Bed()
    with journalkit.open_journal(PLACE, fs=bed.fs, segment_bytes_max=4096) as opened:
        for number in range(12):
            opened.append(noise(number, 1050))
    return bed


@pytest.fixture
def store() -> Bed:
    """A closed store with two snapshots of several blocks."""
    bed = Bed()
    with journalkit.open(PLACE, fs=bed.fs, compaction="manual") as opened:
        for part in range(2):
            for number in range(120):
                opened[f"key-{number:03d}"] = noise(1000 * part + number, 700)
            opened.compact()
    return bed


@pytest.fixture
def told() -> Any:
    """Make a Damage."""
    return Damage
