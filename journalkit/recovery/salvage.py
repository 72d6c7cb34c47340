"""Salvage: every intact record of a damaged store, and a list of what is missing.

The state is put together range by range of keys. Where the newest snapshot can
be read it counts, with the records behind it; where it can't, the next older
one with the records behind that; where no table is left, the records alone.
So a value is never older than the newest intact thing that speaks of its key.

Reads only, through a file system that can't write; the caller writes what is
handed out into a store of its own. A manifest is believed if it is sound, and
not needed: without one, segments and tables speak for themselves: a table says
whether it holds the whole state or on what it is a delta.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from journalkit.errors import CorruptionError, StoreNotFoundError, UnsupportedFormatError
from journalkit.format import names
from journalkit.format.batch import decode_into
from journalkit.format.block import Entry
from journalkit.format.frame import Frame
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import LSN_MAX, Manifest
from journalkit.format.table import WHOLE, delta_on
from journalkit.fs.interface import ReadableFileSystem
from journalkit.log.durable import read_durable
from journalkit.manifest import read_manifest
from journalkit.recovery.census import take_census
from journalkit.recovery.diagnosis import is_foreign_manifest, tables_of
from journalkit.recovery.salvage_log import SegmentRemains, read_segment, records, settle, survey
from journalkit.recovery.salvage_ranges import ALL_KEYS, KeyRange, LsnRange, LsnSet, united, without
from journalkit.recovery.salvage_tables import TableRemains, read_remains
from journalkit.snapshot.merge import merge_entries

FOREIGN_MANIFEST: Final = "the manifest is another store's"


@dataclass(frozen=True, slots=True)
class Layers:
    """The tables of one snapshot, newest first, as far as they can be read."""

    lsn: int
    tables: tuple[TableRemains, ...]

    @property
    def lost(self) -> list[KeyRange]:
        """Keys of which this snapshot can't tell the state."""
        return united(lost for table in self.tables for lost in table.lost)


@dataclass(frozen=True, slots=True)
class Span:
    """A range of keys and the newest snapshot that can be read there, None for none.

    `above` are newer tables, newest first, under which something is lost: each
    tells of the keys that it speaks of, and nothing of others.
    """

    keys: KeyRange
    layers: Layers | None
    above: tuple[TableRemains, ...] = ()

    @property
    def lsn(self) -> int:
        """Records above this LSN count for these keys, unless a table above knows better."""
        return self.layers.lsn if self.layers is not None else 0


@dataclass(slots=True)
class Remains:
    """What a damaged store still holds.

    Attributes:
        manifest: The manifest, if it is sound; `manifest_fault` says why not.
        store: The store's identity, by the manifest or by most of the files.
        segments: In log order.
        tables: In order of their numbers.
        foreign: Files that are another store's, or copies of one that is there; not used.
        missing: LSNs of which there is, or was, proof, and no record.
        given_up: LSNs that an earlier recovery gave up.
        senseless: LSNs of records that pass their checksums and are no batch.
        spans: All keys, in order, each with the snapshot that counts there.
    """

    directory: str
    manifest: Manifest | None = None
    manifest_fault: str = ""
    store: bytes = b""
    segments: list[SegmentRemains] = field(default_factory=list)
    tables: list[TableRemains] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    missing: list[LsnRange] = field(default_factory=list)
    given_up: list[LsnRange] = field(default_factory=list)
    senseless: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """What the store is: "store" or "journal"."""
        if self.manifest is not None:
            return self.manifest.kind
        return "journal" if any(segment.is_journal for segment in self.segments) else "store"

    @property
    def last_lsn(self) -> int:
        """The newest record or snapshot that there is."""
        return max([segment.last_lsn for segment in self.segments] + [table.lsn for table in self.tables], default=0)

    @property
    def losses(self) -> list[Span]:
        """The ranges of keys that the newest snapshot lost, each with the one that has them, if any has."""
        newest_lsn = max((table.lsn for table in self.tables), default=0)
        if self.manifest is not None and self.manifest.snapshots:
            newest_lsn = self.manifest.snapshots[0].lsn
        return [found for found in self.spans if found.lsn < newest_lsn]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing: what is salvaged is the whole state."""
        return not self.missing and not self.senseless


def take_stock(
    fs: ReadableFileSystem, directory: str, advance: Callable[[int], None] = lambda _amount: None
) -> Remains:
    """Read everything in a damaged store's directory and tell what is left. `advance` is told of each file's bytes.

    Raises:
        StoreNotFoundError: There is nothing of ours.
        UnsupportedFormatError: A later version wrote it.
        OSError: The files can't be read.

    Complexity:
        O(all bytes); memory for a note on each block.
    """
    status = fs.status(directory)
    if status is None or not status.is_directory:
        raise StoreNotFoundError(f"{directory}: there is no store; check the path", path=directory)
    remains = Remains(directory)
    try:
        remains.manifest = read_manifest(fs, directory)
        remains.manifest_fault = "" if remains.manifest is not None else "the manifest is missing"
    except CorruptionError as error:
        remains.manifest_fault = error.reason
    try:
        _gather(fs, directory, remains, advance)
    except NewerFormatError as error:
        raise UnsupportedFormatError(f"{directory}: {error}; {error.remedy}, nothing was touched") from error
    if remains.manifest is None and not remains.segments and not remains.tables and not remains.foreign:
        raise StoreNotFoundError(f"{directory}: there is no store; check the path", path=directory)
    seen = LsnSet()
    remains.given_up = settle(remains.segments)
    for segment in remains.segments:
        survey(fs, directory, segment, seen)
        advance(segment.size_bytes)
    remains.spans = _spans(_snapshots(remains), remains.tables)
    base_lsn = min(span.lsn for span in remains.spans)
    for first, last in remains.given_up:
        seen.add(first, last)
    remains.missing = seen.missing(base_lsn + 1, max(remains.last_lsn, _promised(fs, directory, remains)))
    return remains


def _gather(fs: ReadableFileSystem, directory: str, remains: Remains, advance: Callable[[int], None]) -> None:
    """Find the files that are the store's, by what their headers say: names may have been exchanged."""
    census = take_census(fs, directory)
    if remains.manifest is not None and is_foreign_manifest(remains.manifest, census, read_durable(fs, directory)):
        remains.manifest, remains.manifest_fault = None, FOREIGN_MANIFEST
    manifest = remains.manifest
    stores = Counter(found.header.store for found in census.values() if found.header is not None)
    remains.store = manifest.store if manifest is not None else next((store for store, _ in stores.most_common(1)), b"")
    chosen: dict[str, str] = {}
    # Whoever has its own name first; then whoever has somebody else's; then what can't say who it is.
    for found in sorted(census.values(), key=lambda found: (found.header is None, found.own_name != found.name)):
        if (found.header is not None and found.header.store != remains.store) or found.own_name in chosen:
            remains.foreign.append(found.name)
        else:
            chosen[found.own_name] = found.name
    entries = {entry.number: entry for entry in manifest.segments} if manifest is not None else {}
    infos = {info.number: info for info in tables_of(manifest)} if manifest is not None else {}
    for own_name, name in sorted(chosen.items()):
        number, table_number = names.segment_number(own_name), names.table_number(own_name)
        if number is not None and (manifest is None or number in entries or number >= manifest.next_segment):
            remains.segments.append(read_segment(fs, directory, name, number, entries.get(number)))
        elif table_number is not None and (
            # A whole table that the manifest can't know is a state all the same: of a fold that it missed.
            manifest is None or table_number in infos or table_number >= manifest.next_table
        ):
            remains.tables.append(read_remains(fs, directory, name, infos.get(table_number)))
            advance(remains.tables[-1].size_bytes)
    remains.foreign.sort()


def _snapshots(remains: Remains) -> list[Layers]:
    """Return the snapshots that there are, newest first; of those the manifest doesn't name, the newer ones.

    Each table with those below it is a snapshot, at its own LSN: a delta that
    is lost costs what only it says.
    """
    manifest = remains.manifest
    if manifest is None:
        return _stacks(remains.tables)
    by_number = {table.number: table for table in remains.tables}
    named = {info.number for info in tables_of(manifest)}
    sound = [table for table in remains.tables if table.number in named or not table.faults]
    found = [stack for stack in _stacks(sound) if stack.tables[0].number not in named]
    for entry in manifest.snapshots:
        tables = [by_number.get(info.number) for info in entry.tables]
        for place in range(len(tables)):
            present = tuple(table for table in tables[place:] if table is not None)
            # The newest table's LSN is the snapshot's, also where neither of its ends can be read.
            lsn = present[0].lsn if place and present else entry.lsn
            if lsn and len(present) == len(tables) - place:
                found.append(Layers(lsn, present))
    return sorted(found, key=lambda layers: -layers.lsn)


def _stacks(tables: Iterable[TableRemains]) -> list[Layers]:
    """Return each table with those below it, down to a base, newest first, by what tables say of themselves."""
    newest_first = sorted(tables, key=lambda table: (table.lsn, table.number), reverse=True)
    found = []
    for place, newest in enumerate(newest_first):
        stack = [newest]
        for table in newest_first[place + 1 :]:
            if stack[-1].below == delta_on(table.lsn) and table.lsn < stack[-1].lsn:
                stack.append(table)
        if stack[-1].below == WHOLE:
            found.append(Layers(newest.lsn, tuple(stack)))
    return found


def _spans(snapshots: list[Layers], tables: Iterable[TableRemains]) -> list[Span]:
    """Share all keys out among the snapshots: each gets what no newer one can tell."""
    open_ranges = [ALL_KEYS]
    spans: list[Span] = []
    for layers in snapshots:
        lost = layers.lost
        spans += [Span(keys, layers) for keys in without(open_ranges, lost)]
        open_ranges = without(open_ranges, without([ALL_KEYS], lost))
    spans += [Span(keys, None) for keys in open_ranges]
    newest_first = sorted(tables, key=lambda table: (table.lsn, table.number), reverse=True)
    spans = [replace(span, above=tuple(table for table in newest_first if table.lsn > span.lsn)) for span in spans]
    return sorted(spans, key=lambda span: span.keys)


def _promised(fs: ReadableFileSystem, directory: str, remains: Remains) -> int:
    """Return the highest LSN that anything says was durable."""
    slot = read_durable(fs, directory)
    marks = [segment.promised_lsn for segment in remains.segments]
    if slot is not None and slot.store == remains.store:
        marks.append(slot.lsn)
    if remains.manifest is not None:
        marks.append(remains.manifest.durable_lsn)
    return max(marks, default=0)


def log_records(fs: ReadableFileSystem, remains: Remains) -> Iterator[Frame]:
    """Yield every whole record, in LSN order: what a journal's salvage copies."""
    for segment in remains.segments:
        yield from records(fs, remains.directory, segment)


def state(fs: ReadableFileSystem, remains: Remains) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of the state, each key once, encoded; a store's salvage copies these.

    Records that pass their checksums and are no batch are noted in
    `remains.senseless`, before the first entry is yielded.

    Memory: what the records hold that count on top of the tables.
    """
    lsns: dict[bytes, int] = {}
    overlay = _replayed(fs, remains, lsns)
    for span in remains.spans:
        for key, (value, lsn) in _entries(fs, span):
            if lsns.get(key, LSN_MAX) <= lsn:
                del overlay[key]  # the log's last word is older than the table's
            if key not in overlay and value is not None:
                yield key, value
    for key, value in overlay.items():
        if value is not None:
            yield key, value


def _entries(fs: ReadableFileSystem, span: Span) -> Iterator[tuple[bytes, tuple[bytes | None, int]]]:
    """Yield what tables say of a span's keys, each with the LSN up to which that is the last word."""
    tables = [(table, table.lsn) for table in span.above]
    tables += [(table, span.lsn) for table in (span.layers.tables if span.layers is not None else ())]
    if not tables:
        return
    files = [fs.open_read(table.path) for table, _ in tables]
    try:
        layers = [
            _dated(table.entries(file, *span.keys), lsn) for (table, lsn), file in zip(tables, files, strict=True)
        ]
        yield from merge_entries(layers)
    finally:
        for file in files:
            file.close()


def _dated(entries: Iterator[Entry], lsn: int) -> Iterator[tuple[bytes, tuple[bytes | None, int]]]:
    for key, value in entries:
        yield key, (value, lsn)


def _replayed(fs: ReadableFileSystem, remains: Remains, lsns: dict[bytes, int]) -> dict[bytes, bytes | None]:
    """Fold the records that count, each above the snapshot of its key; note their LSNs where tables may know better."""
    starts = [span.keys[0] for span in remains.spans]
    base_lsns = [span.lsn for span in remains.spans]
    overlay: dict[bytes, bytes | None] = {}
    for frame in log_records(fs, remains):
        batch: dict[bytes, bytes | None] = {}
        try:
            decode_into(frame.payload, batch)
        except MalformedError:
            remains.senseless.append(frame.lsn)
        for key, value in batch.items():
            place = bisect_right(starts, key) - 1
            if frame.lsn > base_lsns[place]:
                overlay[key] = value
                if remains.spans[place].above:
                    lsns[key] = frame.lsn
    return overlay
