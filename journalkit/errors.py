"""What can go wrong, one class for each thing that a caller can do next.

The message is one sentence with the next step; data stand in attributes. Every
class is a `JournalError`; where Python has a class for the same thing, the
error is that too.
"""

from __future__ import annotations

import errno
import os


class JournalError(Exception):
    """Base of every error that journalkit raises on purpose."""


class UsageError(JournalError):
    """The call is wrong. Fix it; nothing was written."""


class KeyTypeError(UsageError, TypeError):
    """A key or value is of a type that can't be stored. Nothing was written."""


class KeyValueError(UsageError, ValueError):
    """A key, value or option of the right type is out of range. Nothing was written."""


class ClosedError(UsageError):
    """The handle is closed. Open the store again."""


class ReadOnlyError(UsageError):
    """The store was opened for reading. Open it with mode="rw" to write."""


class RecordTooLargeError(UsageError, ValueError):
    """One commit exceeds what a record may hold. Split it; nothing was written."""

    def __init__(self, message: str, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(message)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class ForkedError(UsageError):
    """A child process used its parent's handle. Open the store in the child, once the parent closed it."""


class LockedError(JournalError):
    """Another writer has the store. Close it there, or open with mode="r".

    Attributes tell who: `host`, `pid`, `since` (ISO 8601, UTC), `path`, and
    `opened_at` ("file:line" in the owner's program); "" or 0 where unknown.
    """

    def __init__(
        self, message: str, *, path: str, host: str = "", pid: int = 0, since: str = "", opened_at: str = ""
    ) -> None:
        super().__init__(message)
        self.path = path
        self.host = host
        self.pid = pid
        self.since = since
        self.opened_at = opened_at


class ConflictError(JournalError):
    """Somebody else committed in between. Read again and retry; nothing was written."""


class FencedError(JournalError):
    """A newer writer has this store. Close this handle; nothing more was written."""


class StorageError(JournalError, OSError):
    """The operating system failed. Close and reopen; reads on this handle go on.

    `errno`, `strerror` and `filename` are those of the failed call.
    """

    def __init__(self, message: str, *, cause: OSError | None = None, path: str | None = None) -> None:
        number = cause.errno if cause is not None and cause.errno is not None else errno.EIO
        super().__init__(number, message, path if path is not None else getattr(cause, "filename", None))
        self._message = message

    def __str__(self) -> str:
        return self._message


class StoreFullError(JournalError, OSError):
    """No room. Nothing was written; free space and go on with the same handle.

    `path` is the store, `needed_bytes` what the call asked for at least and
    `free_bytes` what the file system said was free.
    """

    def __init__(
        self, message: str, *, path: str, needed_bytes: int, free_bytes: int, number: int = errno.ENOSPC
    ) -> None:
        super().__init__(number, message, path)
        self._message = message
        self.path = path
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes

    def __str__(self) -> str:
        return self._message


class CorruptionError(JournalError):
    """Something promised is damaged. Restore a copy, `journalkit recover` or `journalkit salvage`.

    `path`, `offset_bytes`, `lsn` and `reason` say what and where; `None` where
    the damage has no such coordinate.
    """

    def __init__(
        self, reason: str, *, path: str, offset_bytes: int | None = None, lsn: int | None = None, next_step: str = ""
    ) -> None:
        where = path
        if offset_bytes is not None:
            where += f" at byte {offset_bytes}"
        if lsn is not None:
            where += f" (LSN {lsn})"
        step = next_step or f"look with `journalkit verify {os.path.dirname(path) or '.'}`"
        super().__init__(f"{where}: {reason}; {step}")
        self.path = path
        self.offset_bytes = offset_bytes
        self.lsn = lsn
        self.reason = reason


def salvage_step(directory: str) -> str:
    """Return the next step where whole records make no sense: `verify`, which looks at bytes, has no more to say."""
    return f"copy what can be read with `journalkit salvage {directory} NEW`"


class SchemaError(JournalError):
    """The application's types don't fit what is stored. Register the type or an upcaster."""


class UnsupportedFormatError(JournalError):
    """Written by a newer journalkit, or with a codec this one lacks. Upgrade; nothing was touched."""


class StoreNotFoundError(JournalError, FileNotFoundError):
    """There is no store at that path. Check the path, or open with create=True."""

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(errno.ENOENT, message, path)
        self._message = message
        self.path = path

    def __str__(self) -> str:
        return self._message


class HistoryGoneError(JournalError):
    """The log no longer reaches that far. `first_lsn` to `last_lsn` are there."""

    def __init__(self, message: str, *, first_lsn: int, last_lsn: int) -> None:
        super().__init__(message)
        self.first_lsn = first_lsn
        self.last_lsn = last_lsn


class CheckpointNotFoundError(JournalError, LookupError):
    """There is no checkpoint of that name."""


class CheckpointAbortedError(JournalError):
    """A worker, or the process that saves, didn't do its part: there is no checkpoint. Go on; the next one may be."""


class ArchiveUnavailableError(JournalError):
    """Object storage can't be reached just now. Retry."""


class UnknownOutcomeError(ArchiveUnavailableError):
    """The storage didn't say whether it was done. Look at what is there; doing it again does it once.

    The same bytes again are safe: if the first try did create the object, that
    is found. An object that isn't there may still come, from a request on its
    way.
    """


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint is damaged, and an older one is taken in its place."""
