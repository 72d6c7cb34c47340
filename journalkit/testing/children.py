"""A child process that is none: it does its work where it is asked for it, on a simulated disk.

What a fold tells its child and hears from it is what it would be; so a crash,
an error or a full disk can be put at any operation of either.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from journalkit.fs.interface import FileSystem
from journalkit.runtime.talk import begun
from journalkit.store.fold_child import answer
from journalkit.testing.clock import SimulatedClock


class InlineChild:
    """A `journalkit.fs.interface.Child` that merges for folds on `fs`."""

    def __init__(self, fs: FileSystem) -> None:
        self._fs = fs
        self._heard = io.BytesIO()
        self._has_begun = False
        self._has_ended = False

    def send(self, data: bytes, pause: Callable[[], None]) -> None:
        """Take it all; BrokenPipeError once the work is done."""
        if self._has_ended:
            raise BrokenPipeError
        pause()
        self._heard.write(data)

    def receive(self, timeout_s: float) -> bytes | None:  # noqa: ARG002 - nobody waits for what is done here
        """Say that it has begun, then do the work and tell how it went, then nothing any more."""
        if not self._has_begun:
            self._has_begun = True
            return begun()
        if self._has_ended:
            return b""
        self._has_ended = True
        self._heard.seek(0)
        return answer(self._heard.read, self._fs, SimulatedClock(), lambda: False, heard_all=lambda: None)

    def end(self) -> int:
        """It runs no longer than it is asked."""
        self._has_ended = True
        return 0
