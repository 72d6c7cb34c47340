"""Pieces behind one another in a new file, as quickly as the device takes them.

Room is made ahead, since a file that grows by itself costs the file system
more, and lies in more places. What was written is on its way to the device
while the next pieces are computed, so that the sync at the end finds little
left to do. For small files neither is worth it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from journalkit.fs.atomic import write_all
from journalkit.fs.interface import WritableFile

LEAST_BYTES: Final = 4 << 20
"""From here on room is made ahead and writing out begins early."""
ROOM_BYTES: Final = 64 << 20
BEHIND_BYTES: Final = 8 << 20


class FileStream:
    """Writes one file from its beginning to its end. Errors are the system's."""

    def __init__(self, file: WritableFile) -> None:
        self._file = file
        self._write_behind: Callable[[int, int], None] | None = getattr(file, "write_behind", None)
        self._makes_room = True
        self._room_bytes = 0
        self._begun_bytes = 0
        self.size_bytes = 0

    def add(self, piece: memoryview) -> None:
        """Write one more piece."""
        end = self.size_bytes + len(piece)
        if end > max(LEAST_BYTES, self._room_bytes) and self._makes_room:
            self._make_room(end)
        write_all(self._file, piece, self.size_bytes)
        self.size_bytes = end
        if end - self._begun_bytes >= BEHIND_BYTES and end >= LEAST_BYTES:
            if self._write_behind is not None:
                self._write_behind(self._begun_bytes, end - self._begun_bytes)
            self._begun_bytes = end

    def finish(self) -> None:
        """Give back room that wasn't needed, and make the file's contents durable."""
        if self._room_bytes > self.size_bytes:
            self._file.truncate(self.size_bytes)
        self._file.sync()

    def _make_room(self, end: int) -> None:
        try:
            self._file.allocate(self.size_bytes, end - self.size_bytes + ROOM_BYTES)
            self._room_bytes = end + ROOM_BYTES
        except OSError:
            # There is room for what comes, perhaps, if not for this: the write will tell.
            self._makes_room = False
