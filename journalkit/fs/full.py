"""A full disk, told apart from a broken one."""

from __future__ import annotations

import errno

from journalkit.errors import StorageError, StoreFullError
from journalkit.fs.atomic import UnknownOutcomeError
from journalkit.fs.interface import ReadableFileSystem

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_full(error: OSError) -> bool:
    """Whether the error says that there is no room (on the disk, in the quota, for so large a file), and no more.

    One after which nobody knows what is on the disk is no such error, whatever its number.
    """
    return error.errno in _FULL and not isinstance(error, StorageError | UnknownOutcomeError)


def store_full(fs: ReadableFileSystem, directory: str, needed_bytes: int, cause: OSError) -> StoreFullError:
    """Return the error that tells a caller how much was needed and how much is there."""
    try:
        free_bytes = fs.free_bytes(directory)
    except OSError:
        free_bytes = 0
    return StoreFullError(
        f"{directory}: no room for {needed_bytes} more bytes ({free_bytes} free: {cause.strerror}); "
        "nothing was written, free space and go on",
        path=directory,
        needed_bytes=needed_bytes,
        free_bytes=free_bytes,
        number=cause.errno or 0,
    )
