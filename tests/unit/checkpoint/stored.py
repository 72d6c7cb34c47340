"""Stores whose checkpoints tests look at: filled, saved, restored."""

from __future__ import annotations

from random import Random
from typing import Any

import journalkit
from journalkit.checkpoint.saved_store import SavedStore
from journalkit.errors import StoreNotFoundError, UsageError
from journalkit.testing import SimulatedClock, SimulatedDisk

MANUAL: dict[str, Any] = {"compaction": "manual"}


def fill(store: journalkit.Store, start: int, stop: int, seed: int = 1) -> None:
    """Give keys other values: of a length and of chance, so that nothing makes them smaller."""
    chance = Random(f"{start} {stop} {seed}")
    store.update({key: chance.randbytes(300) for key in range(start, stop)})


def contents(store: Any) -> tuple[Any, ...]:
    """Return all that a store is for who reads it."""
    return dict(store), dict(store.offsets), store.lsn


def restored(handle: Any, **options: Any) -> tuple[Any, ...]:
    """Return what a store is that is made of what was saved."""
    with handle.restore("/restored", fs=SimulatedDisk(), **MANUAL, **options) as store:
        store.check()
        return contents(store)


def restore(handle: SavedStore, disk: SimulatedDisk, path: str = "/new", seed: int = 1, **options: Any) -> Any:
    """Restore, and return the store."""
    return handle.restore(path, fs=disk, clock=SimulatedClock(seed=seed), **MANUAL | options)


def is_sound(disk: SimulatedDisk, expected: dict[Any, Any]) -> bool:
    """Return whether there is a store, which then is the one; where there is none it can be restored."""
    try:
        store = journalkit.open("/new", fs=disk, create=False, clock=SimulatedClock(seed=9), **MANUAL)
    except (StoreNotFoundError, UsageError):
        return False
    with store:
        store.check()
        assert dict(store) == expected
        assert store.recovery_report.outcome in ("clean", "replayed")
    return True
