"""The manifest on disk: read it, and replace it as the one that holds the epoch.

`read_manifest` only looks. `ManifestKeeper` is a writer's end: every change is
a whole new file under the next generation, durable before it counts. Before
each one it looks at what is there; a later epoch means that somebody else has
the store, and this writer is fenced.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from journalkit.errors import (
    ClosedError,
    CorruptionError,
    FencedError,
    JournalError,
    RecordTooLargeError,
    StorageError,
    UnsupportedFormatError,
)
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import MANIFEST_BYTES_MAX, Manifest, check_manifest, decode_manifest, encode_manifest
from journalkit.format.names import MANIFEST
from journalkit.fs.atomic import replace_file
from journalkit.fs.full import is_full, store_full
from journalkit.fs.interface import FileSystem, ReadableFileSystem


def read_manifest(fs: ReadableFileSystem, directory: str) -> Manifest | None:
    """Return the manifest in `directory`, None if there is no such file. O(its size).

    Raises:
        CorruptionError: It is damaged, or not a manifest.
        UnsupportedFormatError: A later version wrote it.
    """
    path = os.path.join(directory, MANIFEST)
    try:
        file = fs.open_read(path)
    except FileNotFoundError:
        return None
    try:
        data = file.pread(MANIFEST_BYTES_MAX + 1, 0)
    finally:
        file.close()
    if len(data) > MANIFEST_BYTES_MAX:
        raise CorruptionError(f"larger than a manifest can be ({MANIFEST_BYTES_MAX} bytes)", path=path)
    try:
        return decode_manifest(data)
    except MalformedError as error:
        raise CorruptionError(error.reason, path=path, offset_bytes=error.offset_bytes, next_step=_SALVAGE) from error
    except NewerFormatError as error:
        raise UnsupportedFormatError(f"{path}: {error}; upgrade journalkit, nothing was touched") from error


_SALVAGE = "restore the directory from a backup, or copy what is intact with `journalkit salvage`"


def encode_bounded(manifest: Manifest) -> bytes:
    """Return the file of a manifest, unless it would be larger than a reader takes.

    Raises:
        RecordTooLargeError: It would. Metadata is what can be so large.
        UnsupportedFormatError: It would say what no reader takes: a number has no successor.
    """
    refuse_unreadable(manifest)
    data = encode_manifest(manifest)
    if len(data) > MANIFEST_BYTES_MAX:
        raise RecordTooLargeError(
            f"the manifest would have {len(data)} bytes, at most {MANIFEST_BYTES_MAX} are read; shorten the metadata",
            size_bytes=len(data),
            limit_bytes=MANIFEST_BYTES_MAX,
        )
    return data


def refuse_unreadable(manifest: Manifest) -> None:
    """Raise UnsupportedFormatError for a manifest that no reader takes: published, it would be the end of the store."""
    try:
        check_manifest(manifest)
    except MalformedError as error:
        raise UnsupportedFormatError(
            f"the store can be read and no longer written: {error.reason}; "
            "copy it into a new one with `journalkit dump` and `journalkit load`"
        ) from error


class ManifestKeeper:
    """The only one who replaces the manifest while a store is open for writing.

    Two threads may publish; each change is made from the newest manifest.
    """

    def __init__(
        self, fs: FileSystem, directory: str, manifest: Manifest, *, release_reserve: Callable[[], object]
    ) -> None:
        """Keep `manifest`, which is on disk or about to be published first.

        `release_reserve` frees the room that is set aside for publishing on a full disk.
        """
        self._fs = fs
        self._directory = directory
        self._release_reserve = release_reserve
        self._lock = threading.Lock()
        self._failed: JournalError | None = None
        self.current = manifest

    @property
    def path(self) -> str:
        """Where the manifest is."""
        return os.path.join(self._directory, MANIFEST)

    def publish(self, change: Callable[[Manifest], Manifest]) -> Manifest:
        """Replace the manifest by what `change` makes of the current one, durably, and return it.

        Durability:
            The new manifest survives a power cut once this returns.

        Raises:
            FencedError: A later epoch has the store. Nothing was written.
            CorruptionError: The manifest on disk is gone or damaged. Nothing was written.
            RecordTooLargeError: No manifest can say so much. Nothing was written.
            UnsupportedFormatError: No manifest can say that. Nothing was written.
            StoreFullError: No room, not even in the reserve. The old manifest holds.
            StorageError: Which of the two manifests survives is unknown; every
                later call raises it again.
            ClosedError: After `close`. Nothing was written.
        """
        with self._lock:
            if self._failed is not None:
                raise self._failed
            self.check_fence()
            manifest = change(self.current)
            data = encode_bounded(manifest)
            try:
                self._replace(data)
            except OSError as error:
                if is_full(error):
                    raise store_full(self._fs, self._directory, len(data), error) from error
                failure = self._failed = StorageError(
                    f"the manifest could not be published ({error}); close the store and open it again",
                    cause=error,
                    path=self.path,
                )
                raise failure from error
            self.current = manifest
            return manifest

    def close(self) -> None:
        """Publish nothing more; one that is under way ends first. Before the store's lock is given back."""
        with self._lock:
            self._failed = ClosedError(f"{self._directory} is closed; open it again")

    def check_fence(self) -> None:
        """Raise FencedError if the manifest on disk is of another writer, CorruptionError if it is gone or damaged."""
        try:
            on_disk = read_manifest(self._fs, self._directory)
        except OSError as error:
            raise StorageError(
                f"{self.path}: can't be read ({error.strerror}), so nobody knows whose store this is; "
                "close the store and open it again",
                cause=error,
            ) from error
        if on_disk is None:
            if self.current.generation:
                raise CorruptionError("the manifest is missing", path=self.path, next_step=_SALVAGE)
            return
        mine = self.current
        if (on_disk.epoch, on_disk.writer) != (mine.epoch, mine.writer) and on_disk.epoch >= mine.epoch:
            raise FencedError(
                f"{self._directory}: a newer writer (epoch {on_disk.epoch}, this one is {mine.epoch}) has the store; "
                "close this handle"
            )

    def _replace(self, data: bytes) -> None:
        try:
            replace_file(self._fs, self._directory, MANIFEST, data)
        except OSError as error:
            if not is_full(error):
                raise
            self._release_reserve()
            replace_file(self._fs, self._directory, MANIFEST, data)
