"""Targets of one file each: segments, manifests, blocks, tables."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from random import Random
from typing import Any

from fuzz import reseal
from fuzz.directories import edit_manifest, golden_files, plausible
from fuzz.mutation import mutate
from fuzz.target import FindingError, Target, require
from journalkit.errors import CorruptionError, UnsupportedFormatError
from journalkit.format import block, columns, index, manifest, names, segment, table
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import Manifest, SegmentEntry
from journalkit.format.table import TableInfo
from journalkit.fs.memory import MemoryFileSystem
from journalkit.manifest import read_manifest
from journalkit.recovery.plan import make_plan, permit
from journalkit.recovery.replay import Replay
from journalkit.recovery.salvage_log import read_segment, survey
from journalkit.recovery.salvage_ranges import LsnSet
from journalkit.recovery.salvage_tables import TableRemains, read_remains
from journalkit.recovery.scan import scan_log
from journalkit.recovery.strays import Strays
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter
from journalkit.types import ABSENT

HERE = "/s"
SALT = 0x5EED
STORE = bytes(16)


def _directory(**files: bytes) -> MemoryFileSystem:
    fs = MemoryFileSystem()
    fs.make_directory(HERE)
    for name, data in files.items():
        fs.create(f"{HERE}/{name}").pwrite(data, 0)
    return fs


# --- segments --------------------------------------------------------------------------------------------------


def segment_seeds(chance: Random) -> Iterable[bytes]:
    """Headers, seals and slots, and whole segments."""
    numbers = [chance.getrandbits(40) for _ in range(6)]
    yield b"\0" + segment.SegmentHeader(SALT, STORE, chance.randbytes(16), 2, 5, 9, 7, 4, 8, 500, 7).encode()
    yield b"\1" + segment.encode_seal(3, 9)
    yield b"\2" + segment.DurableSlot(STORE, chance.randbytes(16), *numbers[:4]).encode()
    for name, data in golden_files():
        if names.segment_number(name) is not None:
            yield bytes((3 + chance.randrange(4),)) + data


def mutate_segment(data: bytes, chance: Random) -> bytes:
    """Change a segment or its header and make the checksums right."""
    kind, body = data[:1], mutate(data[1:], chance)
    if kind and kind[0] % 7 == 2:
        return kind + reseal.durable_slot(body)
    return kind + (reseal.segment_file(body) if len(body) > segment.HEADER_BYTES else reseal.segment_header(body))


def run_segment(data: bytes) -> None:
    """Decode a header, a seal, a slot; scan a whole segment with two sinks and as salvage does."""
    kind, body = (data[0] % 7 if data else 0), data[1:]
    if kind == 0:
        with suppress(MalformedError, NewerFormatError):
            require(segment.decode_header(body).encode() == body, "a segment's header changes")
    elif kind == 1:
        with suppress(MalformedError):
            require(segment.encode_seal(*segment.decode_seal(body)) == body, "a seal changes")
    elif kind == 2:
        slot = segment.decode_durable(body)
        if slot is not None:
            quick = segment.DurableEncoder(
                store=slot.store, writer=slot.writer, epoch=slot.epoch, segment=slot.segment
            ).encode(slot.end_bytes, slot.lsn)
            require(slot.encode() == body == quick, "a durable slot changes")
    else:
        _scan(body, after_lsn=(0, 0, 1, 5)[kind - 3])


def _scan(body: bytes, *, after_lsn: int) -> None:
    """Scan a segment that a manifest names as it says itself: with the fused loop, without, and as salvage does."""
    try:
        header = segment.decode_header(body[: segment.HEADER_BYTES])
    except (MalformedError, NewerFormatError):
        header = segment.SegmentHeader(SALT, STORE, bytes(16), 1, 1, 1, 0, 0, 0, 0, 0)
    number = header.number % 10**16 or 1
    entry = SegmentEntry(number, header.salt, header.epoch, max(header.first_lsn, 1))
    said = Manifest(
        header.store, "store", "cbor", 0, 1, header.epoch, header.writer, (entry,), (), 0, 0, number + 1, 1
    )  # fmt: skip
    fs = _directory(**{names.segment_name(number): body})
    fused = Replay(HERE)
    folded: Any = None
    with suppress(UnsupportedFormatError, CorruptionError):
        folded = scan_log(fs, HERE, said, after_lsn=after_lsn, sink=fused)
    plain = Replay(HERE)
    walked: Any = None
    with suppress(UnsupportedFormatError, CorruptionError):
        walked = scan_log(fs, HERE, said, after_lsn=after_lsn, sink=lambda frame: plain(frame))
    require(folded == walked, f"a fold scans {folded!r:.300}, frame by frame it is {walked!r:.300}")
    require(fused.entries == plain.entries, "a fold gives other entries than frame by frame")
    remains = None
    with suppress(NewerFormatError):
        remains = read_segment(fs, HERE, names.segment_name(number), number, entry)
        survey(fs, HERE, remains, LsnSet())
    if walked is None:
        return
    plan = make_plan(said, walked, Strays(), snapshot_lsn=0)
    for mode in ("default", "strict", "point-in-time"):
        with suppress(CorruptionError):
            permit(plan, mode, HERE)  # type: ignore[arg-type]
    run = walked.segments[0]
    if remains is not None and run.header is not None and remains.salt is not None and not plan.damage:
        require(remains.records >= run.records, f"salvage sees {remains.records} of {run.records} records")


# --- manifests -------------------------------------------------------------------------------------------------


def manifest_seeds(_chance: Random) -> Iterable[bytes]:
    """Every manifest there is."""
    for name, data in golden_files():
        if name == names.MANIFEST:
            yield data


def mutate_manifest(data: bytes, chance: Random) -> bytes:
    """Change what a manifest says, or its bytes, and make the checksums right."""
    return edit_manifest(data, chance) if chance.random() < 0.6 else reseal.manifest_file(mutate(data, chance))


def run_manifest(data: bytes) -> None:
    """A manifest that decodes encodes to one that decodes alike, and a file says what its bytes say."""
    found: Manifest | None = None
    with suppress(MalformedError, NewerFormatError):
        found = manifest.decode_manifest(data)
    if found is not None:
        again = manifest.decode_manifest(manifest.encode_manifest(found))
        require(again == found and repr(again) == repr(found), "a manifest doesn't survive being written again")
    try:
        require(read_manifest(_directory(MANIFEST=data), HERE) == found, "the file says something else")
    except (CorruptionError, UnsupportedFormatError):
        require(found is None, "a sound manifest is refused")


# --- blocks ----------------------------------------------------------------------------------------------------

_AT = 4096


def _entries(chance: Random, count: int) -> list[tuple[bytes, bytes | None]]:
    drawn = {chance.randbytes(chance.randrange(4)) + bytes((number,)) for number in range(count)}
    return [(key, chance.choice((None, b"", chance.randbytes(chance.randrange(30))))) for key in sorted(drawn)]


def block_seeds(chance: Random) -> Iterable[bytes]:
    """Table headers, footers, index blocks, data blocks."""
    yield b"\0" + table.TableHeader(SALT, STORE, 7, 9).encode()
    yield b"\1" + table.TableFooter(STORE, 7, 9, 3, 1, 1, 45, _AT - 40, 40, 7).encode(salt=SALT)
    for level, count in ((0, 0), (0, 1), (0, 5), (1, 3), (15, 2)):
        rows = index.IndexBlock(level)
        for number in range(count):
            keys = bytes((number, 1)), bytes((number, 9)) * (number + 1)
            rows.add(index.IndexEntry(*keys, 52 + 100 * number, 100, 5, number % 3))
        body = index.encode_index(rows)
        yield b"\2" + body + block.block_checksum(body, salt=SALT, offset_bytes=_AT)
    for count in (1, 1, 2, 3, 5, 20):
        body = block.encode_block([block.run_of(_entries(chance, count))])
        yield b"\3" + body + block.block_checksum(body, salt=SALT, offset_bytes=_AT)


def mutate_block(data: bytes, chance: Random) -> bytes:
    """Change a block's body, or a header or footer, and make the checksum right."""
    kind, body = data[:1], mutate(data[1:], chance)
    which = kind[0] % 4 if kind else 0
    if which == 0:
        return kind + reseal.table_header(body)
    return kind + (reseal.table_footer(body, SALT, _AT) if which == 1 else reseal.block(body, SALT, _AT))


def run_block(data: bytes) -> None:
    """Decode a table's header, footer, index block or data block; the ways to read a data block have to agree."""
    kind, body = (data[0] % 4 if data else 0), data[1:]
    if kind == 0:
        with suppress(MalformedError, NewerFormatError):
            require(table.decode_header(body).encode() == body, "a table's header changes")
    elif kind == 1:
        with suppress(MalformedError, NewerFormatError):
            footer = table.decode_footer(body, salt=SALT, offset_bytes=_AT)
            require(footer.encode(salt=SALT) == body, "a footer changes")
    elif kind == 2:
        with suppress(MalformedError):
            block.check_block(body, salt=SALT, offset_bytes=_AT)
            rows = index.decode_index(body, offset_bytes=_AT)
            require(index.encode_index(rows) == body[: -block.CRC_BYTES], "an index block changes")
    else:
        _run_data_block(body)


def _run_data_block(body: bytes) -> None:
    entries = None
    with suppress(MalformedError):
        block.check_block(body, salt=SALT, offset_bytes=_AT)
        entries = list(block.decode_block(body).items())
    if entries is None:
        _run_unsound(body)
        return
    count, keys = len(entries), [key for key, _ in entries]
    inner = body[: -block.CRC_BYTES]
    block.check_ends(body, keys[0], keys[-1], count)
    require(block.block_length(body) == len(body), "a block's length is told wrongly")
    require(list(zip(*columns.columns(body, 0, count), strict=True)) == entries, "columns differ")
    for number, key in enumerate(keys):
        require(block.position(body, count, key) == number, f"{key!r} has another place")
        require(block.position(body, count, key + b"\0") == number + 1, f"what follows {key!r} has another place")
    honest = block.encode_block([block.run_of(entries)])
    is_honest = True
    try:
        block.check_fingerprints(body, keys)
    except MalformedError:
        is_honest = False
    require(is_honest == (honest == inner), "fingerprints are judged by something else")
    if not is_honest:
        return
    for key, value in entries:
        require(block.find_entry(body, count, key) == value, f"{key!r} is found with another value")
        if key + b"\0" not in keys:
            require(block.find_entry(body, count, key + b"\0") is ABSENT, "a key is found that isn't there")
    for cut in range(1, count):
        parts = [block.run_of(entries[:cut]), block.encode_block([block.run_of(entries[cut:])])]
        require(block.encode_block(parts) == inner, "a block put together of two differs")


def _run_unsound(body: bytes) -> None:
    """What opens no block may be asked for by an index all the same: no answer but MalformedError."""
    with suppress(MalformedError):
        count, _ = block.block_shape(body)
        first, last = body[count * 6 : count * 6 + 3], body[-7:-4]
        block.check_ends(body, first, last, count)
        block.find_entry(body, count, first)
        columns.columns(body, 0, count)
        block.position(body, count, last)
    with suppress(MalformedError):
        block.encode_block([body, block.run_of([(b"\xff", b"")])])
    block.block_length(body)


# --- tables ----------------------------------------------------------------------------------------------------


def _written(chance: Random) -> bytes:
    fs = _directory()
    with TableWriter(
        fs, HERE, 1, store_uuid=STORE, lsn=1, salt=SALT, block_bytes=chance.choice((64, 256)),
        compress=chance.choice((False, False, True)),
    ) as writer:
        for number in range(chance.choice((0, 1, 2, 10, 60))):
            writer.add(b"\x40%03d" % number, chance.choice((None, b"", chance.randbytes(chance.randrange(40)))))
        size = writer.finish().size_bytes
    return fs.open_read(f"{HERE}/{names.table_name(1)}").pread(size, 0)


def table_seeds(chance: Random) -> Iterable[bytes]:
    """Tables of the golden directories and of several blocks."""
    for name, data in golden_files():
        if names.table_number(name) is not None:
            yield data
    for _ in range(8):
        yield _written(chance)


def mutate_table(data: bytes, chance: Random) -> bytes:
    """Change a table and make all its checksums right."""
    return reseal.table_file(mutate(data, chance))


def run_table(data: bytes) -> None:
    """A table opens, scans and verifies, or is corrupt; salvage takes no more and no less of it than is sound."""
    header, info = plausible(data)
    fs = _directory(**{names.table_name(info.number): data})
    remains = None
    with suppress(NewerFormatError):
        remains = read_remains(fs, HERE, names.table_name(info.number), info)
        read_remains(fs, HERE, names.table_name(info.number), None)
    try:
        opened = Table.open(fs, HERE, info, header.store if header is not None else STORE, BlockCache(0))
    except (CorruptionError, UnsupportedFormatError):
        return
    is_sound = _runs(opened.verify)
    forward = _read_all(opened, reverse=False)
    backward = _read_all(opened, reverse=True)
    if is_sound:
        _check_sound(opened, info, forward, backward, remains)
    elif forward is not None:
        # What isn't verified may be out of order between what was asked for; it still gives each entry once.
        is_compressed = opened.source.is_compressed
        require(is_compressed or len(forward) <= info.size_bytes, "more entries than bytes")
    opened.close()


def _runs(check: Any) -> bool:
    try:
        check()
    except (CorruptionError, UnsupportedFormatError):
        return False
    return True


def _read_all(opened: Table, *, reverse: bool) -> list[tuple[bytes, bytes | None]] | None:
    try:
        return list(opened.scan(None, None, reverse=reverse))
    except CorruptionError:
        return None


def _check_sound(
    opened: Table,
    info: TableInfo,
    forward: list[tuple[bytes, bytes | None]] | None,
    backward: list[tuple[bytes, bytes | None]] | None,
    remains: TableRemains | None,
) -> None:
    if forward is None or backward is None:
        raise FindingError("a table is verified and can't be read")
    keys = [key for key, _ in forward]
    require(keys == sorted(set(keys)), "a verified table isn't in order")
    require(backward[::-1] == forward, "a table read backwards differs")
    require(len(forward) == info.entry_count, "a table counts other entries than it has")
    for key, value in forward:
        require(opened.get(key) == value, f"{key!r} is found with another value")
        require(key + b"\0" in keys or opened.get(key + b"\0") is ABSENT, "a key is found that isn't there")
    middle = keys[len(keys) // 2] if keys else b""
    after = [entry for entry in forward if entry[0] >= middle]
    require(list(opened.scan(middle, None)) == after, "a scan from the middle differs")
    if remains is None:
        raise FindingError("a table opens that salvage takes for a later version's")
    require(not remains.faults and not remains.lost, f"salvage finds {remains.faults} in a verified table")
    require(remains.entry_count == info.entry_count, "salvage counts other entries than a verified table has")


TARGETS = (
    Target("segment", "headers, seals, the durable slot, whole segments", segment_seeds, run_segment, mutate_segment),
    Target("manifest", "the manifest", manifest_seeds, run_manifest, mutate_manifest),
    Target("block", "a table's header, footer, index and data blocks", block_seeds, run_block, mutate_block),
    Target("table", "whole tables, and what salvage takes of them", table_seeds, run_table, mutate_table),
)
