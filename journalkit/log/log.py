"""The log: commits in, LSNs out, one fsync for many.

Whoever finds the log without a leader leads: takes what waits as one group,
gives out LSNs, writes it in one piece, syncs if anybody asked for it, makes it
visible, and wakes the rest. Leadership is a lock, so it can't be lost; what a
leader has begun stands where the next one finds it. A commit in a group
completes whatever happens to its caller; one that is still in the queue can be
withdrawn.

    commit -> queue -> group: LSN, frame -> segment -> [fsync -> durable slot] -> apply -> settled

LSNs are given out and commits applied in one order, so the visible state is a
prefix of the log at any time. (Group commit by a leader: LevelDB's writer
queue; outcomes read from the log's position: PostgreSQL's WAL.)

An interruption (KeyboardInterrupt, or an exception sent by another thread) may
come behind any call. So the lock is taken by `with` alone, which lets none in
between, and nothing but the queue and the writer's state is relied on after.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import starmap
from threading import Lock, get_ident
from typing import Final

from journalkit.clock import Clock
from journalkit.errors import (
    ClosedError,
    JournalError,
    RecordTooLargeError,
    StorageError,
    StoreFullError,
    UsageError,
)
from journalkit.format.frame import PAYLOAD_BYTES_MAX
from journalkit.format.manifest import SegmentEntry
from journalkit.fs.interface import FileSystem
from journalkit.log.commit import Applier, Check, Commit, Mutations
from journalkit.log.durable import DurableFile
from journalkit.log.succession import Position, Succession
from journalkit.log.writer import LogStatistics, LogWriter
from journalkit.manifest import ManifestKeeper

__all__ = ["Log", "Position"]

_WAIT_S: Final = 0.1
_CLOSE_WAIT_S: Final = 0.5
_NOBODY: Final = 0
_PATIENCE: Final = 2
_RETURN_S: Final = 0.000_03
"""About how long the interpreter takes to let one who was served come back with the next record."""


class Log:
    """An open log. Any thread may call anything."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        keeper: ManifestKeeper,
        clock: Clock,
        position: Position,
        durable: DurableFile,
        *,
        last_lsn: int,
        segment_bytes_max: int,
        applier: Applier,
    ) -> None:
        """Take over a log that recovery has made ready: `position.active` is named, empty and durable.

        `applier` makes records visible, in LSN order; it may be called again with the same ones.
        """
        segments = Succession(fs, directory, keeper, clock, position, segment_bytes_max)
        self._directory = directory
        self._clock = clock
        self._segments = segments
        self._writer = LogWriter(fs, directory, clock, segments, durable, last_lsn=last_lsn, applier=applier)
        self._queue: deque[Commit] = deque()
        self._leadership = Lock()
        self._leader = _NOBODY
        # How many were committing at once when a group of the queue was last written.
        self._crowd = 1
        # How long that took.
        self._lead_s = 0.0

    @property
    def last_lsn(self) -> int:
        """The last record that is visible."""
        return self._writer.last_lsn

    @property
    def durable_lsn(self) -> int:
        """The last record that is known to be on disk."""
        return self._writer.durable_lsn

    @property
    def failure(self) -> JournalError | None:
        """Why the log takes no more commits, None while it does."""
        return self._writer.failed

    @property
    def position(self) -> Position:
        """Which segments there are, at one moment."""
        return self._segments.position

    @property
    def statistics(self) -> LogStatistics:
        """What was done since the log was opened."""
        return self._writer.statistics

    # Commits

    def append(
        self, payload: bytes, kind: int, mutations: Mutations, durable: bool, check: Check | None = None
    ) -> int:
        """Append a record, wait until it is what it asked to be, and return its LSN.

        `check` is what it is for a `Commit`.

        Raises:
            RecordTooLargeError: Nothing was written.
            UsageError: Called by the leader itself, from a signal handler or a
                finalizer that interrupted it. Nothing was written.
            Exception: What the check raised; nothing was written.
            StoreFullError: Nothing was written; the log goes on.
            FencedError, StorageError, ClosedError: The log takes no more records.
            BaseException: An interrupt. If the record had an LSN it is complete
                by then, or will be; else it was withdrawn.
        """
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise RecordTooLargeError(
                f"a record of {len(payload)} bytes is over the limit of {PAYLOAD_BYTES_MAX}; split it",
                size_bytes=len(payload),
                limit_bytes=PAYLOAD_BYTES_MAX,
            )
        queue, leadership = self._queue, self._leadership
        if not queue and not leadership.locked() and not (durable and self._crowd > 1):
            try:
                with leadership:
                    self._leader = get_ident()
                    try:
                        lsn = self._writer.write_single(payload, kind, mutations, durable, check)
                    finally:
                        self._leader = _NOBODY
                if queue:
                    self._wake_next()
            except BaseException:
                self._complete()
                raise
            if lsn:
                return lsn
        return self.commit(Commit(payload, kind, mutations, durable, check))

    def commit(self, commit: Commit) -> int:
        """Take a commit into the next group, and return its LSN when it is what it asked to be. As `append`."""
        try:
            self._line_up(commit)
        except BaseException:
            with suppress(ValueError):
                self._queue.remove(commit)
            self._complete()
            raise
        finally:
            commit.leave()
        error = commit.error
        if error is not None:
            # What ends a log is told to many callers: each gets it without the tracebacks of the others.
            raise error.with_traceback(None) if isinstance(error, JournalError) else error
        return commit.lsn

    def commit_all(self, commits: Sequence[Commit]) -> None:
        """Append records in this order, all that fit as one group, and wait until each has its outcome.

        It stands in the commit: `lsn`, or `error`, which is what `commit` would have raised. For who has
        checked their sizes, and tells others; a commit may be withdrawn meanwhile.

        Raises:
            BaseException: An interrupt. Commits with an LSN are complete by then, or will be; the others,
                which aren't settled, were withdrawn.
        """
        # Nobody withdraws these: the first hears for all when its turn comes, the outcome of the last is everybody's.
        first, barrier = (Commit(None, 0, (), durable=False) for _ in range(2))
        try:
            self._line_up(barrier, (first, *commits))
        except BaseException:
            for commit in (first, *commits, barrier):
                with suppress(ValueError):
                    self._queue.remove(commit)
            self._complete()
            raise
        finally:
            first.leave()
            barrier.leave()

    def sync(self) -> int:
        """Make every visible record durable and return the LSN that is then durable.

        Raises:
            StorageError: What of the undurable records survives is unknown.
        """
        writer = self._writer
        # The group first: what is being made visible right now is not in `last_lsn` yet.
        if not writer.is_busy and writer.failed is None and writer.durable_lsn == writer.last_lsn:
            return writer.durable_lsn
        return self.commit(Commit(None, 0, (), durable=True))

    def _line_up(self, commit: Commit, before: Sequence[Commit] = ()) -> None:
        """Wait in the queue, behind `before`, until the commit is settled, leading whenever nobody does."""
        me = get_ident()
        if self._leader == me:
            for each in (*before, commit):
                each.settle(self._nested())
            return
        commit.listen()
        if before:
            # Whoever leads wakes the first in the queue, to lead on.
            before[0].listen_for(commit)
        # One call: nobody comes in between, and an interrupt finds all of them or none.
        self._queue.extend((*before, commit))
        while not commit.settled:
            if self._leadership.locked():
                commit.wait(_WAIT_S)
                continue
            with self._leadership:
                self._leader = me
                try:
                    # Who brings a crowd needn't wait for one.
                    if self._lead_s > self._crowd * _RETURN_S and self._crowd > 1 and not before:
                        self._gather()
                    began_s = self._clock.monotonic_s()
                    served = self._writer.lead(self._queue)
                    self._lead_s = self._clock.monotonic_s() - began_s
                    if not before:
                        self._crowd = len(served) + len(self._queue)
                finally:
                    self._leader = _NOBODY
            # The next leader first: while it waits for the disk the others come back.
            self._wake_next()
            for each in served:
                if not each.is_called:
                    each.wake()

    def _gather(self) -> None:
        """Let those who were just served come back before the next fsync, if it costs more than their way here.

        Half of them would wait for the fsync after it otherwise. With a quick disk that is better: one half comes
        back while the disk has the other. Ends as soon as nobody comes.
        """
        queue, patience = self._queue, _PATIENCE
        while len(queue) < self._crowd and patience:
            waiting = len(queue)
            self._clock.sleep(0)
            patience = _PATIENCE if len(queue) > waiting else patience - 1

    def _wake_next(self) -> None:
        """Leadership is free: tell who waits first, who leads for all."""
        try:
            self._queue[0].wake()
        except IndexError:
            return

    def _complete(self) -> None:
        """A caller was interrupted: complete what has an LSN, unless that is what this thread is inside of."""
        if self._leader == get_ident():
            return
        if self._writer.is_busy or self._segments.rotation is not None:
            self._as_leader(lambda: None)
        else:
            self._wake_next()

    def _as_leader(self, action: Callable[[], None]) -> None:
        """Do something while nobody writes and nothing is half done."""
        me = get_ident()
        if self._leader == me:
            raise self._nested()
        with self._leadership:
            self._leader = me
            try:
                self._writer.complete()
                action()
            finally:
                self._leader = _NOBODY
        self._wake_next()

    def _nested(self) -> UsageError:
        return UsageError(
            f"{self._directory}: called from inside a commit of the same thread, by a signal handler or a finalizer; "
            "do it after the commit"
        )

    # Segments

    def entries(self, after_lsn: int) -> tuple[SegmentEntry, ...]:
        """Return the segments that a manifest has to name if the log up to `after_lsn` is given up."""
        return self._segments.entries(after_lsn)

    @property
    def wants_next(self) -> bool:
        """Whether the active segment is half full and no successor is ready."""
        return self._segments.wants_next

    def prepare_next(self) -> None:
        """Make the next segment ready and name it in the manifest, ahead of the rotation that needs it.

        Whatever this raises, the log goes on in the active segment.

        Raises:
            StoreFullError: No room.
            FencedError, CorruptionError, StorageError: From the file or from publishing.
            ClosedError: The log is closed; or what else ended it.
        """
        self._refuse_if_failed()
        try:
            self._segments.prepare(self.durable_lsn)
        except JournalError:
            raise
        except OSError as error:
            raise self._unprepared(error) from error

    def rotate(self) -> None:
        """Seal the active segment, if it has records, and go on in a new one.

        Raises:
            StoreFullError: No room; the log goes on where it is.
            FencedError, StorageError: `failure` tells whether the log goes on.
        """
        self._as_leader(self._rotate_if_used)

    def _rotate_if_used(self) -> None:
        self._refuse_if_failed()
        if self.position.active.entry.first_lsn <= self.last_lsn:
            try:
                self._writer.rotate()
            except StoreFullError:
                raise
            except OSError as error:
                raise self._unprepared(error) from error
        self._refuse_if_failed()

    def forget(self, through_lsn: int) -> tuple[SegmentEntry, ...]:
        """Drop segments whose last record is at or below `through_lsn` from the list and return them.

        A manifest without them has to be durable already; their files are the caller's.
        """
        gone: list[SegmentEntry] = []
        self._as_leader(lambda: gone.extend(self._segments.forget(through_lsn)))
        return tuple(gone)

    def _unprepared(self, cause: OSError) -> StorageError:
        return StorageError(
            f"{self._directory}: the next segment could not be made ({cause}); the log goes on in the old one",
            cause=cause,
        )

    def _refuse_if_failed(self) -> None:
        if self._writer.failed is not None:
            raise self._writer.failed.with_traceback(None)

    # The end

    def close(self) -> None:
        """Sync, seal and trim the active segment and release the files; a failed log only releases them.

        Waits for a write under way, but not for ever. Idempotent.

        Raises:
            StorageError: The log could not be sealed; recovery will tell what survived.
            UsageError: Called by the leader itself, from a signal handler or a
                finalizer that interrupted it. Closed, but not sealed.
        """
        me, writer = get_ident(), self._writer
        closed = ClosedError(f"{self._directory} is closed; open it again")
        held: list[bool] = []
        try:
            if self._leader == me:
                raise self._nested()
            # One C call takes the lock and notes it: interrupted in between, nobody would give it back.
            held.extend(starmap(self._leadership.acquire, ((True, _CLOSE_WAIT_S),)))
            if held == [False]:
                raise StorageError(
                    f"{self._directory}: a write has not returned within {_CLOSE_WAIT_S} s; the disk may hang"
                )
            self._leader = me
            writer.complete()
            if writer.failed is None:
                writer.seal()
        finally:
            writer.failed = closed
            try:
                writer.release()
            finally:
                if held == [True]:
                    self._leader = _NOBODY
                    self._leadership.release()
            self._wake_next()
