"""One writer per store: a kernel lock that dies with its process.

`flock` belongs to the open file, not to the process: a second opener in the
same process is refused too, and closing some other descriptor of the file
doesn't drop it, as POSIX record locks would. After `kill -9` the kernel
releases it; nobody ever has to remove a stale file. The file itself is never
unlinked: two openers could then hold locks on two files of one name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from journalkit.fs.descriptors import Handle, fork_guard, open_regular
from journalkit.fs.interface import ReadableFileSystem

DESCRIPTION_BYTES_MAX = 4096

_ATTEMPTS_MAX = 100


class PosixLock(Handle):
    """A lock that this process holds, until `close` or the process's end."""

    def describe(self, text: bytes) -> None:
        """Replace the words that a refused opener will read. Not durable."""
        descriptor = self._held()
        at = 0
        while at < len(text):
            at += os.pwrite(descriptor, text[at:], at)
        os.ftruncate(descriptor, len(text))

    def is_valid(self) -> bool:
        """Whether the lock file is still the one at its path: if not, somebody else may hold the new one."""
        mine = os.fstat(self._held())
        try:
            there = os.lstat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)

    def close(self) -> None:
        """Release the lock; twice is harmless.

        It unlocks before it closes: between fork and exec of a subprocess the
        child has the open file too, and would hold on to the lock. Where that
        fails there is nothing to tell: the lock ends with the descriptor.
        """
        with fork_guard:
            descriptor = self._descriptor
            if descriptor is None:
                return
            try:
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                self.abandon()

    def abandon(self) -> None:
        """Close the descriptor without unlocking: in a forked child the lock is still the parent's."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            descriptor.release()


def take_lock(path: str) -> PosixLock | None:
    """Return the exclusive lock on the file at `path`, creating it if need be; None if somebody has it."""
    for _ in range(_ATTEMPTS_MAX):
        with fork_guard:
            descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
            lock = PosixLock(descriptor, path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if lock.is_valid():
                return lock
        except BlockingIOError:
            lock.abandon()
            return None
        except BaseException:
            lock.abandon()
            raise
        # The file was replaced between open and lock: what is locked now excludes nobody.
        lock.abandon()
    raise OSError(errno.ESTALE, "the lock file keeps being replaced", path)


def read_description(fs: ReadableFileSystem, path: str) -> bytes:
    """Return what the lock's owner wrote of itself, b"" if there is no such file.

    At most `DESCRIPTION_BYTES_MAX` bytes, of whatever kind: who reads them
    trusts nothing.
    """
    try:
        file = fs.open_read(path)
    except FileNotFoundError:
        return b""
    try:
        return file.pread(DESCRIPTION_BYTES_MAX, 0)
    finally:
        file.close()
