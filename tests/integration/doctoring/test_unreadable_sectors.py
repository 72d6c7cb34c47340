"""Sectors that the device doesn't give back: told as such, and everything else is salvaged."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harm import lsns, middle

from journalkit.format import names
from journalkit.fs.direct import PosixDirectFile
from journalkit.fs.posix import PosixFileSystem

Run = Callable[..., Any]
Admit = Callable[..., Any]


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int, int], None]:
    """Make bytes of a file unreadable, by every way of reading."""
    bad: list[tuple[Path, int, int]] = []
    opened = PosixFileSystem().open_read(os.path.abspath(__file__))
    opened.close()
    for kind in (type(opened), PosixDirectFile):

        def pread(self: Any, count: int, offset: int, true: Any = kind.pread) -> bytes:
            for name, start, end in bad:
                if self._path == str(name) and offset < end and offset + count > start:
                    raise OSError(errno.EIO, os.strerror(errno.EIO), self._path)
            return bytes(true(self, count, offset))

        monkeypatch.setattr(kind, "pread", pread)
    return lambda name, start, end: bad.append((name, start, end))


@pytest.mark.parametrize("kind", ["store", "journal"])
@pytest.mark.parametrize("state", ["closed", "killed"])
def test_a_bad_sector_of_the_log_is_told_and_costs_its_records_alone(
    run: Run, admit: Admit, tmp_path: Any, kind: str, state: str, lose: Any
) -> None:
    """One line of an error was all that verify and salvage gave before."""
    patient = admit(kind, state)
    name = middle(patient)
    hit = [record for record in patient.of(name) if record.offset < 2560 and record.end > 2048]
    lose(patient.path / name, 2048, 2560)
    ran = run("verify", patient.path, "--json")
    assert (ran.code, ran.json["damage_kinds"]) == (2, ["unreadable"])
    [file] = [file for file in ran.json["files"] if file["verdict"] == "damaged"]
    assert (file["file"], file["kind"], file["offset_bytes"]) == (name, "unreadable", hit[0].offset)
    assert file["damage"][0]["proof"] == "the device doesn't give back byte 2048 to 2560"
    assert file["damage"][0]["lost_lsns"] == lsns(hit)
    assert run("salvage", patient.path, tmp_path / "new", "--json").json["missing_lsns"] == [lsns(hit)]
    lost = {record.lsn for record in hit}
    assert patient.contents(tmp_path / "new") == patient.expected(lost)
    assert run("recover", patient.path).code == 2


def test_a_bad_sector_of_a_table_costs_its_block_alone(run: Run, admit: Admit, tmp_path: Any, lose: Any) -> None:
    """And of that the older snapshot has the keys."""
    patient = admit("store", "closed")
    name = patient.tables[-1]
    lose(patient.path / name, 4096, 4608)
    told = run("verify", patient.path, "--json").json
    [file] = [file for file in told["files"] if file["verdict"] == "damaged"]
    assert (file["file"], file["kind"]) == (name, "unreadable")
    assert run("salvage", patient.path, tmp_path / "new", "--json").json["complete"] is True
    assert patient.contents(tmp_path / "new") == patient.expected(set())


@pytest.mark.parametrize("kind", ["store", "journal"])
def test_a_bad_sector_of_the_manifest_is_told_as_one(
    run: Run, admit: Admit, tmp_path: Any, kind: str, lose: Any
) -> None:
    """Nothing says what belongs to the store, and all of it is there."""
    patient = admit(kind, "closed")
    lose(patient.path / names.MANIFEST, 100, 200)
    ran = run("verify", patient.path, "--json")
    assert ran.code == 2, ran.err
    assert ran.json["damage_kinds"] == ["unreadable"], ran.err
    assert run("salvage", patient.path, tmp_path / "new", "--json").json["complete"] is True
    assert patient.contents(tmp_path / "new") == patient.expected(set())


def test_a_bad_sector_where_nothing_was_promised_is_told_too(run: Run, admit: Admit, lose: Any) -> None:
    """The device is ill all the same; and the records are all there."""
    patient = admit("journal", "killed")
    name = patient.segments[-1]
    lose(patient.path / name, 32768, 33280)
    ran = run("verify", patient.path, "--json")
    assert (ran.code, ran.json["damage_kinds"], ran.json["last_lsn"]) == (2, ["unreadable"], patient.records[-1].lsn)
    assert "a part of it can't be read" in run("verify", patient.path).out
