"""Opening for writing: from a directory to a log that takes records.

The order is what makes it restartable. What isn't sealed is made durable and
read back past the page cache, so that nothing is derived from bytes that a
power cut could still take. Then: quarantine -> new segment -> manifest. Only
the manifest, under a new epoch, makes the decision; what it gives up is
removed after it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from journalkit.clock import Clock
from journalkit.errors import JournalError, StorageError, StoreNotFoundError, UsageError
from journalkit.format import names
from journalkit.format.codec import codec_named
from journalkit.format.manifest import Manifest, SegmentEntry
from journalkit.fs.full import is_full, store_full
from journalkit.fs.interface import FileSystem, LockHandle
from journalkit.fs.network import is_untrusted
from journalkit.log.commit import Commit
from journalkit.log.durable import DurableFile
from journalkit.log.log import Log, Position
from journalkit.log.rotation import begin_segment
from journalkit.log.segment import STEP_BYTES_MIN, SegmentWriter
from journalkit.manifest import ManifestKeeper, read_manifest
from journalkit.recovery import apply
from journalkit.recovery.look import Found, look, refuse_remains
from journalkit.recovery.owner import take_ownership
from journalkit.recovery.plan import RecoveryMode, permit
from journalkit.recovery.report import RecoveryReport
from journalkit.recovery.reserve import Reserve
from journalkit.recovery.scan import SegmentScan, Sink
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table

Kind: TypeAlias = Literal["store", "journal"]
KINDS: tuple[Kind, ...] = ("store", "journal")
_UUID_BYTES = 16


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """What a caller wants opened. `codec` None: the store's own, "cbor" for a new one."""

    kind: Kind
    create: bool
    codec: str | None
    mode: RecoveryMode
    metadata: Mapping[str, Any] | None
    trust_filesystem: str | None
    segment_bytes_max: int
    opened_at: str
    deep: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A store that is ours to write. `apply` goes to the log, `tables` hold the snapshot, newest first."""

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
            self.lock.close()


def open_for_writing(
    fs: FileSystem,
    directory: str,
    request: OpenRequest,
    cache: BlockCache,
    clock: Clock,
    sink: Sink,
    apply_commits: Callable[[list[Commit], int], None],
) -> Opened:
    """Open or create the store in `directory` as its only writer.

    Records behind the chosen snapshot are given to `sink`, in order, before this returns.

    Durability:
        Everything recovered, and the new epoch, survive a power cut.

    Raises:
        UsageError: Not a directory, not a store, of another kind, an untrusted file system.
        StoreNotFoundError: None is there and `create` is false.
        LockedError: Another writer has it.
        CorruptionError: Something promised is damaged; the mode doesn't allow to go on. Nothing changed.
        UnsupportedFormatError: A later version wrote it. Nothing changed.
        StoreFullError: No room to begin a segment. The state is as it was.
        StorageError: The operating system failed; trying again is safe.
    """
    began_s = clock.monotonic_s()
    _check_place(fs, directory, request)
    try:
        _make_directories(fs, directory)
    except OSError as error:
        raise StorageError(f"{directory}: can't be created ({error.strerror})", cause=error) from error
    lock = take_ownership(fs, directory, clock, request.opened_at)
    try:
        return _Opening(fs, directory, request, cache, clock, lock).run(sink, apply_commits, began_s)
    except JournalError:
        lock.close()
        raise
    except OSError as error:
        lock.close()
        if is_full(error):
            raise store_full(fs, directory, STEP_BYTES_MIN, error) from error
        raise StorageError(f"{directory}: can't be opened ({error}); try again", cause=error) from error
    except BaseException:
        lock.close()
        raise


def _check_place(fs: FileSystem, directory: str, request: OpenRequest) -> None:
    """Refuse before anything is touched: a file, a foreign directory, a file system that may lie."""
    status = fs.status(directory)
    if status is not None and not status.is_directory:
        raise UsageError(f"{directory} is a file; a store is a directory, name another path")
    manifest = read_manifest(fs, directory) if status is not None else None
    if manifest is not None:
        _check_kind(manifest, request, directory)
    elif status is not None:
        refuse_remains(fs, directory)
        foreign = [name for name in fs.list(directory) if not _may_precede_store(name)]
        if foreign:
            raise UsageError(
                f"{directory} is not a store and holds {foreign[0]!r}; name an empty or a new directory"
            )
    if manifest is None and not request.create:
        raise StoreNotFoundError(
            f"{directory}: there is no store; check the path, or open it with create=True", path=directory
        )
    _check_filesystem(fs, directory, request.trust_filesystem)


def _may_precede_store(name: str) -> bool:
    """Whether a directory with this in it may still be one where a creation was cut short."""
    return name in (names.LOCK, names.DURABLE, names.RESERVE, "lost+found") or names.is_temporary(name)


def _check_kind(manifest: Manifest, request: OpenRequest, directory: str) -> None:
    if manifest.kind != request.kind:
        raise UsageError(f"{directory} is a {manifest.kind}, not a {request.kind}; open it as what it is")
    if request.codec is not None and request.codec != manifest.codec:
        raise UsageError(
            f"{directory} keeps its values as {manifest.codec!r}, not {request.codec!r}; leave codec out"
        )
    codec_named(manifest.codec)


def _check_filesystem(fs: FileSystem, directory: str, trusted: str | None) -> None:
    place = os.path.abspath(directory) if "://" not in directory else directory
    while fs.status(place) is None and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    kind = fs.filesystem_type(place)
    if is_untrusted(kind) and trusted != kind:
        raise UsageError(
            f"{directory} is on {kind}, whose locks and fsync may not hold what they promise; use a local disk, "
            f"or accept the risk of a lost or doubly written store with trust_filesystem={kind!r}"
        )


def _make_directories(fs: FileSystem, directory: str) -> None:
    """Create the directory and what is missing above it, each name durable."""
    missing = []
    place = directory
    while fs.status(place) is None:
        missing.append(place)
        place = os.path.dirname(place) or "."
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            fs.make_directory(path)
        fs.sync_directory(os.path.dirname(path) or ".")


class _Opening:
    """The steps from a locked directory to an open log, in their order."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        request: OpenRequest,
        cache: BlockCache,
        clock: Clock,
        lock: LockHandle,
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._request = request
        self._cache = cache
        self._clock = clock
        self._lock = lock
        self._reserve = Reserve(fs, directory)

    def run(self, sink: Sink, apply_commits: Callable[[list[Commit], int], None], began_s: float) -> Opened:
        request, directory = self._request, self._directory
        manifest = read_manifest(self._fs, directory)
        created = manifest is None
        if manifest is None:
            refuse_remains(self._fs, directory)
            manifest = self._create()
        else:
            _check_kind(manifest, request, directory)
            self._make_dependable(manifest)
        found = look(
            self._fs, directory, manifest, self._cache, sink, deep=request.deep, bypass_cache=not created
        )
        try:
            permit(found.plan, request.mode, directory)
            epoch = manifest.epoch + 1
            quarantine = apply.quarantine_cuts(self._fs, directory, found.plan, epoch)
            keeper, log = self._begin(found, epoch, apply_commits)
        except BaseException:
            for table in found.snapshot.tables:
                table.close()
            raise
        aside = self._clean_up(found)
        self._reserve.refill()
        report = RecoveryReport(
            outcome=_outcome(created, found),
            snapshot_lsn=found.snapshot.lsn,
            fell_back=bool(found.snapshot.damaged),
            last_lsn=found.plan.last_lsn,
            records_replayed=found.scan.records_sunk,
            bytes_cut=found.plan.bytes_cut,
            quarantine=quarantine or (os.path.join(directory, names.QUARANTINE) if aside else ""),
            seconds=self._clock.monotonic_s() - began_s,
        )
        return Opened(self._lock, keeper, log, found.snapshot.tables, self._reserve, report)

    def _create(self) -> Manifest:
        """Publish the first manifest: the store exists from here on."""
        request = self._request
        codec = request.codec if request.codec is not None else "cbor"
        codec_named(codec)
        manifest = Manifest(
            store=self._clock.random_bytes(_UUID_BYTES),
            kind=request.kind,
            codec=codec,
            created_us=self._clock.wall_us(),
            generation=0,
            epoch=0,
            writer=self._clock.random_bytes(_UUID_BYTES),
            segments=(),
            snapshots=(),
            pruned_lsn=0,
            durable_lsn=0,
            next_segment=1,
            next_table=1,
            metadata=dict(request.metadata or {}),
        )
        return self._keeper(manifest).publish(lambda first: first.next_generation())

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

    def _begin(
        self, found: Found, epoch: int, apply_commits: Callable[[list[Commit], int], None]
    ) -> tuple[ManifestKeeper, Log]:
        """Begin this writer's first segment and publish the manifest that names it: the decision."""
        manifest, plan, clock = found.manifest, found.plan, self._clock
        writer = clock.random_bytes(_UUID_BYTES)
        salt = int.from_bytes(clock.random_bytes(4), "little")
        first_lsn = plan.floor_lsn + 1
        entry = SegmentEntry(manifest.next_segment, salt, epoch, first_lsn)
        segment = self._new_segment(entry)
        keeper = self._keeper(manifest)
        try:
            previous = plan.segments[-1] if plan.segments else None
            begin_segment(
                segment, previous, first_lsn=first_lsn, store=manifest.store, writer=writer, time_us=clock.wall_us()
            )
            segment.file.sync()
            self._fs.sync_directory(self._directory)
            damaged = found.snapshot.damaged

            def take_over(current: Manifest) -> Manifest:
                return current.next_generation(
                    epoch=epoch,
                    writer=writer,
                    segments=(*plan.segments, entry),
                    snapshots=tuple(snapshot for snapshot in current.snapshots if snapshot not in damaged),
                    durable_lsn=plan.last_lsn,
                    next_segment=entry.number + 1,
                )

            keeper.publish(take_over)
            durable = DurableFile(
                self._fs, self._directory, store=manifest.store, writer=writer, epoch=epoch
            )
        except BaseException:
            segment.file.close()
            raise
        log = Log(
            self._fs,
            self._directory,
            keeper,
            clock,
            Position(plan.segments, segment),
            durable,
            last_lsn=plan.floor_lsn,
            segment_bytes_max=self._request.segment_bytes_max,
            apply=apply_commits,
        )
        return keeper, log

    def _new_segment(self, entry: SegmentEntry) -> SegmentWriter:
        """Create the segment's file; the remains of an open that was cut short before its manifest go first."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.unlink(os.path.join(self._directory, names.segment_name(entry.number)))
        try:
            return SegmentWriter.create(self._fs, self._directory, entry)
        except OSError as error:
            if not is_full(error):
                raise
            self._reserve.release()
            return SegmentWriter.create(self._fs, self._directory, entry)

    def _clean_up(self, found: Found) -> list[str]:
        blank = {segment.entry.number for segment in found.scan.segments if not _holds_something(segment)}
        gone, aside = apply.given_up(found.plan, found.strays, blank, found.snapshot.damaged)
        apply.set_aside(self._fs, self._directory, aside)
        apply.sweep(self._fs, self._directory, tuple(gone))
        return aside


def _holds_something(segment: SegmentScan) -> bool:
    """Whether a dropped segment is worth keeping aside: anything but its header, its seal and zeros."""
    return segment.present and bool(segment.records or segment.content_end_bytes > segment.end_bytes)


def _outcome(created: bool, found: Found) -> str:
    if created:
        return "created"
    if found.plan.damage:
        return "point-in-time"
    if found.plan.cuts:
        return "cut"
    return "replayed" if found.scan.records_sunk or not found.plan.sealed else "clean"
