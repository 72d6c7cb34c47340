"""Which snapshot an open starts from, and what it says of the tables that it can't use."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from journalkit.errors import CorruptionError
from journalkit.format.manifest import Manifest
from journalkit.manifest import read_manifest
from journalkit.recovery.snapshots import choose_snapshot
from journalkit.snapshot.cache import BlockCache

PLACE = "/store"


@pytest.fixture
def manifest(store: Any) -> Manifest:
    """What it names: snapshots at LSN 240 and 120, of a table each."""
    found = read_manifest(store.fs, PLACE)
    assert found is not None
    return found


def choose(store: Any, manifest: Manifest) -> tuple[int, list[int]]:
    """Return the LSNs of the snapshot and of those that were passed over."""
    choice = choose_snapshot(store.fs, PLACE, manifest, BlockCache(1 << 20))
    for table in choice.tables:
        table.close()
    return choice.lsn, [entry.lsn for entry in choice.damaged]


def test_a_missing_table_costs_its_snapshot_and_is_named(store: Any, manifest: Manifest) -> None:
    """The older snapshot serves as long as it is whole; where none is, it is the newest one's error that is told."""
    older, newer = store.tables
    assert choose(store, manifest) == (240, [])
    store.remove(newer)
    assert choose(store, manifest) == (120, [240])
    store.remove(older)
    with pytest.raises(CorruptionError, match="the table is missing") as raised:
        choose(store, manifest)
    assert raised.value.path == f"{PLACE}/{newer}"


def test_a_table_that_the_medium_keeps_is_told_in_the_systems_words(
    store: Any, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing and unreadable need different hands."""

    def broken(path: str) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(store.fs, "open_read", broken)
    with pytest.raises(CorruptionError, match=r"the table can't be read \(Input/output error\)") as raised:
        choose(store, manifest)
    assert raised.value.path == f"{PLACE}/{store.tables[1]}"
