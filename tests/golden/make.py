"""Write the golden directories of the format that this version writes.

    python tests/golden/make.py FOLDER [NAME...]

Run once when a format is released, into a new folder `format-N` beside this
file; what was released is never written again. Time and chance are simulated,
so that the same code makes the same bytes.

Three things of a real directory are left out, because they hold nothing: the
file `LOCK`, whose words are of one machine, the file `reserve`, and of the
zeros at the end of a segment all but a page.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from compressed import compressed_all_keys, compressed_deltas
from directories import Files, Maker, flipped, patched
from filtered import damaged_filter, folded_all_keys
from format_1 import DELTA, EVENTS, FIRST_LOG, KEYS, NEWER_TABLE, OLDER_TABLE, SECOND_LOG, THIRD_LOG, VALUES
from layered import store_deltas

from journalkit.format import envelope
from journalkit.format import manifest as manifest_format
from journalkit.format.checksum import checksum
from journalkit.format.names import DURABLE, MANIFEST
from journalkit.format.segment import HEADER_BYTES

# Sound ones


def store_empty(seed: int) -> Files:
    """Created, and closed."""
    maker = Maker(seed)
    maker.store().close()
    return maker.files()


def store_all_values(seed: int, codec: str = "cbor") -> Files:
    """Every type of value."""
    maker = Maker(seed)
    with maker.store(codec=codec) as store:
        for key, value in VALUES.items():
            store[key] = value
    return maker.files()


def store_all_keys(seed: int) -> Files:
    """Every type of key, in one record."""
    maker = Maker(seed)
    with maker.store() as store:
        store.update([(key, index) for index, key in enumerate(KEYS)])
    return maker.files()


def store_raw_codec(seed: int) -> Files:
    """Values that are bytes of the application's own."""
    maker = Maker(seed)
    with maker.store(codec="raw") as store:
        store["a"] = b"not CBOR: \xff"
        store["b"] = b""
    return maker.files()


def store_folded(seed: int, *, is_closed: bool = True) -> Files:
    """Two snapshots, the log between them, and a tail."""
    maker = Maker(seed)
    store = maker.store(metadata={"made": "once"})
    for number in range(4):
        store[f"k{number}"] = number
    store.compact()
    store["k1"] = "one"
    del store["k2"]
    with store.transaction() as changes:
        changes["n"] = (1, 2)
        changes.offsets["in"] = 7
    store.compact()
    store["k9"] = [1]
    store["k0"] = b"x"
    if is_closed:
        store.close()
    files = maker.files()
    store.close()
    return files


def store_folded_killed(seed: int) -> Files:
    """The same, not closed: every record was synced."""
    return store_folded(seed, is_closed=False)


def store_torn_tail(seed: int) -> Files:
    """A process that died inside a write that nobody waited for."""
    maker = Maker(seed)
    store = maker.store()
    store["a"] = 1
    store["b"] = 2
    store.put("c", "nobody was told that this is durable", sync="never")
    name = "log-0000000000000001.jks"
    maker.change(name, maker.content_end(name) - 20, bytes(20))
    files = maker.files()
    store.close()
    return files


def store_hole(seed: int) -> Files:
    """Writes that nobody waited for, the earlier of which never reached the disk."""
    maker = Maker(seed)
    store = maker.store()
    store["a"] = 1
    store["b"] = 2
    name = "log-0000000000000001.jks"
    start = maker.content_end(name)
    store.put("c", "lost on its way to the disk", sync="never")
    end = maker.content_end(name)
    store.put("d", "and this came before it", sync="never")
    maker.change(name, start, bytes(end - start))
    files = maker.files()
    store.close()
    return files


def store_recovered_twice(seed: int) -> Files:
    """A torn tail that was cut and set aside, and two clean lives after it."""
    maker = Maker(seed)
    store = maker.store()
    store["a"] = 1
    store["b"] = 2
    store.put("c", "torn", sync="never")
    name = "log-0000000000000001.jks"
    maker.change(name, maker.content_end(name) - 10, bytes(10))
    crashed = maker.after_crash()
    with crashed.store() as store:
        store["d"] = 4
    with crashed.store() as store:
        store["e"] = 5
    return crashed.files()


def journal_empty(seed: int) -> Files:
    """Created, and closed."""
    maker = Maker(seed)
    maker.journal().close()
    return maker.files()


def journal_closed(seed: int) -> Files:
    """Three records."""
    maker = Maker(seed)
    with maker.journal() as journal:
        for value in ("first", None, [b"third"]):
            journal.append(value)
    return maker.files()


def journal_many_segments(seed: int, *, prune_through: int = 0) -> Files:
    """Three segments sealed by rotation, and a last one."""
    maker = Maker(seed)
    with maker.journal() as journal:
        for lsn, event in EVENTS.items():
            journal.append(event)
            if lsn % 4 == 0:
                journal.rotate()
        if prune_through:
            journal.prune(prune_through)
    return maker.files()


def journal_pruned(seed: int) -> Files:
    """The same, without its first two segments."""
    return journal_many_segments(seed, prune_through=9)


def journal_torn_tail(seed: int) -> Files:
    """As for the store."""
    maker = Maker(seed)
    journal = maker.journal()
    journal.append("first")
    journal.append(None)
    journal.append("torn", sync="never")
    name = "log-0000000000000001.jks"
    maker.change(name, maker.content_end(name) - 3, bytes(3))
    files = maker.files()
    journal.close()
    return files


# Damaged ones, each named by its damage


def damaged(name: str, at: int) -> Callable[[int], Files]:
    """Return a maker of the folded store with a bit of a file turned over; a negative `at` counts from the end."""

    def make(seed: int) -> Files:
        files = dict(store_folded(seed))
        files[name] = flipped(files[name], at % len(files[name]))
        return files

    return make


def damaged_both_tables(seed: int) -> Files:
    """No snapshot is sound, and the log before them is gone."""
    files = dict(store_folded(seed))
    for name in (OLDER_TABLE, NEWER_TABLE):
        files[name] = flipped(files[name], len(files[name]) // 2)
    return files


def without(name: str) -> Callable[[int], Files]:
    """Return a maker of the folded store without a file."""

    def make(seed: int) -> Files:
        files = dict(store_folded(seed))
        del files[name]
        return files

    return make


def swapped_segments(seed: int) -> Files:
    """Two segments that changed places."""
    files = dict(journal_many_segments(seed))
    files[SECOND_LOG], files[THIRD_LOG] = files[THIRD_LOG], files[SECOND_LOG]
    return files


def truncated_segment(seed: int) -> Files:
    """A segment that ends inside a record that was promised."""
    files = dict(store_folded(seed))
    files[THIRD_LOG] = files[THIRD_LOG][: HEADER_BYTES + 10]
    return files


def foreign_segment(seed: int) -> Files:
    """A segment of another store with the same history."""
    return {**store_folded(seed), THIRD_LOG: store_folded(seed + 1000)[THIRD_LOG]}


def older_manifest(seed: int) -> Files:
    """Everything as it is after a reopening, but the manifest of before."""
    maker = Maker(seed)
    with maker.store() as store:
        store["a"] = 1
    before = maker.files()
    for number in range(2):
        with maker.store() as store:
            store["b"] = number
    return {**maker.files(), MANIFEST: before[MANIFEST]}


def newer_format(seed: int) -> Files:
    """A manifest of the next format: whole, and not ours to read."""
    files = dict(store_folded(seed))
    head, body = files[MANIFEST][: envelope.HEADER_BYTES], files[MANIFEST][envelope.HEADER_BYTES :]
    layout = envelope.HEADER
    fields = layout.unpack(head) | {"version": manifest_format.VERSION + 1}
    whole = layout.pack(**fields)[:-4]
    files[MANIFEST] = whole + checksum(whole).to_bytes(4, "little") + body
    return files


def journal_of_pages(seed: int) -> Files:
    """Two segments of values like no others, large enough to hold whole sectors."""
    maker = Maker(seed)
    chance = random.Random(seed)
    with maker.journal() as journal:
        for number in range(6):
            journal.append(chance.randbytes(600))
            if number == 2:
                journal.rotate()
    return maker.files()


def zeroed_sectors(seed: int) -> Files:
    """Two sectors that read as zeros."""
    files = dict(journal_of_pages(seed))
    files[FIRST_LOG] = patched(files[FIRST_LOG], 512, bytes(1024))
    return files


def misdirected_sector(seed: int) -> Files:
    """A sector of one segment in the place of another one's."""
    files = dict(journal_of_pages(seed))
    files[FIRST_LOG] = patched(files[FIRST_LOG], 1024, files[SECOND_LOG][512:1024])
    return files


def duplicated_segment(seed: int) -> Files:
    """A copy of one segment in the place of another."""
    files = dict(journal_of_pages(seed))
    return {**files, FIRST_LOG: files[SECOND_LOG]}


def rolled_back_segment(seed: int) -> Files:
    """A segment as it was when it held one record: prepared room behind it."""
    maker = Maker(seed)
    with maker.journal() as journal:
        journal.append(b"x" * 600)
        older = maker.files()[FIRST_LOG]
        journal.append(b"y" * 600)
        journal.rotate()
        journal.append(b"z")
    return {**maker.files(), FIRST_LOG: older}


def foreign_manifest(seed: int) -> Files:
    """The manifest of another store with the same history."""
    return {**store_folded(seed), MANIFEST: store_folded(seed + 1000)[MANIFEST]}


def swapped_tables(seed: int) -> Files:
    """Two tables that changed names: no snapshot can be opened, and nothing is lost."""
    files = dict(store_folded(seed))
    files[OLDER_TABLE], files[NEWER_TABLE] = files[NEWER_TABLE], files[OLDER_TABLE]
    return files


def truncated_table(seed: int) -> Files:
    """The newest table without its end."""
    files = dict(store_folded(seed))
    files[NEWER_TABLE] = files[NEWER_TABLE][:-40]
    return files


MAKERS: dict[str, Callable[[int], Files]] = {
    "store-empty": store_empty,
    "store-all-values": store_all_values,
    "store-all-keys": store_all_keys,
    "store-raw-codec": store_raw_codec,
    "store-two-snapshots": store_folded,
    "store-two-snapshots-killed": store_folded_killed,
    "store-torn-tail": store_torn_tail,
    "store-hole-in-its-tail": store_hole,
    "store-recovered-twice": store_recovered_twice,
    "journal-empty": journal_empty,
    "journal-closed": journal_closed,
    "journal-many-segments": journal_many_segments,
    "journal-pruned": journal_pruned,
    "journal-torn-tail": journal_torn_tail,
    "damaged-newest-table": damaged(NEWER_TABLE, 100),
    "damaged-both-tables": damaged_both_tables,
    "damaged-promised-record": damaged(THIRD_LOG, HEADER_BYTES + 20),
    "damaged-seal": damaged(THIRD_LOG, -5),
    "damaged-durable-slot": damaged(DURABLE, 50),
    "damaged-manifest": damaged(MANIFEST, 60),
    "damaged-segment-header": damaged(THIRD_LOG, 20),
    "missing-manifest": without(MANIFEST),
    "missing-segment": without(THIRD_LOG),
    "swapped-segments": swapped_segments,
    "truncated-segment": truncated_segment,
    "foreign-segment": foreign_segment,
    "older-manifest": older_manifest,
    "newer-format": newer_format,
    "missing-table": without(NEWER_TABLE),
    "truncated-table": truncated_table,
    "swapped-tables": swapped_tables,
    "zeroed-sectors": zeroed_sectors,
    "misdirected-sector": misdirected_sector,
    "duplicated-segment": duplicated_segment,
    "rolled-back-segment": rolled_back_segment,
    "foreign-manifest": foreign_manifest,
    "store-msgpack-codec": lambda seed: store_all_values(seed, "msgpack"),
    "store-deltas": store_deltas,
    "damaged-delta": lambda seed: store_deltas(seed, DELTA),
    "damaged-base": lambda seed: store_deltas(seed, OLDER_TABLE),
    "folded-all-keys": folded_all_keys,
    "filtered-two-snapshots": store_folded,
    "filtered-deltas": store_deltas,
    "damaged-filter": damaged_filter(store_folded, NEWER_TABLE),
    "damaged-filter-of-the-base": damaged_filter(store_deltas, OLDER_TABLE),
    "compressed-all-keys": compressed_all_keys,
    "compressed-deltas": compressed_deltas,
    "damaged-compressed-delta": lambda seed: compressed_deltas(seed, f"table-{2 << 20:016}.jkt"),
}


def write_all(folder: Path, names: Sequence[str]) -> None:
    """Write those directories, or every one, into a folder that isn't there yet."""
    folder.mkdir()
    for seed, (name, make) in enumerate(MAKERS.items(), 1):
        if names and name not in names:
            continue
        for path, data in make(seed).items():
            target = folder / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


if __name__ == "__main__":
    if len(sys.argv) < 2 or os.path.lexists(sys.argv[1]):
        sys.exit("usage: python make.py FOLDER [NAME...], which must not exist yet")
    write_all(Path(sys.argv[1]), sys.argv[2:])
