"""What a store doesn't need any more it gives back to the file system while it is open, not when it is closed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import journalkit


def held_though_removed(folder: Path) -> list[str]:
    """Return the removed files below a folder that this process still holds, with their disk space."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
        if target.startswith(str(folder)) and target.endswith(" (deleted)"):
            found.append(Path(target).name)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which files are open")
def test_the_snapshot_that_a_store_was_opened_with_is_given_back_when_it_is_pruned(tmp_path: Path) -> None:
    """It was held until the store was closed: a full disk got no room from folding, however often."""
    with journalkit.open(tmp_path / "store", compaction="manual") as store:
        store.update(dict.fromkeys(range(100), "x" * 1000))
        store.compact()
    with journalkit.open(tmp_path / "store", compaction="manual", keep_snapshots=1) as store:
        first = store.view()
        store[0] = 1
        store.compact()
        assert len(held_though_removed(tmp_path)) == 1, "the view needs it"
        first.close()
        assert held_though_removed(tmp_path) == []
        store[0] = 2
        store.compact()
        assert held_though_removed(tmp_path) == []
        assert store[0] == 2
