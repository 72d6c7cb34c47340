"""`verify`: every byte is judged, each damage by its own name, with what survives and what to do next."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

import journalkit
from journalkit.cli import examination
from journalkit.format import names
from journalkit.format.segment import HEADER_BYTES
from journalkit.snapshot.reader import Table

Run = Callable[..., Any]


def verdicts(ran: Any) -> dict[str, str]:
    """Return each file's verdict from a run with --json."""
    return {file["file"]: file["verdict"] for file in ran.json["files"]}


def test_a_sound_store_is_exit_code_zero(run: Run, place: Any) -> None:
    """What a health check asks."""
    ran = run("verify", place, "--json")
    assert (ran.code, ran.json["verdict"], ran.json["last_lsn"]) == (0, "sound", 83)
    assert set(verdicts(ran).values()) == {"sound"}
    assert "everything up to LSN 83" in run("verify", place).out


def test_a_live_store_is_sound(run: Run, tmp_path: Any) -> None:
    """A prepared tail of zeros is a clean end, and a writer is no damage."""
    with journalkit.open(tmp_path / "s", segment_bytes_max=4096, compaction="manual") as store:
        for number in range(20):
            store[number] = "x" * 500
            assert run("verify", tmp_path / "s").code == 0
        store.compact()
        ran = run("verify", tmp_path / "s")
    assert ran.code == 0, ran.out


def test_a_torn_tail_is_exit_code_one(run: Run, torn: Any) -> None:
    """Nothing that was promised is lost, and the next open cuts it."""
    ran = run("verify", torn, "--json")
    assert (ran.code, ran.json["verdict"]) == (1, "torn tail")
    ran = run("verify", torn)
    assert "nothing promised is lost" in ran.out
    with journalkit.open(torn.path) as store:
        assert store.recovery_report.outcome == "cut"
    assert run("verify", torn).code == 0


def test_a_torn_tail_with_whole_records_in_it_says_so(run: Run, tmp_path: Any) -> None:
    """They were never promised, and somebody may want them all the same."""
    with journalkit.open(tmp_path / "live", compaction="manual", sync="never") as store:
        for number in range(5):
            store[number] = number
        shutil.copytree(tmp_path / "live", tmp_path / "copy")
    [segment] = (tmp_path / "copy").glob("log-*")
    data = bytearray(segment.read_bytes())
    data[190] ^= 1
    segment.write_bytes(data)
    ran = run("verify", tmp_path / "copy")
    assert ran.code == 1
    assert "whole record" in ran.out


@pytest.mark.parametrize("target", ["newest_table", "oldest_table"])
def test_a_damaged_snapshot_is_found_even_if_recovery_would_not_read_it(run: Run, place: Any, target: str) -> None:
    """All snapshots are verified: the older one is what the newer one falls back to."""
    damaged = getattr(place, target)
    place.flip(damaged, 5000)
    ran = run("verify", place, "--json")
    assert ran.code == 2
    assert verdicts(ran)[damaged.name] == "damaged"
    assert list(verdicts(ran).values()).count("damaged") == 1
    ran = run("verify", place)
    assert "nothing is lost" in ran.out
    assert "journalkit recover" in ran.out


def test_a_missing_table_is_told_as_missing(run: Run, place: Any) -> None:
    """Not there is another thing than damaged."""
    place.newest_table.unlink()
    ran = run("verify", place)
    assert ran.code == 2
    assert "the table is missing" in ran.out


def test_no_usable_snapshot_is_told_with_salvage_as_the_way_out(run: Run, place: Any) -> None:
    """The log doesn't reach back, so only what is intact can be copied."""
    place.flip(place.newest_table, 5000)
    place.flip(place.oldest_table, 5000)
    ran = run("verify", place)
    assert ran.code == 2
    assert "no snapshot is sound" in ran.out
    assert "journalkit salvage" in ran.out


def test_a_lost_block_is_told_with_its_keys(run: Run, tmp_path: Any) -> None:
    """What is lost is told in keys, which is what an application knows."""
    path = tmp_path / "s"
    with journalkit.open(path, compaction="manual") as store:
        for number in range(100):
            store[f"key-{number:03d}"] = "x" * 1000
        store.compact()
    [table] = path.glob("table-*")
    data = bytearray(table.read_bytes())
    for place in (30_000, 50_000, 66_000, 90_000):
        data[place] ^= 1
    table.write_bytes(data)
    ran = run("verify", path)
    assert "of 100 entries; lost: key-0" in ran.out
    assert "; ..." in ran.out
    table.write_bytes(data[:60_000])
    assert "to the last key" in run("verify", path).out


def test_damage_in_the_log_is_told_with_offset_and_lsn(run: Run, place: Any) -> None:
    """Where, from which record on, what is before it and what can be copied from behind it."""
    place.flip(place.last_segment)
    ran = run("verify", place, "--json")
    [file] = [file for file in ran.json["files"] if file["verdict"] == "damaged"]
    assert ran.code == 2
    assert (file["file"], file["offset_bytes"], file["lsn"]) == (place.last_segment.name, HEADER_BYTES, 82)
    assert (file["kind"], file["survives"]) == ("flipped-bit", "LSN 83")
    assert "point-in-time` keeps the state at LSN 81" in run("verify", place).out


@pytest.mark.parametrize("damage", ["missing", "cut", "swapped", "foreign", "zeroed"])
def test_each_damage_of_a_segment_has_its_own_verdict(run: Run, place: Any, tmp_path: Any, damage: str) -> None:
    """A missing, swapped or foreign file is not a flipped bit, and the next step differs."""
    first, last = place.files("log-*")
    if damage == "missing":
        last.unlink()
        told = "the segment is missing"
    elif damage == "cut":
        last.write_bytes(last.read_bytes()[:-100])
        told = "promised"
    elif damage == "swapped":
        last.write_bytes(first.read_bytes())
        told = "swapped or copied"
    elif damage == "foreign":
        with journalkit.open(tmp_path / "other") as other:
            other["a"] = 1
        [segment] = (tmp_path / "other").glob("log-*")
        last.write_bytes(segment.read_bytes())
        told = "another store"
    else:
        last.write_bytes(bytes(last.stat().st_size))
        told = "header is gone"
    ran = run("verify", place)
    assert (ran.code, told in ran.out) == (2, True), ran.out


def test_an_older_manifest_is_told(run: Run, place: Any) -> None:
    """A manifest out of a backup beside a newer log: whole in itself, and wrong."""
    older = (place.path / names.MANIFEST).read_bytes()
    with journalkit.open(place.path) as store:
        store["new"] = 1
    (place.path / names.MANIFEST).write_bytes(older)
    ran = run("verify", place)
    assert ran.code == 2
    assert "manifest" in ran.out


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_without_a_manifest_it_tells_what_can_be_salvaged(run: Run, place: Any, tmp_path: Any, damage: str) -> None:
    """Nothing says what belongs to the store; the files say what they hold."""
    with journalkit.open(tmp_path / "other", compaction="manual") as other:
        other["a"] = 1
    [segment] = (tmp_path / "other").glob("log-*")
    shutil.copy(segment, place.path / names.segment_name(77))
    place.flip(place.last_segment)
    if damage == "flipped":
        place.flip(place.path / names.MANIFEST, 40)
    else:
        (place.path / names.MANIFEST).unlink()
    ran = run("verify", place, "--json")
    found = verdicts(ran)
    assert ran.code == 2
    assert found[names.MANIFEST] == "damaged"
    assert found[place.newest_table.name] == "unjudged"
    assert found[names.segment_name(77)] == "damaged"
    assert "journalkit salvage" in run("verify", place).out


def test_what_is_not_ours_and_what_is_left_over_is_noted(run: Run, place: Any) -> None:
    """Reported, never judged, and never deleted."""
    for number in range(7):
        (place.path / f"note-{number}").write_text("mine")
    (place.path / "MANIFEST.tmp").write_text("half")
    ran = run("verify", place)
    assert ran.code == 0
    assert "1 file left over" in ran.out
    assert "note-4, ..." in ran.out
    told = run("verify", place, "--json").json
    assert told["left_over"] == ["MANIFEST.tmp"]
    assert len(told["unknown"]) == 7


def test_every_flipped_bit_of_a_small_store_is_found_or_harmless(run: Run, tmp_path: Any) -> None:
    """Segments, tables, manifest: damage anywhere is exit code 2 and names the file."""
    path = tmp_path / "s"
    with journalkit.open(path, compaction="manual") as store:
        store["a"] = 1
        store.compact()
        store["b"] = 2
    for file in sorted(path.iterdir()):
        if file.name in (names.LOCK, names.RESERVE, names.DURABLE):
            continue
        data = file.read_bytes()
        for offset in range(0, len(data), 11):
            flipped = bytearray(data)
            flipped[offset] ^= 1 << offset % 8
            file.write_bytes(flipped)
            ran = run("verify", path, "--json")
            assert ran.code == 2, (file.name, offset)
            if ran.out:
                assert verdicts(ran)[file.name] == "damaged", (file.name, offset)
            else:
                assert "upgrade" in ran.err or file.name in ran.err
        file.write_bytes(data)
    assert run("verify", path).code == 0


def test_a_journals_record_in_a_store_makes_no_sense(run: Run, journal: Any) -> None:
    """Whole and checked, and nothing that a store can replay; only a manifest made by hand says so."""
    from dataclasses import replace

    from journalkit.format.manifest import decode_manifest, encode_manifest

    path = journal.path / names.MANIFEST
    path.write_bytes(encode_manifest(replace(decode_manifest(path.read_bytes()), kind="store")))
    ran = run("verify", journal)
    assert ran.code == 2
    assert "a journal record in a store" in ran.out


@pytest.mark.parametrize(("number", "code", "told"), [(errno.EIO, 2, "can't be read"), (errno.EMFILE, 2, "")])
def test_what_the_medium_can_not_give_back_is_damaged_and_nothing_else_is(
    run: Run, place: Any, monkeypatch: pytest.MonkeyPatch, number: int, code: int, told: str
) -> None:
    """Too many open files is this process's trouble, not the table's."""

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), "x")

    monkeypatch.setattr(Table, "verify", fail)
    ran = run("verify", place)
    assert ran.code == code
    assert bool(ran.out) == bool(told)
    assert told in ran.out


def test_a_file_pruned_while_it_looks_is_looked_for_again(
    run: Run, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a live writer names come and go; gone twice under one manifest is gone."""
    scan_log, calls = examination.scan_log, []

    def pruned_once(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) in (1, 3, 4):
            raise FileNotFoundError(errno.ENOENT, "gone", "x")
        return scan_log(*args, **kwargs)

    monkeypatch.setattr(examination, "scan_log", pruned_once)
    assert run("verify", place).code == 0
    ran = run("verify", place)
    assert (ran.code, "x: gone" in ran.err) == (2, True)
