"""Opening for writing: from a directory to a log that takes records.

The order is what makes it restartable. What isn't sealed is made durable and
read back past the page cache, so that nothing is derived from bytes that a
power cut could still take. Until the plan is permitted nothing is changed.
Then: quarantine -> new segment -> manifest. Only the manifest, under a new
epoch, makes the decision; what it gives up is removed after it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from journalkit.clock import Clock
from journalkit.errors import JournalError, StorageError
from journalkit.format import names
from journalkit.format.manifest import Manifest, SegmentEntry
from journalkit.fs.full import is_full, store_full
from journalkit.fs.interface import FileSystem, LockHandle
from journalkit.log.commit import Applier
from journalkit.log.durable import DurableFile
from journalkit.log.log import Log, Position
from journalkit.log.rotation import begin_segment
from journalkit.log.segment import STEP_BYTES_MIN, SegmentWriter
from journalkit.manifest import ManifestKeeper, read_manifest, refuse_unreadable
from journalkit.recovery import apply
from journalkit.recovery.look import Found, look, refuse_remains
from journalkit.recovery.owner import Ownership, take_ownership
from journalkit.recovery.place import (
    UUID_BYTES,
    OpenRequest,
    check_kind,
    check_place,
    first_manifest,
    make_directories,
)
from journalkit.recovery.report import RecoveryReport
from journalkit.recovery.reserve import Reserve
from journalkit.recovery.scan import Sink
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table

__all__ = ["OpenRequest", "Opened", "open_for_writing"]

TABLES_PER_EPOCH_BITS: Final = 20


@dataclass(frozen=True, slots=True)
class Opened:
    """A store that is ours to write. `applier` goes to the log, `tables` hold the snapshot, newest first."""

    lock: LockHandle
    keeper: ManifestKeeper
    log: Log
    tables: tuple[Table, ...]
    reserve: Reserve
    report: RecoveryReport

    def close(self) -> None:
        """Seal the log and give the lock back. Raises StorageError if sealing failed; the lock is free then too."""
        try:
            self.log.close()
        finally:
            # A fold may still be running in its thread: what it does from here on is never published.
            self.keeper.close()
            self.lock.close()


def open_for_writing(
    fs: FileSystem,
    directory: str,
    request: OpenRequest,
    cache: BlockCache,
    clock: Clock,
    sink: Sink,
    applier: Applier,
) -> Opened:
    """Open or create the store in `directory` as its only writer.

    Records behind the chosen snapshot are given to `sink`, in order, before this returns.

    Durability:
        Everything recovered, and the new epoch, survive a power cut.

    Raises:
        UsageError: Not a directory, not a store, of another kind, an untrusted file system, a wrong option.
        StoreNotFoundError: None is there and `create` is false.
        LockedError: Another writer has it.
        CorruptionError: Something promised is damaged; the mode doesn't allow to go on. Nothing changed.
        UnsupportedFormatError: A later version wrote it, or a number has no successor. Nothing changed.
        StoreFullError: No room to begin a segment. The state is as it was.
        StorageError: The operating system failed; trying again is safe.
    """
    began_s = clock.monotonic_s()
    with _told_as_our_errors(fs, directory):
        if not check_place(fs, directory, request, clock):
            make_directories(fs, directory)
        owner = take_ownership(fs, directory, clock, request.opened_at)
        opening = _Opening(fs, directory, request, cache, clock)
        found = _look(opening, owner, sink)
        try:
            return opening.take_over(found, owner.lock, applier, began_s)
        except BaseException:
            for table in found.snapshot.tables:
                table.close()
            owner.lock.close()
            raise


@contextlib.contextmanager
def _told_as_our_errors(fs: FileSystem, directory: str) -> Iterator[None]:
    try:
        yield
    except JournalError:
        raise
    except OSError as error:
        if is_full(error):
            raise store_full(fs, directory, STEP_BYTES_MIN, error) from error
        raise StorageError(f"{directory}: can't be opened ({error}); try again", cause=error) from error


def _look(opening: _Opening, owner: Ownership, sink: Sink) -> Found:
    """Find out what is there; whoever is refused leaves the directory as it was."""
    try:
        return opening.look(sink)
    except BaseException:
        if opening.created:
            owner.lock.close()
        else:
            owner.undo()
        raise


class _Opening:
    """The steps from a locked directory to an open log, in their order."""

    def __init__(self, fs: FileSystem, directory: str, request: OpenRequest, cache: BlockCache, clock: Clock) -> None:
        self._fs = fs
        self._directory = directory
        self._request = request
        self._cache = cache
        self._clock = clock
        self._reserve = Reserve(fs, directory)
        self.created = False

    def look(self, sink: Sink) -> Found:
        """Find a permitted plan. Changes nothing in a store that is there; begins one where there is none."""
        fs, directory, request = self._fs, self._directory, self._request
        manifest = read_manifest(fs, directory)
        if manifest is None:
            refuse_remains(fs, directory)
            first = first_manifest(request, self._clock)
            self.created = True
            manifest = self._keeper(first).publish(lambda nothing: nothing.next_generation())
        else:
            check_kind(manifest, request, directory)
            self._make_dependable(manifest)
        return look(
            fs,
            directory,
            manifest,
            self._cache,
            sink,
            mode=request.mode,
            deep=request.deep,
            bypass_cache=not self.created,
        )

    def take_over(
        self, found: Found, lock: LockHandle, applier: Applier, began_s: float
    ) -> Opened:
        """Carry the plan out: this writer's epoch begins. On a full disk the reserve is given up for it."""
        plan, directory = found.plan, self._directory
        swept, kept_aside = apply.sort_strays(found.strays, damaged=bool(plan.damage))
        if plan.cuts or plan.given_up or kept_aside or found.snapshot.damaged:
            apply.check_quarantine(self._fs, directory)
        apply.sweep(self._fs, directory, swept)
        try:
            keeper, log = self._begin(found, applier)
        except OSError as error:
            if not is_full(error) or not self._reserve.release():
                raise
            keeper, log = self._begin(found, applier)
        apply.sweep(self._fs, directory, (names.segment_name(number) for number in plan.blank))
        moved = apply.set_aside(self._fs, directory, plan, kept_aside, before=found.manifest, after=keeper.current)
        self._reserve.refill()
        report = RecoveryReport(
            outcome="created" if self.created else found.outcome,
            snapshot_lsn=found.snapshot.lsn,
            fell_back=bool(found.snapshot.damaged),
            last_lsn=plan.last_lsn,
            records_replayed=found.scan.records_sunk,
            bytes_cut=plan.bytes_cut,
            quarantine=os.path.join(directory, names.QUARANTINE) if moved or plan.cuts else "",
            seconds=self._clock.monotonic_s() - began_s,
        )
        return Opened(lock, keeper, log, found.snapshot.tables, self._reserve, report)

    def _keeper(self, manifest: Manifest) -> ManifestKeeper:
        return ManifestKeeper(self._fs, self._directory, manifest, release_reserve=self._reserve.release)

    def _make_dependable(self, manifest: Manifest) -> None:
        """Make durable what the page cache may hold alone, so that recovery reads what a power cut would leave."""
        for entry in manifest.segments:
            if entry.end is not None:
                continue
            path = os.path.join(self._directory, names.segment_name(entry.number))
            with contextlib.suppress(FileNotFoundError):
                file = self._fs.open_write(path)
                try:
                    file.sync()
                    file.drop_cache()
                finally:
                    file.close()
        self._fs.sync_directory(self._directory)

    def _begin(self, found: Found, applier: Applier) -> tuple[ManifestKeeper, Log]:
        """Quarantine what is cut, begin this writer's first segment, and publish the manifest that names it."""
        fs, directory, manifest, plan, clock = self._fs, self._directory, found.manifest, found.plan, self._clock
        writer, epoch = clock.random_bytes(UUID_BYTES), plan.epoch + 1
        salt = int.from_bytes(clock.random_bytes(4), "little")
        entry = SegmentEntry(self._free_number(manifest), salt, epoch, plan.floor_lsn + 1)
        damaged = found.snapshot.damaged

        def decide(current: Manifest) -> Manifest:
            return current.next_generation(
                epoch=epoch,
                writer=writer,
                segments=(*plan.segments, entry),
                snapshots=tuple(s for s in current.snapshots if s not in damaged and s.lsn >= plan.pruned_lsn),
                pruned_lsn=plan.pruned_lsn,
                durable_lsn=plan.floor_lsn,
                next_segment=entry.number + 1,
                # Numbers of its own for each writer: a fold that outlives its store's close can't touch a later one's.
                next_table=max(current.next_table, epoch << TABLES_PER_EPOCH_BITS),
            )

        refuse_unreadable(decide(manifest))  # what can't be published isn't begun
        apply.quarantine_cuts(fs, directory, plan, epoch)
        segment = SegmentWriter.create(fs, directory, entry)
        durable: DurableFile | None = None
        keeper = self._keeper(manifest)
        try:
            begin_segment(
                segment,
                plan.segments[-1] if plan.segments else None,
                first_lsn=entry.first_lsn,
                store=manifest.store,
                writer=writer,
                time_us=clock.wall_us(),
            )
            segment.file.sync()
            fs.sync_directory(directory)
            durable = DurableFile(fs, directory, store=manifest.store, writer=writer, epoch=epoch)
            keeper.publish(decide)
        except BaseException as error:
            segment.file.close()
            if durable is not None:
                durable.close()
            if isinstance(error, OSError) and is_full(error):
                # Nothing names it, and room is what is missing.
                apply.sweep(fs, directory, [names.segment_name(entry.number)])
            raise
        log = Log(
            fs,
            directory,
            keeper,
            clock,
            Position(plan.segments, segment),
            durable,
            last_lsn=plan.floor_lsn,
            segment_bytes_max=self._request.segment_bytes_max,
            applier=applier,
        )
        return keeper, log

    def _free_number(self, manifest: Manifest) -> int:
        """Return the next segment's number; what was found under it and is to be set aside stays until then."""
        number = manifest.next_segment
        while self._fs.status(os.path.join(self._directory, names.segment_name(number))) is not None:
            number += 1
        return number
