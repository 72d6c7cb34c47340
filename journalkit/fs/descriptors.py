"""Descriptors that outlive neither their use nor a fork.

A descriptor is a number, and the kernel hands the same number out again: a
write through a stale one lands in somebody else's file. So a number is closed
only when the last call that uses it has returned, and in a forked child every
one is closed at once, before the child can run a line: it must neither hold
its parent's lock nor share its files. (Closed, never unlocked: LOCK_UN in the
child would take the lock from the parent.)
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import weakref

from journalkit.fs.interface import FileStatus

# O_NONBLOCK: opening a FIFO must fail, not wait for its other end. Regular files don't know it.
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


class Descriptor(int):
    """A descriptor's number, closed when nothing refers to it any more.

    Closing by reference count lets one thread close a file while another is
    inside a read: the number can't be recycled under the read.
    """

    is_open = True

    def release(self) -> None:
        """Close now; twice is harmless. What was written is `sync`'s to vouch for, so errors say nothing new."""
        if self.is_open:
            self.is_open = False
            with contextlib.suppress(OSError):
                os.close(self)

    def __del__(self) -> None:
        self.release()


class Handle:
    """What every open file has: a descriptor until `close` or a fork takes it away."""

    def __init__(self, descriptor: Descriptor, path: str) -> None:
        self._path = path
        self._descriptor: Descriptor | None = descriptor
        _handles.add(self)

    def size(self) -> int:
        """Return the file's size in bytes now."""
        return os.fstat(self._held()).st_size

    def close(self) -> None:
        """Give the descriptor up, to be closed when the last call inside it returns; twice is harmless."""
        self._descriptor = None

    def abandon(self) -> None:
        """Close the descriptor whoever uses it: in a forked child nobody does."""
        descriptor = self._descriptor
        self.close()
        if descriptor is not None:
            descriptor.release()

    def _held(self) -> Descriptor:
        descriptor = self._descriptor
        if descriptor is None:
            raise closed_error(self._path)
        return descriptor


def closed_error(path: str) -> OSError:
    """Return the error for a use after `close`, or in a child of the process that opened the file."""
    return OSError(errno.EBADF, os.strerror(errno.EBADF), path)


def open_regular(path: str, flags: int) -> Descriptor:
    """Open a regular file, refusing links, directories and devices without waiting for any of them.

    Call it, and make the `Handle`, under `fork_guard`.
    """
    descriptor = Descriptor(os.open(path, flags | _ALWAYS, FILE_MODE))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    descriptor.release()
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "not a regular file", path)


def status(path: str) -> FileStatus | None:
    """Return what is at `path`, the last link not followed, or None when there is nothing."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileStatus(size_bytes=found.st_size, is_directory=stat.S_ISDIR(found.st_mode), inode=found.st_ino)


_handles: weakref.WeakSet[Handle] = weakref.WeakSet()

fork_guard = threading.RLock()
"""Held from `open` until the handle is registered, and through every fork: no descriptor slips into a child unseen."""


def _after_in_child() -> None:
    for handle in list(_handles):
        handle.abandon()
    fork_guard.release()


os.register_at_fork(before=fork_guard.acquire, after_in_parent=fork_guard.release, after_in_child=_after_in_child)
