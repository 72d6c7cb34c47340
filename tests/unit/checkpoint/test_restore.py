"""An older checkpoint as the newest again: nothing is copied, a job that runs is fenced, and it can be undone."""

from __future__ import annotations

from typing import Any

import pytest

from journalkit.checkpoint.checkpoints import Checkpoints
from journalkit.checkpoint.open import open_on
from journalkit.checkpoint.retention import Keep
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointNotFoundError,
    CorruptionError,
    FencedError,
    JournalError,
    ReadOnlyError,
    UnknownOutcomeError,
    UsageError,
)
from journalkit.format import names
from journalkit.testing import SimulatedBucket
from tests.unit.checkpoint.conftest import Place, needed, state


class KilledError(BaseException):
    """The process is no more."""


class Sink:
    """One that notes what it is asked for."""

    name = "rows"

    def __init__(self) -> None:
        self.recovered: list[Any] = []
        self.is_broken = False

    def prepare(self) -> Any:
        return "rows since the last one"

    def commit(self, handle: Any) -> None:
        if self.is_broken:
            raise OSError(handle)

    def recover(self, handles: Any) -> None:
        self.recovered = list(handles)


def saved_twice(place: Place, **options: Any) -> Checkpoints:
    """Return a job with two checkpoints, the first of which has a name."""
    job = place.open(**options)
    job.save(state(1), offsets={"in": 1}, metadata={"git": "abc"}, metrics={"loss": 0.5}, name="good")
    place.clock.advance(60)
    job.save(state(2), offsets={"in": 2})
    return job


def test_the_older_one_is_the_newest_again_and_says_what_it_restores(place: Place) -> None:
    """With all that was said with it, under an id and a time of its own, and without its name."""
    job = saved_twice(place)
    place.clock.advance(60)
    made = job.restore("good")
    assert job.latest() == made
    assert (made.id, made.restores, made.name, made.load()) == ("1.3", "1.1", "", state(1))
    assert (made.offsets, made.metadata, made.metrics) == ({"in": 1}, {"git": "abc"}, {"loss": 0.5})
    assert made.time > job.get("1.2").time
    assert [each.restores for each in place.open("reader", mode="r")] == ["1.1", "", ""]
    assert made.manifest.said.restores == "1.1"
    assert (job.get("good").id, made.verify()) == ("1.1", [])
    assert job.restore("1.1", name="better").name == "better"


def test_nothing_is_written_but_a_manifest_and_a_head(place: Place) -> None:
    """However large the state is."""
    job = saved_twice(place)
    before = set(place.bucket.contents())
    made = job.restore(job.get("1.1"))
    assert set(place.bucket.contents()) - before == {names.checkpoint_key(1, 3), names.head_key(4)}
    assert made.manifest.packs().keys() == job.get("1.1").manifest.packs().keys()


def test_a_restore_is_undone_by_another(place: Place) -> None:
    """What was the newest before is as good as it was."""
    job = saved_twice(place)
    job.restore("1.1")
    undone = job.restore("1.2")
    assert (undone.load(), undone.restores) == (state(2), "1.2")
    assert job.restore(undone).restores == undone.id


def test_the_next_save_stands_on_it_and_writes_what_changed(place: Place) -> None:
    """It is a base as any other."""
    job = saved_twice(place)
    job.restore("1.1")
    next_one = job.save({**state(1), "step": 9})
    assert names.pack_key(1, 4, 0) not in place.bucket.contents()
    assert next_one.load()["step"] == 9


def test_it_stays_whole_when_the_other_is_deleted_and_swept(place: Place) -> None:
    """Packs are needed by whoever names them."""
    job = saved_twice(place, trash_period=0)
    made = job.restore("1.1")
    job.delete("1.1", "1.2")
    job.prune(Keep(last=1))
    assert made.load() == state(1)
    assert place.data() == needed(job)
    assert [each.restores for each in job] == ["1.1"]


def test_a_job_that_runs_is_fenced_by_whoever_restores(place: Place) -> None:
    """It went on from something else; its next save would hide what was restored."""
    running = saved_twice(place)
    made = place.open("operator").restore("1.1")
    assert made.id == "2.1"
    with pytest.raises(FencedError):
        running.save(state(3))
    newest = place.open("next").latest()
    assert newest is not None
    assert newest.id == made.id


def test_one_that_is_deleted_meanwhile_is_not_restored(place: Place) -> None:
    """Its bytes may be gone any moment; nothing of the try is left."""
    job = saved_twice(place)
    beside = place.open("beside", mode="maintain", trash_period=0)

    def before(who: str, operation: str, key: str) -> None:
        if (who, operation, key.startswith(names.HEADS)) == ("writer", "create", True):
            place.bucket.before = None
            beside.delete("1.1")
            beside.prune()

    place.bucket.before = before
    with pytest.raises(CheckpointNotFoundError, match="deleted meanwhile"):
        job.restore("1.1")
    assert [each.id for each in job] == ["1.2"]
    assert place.data() == needed(job)


def test_one_that_is_swept_before_its_packs_are_looked_at_is_gone_and_not_damaged(place: Place) -> None:
    """What was deleted on purpose is no corruption."""
    job = saved_twice(place)
    beside = place.open("beside", mode="maintain", trash_period=0)

    def before(who: str, operation: str, _key: str) -> None:
        if (who, operation) == ("writer", "status"):
            place.bucket.before = None
            beside.delete("1.1")
            beside.prune()

    place.bucket.before = before
    with pytest.raises(CheckpointNotFoundError, match="was deleted"):
        job.restore("1.1")


@pytest.mark.parametrize("damage", ["pack", "manifest"])
def test_one_that_isnt_whole_is_not_restored(place: Place, damage: str) -> None:
    """The newest stays what it was."""
    job = saved_twice(place)
    key = names.pack_key(1, 1, 0) if damage == "pack" else names.checkpoint_key(1, 1)
    place.bucket.handle().delete(key)
    with pytest.raises(CorruptionError, match="missing"):
        place.open("operator").restore("1.1")
    newest = place.open("next").latest()
    assert newest is not None
    assert newest.id == "1.2"
    assert job.where


def test_the_newest_sound_one_is_restored_where_newer_ones_are_damaged(place: Place) -> None:
    """So that what is listed as the newest is what is loaded."""
    saved_twice(place)
    place.bucket.handle().delete(names.checkpoint_key(1, 2))
    with pytest.warns(UserWarning, match="passed over"):
        made = place.open("operator").restore("latest")
    assert (made.restores, made.load()) == ("1.1", state(1))


def test_what_cant_be_restored_is_refused(place: Place) -> None:
    """And nothing is written."""
    job = saved_twice(place)
    other = Place(seed=1)
    foreign = saved_twice(other).get("1.1")
    before = place.bucket.contents()
    for which in ("9.9", "nobody", foreign):
        with pytest.raises(CheckpointNotFoundError):
            job.restore(which)
    for name in ("latest", "", 5):
        with pytest.raises(UsageError):
            job.restore("1.1", name=name)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        job.restore(11)  # type: ignore[arg-type]
    for mode in ("r", "maintain"):
        with pytest.raises(ReadOnlyError):
            place.open("looker", mode=mode).restore("1.1")
    assert place.bucket.contents() == before
    other.end()


def test_outputs_that_were_prepared_go_with_it(place: Place) -> None:
    """Whoever goes on from there commits them, as one that goes on from the other would have."""
    job, sink = place.open(), Sink()
    sink.is_broken = True
    with pytest.raises(OSError, match="rows since"):
        job.save(state(1), sinks=[sink])
    job.save(state(2))
    place.open("operator").restore("1.1")
    found = place.open("next").load_latest(sinks=[sink])
    assert found is not None
    assert (found[0], sink.recovered) == (state(1), ["rows since the last one"])
    with pytest.raises(UsageError, match="'rows'"):
        place.open("forgetful").load_latest()


def test_a_copy_in_another_place_restores_nothing(place: Place) -> None:
    """There the id is another checkpoint's."""
    made = saved_twice(place).restore("1.1")
    other = Place()
    copied = other.open().copy_from(made)
    assert (copied.restores, copied.manifest.said.restores, copied.load()) == ("", "", state(1))
    other.end()


def restoring(seed: int = 0) -> tuple[SimulatedBucket, Place, Checkpoints]:
    """Return a place where somebody is about to restore, with the handle for it."""
    place = Place(seed)
    saved_twice(place)
    return place.bucket, place, place.open("operator")


def operations_of_a_restore() -> int:
    """Return how many there are."""
    bucket, place, job = restoring()
    before = bucket.operation_count
    job.restore("1.1")
    count = bucket.operation_count - before
    place.end()
    return count


def test_killed_at_any_operation_the_newest_is_the_old_one_or_the_restored_one() -> None:
    """Never something between, and the next writer sweeps what was left."""
    seen = set()
    for nth in range(1, operations_of_a_restore() + 1):
        bucket, place, job = restoring()
        left = [nth]

        def before(who: str, _operation: str, _key: str, left: list[int] = left) -> None:
            left[0] -= who == "operator"
            if left[0] <= 0 and who == "operator":
                raise KilledError

        bucket.before = before
        with pytest.raises(KilledError):
            job.restore("1.1")
        bucket.before = None
        next_one = place.open("next")
        newest = next_one.latest()
        assert newest is not None
        assert (newest.id, newest.load()) in (("1.2", state(2)), ("2.1", state(1)))
        seen.add(newest.id)
        assert place.data() == needed(next_one)
        place.end()
    assert seen == {"1.2", "2.1"}


@pytest.mark.parametrize("fault", ["unavailable", "refused", "lost-reply", "lost-request", "late"])
@pytest.mark.parametrize("operation", ["get", "list", "status", "put", "create"])
def test_a_bad_network_restores_it_once_or_not_at_all(operation: str, fault: Any) -> None:
    """And an error says which, unless it says that nobody knows."""
    for nth in range(1, 6):
        bucket, place, job = restoring(nth)
        try:
            bucket.fail(operation, nth, fault)
        except ValueError:
            return  # no such operation goes wrong so
        try:
            job.restore("1.1")
            expected = {"2.1"}
        except UnknownOutcomeError:
            expected = {"1.2", "2.1"}
        except JournalError:
            expected = {"1.2"}
        bucket.mend()
        ids = [each.id for each in open_on(bucket.handle("looker"), place.clock, mode="r")]
        assert ids[0] in expected, bucket.story()
        assert len(ids) == 2 + (ids[0] == "2.1")
        place.end()


def test_a_place_that_cant_be_reached_is_said_to_be(place: Place) -> None:
    """Nothing is restored."""
    job = saved_twice(place)
    place.bucket.fail("put", 1, "unavailable", times=None)
    with pytest.raises(ArchiveUnavailableError):
        job.restore("1.1")
    assert len(job) == 2
