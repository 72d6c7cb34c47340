"""Stores and journals, closed and killed, of which every record's place is known; and the command line on them."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.cli import main
from journalkit.format.frame import Kind
from journalkit.format.segment import HEADER_BYTES, decode_header
from journalkit.fs.posix import PosixFileSystem
from journalkit.log.reader import SegmentReader

# `harm` is a module of this folder.
sys.path.insert(0, str(Path(__file__).parent))

RECORDS = 90
FOLDS = (30, 55)
SEGMENT_BYTES = 6000


@dataclass(frozen=True)
class Record:
    """One record: where it stands, and which key it sets."""

    lsn: int
    file: str
    offset: int
    end: int


@dataclass
class Patient:
    """A directory, and all that is true of it."""

    path: Path
    is_journal: bool
    records: list[Record] = field(default_factory=list)

    def of(self, file: str) -> list[Record]:
        """Return the records of a segment, seals not among them."""
        return [record for record in self.records if record.file == file]

    @property
    def segments(self) -> list[str]:
        """The log's files that hold records, oldest first."""
        return list(dict.fromkeys(record.file for record in self.records))

    @property
    def tables(self) -> list[str]:
        """The tables, oldest first."""
        return sorted(path.name for path in self.path.glob("table-*"))

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Make a file these bytes."""
        (self.path / name).write_bytes(data)

    def patch(self, name: str, at: int, data: bytes) -> None:
        """Write over a part of a file."""
        whole = bytearray(self.read(name))
        whole[at : at + len(data)] = data
        self.write(name, bytes(whole))

    def flip(self, name: str, at: int, bit: int) -> None:
        """Flip one bit."""
        self.patch(name, at, bytes([self.read(name)[at] ^ 1 << bit]))

    def expected(self, lost: set[int]) -> dict[Any, Any]:
        """Return what is left if these records are gone: a store's state, a journal's values by old LSN."""
        kept = {lsn: value_of(lsn) for lsn in range(1, RECORDS + 1) if lsn not in lost}
        if self.is_journal:
            return kept
        # What the newest snapshot holds doesn't need its records.
        return {key_of(lsn): value_of(lsn) for lsn in range(1, RECORDS + 1) if lsn in kept or lsn <= FOLDS[-1]}

    def contents(self, path: Path) -> dict[Any, Any]:
        """Return the same of a directory that was salvaged."""
        if not self.is_journal:
            with journalkit.open(path, mode="r") as store:
                return dict(store.items())
        with journalkit.open_journal(path, mode="r") as journal:
            return {record.value["n"]: record.value for record in journal.read()}

    def fingerprint(self) -> str:
        """Return a hash of every name, byte, size, mode, inode and time of change; not of the time of reading."""
        parts = []
        for path in sorted([self.path, *self.path.rglob("*")]):
            status = path.lstat()
            parts.append((str(path), status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_mode))
            parts.append((str(status.st_ino), status.st_nlink, status.st_uid, status.st_gid, status.st_dev))
            if path.is_file():
                parts.append((hashlib.sha256(path.read_bytes()).hexdigest(), 0, 0, 0, 0))
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def key_of(lsn: int) -> str:
    """Return the key that a record sets: some are set again and again."""
    return f"key-{lsn * 7 % 40:02d}"


def value_of(lsn: int) -> dict[str, Any]:
    """Return a record's value, like no other one, of several hundred bytes."""
    return {"n": lsn, "noise": random.Random(lsn).randbytes(300 + lsn % 5 * 70)}


def build(path: Path, *, is_journal: bool) -> None:
    """Write the records; beside `path` the same directory as a kill would have left it."""
    killed = path.with_name(path.name + "-killed")
    if is_journal:
        with journalkit.open_journal(path, segment_bytes_max=SEGMENT_BYTES) as journal:
            for lsn in range(1, RECORDS + 1):
                assert journal.append(value_of(lsn)) == lsn
            shutil.copytree(path, killed)
        return
    with journalkit.open(path, segment_bytes_max=SEGMENT_BYTES, compaction="manual") as store:
        for lsn in range(1, RECORDS + 1):
            assert store.put(key_of(lsn), value_of(lsn)) == lsn
            if lsn in FOLDS:
                store.compact()
        shutil.copytree(path, killed)


def places(path: Path) -> list[Record]:
    """Return where each record of a sound directory stands."""
    found = []
    for file in sorted(path.glob("log-*")):
        data = file.read_bytes()
        if any(data[:HEADER_BYTES]):
            opened = PosixFileSystem().open_read(str(file))
            salt = decode_header(data[:HEADER_BYTES]).salt
            for frame in SegmentReader(opened, salt).frames(HEADER_BYTES, len(data)):
                if frame.kind != Kind.SEAL:
                    found.append(Record(frame.lsn, file.name, frame.offset_bytes, frame.end_bytes))
            opened.close()
    return found


@pytest.fixture(scope="session")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directories that patients are copies of; a second one of each, with the same history."""
    folder = tmp_path_factory.mktemp("ward")
    for is_journal in (False, True):
        for life in ("", "-other"):
            build(folder / (("journal" if is_journal else "store") + life), is_journal=is_journal)
    return folder


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as the one JSON document that it has to be."""
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process."""

    def call(*args: object) -> Ran:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return call


@pytest.fixture
def admit(ward: Path, tmp_path: Path) -> Callable[..., Patient]:
    """Return a copy of a directory; `life` is that of another one with the same history."""

    def make(kind: str, state: str, life: str = "") -> Patient:
        source = ward / (kind + life + ("-killed" if state == "killed" else ""))
        path = tmp_path / (kind + life)
        shutil.copytree(source, path)
        return Patient(path, kind == "journal", places(path))

    return make


def files_of(path: Path) -> Mapping[str, bytes]:
    """Return all files below a folder by their relative names."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture
def contents_of() -> Callable[[Path], Mapping[str, bytes]]:
    """Hand out `files_of`."""
    return files_of
