"""What a leader does: places, frames, one write, one fsync, rotation, the seal.

Nothing here is locked or waits for anybody: `journalkit.log.log` decides who
leads, and only a leader calls. What has been begun stands in `group` and in
the succession's `rotation` until it is done, so that the next leader can carry
it on if this one is interrupted; every step may be repeated. What makes the
log refuse is noted in `failed` before anybody hears of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from journalkit.clock import Clock
from journalkit.compiled import LogFields
from journalkit.errors import JournalError, StorageError, StoreFullError
from journalkit.format.frame import HEADER_BYTES as FRAME_HEADER_BYTES
from journalkit.format.frame import checksum_of, encode_with_checksum
from journalkit.fs.full import is_full, store_full
from journalkit.fs.interface import FileSystem
from journalkit.log.commit import Applier, Check, Commit, Group, Mutations, chain
from journalkit.log.durable import DurableFile
from journalkit.log.rotation import Seal
from journalkit.log.segment import SegmentWriter
from journalkit.log.succession import Succession

GROUP_BYTES_MAX: Final = 16 * 1024 * 1024


Single: TypeAlias = tuple[bytes, int, Mutations, bool, bytes, int, int] | Iterable[Any]
"""What a commit says, payload, kind, mutations and durability, then its frame, the frame's offset and the LSN. The
compiled path notes an object that yields them."""


@dataclass(frozen=True, slots=True)
class LogStatistics:
    """Counts since the log was opened: records, and how few writes and fsyncs they took."""

    commits: int
    groups: int
    syncs: int
    bytes_appended: int
    rotations: int


class LogWriter(LogFields):
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
        applier: Applier,
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._wall_us = clock.wall_us
        self._durable = durable
        self._applier = applier
        self._to_take_singly = 0
        self.segments = segments
        self.group: Group | None = None
        self.single: Single | None = None
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

    @property
    def is_busy(self) -> bool:
        """Whether a record is between its LSN and its outcome."""
        # In this order: a single record becomes a group before it ceases to be a single one.
        return self.single is not None or self.group is not None

    def write_single(
        self, payload: bytes, kind: int, mutations: Mutations, durable: bool, check: Check | None = None
    ) -> int:
        """Write a record that nobody else waits beside and return its LSN; 0, nothing done, if more is to do than that.

        Most records are alone, and most of what a group needs is not for them.
        `single` is what `group` is otherwise: from its assignment on the record
        completes, and who finds it carries it on as a group of one. So does this,
        for everything out of the ordinary. Equal to `lead`; tests/unit/log/test_single.py says so.

        What can be done before the fsync is: behind it the processor has
        forgotten this program, and each step takes several times as long.

        Raises:
            Exception: What the check raised, or what became of the record as a group.
        """
        segments, lsn = self.segments, self.last_lsn + 1
        active = segments.position.active
        start = active.end_bytes
        end = start + FRAME_HEADER_BYTES + len(payload)
        if end > active.ready_until_bytes or start >= segments.rotate_at_bytes or self.failed is not None:
            return 0
        if self.single is not None or self.group is not None or segments.rotation is not None:
            return 0
        if check is not None:
            check(lsn - 1, ())
        data, checksum = encode_with_checksum(
            payload, lsn, self._wall_us(), self.durable_lsn, kind, active.entry.salt, start
        )
        self.groups += 1
        self.bytes_appended += end - start
        self.single = (payload, kind, mutations, durable, data, start, lsn)
        active.unsure_until_bytes = end
        try:
            if active.file.pwrite(data, start) != end - start:
                active.write(data, start)
        except OSError as error:
            group = self._as_group(self.single)
            self._refuse(active, group, error)
            return self._outcome(group)
        if durable:
            slot = self._durable.encode(active.entry.number, end, lsn)
            try:
                active.sync()
                self._durable.file.pwrite(slot, 0)
            except OSError:
                # A group meets it again, a failed fsync above all, and knows what each failure means.
                group = self._as_group(self.single)
                group.written = True
                return self._outcome(group)
        self._applier.apply_one(mutations, payload, lsn)
        active.last_checksum = checksum
        active.end_bytes = end
        self.last_lsn = lsn
        if durable:
            self.durable_lsn = lsn
            self.syncs += 1
        self.single = None
        return lsn

    def resume_single(self, failure: OSError | None, is_written: bool) -> int:
        """Carry on a record that the compiled path has begun, whose write came to `failure`. As `write_single`.

        If it is written and was to be durable it is synced again, which says whether the first time failed.
        """
        group = self._as_group(self.single)
        group.written = is_written
        if failure is not None:
            self._refuse(self.segments.position.active, group, failure)
        return self._outcome(group)

    def _as_group(self, single: Single | None) -> Group:
        """Carry a single record on as the group that is under way, from the beginning."""
        payload, kind, mutations, durable, data, start, lsn = single or ()
        commit = Commit(payload, kind, mutations, durable)
        commit.lsn = lsn
        self.group = group = Group([commit], data, start, lsn, checksum_of(data), durable)
        self.single = None
        return group

    def _outcome(self, group: Group) -> int:
        """Finish a group of one and tell its caller what became of it."""
        self._finish_group()
        (commit,) = group.commits
        if commit.error is not None:
            raise commit.error.with_traceback(None)
        return commit.lsn

    def lead(self, queue: deque[Commit]) -> list[Commit]:
        """Write what waits in the queue; return who left it, to be woken."""
        segments = self.segments
        self.complete()
        if segments.position.active.end_bytes >= segments.rotate_at_bytes:
            self._rotate_if_possible()
        self._take(queue)
        self._finish_group()
        # A commit waits in the queue until it has an outcome.
        served: list[Commit] = []
        while queue and queue[0].settled:
            served.append(queue.popleft())
        return served

    def complete(self) -> None:
        """Carry out what an interrupted leader left."""
        if self.single is not None:
            self._as_group(self.single)
        self._finish_group()
        self._finish_rotation()

    # A group

    def _take(self, queue: deque[Commit]) -> None:
        """Give places to what waits. The assignment to `group` is the moment from which they complete."""
        commits: list[Commit] = []
        parts: list[bytes] = []
        active = self.segments.position.active
        salt, start = active.entry.salt, active.end_bytes
        offset, lsn, checksum, durable = start, self.last_lsn, active.last_checksum, False
        time_us, durable_lsn = self._wall_us(), self.durable_lsn
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
                    data, checksum = encode_with_checksum(
                        commit.payload, lsn + 1, time_us, durable_lsn, commit.kind, salt, offset
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
                self._refuse(active, group, error)
                if self.group is None:
                    return
        if group.error is None:
            # Repeating from here is harmless: the same values, in the same order.
            self._applier.apply(group.commits, group.last_lsn)
            active.accept(group.offset_bytes + len(group.data), group.checksum)
            self.last_lsn = group.last_lsn
            if group.durable:
                self.durable_lsn = group.last_lsn
            self.groups += 1
            self.bytes_appended += len(group.data)
        chain(group.commits)
        for commit in group.commits:
            commit.settle(group.error)
        self.group = None

    def _refuse(self, active: SegmentWriter, group: Group, cause: OSError) -> None:
        """A write failed. On a full disk its remains are erased, and the log goes on; anything else ends it."""
        if not is_full(cause):
            self.failed = group.error = self._failure("the log could not be written", cause)
            return
        try:
            active.withdraw()
        except OSError as worse:
            what = "the disk is full and a half-written record could not be erased"
            self.failed = group.error = self._failure(what, worse)
            return
        if len(group.commits) > 1:
            # Who fits, or only wants a sync, mustn't be refused for a neighbour's size.
            self._to_take_singly = len(group.commits)
            self.group = None
            return
        group.error = store_full(self._fs, self._directory, len(group.data), cause)

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
            active = self.segments.position.active
            # The disk hears of it first: whoever reads the files after asking the writer must find as much.
            self._promise(active, active.end_bytes, self.last_lsn)
            self.durable_lsn = self.last_lsn
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
        seal = Seal(active, last_lsn=self.last_lsn, time_us=self._wall_us())
        try:
            seal.carry_out(records_durable=self.durable_lsn == self.last_lsn)
        except OSError as error:
            raise self._failure("the log could not be sealed", error) from error
        self._promise(active, active.end_bytes, self.last_lsn)
        self.durable_lsn = self.last_lsn

    def release(self) -> None:
        """Close the files."""
        self.segments.close()
        self._durable.close()
