"""Repair: recover carries the plan out or prints it; salvage copies what is intact."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.format import names

Run = Callable[..., Any]
State = Callable[[Any], Any]


def test_recover_of_a_sound_store_says_that_it_is(run: Run, place: Any) -> None:
    """Harmless, and told in the report's line."""
    ran = run("recover", place)
    assert ran.code == 0
    assert ran.out.startswith("replayed: LSN 83, snapshot 81, 2 records replayed")
    assert run("recover", place, "--json").json["rebuilt_snapshot_lsn"] is None


@pytest.mark.parametrize("target", ["newest_table", "oldest_table"])
def test_recover_replaces_a_damaged_snapshot(run: Run, place: Any, state: State, target: str) -> None:
    """Whichever of the two it is, afterwards all are sound and nothing is lost."""
    before = state(place)
    place.flip(getattr(place, target), 5000)
    assert "rebuild" in run("recover", place, "--dry-run").out
    told = run("recover", place, "--json")
    assert told.code == 0
    assert told.json["rebuilt_snapshot_lsn"] == told.json["last_lsn"]
    assert run("verify", place).code == 0
    assert state(place) == before


def test_recover_cuts_a_torn_tail_and_keeps_it(run: Run, torn: Any) -> None:
    """What is given up is copied first."""
    told = run("recover", torn, "--dry-run", "--json").json
    [cut] = told["cuts"]
    assert told["refused"] is None
    assert "what is cut or set aside is kept in quarantine/" in run("recover", torn, "--dry-run").out
    told = run("recover", torn, "--json").json
    assert told["outcome"] == "cut"
    assert told["bytes_cut"] == cut["count_bytes"]
    [kept] = Path(told["quarantine"]).iterdir()
    assert kept.stat().st_size == cut["count_bytes"]


def test_strict_refuses_a_torn_tail(run: Run, torn: Any) -> None:
    """For those who would rather look first."""
    before = torn.fingerprint()
    ran = run("recover", torn, "--mode", "strict")
    assert (ran.code, ran.out) == (2, "")
    assert "torn tail" in ran.err
    assert torn.fingerprint() == before


def test_damage_in_the_log_is_refused_until_point_in_time_is_asked_for(run: Run, place: Any, state: State) -> None:
    """Giving up what was promised takes a word of its own."""
    place.flip(place.last_segment)
    before = place.fingerprint()
    assert run("recover", place).code == 2
    ran = run("recover", place, "--dry-run")
    assert (ran.code, "this is refused" in ran.out) == (2, True)
    told = run("recover", place, "--dry-run", "--mode", "point-in-time", "--json").json
    assert (told["last_lsn"], told["refused"]) == (81, None)
    assert told["damage"][0]["lsn"] == 82
    assert place.fingerprint() == before
    ran = run("recover", place, "--mode", "point-in-time")
    assert (ran.code, ran.out.startswith("point-in-time: LSN 81")) == (0, True)
    assert "last" not in state(place)["entries"]
    assert run("verify", place).code == 0


def test_segments_behind_damage_are_told_as_given_up(run: Run, tmp_path: Any) -> None:
    """They move to the quarantine whole."""
    path = tmp_path / "s"
    with journalkit.open(path, compaction="manual", segment_bytes_max=4096) as store:
        for number in range(20):
            store[number] = "x" * 1000
    segments = sorted(path.glob("log-*"))
    data = bytearray(segments[1].read_bytes())
    data[200] ^= 1
    segments[1].write_bytes(data)
    told = run("recover", path, "--dry-run", "--mode", "point-in-time", "--json").json
    assert told["given_up"]
    assert "set aside" in run("recover", path, "--dry-run", "--mode", "point-in-time").out
    assert run("recover", path, "--mode", "point-in-time").code == 0
    assert run("verify", path).code == 0


def test_recover_without_a_usable_snapshot_names_the_way_out(run: Run, place: Any) -> None:
    """There is no state to keep, so it refuses, in every mode."""
    place.flip(place.newest_table, 5000)
    place.flip(place.oldest_table, 5000)
    for mode in ("default", "point-in-time"):
        ran = run("recover", place, "--mode", mode)
        assert ran.code == 2
        assert "journalkit salvage" in ran.err


def test_recover_of_a_damaged_manifest_names_the_way_out(run: Run, place: Any) -> None:
    """Nothing says what is live."""
    place.flip(place.path / names.MANIFEST, 40)
    ran = run("recover", place)
    assert (ran.code, "journalkit salvage" in ran.err) == (2, True)


def test_a_journal_is_recovered_as_one(run: Run, journal: Any) -> None:
    """It has records and no snapshot."""
    place = journal
    place.flip(place.last_segment, 400)
    assert run("recover", place).code == 2
    assert run("recover", place, "--mode", "point-in-time").code == 0
    assert run("verify", place).code == 0
    with journalkit.open_journal(place.path, mode="r") as opened:
        assert 0 < len(list(opened.read())) < 10


def test_left_over_files_are_told_before_they_are_swept(run: Run, place: Any) -> None:
    """A dry run says everything that would change."""
    (place.path / "MANIFEST.tmp").write_text("half")
    assert "MANIFEST.tmp" in run("recover", place, "--dry-run").out
    run("recover", place)
    assert not (place.path / "MANIFEST.tmp").exists()


def test_salvage_of_a_sound_store_is_a_copy(run: Run, place: Any, tmp_path: Any, state: State) -> None:
    """State, offsets and metadata; the source stays as it was."""
    before = place.fingerprint()
    ran = run("salvage", place, tmp_path / "new")
    assert ran.code == 0
    assert "complete: nothing up to LSN 83 is missing" in ran.out
    assert place.fingerprint() == before
    assert state(tmp_path / "new") == state(place)
    with journalkit.open(tmp_path / "new", mode="r") as store:
        assert store.metadata == {"app": "test"}
    assert run("verify", tmp_path / "new").code == 0


def test_salvage_reports_every_gap(run: Run, place: Any, tmp_path: Any, state: State) -> None:
    """Which records, which files, which keys, and where the keys came from instead."""
    place.flip(place.last_segment)
    place.flip(place.newest_table, 5000)
    (place.path / names.MANIFEST).unlink()
    report = tmp_path / "report.json"
    told = run("salvage", place, tmp_path / "new", "--json", "--report", report).json
    assert json.loads(report.read_text()) == told
    assert not told["complete"]
    assert told["missing_lsns"] == [[82, 82]]
    assert told["manifest_fault"].startswith("the manifest is missing")
    assert [table["file"] for table in told["tables"] if table["faults"]] == [place.newest_table.name]
    [lost] = told["lost_keys"]
    assert lost["from_snapshot_lsn"] == 41
    assert all(end is None or end["inclusive"] for end in (lost["from"], lost["to"]))
    entries = state(tmp_path / "new")["entries"]
    assert "last" not in entries
    assert "user:00" not in entries
    assert entries["user:30"] == 30
    out = run("salvage", place, tmp_path / "again").out
    for told_text in ("missing records", "LSN 82", "keys that the newest snapshot lost", "incomplete"):
        assert told_text in out


def test_salvage_names_what_can_not_be_decoded(run: Run, place: Any, tmp_path: Any) -> None:
    """A value that no codec reads is left out, and its key is told."""
    with journalkit.open(tmp_path / "raw", codec="raw") as store:
        store["good"] = b"\x01"
        store["bad"] = b"\xff\xff"
    (tmp_path / "raw" / names.MANIFEST).unlink()
    told = run("salvage", tmp_path / "raw", tmp_path / "new", "--codec", "cbor", "--json").json
    assert told["unreadable"] == [{"key": "bad"}]
    assert (told["written"], told["complete"]) == (1, False)
    out = run("salvage", tmp_path / "raw", tmp_path / "newer", "--codec", "cbor").out
    assert "1 value could not be decoded" in out


def test_the_codec_is_found_by_trying(run: Run, tmp_path: Any, state: State) -> None:
    """Only the manifest names it; without one most values tell."""
    with journalkit.open(tmp_path / "raw", codec="raw") as store:
        for number in range(9):
            store[number] = b"\xff\xff"
    before = state(tmp_path / "raw")
    (tmp_path / "raw" / names.MANIFEST).unlink()
    assert run("salvage", tmp_path / "raw", tmp_path / "new", "--json").json["codec"] == "raw"
    assert state(tmp_path / "new") == before


def test_messagepack_is_found_by_trying_too(run: Run, tmp_path: Any, state: State) -> None:
    """Where it is installed; without it the bytes are kept as they are."""
    with journalkit.open(tmp_path / "packed", codec="msgpack") as store:
        for number in range(9):
            store[number] = {"name": f"number {number}", "at": (number, 1.5)}
    before = state(tmp_path / "packed")
    (tmp_path / "packed" / names.MANIFEST).unlink()
    assert run("salvage", tmp_path / "packed", tmp_path / "new", "--json").json["codec"] == "msgpack"
    assert state(tmp_path / "new") == before


def test_a_msgpack_store_is_looked_at_without_the_package(
    run: Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only who needs its values needs the package, and is told so."""
    with journalkit.open(tmp_path / "packed", codec="msgpack") as store:
        store["a"] = {"n": 1}
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert run("verify", tmp_path / "packed").code == 0
    assert run("info", tmp_path / "packed", "--json").json["codec"] == "msgpack"
    [record] = run("log", tmp_path / "packed", "--values", "--json").lines
    assert record["changes"] == [{"op": "put", "key": "a", "value_bytes": "81a16e01"}]
    for command in (("get", "a"), ("dump",), ("salvage", tmp_path / "new")):
        ran = run(command[0], tmp_path / "packed", *command[1:])
        assert (ran.code, "journalkit[msgpack]" in ran.err) == (2, True)
    assert not (tmp_path / "new").exists()
    (tmp_path / "packed" / names.MANIFEST).unlink()
    assert run("salvage", tmp_path / "packed", tmp_path / "new", "--json").json["codec"] == "raw"


@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_journal_is_salvaged_record_by_record(run: Run, journal: Any, tmp_path: Any, with_manifest: bool) -> None:
    """Into a journal, with the lost record named."""
    journal.flip(journal.last_segment, 400)
    if not with_manifest:
        (journal.path / names.MANIFEST).unlink()
    told = run("salvage", journal, tmp_path / "new", "--json").json
    assert (told["kind"], told["written"], told["complete"]) == ("journal", 9, False)
    [[first, last]] = told["missing_lsns"]
    assert first == last
    with journalkit.open_journal(tmp_path / "new", mode="r") as opened:
        assert [record.value["n"] for record in opened.read()] == [n for n in range(10) if n != first - 1]


def test_foreign_files_are_named_and_not_used(run: Run, place: Any, tmp_path: Any) -> None:
    """A directory that somebody mixed up."""
    (place.path / names.MANIFEST).unlink()
    (place.path / names.segment_name(77)).write_bytes(place.last_segment.read_bytes())
    assert "another store's, or a copy" in run("salvage", place, tmp_path / "new").out


@pytest.mark.parametrize("target", ["itself", "inside", "file", "full", "link"])
def test_salvage_writes_only_where_nothing_is(run: Run, place: Any, tmp_path: Any, target: str) -> None:
    """Neither into the source, by whatever name, nor over anything that is there."""
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").write_text("mine")
    (tmp_path / "link").symlink_to(place.path)
    path = {
        "itself": place.path,
        "inside": place.path / "new",
        "file": full / "x",
        "full": full,
        "link": tmp_path / "link" / "new",
    }[target]
    before = place.fingerprint()
    ran = run("salvage", place, path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert place.fingerprint() == before
    assert (full / "x").read_text() == "mine"


def test_salvage_of_nothing_makes_nothing(run: Run, tmp_path: Any) -> None:
    """A wrong source leaves no empty store that looks like a result."""
    (tmp_path / "empty").mkdir()
    for source in ("nowhere", "empty"):
        assert run("salvage", tmp_path / source, tmp_path / "new").code == 2
    assert not (tmp_path / "new").exists()
