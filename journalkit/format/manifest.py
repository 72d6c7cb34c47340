"""The manifest's bytes: a fixed header and a CBOR body, both checksummed.

The manifest says what is live: which segments and tables belong to the store,
how far the log was pruned and was known to be durable, and who writes. It is
small, is replaced whole, and its replacement is the only commit point for
anything that isn't a log record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, Final, TypeAlias

from journalkit.format.checksum import checksum
from journalkit.format.codec import CborCodec
from journalkit.format.layout import Field, Layout
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.segment import HEADER_BYTES as SEGMENT_HEADER_BYTES
from journalkit.format.table import TableInfo

MAGIC: Final = b"JKMAN\r\n\x1a"
VERSION: Final = 1
MANIFEST_BYTES_MAX: Final = 16 * 1024 * 1024

HEADER = Layout(
    Field("magic", "8s", "`JKMAN\\r\\n\\x1a`"),
    Field("version", "H", "format version of the store, 1"),
    Field("reserved", "H", "zero"),
    Field("body_bytes", "I", "length of the body; nothing follows it"),
    Field("body_checksum", "I", "CRC32C of the body"),
    Field("header_checksum", "I", "CRC32C of all bytes before it"),
)
HEADER_BYTES: Final = HEADER.size
_CRC_BYTES: Final = 4
_UUID_BYTES: Final = 16

NUMBER_MAX: Final = 10**16 - 1
"""The largest number of a segment or a table: file names have 16 digits."""
EPOCH_MAX: Final = (1 << 32) - 1
"""The numbers of a writer's tables begin at its epoch times 2^20, and have 16 digits too."""
LSN_MAX: Final = (1 << 62) - 1
"""Of every other number as well: nobody counts so far, and it can still be added to in 64 bits."""
_U32_MAX: Final = (1 << 32) - 1
_TIME_MAX: Final = (1 << 63) - 1

_MOST: Final[dict[str, int]] = {
    "epoch": EPOCH_MAX,
    **dict.fromkeys(("number", "next_segment", "next_table"), NUMBER_MAX),
    **dict.fromkeys(("salt", "checksum", "footer_crc"), _U32_MAX),
}
_PLAIN_TYPES: Final[dict[object, type]] = {"int": int, "str": str, "bytes": bytes, "bool": bool}


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


_Part: TypeAlias = Manifest | SegmentEntry | SegmentEnd | SnapshotEntry | TableInfo


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the whole file."""
    body = CborCodec().encode(_as_plain(manifest))
    head = HEADER.pack(
        magic=MAGIC, version=VERSION, reserved=0, body_bytes=len(body), body_checksum=checksum(body), header_checksum=0
    )[:-_CRC_BYTES]
    return head + checksum(head).to_bytes(_CRC_BYTES, "little") + body


def decode_manifest(data: bytes) -> Manifest:
    """Return what a manifest file says.

    Raises:
        MalformedError: It isn't a manifest, or is damaged.
        NewerFormatError: It is whole, and of a later version.
    """
    head, body = data[:HEADER_BYTES], data[HEADER_BYTES:]
    fields = HEADER.unpack(head)
    if fields["magic"] != MAGIC:
        raise MalformedError("not a manifest")
    if checksum(head[:-_CRC_BYTES]) != fields["header_checksum"]:
        raise MalformedError("the manifest's header is damaged")
    if fields["version"] != VERSION or fields["reserved"]:
        raise NewerFormatError(
            f"a store of format {fields['version']}.{fields['reserved']}, this version reads {VERSION}.0"
        )
    if fields["body_bytes"] != len(body) or checksum(body) != fields["body_checksum"]:
        raise MalformedError("the manifest's body is damaged", HEADER_BYTES)
    try:
        return _from_plain(CborCodec().decode(body))
    except MalformedError as error:
        raise MalformedError(f"the manifest's body makes no sense: {error.reason}", HEADER_BYTES) from error
    except (TypeError, KeyError, AttributeError) as error:
        reason = f"the manifest's body doesn't say what a manifest must ({error!r:.200})"
        raise MalformedError(reason, HEADER_BYTES) from error


def _as_plain(manifest: Manifest) -> dict[str, Any]:
    return _plain(manifest) | {
        "segments": [_plain(entry) | {"end": _plain(entry.end) if entry.end else None} for entry in manifest.segments],
        "snapshots": [_plain(entry) | {"tables": [*map(_plain, entry.tables)]} for entry in manifest.snapshots],
        "metadata": dict(manifest.metadata),
    }


def _plain(part: _Part) -> dict[str, Any]:
    kind: Any = type(part)
    return {name: getattr(part, name) for name, *_ in _fields_of(kind)}


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
    _check_types(manifest)
    for segment in manifest.segments:
        _check_types(segment)
        if segment.end is not None:
            _check_types(segment.end)
            if segment.end.end_bytes < SEGMENT_HEADER_BYTES:
                raise MalformedError(f"segment {segment.number} ends inside its header")
            if segment.end.last_lsn < segment.first_lsn - 1:
                raise MalformedError(f"segment {segment.number} ends before its first record")
    for snapshot in manifest.snapshots:
        _check_types(snapshot)
        for table in snapshot.tables:
            _check_types(table)
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


def _check_types(part: _Part) -> None:
    """Raise MalformedError unless plain fields are of their types and numbers in their range."""
    kind: Any = type(part)
    for name, wanted, least, most in _fields_of(kind):
        value = getattr(part, name)
        if (wanted is not None and type(value) is not wanted) or (wanted is int and not least <= value <= most):
            raise MalformedError(f"{name} is {value!r:.50}")


@cache
def _fields_of(kind: type) -> tuple[tuple[str, type | None, int, int], ...]:
    """Return name, plain type, least and greatest number of each field: a manifest is decoded thrice in an open."""
    return tuple(
        (spec.name, _PLAIN_TYPES.get(spec.type), *_range_of(spec.name))
        for spec in fields(kind)
    )


def _range_of(name: str) -> tuple[int, int]:
    """Return the least and the greatest number that a field may have."""
    # Times are labels, and a clock may stand before 1970.
    return (-_TIME_MAX - 1, _TIME_MAX) if name.endswith("_us") else (0, _MOST.get(name, LSN_MAX))
