"""A power cut at every operation of a job's publishes, in a directory: what was acknowledged stays, and it goes on."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from journalkit.checkpoint.heads import HEADS_KEPT, HeadWriter, newest_head
from journalkit.format.head import CheckpointEntry, Head
from journalkit.objects.directory import TEMPORARIES, DirectoryObjects
from journalkit.testing import PowerCut, SimulatedClock, SimulatedDisk

PUBLISHES = HEADS_KEPT + 3
PROGRAMS = itertools.count()


def objects_on(disk: SimulatedDisk) -> DirectoryObjects:
    """Return a program's own handle."""
    return DirectoryObjects("/job", disk, clock=SimulatedClock(seed=next(PROGRAMS)))


def saves_of(head: Head | None) -> list[int]:
    """Return the numbers of the saves that a head names."""
    return [] if head is None else [known.save for known in head.checkpoints]


def live(disk: SimulatedDisk, acknowledged: list[int]) -> None:
    """Begin, and publish one save after the other."""
    writer = HeadWriter.begin(objects_on(disk), SimulatedClock(seed=next(PROGRAMS)))
    first = len(writer.head.checkpoints)
    acknowledged.append(-1)
    for save in range(first, first + PUBLISHES):
        added = CheckpointEntry(writer.epoch, save, 0, 1, bytes(32))
        writer.publish(lambda head, added=added: replace(head, checkpoints=(*head.checkpoints, added)))  # type: ignore[misc]
        acknowledged.append(save)


@pytest.mark.parametrize("keep", ["all", "none", 1, 2, 3, 4])
def test_a_cut_at_any_operation_leaves_the_newest_published_head(keep: Any) -> None:
    """The newest is the last that was acknowledged, or the one that was being published; and the next life goes on."""
    disk = SimulatedDisk()
    live(disk, [])
    for count in range(1, disk.operation_count + 1, 1 if isinstance(keep, str) else 3):
        disk = SimulatedDisk()
        acknowledged: list[int] = []
        disk.stop_after(count)
        with pytest.raises(PowerCut):
            live(disk, acknowledged)
        after = disk.crash(keep=keep)
        head = newest_head(objects_on(after))
        least = max(acknowledged, default=-1) + 1
        assert saves_of(head) in (list(range(least)), list(range(least + 1))), after.story()
        assert head is not None or not acknowledged, after.story()
        writer = HeadWriter.begin(objects_on(after), SimulatedClock(seed=next(PROGRAMS)))
        assert saves_of(writer.head) == saves_of(head), after.story()
        assert writer.epoch == (head.epoch if head else 0) + 1
        assert all(name.endswith(".lock") for name in after.list(f"/job/{TEMPORARIES}")), after.story()
        assert len(after.list("/job/heads")) <= HEADS_KEPT


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_in_every_life_of_a_job_loses_nothing_acknowledged(seed: int) -> None:
    """Crash after crash: heads are made on top of what the last one left."""
    disk = SimulatedDisk()
    known = 0
    for turn in range(12):
        acknowledged: list[int] = []
        disk.stop_after(7 + (seed * 31 + turn * 17) % 90)
        with pytest.raises(PowerCut):
            live(disk, acknowledged)
        known = max(known, max(acknowledged, default=-1) + 1)
        disk = disk.crash(keep=seed * 100 + turn)
        saves = saves_of(newest_head(objects_on(disk)))
        assert saves == list(range(len(saves)))
        assert known <= len(saves) <= known + 1, disk.story()
        known = len(saves)
