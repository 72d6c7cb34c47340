"""What can be known of a store's directory by looking: each file's verdict, and what recovery would do.

Everything here reads and nothing writes, by the same scan and plan that open a
store. It judges all of it: every snapshot, not only the one that recovery
would take, and every byte if asked to. Without a sound manifest nothing says
what belongs to the store: `journalkit.cli.remains`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypeVar

from journalkit.cli.shown import range_text
from journalkit.cli.terminal import count
from journalkit.cli.verdicts import (
    NOTHING,
    FileVerdict,
    Verdict,
    blamed,
    segment_holds,
    segment_survives,
    size_of,
    torn,
    worst,
)
from journalkit.clock import SystemClock
from journalkit.errors import CorruptionError, UnsupportedFormatError
from journalkit.format import names
from journalkit.format.batch import decode_into
from journalkit.format.frame import Frame, Kind
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import Manifest, SnapshotEntry
from journalkit.format.segment import DurableSlot
from journalkit.format.table import WHOLE, TableInfo
from journalkit.fs.interface import ReadableFileSystem
from journalkit.log.durable import read_durable
from journalkit.recovery.damage import Damage
from journalkit.recovery.diagnosis import Finding, is_foreign_manifest
from journalkit.recovery.findings import Examiner
from journalkit.recovery.look import require_manifest
from journalkit.recovery.plan import Plan, RecoveryMode, make_plan, permit
from journalkit.recovery.salvage import FOREIGN_MANIFEST
from journalkit.recovery.salvage_tables import TableRemains, read_remains
from journalkit.recovery.scan import LogScan, SegmentScan, scan_log
from journalkit.recovery.snapshots import MISPLACED, is_small, misplaced
from journalkit.recovery.strays import Strays, find_strays
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table

Advance: TypeAlias = "Callable[[int], None]"

ANY_LSN: Final = 1 << 64
"""Above every LSN: no part of the log is asked for by itself."""
_RANGES_SHOWN: Final = 3
_LOOK_AGAIN_S: Final = 0.02


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

    @property
    def dropped(self) -> tuple[SnapshotEntry, ...]:
        """The damaged snapshots that are newer than the one to start from: recovery names them no more."""
        entries = self.manifest.snapshots
        return entries[: entries.index(self.snapshot)] if self.snapshot is not None else entries

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


def examine(
    fs: ReadableFileSystem,
    directory: str,
    *,
    deep: bool,
    causes: bool = False,
    from_lsn: int = ANY_LSN,
    advance: Advance = lambda _amount: None,
) -> Examination:
    """Look until a look is consistent: beside a live writer, what looks damaged is looked at again.

    Args:
        fs: Where to look.
        directory: The store's directory.
        deep: Read and check every byte, instead of what opening would read.
        causes: Look further where something is damaged, for what happened there.
        from_lsn: Read the log from this record on, also where opening wouldn't.
        advance: Told of the bytes of each file that was looked at.

    Raises:
        StoreNotFoundError, UsageError: There is nothing of ours, or the path is a file.
        CorruptionError: There is no sound manifest: `cli.remains` tells what there is.
        UnsupportedFormatError: A later version wrote it.
        OSError: The files can't be read.
    """
    seen: object = None
    while True:
        manifest = require_manifest(fs, directory)
        try:
            found = _Look(fs, directory, manifest, advance, deep=deep, causes=causes, from_lsn=from_lsn).run()
        except FileNotFoundError:
            # Pruned between two looks. Gone again in the same generation, it is gone.
            if seen == manifest.generation:
                raise
            seen = manifest.generation
            continue
        except NewerFormatError as error:
            # Of a file that is damaged as well: opening sees the damage first, and doesn't look so far.
            raise UnsupportedFormatError(f"{directory}: {error}; {error.remedy}, nothing was touched") from error
        sight = (found.files, manifest.generation, found.slot)
        if found.verdict == "sound" or sight == seen:
            return found
        seen = sight
        SystemClock().sleep(_LOOK_AGAIN_S)


_OfFile = TypeVar("_OfFile", Damage, Finding)


def _state_of(table: Table) -> str:
    footer = table.footer
    compressed = ", compressed" if table.source.is_compressed else ""
    return f"{'at' if footer.below == WHOLE else 'changed up to'} LSN {footer.lsn}{compressed}"


def _by_file(found: Iterable[_OfFile]) -> dict[str, list[_OfFile]]:
    grouped: dict[str, list[_OfFile]] = {}
    for item in found:
        grouped.setdefault(item.file, []).append(item)
    return grouped


class _Unkept(dict[bytes, bytes | None]):
    """Takes a record's entries and keeps none: a large record of small entries weighs many times its bytes."""

    def __setitem__(self, key: bytes, value: bytes | None) -> None:
        """Forget it."""


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
        causes: bool,
        from_lsn: int,
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._manifest = manifest
        self._deep = deep
        self._causes = causes
        self._from_lsn = from_lsn
        self._advance = advance
        self._cache = BlockCache(0)
        self._senseless: list[Damage] = []
        self._ends: dict[int, tuple[int, int]] = {}
        small = [entry.tables for entry in manifest.snapshots if is_small(entry)]
        self._read_in_full = {info.number for tables in small for info in tables}
        self._examiner = Examiner(fs, directory, manifest)
        self._findings: list[Finding] = []

    def run(self) -> Examination:
        """Return what was found."""
        fs, directory, manifest = self._fs, self._directory, self._manifest
        slot = read_durable(fs, directory)
        # Snapshots share tables; of those that name one, the oldest is nearest to its own LSN.
        named = {info.number: (info, entry.lsn) for entry in manifest.snapshots for info in entry.tables}
        tables = {number: self._table(info, lsn) for number, (info, lsn) in named.items()}
        tables |= self._misplaced(tables)
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
        self._refuse_foreign_manifest(plan, slot)
        if self._causes:
            self._findings += self._examiner.log(scan, plan.damage)
            self._findings = self._examiner.look_further(self._findings)
        damage = _by_file(plan.damage)
        files = [self._manifest_verdict(damage), *(self._segment(segment, plan, damage) for segment in scan.segments)]
        files += [self._stray(found) for found in strays.damage]
        files += tables.values()
        findings = _by_file(self._findings)
        files = [self._with_findings(file, tuple(findings.get(file.name, ()))) for file in files]
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

    def _refuse_foreign_manifest(self, plan: Plan, slot: DurableSlot | None) -> None:
        """Raise if the manifest is the one file that isn't of this store: it judges nobody then."""
        if plan.damage and is_foreign_manifest(self._manifest, self._examiner.census, slot):
            raise CorruptionError(FOREIGN_MANIFEST, path=os.path.join(self._directory, names.MANIFEST))

    def _with_findings(self, file: FileVerdict, mine: tuple[Finding, ...]) -> FileVerdict:
        if not mine:
            return file
        if file.verdict != "damaged":
            # Another file's damage says so: a segment that is newer than the manifest.
            file = replace(file, verdict="damaged", reason=mine[0].cause.proof)
        return replace(file, findings=mine)

    def _check_sense(self, frame: Frame) -> None:
        """Note a record that passes its checksums and can't be replayed."""
        try:
            if self._manifest.kind == "journal":
                if frame.kind != Kind.RECORD:
                    raise MalformedError("a batch in a journal")
                return
            if frame.kind != Kind.BATCH:
                raise MalformedError("a journal record in a store")
            decode_into(frame.payload, _Unkept())
        except MalformedError as error:
            reason = f"the record is whole and makes no sense ({error.reason})"
            entries = self._manifest.segments
            # One that was made ahead, and begun since, has no number here: the last before it stands for it.
            entry = next((entry for entry in reversed(entries) if 0 < entry.first_lsn <= frame.lsn), entries[0])
            self._senseless.append(Damage(names.segment_name(entry.number), reason, frame.offset_bytes, frame.lsn))

    def _manifest_verdict(self, damage: Mapping[str, list[Damage]]) -> FileVerdict:
        manifest = self._manifest
        file = FileVerdict(
            names.MANIFEST,
            size_of(self._fs, self._directory, names.MANIFEST),
            "sound",
            f"generation {manifest.generation}, epoch {manifest.epoch}",
        )
        return blamed(file, damage.get(names.MANIFEST, []))

    def _segment(self, segment: SegmentScan, plan: Plan, damage: Mapping[str, list[Damage]]) -> FileVerdict:
        name = names.segment_name(segment.entry.number)
        self._advance(segment.size_bytes)
        file = FileVerdict(name, segment.size_bytes, "sound", segment_holds(segment))
        found = damage.get(name, [])
        if found:
            elsewhere = self._elsewhere(name)
            survives = elsewhere if elsewhere != NOTHING else segment_survives(segment, self._examiner.whole(name))
            return replace(blamed(file, found), survives=survives)
        for cut in plan.cuts:
            if cut.segment == segment.entry.number:
                return torn(file, cut, segment)
        return file

    def _stray(self, damage: Damage) -> FileVerdict:
        file = FileVerdict(damage.file, size_of(self._fs, self._directory, damage.file), "damaged", "records")
        return blamed(file, [damage])

    def _table(self, info: TableInfo, lsn: int) -> FileVerdict:
        name = names.table_name(info.number)
        file = FileVerdict(name, info.size_bytes, "sound", f"{count(info.entry_count, 'entry')} at LSN {lsn}")
        try:
            table = Table.open(self._fs, self._directory, info, self._manifest.store, self._cache)
            try:
                self._ends[info.number] = (table.footer.lsn, table.footer.below)
                file = replace(file, holds=f"{count(info.entry_count, 'entry')} {_state_of(table)}")
                if self._deep or info.number in self._read_in_full:
                    table.verify(from_device=self._deep)
            finally:
                table.close()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EIO):
                raise
            reason = (
                "the table is missing" if error.errno == errno.ENOENT else f"the table can't be read ({error.strerror})"
            )
            survives = self._examine_table(info, file, None, reason)
            return replace(file, verdict="damaged", reason=reason, survives=survives)
        except CorruptionError as error:
            return self._damaged_table(file, info, error)
        finally:
            self._advance(info.size_bytes)
        return file

    def _misplaced(self, tables: Mapping[int, FileVerdict]) -> dict[int, FileVerdict]:
        """Return verdicts on tables that are sound and not where they belong."""
        found = {}
        for entry in self._manifest.snapshots:
            numbers = [info.number for info in entry.tables]
            if all(tables[number].verdict == "sound" for number in numbers):
                place = misplaced(entry.lsn, [self._ends[number] for number in numbers])
                if place is not None:
                    file = tables[numbers[place]]
                    found[numbers[place]] = replace(file, verdict="damaged", reason=MISPLACED)
        return found

    def _examine_table(self, info: TableInfo, file: FileVerdict, remains: TableRemains | None, reason: str) -> str:
        """Look for what happened to a table, if causes are asked for; return what survives of it elsewhere."""
        if self._causes:
            self._findings += self._examiner.table(info, file.name, remains, reason)
        return self._elsewhere(file.name)

    def _elsewhere(self, name: str) -> str:
        place = self._examiner.elsewhere(name)
        return f"all of it, under the name {place}" if place else NOTHING

    def _damaged_table(self, file: FileVerdict, info: TableInfo, error: CorruptionError) -> FileVerdict:
        """Tell which keys are lost, in the words of whoever stored them."""
        remains = read_remains(self._fs, self._directory, file.name, info)
        reason, at = remains.faults[0][:2] if remains.faults else (error.reason, error.offset_bytes)
        elsewhere = self._examine_table(info, file, remains, error.reason)
        if elsewhere != NOTHING:
            return replace(file, verdict="damaged", reason=reason, offset_bytes=at, survives=elsewhere)
        survives = f"{remains.entry_count:,} of {count(info.entry_count, 'entry')}"
        if remains.entry_count and remains.lost:
            survives += "; lost: " + "; ".join(" to ".join(range_text(keys)) for keys in remains.lost[:_RANGES_SHOWN])
            survives += "; ..." * (len(remains.lost) > _RANGES_SHOWN)
        return replace(file, verdict="damaged", reason=reason, offset_bytes=at, survives=survives)
