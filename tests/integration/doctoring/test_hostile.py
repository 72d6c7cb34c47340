"""Directories made to hurt whoever looks: memory, depth and time stay bounded, and what is told is a sentence.

Each command runs in a process of its own that may have 300 MB of addresses. One
record, or one manifest, of the largest size that there is may need more than
that: then the sentence says so.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.format import names
from journalkit.format.batch import encode_batch
from journalkit.format.block import block_checksum
from journalkit.format.checksum import checksum
from journalkit.format.envelope import HEADER
from journalkit.format.frame import Kind, encode
from journalkit.format.index import IndexBlock, IndexEntry, encode_index
from journalkit.format.manifest import decode_manifest, encode_manifest
from journalkit.format.segment import HEADER_BYTES, decode_header
from journalkit.format.table import FOOTER_BYTES, TableFooter, TableHeader, footer_checksum
from journalkit.format.table import HEADER_BYTES as TABLE_HEADER_BYTES

pytestmark = pytest.mark.slow

LIMIT_BYTES = 300 * 1024 * 1024
MIB = 1 << 20


def limited(*args: object) -> subprocess.CompletedProcess[str]:
    """Run a command with little memory."""
    return subprocess.run(
        [sys.executable, "-m", "journalkit", *map(str, args)],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "MALLOC_ARENA_MAX": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES)),
    )


def made(path: Path) -> Path:
    """Return a small closed store with a snapshot and a tail."""
    with journalkit.open(path, compaction="manual") as store:
        for number in range(20):
            store[number] = "x" * 100
        store.compact()
        store["tail"] = 1
    return path


def last_segment(path: Path) -> Path:
    """Return the newest segment."""
    return max(path.glob("log-*"))


def rewrite(path: Path, **changes: Any) -> None:
    """Change what the manifest says."""
    file = path / names.MANIFEST
    file.write_bytes(encode_manifest(replace(decode_manifest(file.read_bytes()), **changes)))


def append(path: Path, payloads: list[bytes], *, gap: bytes = b"", kind: int = Kind.BATCH, step: int = 1) -> None:
    """Put whole records behind the header of the newest segment, with `gap` between them."""
    file = last_segment(path)
    header = decode_header(file.read_bytes()[:HEADER_BYTES])
    parts, at, lsn = [header.encode()], HEADER_BYTES, header.first_lsn
    for payload in payloads:
        frame = encode(payload, lsn=lsn, time_us=0, durable_lsn=lsn, kind=kind, salt=header.salt, offset_bytes=at)
        parts += [frame, gap]
        at, lsn = at + len(frame) + len(gap), lsn + step
    file.write_bytes(b"".join(parts))


def a_sparse_log(path: Path) -> None:
    """A quarter of a gibibyte of nothing behind the last record."""
    os.truncate(last_segment(path), 256 * MIB)


def a_giant_length(path: Path) -> None:
    """A header that passes and promises a payload as large as one may be, in a file that is as large."""
    file = last_segment(path)
    header = decode_header(file.read_bytes()[:HEADER_BYTES])
    frame = encode(
        b"", lsn=header.first_lsn, time_us=0, durable_lsn=99, kind=1, salt=header.salt, offset_bytes=HEADER_BYTES
    )
    covered = bytearray(frame[4:])
    covered[4:8] = (256 * MIB).to_bytes(4, "little")
    crc = checksum(bytes(covered), (header.salt + HEADER_BYTES) & 0xFFFFFFFF)
    file.write_bytes(header.encode() + crc.to_bytes(4, "little") + bytes(covered))
    os.truncate(file, 300 * MIB)


def a_crowd_of_holes(path: Path) -> None:
    """As many damaged places as fit, each between two whole records."""
    append(path, [encode_batch([(b"@k", b"\x01")])] * 30_000, gap=b"?")


def a_crowd_of_gaps(path: Path) -> None:
    """Whole records, none of which follows the other."""
    append(path, [encode_batch([(b"@k", b"\x01")])] * 30_000, step=3)


def a_record_of_tiny_entries(path: Path) -> None:
    """One commit of 300,000 keys, which weigh many times their bytes once they are objects."""
    append(path, [encode_batch([(b"@" + number.to_bytes(3, "big"), b"\x01") for number in range(300_000)])])


def a_record_of_another_kind(path: Path) -> None:
    """Whole, and nothing that a store can have."""
    append(path, [b"words"] * 10_000, kind=Kind.RECORD)


def a_deep_value(path: Path) -> None:
    """A value nested as deep as a payload is long."""
    append(path, [encode_batch([(b"@deep", b"\x81" * 200_000 + b"\x01")])])


def manifest_of(path: Path, body: bytes) -> None:
    """Write a manifest whose checksums are right."""
    fields = {"magic": b"JKMAN\r\n\x1a", "version": 1, "reserved": 0, "header_checksum": 0}
    head = HEADER.pack(**fields, body_bytes=len(body), body_checksum=checksum(body))[:-4]
    (path / names.MANIFEST).write_bytes(head + checksum(head).to_bytes(4, "little") + body)


def a_deep_manifest(path: Path) -> None:
    """Arrays in arrays."""
    manifest_of(path, b"\x81" * 1_000_000 + b"\x01")


def a_wide_manifest(path: Path) -> None:
    """An array of as many numbers as a manifest may have bytes."""
    count = 12 * MIB
    manifest_of(path, b"\x9a" + count.to_bytes(4, "big") + bytes(count))


def a_lying_manifest(path: Path) -> None:
    """A length that nothing stands behind."""
    manifest_of(path, b"\x9b" + (1 << 60).to_bytes(8, "big"))


def a_manifest_of_many_segments(path: Path) -> None:
    """Segments that were never there."""
    found = decode_manifest((path / names.MANIFEST).read_bytes())
    crowd = tuple(replace(found.segments[-1], number=number) for number in range(1000, 9_000))
    rewrite(path, segments=(*found.segments, *crowd), next_segment=30_000)


def a_table_that_winds(path: Path) -> None:
    """Index blocks that name each other, two by two: followed blindly, there are more ways than atoms."""
    [file] = path.glob("table-*")
    manifest = decode_manifest((path / names.MANIFEST).read_bytes())
    info = manifest.snapshots[0].tables[0]
    header = TableHeader(info.salt, manifest.store, info.number, manifest.snapshots[0].lsn)
    parts, at = [header.encode()], TABLE_HEADER_BYTES
    places: list[tuple[int, int]] = []
    for level in range(200):
        index = IndexBlock(min(level, 15))
        for number, (offset, length) in enumerate(places[-2:]):
            key = b"@" + bytes([number])
            index.add(IndexEntry(key, key, offset, length, 1, 0))
        if not places:
            index.level = 0
        body = encode_index(index)
        block = body + block_checksum(body, salt=info.salt, offset_bytes=at)
        places.append((at, len(block)))
        parts.append(block)
        at += len(block)
    offset, length = places[-1]
    root_checksum = footer_checksum(parts[-1])
    footer = TableFooter(manifest.store, info.number, header.lsn, 2, 0, 1, 1, offset, length, root_checksum)
    encoded = footer.encode(salt=info.salt)
    assert len(encoded) == FOOTER_BYTES
    file.write_bytes(b"".join(parts) + encoded)
    tables = (replace(info, size_bytes=file.stat().st_size, footer_crc=footer_checksum(encoded), entry_count=2),)
    rewrite(path, snapshots=(replace(manifest.snapshots[0], tables=tables),))


def a_table_that_lies(path: Path) -> None:
    """Sparse, and as large as the manifest says."""
    [file] = path.glob("table-*")
    manifest = decode_manifest((path / names.MANIFEST).read_bytes())
    info = manifest.snapshots[0].tables[0]
    os.truncate(file, 512 * MIB)
    rewrite(path, snapshots=(replace(manifest.snapshots[0], tables=(replace(info, size_bytes=512 * MIB),)),))


HOSTILE = [
    a_sparse_log, a_giant_length, a_crowd_of_holes, a_crowd_of_gaps, a_record_of_tiny_entries,
    a_record_of_another_kind, a_deep_value, a_deep_manifest, a_wide_manifest, a_lying_manifest,
    a_manifest_of_many_segments, a_table_that_winds, a_table_that_lies,
]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS means something else there")
@pytest.mark.parametrize("harm", HOSTILE, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("command", ["verify", "salvage", "dump"])
def test_a_hostile_directory_costs_little_and_is_told_in_a_sentence(
    tmp_path: Path, command: str, harm: Callable[[Path], None]
) -> None:
    """No traceback, no kill, no byte of the source changed; verify and salvage come to an end by themselves."""
    path = made(tmp_path / "state")
    harm(path)
    before = {file.name: (file.stat().st_mtime_ns, file.stat().st_size) for file in path.iterdir()}
    ran = limited(command, path, *([tmp_path / "new"] if command == "salvage" else []))
    assert ran.returncode in (0, 1, 2), ran.stderr
    assert "Traceback" not in ran.stderr
    assert "defect" not in ran.stderr
    assert ran.stderr.count("\n") <= 1
    if command != "dump" and harm not in (a_giant_length, a_wide_manifest):
        assert "memory" not in ran.stderr
    assert {file.name: (file.stat().st_mtime_ns, file.stat().st_size) for file in path.iterdir()} == before


def test_the_limit_is_one_that_can_be_hit(tmp_path: Path) -> None:
    """The canary: what needs more memory than that fails here, in a sentence."""
    path = made(tmp_path / "state")
    a_giant_length(path)
    ran = limited("verify", path)
    assert (ran.returncode, "not enough memory" in ran.stderr) == (2, True)
