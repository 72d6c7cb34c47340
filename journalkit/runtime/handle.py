"""Handles: what an open store and an open journal have in common.

A handle is usable until it refuses: because it was closed, or because this is
a child of the process that opened it. It is closed once, by whoever comes
first: the caller, the end of a `with` block, the end of the process, or, with
a warning, the garbage collector.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from journalkit.errors import ClosedError, ForkedError, JournalError, ReadOnlyError
from journalkit.log.log import Log
from journalkit.options import Options, check_sync
from journalkit.recovery.writer import Opened
from journalkit.runtime import lifecycle
from journalkit.runtime.background import Background, Stepper
from journalkit.runtime.syncer import Syncer
from journalkit.types import Sync

_STOP_WAIT_S: Final = 0.3


class Handle:
    """An open directory, `opened` if it is ours to write and None if it is only read."""

    def __init__(self, path: str, options: Options, opened: Opened | None, opened_at: str) -> None:
        self._path = path
        self._options = options
        self._opened = opened
        self._opened_at = opened_at
        self._refusal: JournalError | None = None
        self._closing = threading.Lock()
        self._backgrounds: list[tuple[Stepper, Background]] = []
        self._has_syncer = False
        self._default_durable = options.sync == "always"
        if options.sync == "interval":
            self._start_syncer()
        lifecycle.register(self)

    @property
    def path(self) -> str:
        """The directory, as it was given."""
        return self._path

    @property
    def closed(self) -> bool:
        """Whether the handle is of no more use."""
        return self._refusal is not None

    def sync(self) -> int:
        """Make every visible record durable and return the LSN that is then durable.

        Raises:
            StorageError: What of the undurable records survives is unknown; the
                handle takes no more writes, reads go on.
        """
        return self._require_log().sync()

    def close(self) -> None:
        """Sync, seal the log, release the lock. Idempotent; takes at most about a second.

        Durability:
            Every visible record survives a power cut once this returns, under any `sync`.

        Raises:
            StorageError: The log could not be sealed; the handle is closed all
                the same, and recovery tells what survived.
        """
        with self._closing:
            if self._refusal is not None:
                return
            self._refusal = ClosedError(f"{self._path} is closed; open it again")
        lifecycle.unregister(self)
        for _, background in self._backgrounds:
            background.ask_to_stop()
        try:
            self._before_close()
            if self._opened is not None:
                self._opened.close()
        finally:
            for _, background in self._backgrounds:
                background.join(_STOP_WAIT_S)

    def _before_close(self) -> None:
        """End what may be under way: for a subclass."""

    def forbid(self) -> None:
        """Refuse every later use: this is a child of the process that opened it."""
        self._refusal = ForkedError(
            f"{self._path} was opened by the parent process (at {self._opened_at}); a child opens it for itself, "
            "once the parent closed it, or with mode='r'"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # A handle whose opening failed has no attribute to look at.
        if getattr(self, "_refusal", self) is None:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self)
            with suppress(JournalError):
                self.close()

    def _require_open(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def _require_opened(self) -> Opened:
        self._require_open()
        if self._opened is None:
            raise ReadOnlyError(f"{self._path} is open for reading only; open it with mode='rw'")
        return self._opened

    def _require_log(self) -> Log:
        return self._require_opened().log

    def _durable(self, sync: Sync | None) -> bool:
        """Whether a write with this `sync` waits for the device."""
        if sync is None:
            return self._default_durable
        check_sync(sync)
        if sync == "interval":
            self._start_syncer()
        return sync == "always"

    def _start_syncer(self) -> None:
        if self._opened is not None and not self._has_syncer:
            self._has_syncer = True
            self._run(Syncer(self._opened.log, self._options.sync_interval_ms / 1000), "journalkit-syncer")

    def _run(self, stepper: Stepper, name: str) -> None:
        self._backgrounds.append((stepper, Background(stepper, name)))
