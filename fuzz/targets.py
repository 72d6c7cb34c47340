"""The targets: each makes valid inputs, and decodes whatever it is given.

A decoder may return or raise one of its own errors. It may not raise anything
else, and what it accepts has to encode to what it accepted or decode alike.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from journalkit.errors import CorruptionError, UnsupportedFormatError
from journalkit.format import batch, frame, keys, manifest, segment
from journalkit.format.codec import CborCodec
from journalkit.format.frame import Kind, Stop
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import Manifest, SegmentEnd, SegmentEntry, SnapshotEntry
from journalkit.format.table import TableInfo, decode_footer, decode_header
from journalkit.fs.memory import MemoryFileSystem
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter

SALT = 0x5EED


@dataclass(frozen=True, slots=True)
class Target:
    """`seeds(random)` makes one valid input, `run(data)` decodes any; `finding` is what it must not let through."""

    name: str
    seed: Callable[[random.Random], bytes]
    run: Callable[[bytes], None]


class FindingError(Exception):
    """Something that was accepted and should not have been."""


def _numbered(values: list[object]) -> dict[str, object]:
    return {str(number): value for number, value in enumerate(values)}


def a_value(chance: random.Random, depth: int = 0) -> object:
    """Return some storable value."""
    if depth < 3 and chance.random() < 0.4:
        children = [a_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        return chance.choice([list, tuple, _numbered])(children)
    return chance.choice([None, True, 0, -1, 1 << 70, 1.5, "text", "", b"bytes", chance.getrandbits(40)])


def a_key(chance: random.Random, depth: int = 0) -> keys.Key:
    """Return some key."""
    if depth < 3 and chance.random() < 0.3:
        return tuple(a_key(chance, depth + 1) for _ in range(chance.randrange(4)))
    big = chance.choice([1, -1]) << 80
    return chance.choice([b"", b"\0\xff", "user:1", "", 0, -1, big, chance.getrandbits(30), chance.randbytes(9)])


def run_key(data: bytes) -> None:
    """A key that decodes encodes to the same bytes."""
    try:
        key = keys.decode_key(data)
    except MalformedError:
        return
    if keys.encode_key(key) != data:
        raise FindingError(f"{data!r} decodes to {key!r}, which encodes to something else")


def run_value(data: bytes) -> None:
    """A value that decodes can be stored again, or is refused by name."""
    try:
        CborCodec().decode(data)
    except MalformedError:
        return


def a_batch(chance: random.Random) -> bytes:
    """Return a batch of some mutations."""
    count = chance.randrange(5)
    return batch.encode_batch(
        [(keys.encode_key(a_key(chance)), chance.choice([None, chance.randbytes(20)])) for _ in range(count)]
    )


def run_batch(data: bytes) -> None:
    """A batch decodes to entries or is malformed."""
    try:
        batch.decode_into(data, {})
    except MalformedError:
        return


def a_run(chance: random.Random) -> bytes:
    """Return a run of frames, as they follow one another in a segment."""
    data = b""
    for lsn in range(1, chance.randrange(2, 6)):
        data += frame.encode(
            a_batch(chance), lsn=lsn, time_us=0, durable_lsn=0, kind=Kind.BATCH, salt=SALT, offset_bytes=len(data)
        )
    return data


def run_frames(data: bytes) -> None:
    """Frames that pass re-encode to the same bytes, and the run ends with exactly one stop."""
    stops: list[Stop] = []
    for found in frame.walk(data, 0, 0, SALT, stops):
        again = frame.encode(
            found.payload,
            lsn=found.lsn,
            time_us=found.time_us,
            durable_lsn=found.durable_lsn,
            kind=found.kind,
            salt=SALT,
            offset_bytes=found.offset_bytes,
        )
        if found.flags == 0 and again != data[found.offset_bytes : found.end_bytes]:
            raise FindingError(f"the frame at {found.offset_bytes} isn't what it says")
    if len(stops) != 1:
        raise FindingError(f"{len(stops)} stops")
    list(frame.candidates(data, 0))


def a_segment_header(chance: random.Random) -> bytes:
    """Return a segment's header."""
    numbers = [chance.getrandbits(40) for _ in range(8)]
    return segment.SegmentHeader(SALT, bytes(16), chance.randbytes(16), *numbers[:7], SALT).encode()


def run_segment(data: bytes) -> None:
    """A header, a seal or a slot is one, or is told apart."""
    for decode in (segment.decode_header, segment.decode_seal):
        try:
            decode(data)
        except (MalformedError, NewerFormatError):
            continue
    segment.decode_durable(data)


def a_manifest(chance: random.Random) -> bytes:
    """Return a manifest with a few segments and snapshots."""
    segments = tuple(
        SegmentEntry(number, chance.getrandbits(32), 1, number * 10, SegmentEnd(number * 10 + 9, 500, 1, sealed=True))
        for number in range(1, 4)
    )
    snapshots = (SnapshotEntry(35, 0, (TableInfo(1, 1000, 10, 5, 6),)),)
    return manifest.encode_manifest(
        Manifest(bytes(16), "store", "cbor", 0, 3, 2, chance.randbytes(16), segments, snapshots, 9, 39, 5, 2, {"a": 1})
    )


def run_manifest(data: bytes) -> None:
    """A manifest that decodes encodes to one that decodes alike."""
    try:
        found = manifest.decode_manifest(data)
    except (MalformedError, NewerFormatError):
        return
    if manifest.decode_manifest(manifest.encode_manifest(found)) != found:
        raise FindingError("the manifest doesn't survive a round trip")


_UUID = bytes(16)


def a_table(chance: random.Random) -> bytes:
    """Return a whole table file."""
    fs = MemoryFileSystem()
    fs.make_directory("/t")
    with TableWriter(fs, "/t", 1, store_uuid=_UUID, lsn=1, salt=SALT, block_bytes=256) as writer:
        for number in range(chance.randrange(60)):
            writer.add(b"\x40%06d" % number, chance.choice([None, chance.randbytes(chance.randrange(40))]))
        info = writer.finish()
    file = fs.open_read("/t/table-0000000000000001.jkt")
    return struct.pack("<QQ", info.entry_count, info.footer_crc) + file.pread(info.size_bytes, 0)


def run_table(data: bytes) -> None:
    """A table opens, scans and verifies, or is corrupt."""
    with suppress(MalformedError, NewerFormatError):
        decode_header(data[16:68])
    with suppress(MalformedError, NewerFormatError):
        decode_footer(data[-96:], salt=SALT, offset_bytes=0)
    if len(data) < 16:
        return
    entry_count, footer_crc = struct.unpack_from("<QQ", data)
    fs = MemoryFileSystem()
    fs.make_directory("/t")
    file = fs.create("/t/table-0000000000000001.jkt")
    file.pwrite(data[16:], 0)
    info = TableInfo(1, len(data) - 16, entry_count, footer_crc, SALT)
    try:
        table = Table.open(fs, "/t", info, _UUID, BlockCache(0))
        entries = dict(table.scan(None, None))
        for key, value in entries.items():
            if table.get(key) != value:
                raise FindingError(f"get and scan disagree on {key!r}")
        table.verify()
    except (CorruptionError, UnsupportedFormatError):
        return


def run_canary(data: bytes) -> None:
    """A decoder with a planted bug: it believes a length."""
    if len(data) > 2 and data[0] == 0x40 and data[1] > 0x20:
        raise IndexError("planted")


TARGETS = {
    target.name: target
    for target in (
        Target("key", lambda chance: keys.encode_key(a_key(chance)), run_key),
        Target("value", lambda chance: CborCodec().encode(a_value(chance)), run_value),
        Target("batch", a_batch, run_batch),
        Target("frame", a_run, run_frames),
        Target("segment", a_segment_header, run_segment),
        Target("manifest", a_manifest, run_manifest),
        Target("table", a_table, run_table),
    )
}
CANARY = Target("canary", lambda _chance: keys.encode_key("canary"), run_canary)
