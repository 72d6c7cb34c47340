"""Tables, manifests of another time, and several damages at once: verdicts, and what is left."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest
from harm import LOG_DAMAGES, MANIFEST_DAMAGES

import journalkit
from journalkit.format import names

Run = Callable[..., Any]
Admit = Callable[..., Any]
STATES = ["closed", "killed"]


def damaged(told: Any) -> dict[str, str]:
    """Return the kinds by damaged file."""
    return {file["file"]: file["kind"] for file in told["files"] if file["verdict"] == "damaged"}


def flipped(patient: Any, name: str, _other: str) -> str:
    """One bit."""
    patient.flip(name, 3000, 4)
    return "flipped-bit"


def zeroed(patient: Any, name: str, _other: str) -> str:
    """A page."""
    patient.patch(name, 4096, bytes(4096))
    return "zeroed-page"


def misdirected(patient: Any, name: str, other: str) -> str:
    """A page of the other table."""
    patient.patch(name, 4096, patient.read(other)[8192:12288])
    return "misdirected-block"


def garbled(patient: Any, name: str, _other: str) -> str:
    """Bytes of which nothing can be proved."""
    patient.patch(name, 3000, b"garbled, and nobody can say how")
    return "damaged"


def truncated(patient: Any, name: str, _other: str) -> str:
    """The rest is gone."""
    patient.write(name, patient.read(name)[:7000])
    return "truncated-file"


def missing(patient: Any, name: str, _other: str) -> str:
    """No file."""
    (patient.path / name).unlink()
    return "missing-file"


def duplicated(patient: Any, name: str, other: str) -> str:
    """The other table's bytes."""
    patient.write(name, patient.read(other))
    return "duplicated-file"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize(
    "damage",
    [flipped, zeroed, misdirected, garbled, truncated, missing, duplicated],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_table_has_its_verdict_and_costs_nothing(
    run: Run, admit: Admit, tmp_path: Any, state: str, which: int, damage: Callable[[Any, str, str], str]
) -> None:
    """One of two snapshots, either one: recovery and salvage both give the whole state."""
    patient = admit("store", state)
    name, other = patient.tables[which], patient.tables[-1 - which]
    kind = damage(patient, name, other)
    before = patient.fingerprint()
    ran = run("verify", patient.path, "--json")
    assert (ran.code, damaged(ran.json)) == (2, {name: kind})
    assert ran.json["salvageable"]["complete"] is True
    assert ran.json["next"] == [f"`journalkit recover {patient.path}` rebuilds the snapshot"]
    told = run("verify", patient.path).out
    assert f"{name}: {kind.replace('-', ' ')}" in told
    assert "nothing is lost" in told
    assert run("salvage", patient.path, tmp_path / "new").code == 0
    assert patient.fingerprint() == before
    assert patient.contents(tmp_path / "new") == patient.expected(set())
    assert run("recover", patient.path).code == 0
    assert patient.contents(patient.path) == patient.expected(set())


@pytest.mark.parametrize("state", STATES)
def test_swapped_tables_lose_nothing_though_no_snapshot_can_be_opened(
    run: Run, admit: Admit, tmp_path: Any, state: str
) -> None:
    """Recovery refuses; the names are all that is wrong, and salvage goes by what the files say they are."""
    patient = admit("store", state)
    one, other = patient.tables
    first, second = patient.read(one), patient.read(other)
    patient.write(one, second)
    patient.write(other, first)
    told = run("verify", patient.path, "--json").json
    assert damaged(told) == {one: "swapped-files", other: "swapped-files"}
    assert told["next"][0].startswith("give the files back the names")
    assert "under the name" in run("verify", patient.path).out
    assert run("salvage", patient.path, tmp_path / "new", "--json").json["complete"] is True
    assert patient.contents(tmp_path / "new") == patient.expected(set())


@pytest.mark.parametrize("state", STATES)
def test_a_table_and_a_segment_that_changed_names(run: Run, admit: Admit, tmp_path: Any, state: str) -> None:
    """Whatever a restore did to the names, the files say what they are."""
    patient = admit("store", state)
    one, other = patient.tables[-1], patient.segments[-2]
    first, second = patient.read(one), patient.read(other)
    patient.write(one, second)
    patient.write(other, first)
    assert damaged(run("verify", patient.path, "--json").json) == {one: "swapped-files", other: "swapped-files"}
    assert run("salvage", patient.path, tmp_path / "new", "--json").json["complete"] is True
    assert patient.contents(tmp_path / "new") == patient.expected(set())


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", ["store", "journal"])
@pytest.mark.parametrize("slot", [True, False])
def test_a_manifest_of_an_earlier_life_is_rolled_back(
    run: Run, admit: Admit, tmp_path: Any, kind: str, state: str, slot: bool
) -> None:
    """The slot says so, or a segment that it can't know."""
    patient = admit(kind, state)
    older = patient.read(names.MANIFEST)
    opener = journalkit.open_journal if kind == "journal" else journalkit.open
    for _ in range(2):
        with opener(patient.path) as opened:
            opened.append({"n": opened.lsn + 1}) if kind == "journal" else opened.put("later", 1)
    patient.write(names.MANIFEST, older)
    if not slot:
        (patient.path / names.DURABLE).unlink()
    ran = run("verify", patient.path, "--json")
    assert ran.code == 2
    found = damaged(ran.json)
    assert found[names.MANIFEST] == "rolled-back-file"
    assert set(found.values()) == {"rolled-back-file"}
    assert ("older than the log" if slot else "newer than the manifest") in run("verify", patient.path).out
    assert run("salvage", patient.path, tmp_path / "new").code == 0
    assert len(patient.contents(tmp_path / "new")) == len(patient.expected(set())) + (2 if kind == "journal" else 1)


@pytest.mark.parametrize("kind", ["store", "journal"])
def test_several_damages_are_told_apart_with_and_without_a_manifest(
    run: Run, admit: Admit, tmp_path: Any, kind: str
) -> None:
    """Each with its own kind and place; of one file in one report."""
    patient = admit(kind, "closed")
    one, two = patient.segments[-3], patient.segments[-2]
    bit, gone = patient.of(one)[1], patient.of(two)[2]
    patient.flip(one, bit.offset + 60, 2)
    patient.patch(one, patient.of(one)[3].offset + 60, b"garbled beyond all proof")
    patient.patch(two, gone.offset + 60, b"garbled beyond all proof")
    lost = {bit.lsn, patient.of(one)[3].lsn, gone.lsn}
    copy = names.segment_name(901)
    patient.write(copy, patient.read(patient.segments[-1]))
    stranger = admit(kind, "closed", "-other")
    foreign = names.segment_name(902)
    patient.write(foreign, stranger.read(stranger.segments[-1]))
    expected = {one: "flipped-bit", two: "damaged", copy: "duplicated-file", foreign: "foreign-file"}
    for attempt in ("with", "without"):
        if attempt == "without":
            (patient.path / names.MANIFEST).unlink()
            expected[names.MANIFEST] = "missing-manifest"
        told = run("verify", patient.path, "--json").json
        assert damaged(told) == expected
        [file] = [file for file in told["files"] if file["file"] == one]
        assert [item["kind"] for item in file["damage"]] == ["flipped-bit", "damaged"]
        assert [item["lost_lsns"][0] for item in file["damage"]] == sorted(lost)[:2]
        out = run("verify", patient.path).out
        assert f"damaged; byte {patient.of(one)[3].offset} to" in out
        assert run("salvage", patient.path, tmp_path / attempt).code == 0
        assert patient.contents(tmp_path / attempt) == patient.expected(lost)


@pytest.mark.parametrize("part", ["table", "header"])
def test_without_a_manifest_tables_and_headers_are_looked_into_too(run: Run, admit: Admit, part: str) -> None:
    """Without its header nobody knows a segment's salt; a table's blocks speak for themselves."""
    patient = admit("store", "closed")
    name = patient.tables[-1] if part == "table" else patient.segments[-1]
    patient.flip(name, 3000 if part == "table" else 20, 1)
    (patient.path / names.MANIFEST).unlink()
    told = run("verify", patient.path, "--json").json
    kind = "flipped-bit" if part == "table" else "damaged"
    assert damaged(told) == {names.MANIFEST: "missing-manifest", name: kind}
    assert name in run("verify", patient.path).out


def test_files_that_are_not_the_stores_are_told_and_are_no_damage(run: Run, admit: Admit) -> None:
    """Left over, set aside or not ours: three different fates."""
    patient = admit("store", "closed")
    older = names.segment_name(1)
    patient.write(older, patient.read(patient.segments[-1]))
    patient.write("notes.txt", b"mine")
    patient.write(names.MANIFEST + ".tmp", b"half")
    ran = run("verify", patient.path, "--json")
    assert (ran.code, ran.json["unknown"], ran.json["left_over"]) == (0, ["notes.txt"], ["MANIFEST.tmp"])
    assert ran.json["set_aside"] == [older]
    out = run("verify", patient.path).out
    assert f"to be set aside: {older}" in out
    assert "left alone: notes.txt" in out


def test_the_words_fit_a_terminal(run: Run, admit: Admit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighty columns hold every table; sentences may be longer, a terminal wraps them."""
    monkeypatch.chdir(admit("store", "closed").path.parent)
    patient = admit("store", "killed", "-other")
    patient.patch(patient.tables[-1], 4096, bytes(4096))
    patient.flip(patient.segments[-1], 400, 3)
    shutil.move(patient.path, "x")
    out = run("verify", "x").out
    table = [line for line in out.splitlines() if line.startswith("  ") and ("sound" in line or "damaged" in line)]
    assert len(table) > 5
    assert max(map(len, table)) <= 80


@pytest.mark.parametrize(
    "damage", [*LOG_DAMAGES[:4], *LOG_DAMAGES[-6:], *MANIFEST_DAMAGES], ids=lambda damage: damage.__name__
)
@pytest.mark.parametrize(("kind", "state"), [("store", "killed"), ("journal", "closed")])
def test_no_command_that_looks_changes_anything_of_a_damaged_store(
    run: Run, admit: Admit, tmp_path: Any, kind: str, state: str, damage: Any
) -> None:
    """Bytes, sizes, modes, inodes and times: who looks at the only copy there is must not fear for it."""
    patient = admit(kind, state)
    damage(patient)
    before = patient.fingerprint()
    for command in (
        ["verify"], ["verify", "--json"], ["info"], ["log"], ["dump"], ["du"], ["scan"], ["get", "key-01"],
        ["recover", "--dry-run"], ["recover", "--dry-run", "--mode", "point-in-time", "--json"], ["recover"],
    ):  # fmt: skip
        ran = run(command[0], patient.path, *command[1:])
        assert ran.code in (0, 1, 2)
        assert "defect" not in ran.err
        if command != ["recover"] or ran.code:
            assert patient.fingerprint() == before, command
    assert run("salvage", patient.path, tmp_path / "new").code == 0


@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize("slot", [True, False])
@pytest.mark.parametrize("left", ["all", "table"])
def test_a_manifest_from_before_a_fold_is_rolled_back_and_the_folds_table_is_used(
    run: Run, tmp_path: Any, is_closed: bool, slot: bool, left: str
) -> None:
    """In one life: the log that the manifest names was pruned since. Salvage once gave what that manifest knew."""
    path, copy = tmp_path / "state", tmp_path / "copy"
    model = {}
    with journalkit.open(path, compaction="manual", segment_bytes_max=4096) as store:
        for number in range(30):
            store[number] = model[number] = "x" * 300
        older = (path / names.MANIFEST).read_bytes()
        for number in range(10, 50):
            store[number] = model[number] = "y" * 300
        store.compact()
        if left == "all":
            store["tail"] = model["tail"] = 1
        if not is_closed:
            shutil.copytree(path, copy)
    if is_closed:
        shutil.copytree(path, copy)
    (copy / names.MANIFEST).write_bytes(older)
    if not slot:
        (copy / names.DURABLE).unlink()
    if left == "table":
        for segment in copy.glob("log-*"):
            segment.unlink()
    told = run("verify", copy, "--json").json
    assert damaged(told)[names.MANIFEST] == "rolled-back-file"
    assert run("salvage", copy, tmp_path / "new", "--json").json["written"] == len(model)
    with journalkit.open(tmp_path / "new", mode="r") as store:
        assert dict(store.items()) == model


def test_a_segment_that_changed_names_with_a_prepared_one_is_swapped(run: Run, tmp_path: Any) -> None:
    """The one in use and the one made ahead: of the second nothing but zeros says what it is."""
    path, copy = tmp_path / "state", tmp_path / "copy"
    model = dict.fromkeys(range(25), "x" * 5000)
    with journalkit.open(path, segment_bytes_max=200_000) as store:
        store.update(model)
        # The compactor's thread makes one ahead, once half of the first is used.
        until = time.monotonic() + 30
        while not (ahead := [file.name for file in path.glob("log-*") if not any(file.read_bytes())]):
            assert time.monotonic() < until
            time.sleep(0.05)
        shutil.copytree(path, copy)
    [used] = {file.name for file in copy.glob("log-*")} - set(ahead)
    (copy / used).rename(copy / "aside")
    (copy / ahead[0]).rename(copy / used)
    (copy / "aside").rename(copy / ahead[0])
    told = run("verify", copy, "--json").json
    assert damaged(told) == {used: "swapped-files", ahead[0]: "swapped-files"}
    assert run("salvage", copy, tmp_path / "new", "--json").json["complete"] is True
    with journalkit.open(tmp_path / "new", mode="r") as store:
        assert dict(store.items()) == model


@pytest.mark.parametrize("slot", ["damaged", "another store's", "missing"])
def test_a_slot_that_promises_nothing_is_noted_and_is_no_damage(run: Run, admit: Admit, slot: str) -> None:
    """It is never synced, so any crash may leave it so; a closed store's seals say all that it did."""
    patient, stranger = admit("store", "closed"), admit("store", "closed", "-other")
    if slot == "damaged":
        patient.flip(names.DURABLE, 30, 1)
    elif slot == "missing":
        (patient.path / names.DURABLE).unlink()
    else:
        patient.write(names.DURABLE, stranger.read(names.DURABLE))
    ran = run("verify", patient.path, "--json")
    assert (ran.code, ran.json["slot"]) == (0, slot)
    assert ("it promises nothing" in run("verify", patient.path).out) is (slot != "missing")
