"""Fsyncs whose outcome is known even when the thread is interrupted around them.

A KeyboardInterrupt, or an exception that another thread sends, can arrive
between the return of fsync and the first instruction that would note it. To
try again after an error would be wrong: the kernel has marked the pages clean
and the second fsync lies. To give up would poison a store for a Ctrl-C.

So the call and the note are made by one C function: `list.extend` over
`starmap` appends the result without running a byte of Python in between. What
is left afterwards tells the three cases apart: not begun, returned, or begun
and not returned, which counts as failed.

The compiled path makes fsyncs of its own, in a call that nothing interrupts,
and notes here what one that failed came to.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from itertools import starmap
from typing import Final

from journalkit.compiled import AttemptsFields
from journalkit.fs.interface import WritableFile

_ONE_CALL: Final[tuple[tuple[()], ...]] = ((),)


class SyncAttempts(AttemptsFields):
    """The fsyncs of one file. After one of them failed, every later one does.

    `failed_errno` is what an fsync on the compiled path came to, 0 while none failed.
    """

    __slots__ = ("_call", "_failure", "_file", "_returned")

    def __init__(self, file: WritableFile) -> None:
        self._file = file
        self.failed_errno = 0
        self._call: Iterator[tuple[()]] = iter(_ONE_CALL)
        self._returned: list[None] = []
        self._failure: tuple[int | None, str] = (errno.EIO, "cut short")

    def run(self) -> None:
        """Make durable what was written to the file before this call.

        Raises:
            OSError: This sync failed, or an earlier one did, or was cut short
                inside: what was written is unknown for good.
        """
        if self.failed_errno:
            self._failure = (self.failed_errno, os.strerror(self.failed_errno))
            raise self._after_a_failure()
        # __length_hint__ looks at an iterator without consuming it: 0 is "begun".
        if not self._returned and not self._call.__length_hint__():  # type: ignore[attr-defined]
            raise self._after_a_failure()
        # In this order: interrupted in between, the next attempt is one that has not begun.
        self._call = call = iter(_ONE_CALL)
        returned: list[None] = []
        self._returned = returned
        try:
            returned.extend(starmap(self._file.sync_data, call))
        except OSError as error:
            # Told again to who asks again; that it failed stands in `_call`, even if this is interrupted.
            self._failure = (error.errno, error.strerror or str(error))
            raise

    def _after_a_failure(self) -> OSError:
        number, text = self._failure
        return OSError(number, f"an earlier fsync of this file failed ({text}), so no later one means anything")
