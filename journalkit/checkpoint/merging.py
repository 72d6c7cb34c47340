"""One manifest of the parts that several workers wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from journalkit.errors import CheckpointAbortedError
from journalkit.format.checkpoint import CheckpointManifest, ChunkList, PackEntry, PartEntry
from journalkit.format.values import same


def merged(parts: Sequence[CheckpointManifest]) -> CheckpointManifest:
    """Return what they say together, by rank: trees and lists of each, packs and offsets of all, the rest of rank 0.

    Raises:
        CheckpointAbortedError: They contradict each other.
    """
    first = parts[0]
    numbers: dict[PackEntry, int] = {}
    lists: list[ChunkList] = []
    entries: list[PartEntry] = []
    offsets: dict[Any, Any] = {}
    whose: dict[Any, int] = {}
    for rank, part in enumerate(parts):
        if part.digest != first.digest:
            raise CheckpointAbortedError(
                f"rank {rank} knows chunks by {part.digest} and rank 0 by {first.digest}: give all the same digest="
            )
        own = [numbers.setdefault(pack, len(numbers)) for pack in part.packs]
        entries.append(PartEntry(part.tree, len(lists), len(part.chunked), part.prepared))
        lists += [replace(listed, runs=_renumbered(listed.runs, own)) for listed in part.chunked]
        for source, offset in part.offsets.items():
            if not same(offsets.setdefault(source, offset), offset):
                raise CheckpointAbortedError(
                    f"rank {whose[source]} is at {offsets[source]!r:.50} of {source!r:.50}, rank {rank} at "
                    f"{offset!r:.50}: an input is read by one worker"
                )
            whose.setdefault(source, rank)
    return replace(
        first, tree=b"", chunked=tuple(lists), packs=tuple(numbers), offsets=offsets, parts=tuple(entries), part=0,
        prepared={},
    )  # fmt: skip


def part_of(manifest: CheckpointManifest, rank: int, size: int) -> CheckpointManifest:
    """Return what of a manifest a rank's next save builds on: its own chunks; all, where there were more or fewer."""
    if len(manifest.parts) != size:
        return manifest
    part = manifest.parts[rank]
    return replace(manifest, chunked=manifest.chunked[part.first : part.first + part.count], parts=())


def outputs_of(manifest: CheckpointManifest, rank: int, size: int) -> dict[str, list[Any]]:
    """Return the outputs that one of so many workers commits when they go on from here, by the names of their sinks.

    With as many workers its own; else those of the former ranks `rank`, `rank + size`, ...: each is committed by one
    worker, and what one has prepared by one worker, in order.
    """
    given = [part.prepared for part in manifest.parts] or [manifest.prepared]
    found: dict[str, list[Any]] = {}
    for prepared in given[rank::size]:
        for name, handles in prepared.items():
            found.setdefault(name, []).extend(handles)
    return found


def has_outputs(manifest: CheckpointManifest) -> bool:
    """Whether whoever goes on from here has outputs to commit."""
    return bool(outputs_of(manifest, 0, 1))


def without_outputs(manifest: CheckpointManifest) -> CheckpointManifest:
    """Return what it says besides: outputs belong to the job that made them."""
    parts = tuple(replace(part, prepared={}) for part in manifest.parts)
    return replace(manifest, prepared={}, parts=parts)


def _renumbered(runs: tuple[int, ...], numbers: Sequence[int]) -> tuple[int, ...]:
    return tuple(numbers[each] if at % 3 == 0 else each for at, each in enumerate(runs))
