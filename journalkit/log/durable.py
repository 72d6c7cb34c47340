"""The file `durable`: one small fact beside the log, how far it is durable.

It is written after each fsync of the log and before anybody is told, and is
itself never synced. Whole, it is a promise; torn, missing or of another life,
it promises nothing. Followers read up to it and judge nothing beyond.
"""

from __future__ import annotations

import os

from journalkit.format.names import DURABLE
from journalkit.format.segment import DURABLE as LAYOUT
from journalkit.format.segment import DurableEncoder, DurableSlot, decode_durable
from journalkit.fs.interface import FileSystem, ReadableFileSystem, WritableFile


def read_durable(fs: ReadableFileSystem, directory: str) -> DurableSlot | None:
    """Return what the slot in `directory` promises, None if it promises nothing."""
    try:
        file = fs.open_read(os.path.join(directory, DURABLE))
    except FileNotFoundError:
        return None
    try:
        return decode_durable(file.pread(LAYOUT.size + 1, 0))
    finally:
        file.close()


class DurableFile:
    """The writer's end of the slot."""

    def __init__(self, fs: FileSystem, directory: str, *, store: bytes, writer: bytes, epoch: int) -> None:
        """Open the slot's file, creating it if there is none. An old promise stays until the first `write`."""
        path = os.path.join(directory, DURABLE)
        self.file: WritableFile = fs.open_write(path) if fs.status(path) is not None else fs.create(path)
        self._identity = (store, writer, epoch)
        self._segment = 0
        self._encoder: DurableEncoder | None = None

    def write(self, segment: int, end_bytes: int, lsn: int) -> None:
        """Promise `segment` up to `end_bytes` and the log up to `lsn`. One pwrite.

        Raises:
            OSError: The slot is as it was or torn; a torn one promises nothing.
        """
        self.file.pwrite(self.encode(segment, end_bytes, lsn), 0)

    def encode(self, segment: int, end_bytes: int, lsn: int) -> bytes:
        """Return what `write` writes, for who has time before the fsync and not behind it."""
        if self._encoder is None or segment != self._segment:
            self._encoder = self._encoder_of(segment)
            self._segment = segment
        return self._encoder.encode(end_bytes, lsn)

    def head(self, segment: int) -> bytes:
        """Return what the slots of a segment begin with, for the compiled path, which knows the rest."""
        return self._encoder_of(segment).head

    def _encoder_of(self, segment: int) -> DurableEncoder:
        store, writer, epoch = self._identity
        return DurableEncoder(store=store, writer=writer, epoch=epoch, segment=segment)

    def close(self) -> None:
        """Release the descriptor."""
        self.file.close()
