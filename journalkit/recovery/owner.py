"""Who has the store: the kernel lock, and the words beside it that help whoever is refused."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from journalkit.clock import Clock
from journalkit.errors import LockedError, StorageError
from journalkit.format.names import LOCK
from journalkit.fs.full import is_full
from journalkit.fs.interface import FileSystem, LockHandle, ReadableFileSystem
from journalkit.fs.lock import read_description


@dataclass(frozen=True, slots=True)
class Ownership:
    """The store's exclusive lock, and what its file said before; None: there was no such file."""

    lock: LockHandle
    _fs: FileSystem
    _path: str
    _words_before: bytes | None

    def undo(self) -> None:
        """Leave the lock's file as it was and give the lock back, for an open that is refused."""
        try:
            with contextlib.suppress(OSError):
                if self._words_before is not None:
                    self.lock.describe(self._words_before)
                elif self.lock.is_valid():
                    # The last act of its holder: who opened this file before finds, holding its lock,
                    # that it is no longer the one at its path, and tries again.
                    self._fs.unlink(self._path)
        finally:
            self.lock.close()


def take_ownership(fs: FileSystem, directory: str, clock: Clock, opened_at: str) -> Ownership:
    """Return the store's exclusive lock. It ends with the process, however the process ends.

    Raises:
        LockedError: Somebody has it; the error says who, as far as is known.
        StorageError: The lock file can't be made (a read-only directory, no permission).
    """
    path = os.path.join(directory, LOCK)
    try:
        before = read_description(fs, path) if fs.status(path) is not None else None
        lock = fs.lock(path)
    except OSError as error:
        raise StorageError(
            f"{directory}: can't be opened for writing ({error.strerror}); mode='r' only reads", cause=error
        ) from error
    if lock is None:
        raise locked_by(fs, directory)
    since = datetime.fromtimestamp(clock.wall_us() / 1_000_000, UTC).isoformat(timespec="seconds")
    words = {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "opened_at": opened_at}
    try:
        lock.describe(json.dumps(words).encode())
    except OSError as error:
        # The words only help: a full disk is no reason to refuse.
        if not is_full(error):
            lock.close()
            raise StorageError(f"{path}: can't be written ({error.strerror}); try again", cause=error) from error
    return Ownership(lock, fs, path, before)


def locked_by(fs: ReadableFileSystem, directory: str) -> LockedError:
    """Return the error for a store that somebody has, with what its owner wrote."""
    path = os.path.join(directory, LOCK)
    try:
        words = json.loads(read_description(fs, path))
        host, pid = str(words["host"]), int(words["pid"])
        since, opened_at = str(words["since"]), str(words["opened_at"])
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, OSError):
        return LockedError(
            f"{directory} is open for writing elsewhere; close it there, or open it with mode='r'", path=directory
        )
    here = pid == os.getpid() and host == socket.gethostname()
    who = f"this process, at {opened_at}" if here else f"process {pid} on {host}"
    return LockedError(
        f"{directory} is open for writing in {who}, since {since}; close it there, or open it with mode='r'",
        path=directory,
        host=host,
        pid=pid,
        since=since,
        opened_at=opened_at,
    )
