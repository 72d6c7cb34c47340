"""The commands on a store whose tables are compressed: looked at, judged, salvaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import journalkit

Run = Callable[..., Any]
STATE = {number: f"value {number} " * 30 for number in range(300)}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A plain base, and a compressed delta on it."""
    path = tmp_path / "store"
    layers = {"compaction": "manual", "fold_bytes_min": 1, "fold_ratio": 1e9, "keep_snapshots": 1}
    with journalkit.open(path, **layers) as store:  # type: ignore[call-overload]
        store.update(STATE)
        store.compact()
    with journalkit.open(path, compression="zstd", **layers) as store:  # type: ignore[call-overload]
        store.update({number: value.upper() for number, value in STATE.items() if number < 100})
        store.compact()
    return path


def test_verify_and_info_say_what_is_compressed(run: Run, store: Path) -> None:
    """Whoever moves a store to a machine without the library wants to know before."""
    ran = run("verify", store, "--json")
    holds = sorted(file["holds"] for file in ran.json["files"] if file["file"].endswith(".jkt"))
    assert (ran.code, holds) == (0, ["100 entries changed up to LSN 2, compressed", "300 entries at LSN 1"])
    [newest] = run("info", store, "--json").json["snapshots"]
    assert sorted(table["holds"] for table in newest["tables"]) == holds


def test_a_flipped_bit_is_found_and_costs_salvage_one_block(run: Run, store: Path, tmp_path: Path) -> None:
    """Each block is by itself, compressed or not."""
    delta = max(store.glob("*.jkt"))
    data = bytearray(delta.read_bytes())
    data[80] ^= 1
    delta.write_bytes(data)
    ran = run("verify", store)
    assert ran.code == 2
    assert "flipped bit" in ran.out
    assert run("salvage", store, tmp_path / "new").code in (0, 2)
    with journalkit.open(tmp_path / "new", mode="r") as salvaged:
        found = dict(salvaged)
    # Of the delta's two blocks one is left; what the other said is lost, and the base has an older word.
    assert 0 < sum(value == STATE[number].upper() for number, value in found.items()) < 100
    assert all(value in (STATE[number], STATE[number].upper()) for number, value in found.items())
