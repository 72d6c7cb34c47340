"""The enumeration of crashes: it goes through exactly what is legal, and finds stores that are broken."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from crash_phases import PHASES
from crash_states import Bound, States
from crashes import GOALS, Run, units
from oracle import files_of
from workloads import BY_NAME

from journalkit.testing import SimulatedDisk

EVERYTHING = Bound(99, 99)


def image_of(disk: SimulatedDisk) -> tuple[tuple[str, bytes], ...]:
    """Return what a disk holds, in a form that can be told apart."""
    return tuple(sorted(files_of(disk, "/").items()))


def legal(disk: SimulatedDisk) -> set[tuple[tuple[str, bytes], ...]]:
    """Return every state that the disk itself may leave, by going through all answers to all of its questions."""
    found = set()
    answers: list[int] = []
    while True:
        asked: list[int] = []

        def choose(options: int, asked: list[int] = asked, answers: list[int] = answers) -> int:
            asked.append(options)
            return answers[len(asked) - 1] if len(asked) <= len(answers) else 0

        found.add(image_of(disk.crash(choose)))
        answers = [*answers, *[0] * (len(asked) - len(answers))][: len(asked)]
        while answers and answers[-1] + 1 >= asked[len(answers) - 1]:
            answers.pop()
        if not answers:
            return found
        answers[-1] += 1


def enumerated(disk: SimulatedDisk, bound: Bound) -> set[tuple[tuple[str, bytes], ...]]:
    """Return the states that are gone through."""
    images = list(States(disk, bound).images())
    by_digest = {image.digest: image_of(image.disk()) for image in images}
    assert len(by_digest) == len(set(by_digest.values()))
    return set(by_digest.values())


def names_and_bytes(disk: SimulatedDisk) -> None:
    """Leave names, lengths and bytes pending."""
    disk.make_directory("/d")
    disk.sync_directory("/")
    file = disk.create("/d/old")
    file.pwrite(b"old", 0)
    file.sync()
    disk.sync_directory("/d")
    new = disk.create("/d/new")
    new.pwrite(b"n" * 700, 0)
    new.truncate(600)
    disk.rename("/d/new", "/d/old")


def overlapping_writes(disk: SimulatedDisk) -> None:
    """Leave writes pending that lie over one another, behind one whose sync failed."""
    file = disk.create("/f")
    disk.sync_directory("/")
    file.allocate(0, 2000)
    file.sync()
    file.pwrite(b"a" * 600, 300)
    disk.fail("sync_data", 1, errno.EIO)
    with pytest.raises(OSError, match="error"):
        file.sync_data()
    file.pwrite(b"b" * 10, 505)
    file.pwrite(b"c", 2100)


@pytest.mark.parametrize("prepare", [names_and_bytes, overlapping_writes])
def test_without_a_bound_exactly_the_legal_states_are_gone_through(prepare: Callable[[SimulatedDisk], None]) -> None:
    """Nothing that can happen is left out, and nothing is judged that can't."""
    disk = SimulatedDisk()
    prepare(disk)
    assert enumerated(disk, EVERYTHING) == legal(disk)


def test_within_the_bound_states_are_legal_and_hold_the_extremes() -> None:
    """All kept and all lost are the bases; a bound only leaves out."""
    disk = SimulatedDisk()
    names_and_bytes(disk)
    found = enumerated(disk, Bound(1, 0))
    assert {image_of(disk.crash("all")), image_of(disk.crash("none"))} <= found < legal(disk)


def test_an_image_becomes_a_disk_on_which_all_is_durable() -> None:
    """What is opened has to be what was hashed, after another cut too."""
    disk = SimulatedDisk()
    names_and_bytes(disk)
    for image in States(disk).images():
        copy = image.disk()
        assert image_of(copy) == image_of(copy.crash("none")) == image_of(copy.crash("all"))


def test_a_small_workload_survives_every_crash() -> None:
    """The proof itself, on a piece that takes seconds."""
    outcome = Run(BY_NAME["folds_of_nothing_new"], 5, Bound(1, 0)).go()
    assert outcome.failures == []
    assert outcome.counts["states"] > 100
    assert outcome.counts["judged by all"] > 5


def test_parts_of_a_workload_share_its_states_and_repeat_none() -> None:
    """Counts are summed over parts, so a state may be in one of them only."""
    whole = Run(BY_NAME["folds_of_nothing_new"], 5, Bound(0, 0), share=0).go().counts
    parts = [
        Run(BY_NAME["folds_of_nothing_new"], 5, Bound(0, 0), {}, 3, part, share=0).go().counts for part in range(3)
    ]
    assert sum(part["states"] for part in parts) == whole["states"]
    assert sum(part.get("points", 0) for part in parts) == whole["points"]


def test_units_are_the_same_each_time_and_names_are_unique() -> None:
    """A run that is resumed finds its units by name."""
    for size in ("ci", "full"):
        names = [unit.name for unit in units(size, 1)]
        assert len(names) == len(set(names)) >= 40
        assert list(units(size, 1)) == list(units(size, 1))
    assert {f"states in {phase}" for phase in PHASES} <= {goal.count for goal in GOALS}


# Canaries: file systems and stores that break a promise.


class _Lying:
    """A file system in front of another, without something that it should do."""

    def __init__(self, inner: Any, without: str) -> None:
        self._inner = inner
        self._without = without

    def __getattr__(self, name: str) -> Any:
        if name == self._without:
            return lambda *_arguments: None
        found = getattr(self._inner, name)
        if name in ("create", "open_write"):
            return lambda path: _Lying(found(path), self._without)
        return found


@pytest.mark.parametrize("without", ["sync_directory", "sync_data", "sync"])
def test_canary_a_file_system_that_skips_a_sync_is_found(without: str) -> None:
    """If this passes unnoticed, nothing that the proof says means anything."""
    told = Run(BY_NAME["durable_appends"], 1, Bound(1, 0)).go(wrap=lambda disk: _Lying(disk, without)).failures[0]
    for part in ("workload durable_appends", "power cut before", "wrong:", "left:", "the last operations were:"):
        assert part in told


def test_canary_an_acknowledgement_before_its_sync_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """PITFALLS 8: the store itself is broken, the disk is honest."""
    from journalkit.log import attempt

    monkeypatch.setattr(attempt.SyncAttempts, "run", lambda _self: None)
    outcome = Run(BY_NAME["durable_appends"], 1, Bound(1, 1)).go()
    assert any("acknowledged" in told for told in outcome.failures)


def test_canary_a_table_published_without_its_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """PITFALLS 4: a kernel keeps the order of two renames in a directory; nobody promised that it does."""
    from journalkit.snapshot import writer

    def careless(fs: Any, directory: str, temporary: str, name: str) -> None:
        fs.rename(f"{directory}/{temporary}", f"{directory}/{name}")

    monkeypatch.setattr(writer, "publish_file", careless)
    told = Run(BY_NAME["folds_of_nothing_new"], 1, Bound(1, 0), share=0).go().failures
    assert any("passed over" in one for one in told)


class _Buffering(_Lying):
    """Files whose writes stay in the process until they are synced."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner, "")
        self._writes: list[tuple[bytes, int]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return (lambda path: _Buffering(found(path))) if name in ("create", "open_write") else found

    def pwrite(self, data: Any, offset_bytes: int, /) -> int:
        self._writes.append((bytes(data), offset_bytes))
        return len(data)

    def sync_data(self) -> None:
        for data, offset_bytes in self._writes:
            self._inner.pwrite(data, offset_bytes)
        self._writes.clear()
        self._inner.sync_data()

    def sync(self) -> None:
        self.sync_data()


def test_canary_a_commit_that_a_kill_loses_is_found() -> None:
    """Under every mode what returned is in the kernel's hands at least: nothing waits in the process."""
    outcome = Run(BY_NAME["never_synced"], 1, Bound(0, 0), share=0).go(wrap=_Buffering)
    assert any("as a kill leaves it" in told for told in outcome.failures)
