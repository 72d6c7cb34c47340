"""What `Store.statistics` answers."""

from __future__ import annotations

from dataclasses import dataclass

from journalkit.store.engine import Engine


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Counts since the store was opened, and sizes now. Bytes are bytes on disk unless they say memory.

    Attributes:
        commits: Records written.
        groups: Writes that they shared.
        syncs: Fsyncs of the log.
        log_bytes: Bytes of all segments' records, the active one's included.
        segments: Segments that are live.
        snapshots: Snapshots that are kept.
        snapshot_bytes: Bytes of the newest one.
        unfolded_bytes: About how many bytes of entries only the log and the memory hold.
        memtables: Memtables, the active one included.
        cache_bytes: What the block cache holds, in memory.
        cache_hits: Block reads that it answered.
        cache_misses: Block reads that went to the file.
        folds: Folds that were published.
        fold_failures: Folds that failed.
        last_fold_error: Why the last one failed, "" if it worked.
        emergencies: How often a full disk made the compactor keep one snapshot only.
        folds_outside: Folds that another process merged, under `compaction="process"`.
        fold_refusal: Why none is asked to although it should be, "" if that isn't so.
    """

    commits: int
    groups: int
    syncs: int
    log_bytes: int
    segments: int
    snapshots: int
    snapshot_bytes: int
    unfolded_bytes: int
    memtables: int
    cache_bytes: int
    cache_hits: int
    cache_misses: int
    folds: int
    fold_failures: int
    last_fold_error: str
    emergencies: int
    folds_outside: int
    fold_refusal: str


def gather(engine: Engine) -> StoreStatistics:
    """Return the statistics of an open store. O(segments)."""
    layers, manifest, cache = engine.layers, engine.manifest(), engine.cache.statistics()
    writing = engine.writing
    log = writing.opened.log.statistics if writing else None
    compactor = writing.compactor.statistics() if writing else None
    ends = [entry.end.end_bytes for entry in manifest.segments if entry.end is not None]
    active_bytes = 0
    if writing is not None:
        position = writing.opened.log.position
        ends = [entry.end.end_bytes for entry in position.ended if entry.end is not None]
        active_bytes = position.active.end_bytes
    return StoreStatistics(
        commits=log.commits if log else 0,
        groups=log.groups if log else 0,
        syncs=log.syncs if log else 0,
        log_bytes=sum(ends) + active_bytes,
        segments=len(ends) + 1,
        snapshots=len(manifest.snapshots),
        snapshot_bytes=sum(table.info.size_bytes for table in layers.tables),
        unfolded_bytes=layers.unfolded_bytes,
        memtables=1 + len(layers.frozen),
        cache_bytes=cache.size_bytes,
        cache_hits=cache.hits,
        cache_misses=cache.misses,
        folds=compactor.folds if compactor else 0,
        fold_failures=compactor.failures if compactor else 0,
        last_fold_error=compactor.last_error if compactor else "",
        emergencies=compactor.emergencies if compactor else 0,
        folds_outside=compactor.outside if compactor else 0,
        fold_refusal=compactor.refusal if compactor else "",
    )
