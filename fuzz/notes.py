"""What the process under test leaves behind, however it ends: how many inputs it ran, and the last of them.

A file in shared memory. Writing costs two copies, and nothing has to be
delivered: after a segmentation fault, an abort, a kill for memory or an
endless loop the parent reads the input that did it.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from fuzz.target import INPUT_BYTES_MAX

_HEAD = struct.Struct("<QI")


class Notes:
    """A count and the newest input, in a file that two processes map."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        size_bytes = _HEAD.size + INPUT_BYTES_MAX
        if create:
            path.write_bytes(bytes(size_bytes))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size_bytes)

    def write(self, number: int, data: bytes) -> None:
        """Note an input before it is run; it has at most `INPUT_BYTES_MAX`."""
        self._map[_HEAD.size : _HEAD.size + len(data)] = data
        self._map[: _HEAD.size] = _HEAD.pack(number, len(data))

    @property
    def number(self) -> int:
        """How many inputs were begun."""
        number: int = _HEAD.unpack_from(self._map)[0]
        return number

    @property
    def data(self) -> bytes:
        """The last of them."""
        size_bytes = _HEAD.unpack_from(self._map)[1]
        return bytes(self._map[_HEAD.size : _HEAD.size + size_bytes])

    def close(self) -> None:
        """Unmap."""
        self._map.close()
