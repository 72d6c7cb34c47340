"""Handles: what an open store and an open journal have in common.

A handle is usable until it refuses: because it was closed, or because this is
a child of the process that opened it. It is closed once, by whoever comes
first: the caller, the end of a `with` block, the end of the process, or, with
a warning, the garbage collector.

The lock on the directory goes last, when nobody is inside a write any more.
If the disk hangs, closing doesn't wait for it: a thread does, and gives the
lock back then, so that no later owner meets a write of this one.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeAlias, TypeVar, cast

from journalkit.errors import (
    ClosedError,
    ForkedError,
    JournalError,
    KeyTypeError,
    ReadOnlyError,
    StorageError,
)
from journalkit.log.gate import Gate
from journalkit.log.log import Log
from journalkit.options import Options, check_sync
from journalkit.recovery.writer import Opened
from journalkit.runtime import lifecycle
from journalkit.runtime.background import Background, Stepper
from journalkit.runtime.syncer import Syncer
from journalkit.types import Sync

Rest: TypeAlias = Callable[[float], bool]
"""Waits at most so many seconds for work to end, and tells whether it did."""

AnyHandle = TypeVar("AnyHandle", bound="Handle")

_REST_WAIT_S: Final = 0.1


class Handle:
    """An open directory, `opened` if it is ours to write and None if it is only read."""

    def __init__(self, path: str, options: Options, opened: Opened | None, opened_at: str) -> None:
        self._path = path
        self._options = options
        self._opened = opened
        self._gate = Gate(opened.log) if opened is not None else None
        self._opened_at = opened_at
        self._refusal: JournalError | None = None
        self._is_ended = False
        self._guard = threading.RLock()
        self._rests: list[Rest] = []
        self._backgrounds: list[tuple[Stepper, Background]] = []
        self._has_syncer = False
        self._default_durable = options.sync == "always"
        lifecycle.register(self)

    def _start_threads(self) -> None:
        """Start what this handle's options ask for."""
        if self._options.sync == "interval":
            self._start_syncer()

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

        One that was interrupted can be called again, and then ends what it began.

        Durability:
            Every visible record survives a power cut once this returns, under any `sync`.

        Raises:
            StorageError: The log could not be sealed, or had failed before with
                records that aren't durable; the handle is closed all the same,
                and recovery tells what survived. If the disk hangs, the lock is
                released when it returns. Also if an earlier call was interrupted
                before the log was sealed.
            UsageError: Called by a signal handler in the middle of a write of
                the same thread, which fails. Closed, but not sealed.
        """
        # In a child the guard may be held by a thread that there is no more.
        if isinstance(self._refusal, ForkedError):
            return
        with self._guard:
            if self._is_ended:
                return
            if self._refusal is None:
                self._refusal = ClosedError(f"{self._path} is closed; open it again")
            is_at_rest = is_told = False
            try:
                lost = self._close_log()
                is_at_rest = is_told = True
            except Exception:
                is_told = True
                raise
            finally:
                self._let_go(is_at_rest=is_at_rest)
                # Not after an interrupt: whoever calls again is told what became of the records.
                self._is_ended = is_told
        if lost is not None:
            raise lost.with_traceback(None)

    def _close_log(self) -> JournalError | None:
        """Seal the log; return why, if it had failed before, with records that were shown and aren't durable."""
        if self._opened is None:
            return None
        log = self._opened.log
        failure = log.failure
        log.close()
        if log.durable_lsn == log.last_lsn or failure is None:
            return None
        if isinstance(failure, ClosedError):
            return StorageError(
                f"{self._path}: closing it was interrupted before the last records were durable; "
                "open it again, which tells what survived"
            )
        return failure

    def _let_go(self, *, is_at_rest: bool) -> None:
        """End what runs in the background and release the lock once it has ended."""
        lifecycle.unregister(self)
        self._before_release()
        for _, background in self._backgrounds:
            background.ask_to_stop()
        opened = self._opened
        if opened is None:
            return
        rests = [background.join for _, background in self._backgrounds] + self._rests
        if is_at_rest and all(rest(_REST_WAIT_S) for rest in rests):
            opened.close()
            return
        late = threading.Thread(target=_release, args=(opened,), name="journalkit-closer", daemon=True)
        with suppress(RuntimeError):  # The interpreter ends and takes no more threads; the lock ends with it.
            late.start()
            late.join(_REST_WAIT_S)

    def _before_release(self) -> None:
        """Ask what may be under way to end: for a subclass."""

    def forbid(self) -> None:
        """Refuse every later use: this is a child of the process that opened it."""
        self._refusal = ForkedError(
            f"{self._path} was opened by the parent process (at {self._opened_at}); a child opens it for itself, "
            "once the parent closed it, or with mode='r'"
        )

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise KeyTypeError(f"{self._path}: an open handle can't be copied or pickled; pass its path and open that")

    def __del__(self) -> None:
        # A handle whose opening failed has no attribute to look at.
        if getattr(self, "_is_ended", True):
            return
        try:
            if self._refusal is None:
                warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self)
        finally:
            with suppress(JournalError):
                self.close()

    def _require_open(self) -> None:
        if self._refusal is not None:
            # One error, raised by many: without the traces of the others it doesn't grow.
            raise self._refusal.with_traceback(None)

    def _require_opened(self) -> Opened:
        self._require_open()
        if self._opened is None:
            raise ReadOnlyError(f"{self._path} is open for reading only; open it with mode='rw'")
        return self._opened

    def _require_log(self) -> Log:
        return self._require_opened().log

    def _require_gate(self) -> Gate:
        self._require_log()
        return cast(Gate, self._gate)

    def _durable(self, sync: Sync | None) -> bool:
        """Whether a write with this `sync` waits for the device."""
        if sync is None:
            return self._default_durable
        check_sync(sync)
        if sync == "interval":
            self._start_syncer()
        return sync == "always"

    def _start_syncer(self) -> None:
        if self._has_syncer or self._opened is None:
            return
        with self._guard:
            self._require_open()
            if not self._has_syncer:
                self._run(Syncer(self._opened.log, self._options.sync_interval_ms / 1000), "journalkit-syncer")
                self._has_syncer = True

    def _run(self, stepper: Stepper, name: str) -> None:
        self._backgrounds.append((stepper, Background(stepper, name)))


def started(handle: AnyHandle) -> AnyHandle:
    """Start what a new handle runs in the background and return it; if that can't be, close it again."""
    try:
        handle._start_threads()
    except BaseException:
        handle.close()
        raise
    return handle


def _release(opened: Opened) -> None:
    """Give the lock back when no write and no publishing is under way, however long that takes."""
    while True:
        # It raises again as long as a write hangs, which it waits for a while each time.
        with suppress(StorageError):
            opened.log.close()
            break
    opened.close()
