"""What can be known of a store's directory by looking: each file's verdict, and what recovery would do.

Everything here reads and nothing writes, by the same scan and plan that open a
store. It judges all of it: every snapshot, not only the one that recovery
would take, and every byte if asked to. Without a sound manifest nothing says
what belongs to the store; then files are told by what can be salvaged of them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from journalkit.cli.shown import range_text
from journalkit.cli.terminal import count, span
from journalkit.clock import SystemClock
from journalkit.errors import CorruptionError
from journalkit.format import names
from journalkit.format.batch import decode_into
from journalkit.format.frame import Frame, Kind
from journalkit.format.malformed import MalformedError
from journalkit.format.manifest import Manifest, SnapshotEntry
from journalkit.format.segment import DurableSlot
from journalkit.format.table import TableInfo
from journalkit.fs.interface import ReadableFileSystem
from journalkit.log.durable import read_durable
from journalkit.recovery.damage import Damage
from journalkit.recovery.look import require_manifest
from journalkit.recovery.plan import Cut, Plan, RecoveryMode, make_plan, permit
from journalkit.recovery.salvage import take_stock
from journalkit.recovery.salvage_tables import read_remains
from journalkit.recovery.scan import LogScan, SegmentScan, scan_log
from journalkit.recovery.snapshots import SMALL_BYTES
from journalkit.recovery.strays import Strays, find_strays
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table

Verdict: TypeAlias = Literal["sound", "torn tail", "damaged", "unjudged"]
Advance: TypeAlias = "Callable[[int], None]"

ANY_LSN: Final = 1 << 64
"""Above every LSN: no part of the log is asked for by itself."""
_RANGES_SHOWN: Final = 3
_LOOK_AGAIN_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """One file: what it holds, whether it is sound, and if not where, why, and what survives."""

    name: str
    size_bytes: int
    verdict: Verdict
    holds: str
    reason: str = ""
    offset_bytes: int | None = None
    lsn: int | None = None
    survives: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """What looking at a directory with a sound manifest gave.

    `snapshot` is the one that recovery would start from; `usable` says whether
    there is a state to start from at all.
    """

    directory: str
    files: tuple[FileVerdict, ...]
    manifest: Manifest
    snapshot: SnapshotEntry | None
    usable: bool
    scan: LogScan
    plan: Plan
    strays: Strays
    slot: DurableSlot | None

    @property
    def verdict(self) -> Verdict:
        """The worst of the files' verdicts."""
        return worst(self.files)

    @property
    def snapshots_damaged(self) -> bool:
        """Whether a table of any snapshot is damaged."""
        return any(file.verdict == "damaged" and names.table_number(file.name) is not None for file in self.files)

    def refuse(self, mode: RecoveryMode) -> None:
        """Raise the CorruptionError that opening for writing would raise, if any."""
        permit(self.plan, mode, self.directory)
        if self.usable:
            return
        damaged = next(file for file in self.files if file.verdict == "damaged")
        raise CorruptionError(
            f"{damaged.reason}; no snapshot is sound, and the log doesn't reach back to the beginning",
            path=os.path.join(self.directory, damaged.name),
            offset_bytes=damaged.offset_bytes,
            next_step=f"restore a backup, or copy what is intact with `journalkit salvage {self.directory} NEW`",
        )


def worst(files: Iterable[FileVerdict]) -> Verdict:
    """Return what the verdicts of a directory's files come to."""
    found = {file.verdict for file in files}
    if "damaged" in found:
        return "damaged"
    return "torn tail" if "torn tail" in found else "sound"


def examine(
    fs: ReadableFileSystem,
    directory: str,
    *,
    deep: bool,
    from_lsn: int = ANY_LSN,
    advance: Advance = lambda _amount: None,
) -> Examination:
    """Look until a look is consistent: beside a live writer, what looks damaged is looked at again.

    Args:
        fs: Where to look.
        directory: The store's directory.
        deep: Read and check every byte, instead of what opening would read.
        from_lsn: Read the log from this record on, also where opening wouldn't.
        advance: Told of the bytes of each file that was looked at.

    Raises:
        StoreNotFoundError, UsageError: There is nothing of ours, or the path is a file.
        CorruptionError: There is no sound manifest: `list_remains` tells what there is.
        UnsupportedFormatError: A later version wrote it.
        OSError: The files can't be read.
    """
    seen: object = None
    while True:
        manifest = require_manifest(fs, directory)
        try:
            found = _Look(fs, directory, manifest, advance, deep=deep, from_lsn=from_lsn).run()
        except FileNotFoundError:
            # Pruned between two looks. Gone again in the same generation, it is gone.
            if seen == manifest.generation:
                raise
            seen = manifest.generation
            continue
        sight = (found.files, manifest.generation, found.slot)
        if found.verdict == "sound" or sight == seen:
            return found
        seen = sight
        SystemClock().sleep(_LOOK_AGAIN_S)


class _Look:
    """One look at a directory with a sound manifest."""

    def __init__(
        self,
        fs: ReadableFileSystem,
        directory: str,
        manifest: Manifest,
        advance: Advance,
        *,
        deep: bool,
        from_lsn: int,
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._manifest = manifest
        self._deep = deep
        self._from_lsn = from_lsn
        self._advance = advance
        self._cache = BlockCache(0)
        self._senseless: list[Damage] = []

    def run(self) -> Examination:
        """Return what was found."""
        fs, directory, manifest = self._fs, self._directory, self._manifest
        slot = read_durable(fs, directory)
        tables = {info.number: self._table(info, entry.lsn) for entry in manifest.snapshots for info in entry.tables}
        sound = {number for number, file in tables.items() if file.verdict == "sound"}
        usable = [entry for entry in manifest.snapshots if all(info.number in sound for info in entry.tables)]
        snapshot = usable[0] if usable else None
        base_lsn = snapshot.lsn if snapshot is not None else 0
        # At most what a deep look reads, and at least what opening reads.
        wanted_lsn = 0 if self._deep else min(self._from_lsn - 1, base_lsn)
        scan = scan_log(
            fs,
            directory,
            manifest,
            after_lsn=max(wanted_lsn, manifest.pruned_lsn),
            sink=self._check_sense,
            everything=self._deep,
        )
        strays = find_strays(fs, directory, manifest)
        plan = make_plan(manifest, scan, strays, snapshot_lsn=base_lsn)
        plan = replace(plan, damage=(*plan.damage, *self._senseless))
        files = [self._manifest_verdict(plan), *(self._segment(segment, plan) for segment in scan.segments)]
        files += [self._stray(found) for found in strays.damage]
        files += tables.values()
        return Examination(
            directory=directory,
            files=tuple(files),
            manifest=manifest,
            snapshot=snapshot,
            usable=snapshot is not None or not manifest.pruned_lsn or manifest.kind == "journal",
            scan=scan,
            plan=plan,
            strays=strays,
            slot=slot,
        )

    def _check_sense(self, frame: Frame) -> None:
        """Note a record that passes its checksums and can't be replayed."""
        if self._manifest.kind != "store":
            return
        try:
            if frame.kind != Kind.BATCH:
                raise MalformedError("a journal record in a store")
            decode_into(frame.payload, {})
        except MalformedError as error:
            reason = f"the record is whole and makes no sense ({error.reason})"
            entry = next(entry for entry in reversed(self._manifest.segments) if 0 < entry.first_lsn <= frame.lsn)
            self._senseless.append(Damage(names.segment_name(entry.number), reason, frame.offset_bytes, frame.lsn))

    def _manifest_verdict(self, plan: Plan) -> FileVerdict:
        manifest = self._manifest
        file = FileVerdict(
            names.MANIFEST,
            _size(self._fs, self._directory, names.MANIFEST),
            "sound",
            f"generation {manifest.generation}, epoch {manifest.epoch}",
        )
        return _blamed(file, [damage for damage in plan.damage if damage.file == names.MANIFEST])

    def _segment(self, segment: SegmentScan, plan: Plan) -> FileVerdict:
        name = names.segment_name(segment.entry.number)
        self._advance(segment.size_bytes)
        file = FileVerdict(name, segment.size_bytes, "sound", _segment_holds(segment))
        found = [damage for damage in plan.damage if damage.file == name]
        if found:
            return replace(_blamed(file, found), survives=_segment_survives(segment))
        for cut in plan.cuts:
            if cut.segment == segment.entry.number:
                return _torn(file, cut, segment)
        return file

    def _stray(self, damage: Damage) -> FileVerdict:
        file = FileVerdict(damage.file, _size(self._fs, self._directory, damage.file), "damaged", "records")
        return replace(_blamed(file, [damage]), survives="its whole records, by `journalkit salvage`")

    def _table(self, info: TableInfo, lsn: int) -> FileVerdict:
        name = names.table_name(info.number)
        file = FileVerdict(name, info.size_bytes, "sound", f"{count(info.entry_count, 'entry')} at LSN {lsn}")
        try:
            table = Table.open(self._fs, self._directory, info, self._manifest.store, self._cache)
            try:
                if self._deep or info.size_bytes <= SMALL_BYTES:
                    table.verify(from_device=self._deep)
            finally:
                table.close()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EIO):
                raise
            reason = (
                "the table is missing" if error.errno == errno.ENOENT else f"the table can't be read ({error.strerror})"
            )
            return replace(file, verdict="damaged", reason=reason, survives="nothing of it")
        except CorruptionError as error:
            return self._damaged_table(file, info, error)
        finally:
            self._advance(info.size_bytes)
        return file

    def _damaged_table(self, file: FileVerdict, info: TableInfo, error: CorruptionError) -> FileVerdict:
        """Tell which keys are lost, in the words of whoever stored them."""
        remains = read_remains(self._fs, self._directory, file.name, info)
        reason, at = remains.faults[0] if remains.faults else (error.reason, error.offset_bytes)
        survives = f"{remains.entry_count:,} of {count(info.entry_count, 'entry')}"
        if remains.entry_count and remains.lost:
            survives += "; lost: " + "; ".join(" to ".join(range_text(keys)) for keys in remains.lost[:_RANGES_SHOWN])
            survives += "; ..." * (len(remains.lost) > _RANGES_SHOWN)
        return replace(file, verdict="damaged", reason=reason, offset_bytes=at, survives=survives)


def list_remains(
    fs: ReadableFileSystem, directory: str, error: CorruptionError, advance: Advance
) -> tuple[FileVerdict, ...]:
    """Return a verdict on each file of a store whose manifest can't be had, which is what `error` says."""
    remains = take_stock(fs, directory, advance)
    files = [
        FileVerdict(
            names.MANIFEST,
            _size(fs, directory, names.MANIFEST),
            "damaged",
            "what is live",
            error.reason,
            error.offset_bytes,
            survives="what `journalkit salvage` finds in the other files",
        )
    ]
    for segment in remains.segments:
        holds = count(segment.records, "whole record")
        if segment.records:
            holds += f", {span(segment.first_lsn, segment.last_lsn)}"
        files.append(_unjudged(segment.name, segment.size_bytes, holds, segment.faults))
    for table in remains.tables:
        holds = f"{count(table.entry_count, 'intact entry')} at LSN {table.lsn}"
        files.append(_unjudged(table.name, table.size_bytes, holds, table.faults))
    files += [
        FileVerdict(name, _size(fs, directory, name), "damaged", "", "the file is another store's, or a copy")
        for name in remains.foreign
    ]
    return tuple(files)


def _unjudged(name: str, size_bytes: int, holds: str, faults: list[tuple[str, int]]) -> FileVerdict:
    if not faults:
        return FileVerdict(name, size_bytes, "unjudged", holds)
    reason, at = faults[0]
    return FileVerdict(name, size_bytes, "damaged", holds, reason, at, survives=f"{holds}, by `journalkit salvage`")


def _size(fs: ReadableFileSystem, directory: str, name: str) -> int:
    status = fs.status(os.path.join(directory, name))
    return status.size_bytes if status is not None else 0


def _blamed(file: FileVerdict, found: list[Damage]) -> FileVerdict:
    if not found:
        return file
    first = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return replace(file, verdict="damaged", reason=first.reason + more, offset_bytes=first.offset_bytes, lsn=first.lsn)


def _torn(file: FileVerdict, cut: Cut, segment: SegmentScan) -> FileVerdict:
    survives = f"every promised record, up to LSN {cut.lsn - 1}"
    if segment.beyond.frames:
        survives += f"; {count(segment.beyond.frames, 'whole record')} in the tail that nobody was promised"
    return replace(
        file,
        verdict="torn tail",
        reason=f"{cut.count_bytes} bytes that nothing promised ({cut.reason})",
        offset_bytes=cut.offset_bytes,
        lsn=cut.lsn,
        survives=survives,
    )


def _segment_holds(segment: SegmentScan) -> str:
    entry = segment.entry
    if not segment.present:
        return "records"
    if segment.header is None:
        return "nothing yet: prepared ahead" if segment.is_blank else "records"
    first_lsn = segment.header.first_lsn
    what = span(first_lsn, segment.last_lsn) if segment.last_lsn >= first_lsn else "no record yet"
    if segment.sealed:
        return f"{what}, sealed"
    return f"{what}, ended by recovery" if entry.end is not None else f"{what}, open"


def _segment_survives(segment: SegmentScan) -> str:
    parts = []
    if segment.records and segment.header is not None:
        parts.append(f"{span(segment.header.first_lsn, segment.last_lsn)} before it")
    beyond = segment.beyond
    if beyond.frames:
        parts.append(f"{count(beyond.frames, 'whole record')} behind it, by `journalkit salvage`")
    return ", ".join(parts) if parts else "nothing of it"
