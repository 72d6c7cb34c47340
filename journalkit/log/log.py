"""The writer's end of the log: commits in, LSNs out, one fsync for many.

Whoever finds the log without a leader leads: takes what waits as one group,
gives out LSNs, writes it in one piece, syncs if anybody asked for it, makes it
visible, and wakes the rest. Leadership is a lock, so it can't be lost; what a
leader has begun stands in `_group` and `_rotation`, where the next one finds
it. A commit in a group completes whatever happens to its caller; one that is
still in the queue can be withdrawn.

    commit -> queue -> group: LSN, frame -> segment -> [fsync -> durable slot] -> apply -> settled

LSNs are given out and commits applied in one order, so the visible state is a
prefix of the log at any time. (Group commit by a leader: LevelDB's writer
queue; outcomes read from the log's position: PostgreSQL's WAL.)
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from journalkit.clock import Clock
from journalkit.errors import ClosedError, JournalError, StorageError, StoreFullError
from journalkit.format import frame as frame_format
from journalkit.format.manifest import Manifest, SegmentEntry
from journalkit.fs.full import is_full, store_full
from journalkit.fs.interface import FileSystem
from journalkit.log.attempt import SyncAttempt
from journalkit.log.commit import Commit, Group
from journalkit.log.durable import DurableFile
from journalkit.log.rotation import Rotation, Seal
from journalkit.log.segment import SegmentWriter
from journalkit.manifest import ManifestKeeper

GROUP_BYTES_MAX: Final = 16 * 1024 * 1024
SEGMENT_BYTES_MIN: Final = 4096
_WAIT_S: Final = 0.1
_CLOSE_WAIT_S: Final = 0.5
_RETRY_ROTATION_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Position:
    """Which segments there are: replaced whole, so that it is always consistent."""

    ended: tuple[SegmentEntry, ...]
    active: SegmentWriter


@dataclass(slots=True)
class LogStatistics:
    """Counters since the log was opened."""

    commits: int = 0
    groups: int = 0
    syncs: int = 0
    bytes_appended: int = 0
    rotations: int = 0


class Log:
    """An open log. Any thread may call anything.

    `last_lsn` is the last record that is visible, `durable_lsn` the last one
    known to be on disk.
    """

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
        apply: Callable[[list[Commit], int], None],
    ) -> None:
        """Take over a log that recovery has made ready: `position.active` is named, empty and durable.

        `apply(commits, last_lsn)` makes a group visible; it is called in LSN
        order and may be called again with the same group.
        """
        self._fs = fs
        self._directory = directory
        self._keeper = keeper
        self._clock = clock
        self._durable = durable
        self._segment_bytes_max = max(segment_bytes_max, SEGMENT_BYTES_MIN)
        self._rotate_at_bytes = self._segment_bytes_max
        self._apply = apply
        self._leadership = threading.Lock()
        self._preparing = threading.Lock()
        self._queue: deque[Commit] = deque()
        self._group: Group | None = None
        self._rotation: Rotation | None = None
        self._next: SegmentWriter | None = None
        self._failed: JournalError | None = None
        self.position = position
        self.last_lsn = last_lsn
        self.durable_lsn = last_lsn
        self.statistics = LogStatistics()

    @property
    def failure(self) -> JournalError | None:
        """Why the log takes no more commits, None while it does."""
        return self._failed

    # Commits

    def commit(self, commit: Commit) -> int:
        """Append a record, wait until it is what it asked to be, and return its LSN.

        Raises:
            ConflictError: From the commit's check; nothing was written.
            StoreFullError: Nothing was written; the log goes on.
            FencedError, StorageError, ClosedError: The log takes no more commits.
            BaseException: An interrupt. If the commit had an LSN it is complete
                by then, or will be; else it was withdrawn.
        """
        self._queue.append(commit)
        try:
            while not commit.settled:
                if self._leadership.acquire(blocking=False):
                    try:
                        self._lead()
                    finally:
                        self._leadership.release()
                    if self._queue:
                        self._call_next()
                else:
                    commit.wait(_WAIT_S)
        except BaseException:
            self._abandon(commit)
            raise
        if commit.error is not None:
            raise commit.error
        return commit.lsn

    def sync(self) -> int:
        """Make every visible record durable and return the LSN that is then durable.

        Raises:
            StorageError: What of the undurable records survives is unknown.
        """
        if self.durable_lsn == self.last_lsn and self._failed is None and not self._queue:
            return self.durable_lsn
        return self.commit(Commit(None, 0, (), durable=True))

    def _call_next(self) -> None:
        try:
            self._queue[0].wake()
        except IndexError:
            return

    def _abandon(self, commit: Commit) -> None:
        """The caller of `commit` was interrupted: complete it if it has an LSN, withdraw it if not."""
        with self.leading():
            if not commit.settled and commit in self._queue:
                self._queue.remove(commit)

    @contextmanager
    def leading(self, timeout_s: float = -1) -> Iterator[None]:
        """Hold the leadership with nothing half done; writers wait meanwhile.

        Raises:
            StorageError: It could not be had within `timeout_s` (default: wait).
        """
        if not self._leadership.acquire(timeout=timeout_s):
            raise StorageError(f"{self._directory}: a write has not returned within {timeout_s} s; the disk may hang")
        try:
            self._finish_group()
            self._finish_rotation()
            yield
        finally:
            self._leadership.release()
            self._call_next()

    def _lead(self) -> None:
        self._finish_group()
        self._finish_rotation()
        if self.position.active.end_bytes >= self._rotate_at_bytes:
            self._rotate_when_possible()
        self._take()
        self._finish_group()

    def _take(self) -> None:
        """Give places to what waits. The assignment to `_group` is the moment from which they complete."""
        queue = self._queue
        waiting = list(queue)
        taken = 0
        commits: list[Commit] = []
        parts: list[bytes] = []
        active = self.position.active
        salt, start = active.entry.salt, active.end_bytes
        offset, lsn, checksum, durable = start, self.last_lsn, active.last_checksum, False
        time_us, durable_lsn = self._clock.wall_us(), self.durable_lsn
        for commit in waiting:
            if offset - start > GROUP_BYTES_MAX:
                break
            taken += 1
            if commit.settled:
                continue
            try:
                if self._failed is not None:
                    raise self._failed
                if commit.check is not None:
                    commit.check(lsn, commits)
            except JournalError as error:
                commit.settle(error)
                continue
            if commit.payload is not None:
                lsn += 1
                data = frame_format.encode(
                    commit.payload,
                    lsn=lsn,
                    time_us=time_us,
                    durable_lsn=durable_lsn,
                    kind=commit.kind,
                    salt=salt,
                    offset_bytes=offset,
                )
                parts.append(data)
                offset += len(data)
            commit.lsn = lsn
            durable = durable or commit.durable
            commits.append(commit)
        if commits:
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            if parts:
                checksum = frame_format.checksum_of(parts[-1])
            attempt = SyncAttempt(active.file) if durable else None
            self._group = Group(commits, data, start, lsn, checksum, attempt)
        # Interrupted here, settled commits stay in the queue and are passed over next time.
        for _ in range(taken):
            queue.popleft()

    def _finish_group(self) -> None:
        """Carry out the group that is under way, from wherever it got to."""
        group = self._group
        if group is None:
            return
        if group.error is None:
            try:
                self._write(group)
            except JournalError as error:
                # Noted before anybody is told, so that carrying on after an interruption can't change the outcome.
                group.error = error
                if not isinstance(error, StoreFullError):
                    self._failed = error
        if group.error is None:
            # Repeating from here is harmless: the same values, in the same order.
            self._apply(group.commits, group.last_lsn)
            self.position.active.accept(group.end_bytes, group.checksum)
            self.last_lsn = group.last_lsn
            counters = self.statistics
            counters.groups += 1
            counters.commits += len(group.commits)
            counters.bytes_appended += len(group.data)
        for commit in group.commits:
            commit.settle(group.error)
        self._group = None

    def _write(self, group: Group) -> None:
        active = self.position.active
        if not group.written:
            if group.data:
                self._append(active, group)
            group.written = True
        if group.attempt is not None:
            self._sync(group.attempt)
            self._note_durable(group.end_bytes, group.last_lsn)

    def _append(self, active: SegmentWriter, group: Group) -> None:
        try:
            active.write(group.data, group.offset_bytes)
        except OSError as error:
            if not is_full(error):
                raise self._failure("the log could not be written", error) from error
            try:
                active.withdraw()
            except OSError as worse:
                raise self._failure("the disk is full and a half-written record could not be erased", worse) from error
            raise store_full(self._fs, self._directory, len(group.data), error) from error

    def _sync(self, attempt: SyncAttempt) -> None:
        try:
            attempt.run()
        except OSError as error:
            raise self._failure("the log could not be synced, so nobody was told that it is", error) from error
        self.statistics.syncs += 1

    def _note_durable(self, end_bytes: int, lsn: int) -> None:
        """Write the durable slot, then believe it: a follower may see the promise before the caller does."""
        try:
            self._durable.write(self.position.active.entry.number, end_bytes, lsn)
        except OSError as error:
            # On a full disk the older promise simply stands; the records are durable all the same.
            if not is_full(error):
                raise self._failure("the durable slot could not be written", error) from error
        self.durable_lsn = lsn

    def _failure(self, what: str, cause: OSError) -> StorageError:
        return StorageError(
            f"{self.position.active.path}: {what} ({cause}); close the store and open it again, "
            "which tells what survived",
            cause=cause,
            path=self.position.active.path,
        )

    # Segments

    def entries(self, after_lsn: int) -> tuple[SegmentEntry, ...]:
        """Return the segments that a manifest has to name if the log up to `after_lsn` is given up."""
        position, following = self.position, self._next
        kept = tuple(entry for entry in position.ended if entry.end is None or entry.end.last_lsn > after_lsn)
        live = kept + (position.active.entry,)
        # Between a rotation's switch and its end the next segment is the active one.
        if following is not None and following is not position.active:
            live += (following.entry,)
        return live

    def prepare_next(self) -> None:
        """Make the next segment ready and name it in the manifest, ahead of the rotation that needs it.

        Raises:
            StoreFullError: No room; the log goes on in the active segment.
            FencedError, StorageError: From publishing.
        """
        with self._preparing:
            if self._next is not None:
                return
            number = self._keeper.current.next_segment
            salt = int.from_bytes(self._clock.random_bytes(4), "little")
            entry = SegmentEntry(number, salt, self._keeper.current.epoch, 0)
            try:
                segment = SegmentWriter.create(self._fs, self._directory, entry)
                segment.file.sync()
                self._fs.sync_directory(self._directory)
            except OSError as error:
                if is_full(error):
                    raise store_full(self._fs, self._directory, SEGMENT_BYTES_MIN, error) from error
                raise self._failure("the next segment could not be made", error) from error

            def name(manifest: Manifest) -> Manifest:
                return manifest.next_generation(
                    segments=self.entries(manifest.pruned_lsn) + (entry,),
                    next_segment=number + 1,
                    durable_lsn=self.durable_lsn,
                )

            self._keeper.publish(name)
            self._next = segment

    @property
    def wants_next(self) -> bool:
        """Whether the active segment is half full and no successor is ready."""
        return self._next is None and self.position.active.end_bytes * 2 >= self._segment_bytes_max

    def rotate(self) -> None:
        """Seal the active segment, if it has records, and go on in a new one.

        Raises:
            StoreFullError: No room; the log goes on where it is.
            FencedError, StorageError: The log takes no more commits.
        """
        with self.leading():
            if self._failed is not None:
                raise self._failed
            if self.position.active.entry.first_lsn <= self.last_lsn:
                self._rotate()

    def _rotate_when_possible(self) -> None:
        try:
            self._rotate()
        except StoreFullError:
            # No room for a new segment is no reason to refuse records that the old one has room for.
            self._rotate_at_bytes = self.position.active.end_bytes + _RETRY_ROTATION_BYTES
        except JournalError as failure:
            self._failed = failure

    def _rotate(self) -> None:
        if self._failed is not None:
            raise self._failed
        self._keeper.check_fence()
        self.prepare_next()
        following = self._next
        if following is not None:
            self._rotation = Rotation(
                self.position.active, following, last_lsn=self.last_lsn, time_us=self._clock.wall_us()
            )
        self._finish_rotation()

    def _finish_rotation(self) -> None:
        """Carry out the rotation that is under way. A failure in it ends the log."""
        rotation = self._rotation
        if rotation is None:
            return
        try:
            self._carry_out(rotation)
        except OSError as error:
            self._failed = self._failure("the log could not go on in a new segment", error)
        self._rotation = None
        self._next = None
        if self._failed is not None:
            raise self._failed

    def _carry_out(self, rotation: Rotation) -> None:
        if self.position.active is rotation.old:
            manifest = self._keeper.current
            rotation.carry_out(
                store=manifest.store, writer=manifest.writer, records_durable=self.durable_lsn == self.last_lsn
            )
            ended = self.position.ended + (rotation.old.ended(self.last_lsn, sealed=True),)
            self.position = Position(ended, rotation.new)
        self._rotate_at_bytes = self._segment_bytes_max
        self._note_durable(rotation.new.end_bytes, self.last_lsn)
        self.statistics.rotations += 1
        rotation.old.file.close()

    def forget(self, through_lsn: int) -> tuple[SegmentEntry, ...]:
        """Drop segments whose last record is at or below `through_lsn` from the list and return them.

        A manifest without them has to be durable already; their files are the caller's.
        """
        with self.leading():
            position = self.position
            gone = tuple(e for e in position.ended if e.end is not None and e.end.last_lsn <= through_lsn)
            kept = tuple(e for e in position.ended if e not in gone)
            self.position = Position(kept, position.active)
            return gone

    # The end

    def close(self) -> None:
        """Sync, seal and trim the active segment and release the files; a failed log only releases them.

        Waits for a write under way, but not for ever. Idempotent.

        Raises:
            StorageError: The log could not be sealed; recovery will tell what survived.
        """
        try:
            with self.leading(_CLOSE_WAIT_S):
                failed, self._failed = self._failed, ClosedError(f"{self._directory} is closed; open it again")
                self._take()
                if failed is None:
                    self._seal()
        finally:
            self._release()

    def _seal(self) -> None:
        active = self.position.active
        seal = Seal(active, last_lsn=self.last_lsn, time_us=self._clock.wall_us())
        try:
            seal.carry_out(records_durable=self.durable_lsn == self.last_lsn, trim=True)
        except OSError as error:
            raise self._failure("the log could not be sealed", error) from error
        self._note_durable(active.end_bytes, self.last_lsn)

    def _release(self) -> None:
        self.position.active.file.close()
        self._durable.close()
        if self._next is not None:
            self._next.file.close()
