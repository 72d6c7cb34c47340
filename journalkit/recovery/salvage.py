"""Salvage: every intact record of a damaged store, and a list of what is missing.

The state is put together range by range of keys. Where the newest snapshot can
be read it counts, with the records behind it; where it can't, the next older
one with the records behind that; where no table is left, the records alone.
So a value is never older than the newest intact thing that speaks of its key.

Reads only, through a file system that can't write; the caller writes what is
handed out into a store of its own. A manifest is believed if it is sound, and
not needed: without one, segments and tables speak for themselves, and every
table counts as a whole snapshot.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from journalkit.errors import CorruptionError, StoreNotFoundError, UnsupportedFormatError
from journalkit.format import names
from journalkit.format.batch import decode_into
from journalkit.format.block import Entry
from journalkit.format.frame import Frame
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import Manifest
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
    """A range of keys and the newest snapshot that can be read there, None for none."""

    keys: KeyRange
    layers: Layers | None

    @property
    def lsn(self) -> int:
        """Records above this LSN count for these keys."""
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
        raise UnsupportedFormatError(f"{directory}: {error}; upgrade journalkit, nothing was touched") from error
    if remains.manifest is None and not remains.segments and not remains.tables and not remains.foreign:
        raise StoreNotFoundError(f"{directory}: there is no store; check the path", path=directory)
    seen = LsnSet()
    remains.given_up = settle(remains.segments)
    for segment in remains.segments:
        survey(fs, directory, segment, seen)
        advance(segment.size_bytes)
    remains.spans = _spans(_snapshots(remains))
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
    """Return the snapshots that there are, newest first; those of the manifest, and what is newer than it."""
    if remains.manifest is None:
        whole = sorted(remains.tables, key=lambda table: (table.lsn, table.number), reverse=True)
        return [Layers(table.lsn, (table,)) for table in whole]
    by_number = {table.number: table for table in remains.tables}
    named = {info.number for info in tables_of(remains.manifest)}
    newer = [table for table in remains.tables if table.number not in named and not table.faults]
    found = [Layers(table.lsn, (table,)) for table in sorted(newer, key=lambda table: table.lsn, reverse=True)]
    for entry in remains.manifest.snapshots:
        tables = [by_number.get(info.number) for info in entry.tables]
        present = tuple(table for table in tables if table is not None)
        if len(present) == len(tables):
            found.append(Layers(entry.lsn, present))
    return found


def _spans(snapshots: list[Layers]) -> list[Span]:
    """Share all keys out among the snapshots: each gets what no newer one can tell."""
    open_ranges = [ALL_KEYS]
    spans: list[Span] = []
    for layers in snapshots:
        lost = layers.lost
        spans += [Span(keys, layers) for keys in without(open_ranges, lost)]
        open_ranges = without(open_ranges, without([ALL_KEYS], lost))
    spans += [Span(keys, None) for keys in open_ranges]
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
    overlay = _replayed(fs, remains)
    for span in remains.spans:
        start, stop = span.keys
        for key, value in _entries(fs, span.layers, start, stop):
            if key not in overlay and value is not None:
                yield key, value
    for key, value in overlay.items():
        if value is not None:
            yield key, value


def _entries(fs: ReadableFileSystem, layers: Layers | None, start: bytes, stop: bytes) -> Iterator[Entry]:
    if layers is None:
        return
    files = [fs.open_read(table.path) for table in layers.tables]
    try:
        yield from merge_entries(
            [table.entries(file, start, stop) for table, file in zip(layers.tables, files, strict=True)]
        )
    finally:
        for file in files:
            file.close()


def _replayed(fs: ReadableFileSystem, remains: Remains) -> dict[bytes, bytes | None]:
    """Fold the records that count, each above the snapshot of its key."""
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
            if frame.lsn > base_lsns[bisect_right(starts, key) - 1]:
                overlay[key] = value
    return overlay
