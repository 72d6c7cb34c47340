"""The bare device: what the same durability costs without anything around it."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Final, Self

from journalkit.format.names import MANIFEST
from journalkit.format.segment import HEADER_BYTES
from journalkit.fs.atomic import replace_file
from journalkit.fs.posix import PosixFileSystem
from journalkit.log.segment import STEP_BYTES_MIN

NAME: Final = "bare device"
PREPARED_BYTES: Final = 64 * 1024 * 1024
CHUNK_BYTES: Final = 1024 * 1024


class PreparedFile:
    """A file whose space is allocated, written piece behind piece."""

    def __init__(self, path: str) -> None:
        """Create and prepare it, durably."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._path = path
        self._offset = 0
        os.posix_fallocate(self._fd, 0, PREPARED_BYTES)
        os.fsync(self._fd)

    def write(self, data: bytes) -> None:
        """One pwrite behind the last one; from the start again where the space ends."""
        if self._offset + len(data) > PREPARED_BYTES:
            self._offset = 0
        os.pwrite(self._fd, data, self._offset)
        self._offset += len(data)

    def append(self, data: bytes) -> None:
        """One pwrite and one fdatasync."""
        self.write(data)
        os.fdatasync(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        os.unlink(self._path)


def open_and_nothing_else(directory: str, manifest: bytes) -> None:
    """Do the syncs that opening for writing can't do without: a segment, a manifest, and their directory twice.

    The segment's name has to be durable before the manifest that names it.
    """
    fs = PosixFileSystem()
    segment = os.path.join(directory, "segment")
    if fs.status(segment) is not None:
        fs.unlink(segment)
    file = fs.create(segment)
    file.allocate(0, STEP_BYTES_MIN)
    file.pwrite(bytes(HEADER_BYTES), 0)
    file.sync()
    file.close()
    fs.sync_directory(directory)
    replace_file(fs, directory, MANIFEST, manifest)


def write_through(path: str, size_bytes: int) -> None:
    """Write a new file from front to back and make it durable."""
    chunk = os.urandom(CHUNK_BYTES)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for start in range(0, size_bytes, CHUNK_BYTES):
            os.pwrite(fd, chunk[: size_bytes - start], start)
        os.fsync(fd)
    finally:
        os.close(fd)


def read_through(path: str) -> int:
    """Read a file from front to back; return its size."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size_bytes = 0
        while data := os.pread(fd, CHUNK_BYTES, size_bytes):
            size_bytes += len(data)
        return size_bytes
    finally:
        os.close(fd)


def forget(directory: str) -> None:
    """Ask the system to drop what it keeps in memory of every file below a directory. Durable bytes only go."""
    for folder, _, names in os.walk(directory):
        for name in names:
            fd = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)
