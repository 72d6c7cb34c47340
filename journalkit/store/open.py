"""Opening a store: what `journalkit.open` is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from journalkit.clock import Clock, SystemClock
from journalkit.fs.interface import FileSystem
from journalkit.options import MIB, Compaction, Compression, Duration, Options, seconds
from journalkit.recovery.plan import RecoveryMode
from journalkit.recovery.writer import OpenRequest
from journalkit.runtime.handle import started
from journalkit.runtime.place import caller, resolve
from journalkit.runtime.request import check_compression, check_mode, check_request
from journalkit.store.engine import open_reader, open_writer
from journalkit.store.store import Store
from journalkit.types import Sync


def open_store(
    path: str | os.PathLike[str],
    *,
    mode: Literal["rw", "r"] = "rw",
    create: bool = True,
    sync: Sync = "always",
    sync_interval_ms: int = 100,
    codec: str | None = None,
    compaction: Compaction = "thread",
    keep_snapshots: int = 2,
    recovery: RecoveryMode = "default",
    max_recovery: Duration = 10.0,
    max_age: Duration = timedelta(hours=1),
    fold_bytes_min: int = 8 * MIB,
    fold_ratio: float = 0.4,
    fold_bytes_per_s: float | None = None,
    compression: Compression | None = None,
    segment_bytes_max: int = 64 * MIB,
    cache_bytes: int = 64 * MIB,
    metadata: Mapping[str, Any] | None = None,
    trust_filesystem: str | None = None,
    check_all: bool = False,
    fs: FileSystem | None = None,
    clock: Clock | None = None,
) -> Store:
    """Open the store in a directory, creating it if there is none, and return it.

    Args:
        path: The directory, or "memory://" for a store that lives and dies with the handle.
        mode: "rw", the only writer; "r", what is there now, beside a writer or
            without one, and never a byte changed.
        create: Whether a store may be created.
        sync: What an acknowledgement means: "always" survives a power cut,
            "interval" a process crash and, after at most `sync_interval_ms`, a
            power cut; "never" a process crash, and a power cut after the next
            `sync`, rotation, fold or close.
        sync_interval_ms: See `sync`; milliseconds.
        codec: How values are stored, "cbor", "msgpack" or "raw"; None is the store's own, "cbor" for a new one.
        compaction: "thread" folds in the background; "process" too, and lets another process do the merging, so that
            it takes nothing of this one's time; "manual" folds only on `compact()`.
        keep_snapshots: How many snapshots are kept, with the log that the oldest needs.
        recovery: "default" cuts a torn tail and refuses damage, "strict" refuses
            both, "point-in-time" keeps what is before the first damage.
        max_recovery: Fold before replaying the log would take longer than this; seconds or timedelta.
        max_age: Fold when the oldest record that isn't in a snapshot is this old; seconds or timedelta.
        fold_bytes_min: Fold for size when the log's tail has this many bytes.
        fold_ratio: Merge what folds wrote into the base when it has this many times
            the base's bytes or entries; 0: at each fold, which writes everything anew.
        fold_bytes_per_s: How many bytes a fold writes in a second at most, None for as fast as it can. Not kept
            where it would cost more: when what is new is two folds ahead, or the disk is filling.
        compression: "zstd" makes the tables that folds write smaller, at some cost in time; what is there already stays
            as it is. Takes the extra journalkit[zstd].
        segment_bytes_max: Rotate a log segment at this size.
        cache_bytes: Memory for what was read: blocks of the snapshot, and single values that are read again.
        metadata: Stored with a new store; a mapping of str to CBOR values.
        trust_filesystem: Name the type of a network or FUSE file system to write there all the same.
        check_all: Check every byte of log and snapshot before opening, and fall
            back to an older snapshot if one is damaged anywhere.
        fs: The file system to use; the machine's own by default.
        clock: Where time and chance come from; the machine's own by default.

    Durability:
        A new store, and what recovery decided, survive a power cut once this returns.

    Raises:
        UsageError: An option makes no sense, the path isn't a directory or holds
            something else, or its file system can't be trusted.
        StoreNotFoundError: There is no store, under `mode="r"` or `create=False`.
        LockedError: Another writer has it: host, pid and since when.
        CorruptionError: Something promised is damaged. Nothing was changed.
        UnsupportedFormatError: A later version wrote it. Nothing was changed.
        StoreFullError: No room to begin a log segment. The state is as it was.
        StorageError: The operating system failed; trying again is safe.

    Complexity:
        Independent of the state's size; the log behind the newest snapshot is replayed.
    """
    options = Options(
        sync=sync,
        sync_interval_ms=sync_interval_ms,
        compaction=compaction,
        keep_snapshots=keep_snapshots,
        max_recovery_s=seconds(max_recovery, "max_recovery"),
        max_age_s=seconds(max_age, "max_age"),
        fold_bytes_min=fold_bytes_min,
        fold_ratio=fold_ratio,
        fold_bytes_per_s=fold_bytes_per_s,
        compression=check_compression(compression),
        segment_bytes_max=segment_bytes_max,
        cache_bytes=cache_bytes,
    )
    check_mode(mode)
    request = check_request(
        OpenRequest(
            kind="store",
            create=create,
            codec=codec,
            mode=recovery,
            metadata=metadata,
            trust_filesystem=trust_filesystem,
            segment_bytes_max=segment_bytes_max,
            opened_at=caller(),
            deep=check_all,
        )
    )
    place = resolve(path, fs)
    hands = clock if clock is not None else SystemClock()
    opener = open_reader if mode == "r" else open_writer
    engine = opener(place.fs, place.directory, request, options, hands)
    return started(Store(engine, name=place.name, opened_at=request.opened_at))
