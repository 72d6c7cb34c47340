"""Each kind of damage has its own verdict, and what is said to survive is what salvage delivers.

The truth is the test's: where each record stood before, and what it set.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
from harm import LOG_DAMAGES, MANIFEST_DAMAGES, Expected, lsns, middle

from journalkit.format import names

Run = Callable[..., Any]
Admit = Callable[..., Any]

KINDS = [(kind, state) for kind in ("store", "journal") for state in ("closed", "killed")]


def check(run: Run, patient: Any, expected: Expected, target: Any) -> None:
    """Hold verify, its prose and the salvage against what is expected."""
    before = patient.fingerprint()
    ran = run("verify", patient.path, "--json")
    told = ran.json
    assert (ran.code, told["verdict"]) == (2, "damaged")
    files = {file["file"]: file for file in told["files"]}
    damaged = {name: file["kind"] for name, file in files.items() if file["verdict"] == "damaged"}
    assert damaged == expected.kinds
    assert told["damage_kinds"] == sorted(set(expected.kinds.values()))
    name = next(iter(expected.kinds))
    damage = files[name]["damage"]
    assert {item["kind"] for item in damage} == {expected.kinds[name]}
    if name != names.MANIFEST:
        assert damage[0]["offset_bytes"] == expected.offset
        ranges = [item["lost_lsns"] for item in damage if item["lost_lsns"]]
        assert ([ranges[0][0], ranges[-1][1]] if ranges else []) == expected.lost
    assert expected.proof in (damage[0]["proof"] or "")
    prose = run("verify", patient.path).out
    for word in (name, expected.kinds[name].replace("-", " "), expected.proof, "next: ", "salvage gives: "):
        assert word in prose, prose
    assert max(map(len, prose.splitlines())) < 200
    ran = run("salvage", patient.path, target, "--json")
    assert ran.code == 0, ran.err
    lost = set(range(expected.lost[0], expected.lost[1] + 1)) if expected.lost else set()
    assert patient.contents(target) == patient.expected(lost)
    report = ran.json
    promise = told["salvageable"]
    assert (report["complete"], report["missing_lsns"]) == (promise["complete"], promise["missing_lsns"])
    assert report["missing_lsns"] == ([expected.lost] if expected.lost else [])
    assert promise["complete"] is (not expected.lost)
    assert run("verify", target).code == 0
    assert patient.fingerprint() == before


@pytest.mark.parametrize("damage", LOG_DAMAGES + MANIFEST_DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize(("kind", "state"), KINDS)
def test_each_damage_has_its_verdict_and_what_survives_is_salvaged(
    run: Run, admit: Admit, tmp_path: Any, kind: str, state: str, damage: Callable[[Any], Expected]
) -> None:
    """File, kind, byte, records; and the salvage is the whole rest."""
    patient = admit(kind, state)
    assert run("verify", patient.path).code == 0
    check(run, patient, damage(patient), tmp_path / "salvaged")


@pytest.mark.parametrize(("kind", "state"), KINDS)
def test_a_foreign_segment_is_named_with_its_store(
    run: Run, admit: Admit, tmp_path: Any, kind: str, state: str
) -> None:
    """Of the same number, with the same history: the identity alone tells."""
    patient, stranger = admit(kind, state), admit(kind, state, "-other")
    name = middle(patient)
    patient.write(name, stranger.read(name))
    expected = Expected({name: "foreign-file"}, 0, lsns(patient.of(name)), f"it is {name} of store")
    check(run, patient, expected, tmp_path / "salvaged")


@pytest.mark.parametrize(("kind", "state"), KINDS)
def test_a_foreign_manifest_is_the_stranger_and_not_all_the_other_files(
    run: Run, admit: Admit, tmp_path: Any, kind: str, state: str
) -> None:
    """A restore into the wrong directory once made every other file look wrong, and salvage give nothing."""
    patient, stranger = admit(kind, state), admit(kind, state, "-other")
    patient.write(names.MANIFEST, stranger.read(names.MANIFEST))
    check(run, patient, Expected({names.MANIFEST: "foreign-file"}, manifest=False), tmp_path / "salvaged")


def test_a_wrong_verdict_would_be_noticed(run: Run, admit: Admit, tmp_path: Any) -> None:
    """The canary: this harness fails where kind, place, records or survivors are others than it was told."""
    for number, wrong in enumerate(
        [
            {"kinds": {"FILE": "damaged"}},
            {"offset": 1},
            {"lost": [1, 1]},
            {"proof": "bit 4"},
        ]
    ):
        patient = admit("journal", "closed")
        expected = LOG_DAMAGES[0](patient)
        for name, value in wrong.items():
            changed = {next(iter(expected.kinds)): "damaged"} if name == "kinds" else value
            setattr(expected, name, changed)
        with pytest.raises(AssertionError):
            check(run, patient, expected, tmp_path / f"new-{number}")
        shutil.rmtree(patient.path)
