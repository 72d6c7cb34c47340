"""The place: what has to be right about a path before anything in it is touched. Reads only.

A refused open changes no byte; so whatever can be refused by looking, wrong
options of a new store included, is refused here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from journalkit.clock import Clock
from journalkit.errors import KeyValueError, StoreNotFoundError, UnsupportedFormatError, UsageError
from journalkit.format import names
from journalkit.format.codec import codec_named
from journalkit.format.manifest import Manifest
from journalkit.fs.interface import FileSystem, ReadableFileSystem
from journalkit.fs.network import is_untrusted
from journalkit.manifest import encode_bounded, read_manifest
from journalkit.recovery.look import no_directory, refuse_remains
from journalkit.recovery.plan import RecoveryMode

Kind: TypeAlias = Literal["store", "journal"]
UUID_BYTES: Final = 16

MAY_PRECEDE_STORE: Final = frozenset({names.LOCK, names.temporary_name(names.MANIFEST), "lost+found"})
"""What may be where a store is to be created: a creation that was cut short leaves these, a fresh disk has the last."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """What a caller wants opened. `codec` None: the store's own, "cbor" for a new one."""

    kind: Kind
    create: bool
    codec: str | None
    mode: RecoveryMode
    metadata: Mapping[str, Any] | None
    trust_filesystem: str | None
    segment_bytes_max: int
    opened_at: str
    deep: bool = False


def check_place(fs: ReadableFileSystem, directory: str, request: OpenRequest, clock: Clock) -> bool:
    """Return whether there is a store; refuse a path that can't be opened as requested.

    Raises:
        UsageError: A file, a foreign directory, a store of another kind, an
            untrusted file system, or options that a new store can't have.
        StoreNotFoundError: No store is there and none is to be created.
        CorruptionError: The manifest is damaged, or missing beside files of a store.
        UnsupportedFormatError: A later version wrote it.
        OSError: It can't be read.
    """
    status = fs.status(directory)
    if status is not None and not status.is_directory:
        raise no_directory(directory)
    manifest = read_manifest(fs, directory) if status is not None else None
    if manifest is not None:
        check_kind(manifest, request, directory)
    else:
        if status is not None:
            _refuse_foreign(fs, directory)
        if not request.create:
            raise StoreNotFoundError(
                f"{directory}: there is no store; check the path, or open it with create=True", path=directory
            )
        encode_bounded(first_manifest(request, clock))
    check_filesystem(fs, directory, request.trust_filesystem)
    return manifest is not None


def check_kind(manifest: Manifest, request: OpenRequest, directory: str) -> None:
    """Raise UsageError or UnsupportedFormatError unless the store is what was asked for."""
    if manifest.kind != request.kind:
        raise UsageError(f"{directory} is a {manifest.kind}, not a {request.kind}; open it as what it is")
    if request.codec is not None and request.codec != manifest.codec:
        raise UsageError(f"{directory} keeps its values as {manifest.codec!r}, not {request.codec!r}; leave codec out")
    codec_named(manifest.codec)


def first_manifest(request: OpenRequest, clock: Clock) -> Manifest:
    """Return the manifest that a new store begins with, once it is published as generation 1."""
    codec = request.codec if request.codec is not None else "cbor"
    try:
        codec_named(codec)
    except UnsupportedFormatError as error:
        raise KeyValueError(f"codec={codec!r}: {error}") from None
    return Manifest(
        store=clock.random_bytes(UUID_BYTES),
        kind=request.kind,
        codec=codec,
        created_us=clock.wall_us(),
        generation=0,
        epoch=0,
        writer=clock.random_bytes(UUID_BYTES),
        segments=(),
        snapshots=(),
        pruned_lsn=0,
        durable_lsn=0,
        next_segment=1,
        next_table=1,
        metadata=dict(request.metadata or {}),
    )


def make_directories(fs: FileSystem, directory: str) -> None:
    """Create the directory and what is missing above it, each name durable before the next is made.

    The last directory that is there may have been made by a process that died
    before it could make the name durable, so its name is made durable too.

    Raises:
        OSError: Not all of them could be made.
    """
    place, missing = _nearest(fs, directory)
    # What isn't ours to look into wasn't made by a process of ours.
    with contextlib.suppress(PermissionError):
        fs.sync_directory(os.path.dirname(place) or ".")
    for path in reversed(missing):
        # Somebody may be faster, and a path may end with a slash.
        with contextlib.suppress(FileExistsError):
            fs.make_directory(path)
        fs.sync_directory(os.path.dirname(path) or ".")


def _nearest(fs: ReadableFileSystem, directory: str) -> tuple[str, list[str]]:
    """Return the nearest place that is there, and what is missing below it, from the bottom up."""
    missing = []
    place = directory
    while fs.status(place) is None:
        missing.append(place)
        place = os.path.dirname(place) or "."
    return place, missing


def _refuse_foreign(fs: ReadableFileSystem, directory: str) -> None:
    refuse_remains(fs, directory)
    foreign = [name for name in fs.list(directory) if name not in MAY_PRECEDE_STORE]
    if foreign:
        raise UsageError(f"{directory} is not a store and holds {foreign[0]!r}; name an empty or a new directory")


def check_filesystem(fs: ReadableFileSystem, directory: str, trusted: str | None) -> None:
    """Raise UsageError if a store may not be written on that file system."""
    kind = fs.filesystem_type(_nearest(fs, directory)[0])
    if is_untrusted(kind) and trusted != kind:
        raise UsageError(
            f"{directory} is on {kind}, whose locks and fsync may not hold what they promise; use a local disk, "
            f"or accept the risk of a lost or doubly written store with trust_filesystem={kind!r}"
        )
