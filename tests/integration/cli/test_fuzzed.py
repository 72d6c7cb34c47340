"""Directories that the fuzz targets `cli` and `salvage` came upon, and on which a command ended in a defect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.format import names, table
from journalkit.format.checksum import checksum
from journalkit.format.manifest import decode_manifest, encode_manifest

Run = Callable[..., Any]
LOOKS = (("info",), ("verify",), ("log",), ("dump",), ("recover", "--dry-run"))


@pytest.mark.parametrize("mode", ["default", "strict", "point-in-time"])
def test_a_pruned_log_without_any_snapshot_is_refused_by_every_command(run: Run, place: Any, mode: str) -> None:
    """No file was damaged, so recover found none to blame, and verify called a store sound that no open takes."""
    path = Path(place) / names.MANIFEST
    said = decode_manifest(path.read_bytes())
    path.write_bytes(encode_manifest(said.next_generation(snapshots=())))
    for words in (("recover", place, "--dry-run"), ("recover", place), ("dump", place)):
        ran = run(*words, *(("--mode", mode) if words[0] == "recover" else ()))
        assert ran.code == 2
        assert "no snapshot is named" in ran.err
    assert run("verify", place).code == 2


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_a_damaged_table_of_a_later_version_is_told_in_one_line(run: Run, place: Any, command: tuple[str, ...]) -> None:
    """Its size says damage and its header says upgrade: the second was met where only the first was expected."""
    path = place.newest_table
    data = bytearray(path.read_bytes())
    data[8] = 7
    end = table.HEADER_BYTES - 4
    data[end : end + 4] = checksum(bytes(data[:end])).to_bytes(4, "little")
    path.write_bytes(bytes(data[:-1]))
    ran = run(command[0], place, *command[1:])
    assert ran.code in (0, 2)
    assert "defect" not in ran.err
    assert len(ran.err.splitlines()) <= 1


@pytest.mark.parametrize("kind", ["store", "journal"])
def test_records_of_the_other_kind_are_damage_to_verify_as_to_an_open(run: Run, tmp_path: Path, kind: str) -> None:
    """A journal of batches was sound and empty."""
    path = tmp_path / "one"
    if kind == "journal":
        with journalkit.open(path, compaction="manual") as store:
            store["a"] = 1
    else:
        with journalkit.open_journal(path) as journal:
            journal.append(1)
    said = decode_manifest((path / names.MANIFEST).read_bytes())
    (path / names.MANIFEST).write_bytes(encode_manifest(said.next_generation(kind=kind)))
    assert run("verify", path).code == 2
    ran = run("log", path)
    assert ran.code == 2
    assert "makes no sense" in run("dump" if kind == "store" else "log", path).err
