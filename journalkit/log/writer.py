"""What a leader does: places, frames, one write, one fsync, rotation, the seal.

Nothing here is locked or waits for anybody: `journalkit.log.log` decides who
leads, and only a leader calls. What has been begun stands in `group` and in
the succession's `rotation` until it is done, so that the next leader can carry
it on if this one is interrupted; every step may be repeated. What makes the
log refuse is noted in `failed` before anybody hears of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from journalkit.clock import Clock
from journalkit.errors import JournalError, StorageError, StoreFullError
from journalkit.format import frame as frame_format
from journalkit.fs.full import is_full, store_full
from journalkit.fs.interface import FileSystem
from journalkit.log.commit import Commit, Group
from journalkit.log.durable import DurableFile
from journalkit.log.rotation import Seal
from journalkit.log.segment import SegmentWriter
from journalkit.log.succession import Succession

GROUP_BYTES_MAX: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LogStatistics:
    """Counts since the log was opened: records, and how few writes and fsyncs they took."""

    commits: int
    groups: int
    syncs: int
    bytes_appended: int
    rotations: int


class LogWriter:
    """The end of a log. Its methods are the leader's; its attributes may be read by anybody.

    `last_lsn` is the last record that is visible, `durable_lsn` the last one
    known to be on disk, `failed` why no more records are taken.
    """

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        clock: Clock,
        segments: Succession,
        durable: DurableFile,
        *,
        last_lsn: int,
        apply: Callable[[list[Commit], int], None],
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._clock = clock
        self._durable = durable
        self._apply = apply
        self._to_take_singly = 0
        self.segments = segments
        self.group: Group | None = None
        self.failed: JournalError | None = None
        self.last_lsn = last_lsn
        self.durable_lsn = last_lsn
        self._opened_at_lsn = last_lsn
        # What was interrupted may count twice.
        self.groups = self.syncs = self.bytes_appended = self.rotations = 0

    @property
    def statistics(self) -> LogStatistics:
        """What was done since the log was opened."""
        commits = self.last_lsn - self._opened_at_lsn
        return LogStatistics(commits, self.groups, self.syncs, self.bytes_appended, self.rotations)

    def lead(self, queue: deque[Commit], alone: Commit | None) -> int:
        """Write what waits in the queue, or `alone` if nobody does; return how many left the queue."""
        segments = self.segments
        if self.group is not None or segments.rotation is not None:
            self.complete()
        if segments.position.active.end_bytes >= segments.rotate_at_bytes:
            self._rotate_if_possible()
        if alone is not None and not queue:
            self._take_alone(alone)
        else:
            self._take(queue)
        self._finish_group()
        # A commit waits in the queue until it has an outcome.
        served = 0
        while queue and queue[0].settled:
            queue.popleft()
            served += 1
        return served

    def complete(self) -> None:
        """Carry out what an interrupted leader left."""
        self._finish_group()
        self._finish_rotation()

    # A group

    def _take_alone(self, commit: Commit) -> None:
        """`_take` for the only commit there is: most are, and need no lists. Equal to it; a test says so."""
        if self.failed is not None:
            commit.settle(self.failed)
            return
        lsn, active = self.last_lsn, self.segments.position.active
        start, data, checksum = active.end_bytes, b"", active.last_checksum
        try:
            if commit.check is not None:
                commit.check(lsn, ())
            if commit.payload is not None:
                lsn += 1
                data = frame_format.encode(
                    commit.payload,
                    lsn=lsn,
                    time_us=self._clock.wall_us(),
                    durable_lsn=self.durable_lsn,
                    kind=commit.kind,
                    salt=active.entry.salt,
                    offset_bytes=start,
                )
                checksum = frame_format.checksum_of(data)
        except Exception as error:  # noqa: BLE001 - whatever a check raises is its commit's outcome
            commit.settle(error)
            return
        commit.lsn = lsn
        self.group = Group([commit], data, start, lsn, checksum, commit.durable)

    def _take(self, queue: deque[Commit]) -> None:
        """Give places to what waits. The assignment to `group` is the moment from which they complete."""
        commits: list[Commit] = []
        parts: list[bytes] = []
        active = self.segments.position.active
        salt, start = active.entry.salt, active.end_bytes
        offset, lsn, checksum, durable = start, self.last_lsn, active.last_checksum, False
        time_us, durable_lsn = self._clock.wall_us(), self.durable_lsn
        bytes_max = GROUP_BYTES_MAX
        if self._to_take_singly:
            self._to_take_singly -= 1
            bytes_max = 0
        for commit in list(queue):
            if commits and offset - start >= bytes_max:
                break
            if commit.settled:
                continue
            if self.failed is not None:
                commit.settle(self.failed)
                continue
            try:
                if commit.check is not None:
                    commit.check(lsn, commits)
                if commit.payload is not None:
                    data = frame_format.encode(
                        commit.payload,
                        lsn=lsn + 1,
                        time_us=time_us,
                        durable_lsn=durable_lsn,
                        kind=commit.kind,
                        salt=salt,
                        offset_bytes=offset,
                    )
                    parts.append(data)
                    offset += len(data)
                    lsn += 1
            except Exception as error:  # noqa: BLE001 - whatever a check raises is its commit's outcome
                commit.settle(error)
                continue
            commit.lsn = lsn
            durable = durable or commit.durable
            commits.append(commit)
        if commits:
            if parts:
                checksum = frame_format.checksum_of(parts[-1])
            self.group = Group(commits, b"".join(parts), start, lsn, checksum, durable)

    def _finish_group(self) -> None:
        """Carry out the group that is under way, from wherever it got to."""
        group = self.group
        if group is None:
            return
        active = self.segments.position.active
        if group.error is None:
            try:
                if not group.written:
                    active.write(group.data, group.offset_bytes)
                    group.written = True
                if group.durable:
                    self._sync(active)
                    self._promise(active, group.offset_bytes + len(group.data), group.last_lsn)
            except StorageError as error:
                # The log first: interrupted in between, it must refuse, whatever the group is told.
                self.failed = group.error = error
            except OSError as error:
                refusal = self._refusal(active, group, error)
                if isinstance(refusal, StorageError):
                    self.failed = refusal
                elif len(group.commits) > 1:
                    # Who fits, or only wants a sync, mustn't be refused for a neighbour's size.
                    self._to_take_singly = len(group.commits)
                    self.group = None
                    return
                group.error = refusal
        if group.error is None:
            # Repeating from here is harmless: the same values, in the same order.
            self._apply(group.commits, group.last_lsn)
            active.accept(group.offset_bytes + len(group.data), group.checksum)
            self.last_lsn = group.last_lsn
            if group.durable:
                self.durable_lsn = group.last_lsn
            self.groups += 1
            self.bytes_appended += len(group.data)
        for commit in group.commits:
            commit.settle(group.error)
        self.group = None

    def _refusal(self, active: SegmentWriter, group: Group, cause: OSError) -> StoreFullError | StorageError:
        """Return what a failed write means. On a full disk its remains are erased, and the log goes on."""
        if not is_full(cause):
            return self._failure("the log could not be written", cause)
        try:
            active.withdraw()
        except OSError as worse:
            return self._failure("the disk is full and a half-written record could not be erased", worse)
        return store_full(self._fs, self._directory, len(group.data), cause)

    def _sync(self, active: SegmentWriter) -> None:
        try:
            active.sync()
        except OSError as error:
            raise self._failure("the log could not be synced, so nobody was told that it is", error) from error
        self.syncs += 1

    def _promise(self, active: SegmentWriter, end_bytes: int, lsn: int) -> None:
        """Write the durable slot: a follower may see the promise before the caller does."""
        try:
            self._durable.write(active.entry.number, end_bytes, lsn)
        except OSError as error:
            # On a full disk the older promise simply stands; the records are durable all the same.
            if not is_full(error):
                raise self._failure("the durable slot could not be written", error) from error

    def _failure(self, what: str, cause: OSError) -> StorageError:
        path = self.segments.position.active.path
        return StorageError(
            f"{path}: {what} ({cause}); close the store and open it again, which tells what survived",
            cause=cause,
            path=path,
        )

    # Rotation and the end

    def _rotate_if_possible(self) -> None:
        """Rotate on behalf of who waits; while there is no successor, the old segment may still have room."""
        if self.failed is None:
            try:
                self.rotate()
            except OSError:
                self.segments.postpone()

    def rotate(self) -> None:
        """Go on in the next segment, or end the log.

        Raises:
            OSError: StoreFullError among them: there is no next segment, and the log goes on.
        """
        try:
            self.segments.begin_rotation(last_lsn=self.last_lsn, durable_lsn=self.durable_lsn)
        except StoreFullError:
            raise
        except JournalError as error:
            self.failed = error
        self._finish_rotation()

    def _finish_rotation(self) -> None:
        """Carry out the rotation that is under way. A failure in it ends the log."""
        rotation = self.segments.rotation
        if rotation is None:
            return
        try:
            self.segments.carry_out(rotation, records_durable=self.durable_lsn == self.last_lsn)
            self.durable_lsn = self.last_lsn
            active = self.segments.position.active
            self._promise(active, active.end_bytes, self.last_lsn)
        except OSError as error:
            self.failed = self._failure("the log could not go on in a new segment", error)
        self.segments.rotation = None
        self.rotations += 1

    def seal(self) -> None:
        """Make every record durable and end the log with a seal; nothing may be written afterwards.

        Raises:
            StorageError: Recovery will tell what survived.
        """
        active = self.segments.position.active
        seal = Seal(active, last_lsn=self.last_lsn, time_us=self._clock.wall_us())
        try:
            seal.carry_out(records_durable=self.durable_lsn == self.last_lsn)
        except OSError as error:
            raise self._failure("the log could not be sealed", error) from error
        self.durable_lsn = self.last_lsn
        self._promise(active, active.end_bytes, self.last_lsn)

    def release(self) -> None:
        """Close the files."""
        self.segments.close()
        self._durable.close()
