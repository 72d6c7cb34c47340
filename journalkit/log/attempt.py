"""One fsync whose outcome is known even when the thread is interrupted around it.

A KeyboardInterrupt, or an exception that another thread sends, can arrive
between the return of fsync and the first instruction that would note it. To
try again would be wrong: after an error the kernel marks the pages clean and
the second fsync lies. To give up would poison a store for a Ctrl-C.

So the call and the note are made by one C function: `list.extend` over
`starmap` appends the result without running a byte of Python in between. What
is left afterwards tells the three cases apart: not begun, returned, or begun
and not returned, which counts as failed.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from itertools import starmap

from journalkit.fs.interface import WritableFile


class SyncAttempt:
    """A single `sync_data` of one file; `run` again after an interruption goes on where it was."""

    __slots__ = ("_calls", "_file", "_returned")

    def __init__(self, file: WritableFile) -> None:
        self._file = file
        self._calls: Iterator[tuple[()]] = iter(((),))
        self._returned: list[None] = []

    def run(self) -> None:
        """Sync, unless that was done already.

        Raises:
            OSError: The sync failed, or an earlier run was cut short inside it;
                what was written to the file is unknown for good.
        """
        if self._returned:
            return
        # __length_hint__ looks at an iterator without consuming it.
        if not self._calls.__length_hint__():  # type: ignore[attr-defined]
            raise OSError(errno.EIO, "an fsync was begun and its outcome is unknown")
        self._returned.extend(starmap(self._file.sync_data, self._calls))
