"""Memory that this process shares with a child of its own: what is put there needs no pipe.

It has no name anywhere: whoever has its descriptor has it, and it is gone with
the last of them. The child gets the descriptor when it is started; a forked
child of this process loses it at once, like every file of ours.

It is as long as what was put there needs: giving the end back frees it for
every process, whoever still has it mapped. Who looks at bytes behind the end
is ended by a signal, so the end is given back by who knows that nobody does.
Pages are there before they are filled, so that a lack of memory is an error
and not that signal.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Callable
from typing import Final, TypeAlias

from journalkit.fs.descriptors import Descriptor, Handle, fork_guard

Mapped: TypeAlias = mmap.mmap
GRAIN_BYTES: Final = max(1 << 16, mmap.ALLOCATIONGRANULARITY)
"""Where a mapping may begin: at a multiple of it."""
_FIRST: Final = 3
"""The first descriptor that is no standard stream."""


class SharedMemory(Handle):
    """Memory without a name, empty when it is made."""

    def __init__(self, number: int | None = None) -> None:
        """Make some, or in a child take what was inherited under that number. Raises OSError where there is none."""
        name = "memory for another process"
        with fork_guard:
            super().__init__(Descriptor(_made(name) if number is None else number), name)

    def fileno(self) -> int:
        """Return the descriptor; EBADF once it was closed."""
        return self._held()

    def map(self, offset_bytes: int, size_bytes: int) -> Mapped:
        """Return a part of it to fill, from a multiple of `GRAIN_BYTES`; not to be touched before `need`."""
        descriptor = self._held()
        if self.size() < offset_bytes + size_bytes:
            os.ftruncate(descriptor, offset_bytes + size_bytes)
        return mmap.mmap(descriptor, size_bytes, offset=offset_bytes)

    def map_read(self) -> Mapped:
        """Return all of it, to look at. There has to be something."""
        return mmap.mmap(self._held(), self.size(), prot=mmap.PROT_READ)

    def need(self, offset_bytes: int, size_bytes: int) -> None:
        """See to it that there is memory for a part, and that it lies before the end. Raises OSError if there isn't."""
        os.posix_fallocate(self._held(), offset_bytes, size_bytes)

    def free(self, mapped: Mapped, from_bytes: int) -> None:
        """Give back what a mapping has from there on; it is zeros then, and there once it is needed again."""
        first = -(-from_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        # What is locked into memory, by `mlockall`, stays.
        with contextlib.suppress(OSError):
            if first < len(mapped):
                mapped.madvise(mmap.MADV_REMOVE, first, len(mapped) - first)

    def end_at(self, size_bytes: int) -> None:
        """Give back what is behind that; nobody looks there any more."""
        os.ftruncate(self._held(), size_bytes)

    def append(self, data: bytes) -> int:
        """Put bytes behind the end, and return where they are. Raises OSError if there is no memory for them."""
        descriptor = self._held()
        offset_bytes = self.size()
        self.need(offset_bytes, len(data))
        rest = memoryview(data)
        while rest:
            rest = rest[os.pwrite(descriptor, rest, offset_bytes + len(data) - len(rest)) :]
        return offset_bytes

    def read(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Return bytes from there; fewer where it ends before."""
        descriptor = self._held()
        parts: list[bytes] = []
        while size_bytes > 0 and (part := os.pread(descriptor, size_bytes, offset_bytes)):
            parts.append(part)
            offset_bytes += len(part)
            size_bytes -= len(part)
        return b"".join(parts)


def _made(name: str) -> int:
    make: Callable[[str], int] | None = getattr(os, "memfd_create", None)
    if make is None:
        raise OSError(f"this system has no {name} that it knows by descriptor alone")
    number = make(name)
    if number >= _FIRST:
        return number
    # A program that closed its own standard streams: the child's would lie over it.
    try:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    finally:
        os.close(number)
