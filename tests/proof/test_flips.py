"""The proof by flipped bits: a piece of it, what it covers, and that it would notice."""

from __future__ import annotations

import random
from typing import Any

import flips
import pytest
from second_reader import READER
from units import Unit

from journalkit.recovery.promises import Promises

CHECKED_BY = ("block.checksum", "frame.crc32c", "run.crc32c", "envelope.checksum", "segment.checksum", "table.checksum")
"""What the modules of `journalkit.format` compare checksums with."""


class Unchecked(int):
    """A checksum that equals any other."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    def __and__(self, other: int) -> Unchecked:
        return self

    __hash__ = int.__hash__


def piece(kind: str) -> flips.Outcome:
    """Prove a hundredth of a store."""
    return flips.prove(Unit("piece", {"kind": kind, "part": 3, "parts": 100, "seed": 1, "size": "ci"}))


def some_flips(trials: flips.Trials, prefix: str, count: int) -> flips.Outcome:
    """Flip a few bits of the files of a kind, in what they hold."""
    chance = random.Random(1)
    names = [name for name in trials.specimen.files if name.startswith(prefix)]
    for _ in range(count):
        name = chance.choice(names)
        trials.flip(flips.Place(name, chance.randrange(len(trials.specimen.files[name].rstrip(b"\0"))), 1))
    return trials.outcome


@pytest.mark.parametrize("kind", flips.KINDS)
def test_a_piece_of_each_store_is_named_or_harmless(kind: str) -> None:
    """The same as in the run, and everything in it is counted."""
    outcome = piece(kind)
    assert outcome.failures == []
    assert outcome.counts["flips"] == outcome.counts[f"flips, {kind}"] > 100
    assert outcome.counts["refused"] > 0
    assert outcome.counts["served"] > 0


def test_a_record_that_nobody_was_promised_goes_alone() -> None:
    """The one case in which less than everything may be served, and it isn't an error either."""
    specimen = flips.make("killed")
    name, weak = specimen.weak
    trials = flips.Trials(specimen)
    for at in range(weak.start, weak.start + 60):
        trials.flip(flips.Place(name, at, at % 8, write=at % 20 == 0))
    assert trials.outcome.failures == []
    assert trials.outcome.counts["served"] == 60


@pytest.mark.parametrize("kind", flips.KINDS)
def test_each_store_is_64_kib_and_always_the_same(kind: str) -> None:
    """All of its bits are 524,288, and a flip that failed fails again."""
    specimen = flips.make(kind)
    assert sum(map(len, specimen.files.values())) == flips.STORE_BYTES
    assert flips.make(kind) == specimen
    empty = sum(len(data) - len(data.rstrip(b"\0")) for data in specimen.files.values())
    assert empty < flips.STORE_BYTES // 8, "zeros are cheap bits"


def test_a_full_run_turns_every_bit_once() -> None:
    """What is left out is left out silently."""
    specimen = flips.make("closed")
    tried = [place[:3] for part in range(2) for place in flips.places(specimen, part, 2, "full", 1)]
    assert len(tried) == len(set(tried)) == 8 * flips.STORE_BYTES


def test_a_small_run_reaches_the_goals_and_every_file() -> None:
    """A run that can't reach its goal would only be noticed at its end."""
    written = examined = 0
    for kind in flips.KINDS:
        specimen = flips.make(kind)
        parts = [unit.arguments for unit in flips.units("ci", 1) if unit.arguments["kind"] == kind]
        tried = {place for one in parts for place in flips.places(specimen, one["part"], one["parts"], "ci", 1)}
        assert {place.name for place in tried} == set(specimen.files)
        assert len(tried) >= 15_000
        written += sum(place.write for place in tried)
        examined += sum(place.examine for place in tried)
    assert written >= 800
    assert examined >= 9_500


def test_a_package_that_checks_no_checksum_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary: with its checks off, wrong data come out, and the proof has to say so."""
    monkeypatch.setattr(flips, "FAILURES_TOLD", 1000)
    trials = flips.Trials(flips.make("closed"))
    for name in CHECKED_BY:
        monkeypatch.setattr(f"journalkit.format.{name}", lambda *_: Unchecked())
    for prefix in ("log-", "table-"):
        failures = " ".join(some_flips(trials, prefix, 40).failures)
        assert "wrong data" in failures, prefix
        assert "passes over it in silence" in failures
        trials.outcome.failures.clear()


def test_a_package_that_cuts_what_was_promised_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary for a state that is a prefix, and too short."""
    trials = flips.Trials(flips.make("closed"))
    monkeypatch.setattr(Promises, "behind", lambda *_: False)
    monkeypatch.setattr(Promises, "floor_lsn", lambda _: 0)
    assert "wrong data at LSN" in " ".join(some_flips(trials, "log-0000000000000008", 40).failures)


def test_an_independent_reader_that_checks_no_checksum_is_caught() -> None:
    """The canary for the second opinion, which has to be one."""

    def judge(files: flips.Files) -> Any:
        return READER.judge(files, lambda *_: Unchecked())

    trials = flips.Trials(flips.make("closed"), judge=judge)
    assert "the independent reader" in " ".join(some_flips(trials, "table-", 10).failures)
