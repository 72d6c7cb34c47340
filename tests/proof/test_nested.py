"""The proof of nested crashes: it goes two and three levels deep, and finds a recovery that can't be repeated."""

from __future__ import annotations

import random
from contextlib import suppress

import nested
import pytest
from nested import Nest, units
from workloads import WORKLOADS

from journalkit import manifest
from journalkit.fs import atomic
from journalkit.fs.interface import FileSystem


def test_recoveries_of_a_torn_tail_may_be_cut_off_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof itself, on a piece that takes seconds, to the third level."""
    monkeypatch.setattr(nested, "_THIRD", 1.0)
    outcome = Nest("torn_tail_cut", 3).go(2)
    assert outcome.failures == []
    assert outcome.counts["recoveries cut off"] == 6
    assert outcome.counts["nested"] > outcome.counts["third crashes"] > 10


def test_the_same_seed_finds_the_same_states() -> None:
    """A failure is repeated by its unit's name."""
    assert Nest("journal_pruned", 3).go(2).counts == Nest("journal_pruned", 3).go(2).counts


def test_units_hold_every_workload_once_for_each_seed() -> None:
    """None is left out by where a group ends."""
    for size in ("ci", "full"):
        found = units(size, 1)
        assert len({unit.name for unit in found}) == len(found)
        for seed in {unit.arguments["seed"] for unit in found}:
            names = [name for unit in found if unit.arguments["seed"] == seed for name in unit.arguments["workloads"]]
            assert names == [workload.name for workload in WORKLOADS]


def test_canary_a_recovery_that_removes_before_it_has_decided_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """PITFALLS 10: the first recovery is right, and what it leaves when it is cut off isn't."""
    nest, chance = Nest("torn_tail_cut", 3), random.Random(3)
    left = next(left for left in nest._choose(8, 0, chance) if left.history.exists)

    def careless(fs: FileSystem, directory: str, name: str, data: bytes) -> None:
        with suppress(FileNotFoundError):
            fs.unlink(f"{directory}/{name}")
        atomic.replace_file(fs, directory, name, data)

    monkeypatch.setattr(manifest, "replace_file", careless)
    nest.cut_off(left, chance, level=2)
    assert any("its recovery is cut off before" in told for told in nest.outcome.failures)
