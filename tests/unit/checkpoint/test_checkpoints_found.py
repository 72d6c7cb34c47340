"""What is found beside who deletes, and what a save stands on: never nothing where there is something."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from journalkit.checkpoint.checkpoints import Checkpoints
from journalkit.checkpoint.retention import Keep
from journalkit.errors import ArchiveUnavailableError, CheckpointNotFoundError, DamagedCheckpointWarning
from journalkit.format import names
from tests.unit.checkpoint.conftest import LONG, Place, state


def moving_on(place: Place, job: Checkpoints, operation: str, prefix: str, times: int = 1) -> None:
    """Let the job save, and sweep all before it, where a reader is about to do something."""
    left = times

    def before(who: str, asked: str, key: str) -> None:
        nonlocal left
        if left and (who, asked) == ("reader", operation) and key.startswith(prefix):
            left -= 1
            job.save(state(100 + left))

    place.bucket.before = before


@pytest.mark.parametrize("load", [Checkpoints.latest, Checkpoints.load_latest, lambda job: job.get("latest")])
@pytest.mark.parametrize("times", [1, 3])
def test_where_the_latest_is_deleted_while_it_is_looked_at_the_one_behind_it_is_found(
    place: Place, load: Callable[[Checkpoints], Any], times: int
) -> None:
    """A reader that is told of none would begin the job anew."""
    job = place.open(keep=Keep(last=1), trash_period=0)
    job.save(state(0))
    reader = place.open("reader", mode="r")
    moving_on(place, job, "get", names.MANIFESTS, times)
    found = load(reader)
    assert found is not None
    checkpoint = found[1] if isinstance(found, tuple) else found
    assert (checkpoint.id, checkpoint.skipped) == (f"1.{times + 1}", ())


def test_where_the_latest_is_deleted_while_it_is_loaded_the_one_behind_it_is_loaded(place: Place) -> None:
    """And not an older one that happens to stay."""
    job = place.open(keep=Keep(last=1), trash_period=0)
    job.save(state(0), name="stays")
    job.save(state(1))
    reader = place.open("reader", mode="r")
    moving_on(place, job, "get", names.PACKS)
    loaded = reader.load_latest()
    assert loaded is not None
    assert (loaded[0]["step"], loaded[1].id) == (100, "1.3")


def test_a_reader_that_is_always_too_late_is_told_so(place: Place) -> None:
    """There are checkpoints, it got none, and it may try again."""
    job = place.open(keep=Keep(last=1), trash_period=0)
    job.save(state(0))
    for prefix in (names.MANIFESTS, names.PACKS):
        reader = place.open("reader", mode="r")
        moving_on(place, job, "get", prefix, times=1000)
        with pytest.raises(ArchiveUnavailableError, match="retry"):
            reader.load_latest()
        place.bucket.before = None


def test_one_that_is_deleted_while_it_is_verified_is_not_damaged(place: Place) -> None:
    """Nobody is to look for a broken disk."""
    job = place.open(trash_period=0)
    saved = job.save(state(0))
    checkpoint = place.open("reader", mode="r").get(saved.id)
    assert checkpoint.offsets == {}
    job.delete(saved)
    job.prune()
    with pytest.raises(CheckpointNotFoundError):
        checkpoint.verify()


@pytest.mark.parametrize("seen_by", ["load_latest", "load", "verify", "missing"])
def test_a_save_takes_nothing_from_a_checkpoint_that_is_damaged(place: Place, seen_by: str) -> None:
    """What it took would be damaged in each checkpoint from then on, and nothing would ever be sound again."""
    large = Random(1).randbytes(LONG)
    place.open().save({"large": large, "step": 1})
    pack = names.pack_key(1, 1, 0)
    if seen_by == "missing":
        place.bucket.handle().delete(pack)
    else:
        place.flip(pack)
    job = place.open("next")
    damaged = job.get("1.1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedCheckpointWarning)
        if seen_by == "verify":
            assert damaged.verify()
        elif seen_by != "missing":
            with pytest.raises(Exception, match="aren't what was saved"):
                {"load_latest": job.load_latest, "load": damaged.load}[seen_by]()
    saved = job.save({"large": large, "step": 2})
    assert saved.verify() == []
    assert saved.load() == {"large": large, "step": 2}
    assert job.save({"large": large, "step": 3}).manifest.packs().keys() == {names.pack_key(2, 1, 0)}


@pytest.mark.parametrize("ask", [
    lambda job: job.latest(), lambda job: job.load_latest(), lambda job: job.get("latest"),
])  # fmt: skip
@pytest.mark.parametrize("key", [names.checkpoint_key(1, 2), names.pack_key(1, 2, 0)])
def test_a_warning_of_a_damaged_one_points_to_who_asked(
    place: Place, ask: Callable[[Checkpoints], Any], key: str
) -> None:
    """Where the warning is filtered and looked for; Python tells one of each line once."""
    job = place.open()
    job.save(state(1))
    job.save(state(2))
    place.flip(key)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ask(job)
    assert {warning.filename for warning in told} <= {inspect.getfile(ask)}
