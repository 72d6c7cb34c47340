"""Names that only the kernel knows: an open after a kill acts on nothing that a power cut could still take back."""

from __future__ import annotations

from contextlib import suppress

import journalkit
from journalkit.errors import JournalError
from journalkit.testing import PowerCut, SimulatedClock, SimulatedDisk


def opened(disk: SimulatedDisk) -> journalkit.Store:
    """Open the store, folding only when told."""
    return journalkit.open("/store", fs=disk, clock=SimulatedClock(seed=5), compaction="manual")


def test_a_power_cut_while_opening_after_an_open_that_was_killed_before_its_manifest_was_durable() -> None:
    """The manifest in the cache gives a prepared segment up, which the one on the disk still names as there."""
    disk = SimulatedDisk()
    store = opened(disk)
    store["a"] = 1
    assert store._log is not None
    store._log.prepare_next()
    crashed = disk.process_crash()
    store.close()
    killed = 0
    for count in range(1, 60):
        first = crashed.process_crash()
        first.stop_after(count)
        with suppress(PowerCut):
            opened(first).close()
            break
        if not any(" rename " in line for line in first.history()[-1:]):
            continue
        killed += 1
        for last in range(1, 60):
            second = first.process_crash()
            second.stop_after(last)
            with suppress(PowerCut, JournalError):
                opened(second).close()
                break
            for keep in ("none", "all", *range(12)):
                with opened(second.crash(keep)) as store:
                    assert store == {"a": 1}, second.story()
    assert killed == 1
