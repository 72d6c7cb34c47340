"""Files, or objects of a bucket, that appear with a checkpoint, exactly once.

    .../staged/<batch>/<name>    written, and not to be seen; a batch is what is written between two saves
    .../<name>                   committed

Committing copies each file of a batch to where it is seen and removes the
staged one, so that again does the rest, or nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from journalkit.clock import Clock, SystemClock
from journalkit.errors import CorruptionError, KeyValueError
from journalkit.fs.interface import FileSystem
from journalkit.objects.interface import PAGE_MAX, Objects, Part, checked_key
from journalkit.objects.places import open_objects

STAGED: Final = "staged/"
_COPY_BYTES: Final = 8 << 20
_NONCE_BYTES: Final = 16


class FilesSink:
    """A `Sink` of whole files, in a directory or in object storage.

    Args:
        where: The directory or URL, as for `open_checkpoints`.
        name: What the sink is known by.
        options: For object storage, as for `open_checkpoints`.
        fs: Where a directory lies, for tests.
        clock: What chance comes from, for tests.
    """

    def __init__(
        self,
        where: str | os.PathLike[str],
        *,
        name: str = "files",
        options: Mapping[str, Any] | None = None,
        fs: FileSystem | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._clock = clock if clock is not None else SystemClock()
        self._objects: Objects = open_objects(where, fs=fs, clock=self._clock, options=options)
        self._batch = self._new_batch()
        self._files: list[str] = []

    def write(self, name: str, parts: bytes | Iterable[Part]) -> None:
        """Write a file: to be seen, whole, once the next checkpoint is published. One of that name is replaced then.

        Args:
            name: Parts of letters, digits, `.`, `_`, `=`, `-` with slashes between; `staged/` isn't yours.
            parts: Its content, at once or piece by piece.

        Raises:
            UsageError: The name can't be.
            StoreFullError, ArchiveUnavailableError, StorageError: It isn't written; it can be tried again.
        """
        if checked_key(name).startswith(STAGED):
            raise KeyValueError(f"{name!r:.100}: what is below {STAGED} isn't seen yet, and has other names")
        self._objects.put(self._staged(self._batch, name), (parts,) if isinstance(parts, bytes) else parts)
        if name not in self._files:
            self._files.append(name)

    def prepare(self) -> Any:
        """Return what was written; None if nothing was. It is durable already."""
        files, self._files = self._files, []
        batch, self._batch = self._batch, self._new_batch()
        return {"batch": batch, "files": files} if files else None

    def commit(self, handle: Any) -> None:
        """Let the files of a batch be seen.

        Raises:
            CorruptionError: One is neither staged nor to be seen: somebody removed it.
            StoreFullError, ArchiveUnavailableError, StorageError: Some may be seen. Again does the rest.
        """
        batch, files = _said(handle, self.name)
        for name in files:
            staged = self._staged(batch, name)
            status = self._objects.status(staged)
            if status is not None:
                self._objects.put(name, self._pieces(staged, status.size_bytes))
                self._objects.delete(staged)
            elif self._objects.status(name) is None:
                path = f"{self._objects.where}/{name}"
                raise CorruptionError("a file of a checkpoint was removed before it was seen", path=path)

    def recover(self, handles: Sequence[Any]) -> None:
        """Commit some batches, and remove all others. Raises as `commit`."""
        self._files = []
        self._batch = self._new_batch()
        for handle in handles:
            self.commit(handle)
        while page := self._objects.list(STAGED, limit=PAGE_MAX):
            self._objects.delete(*[status.key for status in page])

    def close(self) -> None:
        """Let go of the place."""
        self._objects.close()

    def _pieces(self, key: str, size_bytes: int) -> Iterator[Part]:
        for start in range(0, size_bytes, _COPY_BYTES):
            piece = self._objects.get(key, start=start, length=_COPY_BYTES)
            if piece is None:
                raise CorruptionError("a staged file was removed", path=f"{self._objects.where}/{key}")
            yield piece

    def _staged(self, batch: str, name: str) -> str:
        return checked_key(f"{STAGED}{batch}/{name}")

    def _new_batch(self) -> str:
        return self._clock.random_bytes(_NONCE_BYTES).hex()


def _said(handle: Any, name: str) -> tuple[str, list[str]]:
    try:
        batch, files = handle["batch"], handle["files"]
    except (TypeError, KeyError) as error:
        raise CorruptionError(f"no handle of a FilesSink: {handle!r:.100}", path=name) from error
    return batch, files
