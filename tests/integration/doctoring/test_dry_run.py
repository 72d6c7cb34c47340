"""`recover --dry-run` predicts, file by file, exactly what `recover` then does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harm import LOG_DAMAGES, Expected

from journalkit.format import names

Run = Callable[..., Any]
Admit = Callable[..., Any]
BOOKKEEPING = {names.MANIFEST, names.LOCK, names.DURABLE, names.RESERVE, names.QUARANTINE}


def listed(path: Path) -> set[str]:
    """Return the names in a directory that a plan speaks of."""
    return set(os.listdir(path)) - BOOKKEEPING if path.is_dir() else set()


def hold_to_its_word(run: Run, path: Path, mode: str) -> None:
    """Ask for the plan, recover, and compare: names, bytes and the report."""
    before = {name: (path / name).read_bytes() for name in listed(path)}
    kept_before = listed(path / names.QUARANTINE)
    told = run("recover", path, "--dry-run", "--mode", mode, "--json")
    plan = told.json
    ran = run("recover", path, "--mode", mode, "--json")
    assert told.code == ran.code, ran.err
    if plan["refused"] is not None:
        assert {name: (path / name).read_bytes() for name in listed(path)} == before
        assert listed(path / names.QUARANTINE) == kept_before
        return
    fates = [(fate["file"], fate["action"]) for fate in plan["files"]]
    gone = {file for file, action in fates if action in ("set aside", "remove", "fold")}
    stays = {file for file, action in fates if action in ("keep", "cut", "leave", "create")} - gone
    assert {file for file, _ in fates} >= set(before)
    after = listed(path)
    assert after >= stays
    made = after - stays
    if plan["rebuild_snapshot"]:
        # The fold's own files: a table, and the segment that it went on in.
        assert all(name not in before for name in made)
    else:
        assert made == set()
    assert not gone & after
    for file, action in fates:
        if action in ("keep", "leave"):
            assert (path / file).read_bytes() == before[file], file
    kept = {fate["kept_as"]: fate for fate in plan["files"] if fate["kept_as"]}
    assert {f"{names.QUARANTINE}/{name}" for name in listed(path / names.QUARANTINE) - kept_before} == set(kept)
    for place, fate in kept.items():
        data = before[fate["file"]]
        if fate["action"] == "cut":
            data = data[fate["offset_bytes"] : fate["offset_bytes"] + fate["count_bytes"]]
        assert (path / place).read_bytes() == data
    report = ran.json
    assert (report["last_lsn"], report["snapshot_lsn"]) == (plan["last_lsn"], plan["from_snapshot_lsn"])
    assert report["bytes_cut"] == sum(cut["count_bytes"] for cut in plan["cuts"] + plan["given_up"])
    info = run("info", path, "--json").json
    assert (info["epoch"], info["last_lsn"]) == (plan["next_epoch"], max(plan["last_lsn"], plan["next_lsn"] - 1))


@pytest.mark.parametrize("damage", LOG_DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("mode", ["strict", "default", "point-in-time"])
@pytest.mark.parametrize(("kind", "state"), [("store", "killed"), ("journal", "closed")])
def test_what_is_planned_is_what_is_done(
    run: Run, admit: Admit, kind: str, state: str, mode: str, damage: Callable[[Any], Expected]
) -> None:
    """Whoever has to decide reads the plan and nothing else."""
    patient = admit(kind, state)
    damage(patient)
    hold_to_its_word(run, patient.path, mode)
    if mode == "point-in-time":
        # And once more: what recovery left is sound, and nothing is left to do but begin a segment.
        hold_to_its_word(run, patient.path, "strict")


@pytest.mark.parametrize("mode", ["strict", "default", "point-in-time"])
@pytest.mark.parametrize("kind", ["store", "journal"])
@pytest.mark.parametrize("strays", [False, True])
def test_a_torn_tail_and_strays_are_planned_too(run: Run, admit: Admit, kind: str, mode: str, strays: bool) -> None:
    """The everyday case: what a crash leaves."""
    patient = admit(kind, "killed")
    last = patient.of(patient.segments[-1])[-1]
    patient.patch(last.file, last.end + 3, b"half a record that nobody was promised")
    if strays:
        patient.write("notes.txt", b"mine")
        patient.write(names.MANIFEST + ".tmp", b"half")
        patient.write(names.segment_name(1), patient.read(patient.segments[-1]))
        (patient.path / names.QUARANTINE).mkdir()
        patient.write(f"{names.QUARANTINE}/{names.segment_name(1)}", b"an older one")
    hold_to_its_word(run, patient.path, mode)


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize("mode", ["default", "point-in-time"])
@pytest.mark.parametrize("harm", ["flip", "missing"])
@pytest.mark.parametrize("state", ["closed", "killed"])
def test_the_rebuilding_of_a_snapshot_is_planned_too(
    run: Run, admit: Admit, state: str, which: int, mode: str, harm: str
) -> None:
    """Either of the two; the fold takes all of the log with it."""
    patient = admit("store", state)
    name = patient.tables[which]
    if harm == "flip":
        patient.flip(name, 3000, 1)
    else:
        (patient.path / name).unlink()
    hold_to_its_word(run, patient.path, mode)
    assert patient.contents(patient.path) == patient.expected(set())


def test_a_plan_that_is_refused_says_so_and_what_would_be_done_otherwise(run: Run, admit: Admit) -> None:
    """As a person reads it."""
    patient = admit("store", "closed")
    LOG_DAMAGES[0](patient)
    ran = run("recover", patient.path, "--dry-run")
    assert ran.code == 2
    for words in ("flipped bit", "this is refused", "with --mode point-in-time, file by file", "nothing was changed"):
        assert words in ran.out, ran.out
    table = [line for line in ran.out.splitlines() if line.startswith("  log-")]
    assert len(table) > 5
    assert max(map(len, table)) <= 80
    for name in patient.tables:
        (patient.path / name).unlink()
    ran = run("recover", patient.path, "--dry-run")
    assert (ran.code, "file by file" in ran.out) == (2, False)
    assert run("recover", patient.path, "--dry-run", "--json").json["files"] == []
