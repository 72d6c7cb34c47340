"""What a save writes before it is published, and by whom: this process, or the one that saves for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from journalkit.checkpoint.catalogue import Place
from journalkit.checkpoint.chunks import best_digest
from journalkit.checkpoint.loading import Manifest
from journalkit.checkpoint.outside import Outside
from journalkit.checkpoint.pack import Known, Progress
from journalkit.checkpoint.said import Said
from journalkit.checkpoint.saving import SaveOptions, Written, copy_checkpoint, write_checkpoint
from journalkit.checkpoint.tree import Captured
from journalkit.clock import Clock
from journalkit.format.head import CheckpointEntry
from journalkit.objects.interface import Objects

Write: TypeAlias = Callable[[Place, Manifest | None], Written]
"""Given where a checkpoint will be, and the one that it stands on, writes its objects."""
Entry: TypeAlias = Callable[[Place], CheckpointEntry | None]
"""Given where a checkpoint is returns what the newest head says of it."""


def of_state(
    objects: Objects,
    clock: Clock,
    job: bytes,
    captured: Captured,
    said: Said,
    options: SaveOptions,
    progress: Progress | None,
    outside: Outside | None,
    entry: Entry,
) -> Write:
    """Return what writes a captured state: by the process outside, if there is one, and it can be had there."""

    def write(place: Place, base: Manifest | None) -> Written:
        if outside is not None and not captured.is_streamed:
            stands_on = entry((base.said.epoch, base.said.save)) if base is not None else None
            by_whom = partial(outside.write_checkpoint, base=stands_on)
        else:
            known = Known.of([base.said] if base is not None else [], options.digest or best_digest())
            by_whom = partial(write_checkpoint, objects, known=known, options=options)
        return by_whom(
            job=job,
            epoch=place[0],
            save=place[1],
            captured=captured,
            time_us=clock.wall_us(),
            offsets=said.offsets,
            metadata=said.metadata,
            metrics=said.metrics,
            name=said.name,
            prepared=said.prepared,
            progress=progress,
        )

    return write


def of_copy(
    objects: Objects, job: bytes, source: Manifest, name: str, options: SaveOptions, progress: Progress | None
) -> Write:
    """Return what writes another place's checkpoint."""

    def write(place: Place, base: Manifest | None) -> Written:
        return copy_checkpoint(
            source,
            objects,
            job=job,
            epoch=place[0],
            save=place[1],
            name=name,
            known=Known.of([base.said] if base is not None else [], source.said.digest),
            options=options,
            progress=progress,
        )

    return write
