"""Names that only the kernel knows: an open after a kill acts on nothing that a power cut could still take back."""

from __future__ import annotations

from contextlib import suppress

import journalkit
from journalkit.errors import JournalError
from journalkit.testing import PowerCut, SimulatedClock, SimulatedDisk


def opened(disk: SimulatedDisk) -> journalkit.Store:
    """Open the store, folding only when told."""
    return journalkit.open(
        "/store", fs=disk, clock=SimulatedClock(seed=5), compaction="manual", keep_snapshots=1, segment_bytes_max=4096
    )


def test_a_power_cut_while_opening_after_a_kill_between_rename_and_sync_loses_nothing() -> None:
    """The manifest in the cache gives files up; removed before its name is durable, the old one has lost them."""
    disk = SimulatedDisk()
    with opened(disk) as store:
        store["a"] = 1
        store.compact()
        store["b"] = 2
    killed = 0
    for count in range(1, 200):
        before = disk.process_crash()
        store = opened(before)
        before.stop_after(count)
        with suppress(PowerCut):
            store.compact()
            store.close()
            break
        with suppress(PowerCut, JournalError):
            store.close()
        if " rename " not in before.history()[-2]:
            continue
        killed += 1
        for last in range(1, 60):
            after = before.process_crash()
            after.stop_after(last)
            with suppress(PowerCut, JournalError):
                opened(after).close()
                break
            for keep in ("none", "all", *range(8)):
                with opened(after.crash(keep)) as store:
                    assert store == {"a": 1, "b": 2}, after.story()
    assert killed >= 3
