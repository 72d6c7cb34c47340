"""Recovery without its consequences: what is in a directory, and what would be done about it.

Everything here reads and nothing writes: `verify`, `info`, `mode="r"` and a
dry run are this; opening for writing is this and then `recovery.apply`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from journalkit.errors import CorruptionError, StoreNotFoundError, UsageError
from journalkit.format import names
from journalkit.format.manifest import Manifest
from journalkit.fs.interface import ReadableFileSystem
from journalkit.manifest import read_manifest
from journalkit.recovery.plan import Plan, RecoveryMode, make_plan, permit
from journalkit.recovery.replay import discard
from journalkit.recovery.scan import LogScan, Sink, read_kept, scan_log
from journalkit.recovery.snapshots import SnapshotChoice, choose_snapshot
from journalkit.recovery.strays import Strays, find_strays
from journalkit.snapshot.cache import BlockCache

_REMAINS = frozenset({names.DURABLE, names.RESERVE, names.QUARANTINE})


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a store's directory gave."""

    manifest: Manifest
    snapshot: SnapshotChoice
    scan: LogScan
    plan: Plan
    strays: Strays

    @property
    def outcome(self) -> str:
        """What a recovery that follows the plan is called in its report."""
        if self.plan.damage:
            return "point-in-time"
        if self.plan.cuts:
            return "cut"
        return "replayed" if self.scan.records_sunk or not self.plan.sealed else "clean"


def require_manifest(fs: ReadableFileSystem, directory: str) -> Manifest:
    """Return the manifest of the store in `directory`.

    Raises:
        StoreNotFoundError: There is nothing of ours.
        UsageError: The path is not a directory.
        CorruptionError: There are segments or tables, and no sound manifest.
        UnsupportedFormatError: A later version wrote it.
    """
    status = fs.status(directory)
    if status is not None and not status.is_directory:
        raise no_directory(directory)
    manifest = read_manifest(fs, directory) if status is not None else None
    if manifest is not None:
        return manifest
    if status is not None:
        refuse_remains(fs, directory)
    raise StoreNotFoundError(
        f"{directory}: there is no store; check the path, or open it for writing to create one", path=directory
    )


def no_directory(directory: str) -> UsageError:
    """Return the error for a path that is something else; a link at its end is never followed."""
    return UsageError(f"{directory} is a file or a link; a store is a directory, name the directory itself")


def refuse_remains(fs: ReadableFileSystem, directory: str) -> None:
    """Refuse a directory that holds files of a store: without a manifest they are no new one.

    The manifest is the first of them, durably, so no crash leaves the others alone; but that of a restore, whose mark
    says so.

    Raises:
        CorruptionError: There are some.
        UsageError: They are those of a restore that was cut short.
    """
    there = fs.list(directory)
    if names.RESTORING in there:
        raise UsageError(
            f"{directory} is where a store is being restored, or where a restore was cut short; let it end, restore to "
            "it again, or remove it"
        )
    for name in there:
        if name in _REMAINS or names.segment_number(name) is not None or names.table_number(name) is not None:
            raise CorruptionError(
                f"the manifest is missing beside {name}",
                path=os.path.join(directory, names.MANIFEST),
                next_step="restore the directory from a backup, or copy what is intact with `journalkit salvage`",
            )


def look(
    fs: ReadableFileSystem,
    directory: str,
    manifest: Manifest,
    cache: BlockCache,
    sink: Sink,
    *,
    mode: RecoveryMode | None = None,
    deep: bool = False,
    bypass_cache: bool = False,
) -> Found:
    """Choose a snapshot, scan the log behind it into `sink`, and plan. `deep` checks every byte of both.

    With a `mode` the plan is one that it permits, and `sink` has exactly the
    records that the plan keeps. Without one damage in the log stands in the
    plan, and what went to `sink` may be more.

    Raises:
        CorruptionError: No snapshot can be used, or `mode` doesn't permit the plan.
        UnsupportedFormatError: Something is of a later version.
        OSError: The files can't be read.
    """
    snapshot = choose_snapshot(fs, directory, manifest, cache, deep=deep)
    # Damage may be permitted: what is kept is known only when all is scanned, and then it is read once more.
    twice = mode == "point-in-time"
    after_lsn = max(snapshot.lsn, manifest.pruned_lsn)
    try:
        scan = scan_log(
            fs,
            directory,
            manifest,
            after_lsn=after_lsn,
            sink=discard if twice else sink,
            everything=deep,
            bypass_cache=bypass_cache,
        )
        strays = find_strays(fs, directory, manifest)
        plan = make_plan(manifest, scan, strays, snapshot_lsn=snapshot.lsn)
        if mode is not None:
            permit(plan, mode, directory)
        if twice:
            sunk = read_kept(fs, directory, plan.segments, after_lsn=max(after_lsn, plan.pruned_lsn), sink=sink)
            scan = replace(scan, records_sunk=sunk)
    except BaseException:
        for table in snapshot.tables:
            table.close()
        raise
    return Found(manifest, snapshot, scan, plan, strays)
