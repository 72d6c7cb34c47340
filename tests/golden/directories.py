"""A store in memory that becomes a golden directory, and the damage that is done to bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import journalkit
from journalkit.format.names import LOCK, RESERVE
from journalkit.fs.memory import MemoryFileSystem
from journalkit.testing import SimulatedClock

PLACE = "/store"
PAGE_BYTES = 4096

Files: TypeAlias = Mapping[str, bytes]


class Maker:
    """A file system with one store or journal on it."""

    def __init__(self, seed: int) -> None:
        self.fs = MemoryFileSystem()
        self.clock = SimulatedClock(seed=seed)

    def store(self, **options: Any) -> journalkit.Store:
        """Open the store for writing."""
        return journalkit.open(PLACE, fs=self.fs, clock=self.clock, compaction="manual", **options)

    def journal(self, **options: Any) -> journalkit.Journal:
        """Open the journal for writing."""
        return journalkit.open_journal(PLACE, fs=self.fs, clock=self.clock, **options)

    def files(self, folder: str = "") -> dict[str, bytes]:
        """Return the files as they are now, by their paths."""
        found: dict[str, bytes] = {}
        for name in self.fs.list(f"{PLACE}/{folder}"):
            path = f"{folder}{name}"
            status = self.fs.status(f"{PLACE}/{path}")
            if status is not None and status.is_directory:
                found |= self.files(f"{path}/")
            elif status is not None and name not in (LOCK, RESERVE):
                found[path] = _trimmed(self.fs.open_read(f"{PLACE}/{path}").pread(status.size_bytes, 0))
        return found

    def change(self, name: str, at: int, data: bytes) -> None:
        """Write over part of a file, behind the store's back."""
        self.fs.open_write(f"{PLACE}/{name}").pwrite(data, at)

    def after_crash(self) -> Maker:
        """Return what the next process finds: the same files, no handle, no lock."""
        after = Maker(0)
        after.clock = self.clock
        after.fs.make_directory(PLACE)
        for name, data in self.files().items():
            after.fs.create(f"{PLACE}/{name}").pwrite(data, 0)
        return after

    def content_end(self, name: str) -> int:
        """Return where a file's zeros begin."""
        return len(self.files()[name].rstrip(b"\0"))


def _trimmed(data: bytes) -> bytes:
    content = len(data.rstrip(b"\0"))
    return data[: max(content, -(-content // PAGE_BYTES) * PAGE_BYTES)]


def flipped(data: bytes, at: int) -> bytes:
    """Return the bytes with one bit turned over."""
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def patched(data: bytes, at: int, part: bytes) -> bytes:
    """Return the bytes with a part of them written over."""
    return data[:at] + part + data[at + len(part) :]
