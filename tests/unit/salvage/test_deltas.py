"""Salvage where a snapshot is a base with deltas on it: a table costs what only it says."""

from __future__ import annotations

from typing import Any

import pytest

from journalkit.format import names
from journalkit.recovery.salvage_ranges import ALL_KEYS

PADDING = "x" * 700


@pytest.fixture(params=["manifest", "none"])
def layered(request: pytest.FixtureRequest, new_patient: Any) -> Any:
    """A base, two deltas on it with deletions, and a tail; with its manifest, and without."""
    made = new_patient()
    with made.open(fold_bytes_min=1, fold_ratio=1e9, keep_snapshots=1) as store:
        for part, count in enumerate((60, 20, 6)):
            for number in range(count):
                key = f"key-{number:03d}"
                store[key] = made.model[key] = [part, number, PADDING]
            gone = f"key-{50 + part:03d}"
            del store[gone]
            del made.model[gone]
            store.compact()
        store["tail"] = made.model["tail"] = 1
    assert len(made.tables) == 3
    if request.param == "none":
        made.remove(names.MANIFEST)
    return made


def test_a_base_with_deltas_comes_out_as_one_state(layered: Any) -> None:
    """Without the manifest each table says itself on what it lies: a delta is no state."""
    remains = layered.stock()
    assert layered.salvaged(remains) == layered.model
    assert [span.keys for span in remains.spans] == [ALL_KEYS]
    assert (remains.is_complete, remains.losses) == (True, [])


def test_a_lost_delta_costs_what_only_it_says(layered: Any) -> None:
    """What is above it still speaks, and so does what is below it; and what is missing is named."""
    layered.remove(layered.tables[1])
    remains = layered.stock()
    expected = dict(layered.model)
    for number in range(6, 20):
        expected[f"key-{number:03d}"] = [0, number, PADDING]
    expected["key-051"] = [0, 51, PADDING]
    assert layered.salvaged(remains) == expected
    assert not remains.is_complete
    assert remains.missing[0][0] == 62


def test_a_lost_newest_delta_leaves_the_state_below_it(layered: Any) -> None:
    """And the log behind it."""
    layered.remove(layered.tables[2])
    remains = layered.stock()
    expected = dict(layered.model)
    for number in range(6):
        expected[f"key-{number:03d}"] = [1, number, PADDING]
    expected["key-052"] = [0, 52, PADDING]
    assert layered.salvaged(remains) == expected
    assert not remains.is_complete


def test_a_lost_base_leaves_what_the_deltas_say(layered: Any) -> None:
    """No key comes back that they deleted."""
    layered.remove(layered.tables[0])
    remains = layered.stock()
    expected = {key: value for key, value in layered.model.items() if key == "tail" or int(key[4:]) < 20}
    assert layered.salvaged(remains) == expected
    assert not remains.is_complete
    assert [span.layers for span in remains.spans] == [None]


def test_a_damaged_block_of_the_base_costs_its_keys_but_for_those_that_deltas_have(layered: Any) -> None:
    """Both directions: what is newer than the base is right, also in the range that the base lost."""
    layered.flip(layered.tables[0], 200)
    remains = layered.stock()
    found = layered.salvaged(remains)
    lost = {key for key in layered.model if key not in found}
    assert found == {key: value for key, value in layered.model.items() if key not in lost}
    assert all(int(key[4:]) >= 20 for key in lost)
    assert not remains.is_complete


def test_a_record_older_than_a_table_that_speaks_of_its_key_does_not_win(new_patient: Any) -> None:
    """The log's newest record of a key may be one that a lost segment's record came after."""
    patient = new_patient()
    with patient.open(fold_bytes_min=1, fold_ratio=1e9, keep_snapshots=3) as store:
        store.update({f"key-{number:03d}": PADDING for number in range(20)})
        store.compact()
        store["key-000"] = "older" * 10
        store["key-001"] = "older"
        store.compact()
        store["key-000"] = "newer"
        store.compact()
    base, *_ = patient.tables
    patient.remove(base)
    for name in patient.segments:
        if b"newer" in patient.read(name):
            patient.remove(name)
    found = patient.salvaged(patient.stock())
    assert (found["key-000"], found["key-001"]) == ("newer", "older")


def test_a_newer_delta_than_the_manifest_knows_counts_with_what_lies_below(new_patient: Any) -> None:
    """An older copy of the manifest must not cost what a fold wrote since."""
    patient = new_patient()
    with patient.open(fold_bytes_min=1, fold_ratio=1e9, keep_snapshots=1) as store:
        store.update({f"key-{number:03d}": PADDING for number in range(20)})
        store.compact()
        older = patient.read(names.MANIFEST)
        store["key-000"] = "newer"
        store.compact()
        state = dict(store)
    patient.write(names.MANIFEST, older)
    assert patient.salvaged(patient.stock()) == state
