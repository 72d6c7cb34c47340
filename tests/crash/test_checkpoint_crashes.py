"""A power cut at every operation of saves in a directory: what was acknowledged loads, and nothing is half there."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import pytest

from journalkit.checkpoint.loading import Manifest, read_manifest
from journalkit.checkpoint.pack import Known
from journalkit.checkpoint.saving import SaveOptions, write_checkpoint
from journalkit.checkpoint.tree import capture
from journalkit.errors import CorruptionError
from journalkit.format import names
from journalkit.objects import streaming
from journalkit.objects.directory import TEMPORARIES, DirectoryObjects
from journalkit.testing import PowerCut, SimulatedClock, SimulatedDisk

SAVES = 3
PROGRAMS = itertools.count()


def objects_on(disk: SimulatedDisk) -> DirectoryObjects:
    """Return a program's own handle."""
    return DirectoryObjects("/job", disk, clock=SimulatedClock(seed=next(PROGRAMS)))


def state_of(save: int) -> dict[str, Any]:
    """Return the state of a save: most of it is as it was in the one before."""
    return {"step": save, "big": Random(1).randbytes(150_000), "new": Random(save).randbytes(70_000)}


def live(disk: SimulatedDisk, acknowledged: list[int]) -> None:
    """Save, each time on top of the last."""
    objects = objects_on(disk)
    on: list[Manifest] = []
    for save in range(SAVES):
        written = write_checkpoint(
            objects, job=b"j" * 16, epoch=1, save=save, captured=capture(state_of(save)), time_us=0,
            known=Known.of([each.said for each in on], "sha256"), options=SaveOptions("sha256", threads=0),
        )  # fmt: skip
        acknowledged.append(save)
        on = [read_manifest(objects, written.manifest_key)]


@pytest.mark.parametrize("keep", ["all", "none", 1, 2, 3])
def test_a_cut_at_any_operation_of_a_save_leaves_the_ones_before(keep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest that is there has all that it names; the one in flight is there whole or not at all."""
    monkeypatch.setattr(streaming, "LEAST_BYTES", 1 << 16)
    monkeypatch.setattr(streaming, "ROOM_BYTES", 1 << 17)
    disk = SimulatedDisk()
    live(disk, [])
    for count in range(1, disk.operation_count + 1, 1 if isinstance(keep, str) else 2):
        disk = SimulatedDisk()
        acknowledged: list[int] = []
        disk.stop_after(count)
        with pytest.raises(PowerCut):
            live(disk, acknowledged)
        objects = objects_on(disk.crash(keep=keep))
        for save in range(SAVES):
            try:
                manifest = read_manifest(objects, names.checkpoint_key(1, save))
            except CorruptionError:
                assert save not in acknowledged
                assert objects.get(names.checkpoint_key(1, save)) is None
                continue
            assert manifest.load() == state_of(save)
            assert manifest.verify() == []
        objects.put("z", ())
        assert all(name.endswith(".lock") for name in objects._fs.list(f"/job/{TEMPORARIES}"))
