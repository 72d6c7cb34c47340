"""Looking on as checkpoints are published: each is told once, what was missed is told, and waiting costs little."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from journalkit.checkpoint import watching
from journalkit.checkpoint.retention import Keep
from journalkit.checkpoint.watching import Notice
from journalkit.errors import (
    ArchiveUnavailableError,
    CheckpointNotFoundError,
    ClosedError,
    CorruptionError,
    UsageError,
)
from journalkit.format import names
from tests.unit.checkpoint.conftest import Place


def words(notice: Notice) -> str:
    """Return a notice in short."""
    if notice.checkpoint is not None:
        assert notice.epoch == notice.checkpoint.epoch
        return notice.checkpoint.id
    if notice.kind == "gap":
        return f"gap {notice.epoch}.{notice.first_save}-{notice.last_save}"
    return f"{notice.kind} {notice.epoch}" if notice.kind == "epoch" else notice.kind


def told(notices: Iterator[Notice]) -> list[str]:
    """Return what is told until the time is up."""
    return [words(notice) for notice in notices]


class Acting:
    """A clock for one who looks on: while it sleeps, others act, one step each time."""

    def __init__(self, place: Place, *steps: Any) -> None:
        self._place = place
        self._steps = list(steps)
        self.slept: list[float] = []

    def sleep(self, duration_s: float) -> None:
        self.slept.append(duration_s)
        self._place.clock.advance(duration_s)
        if self._steps:
            self._steps.pop(0)()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place.clock, name)


def looking(place: Place, *steps: Any, **options: Any) -> tuple[list[str], list[float]]:
    """Return what a reader is told while others take some steps, and how long it slept."""
    acting = Acting(place, *steps)
    reader = place.open("reader", mode="r")
    reader._clock = acting  # type: ignore[assignment]
    found = told(reader.watch(**{"timeout": 60, **options}))
    return found, acting.slept


def test_each_is_told_as_it_is_published_and_none_that_was_there(place: Place) -> None:
    """From the call on, in order, several at once too."""
    job = place.open()
    job.save(1)

    def two() -> None:
        job.save(3)
        job.save(4)

    found, _ = looking(place, lambda: job.save(2), lambda: None, two)
    assert found == ["1.2", "1.3", "1.4"]


def test_what_is_published_between_the_call_and_the_first_look_is_told(place: Place) -> None:
    """A program that watches, and then starts the job, misses nothing."""
    job = place.open()
    notices = place.open("reader", mode="r").watch(timeout=0)
    job.save(1)
    assert told(notices) == ["1.1"]


def test_waiting_costs_one_list_a_look(place: Place) -> None:
    """However many checkpoints there are; a new one costs its head."""
    job = place.open()
    for number in range(3):
        job.save(number)
    before = len(place.bucket.history())
    looking(place, timeout=10, interval=1)
    mine = [line.split()[2] for line in place.bucket.history()[before:] if " reader " in line]
    # Opening and the call itself look at the head once each.
    assert mine == ["list", "get", "list", "get", *["list"] * 11]
    before = len(place.bucket.history())
    looking(place, lambda: job.save(9), timeout=10, interval=1)
    mine = [line.split()[2] for line in place.bucket.history()[before:] if " reader " in line]
    assert mine[4:] == ["list", "list", "get", *["list"] * 9]


def test_from_one_on_those_that_are_there_come_first(place: Place) -> None:
    """By id, by name, by itself; back through the pages."""
    job = place.open()
    for number in range(1, 251):
        job.save(number, name="named" if number == 249 else None)
    reader = place.open("reader", mode="r")
    assert told(reader.watch(since="1.1", timeout=0)) == [f"1.{number}" for number in range(1, 251)]
    for since in ("1.249", "named", reader.get("named")):
        assert told(reader.watch(since=since, timeout=0)) == ["1.249", "1.250"]
    assert told(reader.watch(since="latest", timeout=0)) == ["1.250"]


def test_another_writer_is_told(place: Place) -> None:
    """At once, though it has saved nothing; and behind what the one before has published."""
    job = place.open()

    def taken_over() -> None:
        job.save(1)
        place.open("next").save(2)
        place.open("third")

    found, _ = looking(place, taken_over)
    assert found == ["1.1", "epoch 2", "2.1", "epoch 3"]


def test_what_was_let_go_meanwhile_is_told_as_a_gap(place: Place) -> None:
    """By its number, in front of what came behind it; by the trash, if nothing did."""
    job = place.open(keep=Keep(last=1))
    job.save(0)

    def many() -> None:
        for number in range(5):
            job.save(number)

    found, _ = looking(place, many, lambda: job.delete(job.save(9)))
    assert found == ["gap 1.2-5", "1.6", "gap 1.7-7"]


def test_a_gap_ends_with_its_epoch(place: Place) -> None:
    """Numbers begin at 1 with each writer."""
    job = place.open(keep=Keep(last=1))
    job.save(0)

    def two_writers() -> None:
        job.save(1)
        job.delete(job.save(2))
        other = place.open("next", keep=Keep(last=1))
        other.save(3)
        other.save(4)

    found, _ = looking(place, two_writers)
    assert found == ["gap 1.2-3", "epoch 2", "gap 2.1-1", "2.2"]


def test_one_that_is_gone_may_be_where_to_begin(place: Place) -> None:
    """Whoever looked on yesterday goes on from there."""
    job = place.open(keep=Keep(last=2), trash_period=0)
    for number in range(1, 6):
        job.save(number)
    reader = place.open("reader", mode="r")
    assert told(reader.watch(since="1.2", timeout=0)) == ["gap 1.2-3", "1.4", "1.5"]
    with pytest.raises(CheckpointNotFoundError):
        reader.watch(since="nobody")


def test_a_place_without_a_checkpoint_is_looked_at_until_there_is_one(place: Place) -> None:
    """A job that has begun and not saved yet."""
    job = place.open()
    found, slept = looking(place, lambda: None, lambda: job.save(1), interval=timedelta(seconds=20))
    assert found == ["1.1"]
    assert slept == [20, 20, 20]


def test_a_place_that_cant_be_reached_is_said_once_and_asked_less_often(place: Place) -> None:
    """Nothing is missed: what was published meanwhile is told once it answers."""
    job = place.open()

    def broken() -> None:
        job.save(1)
        place.bucket.fail("list", 1, "unavailable", times=3)

    found, slept = looking(place, broken, lambda: None, lambda: None, lambda: job.where, interval=1, timeout=40)
    assert found == ["unavailable", "1.1"]
    assert slept[:6] == [1, 2, 4, 8, 1, 1]


def test_a_page_that_cant_be_reached_loses_nothing(place: Place) -> None:
    """All of a look is told, or the next look has it."""
    job = place.open()
    for number in range(1, 206):
        job.save(number)
    place.bucket.fail("get", 3, "unavailable")  # head of the open, head of the look, page
    found, _ = looking(place, since="1.90", interval=1, timeout=3)
    assert found == ["unavailable", *[f"1.{number}" for number in range(90, 206)]]


def test_a_page_that_is_swept_meanwhile_is_no_damage(place: Place) -> None:
    """The newest head says what is there instead; without one it is damage."""
    job = place.open(trash_period=0)
    for number in range(1, 206):
        job.save(number)
    beside = place.open("beside", mode="maintain", trash_period=0)
    notices = place.open("reader", mode="r").watch(since="1.98", timeout=0)

    def before(who: str, operation: str, key: str) -> None:
        if (who, operation) == ("reader", "get") and key.startswith(names.PAGES):
            place.bucket.before = None
            beside.delete("1.99")
            place.bucket.handle().delete(key)  # as a prune of the job's own does

    place.bucket.before = before
    assert told(notices)[:3] == ["1.98", "gap 1.99-99", "1.100"]
    [page] = [key for key in place.bucket.contents() if key.startswith(names.PAGES)]
    place.flip(page)
    with pytest.raises(CorruptionError):
        told(place.open("reader", mode="r").watch(since="1.98", timeout=0))


def test_pages_that_are_always_swept_are_an_outage(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at again later."""
    job = place.open()
    for number in range(1, 206):
        job.save(number)
    monkeypatch.setattr(watching, "_LOOKS_MAX", 0)
    notices = place.open("reader", mode="r").watch(since="1.98", timeout=0)
    assert told(notices) == ["unavailable"]


def test_pauses_end_with_the_time(place: Place) -> None:
    """And get no longer than a minute."""
    place.open()
    _, slept = looking(place, lambda: place.bucket.fail("list", 1, "unavailable", times=None), timeout=1000.5)
    place.bucket.mend()
    assert max(slept) == watching.PAUSE_MAX_S
    assert sum(slept) == 1000.5


def test_a_place_that_cant_be_reached_at_the_call_is_an_error(place: Place) -> None:
    """From when on it should look nobody could say."""
    reader = place.open() and place.open("reader", mode="r")
    place.bucket.fail("list", 1, "unavailable")
    with pytest.raises(ArchiveUnavailableError):
        reader.watch()


def test_a_damaged_head_ends_it(place: Place) -> None:
    """Nothing is guessed from what isn't whole."""
    job = place.open()
    notices = place.open("reader", mode="r").watch()
    job.save(1)
    place.flip(names.head_key(2))
    with pytest.raises(CorruptionError):
        next(notices)


def test_it_ends_with_its_handle(place: Place) -> None:
    """Closed in another thread, or by the loop itself."""
    job = place.open()
    reader = place.open("reader", mode="r")
    notices = reader.watch()
    job.save(1)
    assert words(next(notices)) == "1.1"
    reader.close()
    with pytest.raises(ClosedError):
        next(notices)
    with pytest.raises(ClosedError):
        reader.watch()


@pytest.mark.parametrize(
    "options",
    [
        {"interval": 0}, {"interval": -1}, {"interval": 100_000}, {"interval": float("nan")}, {"interval": "1"},
        {"timeout": -1}, {"timeout": float("nan")}, {"timeout": "1"}, {"since": 5},
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_no_sense_is_refused_at_the_call(place: Place, options: dict[str, Any]) -> None:
    """Not by the first look."""
    job = place.open()
    with pytest.raises(UsageError):
        job.watch(**options)
