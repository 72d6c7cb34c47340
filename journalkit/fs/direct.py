"""Reads that come from the device, whatever the page cache believes.

After a failed fsync the cache shows bytes that no disk has; recovery must not
take them for durable. O_DIRECT wants offset, length and memory aligned to the
device's blocks; this file aligns, so that callers read at any offset.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os

from journalkit.fs.descriptors import Handle

# What every common device accepts: its logical blocks are 512 or 4096 bytes. A stricter one
# answers EINVAL to the read, and the file is then read plainly.
_ALIGNMENT_BYTES = 4096
# A chunk of a mebibyte that begins within a block spans one more, and is read at once all the same.
_BUFFER_BYTES_MAX = (1 << 20) + _ALIGNMENT_BYTES


class PosixDirectFile(Handle):
    """A regular file open with O_DIRECT, for reading only."""

    def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
        """Return up to `count_bytes` from `offset_bytes`; short only at the end of the file."""
        descriptor = self._held()
        if count_bytes < 0 or offset_bytes < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self._path)
        end = min(offset_bytes + count_bytes, os.fstat(descriptor).st_size)
        at = offset_bytes - offset_bytes % _ALIGNMENT_BYTES
        skip = offset_bytes - at
        parts = []
        # Anonymous memory begins on a page. A buffer per call lets threads read side by side.
        with mmap.mmap(-1, _buffer_bytes(end - at)) as buffer:
            while at < end:
                taken = self._read_block(descriptor, buffer, at)
                parts.append(buffer[skip : min(taken, end - at)])
                if taken % _ALIGNMENT_BYTES or taken == 0:
                    break  # the file's end
                at, skip = at + taken, 0
        return b"".join(parts)

    def _read_block(self, descriptor: int, buffer: mmap.mmap, offset_bytes: int) -> int:
        try:
            return os.preadv(descriptor, [buffer], offset_bytes)
        except OSError as error:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
                error.filename = self._path
                raise
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        return os.preadv(descriptor, [buffer], offset_bytes)


def _buffer_bytes(span_bytes: int) -> int:
    blocks = -(-max(span_bytes, 1) // _ALIGNMENT_BYTES)
    return min(blocks * _ALIGNMENT_BYTES, _BUFFER_BYTES_MAX)
