"""What an open for writing judges was read from the device: the cache may hold what a failed fsync lost."""

from __future__ import annotations

from typing import Any

import pytest

import journalkit
from journalkit.fs.memory import MemoryFileSystem

PLACE = "/store"


class Watched(MemoryFileSystem):
    """Notes what is opened past the cache."""

    def __init__(self) -> None:
        super().__init__()
        self.direct: list[str] = []

    def open_direct(self, path: str) -> Any:
        self.direct.append(path.rpartition("/")[2])
        return super().open_direct(path)


@pytest.mark.parametrize("mode", ["rw", "r"])
def test_a_writer_reads_the_newest_segment_from_the_device_and_a_reader_does_not(mode: Any) -> None:
    """Segments whose end the manifest names were durable before it was; a reader judges nothing."""
    fs = Watched()
    with journalkit.open(PLACE, fs=fs, compaction="manual") as store:
        store["a"] = 1
    fs.direct.clear()
    newest = [name for name in fs.list(PLACE) if name.startswith("log-")][-1]
    with journalkit.open(PLACE, fs=fs, compaction="manual", mode=mode) as store:
        assert store["a"] == 1
    assert (newest in fs.direct) == (mode == "rw")
