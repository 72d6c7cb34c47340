"""The reserve: room set aside, so that a full disk can still be told about and cleaned up.

A file of allocated, unused bytes. When publishing finds no room it is given
up; it is made again at the next open, or when there is room. While a lot is
unfolded it is larger, by room for the delta that a fold of it would write.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from journalkit.format.names import RESERVE
from journalkit.fs.interface import FileSystem

RESERVE_BYTES: Final = 256 * 1024
"""Two manifests, a segment with its header, a quarantine of the usual size."""

SMALL_DELTA_BYTES: Final = 64 * 1024
"""A delta of so many bytes finds its room in the reserve as it is."""

_STEP_BYTES: Final = 1024 * 1024


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

    def cover(self, delta_bytes: int) -> bool:
        """Make the reserve as large as a delta of so many bytes needs, in steps; return whether it is."""
        steps = -(-delta_bytes // _STEP_BYTES) if delta_bytes > SMALL_DELTA_BYTES else 0
        return self._resize(RESERVE_BYTES + steps * _STEP_BYTES)

    def give_surplus(self) -> bool:
        """Give back what `cover` took, and keep the rest; return whether that worked."""
        return self._resize(RESERVE_BYTES)

    def _resize(self, size_bytes: int) -> bool:
        try:
            status = self._fs.status(self._path)
            if status is None or status.size_bytes == size_bytes:
                return status is not None
            file = self._fs.open_write(self._path)
        except OSError:
            return False
        try:
            if size_bytes > status.size_bytes:
                file.allocate(status.size_bytes, size_bytes - status.size_bytes)
            else:
                file.truncate(size_bytes)
        except OSError:
            with contextlib.suppress(OSError):
                # A part of the room is no room for the whole.
                file.truncate(status.size_bytes)
            return False
        finally:
            file.close()
        return True

    def release(self) -> bool:
        """Give the room back to the file system; return whether there was any."""
        try:
            self._fs.unlink(self._path)
        except OSError:
            return False
        return True
