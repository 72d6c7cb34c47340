"""Writing a checkpoint's data: a pack of what is new, then the manifest that names it all.

Both are durable when `write_checkpoint` returns. The checkpoint exists only
once a head names the manifest: `journalkit.checkpoint.heads`.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from journalkit.checkpoint.chunks import ARRAY_CHUNK_BYTES, best_digest
from journalkit.checkpoint.loading import Manifest
from journalkit.checkpoint.merging import without_outputs
from journalkit.checkpoint.pack import Known, PackWriter, Progress
from journalkit.checkpoint.tree import Captured
from journalkit.errors import KeyValueError
from journalkit.format import names
from journalkit.format.checkpoint import CheckpointManifest, PackEntry, encode_manifest
from journalkit.format.malformed import MalformedError
from journalkit.objects.interface import Objects, Part


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """How a save is written.

    Attributes:
        digest: What chunks are known by: sha256, or blake3 where it is installed; "" is the quickest that is.
            A save writes all anew that stands on checkpoints of another one.
        compression: none, or zstd: of each chunk by itself, and only where it gets smaller.
        threads: How many compute digests and compress; None is one for each core, 0 is none.
    """

    digest: str = ""
    compression: str = "none"
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What a save wrote. `manifest_bytes` and `manifest_digest` are what a head says of it.

    `bytes_written` counts pack and manifest, `bytes_total` what the state has.
    `bases` are the checkpoints that it stands on, where others than the one
    that was given.
    """

    manifest: CheckpointManifest
    manifest_key: str
    manifest_bytes: int
    manifest_digest: bytes
    bytes_written: int
    bytes_total: int
    chunks_new: int
    chunks_known: int
    bases: frozenset[tuple[int, int]] = frozenset()


_DEFAULTS = SaveOptions()


def write_part(
    objects: Objects,
    said: CheckpointManifest,
    captured: Captured,
    known: Known,
    options: SaveOptions = _DEFAULTS,
    progress: Progress | None = None,
) -> CheckpointManifest:
    """Write one worker's pack of a save, if anything in it is new; return the manifest of this part, not written.

    `said` is what it says besides its tree and chunks. Durability and errors as `write_checkpoint`.
    """
    encoded(said)  # so that what can't be said is refused before anything is written
    entry = PackEntry(said.epoch, said.save, said.part, 0)
    writer = PackWriter(
        said.job, entry, known, compression=options.compression, threads=options.threads, progress=progress
    )
    return _packed(objects, writer, writer.parts(captured.leaves), replace(said, tree=captured.tree))


def write_checkpoint(
    objects: Objects,
    *,
    job: bytes,
    epoch: int,
    save: int,
    captured: Captured,
    time_us: int,
    part: int = 0,
    offsets: Mapping[Any, Any] | None = None,
    metadata: Any = None,
    metrics: Mapping[str, float] | None = None,
    name: str = "",
    prepared: Mapping[str, Any] | None = None,
    known: Known | None = None,
    options: SaveOptions = _DEFAULTS,
    progress: Progress | None = None,
) -> Written:
    """Write what of a captured state isn't known, and the manifest that names all of it.

    Durability:
        Pack and manifest are durable once this returns. No head names them yet.

    Raises:
        UsageError: Offsets, metadata, metrics or options can't be. Nothing was written.
        StoreFullError, ArchiveUnavailableError, StorageError: As `Objects.put`. A pack may be there, which
            belongs to nobody; write again, as another save.

    Complexity:
        O(bytes of the state) for digests; what is written is what isn't known.
    """
    if known is None:
        known = Known(options.digest or best_digest())
    said = CheckpointManifest(
        job, epoch, save, part, time_us, known.digest, b"", (), (),
        dict(offsets or {}), metadata, {key: float(value) for key, value in (metrics or {}).items()}, name,
        dict(prepared or {}),
    )  # fmt: skip
    return write_whole(objects, said, captured, known, options, progress)


def write_whole(
    objects: Objects,
    said: CheckpointManifest,
    captured: Captured,
    known: Known,
    options: SaveOptions = _DEFAULTS,
    progress: Progress | None = None,
) -> Written:
    """Write a checkpoint whose manifest says that, besides its tree and chunks; as `write_checkpoint`."""
    encoded(said)  # so that what can't be said is refused before anything is written
    entry = PackEntry(said.epoch, said.save, said.part, 0)
    writer = PackWriter(
        said.job, entry, known, compression=options.compression, threads=options.threads, progress=progress
    )
    parts = writer.parts(captured.leaves)
    return _written(objects, writer, parts, replace(said, tree=captured.tree), captured.size_bytes)


def copy_checkpoint(
    source: Manifest,
    objects: Objects,
    *,
    job: bytes,
    epoch: int,
    save: int,
    name: str,
    known: Known,
    options: SaveOptions = _DEFAULTS,
    progress: Progress | None = None,
) -> Written:
    """Write what of another place's checkpoint isn't known here, and a manifest that says what the other says.

    Chunk by chunk, each checked on its way, in bounded memory. `known` is of the source's kind of digest.

    Durability and errors as `write_checkpoint`, and:

    Raises:
        CorruptionError: The source is damaged. A pack may be there, which belongs to nobody.
    """
    writer = PackWriter(
        job,
        PackEntry(epoch, save, 0, 0),
        known,
        compression=options.compression,
        threads=options.threads,
        progress=progress,
    )
    lists = source.said.chunked
    cut = ((number, view) for number in range(len(lists)) for view in source.reader.pieces(number))
    are_arrays = [listed.chunk_bytes == ARRAY_CHUNK_BYTES for listed in lists]
    total = sum(listed.length for listed in lists)
    said = replace(without_outputs(source.said), job=job, epoch=epoch, save=save, part=0, name=name, restores="")
    return _written(objects, writer, writer.parts_of(cut, are_arrays, total), said, total)


def _written(
    objects: Objects, writer: PackWriter, pack: Generator[Part, None, None], said: CheckpointManifest, bytes_total: int
) -> Written:
    """Write a pack, if there is anything in it, and behind it the manifest."""
    written = replace(
        write_manifest(objects, _packed(objects, writer, pack, said)),
        bytes_total=bytes_total,
        chunks_new=writer.chunks_new,
        chunks_known=writer.chunks_known,
    )
    return replace(written, bytes_written=writer.pack_bytes + written.manifest_bytes)


def _packed(
    objects: Objects, writer: PackWriter, pack: Generator[Part, None, None], said: CheckpointManifest
) -> CheckpointManifest:
    """Write a pack, if there is anything in it, and return the manifest that names it."""
    with closing(pack) as parts:
        first = next(parts, None)
        if first is not None:
            objects.put(names.pack_key(said.epoch, said.save, said.part), itertools.chain((first,), parts))
    lists, packs = writer.finished()
    return replace(said, chunked=lists, packs=packs)


def write_manifest(objects: Objects, manifest: CheckpointManifest) -> Written:
    """Write a checkpoint's manifest, whose packs are there. Durability and errors as `write_checkpoint`."""
    data = encoded(manifest)
    key = names.checkpoint_key(manifest.epoch, manifest.save)
    objects.put(key, (data,))
    total = sum(listed.length for listed in manifest.chunked)
    return Written(manifest, key, len(data), hashlib.sha256(data).digest(), len(data), total, 0, 0)


def encoded(manifest: CheckpointManifest) -> bytes:
    """Return a manifest's bytes. Raises UsageError: What it says can't be said."""
    try:
        return encode_manifest(manifest)
    except MalformedError as error:
        raise KeyValueError(f"a checkpoint can't say that: {error.reason}") from None
