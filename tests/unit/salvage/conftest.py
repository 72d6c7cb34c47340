"""A store in memory whose files can be damaged."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import journalkit
from journalkit.format import names
from journalkit.format.codec import CborCodec
from journalkit.format.frame import encode
from journalkit.format.keys import decode_key
from journalkit.format.segment import HEADER_BYTES, decode_header
from journalkit.fs.memory import MemoryFileSystem
from journalkit.recovery.salvage import Remains, log_records, state, take_stock

PATH = "/store"
CODEC = CborCodec()
PADDING = "x" * 700


class Patient:
    """A store in memory, a closed one unless said otherwise, whose files can be damaged."""

    def __init__(self) -> None:
        self.fs = MemoryFileSystem()
        self.model: dict[str, object] = {}

    def open(self, **options: object) -> journalkit.Store:
        """Open the store as its writer, with small segments."""
        return journalkit.open(PATH, fs=self.fs, compaction="manual", segment_bytes_max=4096, **options)  # type: ignore[arg-type]

    def names(self, number_of: Callable[[str], int | None]) -> list[str]:
        """Return the files of a kind, oldest first."""
        return [name for name in self.fs.list(PATH) if number_of(name) is not None]

    @property
    def segments(self) -> list[str]:
        return self.names(names.segment_number)

    @property
    def tables(self) -> list[str]:
        return self.names(names.table_number)

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        file = self.fs.open_read(os.path.join(PATH, name))
        try:
            return file.pread(file.size(), 0)
        finally:
            file.close()

    def write(self, name: str, data: bytes) -> None:
        """Make a file these bytes."""
        path = os.path.join(PATH, name)
        file = self.fs.create(path) if self.fs.status(path) is None else self.fs.open_write(path)
        file.truncate(0)
        file.pwrite(data, 0)
        file.close()

    def flip(self, name: str, offset_bytes: int) -> None:
        """Flip a bit."""
        data = bytearray(self.read(name))
        data[offset_bytes] ^= 1
        self.write(name, bytes(data))

    def remove(self, name: str) -> None:
        """Unlink a file."""
        self.fs.unlink(os.path.join(PATH, name))

    def copy(self) -> Patient:
        """Return a store with the same files: what a crash, or `cp`, would leave."""
        twin = Patient()
        twin.model = dict(self.model)
        twin.fs.make_directory(PATH)
        for name in self.fs.list(PATH):
            if name != names.QUARANTINE:
                twin.write(name, self.read(name))
        return twin

    def stock(self) -> Remains:
        """Take stock of the damage."""
        return take_stock(self.fs, PATH)

    def salvaged(self, remains: Remains) -> dict[str, object]:
        """Return the state that comes out."""
        entries = list(state(self.fs, remains))
        assert len({key for key, _ in entries}) == len(entries)
        return {str(decode_key(key)): CODEC.decode(value) for key, value in entries}

    def forge(self, payload: bytes, kind: int) -> None:
        """Append a whole frame with this payload behind the last record, in place of the seal."""
        name = self.segments[-1]
        last = list(log_records(self.fs, self.stock()))[-1]
        frame = encode(
            payload,
            lsn=last.lsn + 1,
            time_us=0,
            durable_lsn=0,
            kind=kind,
            salt=decode_header(self.read(name)[:HEADER_BYTES]).salt,
            offset_bytes=last.end_bytes,
        )
        self.write(name, self.read(name)[: last.end_bytes] + frame)


@pytest.fixture
def new_patient() -> type[Patient]:
    """Makes an empty one."""
    return Patient


@pytest.fixture
def patient() -> Patient:
    """Two snapshots of several blocks each, log between them and behind them, over several segments."""
    made = Patient()
    with made.open() as store:
        for part in range(3):
            for number in range(60):
                key = f"key-{number:03d}"
                store[key] = made.model[key] = [part, number, PADDING]
            gone = f"key-{part:03d}"
            del store[gone]
            del made.model[gone]
            if part < 2:
                store.compact()
        for part in range(2):
            made.model[f"key-{part:03d}"] = [2, part, PADDING]
    return made
