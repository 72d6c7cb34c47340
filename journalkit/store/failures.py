"""What it means that a table's file can't be read."""

from __future__ import annotations

import errno

from journalkit.errors import ForkedError, JournalError, StorageError
from journalkit.runtime.lifecycle import was_forked
from journalkit.snapshot.batches import Batches


def unreadable(error: OSError) -> JournalError:
    """Return the error for a caller: what was asked for is there, but can't be had."""
    if isinstance(error, JournalError):
        return error
    if error.errno == errno.EBADF and was_forked():
        # Every descriptor of the parent's is closed in a child, so this is a view or an iterator of the parent's.
        return ForkedError("it was made by the parent process; open the store in the child, with mode='r' perhaps")
    return StorageError(f"{error.filename}: can't be read ({error.strerror}); try again", cause=error)


def told(batches: Batches) -> Batches:
    """Yield the batches; an error of the file system becomes one of the contract."""
    try:
        yield from batches
    except OSError as error:
        raise unreadable(error) from error
