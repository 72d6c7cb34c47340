"""Numbers without a successor: a store that has come to one stays readable, and is refused before it is written.

Nobody counts so far; a damaged or a made-up manifest may say it all the same.
Found by the fuzz target `open`: an epoch of 10^16 - 1 opened, and the manifest
that the open then published was one that no reader takes.
"""

from __future__ import annotations

from typing import Any

import pytest

import journalkit
from journalkit.errors import CorruptionError, UnsupportedFormatError
from journalkit.format.manifest import EPOCH_MAX, NUMBER_MAX, decode_manifest, encode_manifest
from journalkit.fs.memory import MemoryFileSystem
from journalkit.testing import SimulatedClock

STORE = "/store"
MANIFEST = f"{STORE}/MANIFEST"


def contents(fs: MemoryFileSystem) -> dict[str, bytes]:
    """Return every file but the lock."""
    found = {}
    for name in fs.list(STORE):
        file = fs.open_read(f"{STORE}/{name}")
        if name != "LOCK":
            found[name] = file.pread(file.size(), 0)
    return found


def store_with(**changes: Any) -> MemoryFileSystem:
    """Return a store of one entry whose manifest says something else, with its checksums right."""
    fs = MemoryFileSystem()
    with journalkit.open(STORE, fs=fs, clock=SimulatedClock(seed=1), compaction="manual") as store:
        store["a"] = 1
    said = decode_manifest(fs.open_read(MANIFEST).pread(1 << 20, 0)).next_generation(**changes)
    file = fs.open_write(MANIFEST)
    file.truncate(0)
    file.pwrite(encode_manifest(said), 0)
    return fs


@pytest.mark.parametrize(
    "changes", [{"epoch": EPOCH_MAX}, {"next_segment": NUMBER_MAX}], ids=str
)
def test_the_manifest_after_the_last_number_is_never_published(changes: dict[str, Any]) -> None:
    """What no reader takes would be the end of the store; what is there stays, and can be copied."""
    fs = store_with(**changes)
    before = contents(fs)
    with pytest.raises(UnsupportedFormatError, match=r"no longer written: (epoch|next_segment) is"):
        journalkit.open(STORE, fs=fs, compaction="manual")
    assert contents(fs) == before
    with journalkit.open(STORE, fs=fs, mode="r") as store:
        assert dict(store) == {"a": 1}


@pytest.mark.parametrize("changes", [{"epoch": 10**16 - 1}, {"next_table": 1 << 63}, {"pruned_lsn": 1 << 62}], ids=str)
def test_a_number_that_nobody_counts_to_is_damage(changes: dict[str, Any]) -> None:
    """An epoch makes numbers of tables, and file names have 16 digits: beyond them no file could be found again."""
    fs = store_with(**changes)
    for mode in ("r", "rw"):
        with pytest.raises(CorruptionError, match="the manifest's body makes no sense"):
            journalkit.open(STORE, fs=fs, mode=mode, compaction="manual")  # type: ignore[arg-type]


def test_the_number_before_the_last_is_used() -> None:
    """The limit is where it is said to be."""
    fs = store_with(epoch=EPOCH_MAX - 1)
    with journalkit.open(STORE, fs=fs, compaction="manual") as store:
        store["b"] = 2
        store.compact()
    with journalkit.open(STORE, fs=fs, mode="r") as store:
        assert dict(store) == {"a": 1, "b": 2}
