"""Damage, other writers, a bad network, a sudden end: what was acknowledged is there, and nothing half-done is."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from journalkit.checkpoint.checkpoints import Checkpoints
from journalkit.checkpoint.open import open_on
from journalkit.checkpoint.retention import Keep
from journalkit.errors import (
    ArchiveUnavailableError,
    CorruptionError,
    DamagedCheckpointWarning,
    FencedError,
    ReadOnlyError,
    StorageError,
    StoreFullError,
    StoreNotFoundError,
    UnknownOutcomeError,
    UsageError,
)
from journalkit.format import names
from journalkit.testing import SimulatedBucket
from tests.unit.checkpoint.conftest import LONG, Place, needed, state


def test_a_damaged_checkpoint_is_passed_over_and_said_so(place: Place) -> None:
    """Its bytes are wrong: only who loads it can see that."""
    job = place.open()
    good = job.save(state(1))
    bad = job.save(state(2))
    place.flip(names.pack_key(1, 2, 0))
    assert job.latest() == bad
    with pytest.raises(CorruptionError, match="load an older"):
        bad.load()
    assert len(bad.verify()) == 1
    assert good.verify() == []
    with pytest.warns(DamagedCheckpointWarning, match=r"1\.2 is damaged and passed over"):
        loaded = job.load_latest()
    assert loaded == (state(1), good)
    assert loaded is not None
    assert [names.pack_key(1, 2, 0) in str(error) for error in loaded[1].skipped] == [True]


@pytest.mark.parametrize("damage", ["manifest", "no manifest", "no pack", "short pack"])
def test_what_can_be_seen_without_reading_all_of_it_is_seen_by_the_latest(place: Place, damage: str) -> None:
    """A pack that isn't there, or not all of it, or a manifest that isn't whole."""
    job = place.open()
    good = job.save(state(1))
    job.save(state(2))
    pack, manifest = names.pack_key(1, 2, 0), names.checkpoint_key(1, 2)
    if damage == "manifest":
        place.flip(manifest)
    elif damage == "short pack":
        place.bucket.handle().put(pack, (place.bucket.contents()[pack][:-1],))
    else:
        place.bucket.handle().delete(manifest if damage == "no manifest" else pack)
    with pytest.warns(DamagedCheckpointWarning):
        found = place.open("next").latest()
    assert found is not None
    assert (found.id, len(found.skipped)) == (good.id, 1)


def test_where_all_are_damaged_nobody_is_told_that_there_are_none(place: Place) -> None:
    """A job that begins anew for that would throw away its work."""
    job = place.open()
    for number in range(3):
        job.save(state(number))
        place.flip(names.pack_key(1, number + 1, 0))
    with pytest.raises(CorruptionError), pytest.warns(DamagedCheckpointWarning):
        job.load_latest()
    for number in range(3):
        place.flip(names.checkpoint_key(1, number + 1))
    with pytest.raises(CorruptionError), pytest.warns(DamagedCheckpointWarning):
        place.open("next").latest()


def test_a_save_doesnt_stand_on_one_whose_manifest_cant_be_read(place: Place) -> None:
    """It writes all anew."""
    place.open().save(state(1))
    place.flip(names.checkpoint_key(1, 1))
    job = place.open("next")
    assert job.save(state(1)).load() == state(1)


def test_a_manifest_in_anothers_place_is_no_checkpoint_of_that_place(place: Place) -> None:
    """Whole bytes, and of another save: the head says what belongs there."""
    job = place.open()
    job.save(state(1))
    job.save(state(2))
    there = place.bucket.contents()
    place.bucket.handle().put(names.checkpoint_key(1, 2), (there[names.checkpoint_key(1, 1)],))
    with pytest.warns(DamagedCheckpointWarning):
        found = job.latest()
    assert found is not None
    assert found.id == "1.1"


def test_a_replaced_writer_is_fenced_and_nothing_of_its_is_seen_or_left(place: Place) -> None:
    """It slept, and another node went on with the job."""
    old = place.open("old")
    old.save(state(1))
    new = place.open("new")
    before = place.data()
    for _ in range(2):
        with pytest.raises(FencedError):
            old.save(state(2))
    assert place.data() == before
    with pytest.raises(FencedError):
        old.delete("1.1")
    assert new.save(state(3)).id == "2.1"
    assert [each.id for each in old] == ["2.1", "1.1"]


def test_a_place_that_ignores_conditions_is_refused_unless_one_writer_is_promised(place: Place) -> None:
    """Two writers would both believe that they are the only one."""
    place.bucket.ignores_conditions = True
    with pytest.raises(UsageError, match="conditional writes"):
        place.open()
    assert place.open(writers="one").save(state(1)).load() == state(1)


def test_writers_that_a_server_lets_share_an_epoch_are_told_at_the_first_save(place: Place) -> None:
    """It checked and wrote in two steps, so that both had begun; the second to save learns that it isn't alone."""
    place.bucket.ignores_conditions = True
    others: list[Checkpoints] = []

    def between(who: str, operation: str, _key: str) -> None:
        if (who, operation) == ("one", "create"):
            place.bucket.before = None
            others.append(place.open("other", writers="one"))

    place.bucket.before = between
    one = place.open("one", writers="one")
    place.bucket.ignores_conditions = False
    assert (one.epoch, others[0].epoch) == (1, 1)
    one.save(state(1))
    with pytest.raises(FencedError, match="several come at once"):
        others[0].save(state(2))
    assert one.save(state(3)).load() == state(3)


def test_a_beginning_that_another_one_replaced_begins_again(place: Place) -> None:
    """Seen when it looks once more: before anything is saved."""
    place.bucket.ignores_conditions = True
    others: list[Checkpoints] = []
    creates = 0

    def between(who: str, operation: str, _key: str) -> None:
        nonlocal creates
        creates += (who, operation) == ("one", "create")
        if (who, operation) == ("one", "list") and creates == 1:
            creates += 1
            place.bucket.handle("other").delete(names.head_key(1))
            others.append(place.open("other", writers="one"))

    place.bucket.before = between
    one = place.open("one", writers="one")
    assert (one.epoch, others[0].epoch) == (2, 1)


def test_maintenance_deletes_beside_the_job_and_saves_nothing(place: Place) -> None:
    """The job isn't fenced by it."""
    job = place.open(trash_period=0)
    for number in range(4):
        job.save(state(number))
    janitor = place.open("janitor", mode="maintain", trash_period=0)
    with pytest.raises(ReadOnlyError):
        janitor.save(state(9))
    janitor.delete("1.1")
    pruned = janitor.prune(Keep(last=1))
    assert [entry.save for entry in pruned.leaving] == [2, 3]
    assert job.save(state(5)).id == "1.5"
    assert [each.id for each in job] == ["1.5", "1.4"]
    with pytest.raises(StoreNotFoundError):
        open_on(SimulatedBucket().handle(), place.clock, mode="maintain")


def test_a_save_whose_base_is_deleted_and_swept_meanwhile_writes_all_anew(place: Place) -> None:
    """Between its pack and its head somebody deletes what it stands on, to the last byte."""
    job = place.open(trash_period=0)
    job.save({"model": bytes(LONG), "step": 1})
    janitor = place.open("janitor", mode="maintain", trash_period=0)

    def interfere(who: str, operation: str, key: str) -> None:
        if (who, operation) == ("writer", "create") and key.startswith(names.HEADS):
            place.bucket.before = None
            janitor.delete("1.1")
            janitor.prune()

    place.bucket.before = interfere
    saved = job.save({"model": bytes(LONG), "step": 2})
    assert saved.id == "1.3"
    assert saved.load() == {"model": bytes(LONG), "step": 2}
    assert place.data() == {names.pack_key(1, 3, 0), names.checkpoint_key(1, 3)}


@pytest.mark.parametrize(("operation", "fault", "error"), [
    ("put", "unavailable", ArchiveUnavailableError), ("put", "full", StoreFullError), ("put", "refused", StorageError),
    ("put", "partial", ArchiveUnavailableError), ("put", "lost-reply", ArchiveUnavailableError),
    ("create", "unavailable", ArchiveUnavailableError), ("create", "full", StoreFullError),
])  # fmt: skip
@pytest.mark.parametrize("nth", [1, 2])
def test_a_failed_save_leaves_the_latest_as_it_was_and_nothing_behind(
    place: Place, operation: str, fault: Any, error: type[Exception], nth: int
) -> None:
    """And the next one works, by the same handle."""
    job = place.open()
    first = job.save(state(1))
    before = place.data()
    if operation == "create" and nth == 2:
        pytest.skip("a save creates one object")
    place.bucket.fail(operation, nth, fault)
    with pytest.raises(error):
        job.save(state(2))
    assert place.data() == before
    assert job.latest() == first
    assert job.save(state(3)).load() == state(3)


@pytest.mark.parametrize("fault", ["lost-reply", "lost-request", "late", "conflict", "retried"])
def test_a_lost_reply_saves_once(place: Place, fault: Any) -> None:
    """Whatever became of the request."""
    job = place.open()
    place.bucket.fail("create", 1, fault)
    job.save(state(1))
    job.save(state(2))
    assert [each.load()["step"] for each in job] == [2, 1]


def test_where_the_storage_never_answers_the_outcome_is_unknown_and_nothing_is_taken_back(place: Place) -> None:
    """It may be published a moment later: then it has to be whole."""
    job = place.open()
    place.bucket.fail("create", 1, "lost-request", times=None)
    with pytest.raises(UnknownOutcomeError):
        job.save(state(1))
    assert place.data() == {names.pack_key(1, 1, 0), names.checkpoint_key(1, 1)}
    assert job.latest() is None
    place.bucket.mend()
    assert job.save(state(2)).id == "1.2"
    assert len(job) == 1


class Killed(BaseException):
    """The program ends here: nothing that it does behind this happens."""


def kill_at(bucket: SimulatedBucket, nth: int) -> Callable[[], bool]:
    """Let the writer die at its nth operation from now on; return what tells whether it did."""
    count = 0

    def before(who: str, _operation: str, _key: str) -> None:
        nonlocal count
        if who == "writer":
            count += 1
            if count >= nth:
                raise Killed

    bucket.before = before
    return lambda: count >= nth


def test_killed_at_every_operation_the_next_one_finds_a_whole_checkpoint_and_no_garbage() -> None:
    """The old one or the new one; and the room that the killed one took is free again."""
    survived = 0
    for nth in range(1, 200):
        place = Place(seed=nth)
        job = place.open(keep=Keep(last=2), trash_period=0)
        acknowledged = 0
        job.save(state(0))
        was_killed = kill_at(place.bucket, nth)
        try:
            for number in range(1, 6):
                job.save(state(number))
                acknowledged = number
        except Killed:
            pass
        place.bucket.before = None
        successor = place.open("next", keep=Keep(last=2), trash_period=0)
        loaded = successor.load_latest()
        assert loaded is not None
        assert loaded[0] == state(loaded[0]["step"])
        assert acknowledged <= loaded[0]["step"] <= acknowledged + 1, place.bucket.story()
        successor.save(state(7))
        successor.prune()
        assert place.data() == needed(successor)
        if not was_killed():
            survived = nth
            break
    assert survived > 20


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_network_does_what_was_acknowledged_is_there_once(seed: int) -> None:
    """By chance, many at a time; once it is well again all that is left is what somebody needs."""
    chance = Random(seed)
    place = Place(seed)
    job = place.open(keep=Keep(last=3), trash_period=5)
    place.bucket.rates = {"unavailable": 0.03, "lost-reply": 0.03, "late": 0.02, "conflict": 0.02, "retried": 0.02}
    acknowledged: list[str] = []
    for number in range(25):
        place.clock.advance(chance.random() * 3)
        try:
            acknowledged.append(job.save(state(number), offsets={0: number}).id)
        except (ArchiveUnavailableError, StorageError, FencedError):
            continue
    place.bucket.mend()
    ids = [each.id for each in job]
    assert len(ids) == len(set(ids))
    # One whose outcome is unknown may be there as well, and let an older one go.
    assert not acknowledged or acknowledged[-1] in ids
    for each in job:
        assert each.load() == state(each.offsets[0])
        assert each.verify() == []
    place.clock.advance(10)
    job.close()
    last = place.open("last", keep=Keep(last=1), trash_period=0)
    last.prune()
    last.prune()
    assert {names.saved_place(key) is not None for key in place.data()} == {True}
    assert place.data() == needed(last)
