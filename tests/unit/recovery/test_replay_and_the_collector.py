"""Replay keeps out of the cyclic collector's way: a program with a large heap opens a store as fast as a small one."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

import journalkit
from journalkit.testing import SimulatedClock, SimulatedDisk

COUNT = 5000


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """Generations as they are collected, from the smallest number of new objects on."""
    seen: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    gc.collect()
    before = gc.get_threshold()
    gc.callbacks.append(note)
    gc.set_threshold(COUNT // 5, 5, 5)
    yield seen
    gc.set_threshold(*before)
    gc.callbacks.remove(note)


@pytest.mark.parametrize("batch", [1, 10, 100])
@pytest.mark.parametrize("mode", ["r", "rw"])
def test_a_replay_starts_no_collection(collections: list[int], batch: int, mode: str) -> None:
    """Each would look at all that the program holds, for nothing."""
    disk, clock = SimulatedDisk(), SimulatedClock(seed=1)
    store = journalkit.open("/s", fs=disk, clock=clock, compaction="manual", sync="never")
    for first in range(0, COUNT, batch):
        store.update({number: b"v" * (number % 7 if batch == 10 else 3) for number in range(first, first + batch)})
    store.sync()
    store.close()
    gc.collect()
    del collections[:]
    with journalkit.open("/s", fs=disk, clock=clock, compaction="manual", mode=mode) as again:
        assert again.recovery_report.records_replayed == COUNT // batch
        assert collections == []
        assert not gc.is_tracked(again._engine.layers.active.entries)
        assert len(again) == COUNT
