"""The commands on a store whose snapshots are a base with deltas, and share tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.format.manifest import decode_manifest, encode_manifest

Run = Callable[..., Any]
OPTIONS: dict[str, Any] = {"compaction": "manual", "fold_bytes_min": 1, "fold_ratio": 1e9}


@pytest.fixture
def layered(tmp_path: Path) -> Path:
    """Three tables, of which two snapshots share two."""
    path = tmp_path / "layered"
    with journalkit.open(path, **OPTIONS) as store:
        for count in (60, 20, 6):
            store.update({number: "x" * 500 + str(count) for number in range(count)})
            store.compact()
    return path


def tables(path: Path) -> list[Path]:
    """Return the tables, oldest first."""
    return sorted(path.glob("*.jkt"))


def test_each_table_is_judged_once_and_says_what_it_holds(run: Run, layered: Path) -> None:
    """Named by two snapshots it is one file all the same."""
    ran = run("verify", layered, "--json")
    holds = [file["holds"] for file in ran.json["files"] if file["file"].endswith(".jkt")]
    assert (ran.code, sorted(holds)) == (
        0,
        ["20 entries changed up to LSN 2", "6 entries changed up to LSN 3", "60 entries at LSN 1"],
    )


def test_room_is_counted_once_and_for_the_newest_snapshot(run: Run, layered: Path) -> None:
    """What it shares with an older one would stay without that one."""
    told = run("info", layered, "--json").json
    assert [len(snapshot["tables"]) for snapshot in told["snapshots"]] == [3, 2]
    used = run("du", layered, "--json").json["kinds"]
    assert used["newest snapshot"]["size_bytes"] == sum(path.stat().st_size for path in tables(layered))


def test_a_damaged_delta_is_replaced_by_a_snapshot_that_shares_nothing_with_it(run: Run, layered: Path) -> None:
    """And the dry run says so before."""
    data = bytearray(tables(layered)[2].read_bytes())
    data[300] ^= 1
    tables(layered)[2].write_bytes(bytes(data))
    assert run("verify", layered).code != 0
    foretold = run("recover", layered, "--dry-run", "--json").json
    assert run("recover", layered).code == 0
    assert run("verify", layered).code == 0
    assert len(tables(layered)) == 1
    assert foretold is not None
    with journalkit.open(layered, **OPTIONS) as store:
        assert [store[number][500:] for number in (0, 6, 20, 59)] == ["6", "20", "60", "60"]


def test_tables_in_the_wrong_places_are_damage_to_verify_too(run: Run, layered: Path) -> None:
    """It judges as an open does."""
    manifest = decode_manifest((layered / "MANIFEST").read_bytes())
    newest, *older = manifest.snapshots
    swapped = (replace(newest, tables=(newest.tables[1], newest.tables[0], newest.tables[2])),)
    (layered / "MANIFEST").write_bytes(encode_manifest(replace(manifest, snapshots=(*swapped, *older))))
    ran = run("verify", layered, "--json")
    assert [file["reason"] for file in ran.json["files"] if file["verdict"] == "damaged"] == [
        "the table doesn't belong where the manifest names it"
    ]


def test_a_full_compaction_leaves_one_table_of_the_newest_snapshot(run: Run, layered: Path) -> None:
    """For whoever wants the room of what was overwritten."""
    assert run("compact", layered, "--full", "--json").code == 0
    told = run("info", layered, "--json").json
    assert [len(snapshot["tables"]) for snapshot in told["snapshots"]] == [1, 3]
    with journalkit.open(layered, mode="r") as store:
        assert [store[number][500:] for number in (0, 6, 20)] == ["6", "20", "60"]
