"""Garbage: what nobody needs goes, what somebody needs stays, whoever is in the middle of something."""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any

import pytest

from journalkit.checkpoint import catalogue, sweeping
from journalkit.checkpoint.heads import HeadWriter
from journalkit.errors import CorruptionError
from journalkit.format import names
from journalkit.format.head import CheckpointEntry, Head
from journalkit.objects.interface import Objects
from journalkit.testing import SimulatedBucket, SimulatedClock

HOUR_S = 3600.0


class Job:
    """A job whose checkpoints' needs a test says: each has a pack of its own and may need older ones."""

    def __init__(self, make_entry: Any, seed: int = 0) -> None:
        self.bucket = SimulatedBucket(seed=seed)
        self.objects: Objects = self.bucket.handle()
        self.clock = SimulatedClock(seed=seed)
        self.writer = HeadWriter.begin(self.objects, self.clock)
        self.said: dict[tuple[int, int], tuple[str, ...]] = {}
        self._entry = make_entry

    def needs(self, entry: CheckpointEntry) -> Collection[str]:
        """Return what the test said, as long as the manifest is there."""
        if self.objects.get(names.checkpoint_key(*entry.place)) is None:
            raise CorruptionError("missing", path="manifest")
        return self.said[entry.place]

    def write(self, save: int, *older: tuple[int, int], epoch: int | None = None) -> CheckpointEntry:
        """Write a checkpoint's objects without publishing them."""
        entry: CheckpointEntry = self._entry(epoch or self.writer.epoch, save)
        self.objects.put(names.pack_key(*entry.place, 0), (b"pack",))
        self.objects.put(names.checkpoint_key(*entry.place), (b"manifest",))
        self.said[entry.place] = (names.pack_key(*entry.place, 0), *(names.pack_key(*place, 0) for place in older))
        return entry

    def save(self, save: int, *older: tuple[int, int]) -> CheckpointEntry:
        """Write and publish."""
        entry = self.write(save, *older)
        self.writer.publish(lambda head: catalogue.add(self.objects, self.clock, head, entry))
        return entry

    def trash(self, *places: tuple[int, int]) -> None:
        """Delete checkpoints."""
        self.writer.publish(lambda head: catalogue.trash(self.objects, self.clock, head, places))

    def begin(self) -> None:
        """Let a new writer take over."""
        self.writer = HeadWriter.begin(self.objects, self.clock)

    def held(self) -> set[str]:
        """Return what there is besides heads."""
        return {key for key in self.bucket.contents() if not key.startswith(names.HEADS)}

    def swept(self) -> Head:
        """Forget what is due and delete what it left."""
        gone = sweeping.due(self.writer.head, self.clock, HOUR_S)
        head = sweeping.forget(self.writer, gone)
        left = sweeping.left_by(self.objects, head, [entry.checkpoint for entry in gone], self.needs)
        sweeping.delete(self.objects, left)
        return head


@pytest.fixture
def job(make_entry: Any) -> Job:
    """Return a new job."""
    return Job(make_entry)


def test_a_deleted_checkpoint_stays_until_its_time_is_up_and_leaves_what_others_need(job: Job) -> None:
    """Whoever reads it just now can end; who stands on its packs keeps them."""
    job.save(1)
    job.save(2, (1, 1))
    job.save(3)
    job.trash((1, 1), (1, 3))
    before = job.held()
    job.clock.advance(HOUR_S - 1)
    job.swept()
    assert job.held() == before
    job.clock.advance(2)
    head = job.swept()
    assert head.trash == ()
    assert job.held() == {names.pack_key(1, 1, 0), names.pack_key(1, 2, 0), names.checkpoint_key(1, 2)}


def test_what_is_in_the_trash_still_holds_what_it_needs(job: Job) -> None:
    """One whose time is up may have packs that another in the trash still needs."""
    job.save(1)
    job.save(2, (1, 1))
    job.trash((1, 1))
    job.clock.advance(HOUR_S / 2)
    job.trash((1, 2))
    job.clock.advance(HOUR_S / 2)
    assert [entry.checkpoint.save for entry in job.swept().trash] == [2]
    assert names.pack_key(1, 1, 0) in job.held()
    job.clock.advance(HOUR_S)
    job.swept()
    assert job.held() == set()


def test_a_manifest_that_cant_be_read_stops_the_sweep_unless_it_goes_itself(job: Job) -> None:
    """Nobody knows what it needs."""
    job.save(1)
    job.save(2, (1, 1))
    job.save(3)
    job.trash((1, 1))
    job.objects.delete(names.checkpoint_key(1, 2))
    job.clock.advance(HOUR_S)
    with pytest.raises(CorruptionError):
        job.swept()
    assert names.pack_key(1, 1, 0) in job.held()
    job.trash((1, 2))
    job.clock.advance(HOUR_S)
    job.swept()
    job.begin()
    sweeping.delete(job.objects, sweeping.orphans(job.objects, job.writer.head, job.needs))
    assert job.held() == {names.pack_key(1, 3, 0), names.checkpoint_key(1, 3)}


def test_what_a_killed_save_left_is_found_by_the_next_writer_without_reading_a_manifest(job: Job) -> None:
    """Behind the newest checkpoint there is nothing that anybody needs, but what the new writer writes."""
    job.save(1)
    job.write(2)
    job.write(3)
    assert sweeping.after_the_last(job.objects, job.writer.head).objects == ()
    job.begin()
    job.write(1)
    count = job.bucket.operation_count
    garbage = sweeping.after_the_last(job.objects, job.writer.head)
    assert job.bucket.operation_count - count == 4
    assert {status.key for status in garbage.objects} == {
        name(1, save, *part) for save in (2, 3) for name, part in ((names.checkpoint_key, ()), (names.pack_key, (0,)))
    }
    assert garbage.size_bytes == 2 * len(b"packmanifest")


def test_a_search_for_orphans_leaves_saves_in_flight_alone(job: Job) -> None:
    """Of the running epoch only its writer knows; anybody may take what earlier epochs left."""
    job.save(1)
    job.write(2)
    job.begin()
    job.save(1, (1, 1))
    job.write(2)
    job.write(3)
    by_others = sweeping.orphans(job.objects, job.writer.head, job.needs)
    assert {names.saved_place(status.key) for status in by_others.objects} == {(1, 2)}
    by_writer = sweeping.orphans(job.objects, job.writer.head, job.needs, unsettled=sweeping.Unsettled({(2, 3)}))
    assert {names.saved_place(status.key) for status in by_writer.objects} == {(1, 2), (2, 2)}


def test_pages_that_nobody_names_are_orphans_too(job: Job) -> None:
    """Each change of a page leaves the old one behind."""
    for save in range(1, 202):
        job.save(save)
    job.trash((1, 5))
    job.begin()
    garbage = sweeping.orphans(job.objects, job.writer.head, job.needs)
    assert len(garbage.objects) == 1
    assert garbage.objects[0].key.startswith(names.PAGES)
    sweeping.delete(job.objects, garbage)
    assert [entry.save for entry in catalogue.newest_first(job.objects, job.writer.head)] == [
        save for save in range(201, 0, -1) if save != 5
    ]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_saved_deleted_and_left_in_the_end_there_is_what_is_needed_and_nothing_else(
    make_entry: Any, seed: int
) -> None:
    """A model of one line: what live checkpoints need."""
    chance = Random(seed)
    job = Job(make_entry, seed)
    live: dict[tuple[int, int], CheckpointEntry] = {}
    trashed: list[tuple[int, int]] = []
    for save in range(1, 60):
        turn = chance.random()
        if turn < 0.5 or not live:
            older = chance.sample(sorted(live), min(len(live), chance.randrange(3)))
            entry = job.save(save, *older)
            live[entry.place] = entry
        elif turn < 0.65:
            job.write(save)
        elif turn < 0.85:
            place = chance.choice(sorted(live))
            trashed.append(place)
            job.trash(place)
            del live[place]
        elif turn < 0.95:
            job.clock.advance(chance.random() * HOUR_S)
            job.swept()
        else:
            job.begin()
        needed = {key for place in live for key in job.said[place]}
        assert needed <= job.held(), job.bucket.story()
    job.clock.advance(HOUR_S)
    job.swept()
    job.begin()
    sweeping.delete(job.objects, sweeping.orphans(job.objects, job.writer.head, job.needs))
    assert job.held() == {key for place in live for key in (*job.said[place], names.checkpoint_key(*place))}


def test_maintenance_joins_the_epoch_and_fences_nobody(job: Job) -> None:
    """Somebody takes checkpoints away by hand while the job runs; a new writer ends the maintenance."""
    job.save(1)
    janitor = HeadWriter.join(job.bucket.handle("janitor"), job.clock)
    assert janitor is not None
    janitor.publish(lambda head: catalogue.trash(job.objects, job.clock, head, [(1, 1)]))
    job.save(2)
    assert [entry.save for entry in job.writer.head.checkpoints] == [2]
    assert len(job.writer.head.trash) == 1
    assert HeadWriter.join(SimulatedBucket().handle(), job.clock) is None
