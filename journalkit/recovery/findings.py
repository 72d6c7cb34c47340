"""Findings: every damage that a plan or a table's check told of, looked at until its kind is proved or can't be.

This is for who wants to know, after the verdict is in: recovery itself never
waits for it. Reads only, and nothing at all of a store that is sound.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from journalkit.format import names
from journalkit.format.manifest import Manifest
from journalkit.format.segment import SegmentHeader
from journalkit.format.table import TableHeader, TableInfo
from journalkit.fs.interface import ReadableFileSystem
from journalkit.recovery.autopsy import Home, examine_segment
from journalkit.recovery.autopsy_tables import TableHome, examine_table
from journalkit.recovery.census import take_census
from journalkit.recovery.damage import Damage, DamageKind
from journalkit.recovery.diagnosis import Cause, Finding, Identity, misplaced
from journalkit.recovery.moved import moved_sectors
from journalkit.recovery.promises import Promised, Promises
from journalkit.recovery.salvage import Remains
from journalkit.recovery.salvage_log import NO_LIMIT
from journalkit.recovery.salvage_ranges import ALL_KEYS, LsnRange, LsnSet
from journalkit.recovery.salvage_tables import TableRemains
from journalkit.recovery.scan import LogScan, SegmentScan


class Examiner:
    """Looks into the damaged files of one directory whose manifest is sound."""

    def __init__(self, fs: ReadableFileSystem, directory: str, manifest: Manifest) -> None:
        self._fs = fs
        self._directory = directory
        self._manifest = manifest
        self._census: dict[str, Identity] | None = None
        self._whole: dict[str, list[LsnRange]] = {}

    @property
    def census(self) -> dict[str, Identity]:
        """What each file says it is; taken when it is first asked for."""
        if self._census is None:
            self._census = take_census(self._fs, self._directory)
        return self._census

    def whole(self, name: str) -> list[LsnRange]:
        """Return which promised records of a damaged segment are whole; known once `log` looked into it."""
        return self._whole.get(name, [])

    def log(self, scan: LogScan, damage: Sequence[Damage]) -> list[Finding]:
        """Return what is damaged of the log, of files that stand beside it, and of the manifest as such."""
        found: list[Finding] = []
        promises = Promises(self._manifest, scan)
        ours = {names.segment_name(segment.entry.number): at for at, segment in enumerate(scan.segments)}
        by_name: dict[str, list[Damage]] = {}
        for item in damage:
            by_name.setdefault(item.file, []).append(item)
        for name, told in by_name.items():
            if name in ours:
                segment = scan.segments[ours[name]]
                mine = self._segment(segment, name, promises.of(segment))
            else:
                mine = self._stray(told)
            found += mine or [_as_told(item) for item in told]
        return found + self._missed_fold(found)

    def _missed_fold(self, found: Sequence[Finding]) -> list[Finding]:
        """Return what it says of the manifest that a table beyond it holds the records of segments that are missing.

        Segments are removed only once a manifest names the table that has what they had.
        """
        missing = [item.lost_lsns for item in found if item.cause.kind is DamageKind.MISSING_FILE and item.lost_lsns]
        for other in self.census.values():
            header = other.header
            if not isinstance(header, TableHeader) or header.store != self._manifest.store:
                continue
            if header.number >= self._manifest.next_table and any(lost[1] <= header.lsn for lost in missing):
                proof = f"{other.name} holds the state at LSN {header.lsn}, and the log that it replaced was removed"
                return [Finding(names.MANIFEST, Cause(DamageKind.ROLLED_BACK_FILE, proof))]
        return []

    def table(self, info: TableInfo, name: str, remains: TableRemains | None, reason: str) -> list[Finding]:
        """Return what is damaged of a table; without `remains` it can't be read, which is what `reason` says."""
        cause = misplaced(name, self.census, self._manifest)
        if cause is not None:
            return [Finding(name, cause, 0, self.census[name].size_bytes, lost_keys=self._keys(name))]
        if remains is None:
            kind = DamageKind.UNREADABLE if name in self.census else DamageKind.MISSING_FILE
            return [Finding(name, Cause(kind, self._gone(name)), lost_keys=self._keys(name))]
        with ExitStack() as stack:
            homes = _table_homes(self._fs, self._directory, self.census, stack)
            file = self._fs.open_read(remains.path)
            stack.callback(file.close)
            findings = examine_table(file, remains, info, homes)
        return findings or [Finding(name, Cause(DamageKind.DAMAGED, reason))]

    def look_further(self, found: Sequence[Finding]) -> list[Finding]:
        """Return the findings, those whose kind isn't proved yet compared with every other place of the store."""
        unknown = [
            item
            for item in found
            if item.cause.kind is DamageKind.DAMAGED and item.end_bytes is not None and item.file in self.census
        ]
        if not unknown:
            return list(found)
        causes = moved_sectors(self._fs, self._directory, sorted(self.census), unknown)
        return [replace(item, cause=causes.get(item, item.cause)) for item in found]

    def _segment(self, segment: SegmentScan, name: str, promised: Promised) -> list[Finding]:
        entry = segment.entry
        lost = None if self.elsewhere(name) else _range(entry.first_lsn, promised.last_lsn)
        if not segment.present:
            return [Finding(name, Cause(DamageKind.MISSING_FILE, self._gone(name)), lost_lsns=lost)]
        cause = misplaced(name, self.census, self._manifest)
        if segment.is_blank and self.elsewhere(name):
            cause = Cause(DamageKind.SWAPPED_FILES, f"it was prepared to be {self.elsewhere(name)}, which is {name}")
        if cause is not None:
            return [Finding(name, cause, 0, segment.size_bytes, lost)]
        first_lsn = segment.header.first_lsn if segment.header is not None else entry.first_lsn
        homes = _segment_homes(self.census)
        file = self._fs.open_read(os.path.join(self._directory, name))
        try:
            found = examine_segment(file, name, entry.salt, first_lsn, promised, homes)
        finally:
            file.close()
        lost_lsns = LsnSet()
        for item in found:
            if item.lost_lsns is not None:
                lost_lsns.add(*item.lost_lsns)
        self._whole[name] = lost_lsns.missing(first_lsn, promised.last_lsn)
        return found

    def _stray(self, told: Iterable[Damage]) -> list[Finding]:
        found = []
        for item in told:
            cause = misplaced(item.file, self.census, self._manifest)
            found.append(Finding(item.file, cause, 0) if cause is not None else _as_told(item))
            if item.kind is DamageKind.ROLLED_BACK_FILE and item.file in self.census:
                proof = f"{item.file} is newer than the manifest"
                found.append(Finding(names.MANIFEST, Cause(DamageKind.ROLLED_BACK_FILE, proof)))
        return found

    def elsewhere(self, name: str) -> str:
        """Return the name under which the file stands that belongs under this one, "" if there is none."""
        for found in self.census.values():
            header = found.header
            if header is not None and header.store == self._manifest.store and found.own_name == name != found.name:
                return found.name
        return ""

    def _gone(self, name: str) -> str:
        place = self.elsewhere(name)
        return f"it stands under the name {place}" if place else ""

    def _keys(self, name: str) -> tuple[bytes, bytes] | None:
        return None if self.elsewhere(name) else ALL_KEYS


def _as_told(item: Damage) -> Finding:
    lost = None if item.lsn is None else (item.lsn, item.lsn)
    return Finding(item.file, Cause(item.kind), item.offset_bytes, lost_lsns=lost)


def _range(first: int, last: int) -> LsnRange | None:
    return (first, last) if 0 < first <= last else None


def look_into(fs: ReadableFileSystem, directory: str, remains: Remains) -> dict[str, list[Finding]]:
    """Return the findings of each file of a store without a manifest, by name; sound ones have none.

    Raises:
        OSError: The files can't be read.
    """
    census = take_census(fs, directory)
    found: dict[str, list[Finding]] = {}
    homes = _segment_homes(census)
    with ExitStack() as stack:
        table_homes = _table_homes(fs, directory, census, stack)
        for segment in remains.segments:
            found[segment.name] = []
            if segment.faults and segment.salt is not None:
                promised = Promised(segment.limit_bytes if segment.limit_bytes < NO_LIMIT else 0, segment.promised_lsn)
                first_lsn = segment.header.first_lsn if segment.header is not None else segment.first_lsn
                file = fs.open_read(os.path.join(directory, segment.name))
                stack.callback(file.close)
                found[segment.name] = examine_segment(file, segment.name, segment.salt, first_lsn, promised, homes)
            found[segment.name] = found[segment.name] or [
                Finding(segment.name, Cause(DamageKind.DAMAGED, reason), at) for reason, at in segment.faults
            ]
        for table in remains.tables:
            found[table.name] = []
            if table.faults:
                file = fs.open_read(table.path)
                stack.callback(file.close)
                found[table.name] = examine_table(file, table, None, table_homes)
    for name in remains.foreign:
        header, home = census[name].header, census[name].own_name
        if header is not None and header.store != remains.store:
            found[name] = [Finding(name, Cause(DamageKind.FOREIGN_FILE, f"it is {home} of store {header.store.hex()}"))]
        else:
            found[name] = [Finding(name, Cause(DamageKind.DUPLICATED_FILE, f"it is a copy of {home}"))]
    return found


def _segment_homes(census: Mapping[str, Identity]) -> list[Home]:
    return [
        Home(found.name, found.size_bytes, found.header.salt, found.header.first_lsn)
        for found in census.values()
        if isinstance(found.header, SegmentHeader)
    ]


def _table_homes(
    fs: ReadableFileSystem, directory: str, census: Mapping[str, Identity], stack: ExitStack
) -> list[TableHome]:
    homes = []
    for found in census.values():
        if isinstance(found.header, TableHeader):
            file = fs.open_read(os.path.join(directory, found.name))
            stack.callback(file.close)
            homes.append(TableHome(found.name, found.header.salt, file))
    return homes
