"""One save in a thread of its own, while the job goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.checkpoint.pack import Progress


class Saving:
    """A save that is under way, or has ended. Made by `Checkpoints.save_async`."""

    def __init__(self, save: Callable[[Progress], Checkpoint]) -> None:
        self._save = save
        self._done_bytes = 0
        self._total_bytes = 0
        self._checkpoint: Checkpoint | None = None
        self._error: BaseException | None = None
        self._is_told = False
        self._thread = threading.Thread(target=self._run, name="journalkit-saver", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it has ended, one way or the other."""
        return not self._thread.is_alive()

    @property
    def progress(self) -> tuple[int, int]:
        """How many bytes of the state were looked at, and how many there are: 0 as long as that isn't known."""
        return self._done_bytes, self._total_bytes

    def wait(self, timeout_s: float | None = None) -> Checkpoint | None:
        """Wait for its end and return the checkpoint; None if it takes longer.

        Raises:
            JournalError: What it failed with, each time it is asked. The next save isn't told any more.
        """
        if not self.join(timeout_s):
            return None
        self._is_told = True
        if self._error is not None:
            raise self._error
        return self._checkpoint

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for its end and return whether it came."""
        self._thread.join(timeout_s)
        return self.done

    def told(self) -> Checkpoint | None:
        """Return the checkpoint of a save that ended, None if it failed and somebody knows; raise if nobody does."""
        return self._checkpoint if self._is_told else self.wait()

    def _run(self) -> None:
        try:
            self._checkpoint = self._save(self._note)
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
            self._error = error

    def _note(self, done_bytes: int, total_bytes: int) -> None:
        self._done_bytes, self._total_bytes = done_bytes, total_bytes
