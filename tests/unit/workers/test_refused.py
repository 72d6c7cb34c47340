"""What goes wrong between workers, and what they are told."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import numpy as np
import pytest
from cbor2 import CBORTag, dumps

import journalkit
from journalkit import Keyed, Shard
from journalkit.checkpoint.heads import HeadWriter
from journalkit.checkpoint.joining import worker_on
from journalkit.checkpoint.open import open_on
from journalkit.checkpoint.rounds import StorageRounds
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointAbortedError,
    CorruptionError,
    FencedError,
    KeyTypeError,
    KeyValueError,
    StorageError,
    UnknownOutcomeError,
    UsageError,
)
from journalkit.format import names
from journalkit.format.checkpoint import _from_plain, decode_manifest, encode_manifest
from journalkit.format.envelope import plain_of
from journalkit.format.malformed import MalformedError
from journalkit.format.round import Report, RunEntry, encode_report, encode_run
from journalkit.format.tree import TAG_GROUPS, TAG_SHARD, decode_tree
from journalkit.integrations.distributed import torch_exchange
from journalkit.testing import SimulatedBucket, SimulatedClock
from tests.unit.workers.conftest import Job
from tests.unit.workers.test_divided import together
from tests.unit.workers.test_killed import QuickClock


@pytest.mark.parametrize("bad", [0, 1])
def test_a_worker_without_room_is_nobodys_checkpoint(job: Job, monkeypatch: pytest.MonkeyPatch, bad: int) -> None:
    """It gets its own error, the others who it was; what it wrote is gone."""

    def live(worker: journalkit.Worker) -> Any:
        if worker.rank == bad:
            put = worker._objects.put

            def fail(key: str, parts: Any) -> int:
                if key.startswith(names.PACKS):
                    raise StorageError("this disk is broken")
                return put(key, parts)

            monkeypatch.setattr(worker._objects, "put", fail)
        return worker.save({"long": bytes(100_000)})

    found = job.run(2, live)
    assert type(found[bad]) is StorageError
    assert type(found[1 - bad]) is CheckpointAbortedError
    assert f"rank {bad}" in str(found[1 - bad])
    assert "this disk is broken" in str(found[1 - bad])
    assert not any(key.startswith((names.PACKS, names.MANIFESTS)) for key in job.contents())


def test_a_worker_that_counts_its_saves_otherwise_is_told(job: Job) -> None:
    """Its part would be another save's."""

    def live(worker: journalkit.Worker) -> Any:
        worker._number += worker.rank
        return worker.save({})

    assert [str(error) for error in job.run(2, live)] == [
        "rank 1 has made another save: all workers make as many calls"
    ] * 2


def test_what_breaks_a_save_behind_its_publishing_takes_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It once took the pack of a checkpoint that was there."""
    publish = HeadWriter.publish
    bucket = SimulatedBucket()
    with open_on(bucket.handle(), SimulatedClock()) as job:

        def breaking(self: HeadWriter, change: Any) -> Any:
            publish(self, change)
            raise MemoryError

        monkeypatch.setattr(HeadWriter, "publish", breaking)
        with pytest.raises(MemoryError):
            job.save({"long": bytes(100_000)})
        monkeypatch.undo()
        assert [each.verify() for each in job] == [[]]
        job.save({"long": bytes(100_001)})
        job.prune()
        assert [each.verify() for each in job] == [[], []]


@pytest.mark.parametrize("saver", [0, 1])
def test_workers_that_do_different_things_are_told(job: Job, saver: int) -> None:
    """One saves where the other loads."""

    def live(worker: journalkit.Worker) -> Any:
        return worker.save({}) if worker.rank == saver else worker.load_latest()

    found = job.run(2, live)
    assert [type(error) for error in found] == [CheckpointAbortedError] * 2
    assert all("the same calls in the same order" in str(error) for error in found)


def test_where_no_checkpoint_can_be_loaded_by_all_nobody_is_told_that_there_is_none(job: Job) -> None:
    """Rank 0 is told that there are some, and the others that it was."""
    job.run(2, lambda worker: worker.save({"long": bytes(100_000 + worker.rank)}) and None)
    path = f"{job.where}/{names.pack_key(1, 1, 1)}"
    with open(path, "r+b") as pack:
        pack.seek(200)
        pack.write(b"x")
    with pytest.warns(journalkit.errors.DamagedCheckpointWarning):
        found = job.run(2, lambda worker: worker.load_latest())
    assert [type(error) for error in found] == [CorruptionError, CheckpointAbortedError]
    assert "no checkpoint that all workers can load (rank 1" in str(found[0])


def test_a_worker_whose_run_is_over_is_fenced_as_it_joins() -> None:
    """By a notice that is still there, or one of a place that was set back."""
    bucket = SimulatedBucket()
    objects = bucket.handle()
    clock = SimulatedClock()
    for _ in range(2):
        open_on(bucket.handle(), clock).close()
    token = hashlib.sha256(b"old").digest()[:16]
    for epoch, words in ((1, "a newer run has epoch 2, this one has 1"), (9, "epoch 9 isn't there any more")):
        key = names.run_key(token, epoch)
        objects.put(key, (encode_run(RunEntry(bytes(16), epoch, 2)),))
        with pytest.raises(FencedError, match=words):
            worker_on(bucket.handle(), clock, rank=1, size=2, run="old")
        objects.delete(key)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_rank_whose_claim_got_no_reply_looks(monkeypatch: pytest.MonkeyPatch, is_there: bool) -> None:
    """Whether it is its own."""
    objects = SimulatedBucket().handle()
    create = objects.create

    def unsure(key: str, data: bytes) -> bool:
        if key.startswith(names.ROUNDS):
            create(key, data if is_there else b"another's")
            raise UnknownOutcomeError("no reply")
        return create(key, data)

    monkeypatch.setattr(objects, "create", unsure)
    if is_there:
        assert worker_on(objects, SimulatedClock(), rank=0, size=1, run="r").epoch == 1
    else:
        with pytest.raises(UsageError, match="another process has joined as rank 0"):
            worker_on(objects, SimulatedClock(), rank=0, size=1, run="r")


def test_an_exchange_by_pytorch_takes_pytorch_and_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are said."""
    monkeypatch.setitem(sys.modules, "torch.distributed", None)
    with pytest.raises(UsageError, match="takes PyTorch"):
        torch_exchange()


def rounds(objects: Any, size: int, **options: Any) -> StorageRounds:
    """Return rank 0's side of the rounds of a run."""
    usual: dict[str, Any] = {"epoch": 1, "rank": 0, "patience_s": 20, "check": lambda: None}
    return StorageRounds(objects, QuickClock(), size=size, **(usual | options))


def test_a_storage_that_is_away_for_a_while_is_waited_for() -> None:
    """For as long as for a worker; then it is what is told."""
    bucket = SimulatedBucket()
    away = True

    def before(_who: str, operation: str, _key: str) -> None:
        if away and operation == "list":
            raise ArchiveUnavailableError("away")

    bucket.before = before
    mine = rounds(bucket.handle(), 2)
    mine.report({})
    with pytest.raises(ArchiveUnavailableError, match="away"):
        mine.gather()
    away = False
    mine.report({})
    bucket.handle().put(names.report_key(1, 2, 1), (encode_report(Report(1, 2, 1, {"a": 1})),))
    assert mine.gather() == [{}, {"a": 1}]


@pytest.mark.parametrize("rank", [0, 1])
def test_who_waits_looks_whether_there_is_a_newer_run(rank: int) -> None:
    """And ends then, whatever its patience."""

    def check() -> None:
        raise FencedError("a newer run")

    mine = rounds(SimulatedBucket().handle(), 3, rank=rank, patience_s=10_000, check=check)
    mine.report({})
    with pytest.raises(FencedError):
        mine.verdict() if rank else mine.gather()


def test_more_workers_than_a_page_lists_are_all_heard() -> None:
    """Page by page."""
    objects = SimulatedBucket().handle()
    for rank in range(1, 1101):
        objects.put(names.report_key(1, 1, rank), (encode_report(Report(1, 1, rank, {"rank": rank})),))
    mine = rounds(objects, 1101)
    mine.report({"rank": 0})
    assert mine.gather() == [{"rank": rank} for rank in range(1101)]


def test_parts_are_put_together_in_whatever_order_they_lie() -> None:
    """Boxes before, behind and beside those that are found first."""
    whole = np.arange(25.0).reshape(5, 5)
    boxes = [(slice(1, 3), slice(2, 4)), (slice(3, 5), slice(0, 5)), (slice(0, 3), slice(0, 5))]
    parts = [Shard(whole[box], (5, 5), (box[0].start, box[1].start)) for box in boxes]
    found = together([{"x": part} for part in parts]).load()["x"]
    assert np.array_equal(found.array, whole)


def test_a_scalar_that_is_divided_is_everybodys() -> None:
    """There is nothing to divide."""
    manifest = together([{"x": Shard(np.array(7.5), (), ())}] * 2)
    for rank in range(3):
        found = manifest.load(worker=(rank, 3))["x"]
        assert (found.shape, found.offset, float(found.array)) == ((), (), 7.5)


def test_a_key_group_with_two_workers_is_refused() -> None:
    """Which counts, nobody could say."""
    manifest = together([{"x": Keyed({"a": rank})} for rank in range(2)])
    with pytest.raises(KeyValueError, match=r"state\['x'\] has key group 82 with two workers"):
        manifest.load()


@pytest.mark.parametrize(
    "item",
    [
        CBORTag(TAG_GROUPS, 1), CBORTag(TAG_GROUPS, [0, {}]), CBORTag(TAG_GROUPS, [True, {}]),
        CBORTag(TAG_GROUPS, [8, []]),
        CBORTag(TAG_GROUPS, [8, {8: b""}]), CBORTag(TAG_GROUPS, [8, {"a": b""}]), CBORTag(TAG_GROUPS, [8, {1: 1}]),
        CBORTag(TAG_SHARD, 1), CBORTag(TAG_SHARD, [[1], [0]]), CBORTag(TAG_SHARD, [[1], [0], 5]),
        CBORTag(TAG_SHARD, [[1], [0], CBORTag(40, [[2], CBORTag(64, b"ab")])]),
        CBORTag(TAG_SHARD, [[-1], [0], CBORTag(40, [[2], CBORTag(64, b"ab")])]),
    ],
)  # fmt: skip
def test_a_tree_that_divides_what_cannot_be_is_refused(item: Any) -> None:
    """However it came to be."""
    with pytest.raises(MalformedError):
        decode_tree(dumps(item), [])


def test_a_manifest_whose_part_has_other_fields_is_refused() -> None:
    """Not one with as many as there happen to be."""
    manifest = together([{"x": 1}] * 2)
    data = encode_manifest(manifest.said)
    assert decode_manifest(data) == manifest.said
    plain = plain_of(manifest.said) | {"chunked": [], "packs": [], "parts": [[b"\xf6", 0]]}
    with pytest.raises(MalformedError, match="a part has other fields"):
        _from_plain(plain)


def test_a_step_that_cannot_be_stored_is_refused_before_anything_is_written(job: Job) -> None:
    """In the one that gives it; the others are told at once."""

    def live(worker: journalkit.Worker) -> Any:
        return worker.save({"long": bytes(100_000)}, step=np.int64(7) if worker.rank else 7)

    found = job.run(2, live)
    assert [type(error) for error in found] == [CheckpointAbortedError, KeyTypeError]
    assert "step: " in str(found[1])
    assert not any(key.startswith(names.PACKS) for key in job.contents())


def test_a_path_leads_to_what_is_divided_and_not_into_it() -> None:
    """It once led to a key group's bytes, for a key that was a number."""
    counts = {number: number for number in range(200)}
    manifest = together([{"counts": Keyed(counts), "w": Shard(np.ones(3), (3,), (0,))}])
    [found] = manifest.load(paths=[("counts",)]).values()
    assert found == counts
    for path in (("counts", 5), ("w", 0)):
        with pytest.raises(KeyValueError, match="has nothing at"):
            manifest.load(paths=[path])


def test_a_shard_that_was_changed_since_it_was_made_is_looked_at_again() -> None:
    """One that lies outside of its whole could be loaded by nobody."""
    shard = Shard(np.zeros(4), (8,), (4,))
    shard.array = np.zeros(6)
    with pytest.raises(KeyValueError, match=r"state\['x'\]: an array of \(6,\) at \(4,\) is no part"):
        together([{"x": shard}])
    for wrong in ((3, 0), (("a",), (0,)), ((3.9,), (0,))):
        with pytest.raises(KeyTypeError):
            Shard(np.zeros(3), *wrong)  # type: ignore[arg-type]


def test_offsets_that_no_number_equals_are_the_same(job: Job) -> None:
    """NaN is NaN."""
    assert job.run(2, lambda worker: worker.save({}, offsets={"t": float("nan")}).id) == ["1.1"] * 2


@pytest.mark.parametrize(
    "verdict",
    [{}, {"published": 5}, {"published": []}, {"published": [1] * 7}, {"candidate": 5}, {"candidate": "1.1"}],
)
def test_a_verdict_that_makes_no_sense_is_damage(job: Job, monkeypatch: pytest.MonkeyPatch, verdict: Any) -> None:
    """Whatever was asked."""

    def live(worker: journalkit.Worker) -> Any:
        if worker.rank == 1:
            asked = worker._rounds.verdict
            monkeypatch.setattr(worker._rounds, "verdict", lambda: (asked(), verdict)[1])
            with pytest.raises(CorruptionError, match="doesn't say"):
                worker.save({})
            return None
        return worker.save({}).id

    assert job.run(2, live) == ["1.1", None]


@pytest.mark.parametrize(
    "report",
    [{"manifest": b""}, {"manifest": b"", "step": None, "base": 5}, {"manifest": 5, "step": None, "base": None},
     {"manifest": b"", "step": None, "base": ["a", "b"]}, {"manifest": b"garbage", "step": None, "base": None}],
)  # fmt: skip
def test_a_report_that_makes_no_sense_is_no_part(stored: Job, monkeypatch: pytest.MonkeyPatch, report: Any) -> None:
    """The checkpoint is given up, and rank 0 says why."""

    def live(worker: journalkit.Worker) -> Any:
        if worker.rank == 1:
            say = worker._rounds.report
            monkeypatch.setattr(worker._rounds, "report", lambda _said: say(report))
        return worker.save({})

    first, second = stored.run(2, live)
    assert isinstance(first, CheckpointAbortedError | CorruptionError)
    assert type(second) is CheckpointAbortedError


@pytest.mark.parametrize("exchange", [5, lambda _: None, lambda _: "text", lambda _: [1]])
def test_an_exchange_that_gives_no_bytes_is_refused(stored: Job, exchange: Any) -> None:
    """By a word about it."""
    with pytest.raises(KeyTypeError, match="exchange"):
        journalkit.open_worker(stored.where, rank=0, size=1, exchange=exchange)


def test_more_workers_than_there_can_be_take_nothing_over(stored: Job) -> None:
    """They are counted before the job is touched."""
    with pytest.raises(KeyValueError, match="a million at most"):
        journalkit.open_worker(stored.where, rank=0, size=1 << 40, run="r")
    assert stored.contents() == set()


@pytest.mark.parametrize("regions", [5, [((), ())], {"w": ()}, {("w", -1): ()}, {("w", 0): (slice("a", "b"),)}])
def test_regions_that_are_none_are_refused(regions: Any) -> None:
    """They were once passed over, or Python's own errors."""
    manifest = together([{"w": [Shard(np.arange(4.0), (4,), (0,))]}])
    with pytest.raises((KeyTypeError, KeyValueError)):
        manifest.load(regions=regions)
