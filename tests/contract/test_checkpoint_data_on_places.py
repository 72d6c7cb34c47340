"""States saved to real places: packs in several parts of an upload, ranges of them read, and damage found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import journalkit
from journalkit.checkpoint.loading import read_manifest
from journalkit.checkpoint.open import open_on
from journalkit.checkpoint.pack import Known
from journalkit.checkpoint.saving import SaveOptions, write_checkpoint
from journalkit.checkpoint.tree import capture
from journalkit.clock import SystemClock
from journalkit.errors import CorruptionError
from journalkit.objects.interface import Objects
from journalkit.objects.places import open_objects


def round_trip(objects: Objects) -> None:
    """Save a state twice, read it in every way, and damage it."""
    rows = np.random.default_rng(1).random((1500, 1024))
    state = {"w": rows, "b": Random(1).randbytes(9 << 20), "step": [1, (2, "x")]}
    on: list[Any] = []
    for save, options in enumerate((SaveOptions("sha256"), SaveOptions("sha256", "zstd"))):
        captured = capture(state, copy=False)
        known = Known.of([each.said for each in on], "sha256")
        written = write_checkpoint(
            objects, job=bytes(16), epoch=1, save=save, captured=captured, time_us=0, known=known, options=options
        )
        manifest = read_manifest(objects, written.manifest_key, written.manifest_digest)
        assert manifest.verify() == []
        for loaded in (manifest.load(), manifest.load(mapped=True)):
            assert np.array_equal(loaded["w"], state["w"])
            assert (loaded["b"], loaded["step"]) == (state["b"], state["step"])
        lazy = manifest.load(lazy=True)
        assert np.array_equal(lazy["w"][700:710], state["w"][700:710])
        assert lazy["b"][5_000_000:5_000_100] == state["b"][5_000_000:5_000_100]
        on = [manifest]
        state["w"][800] += 1
    assert written.bytes_written < written.bytes_total // 10
    [key, _] = manifest.packs()
    whole = objects.get(key)
    assert whole is not None
    objects.put(key, (whole[: len(whole) // 2],))
    assert manifest.verify()
    with pytest.raises(CorruptionError):
        manifest.load()


def store_round_trip(objects: Objects) -> None:
    """Save a store twice, and make one of each."""
    with journalkit.open("memory://", compaction="manual") as store, open_on(objects, SystemClock()) as checkpoints:
        store.update({number: Random(number).randbytes(1000) for number in range(3000)})
        store.compact()
        saved = []
        for number in (5, 7):
            store.put(number, "new")
            saved.append((checkpoints.save({"db": store}), dict(store)))
        for checkpoint, expected in saved:
            with checkpoint.load()["db"].restore("memory://", compaction="manual") as again:
                assert dict(again) == expected


def test_states_are_saved_to_places_without_a_server(tmp_path: Path) -> None:
    """A directory, and the memory of the library for object storage."""
    for where in (tmp_path / "data", "memory://"):
        round_trip(open_objects(where))
    for where in (tmp_path / "store", "memory://"):
        store_round_trip(open_objects(where))


@pytest.mark.slow
@pytest.mark.parametrize("server", ["moto", "seaweedfs"])
def test_states_are_saved_to_servers(server: str, remote: Callable[..., Objects]) -> None:
    """What a directory does, they do."""
    round_trip(remote(server, "data"))
    store_round_trip(remote(server, "store"))
