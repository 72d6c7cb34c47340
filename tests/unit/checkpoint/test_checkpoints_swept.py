"""Who deletes beside who saves: nothing that is needed goes, and what was saved was saved."""

from __future__ import annotations

import threading

import pytest

from journalkit.checkpoint.retention import Keep
from journalkit.errors import ArchiveUnavailableError
from journalkit.format import names
from tests.unit.checkpoint.conftest import Place, state


@pytest.mark.parametrize("at", ["packs/", "manifests/", "pages/"])
def test_a_prune_leaves_alone_what_is_saved_while_it_looks_around(place: Place, at: str) -> None:
    """Another thread of the same handle saves behind the head that the prune has read."""
    job = place.open()
    job.save(state(1))

    def interfere(_who: str, operation: str, key: str) -> None:
        if operation == "list" and key == at:
            place.bucket.before = None
            job.save(state(2))

    place.bucket.before = interfere
    job.prune()
    assert [each.load()["step"] for each in job] == [2, 1]


def test_a_prune_leaves_alone_what_is_published_while_it_looks_around(place: Place) -> None:
    """The save was under way when the head was read, and has ended when the packs are listed."""
    job = place.open()
    job.save(state(1))
    has_looked, is_saved = threading.Event(), threading.Event()
    pruner = threading.Thread(target=job.prune)

    def interfere(_who: str, operation: str, key: str) -> None:
        if operation == "put" and key.startswith(names.MANIFESTS):
            pruner.start()
            has_looked.wait(10)
        elif (operation, key) == ("list", names.PACKS):
            has_looked.set()
            is_saved.wait(10)

    place.bucket.before = interfere
    job.save(state(2))
    is_saved.set()
    pruner.join()
    assert [each.load()["step"] for each in job] == [2, 1]


def test_a_save_that_is_published_has_succeeded_though_nothing_can_be_swept(place: Place) -> None:
    """The page that the sweep asks for can't be read just now."""
    job = place.open()
    for number in range(201):
        job.save({"step": number})
    job.delete("1.150")
    place.clock.advance(3601)
    place.bucket.fail("get", 1, "unavailable", times=None, key_contains=names.PAGES)
    with pytest.raises(ArchiveUnavailableError):
        list(job)
    assert job.save({"step": 201}).save == 202


def test_a_prune_takes_what_somebody_else_sweeps_meanwhile_for_no_damage(place: Place) -> None:
    """A job sweeps by itself beside its janitor: nobody is told to delete what is gone."""
    job = place.open(keep=Keep(last=1), trash_period=0)
    job.save(state(0))
    janitor = place.open("janitor", mode="maintain", trash_period=0)

    def sweep(who: str, operation: str, key: str) -> None:
        if (who, operation) == ("janitor", "get") and key.startswith(names.MANIFESTS):
            place.bucket.before = None
            job.save(state(1))

    place.bucket.before = sweep
    assert janitor.prune().leaving == ()
    assert [each.id for each in job] == ["1.2"]
