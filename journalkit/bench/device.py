"""The bare device: what durability costs without anything around it."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Final, Self

PREPARED_BYTES: Final = 64 * 1024 * 1024


class PreparedFile:
    """A file with its space allocated, written piece behind piece, each piece synced."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._path = path
        self._offset = 0
        os.posix_fallocate(self._fd, 0, PREPARED_BYTES)
        os.fsync(self._fd)

    def append(self, data: bytes) -> None:
        """One pwrite and one fdatasync."""
        if self._offset + len(data) > PREPARED_BYTES:
            self._offset = 0
        os.pwrite(self._fd, data, self._offset)
        os.fdatasync(self._fd)
        self._offset += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        os.unlink(self._path)


def open_and_nothing_else(directory: str, segment_bytes: int, manifest: bytes) -> None:
    """Do the syncs that opening for writing can't do without: a segment, a manifest, and their directory twice.

    The segment's name has to be durable before the manifest that names it.
    """
    segment = os.path.join(directory, "segment")
    fd = os.open(segment, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.posix_fallocate(fd, 0, segment_bytes)
    os.pwrite(fd, b"\1" * 128, 0)
    os.fsync(fd)
    os.close(fd)
    sync_directory(directory)
    temporary = os.path.join(directory, "manifest.tmp")
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.pwrite(fd, manifest, 0)
    os.fsync(fd)
    os.close(fd)
    os.rename(temporary, os.path.join(directory, "manifest"))
    sync_directory(directory)


def sync_directory(directory: str) -> None:
    """Fsync a directory."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
