"""Files that nobody reads yet, in a directory of their own; and the end of those that nobody will finish.

Each handle that writes names its temporaries by a nonce and holds the kernel
lock on `<nonce>.lock`: that is how others know that it lives. Whoever gets the
lock of another nonce removes its temporaries. No clock and no process id
decides. Where locks lie a living writer may lose a temporary, and its write
fails; where there are none, nothing is swept.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Callable
from typing import Final

from journalkit.fs.interface import FileSystem, LockHandle, WritableFile

_LOCK_SUFFIX: Final = ".lock"
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})


class Temporaries:
    """One handle's temporaries in a directory that exists. Sweeps what others left when it is made."""

    def __init__(self, fs: FileSystem, directory: str, draw_nonce: Callable[[], str]) -> None:
        self._fs = fs
        self._directory = directory
        self._nonce = draw_nonce()
        self._numbers = itertools.count(1)
        self._lock: LockHandle | None = None
        try:
            # Somebody who sweeps may have found the file before we had its lock, and takes it for a dead one's.
            while (lock := fs.lock(self._path(self._nonce + _LOCK_SUFFIX))) is None:
                self._nonce = draw_nonce()
            self._lock = lock
            self._sweep()
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                self.close()
                raise

    def create(self) -> tuple[str, WritableFile]:
        """Return the path of a new file, and the file."""
        while True:
            path = self._path(f"{self._nonce}-{next(self._numbers)}")
            # Taken: the handle was inherited by a child, and both go on counting.
            with contextlib.suppress(FileExistsError):
                return path, self._fs.create(path)

    def remove(self, path: str) -> None:
        """Take a temporary's name away if it has it still. What can't be removed is swept later."""
        with contextlib.suppress(OSError):
            self._fs.unlink(path)

    def close(self) -> None:
        """Live no more."""
        lock, self._lock = self._lock, None
        if lock is not None:
            self.remove(self._path(self._nonce + _LOCK_SUFFIX))
            lock.close()

    def _sweep(self) -> None:
        names = self._fs.list(self._directory)
        size = len(self._nonce)
        for owner in sorted({name[:size] for name in names} - {self._nonce}):
            lock = self._fs.lock(self._path(owner + _LOCK_SUFFIX))
            if lock is None:
                continue
            try:
                for name in names:
                    if name.startswith(owner) and not name.endswith(_LOCK_SUFFIX):
                        self.remove(self._path(name))
                self.remove(self._path(owner + _LOCK_SUFFIX))
            finally:
                lock.close()

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)
