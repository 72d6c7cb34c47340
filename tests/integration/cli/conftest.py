"""The command line, called in process; and stores to call it on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.cli import main
from journalkit.format.segment import HEADER_BYTES


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it has to be."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a command in this process; `stdin` is what it reads."""

    def call(*args: object, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return call


class Place:
    """A store's directory, and ways to damage it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def files(self, pattern: str) -> list[Path]:
        """Return the files of a pattern, oldest first."""
        return sorted(self.path.glob(pattern))

    @property
    def newest_table(self) -> Path:
        return self.files("table-*")[-1]

    @property
    def oldest_table(self) -> Path:
        return self.files("table-*")[0]

    @property
    def last_segment(self) -> Path:
        return self.files("log-*")[-1]

    @staticmethod
    def flip(path: Path, offset: int = HEADER_BYTES + 50) -> None:
        """Flip a bit of a file."""
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)

    def tear(self) -> None:
        """Put half a frame that nothing promised behind the log, as a crash leaves one."""
        path = self.last_segment
        data = path.read_bytes()
        end = len(data.rstrip(b"\0"))
        path.write_bytes(data[: end + 8] + b"half a frame".ljust(len(data) - end - 8, b"\0"))

    def fingerprint(self) -> str:
        """Return a hash of every name, byte, size, mode and time of change below."""
        parts = []
        for path in sorted([self.path, *self.path.rglob("*")]):
            status = path.lstat()
            parts.append((str(path), status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_mode))
            if path.is_file():
                parts.append((hashlib.sha256(path.read_bytes()).hexdigest(),))
        return hashlib.sha256(repr(parts).encode()).hexdigest()


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stores that tests get copies of."""
    made = tmp_path_factory.mktemp("made")
    with journalkit.open(made / "state", compaction="manual", sync="never", metadata={"app": "test"}) as store:
        for number in range(40):
            store[f"user:{number:02d}"] = {"name": f"name {number}", "pad": "x" * 400}
        with store.transaction() as tx:
            tx.offsets["orders/0"] = 1042
            tx["t", 1] = (1, 2)
            tx[b"\x00\xff"] = b"bytes"
            tx[7] = None
        store.compact()
        for number in range(20, 60):
            store[f"user:{number:02d}"] = number
        store.compact()
        store["last"] = 1
        del store["user:00"]
    with journalkit.open_journal(made / "events", sync="never") as opened:
        for number in range(10):
            opened.append({"n": number})
    with journalkit.open(made / "live", compaction="manual") as store:
        for number in range(5):
            store[f"key-{number}"] = number
        shutil.copytree(made / "live", made / "torn")
    Place(made / "torn").tear()
    return made


@pytest.fixture
def place(tmp_path: Path, _made: Path) -> Place:
    """Two snapshots, log behind each, offsets, keys of every type; closed. Its last LSN is 83."""
    return Place(shutil.copytree(_made / "state", tmp_path / "state"))


@pytest.fixture
def journal(tmp_path: Path, _made: Path) -> Place:
    """A journal of ten records, closed."""
    return Place(shutil.copytree(_made / "events", tmp_path / "events"))


@pytest.fixture
def torn(tmp_path: Path, _made: Path) -> Place:
    """A store that a crash left with half a record behind its log."""
    return Place(shutil.copytree(_made / "torn", tmp_path / "torn"))


@pytest.fixture
def state() -> Callable[[object], dict[Any, Any]]:
    """Read a store's whole state, offsets included."""

    def read(path: Any) -> dict[Any, Any]:
        with journalkit.open(os.fspath(path), mode="r") as store:
            return {"entries": dict(store.items()), "offsets": dict(store.offsets)}

    return read
