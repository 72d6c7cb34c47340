"""An older checkpoint as the newest again: another manifest that names the same chunks, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from journalkit.checkpoint.catalogue import Place
from journalkit.checkpoint.loading import Manifest
from journalkit.checkpoint.saving import Written, write_manifest
from journalkit.objects.interface import Objects


def restored(objects: Objects, source: Manifest, place: Place, *, name: str, time_us: int) -> Written:
    """Write the manifest of a checkpoint that restores another one of the same place.

    It says what the other says, and which one that is. What the outputs of the
    job had prepared goes with it: a job that goes on from here commits that, as
    one that goes on from the other would.

    Durability and errors as `write_manifest`; nothing but the manifest is written.
    """
    said = source.said
    epoch, save = place
    manifest = replace(said, epoch=epoch, save=save, time_us=time_us, name=name, restores=f"{said.epoch}.{said.save}")
    return replace(write_manifest(objects, manifest), bases=frozenset({(said.epoch, said.save)}))
