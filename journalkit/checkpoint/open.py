"""Opening a job's checkpoints: what `journalkit.open_checkpoints` is."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Literal, Protocol, TypeAlias

from journalkit.checkpoint import sweeping
from journalkit.checkpoint.address import address_of, copies_in, with_copies
from journalkit.checkpoint.board import NumberedBoard
from journalkit.checkpoint.boards import open_board
from journalkit.checkpoint.checkpoints import Checkpoints
from journalkit.checkpoint.chunks import BLAKE3, SHA256, compressor, digest_named
from journalkit.checkpoint.finder import Finder
from journalkit.checkpoint.heads import HeadWriter, newest_head
from journalkit.checkpoint.lease import TERM_MAX_S, Lease
from journalkit.checkpoint.manifests import Manifests
from journalkit.checkpoint.outside import Outside
from journalkit.checkpoint.pacing import Pace, When
from journalkit.checkpoint.retention import Keep
from journalkit.checkpoint.saver import Saver
from journalkit.checkpoint.saving import SaveOptions
from journalkit.clock import Clock, SystemClock
from journalkit.errors import KeyTypeError, KeyValueError, StoreNotFoundError, UnsupportedFormatError, UsageError
from journalkit.format import names
from journalkit.format.head import WRITERS
from journalkit.fs.interface import FileSystem
from journalkit.objects.interface import Objects
from journalkit.objects.places import open_objects
from journalkit.objects.probe import require_several_writers
from journalkit.options import Duration, seconds
from journalkit.runtime.place import caller

MODES: Final = ("rw", "maintain", "r")
SavingMode: TypeAlias = Literal["thread", "process"]
SAVING_MODES: Final[tuple[SavingMode, ...]] = ("thread", "process")
HOUR_S: Final = 3600.0


class Begin(Protocol):
    """Starts the process that saves."""

    def __call__(self, *, options: SaveOptions) -> Outside:
        """Return it. Raises as `Outside`."""
        ...


def open_checkpoints(
    where: str | os.PathLike[str],
    *,
    mode: Literal["rw", "maintain", "r"] = "rw",
    create: bool = True,
    keep: Keep | None = None,
    when: When | None = None,
    trash_period: Duration = HOUR_S,
    writers: Literal["several", "one"] = "several",
    digest: Literal["sha256", "blake3"] | None = None,
    compression: Literal["zstd"] | None = None,
    threads: int | None = None,
    saving: SavingMode = "thread",
    lease: Duration | None = None,
    lease_patience: Duration | None = None,
    lease_at: str | None = None,
    local: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    fs: FileSystem | None = None,
    clock: Clock | None = None,
) -> Checkpoints:
    """Open the checkpoints of a job, and return them.

    To open with mode "rw" is to take over the job: whoever had it open publishes nothing any more, on whatever node,
    and gets `FencedError`. So open first, then load the latest and go on.

    Args:
        where: A directory, or a URL: `file://`, `s3://bucket/job`, `gs://`, `az://`; `memory://` is gone with the
            handle. Object storage takes the extra `journalkit[object-storage]`.
        mode: "rw", the job; "maintain", beside the job, to delete and prune without taking over; "r", to look and
            load, and never a byte changed.
        create: Whether a place without checkpoints may become one with some, in mode "rw".
        keep: What stays after each save. All stay if it isn't given. Checkpoints with a name always do.
        when: What `due` answers by.
        trash_period: How long the bytes of a deleted checkpoint stay, for whoever loads it just now.
        writers: "several": the place is asked whether it enforces conditional writes, and refused if not. "one": it
            isn't asked, and you see to it that there is one writer at a time.
        digest: What chunks are known by; the quickest that is installed if it isn't given.
        compression: Of chunks; none by default.
        threads: How many compute digests and compress; one for each core by default.
        saving: What `save_async` saves in: "thread", or "process": one of its own, started here, that takes nothing of
            the job's interpreter. It needs a place that other processes can open: not `memory://`.
        lease: In mode "rw": wait until nobody else holds the job's lease, and hold it from then on, so that of
            several that are started one works and another takes over once that one is silent for so long.
        lease_patience: How long to wait for it; for as long as it takes by default.
        lease_at: Where the lease is kept: in the place itself by default, or `etcd://host:2379/job`,
            `nats://host:4222/bucket/job`, which are asked more cheaply than most object storage.
        local: A directory on a fast disk of this node, where saves are copied to and loads read from first. What it
            fails at is nobody's trouble but a slower load's; what is damaged in it is read from `where`.
        options: For object storage, what `obstore.store.from_url` takes besides the URL.
        fs: Where a directory lies, for tests.
        clock: Time and chance, for tests.

    Durability:
        In mode "rw" the take-over survives a power cut once this returns.

    Raises:
        UsageError: The arguments can't be, the place doesn't enforce conditional writes, holds a store, or takes a
            package that isn't installed.
        LockedError: Somebody else holds the lease, and patience was up.
        StoreNotFoundError: There are no checkpoints there, and none may be begun.
        CorruptionError: The newest head is damaged.
        UnsupportedFormatError: A later journalkit wrote it. Nothing was touched.
        UnknownOutcomeError, ConflictError: Others open it at the same time, or a reply was lost: open it again.
        ArchiveUnavailableError, StorageError, StoreFullError: The place can't be read or written.
    """
    if saving not in SAVING_MODES:
        raise KeyValueError(f"saving={saving!r:.50} is none of {', '.join(SAVING_MODES)}")
    using = clock if clock is not None else SystemClock()
    objects = open_objects(where, fs=fs, clock=using, options=options)
    try:
        outside: Begin | None = None
        if saving == "process" and mode == "rw":
            address = address_of(where, objects, options=options, local=local, fs=fs)
            outside = partial(Outside, address, clock=using)
        if local is not None:
            objects = _with_copies(objects, local, using, mode)
        return open_on(
            objects,
            using,
            mode=mode,
            create=create,
            keep=keep,
            when=when,
            trash_period=trash_period,
            writers=writers,
            digest=digest,
            compression=compression,
            threads=threads,
            lease=lease,
            lease_patience=lease_patience,
            lease_at=lease_at,
            outside=outside,
        )
    except BaseException:
        objects.close()
        raise


def open_on(
    objects: Objects,
    clock: Clock,
    *,
    mode: str = "rw",
    create: bool = True,
    keep: Keep | None = None,
    when: When | None = None,
    trash_period: Duration = HOUR_S,
    writers: str = "several",
    digest: str | None = None,
    compression: str | None = None,
    threads: int | None = None,
    lease: Duration | None = None,
    lease_patience: Duration | None = None,
    lease_at: str | None = None,
    outside: Begin | None = None,
) -> Checkpoints:
    """Open the checkpoints in a place that somebody opened already: as `open_checkpoints`.

    `outside` starts the process that saves, and is asked for it when nothing else can be wrong any more.
    """
    if mode not in MODES:
        raise KeyValueError(f"mode={mode!r} is none of {', '.join(MODES)}")
    check_writing(digest, compression, threads)
    pace = Pace(when, clock) if when is not None else None
    if lease_at is not None and lease is None:
        raise KeyValueError("lease_at= says where the lease is kept, and lease= for how long it is good: give both")
    held = _leased(objects, clock, lease, lease_patience, lease_at) if lease is not None and mode == "rw" else None
    manifests = Manifests(objects)
    options = SaveOptions(digest or "", compression or "none", threads)
    process: Outside | None = None
    try:
        process = outside(options=options) if outside is not None else None
        saver = saver_on(
            objects,
            clock,
            manifests,
            mode=mode,
            create=create,
            writers=writers,
            keep=keep,
            trash_period=trash_period,
            options=options,
        )
    except BaseException:
        if process is not None:
            process.close()
        if held is not None:
            held.release()
        raise
    if held is not None:
        held.keep()
    finder = Finder(objects, manifests)
    return Checkpoints(
        objects, clock, finder, saver, mode=mode, pace=pace, lease=held, outside=process, opened_at=caller()
    )


def saver_on(
    objects: Objects,
    clock: Clock,
    manifests: Manifests,
    *,
    mode: str,
    create: bool,
    writers: str,
    keep: Keep | None,
    trash_period: Duration,
    options: SaveOptions,
) -> Saver | None:
    """Return what changes the checkpoints of a place, None for a reader. In mode "rw" it takes over the job."""
    if writers not in WRITERS:
        raise KeyValueError(f"writers={writers!r} is none of {', '.join(WRITERS)}")
    if keep is not None and not isinstance(keep, Keep):
        raise KeyTypeError(f"keep={keep!r} is no Keep")
    trash_period_s = seconds(trash_period, "trash_period")
    if not trash_period_s >= 0:
        raise KeyValueError(f"trash_period={trash_period!r}: not before now")
    heads = _heads(objects, clock, mode, writers, create=create)
    if heads is None:
        return None
    is_writer = mode == "rw"
    saver = Saver(
        objects, clock, heads, manifests,
        keep=keep, trash_period_s=trash_period_s, options=options, is_writer=is_writer,
    )  # fmt: skip
    if is_writer:
        sweeping.sweep_after_the_last(objects, heads.head)
    return saver


def _with_copies(main: Objects, local: str | os.PathLike[str], clock: Clock, mode: str) -> Objects:
    """Return the place with copies of its data beside it."""
    tiered = with_copies(main, copies_in(local, main), clock)
    if mode == "rw":
        tiered.remove_what_is_gone()
    return tiered


def _leased(objects: Objects, clock: Clock, term: Duration, patience: Duration | None, board_url: str | None) -> Lease:
    """Wait for the lease, and return it."""
    term_s = seconds(term, "lease")
    if not 0 < term_s <= TERM_MAX_S:
        raise KeyValueError(f"lease={term!r}: some time, a day at most")
    patience_s = None if patience is None else seconds(patience, "lease_patience")
    board = NumberedBoard(objects) if board_url is None else open_board(board_url, term_s)
    held = Lease(board, clock, f"{socket.gethostname()} (pid {os.getpid()})", term_s)
    try:
        held.acquire(patience_s)
    except BaseException:
        held.release()
        raise
    return held


def _heads(objects: Objects, clock: Clock, mode: str, writers: str, *, create: bool) -> HeadWriter | None:
    """Return what publishes, None for a reader."""
    if mode == "maintain":
        joined = HeadWriter.join(objects, clock)
        if joined is None:
            raise _nothing_at(objects)
        return joined
    is_new = newest_head(objects) is None
    if is_new and (mode == "r" or not create):
        raise _nothing_at(objects)
    if mode == "r":
        return None
    if is_new and objects.status(names.MANIFEST) is not None:
        raise UsageError(f"{objects.where} holds a store: checkpoints need a place of their own")
    if writers == "several":
        require_several_writers(objects, clock)
    return HeadWriter.begin(objects, clock, writers=writers)


def check_writing(digest: str | None, compression: str | None, threads: int | None) -> None:
    """Refuse now what would be refused by the first save, when the job has run for hours. Raises UsageError."""
    if digest is not None:
        if digest not in (SHA256, BLAKE3):
            raise KeyValueError(f"digest={digest!r:.50}: it is {SHA256} or {BLAKE3}")
        try:
            digest_named(digest)
        except UnsupportedFormatError as error:
            raise KeyValueError(f"digest={digest!r}: {error}") from None
    if compression is not None:
        compressor(compression)
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int)):
        raise KeyTypeError(f"threads={threads!r} is not a whole number")
    if threads is not None and threads < 0:
        raise KeyValueError(f"threads={threads!r}: none at least")


def _nothing_at(objects: Objects) -> StoreNotFoundError:
    return StoreNotFoundError(f"there are no checkpoints at {objects.where}: check the path", path=objects.where)
