"""One save in a thread of its own, while the job goes on, and never two at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.checkpoint.pack import Progress
from journalkit.errors import UsageError


class Saving:
    """A save that is under way, or has ended. Made by `Checkpoints.save_async`."""

    def __init__(self, save: Callable[[Progress], Checkpoint]) -> None:
        self._save = save
        self._done_bytes = 0
        self._total_bytes = 0
        self._checkpoint: Checkpoint | None = None
        self._error: BaseException | None = None
        self._is_told = False
        self._first = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="journalkit-saver", daemon=True)

    def start(self) -> None:
        """Begin. What this raises may have come behind the beginning: `give_up` tells."""
        self._thread.start()

    def give_up(self) -> bool:
        """Return whether it never does anything, and see to that if it hasn't begun."""
        return self._first.acquire(blocking=False)

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

    @property
    def is_told(self) -> bool:
        """Whether somebody knows how it ended."""
        return self._is_told

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for its end and return whether it came."""
        self._thread.join(timeout_s)
        return self.done

    def told(self) -> Checkpoint | None:
        """Return the checkpoint of a save that ended, None if it failed and somebody knows; raise if nobody does."""
        return self._checkpoint if self._is_told else self.wait()

    def _run(self) -> None:
        if not self._first.acquire(blocking=False):
            return
        try:
            self._checkpoint = self._save(self._note)
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
            self._error = error

    def _note(self, done_bytes: int, total_bytes: int) -> None:
        self._done_bytes, self._total_bytes = done_bytes, total_bytes


class OneAtATime:
    """The saves of a handle, by whatever threads: one after the other, and what fails unseen is told to the next."""

    def __init__(self) -> None:
        self._one = threading.Lock()
        self._whose = 0
        self._guard = threading.RLock()
        self._under_way: Saving | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other save is under way, and keep others from beginning one meanwhile.

        Raises:
            UsageError: This very thread is saving, and has called this by way of a callback or a signal's handler.
            JournalError: What an earlier one failed with, if nobody has been told yet.
        """
        mine = threading.get_ident()
        if self._whose == mine and self._one.locked():
            raise UsageError(
                "this thread is saving, and this was called from within (a progress callback, a signal's handler): "
                "note it there, and call it once the save has returned"
            )
        with self._one:
            try:
                self._whose = mine
                self.wait()
                yield
            finally:
                self._whose = 0

    def begin(self, save: Callable[[Progress], Checkpoint], *, otherwise: Callable[[], None] | None = None) -> Saving:
        """Begin a save in a thread, in one's turn; `otherwise` is called if that can't be, and nothing is saved."""
        saving = Saving(save)
        try:
            saving.start()
            self._note(saving)
        except BaseException:  # no thread can be had; or Ctrl-C, at any moment
            if not saving.give_up():
                self._note(saving)
            elif otherwise is not None:
                otherwise()
            raise
        return saving

    def _note(self, saving: Saving) -> None:
        with self._guard:
            self._under_way = saving

    def end(self) -> None:
        """Wait until none is under way, in no thread. Raises as `turn`."""
        with self.turn():
            pass

    def wait(self, timeout_s: float | None = None) -> Checkpoint | None:
        """Wait for the one that is under way; as `Checkpoints.wait`."""
        saving = self._under_way
        if saving is None or not saving.join(timeout_s):
            return None
        with self._guard:
            try:
                return saving.told()
            finally:
                # Another thread may have begun the next one. And whoever is interrupted here hasn't been told.
                if saving.is_told and self._under_way is saving:
                    self._under_way = None
