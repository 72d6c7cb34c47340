"""The proof by copies: it copies and judges, and finds copies that are older than they should be, or misread."""

from __future__ import annotations

import contextlib
import random
import shutil
from pathlib import Path

import copies
import pytest
from units import Unit

import journalkit


@pytest.mark.parametrize("copier", copies.COPIERS)
def test_a_few_copies_of_a_live_directory_are_never_misread(copier: str) -> None:
    """Each opens to a consistent prefix, or is refused."""
    outcome = copies.prove(Unit(copier, {"copier": copier, "copies": 8, "seed": 3}))
    assert outcome.failures == []
    assert outcome.counts["copies"] == 8
    assert outcome.counts["opened"] > 0


def test_a_copy_without_records_that_were_durable_before_it_began_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary: the second copy is the first one once more, consistent and too old."""
    old = tmp_path / "old"

    def copy_stale(source: str, target: str, chance: random.Random) -> None:
        while not old.exists():
            _copy_that_opens(source, old)
        shutil.copytree(old, target)

    monkeypatch.setattr(copies, "copy_slowly", copy_stale)
    outcome = copies.prove(Unit("stale", {"copier": "slow", "copies": 6, "seed": 3}))
    assert len(outcome.failures) == 1
    assert "were durable before the copy began" in outcome.failures[0]


def test_a_store_that_opens_without_one_of_its_keys_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary's other half: a state that isn't what any prefix of the commits makes."""
    honest = copies.complaints
    monkeypatch.setattr(copies, "complaints", lambda store, *rest: honest(_Forgetful(store), *rest))
    outcome = copies.prove(Unit("misread", {"copier": "cp", "copies": 20, "seed": 3}))
    assert len(outcome.failures) == 1
    assert "not what the commits made them" in outcome.failures[0]


def _copy_that_opens(source: str, target: Path) -> None:
    """Copy a live directory, unless the copy is one that an open refuses: those say so, and are no danger."""
    with contextlib.suppress(shutil.Error, FileNotFoundError):
        shutil.copytree(source, target)
    try:
        journalkit.open(target, mode="r").close()
    except journalkit.errors.JournalError:
        shutil.rmtree(target, ignore_errors=True)


class _Forgetful:
    """A store that has lost a key in the middle."""

    def __init__(self, store: object) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def keys(self) -> list[object]:
        keys = list(self._store)  # type: ignore[call-overload]
        return keys[:5] + keys[6:]

    def __getitem__(self, key: object) -> object:
        return self._store[key]  # type: ignore[index]
