"""The writer's end of one segment: bytes at known offsets, into space prepared ahead.

A segment knows how far it was written and which bytes it can't vouch for; it
doesn't know what a record is. Who calls it holds the log's leadership, so
nothing here is locked.
"""

from __future__ import annotations

import os
from contextlib import suppress

from journalkit.compiled import SegmentFields
from journalkit.format.frame import HEADER_BYTES as FRAME_HEADER_BYTES
from journalkit.format.manifest import SegmentEnd, SegmentEntry
from journalkit.format.names import segment_name
from journalkit.format.segment import HEADER_BYTES, SEAL_PAYLOAD_BYTES, SegmentHeader
from journalkit.fs.atomic import write_all
from journalkit.fs.full import is_full
from journalkit.fs.interface import FileSystem, WritableFile
from journalkit.log.attempt import SyncAttempts

STEP_BYTES_MIN = 64 * 1024
STEP_BYTES_MAX = 8 * 1024 * 1024
SEAL_BYTES = FRAME_HEADER_BYTES + SEAL_PAYLOAD_BYTES
_ALIGNMENT_BYTES = 4096


class SegmentWriter(SegmentFields):
    """One segment that may take bytes.

    `end_bytes` is where the next frame goes; `last_checksum` the header
    checksum of the last frame; `entry` what a manifest says of it; `sync`
    makes durable what was written, and fails for good once it failed. Up to
    `ready_until_bytes` frames need no more room, and before `unsure_until_bytes`
    remains of a failed write may stand behind the end.
    """

    def __init__(self, file: WritableFile, path: str, entry: SegmentEntry) -> None:
        self.file = file
        self.path = path
        self.entry = entry
        self.end_bytes = HEADER_BYTES
        self.last_checksum = 0
        self.attempts = SyncAttempts(file)
        self.sync = self.attempts.run
        self.ready_until_bytes = 0
        self.unsure_until_bytes = 0
        self._prepared_bytes = 0

    @classmethod
    def create(cls, fs: FileSystem, directory: str, entry: SegmentEntry) -> SegmentWriter:
        """Create the segment's file with its first stretch prepared; nothing is durable yet.

        Raises:
            OSError: No file is left behind, as far as the disk lets us.
        """
        path = os.path.join(directory, segment_name(entry.number))
        segment = cls(fs.create(path), path, entry)
        try:
            segment.prepare(STEP_BYTES_MIN)
        except OSError:
            segment.discard(fs)
            raise
        return segment

    def discard(self, fs: FileSystem) -> None:
        """Close the file and remove it, if the disk lets us: nothing names it."""
        self.file.close()
        with suppress(OSError):
            fs.unlink(self.path)

    def prepare(self, through_bytes: int) -> None:
        """Make sure that writes before `through_bytes` need no more room.

        Steps double with use, so that a small log stays small and a busy one
        allocates seldom. On a full disk exactly what is needed is tried last.

        Raises:
            OSError: No room (ENOSPC, EDQUOT, EFBIG); what was prepared stays.
        """
        prepared, needed = self._prepared_bytes, _aligned(through_bytes)
        if through_bytes <= prepared:
            return
        target = max(prepared + min(max(prepared, STEP_BYTES_MIN), STEP_BYTES_MAX), needed)
        try:
            self.file.allocate(prepared, target - prepared)
        except OSError as error:
            if not is_full(error) or target == needed:
                raise
            target = needed
            self.file.allocate(prepared, target - prepared)
        self._set_prepared(target)

    def write(self, data: bytes, offset_bytes: int) -> None:
        """Write whole frames at `offset_bytes`, the current end; the end doesn't move yet.

        Repeating it after an interruption is harmless: same bytes, same place.

        Raises:
            OSError: Part of it may stand in the file, until `withdraw`.
        """
        end = offset_bytes + len(data)
        if end > self.ready_until_bytes:
            self.prepare(end + SEAL_BYTES)
        self.unsure_until_bytes = end
        written = self.file.pwrite(data, offset_bytes)
        if written != len(data):
            write_all(self.file, memoryview(data)[written:], offset_bytes + written)

    def accept(self, end_bytes: int, last_checksum: int) -> None:
        """Vouch for everything before `end_bytes`: it was written whole."""
        self.last_checksum = last_checksum
        self.end_bytes = self.unsure_until_bytes = end_bytes

    def withdraw(self) -> None:
        """Erase, durably, what a failed `write` may have left behind the end.

        Otherwise a frame of a commit that was refused could come to stand
        behind a later, shorter one and be replayed.

        Raises:
            OSError: It is still there; no frame may be appended.
        """
        if self.unsure_until_bytes > self.end_bytes:
            try:
                write_all(self.file, bytes(self.unsure_until_bytes - self.end_bytes), self.end_bytes)
            except OSError as error:
                if not is_full(error):
                    raise
                # Where zeros need room too (copy on write), a shorter file needs none.
                self.trim(self.end_bytes)
            self.sync()
            self.unsure_until_bytes = self.end_bytes

    def write_header(self, header: SegmentHeader) -> None:
        """Write the header; after a sync the segment may `begin`."""
        self.prepare(HEADER_BYTES)
        write_all(self.file, header.encode(), 0)

    def begin(self, first_lsn: int) -> None:
        """Take records from `first_lsn` on.

        The header is durable: a manifest that says where the segment begins
        promises that it is there.
        """
        entry = self.entry
        self.entry = SegmentEntry(entry.number, entry.salt, entry.epoch, first_lsn)
        self.accept(HEADER_BYTES, 0)

    def trim(self, end_bytes: int) -> None:
        """Give prepared room behind `end_bytes` back. Not durable until synced."""
        self.file.truncate(end_bytes)
        self._set_prepared(end_bytes)

    def _set_prepared(self, end_bytes: int) -> None:
        self._prepared_bytes = end_bytes
        # Room for a seal is always there: closing works on a full disk.
        self.ready_until_bytes = end_bytes - SEAL_BYTES

    def ended(self, last_lsn: int, *, sealed: bool) -> SegmentEntry:
        """Return the manifest's entry of this segment once it takes no more frames."""
        end = SegmentEnd(last_lsn, self.end_bytes, self.last_checksum, sealed)
        entry = self.entry
        return SegmentEntry(entry.number, entry.salt, entry.epoch, entry.first_lsn, end)


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
