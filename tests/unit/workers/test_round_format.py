"""What workers write to each other comes back; what makes no sense is refused, and another round's isn't taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from journalkit.checkpoint.merging import merged, outputs_of
from journalkit.checkpoint.rounds import StorageRounds
from journalkit.clock import SystemClock
from journalkit.errors import CheckpointAbortedError, CorruptionError
from journalkit.format import names
from journalkit.format import round as rounds_format
from journalkit.format.checkpoint import (
    _MANIFEST,
    CheckpointManifest,
    PartEntry,
    check_manifest,
    decode_manifest,
    encode_manifest,
)
from journalkit.format.envelope import Envelope
from journalkit.format.malformed import MalformedError
from journalkit.format.round import Report, RunEntry
from journalkit.testing import SimulatedBucket

RUN = RunEntry(b"j" * 16, 3, 4)
REPORT = Report(3, 7, 2, {"step": (1, "a"), "manifest": b"x"})


def test_they_come_back() -> None:
    """As they were."""
    assert rounds_format.decode_run(rounds_format.encode_run(RUN)) == RUN
    assert rounds_format.decode_report(rounds_format.encode_report(REPORT)) == REPORT


@pytest.mark.parametrize("decode", [rounds_format.decode_run, rounds_format.decode_report])
@pytest.mark.parametrize(
    "plain", [1, {}, {"job": b"", "epoch": 1, "size": 1}, {"epoch": 1, "number": 1, "rank": 1, "said": 1},
              {"epoch": -1, "number": 1, "rank": 1, "said": {}}, {"job": b"j" * 16, "epoch": "1", "size": 1}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(decode: Callable[[bytes], Any], plain: Any) -> None:
    """However right its checksums are."""
    magic = rounds_format.RUN_MAGIC if decode is rounds_format.decode_run else rounds_format.ROUND_MAGIC
    with pytest.raises(MalformedError):
        decode(Envelope("", magic, 1, "").seal_plain(plain))


def test_a_report_of_another_round_or_rank_is_damage() -> None:
    """It lies under a key that isn't its own."""
    bucket = SimulatedBucket()
    objects = bucket.handle()
    rounds = StorageRounds(objects, SystemClock(), epoch=3, rank=0, size=3, patience_s=1, check=lambda: None)
    rounds.report({})
    objects.put(names.report_key(3, 1, 1), (rounds_format.encode_report(replace(REPORT, number=2)),))
    with pytest.raises(CorruptionError, match="another round's, or another rank's"):
        rounds.gather()


def test_keys_of_runs_tell_their_epochs() -> None:
    """Of which they are swept; others are nobody's business."""
    keys = [names.run_key(bytes(16), 7), names.joined_key(7, 1), names.report_key(7, 2, 1), names.verdict_key(7, 2)]
    keys += [names.report_key(7, 2, 1, names.LOOK), names.verdict_key(7, 2, names.LOOK)]
    assert [names.run_epoch(key) for key in keys] == [7] * 6
    for other in ("runs/x", "rounds/7/1", names.head_key(7), f"{keys[2]}x"):
        assert names.run_epoch(other) is None


def manifest(**fields: Any) -> CheckpointManifest:
    """Return a rank's manifest."""
    return CheckpointManifest(bytes(16), 1, 1, 0, 0, "sha256", b"\xf6", **fields)


def test_parts_that_know_chunks_by_another_digest_are_no_checkpoint() -> None:
    """Nobody could verify it."""
    with pytest.raises(CheckpointAbortedError, match="rank 1 knows chunks by blake3 and rank 0 by sha256"):
        merged([manifest(), replace(manifest(), digest="blake3")])


def test_what_sinks_prepared_stays_with_its_part() -> None:
    """A part without any says nothing of it, as parts did before there were sinks."""
    whole = merged([manifest(prepared={"files": ["a", 7]}), manifest(), manifest(prepared={"files": ["b"], "t": []})])
    assert decode_manifest(encode_manifest(whole)) == whole
    assert [part.prepared for part in whole.parts] == [{"files": ["a", 7]}, {}, {"files": ["b"], "t": []}]
    plain: Any = _MANIFEST.open_plain(encode_manifest(whole), lambda said: said)
    assert [len(part) for part in plain["parts"]] == [4, 3, 4]
    assert outputs_of(whole, 0, 1) == {"files": ["a", 7, "b"], "t": []}
    assert outputs_of(whole, 0, 2) == {"files": ["a", 7, "b"], "t": []}
    assert outputs_of(whole, 1, 2) == outputs_of(whole, 3, 4) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"tree": b"\xf6"},
        {"parts": (PartEntry(b"\xf6", 1, 0),)},
        {"parts": (PartEntry(b"\xf6", 0, 1),)},
        {"parts": (PartEntry(0, 0, 0),)},
        {"parts": (PartEntry(b"\xf6", 0, 0), PartEntry(b"\xf6", -1, 1))},
        {"parts": (PartEntry(b"\xf6", 0, 0, {"files": 7}),)},
        {"parts": (PartEntry(b"\xf6", 0, 0, 7),)},  # type: ignore[arg-type]
        {"prepared": {"files": [1]}},
    ],
)
def test_parts_that_contradict_their_manifest_are_refused(wrong: Any) -> None:
    """Whole bytes can still be wrong."""
    whole = merged([manifest(), manifest()])
    check_manifest(whole)
    with pytest.raises(MalformedError):
        check_manifest(replace(whole, **wrong))
