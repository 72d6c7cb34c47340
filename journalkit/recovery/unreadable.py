"""Reading from a device that doesn't give everything back: what it keeps is noted, and the rest is read.

Recovery stops at such an error, which may be gone the next time. Who looks at
what is left goes on: sectors that can't be read are filled with bytes that
pass no check, and every checksum does the rest.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final

from journalkit.fs.interface import FileStatus, ReadableFile, ReadableFileSystem

SECTOR_BYTES: Final = 512
FILL: Final = b"\xff"
"""Zeros would be a clean end."""

_SECTORS_IN_A_ROW_MAX: Final = 64
"""So many that fail one behind the other, and the rest of a read isn't tried: each may take a device seconds."""


class Unreadable:
    """What of which file couldn't be read: ranges that ascend and don't touch, by the file's name."""

    def __init__(self) -> None:
        self.ranges: dict[str, list[tuple[int, int]]] = {}

    def add(self, name: str, start: int, end: int) -> None:
        """Note bytes of a file."""
        joined: list[tuple[int, int]] = []
        for low, high in sorted([*self.ranges.get(name, []), (start, end)]):
            if joined and low <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
            else:
                joined.append((low, high))
        self.ranges[name] = joined


class ForgivingFileSystem:
    """A file system whose files can be read although sectors of them can't; `unreadable` says which."""

    def __init__(self, fs: ReadableFileSystem) -> None:
        self._fs = fs
        self.unreadable = Unreadable()

    def open_read(self, path: str) -> ReadableFile:
        """As the file system below."""
        return _ForgivingFile(self._fs.open_read(path), os.path.basename(path), self.unreadable)

    def open_direct(self, path: str) -> ReadableFile:
        """As the file system below."""
        return _ForgivingFile(self._fs.open_direct(path), os.path.basename(path), self.unreadable)

    def list(self, path: str) -> Sequence[str]:
        """As the file system below."""
        return self._fs.list(path)

    def status(self, path: str) -> FileStatus | None:
        """As the file system below."""
        return self._fs.status(path)

    def free_bytes(self, path: str) -> int:
        """As the file system below."""
        return self._fs.free_bytes(path)

    def filesystem_type(self, path: str) -> str:
        """As the file system below."""
        return self._fs.filesystem_type(path)


class _ForgivingFile:
    """One file, read in sectors where it can't be read at once."""

    def __init__(self, file: ReadableFile, name: str, unreadable: Unreadable) -> None:
        self._file = file
        self._name = name
        self._unreadable = unreadable
        self.close = file.close
        self.size = file.size

    def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
        try:
            return self._file.pread(count_bytes, offset_bytes)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        return self._pieces(min(offset_bytes + count_bytes, self._file.size()), offset_bytes)

    def _pieces(self, end: int, at: int) -> bytes:
        parts: list[bytes] = []
        failed = 0
        while at < end:
            given_up = failed >= _SECTORS_IN_A_ROW_MAX
            stop = end if given_up else min((at // SECTOR_BYTES + 1) * SECTOR_BYTES, end)
            part = None if given_up else self._sector(at, stop)
            failed = failed + 1 if part is None else 0
            if part is None:
                self._unreadable.add(self._name, at, stop)
            parts.append(part if part is not None else FILL * (stop - at))
            at = stop
        return b"".join(parts)

    def _sector(self, at: int, stop: int) -> bytes | None:
        try:
            return self._file.pread(stop - at, at)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        return None
