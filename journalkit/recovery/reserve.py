"""The reserve: room set aside, so that a full disk can still be told about and cleaned up.

A file of allocated, unused bytes. When publishing finds no room it is given
up; it is made again at the next open, or when there is room.
"""

from __future__ import annotations

import os
from typing import Final

from journalkit.format.names import RESERVE
from journalkit.fs.interface import FileSystem

RESERVE_BYTES: Final = 256 * 1024
"""Two manifests, a segment with its header, a quarantine of the usual size."""


class Reserve:
    """The reserve of one open store."""

    def __init__(self, fs: FileSystem, directory: str) -> None:
        self._fs = fs
        self._path = os.path.join(directory, RESERVE)

    def refill(self) -> bool:
        """Set the room aside unless it is; return whether it is there now."""
        try:
            status = self._fs.status(self._path)
            if status is not None and status.size_bytes >= RESERVE_BYTES:
                return True
            file = self._fs.open_write(self._path) if status is not None else self._fs.create(self._path)
        except OSError:
            return False
        try:
            file.allocate(0, RESERVE_BYTES)
        except OSError:
            file.close()
            self.release()
            return False
        file.close()
        return True

    def release(self) -> bool:
        """Give the room back to the file system; return whether there was any."""
        try:
            self._fs.unlink(self._path)
        except OSError:
            return False
        return True
