"""The manifest's bytes: a fixed header and a CBOR body, both checksummed.

The manifest says what is live: which segments and tables belong to the store,
how far the log was pruned and was known to be durable, and who writes. It is
small, is replaced whole, and its replacement is the only commit point for
anything that isn't a log record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from journalkit.format.envelope import Bounds, Envelope, plain_of
from journalkit.format.malformed import MalformedError
from journalkit.format.segment import HEADER_BYTES as SEGMENT_HEADER_BYTES
from journalkit.format.table import TableInfo

MAGIC: Final = b"JKMAN\r\n\x1a"
VERSION: Final = 1
MANIFEST_BYTES_MAX: Final = 16 * 1024 * 1024

_ENVELOPE: Final = Envelope("manifest", MAGIC, VERSION, "a store")
_UUID_BYTES: Final = 16

NUMBER_MAX: Final = 10**16 - 1
"""The largest number of a segment or a table: file names have 16 digits."""
EPOCH_MAX: Final = (1 << 32) - 1
"""The numbers of a writer's tables begin at its epoch times 2^20, and have 16 digits too."""
LSN_MAX: Final = (1 << 62) - 1
"""Of every other number as well: nobody counts so far, and it can still be added to in 64 bits."""
_U32_MAX: Final = (1 << 32) - 1

_BOUNDS: Final = Bounds(
    {
        "epoch": EPOCH_MAX,
        **dict.fromkeys(("number", "next_segment", "next_table"), NUMBER_MAX),
        **dict.fromkeys(("salt", "checksum", "footer_crc"), _U32_MAX),
    },
    LSN_MAX,
    {},
)


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """Where a segment that takes no more records ends.

    `checksum` is the header checksum of its last frame (0 if it has none);
    an unsealed one was ended by recovery, and bytes behind `end_bytes` mean
    nothing.
    """

    last_lsn: int
    end_bytes: int
    checksum: int
    sealed: bool


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """One segment of the log; `first_lsn` is 0 for one prepared ahead, `end` None until it is known."""

    number: int
    salt: int
    epoch: int
    first_lsn: int
    end: SegmentEnd | None = None


@dataclass(frozen=True, slots=True)
class SnapshotEntry:
    """The state at `lsn`: tables, newest first."""

    lsn: int
    created_us: int
    tables: tuple[TableInfo, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is live in a store's directory.

    `segments` are in log order; `snapshots` newest first.
    `durable_lsn` is a promise; `pruned_lsn` says what of the log is gone.
    """

    store: bytes
    kind: str
    codec: str
    created_us: int
    generation: int
    epoch: int
    writer: bytes
    segments: tuple[SegmentEntry, ...]
    snapshots: tuple[SnapshotEntry, ...]
    pruned_lsn: int
    durable_lsn: int
    next_segment: int
    next_table: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def next_generation(self, **changes: Any) -> Manifest:
        """Return the manifest that would replace this one."""
        return replace(self, generation=self.generation + 1, **changes)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the whole file."""
    return _ENVELOPE.seal_plain(_as_plain(manifest))


def decode_manifest(data: bytes) -> Manifest:
    """Return what a manifest file says.

    Raises:
        MalformedError: It isn't a manifest, or is damaged.
        NewerFormatError: It is whole, and of a later version.
    """
    manifest: Manifest = _ENVELOPE.open_plain(data, _from_plain)
    return manifest


def _as_plain(manifest: Manifest) -> dict[str, Any]:
    return plain_of(manifest) | {
        "segments": [
            plain_of(entry) | {"end": plain_of(entry.end) if entry.end else None} for entry in manifest.segments
        ],
        "snapshots": [plain_of(entry) | {"tables": [*map(plain_of, entry.tables)]} for entry in manifest.snapshots],
        "metadata": dict(manifest.metadata),
    }


def _from_plain(plain: dict[str, Any]) -> Manifest:
    segments = tuple(_segment(entry) for entry in _array(plain, "segments"))
    snapshots = tuple(_snapshot(entry) for entry in _array(plain, "snapshots"))
    # By its key, since it has a default, and a body without it is none.
    manifest = Manifest(segments=segments, snapshots=snapshots, metadata=plain.pop("metadata"), **plain)
    check_manifest(manifest)
    return manifest


def _array(plain: dict[str, Any], name: str) -> list[Any]:
    """Take an array out of a map: an empty map or string would be read as none of its entries."""
    found = plain.pop(name)
    if type(found) is not list:
        raise MalformedError(f"{name} is {found!r:.50}")
    return found


def _segment(plain: dict[str, Any]) -> SegmentEntry:
    end = plain.pop("end")
    return SegmentEntry(end=SegmentEnd(**end) if end is not None else None, **plain)


def _snapshot(plain: dict[str, Any]) -> SnapshotEntry:
    tables = tuple(TableInfo(**table) for table in _array(plain, "tables"))
    return SnapshotEntry(tables=tables, **plain)


def check_manifest(manifest: Manifest) -> None:
    """Raise MalformedError where fields contradict each other: whole bytes can still be wrong."""
    _BOUNDS.check(manifest)
    for segment in manifest.segments:
        _BOUNDS.check(segment)
        if segment.end is not None:
            _BOUNDS.check(segment.end)
            if segment.end.end_bytes < SEGMENT_HEADER_BYTES:
                raise MalformedError(f"segment {segment.number} ends inside its header")
            if segment.end.last_lsn < segment.first_lsn - 1:
                raise MalformedError(f"segment {segment.number} ends before its first record")
    for snapshot in manifest.snapshots:
        _BOUNDS.check(snapshot)
        for table in snapshot.tables:
            _BOUNDS.check(table)
    numbers = [entry.number for entry in manifest.segments]
    lsns = [entry.lsn for entry in manifest.snapshots]
    if not isinstance(manifest.metadata, dict):
        raise MalformedError("the metadata is no mapping")
    if len(manifest.store) != _UUID_BYTES or len(manifest.writer) != _UUID_BYTES:
        raise MalformedError("an identity has the wrong length")
    if numbers != sorted(set(numbers)):
        raise MalformedError(f"segments {numbers} are out of order")
    if lsns != sorted(lsns, reverse=True) or any(not entry.tables for entry in manifest.snapshots):
        raise MalformedError("snapshots are out of order or empty")
    if numbers and manifest.next_segment <= numbers[-1]:
        raise MalformedError("the next segment's number is taken")
    if lsns and not manifest.pruned_lsn <= lsns[-1]:
        raise MalformedError("the log was pruned beyond the oldest snapshot")
    # A journal has no snapshots: what was pruned there was given up on request.
    if manifest.kind == "store" and manifest.pruned_lsn and not lsns:
        raise MalformedError(f"the log begins behind LSN {manifest.pruned_lsn} and no snapshot is named")
    if manifest.pruned_lsn > manifest.durable_lsn:
        raise MalformedError("the log was pruned beyond what was durable of it")
