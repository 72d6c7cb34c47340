"""Reading a segment's frames, in bounded memory, from any file.

`frames` walks the run of whole frames from an offset; `search` looks for whole
frames anywhere behind damage. Both only report. Who may believe what, and what
a gap means, is decided in `journalkit.recovery`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from journalkit.format import frame as frames_format
from journalkit.format.frame import HEADER_BYTES, Fault, Frame, Stop
from journalkit.fs.interface import ReadableFile

CHUNK_BYTES = 1024 * 1024
_ZEROS = bytes(4096)

Ahead: TypeAlias = Callable[[bytes, int], int]


class SegmentReader:
    """Frames of one open file. Memory: one chunk or the largest record, whichever is more."""

    def __init__(self, file: ReadableFile, salt: int) -> None:
        self._file = file
        self._salt = salt
        self.stop: Stop | None = None

    def frames(self, start_bytes: int, stop_bytes: int, ahead: Ahead | None = None) -> Iterator[Frame]:
        """Yield the whole frames in [start_bytes, stop_bytes) that follow one another.

        `ahead(buffer, offset_bytes)` is shown each piece of the file first and
        returns how many of its bytes it dealt with: those frames are not yielded.
        When the iterator ends, `stop` says where and at what. O(bytes).
        """
        self.stop = None
        stops: list[Stop] = []
        offset, wanted = start_bytes, CHUNK_BYTES
        while True:
            buffer = self._file.pread(max(min(wanted, stop_bytes - offset), 0), offset)
            begin = ahead(buffer, offset) if ahead is not None else 0
            yield from frames_format.walk(buffer, begin, offset, self._salt, stops)
            stop = stops.pop()
            seen_bytes = offset + len(buffer)
            unfinished = stop.fault is not Fault.PAYLOAD and stop.needed_bytes > seen_bytes - stop.offset_bytes
            if not unfinished or seen_bytes >= stop_bytes or len(buffer) < wanted:
                self.stop = stop
                return
            offset, wanted = stop.offset_bytes, max(CHUNK_BYTES, stop.needed_bytes)

    def search(self, start_bytes: int, stop_bytes: int) -> Iterator[Frame]:
        """Yield every frame in the range that passes both checksums, wherever it begins.

        Bytes inside a found frame are not searched: a payload can't pose as a
        frame. O(bytes), at the speed of a byte search where nothing is found.
        """
        offset, resume = start_bytes, start_bytes
        while offset < stop_bytes:
            buffer = self._file.pread(min(CHUNK_BYTES + HEADER_BYTES, stop_bytes - offset), offset)
            for position in frames_format.candidates(buffer, max(resume - offset, 0)):
                if position >= CHUNK_BYTES:
                    break
                if offset + position < resume:
                    continue
                found = self._frame_at(buffer, position, offset, stop_bytes)
                if found is not None:
                    yield found
                    resume = found.end_bytes
            if len(buffer) < CHUNK_BYTES:
                return
            offset += CHUNK_BYTES

    def _frame_at(self, buffer: bytes, position: int, base_bytes: int, stop_bytes: int) -> Frame | None:
        stops: list[Stop] = []
        found = next(frames_format.walk(buffer, position, base_bytes, self._salt, stops), None)
        if found is not None or stops[0].fault is not Fault.SHORT:
            return found
        whole = self._file.pread(min(stops[0].needed_bytes, stop_bytes - stops[0].offset_bytes), stops[0].offset_bytes)
        return next(frames_format.walk(whole, 0, stops[0].offset_bytes, self._salt, stops), None)

    def content_end(self, start_bytes: int, stop_bytes: int) -> int:
        """Return the offset behind the last byte of the range that isn't zero, `start_bytes` if all are."""
        end, offset = start_bytes, start_bytes
        while offset < stop_bytes:
            buffer = self._file.pread(min(CHUNK_BYTES, stop_bytes - offset), offset)
            if not buffer:
                break
            content_bytes = _content_bytes(buffer)
            if content_bytes:
                end = offset + content_bytes
            offset += len(buffer)
        return end


def _content_bytes(buffer: bytes) -> int:
    r"""Return what is left of the buffer's length without zeros at its end.

    Equal to `len(buffer.rstrip(b"\0"))`, which looks at one byte at a time:
    prepared space is mostly zeros, and this compares them by the page.
    """
    end = len(buffer)
    while buffer.endswith(_ZEROS, 0, end):
        end -= len(_ZEROS)
    start = max(end - len(_ZEROS), 0)
    return start + len(buffer[start:end].rstrip(b"\0")) if end else 0
