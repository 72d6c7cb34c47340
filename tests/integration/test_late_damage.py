"""Damage that opening doesn't see, because it doesn't read the whole of a large table.

It is found when a block is read: an error for the keys that the block covers,
the right values for all others. Nothing is folded over it, and a full check
goes back to the older snapshot.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

import journalkit
from journalkit.errors import CorruptionError
from journalkit.fs.memory import MemoryFileSystem
from journalkit.recovery import snapshots
from journalkit.testing import SimulatedClock

STORE = "/store"
ENTRIES: dict[Any, Any] = {("key", number): bytes([number]) * 1500 for number in range(40)}
BYTES_TRIED = 60


@pytest.fixture(autouse=True)
def every_table_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let opening look at the ends of each table only, as it does at a table of many megabytes."""
    monkeypatch.setattr(snapshots, "SMALL_BYTES", 0)


def open_on(fs: MemoryFileSystem, **options: Any) -> journalkit.Store:
    """Open the store with nothing at work in the background."""
    return journalkit.open(STORE, fs=fs, clock=SimulatedClock(seed=2), compaction="manual", **options)


def make(keep_snapshots: int) -> tuple[MemoryFileSystem, str]:
    """Return a folded store and the path of its newest table, of several blocks."""
    fs = MemoryFileSystem()
    with open_on(fs, keep_snapshots=keep_snapshots) as store:
        store.update(dict.fromkeys(ENTRIES, "older"))
        store.compact()
        store.update(ENTRIES)
        store.compact()
    newest = max(name for name in fs.list(STORE) if name.startswith("table-"))
    return fs, f"{STORE}/{newest}"


def damage(fs: MemoryFileSystem, path: str, at: int, bit: int) -> None:
    """Turn a bit over; twice is as it was."""
    file = fs.open_write(path)
    file.pwrite(bytes([file.pread(1, at)[0] ^ 1 << bit]), at)
    file.close()


def read_each(store: journalkit.Store, path: str) -> int:
    """Read every key, each right or an error that names the table; return how many errors."""
    errors = []
    for key, value in ENTRIES.items():
        try:
            assert store[key] == value, f"{key} is wrong"
        except CorruptionError as error:
            errors.append(error.path)
    assert set(errors) <= {path}
    return len(errors)


def scan_is_whole(store: journalkit.Store, path: str) -> bool:
    """Scan: everything, or an error that names the table, never less."""
    try:
        assert dict(store) == ENTRIES
    except CorruptionError as error:
        return error.path != path
    return True


def places(fs: MemoryFileSystem, path: str) -> list[tuple[int, int]]:
    """Return bits to try: drawn by a fixed seed, and both ends."""
    status = fs.status(path)
    assert status is not None
    chance = random.Random(8)
    drawn = [(chance.randrange(status.size_bytes), chance.randrange(8)) for _ in range(BYTES_TRIED)]
    return [(0, 0), (status.size_bytes - 1, 7), *drawn]


def test_a_damaged_block_is_an_error_for_its_keys_and_for_no_others() -> None:
    """By key and by scan, in a store that is open for reading; and with the older snapshot, if opening sees it."""
    fs, path = make(keep_snapshots=2)
    seen = {"by its keys": 0, "at opening": 0}
    for at, bit in places(fs, path):
        damage(fs, path, at, bit)
        with open_on(fs, mode="r") as store:
            errors = read_each(store, path)
            assert errors < len(ENTRIES), "one block is one part of the keys"
            assert scan_is_whole(store, path) == (errors == 0)
            # A bit that no key and no opening stumbles over would be one that nothing checks.
            assert (errors > 0) != store.recovery_report.fell_back
            seen["by its keys" if errors else "at opening"] += 1
        damage(fs, path, at, bit)
    assert all(seen.values())


def test_nothing_is_folded_over_a_damaged_block_and_a_full_check_mends_it() -> None:
    """A fold that took what it could read would turn damage into loss."""
    original, path = make(keep_snapshots=2)
    for at, bit in places(original, path)[: BYTES_TRIED // 3]:
        fs, _ = make(keep_snapshots=2)
        damage(fs, path, at, bit)
        with open_on(fs) as store:
            has_errors = not store.recovery_report.fell_back
            before = store.snapshot_lsn
            store["more"] = 1
            if has_errors:
                with pytest.raises(CorruptionError) as caught:
                    store.compact()
                assert caught.value.path == path
                assert store.snapshot_lsn == before
                assert store.statistics().snapshots == 2
        with open_on(fs, check_all=True) as store:
            assert store.recovery_report.fell_back is has_errors
            assert dict(store) == ENTRIES | {"more": 1}
            store.compact()
        with open_on(fs, check_all=True) as store:
            assert not store.recovery_report.fell_back
            assert dict(store) == ENTRIES | {"more": 1}


def test_without_an_older_snapshot_a_full_check_refuses() -> None:
    """Where nothing else could serve, an error is all that is right; what is intact stays readable."""
    fs, path = make(keep_snapshots=1)
    damage(fs, path, 20_000, 3)
    for _ in range(2):
        with pytest.raises(CorruptionError) as caught:
            open_on(fs, check_all=True)
        assert caught.value.path == path
    with open_on(fs) as store:
        assert 0 < read_each(store, path) < len(ENTRIES)
