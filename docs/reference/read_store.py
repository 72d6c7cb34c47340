"""A second reader of journalkit's stores and journals, written from format.md beside it.

    python read_store.py PATH [--records] [--state]

It lists what a directory holds and judges it, as recovery would: `sound`, `torn`
(bytes that nothing promised, which an open cuts), `damaged` or `unsupported`.
Exit code 0, 1, or 2 for the last two. It never writes, takes no lock, and is
meant for a directory that nobody writes to just now.

It shares no line with the package and needs nothing but the standard library
(before Python 3.14, for tables whose blocks are compressed, backports.zstd):
where the two disagree, one of them or the specification is wrong. That makes it
a second opinion for tests (`judge`), and what will still read your data when
nothing else does. It is no tool for repair: `journalkit salvage` is.
"""

from __future__ import annotations

import argparse
import re
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

Crc: TypeAlias = Callable[[bytes, int], int]
State: TypeAlias = dict[bytes, bytes]

MANIFEST = struct.Struct("<8sHHIII")
SEGMENT = struct.Struct("<8sHHI16s16sQQQqQQQII")
FRAME = struct.Struct("<IIIHBBQqQ")
SEAL_PAYLOAD = struct.Struct("<QQ")
ENTRY = struct.Struct("<HI")
SLOT = struct.Struct("<4sI16s16sQQQQI")
WHOLE, U16_MAX = 0, 0xFFFF
TABLE = struct.Struct("<8sHHI16sQQI")
INDEX_ENTRY = struct.Struct("<HHQIQQ")
FOOTER = struct.Struct("<8sHH16sQQQQQQQIII")
U32 = struct.Struct("<I")

MANIFEST_BYTES_MAX, PAYLOAD_BYTES_MAX, INDEX_BYTES_MAX = 16 << 20, 268_435_456, 4 << 20
INDEX_LEVELS_MAX, INDEX_ENTRIES_MAX, KEY_BYTES_MAX, KEY_DEPTH_MAX, VALUE_DEPTH_MAX = 16, 256, 8192, 16, 64
FRAME_MAGIC, FRAME_MAGIC_OFFSET = 0x4AF7, 12
BATCH, RECORD, SEAL, IGNORABLE = 1, 2, 3, 128
FRACTION_BITS_MAX, DECIMAL_EXPONENT_MAX = 65_536, 999_999
DELETED, TOMBSTONE, RESERVED_LAST = 0xFFFFFFFF, 0xFFFF, 0x0F
U32_MASK = 0xFFFFFFFF
PAGE_BLOCKS, PACKED_BYTES_MAX = 16, 16 << 20


# --- Zstandard, for tables whose blocks are compressed with it

ZSTD: Any = None
for _home in ("compression.zstd", "backports.zstd"):
    try:
        ZSTD = ZSTD or import_module(_home)
    except ImportError:
        continue


# --- Checksums

CRC_TABLE = list(range(256))
for _bit in range(8):
    CRC_TABLE = [crc >> 1 ^ (0x82F63B78 if crc & 1 else 0) for crc in CRC_TABLE]


def crc32c(data: bytes, seed: int = 0) -> int:
    """Return the CRC32C of the data, continued from the seed."""
    crc = ~seed & U32_MASK
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return ~crc & U32_MASK


# --- What is found


class Finding(NamedTuple):
    """Something about a file: `note`, `torn`, `damaged` or `unsupported`."""

    kind: str
    file: str
    offset: int
    lsn: int | None
    reason: str


class Record(NamedTuple):
    """One record of the log."""

    lsn: int
    kind: int
    time_us: int
    durable_lsn: int
    file: str
    offset: int
    payload: bytes


@dataclass(slots=True)
class Judgement:
    """What a directory is worth.

    `state` maps encoded keys to encoded values, those of offsets among them;
    a journal's is empty. It is None where nothing may be served. `records` is
    all that the log holds, as far as it could be read.
    """

    verdict: str = "absent"
    findings: list[Finding] = field(default_factory=list)
    last_lsn: int = 0
    records: list[Record] = field(default_factory=list)
    state: State | None = None
    refusal: Finding | None = None
    snapshot_lsn: int = 0
    manifest: dict[str, Any] = field(default_factory=dict)

    def files(self, *kinds: str) -> set[str]:
        """Return the files that findings of these kinds are about."""
        return {finding.file for finding in self.findings if finding.kind in kinds}

    def decoded(self) -> dict[Any, Any]:
        """Return the state as Python's values; an offset's key is `Reserved("offsets", name)`."""
        return {decode_key(key): self.decode(value, key) for key, value in (self.state or {}).items()}

    def decode(self, value: bytes, key: bytes = b"\xff") -> Any:
        """Return what a value of this key, or a journal's record, stands for."""
        return CODECS[self.manifest["codec"] if key[0] > RESERVED_LAST else "cbor"](value)


class MalformedError(ValueError):
    """Bytes that the format doesn't allow."""


class BadError(Exception):
    """What keeps a directory, or a table, from being used."""

    def __init__(self, file: str, offset: int, lsn: int | None, reason: str, kind: str = "damaged") -> None:
        super().__init__(reason)
        self.finding = Finding(kind, file, offset, lsn, reason)


# --- Values: CBOR, as far as the format uses it

FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
CONSTANTS = {20: False, 21: True, 22: None}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
DECIMAL = re.compile(r"-?(\d+(\.\d+)?([Ee][+-]?\d{1,7})?|s?NaN\d*|Infinity)", re.ASCII)


def decode_value(data: bytes) -> Any:
    """Return the value that all of the bytes stand for."""
    try:
        value, end = _item(data, 0, 0, is_frozen=False)
    except (ValueError, ArithmeticError, IndexError, KeyError, TypeError, struct.error) as error:
        raise MalformedError(f"no value: {error!r}") from error
    if end != len(data):
        raise MalformedError("bytes behind the value")
    return value


def _item(data: bytes, at: int, depth: int, *, is_frozen: bool) -> tuple[Any, int]:
    """Return the item at a place and its end. In a key or a set it is frozen: arrays are tuples, sets frozensets."""
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        if info in FLOATS:
            return FLOATS[info].unpack_from(data, at)[0], at + FLOATS[info].size
        return CONSTANTS[info], at
    argument = info
    if info >= 24:
        size = 1 << info - 24 if info <= 27 else _refuse("length")
        argument = int.from_bytes(_bytes(data, at, size), "big")
        at += size
    if major < 2:
        return (~argument if major else argument), at
    if major < 4:
        text = _bytes(data, at, argument)
        return (text.decode() if major == 3 else text), at + argument
    if major == 6:
        contents, make = TAGS[argument]
        # A fraction is no container; its array goes back one.
        content, at = _item(data, at, depth - (argument == FRACTION), is_frozen=is_frozen or argument == SET)
        value = make(content) if isinstance(content, contents) else _refuse(f"content of tag {argument}")
        return (frozenset(value) if is_frozen and argument == SET else value), at
    if depth == VALUE_DEPTH_MAX or argument > len(data) - at:
        _refuse("depth or count")
    items = []
    for _ in range(argument):
        item, at = _item(data, at, depth + 1, is_frozen=is_frozen or major == 5)
        items.append(item)
        if major == 5:
            item, at = _item(data, at, depth + 1, is_frozen=is_frozen)
            items.append(item)
    if major == 4:
        return (tuple(items) if is_frozen else items), at
    pairs = dict(zip(items[::2], items[1::2], strict=True))
    return (pairs if len(pairs) == argument else _refuse("repeated key")), at


def _set(items: Any) -> set[Any]:
    made = set(items)
    return made if len(made) == len(items) else _refuse("repeated element")


def _fraction(parts: Any) -> Fraction:
    numerator, denominator = parts
    is_right = type(numerator) is type(denominator) is int and denominator > 0
    bits = max(numerator.bit_length(), denominator.bit_length()) if is_right else FRACTION_BITS_MAX + 1
    return Fraction(numerator, denominator) if bits <= FRACTION_BITS_MAX else _refuse("fraction")


def _decimal(text: str) -> Decimal:
    number = Decimal(_matching(DECIMAL, text))
    is_bounded = not number.is_finite() or abs(number.adjusted()) <= DECIMAL_EXPONENT_MAX
    return number if is_bounded else _refuse("exponent")


def _matching(pattern: re.Pattern[str], text: str) -> str:
    return text if pattern.fullmatch(text) else _refuse("text under a tag")


FRACTION, SET = 30, 258
TAGS: dict[int, tuple[type | tuple[type, ...], Callable[[Any], Any]]] = {
    0: (str, lambda text: datetime.fromisoformat(_matching(MOMENT, text))),
    2: (bytes, lambda data: int.from_bytes(data, "big")),
    3: (bytes, lambda data: ~int.from_bytes(data, "big")),
    FRACTION: ((list, tuple), _fraction),
    37: (bytes, lambda data: UUID(bytes=data)),
    SET: (tuple, _set),
    1004: (str, lambda text: date.fromisoformat(_matching(DAY, text))),
    0x4A4B0001: ((list, tuple), tuple),
    0x4A4B0002: ((set, frozenset), frozenset),
    0x4A4B0003: (str, _decimal),
}


# --- Values: MessagePack, as far as the format uses it

EXTENSION, TIMESTAMP, EPOCH = 74, -1, datetime(1970, 1, 1, tzinfo=UTC)
PACKED_FLOATS = {0xCA: struct.Struct(">f"), 0xCB: struct.Struct(">d")}
PACKED_SIZES = {  # by the first byte: how many bytes hold the size, or the integer
    0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2,
    0xD2: 4, 0xD3: 8, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4,
}  # fmt: skip


def decode_msgpack(data: bytes) -> Any:
    """Return the value that all of the bytes stand for."""
    try:
        value, end = _packed(data, 0, 0)
    except (ValueError, ArithmeticError, IndexError, KeyError, TypeError, struct.error) as error:
        raise MalformedError(f"no value: {error!r}") from error
    if end != len(data):
        raise MalformedError("bytes behind the value")
    return decode_value(value.data) if isinstance(value, Extension) else value


class Extension(NamedTuple):
    """An extension item of the type that holds a value's CBOR."""

    data: bytes


def _packed(data: bytes, at: int, depth: int, *, is_key: bool = False) -> tuple[Any, int]:
    """Return the item at a place and its end. In a key arrays are tuples."""
    head = data[at]
    at += 1
    if head < 0x80 or head >= 0xE0:
        return (head if head < 0x80 else head - 0x100), at
    if head in (0xC0, 0xC2, 0xC3):
        return (None if head == 0xC0 else head == 0xC3), at
    if head in PACKED_FLOATS:
        return PACKED_FLOATS[head].unpack_from(data, at)[0], at + PACKED_FLOATS[head].size
    if head < 0xC0:
        kind, argument = (0xDE, head & 15) if head < 0x90 else (0xDC, head & 15) if head < 0xA0 else (0xD9, head & 31)
    elif 0xD4 <= head <= 0xD8:
        kind, argument = 0xC7, 1 << head - 0xD4
    else:
        kind, size = head, PACKED_SIZES[head]
        argument = int.from_bytes(_bytes(data, at, size), "big", signed=0xD0 <= head <= 0xD3)
        at += size
    if 0xCC <= kind <= 0xD3:
        return argument, at
    if 0xC7 <= kind <= 0xC9:
        code, content = _bytes(data, at, 1), _bytes(data, at + 1, argument)
        return _extension(int.from_bytes(code, "big", signed=True), content, depth), at + 1 + argument
    if kind < 0xDC:
        text = _bytes(data, at, argument)
        return (text if kind < 0xC7 else text.decode()), at + argument
    if depth == VALUE_DEPTH_MAX or argument > len(data) - at:
        _refuse("depth or count")
    if kind < 0xDE:
        items = []
        for _ in range(argument):
            item, at = _packed(data, at, depth + 1, is_key=is_key)
            items.append(item)
        return (tuple(items) if is_key else items), at
    pairs = {}
    for _ in range(argument):
        key, at = _packed(data, at, depth + 1, is_key=True)
        pairs[key], at = _packed(data, at, depth + 1)
    return pairs, at


def _extension(code: int, content: bytes, depth: int) -> Any:
    if code == EXTENSION and not depth:
        return Extension(content)
    if code != TIMESTAMP or len(content) not in (4, 8, 12):
        _refuse("extension")
    number = int.from_bytes(content[-8:], "big", signed=len(content) == 12)
    seconds, nanoseconds = number, int.from_bytes(content[:-8], "big")
    if len(content) == 8:
        nanoseconds, seconds = divmod(number, 1 << 34)
    if nanoseconds >= 10**9:
        _refuse("nanoseconds")
    return EPOCH + timedelta(seconds=seconds, microseconds=(nanoseconds + 500) // 1000)


CODECS: dict[str, Callable[[bytes], Any]] = {"cbor": decode_value, "msgpack": decode_msgpack, "raw": bytes}


def _bytes(data: bytes, at: int, size: int) -> bytes:
    return data[at : at + size] if at + size <= len(data) else _refuse("end of data")


def _refuse(what: str) -> Any:
    raise MalformedError(f"unexpected {what}")


# --- Keys


class Reserved(NamedTuple):
    """A key of a reserved keyspace."""

    keyspace: str
    name: str


KEYSPACES = {1: "offsets", 2: "checkpoints", 3: "cursors", 4: "schema"}


def decode_key(data: bytes) -> Any:
    """Return the key that the bytes stand for."""
    if not 1 <= len(data) <= KEY_BYTES_MAX:
        raise MalformedError("length of a key")
    try:
        if 0 < data[0] <= RESERVED_LAST:
            return Reserved(KEYSPACES.get(data[0], str(data[0])), data[1:].decode())
        key, end = _element(data, 0, 0)
    except (ValueError, IndexError) as error:
        raise MalformedError(f"no key: {error}") from error
    if end != len(data):
        raise MalformedError("bytes behind the key")
    return key


def _element(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    tag = data[at]
    at += 1
    if 0x10 <= tag <= 0x22:
        return _integer(tag, data, at)
    if tag in (0x30, 0x40):
        content, at = _string(data, at) if depth else (data[at:], len(data))
        return (content if tag == 0x30 else content.decode()), at
    if tag != 0x50 or depth == KEY_DEPTH_MAX:
        _refuse(f"tag or depth of a key: {tag:#x}")
    elements = []
    while (data[at] != 0) if depth else (at < len(data)):
        element, at = _element(data, at, depth + 1)
        elements.append(element)
    return tuple(elements), at + (1 if depth else 0)


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    content = bytearray()
    while True:
        end = data.index(0, at)
        content += data[at:end]
        at = end + 1
        if data[at : at + 1] != b"\xff":
            return bytes(content), at
        content.append(0)
        at += 1


def _integer(tag: int, data: bytes, at: int) -> tuple[int, int]:
    is_negative, size = tag < 0x19, abs(tag - 0x19)
    if size == 9:
        counted = int.from_bytes(_bytes(data, at, 2), "big")
        size, at = (0xFFFF - counted if is_negative else counted), at + 2
        if size < 9:
            _refuse("size of an integer")
    value = int.from_bytes(_bytes(data, at, size), "big")
    if is_negative:
        value -= (1 << 8 * size) - 1
    if size and abs(value) >> 8 * (size - 1) == 0:
        _refuse("integer that is not in the fewest bytes")
    return value, at + size


# --- The manifest

_COUNT, _NUMBER, _EPOCH, _U32 = range(1 << 62), range(10**16), range(1 << 32), range(1 << 32)
_TIME = range(-(1 << 63), 1 << 63)
_TABLE_SHAPE = {"number": _NUMBER, "size_bytes": _COUNT, "entry_count": _COUNT, "footer_crc": _U32, "salt": _U32}
_END_SHAPE = {"last_lsn": _COUNT, "end_bytes": range(SEGMENT.size, 1 << 62), "checksum": _U32, "sealed": bool}
_SEGMENT_SHAPE = {"number": _NUMBER, "salt": _U32, "epoch": _EPOCH, "first_lsn": _COUNT, "end": (_END_SHAPE,)}
_SHAPE = {
    "store": 16, "kind": str, "codec": str, "created_us": _TIME, "generation": _COUNT, "epoch": _EPOCH, "writer": 16,
    "segments": [_SEGMENT_SHAPE], "snapshots": [{"lsn": _COUNT, "created_us": _TIME, "tables": [_TABLE_SHAPE]}],
    "pruned_lsn": _COUNT, "durable_lsn": _COUNT, "next_segment": _NUMBER, "next_table": _NUMBER, "metadata": dict,
}  # fmt: skip


def _fits(value: Any, shape: Any) -> bool:
    """Say whether a value has a shape: a range, a count of bytes, a type, a list, a map, or (shape,) for null too."""
    match shape:
        case range():
            return type(value) is int and value in shape
        case int():
            return type(value) is bytes and len(value) == shape
        case type():
            return type(value) is shape
        case tuple():
            return value is None or _fits(value, shape[0])
        case list():
            return type(value) is list and all(_fits(item, shape[0]) for item in value)
    return type(value) is dict and value.keys() == shape.keys() and all(_fits(value[key], shape[key]) for key in shape)


def _ascend(items: list[Any]) -> bool:
    return all(first < second for first, second in pairwise(items))


def read_manifest(data: bytes, crc: Crc) -> dict[str, Any]:
    """Return the manifest's body."""
    name = "MANIFEST"
    header = _header(MANIFEST, b"JKMAN\r\n\x1a", data, crc)
    if not header:
        raise BadError(name, 0, None, "the header is damaged")
    _, version, reserved, body_bytes, body_checksum, _ = header
    _check_version(name, version, reserved)
    body = data[MANIFEST.size :]
    if len(body) != body_bytes or len(data) > MANIFEST_BYTES_MAX or crc(body, 0) != body_checksum:
        raise BadError(name, MANIFEST.size, None, "the body is damaged")
    try:
        manifest: dict[str, Any] = decode_value(body)
    except MalformedError as error:
        raise BadError(name, MANIFEST.size, None, f"the body is malformed: {error}") from error
    if not _fits(manifest, _SHAPE):
        raise BadError(name, MANIFEST.size, None, "the body has other keys or values than a manifest's")
    segments, snapshots = manifest["segments"], manifest["snapshots"]
    is_right = (
        manifest["kind"] in ("store", "journal")
        and manifest["codec"] in CODECS
        and _ascend([segment["number"] for segment in segments])
        and all(segment["number"] < manifest["next_segment"] for segment in segments)
        and all(segment["end"]["last_lsn"] >= segment["first_lsn"] - 1 for segment in segments if segment["end"])
        and all(newer["lsn"] >= older["lsn"] for newer, older in pairwise(snapshots))
        and all(snapshot["tables"] for snapshot in snapshots)
        and (not snapshots or manifest["pruned_lsn"] <= snapshots[-1]["lsn"])
        and manifest["pruned_lsn"] <= manifest["durable_lsn"]
    )
    if not is_right:
        raise BadError(name, MANIFEST.size, None, "the body contradicts itself")
    return manifest


def _header(layout: struct.Struct, magic: bytes, data: bytes, crc: Crc) -> tuple[Any, ...]:
    """Return the fields of the header that a file begins with; none if it isn't whole."""
    fields = layout.unpack_from(data) if len(data) >= layout.size else (b"",)
    return fields if fields[0] == magic and fields[-1] == crc(data[: layout.size - 4], 0) else ()


def _check_version(name: str, version: int, reserved: int, newest: int = 1) -> None:
    if not 1 <= version <= newest or reserved:
        raise BadError(name, 8, None, f"format version {version}.{reserved} is not this reader's", "unsupported")


# --- Tables


class TableReader:
    """Reads one table, every block of it."""

    def __init__(self, name: str, data: bytes, store: bytes, named: dict[str, Any], crc: Crc) -> None:
        self.name, self.data, self.store, self.named, self.crc = name, data, store, named, crc
        self.salt: int = named["salt"]
        self.blocks: list[tuple[int, int]] = []  # (offset, length) of each, in the order of a walk
        self.data_lengths: list[int] = []
        self.entries: list[tuple[bytes, bytes | None]] = []
        self.lsn = self.below = 0
        self.has_filter = self.is_compressed = False

    def read(self) -> list[tuple[bytes, bytes | None]]:
        """Return the entries in the order of their keys; a deletion's value is None."""
        data, named, size = self.data, self.named, len(self.data)
        if size != named["size_bytes"] or size < TABLE.size + FOOTER.size:
            self._fail(size, f"missing, or not of the {named['size_bytes']} bytes that the manifest names")
        header = _header(TABLE, b"JKTAB\r\n\x1a", data, self.crc) or self._fail(0, "the header is damaged")
        _, version, self.below, salt, store, number, self.lsn, _ = header
        _check_version(self.name, version, 0, newest=3)
        self.has_filter = version > 1
        self.is_compressed = version == 3
        if self.is_compressed and ZSTD is None:
            reason = "its blocks are compressed with zstd, which takes Python 3.14, or the package backports.zstd"
            raise BadError(self.name, 8, None, reason, "unsupported")
        at = size - FOOTER.size
        end_magic, *same, entry_count, tombstones, blocks, data_bytes, root, root_length, root_crc, own = FOOTER.unpack(
            data[at:]
        )
        if end_magic != b"JKTEND\r\n" or self._crc(at, data[at:-4]) != own:
            self._fail(at, "the footer is damaged")
        found = (store, number, salt, own, entry_count)
        expected = (self.store, named["number"], self.salt, named["footer_crc"], named["entry_count"])
        if found != expected or same != [version, self.below, store, number, self.lsn]:
            self._fail(0, "this is another table than the manifest names")
        if root + root_length != at or data[at - 4 : at] != U32.pack(root_crc):
            self._fail(at, "the footer names another root")
        self._index(root, root_length, None)
        end = TABLE.size
        for offset, length in sorted(self.blocks):
            end = end + length if offset == end else 0
        keys = [key for key, _ in self.entries]
        counts = (len(keys), self._tombstones(0), len(self.data_lengths), sum(self.data_lengths), end)
        if counts != (entry_count, tombstones, blocks, data_bytes, at) or not _ascend(keys):
            self._fail(at, "blocks, keys or counts are not those of the footer")
        return self.entries

    def _fail(self, offset: int, reason: str) -> Any:
        raise BadError(self.name, offset, None, reason)

    def _crc(self, at: int, data: bytes) -> int:
        return self.crc(data, (self.salt + at) & U32_MASK)

    def _tombstones(self, start: int) -> int:
        return sum(value is None for _, value in self.entries[start:])

    def _body(self, at: int, length: int) -> bytes:
        """Return a block without its checksum."""
        body = self.data[at : at + length - 4]
        if len(body) < 5 or self._crc(at, body) != U32.unpack_from(self.data, at + length - 4)[0]:
            self._fail(at, "a block is damaged")
        self.blocks.append((at, length))
        return body

    def _index(self, at: int, length: int, level: int | None) -> None:
        body = self._body(at, length)
        count, own_level = struct.unpack_from("<IB", body)
        key_at = 5 + count * INDEX_ENTRY.size
        if own_level >= INDEX_LEVELS_MAX or not (level is None or (own_level == level and count)):
            self._fail(at, "an index of another level")
        filters_begin = len(self.entries)
        lengths: list[int] = []
        if count > INDEX_ENTRIES_MAX or key_at > len(body) or length > INDEX_BYTES_MAX:
            self._fail(at, "an index of another size")
        for place in range(5, key_at, INDEX_ENTRY.size):
            first_bytes, last_bytes, child, child_length, *counts = INDEX_ENTRY.unpack_from(body, place)
            first, last = body[key_at : key_at + first_bytes], body[key_at + first_bytes :][:last_bytes]
            key_at += first_bytes + last_bytes
            before = len(self.entries)
            if not TABLE.size <= child < child + child_length <= at:
                self._fail(at, "an index points astray")
            if own_level:
                self._index(child, child_length, own_level - 1)
            else:
                self._data(child, child_length)
                lengths.append(len(self.entries) - before)
            found = [len(self.entries) - before, self._tombstones(before)]
            if found != counts or (self.entries[before][0], self.entries[-1][0]) != (first, last):
                self._fail(at, "index and block differ")
        if key_at != len(body):
            self._fail(at, "an index of another size")
        if self.has_filter and not own_level:
            self._filter(at, lengths, filters_begin)

    def _filter(self, end: int, lengths: list[int], first_entry: int) -> None:
        """Read the filter pages in front of an index block, whose data blocks have so many entries."""
        counts = [sum(lengths[first : first + PAGE_BLOCKS]) for first in range(0, len(lengths), PAGE_BLOCKS)]
        at = end - sum(8 + 2 * count for count in counts)
        if at < TABLE.size:
            self._fail(end, "a filter is missing")
        for count in counts:
            body = self._body(at, 8 + 2 * count)
            crcs = [self.crc(key, 0) for key, _ in self.entries[first_entry : first_entry + count]]
            if body != U32.pack(count) + bytes(crc >> 24 for crc in crcs) + bytes(crc >> 16 & 0xFF for crc in crcs):
                self._fail(at, "a filter of other keys")
            at, first_entry = at + 8 + 2 * count, first_entry + count

    def _plain(self, at: int, body: bytes) -> bytes:
        """Return the body of a data block as it is uncompressed."""
        if not self.is_compressed or body[:4] != U32.pack(1):
            return body
        _, size, frame_bytes = struct.unpack_from("<III", body.ljust(12, b"\0"))
        if len(body) != 12 + frame_bytes or not len(body) < size <= PACKED_BYTES_MAX:
            self._fail(at, "a compressed block of another size")
        reader = ZSTD.ZstdDecompressor(options={ZSTD.DecompressionParameter.window_log_max: 24})
        try:
            plain: bytes = reader.decompress(body[12:], size + 1)
        except ZSTD.ZstdError:
            self._fail(at, "a compressed block that can't be read")
        if len(plain) != size or not reader.eof or reader.unused_data:
            self._fail(at, "a compressed block of another size")
        return plain

    def _data(self, at: int, length: int) -> None:
        body = self._plain(at, self._body(at, length))
        begin = start = U32.unpack_from(body)[0]
        count, rest = divmod(start - 4, 7)
        if rest or count < 1 or start > len(body):
            self._fail(at, "a block without entries")
        for number in range(count):
            key_bytes, end = ENTRY.unpack_from(body, 4 + 6 * number)
            middle = end if key_bytes == TOMBSTONE else begin + key_bytes
            key = body[begin:middle]
            if not begin <= middle <= end <= len(body) or self.crc(key, 0) & 0xFF != body[start - count + number]:
                self._fail(at, "an entry of another place or fingerprint")
            self.entries.append((key, None if key_bytes == TOMBSTONE else body[middle:end]))
            begin = end
        self.data_lengths.append(length)
        if begin != len(body):
            self._fail(at, "bytes behind the entries")


def read_snapshot(files: Mapping[str, bytes], store: bytes, snapshot: dict[str, Any], crc: Crc) -> State:
    """Return what the tables of a snapshot come to; the newest is named first."""
    state: State = {}
    lsn, below = -1, WHOLE
    for named in reversed(snapshot["tables"]):
        name = f"table-{named['number']:016}.jkt"
        table = TableReader(name, files.get(name, b""), store, named, crc)
        _apply(state, table.read())
        is_newest = named is snapshot["tables"][0]
        if table.below != below or table.lsn <= lsn or is_newest != (table.lsn == snapshot["lsn"]):
            raise BadError(name, 0, None, "this table doesn't belong where the manifest names it")
        lsn, below = table.lsn, 1 + table.lsn % U16_MAX
    return state


# --- The log


@dataclass(slots=True)
class Segment:
    """One segment of the log, and where its frames end."""

    entry: dict[str, Any]
    name: str
    data: bytes
    first_lsn: int = 0
    last_lsn: int = 0
    end: int = 0
    checksum: int = 0
    is_sealed: bool = False

    def fail(self, offset: int, reason: str, kind: str = "damaged") -> None:
        """Say what is wrong, at the record that it costs first."""
        raise BadError(self.name, offset, self.last_lsn + 1, reason, kind)


def _segment_header(data: bytes, crc: Crc) -> tuple[Any, ...]:
    header = _header(SEGMENT, b"JKLOG\r\n\x1a", data, crc)
    return header if header and header[11] < header[8] else ()


class Log:
    """Reads the segments that a manifest names, for a state that begins at the LSN `base`."""

    def __init__(self, files: Mapping[str, bytes], crc: Crc, judgement: Judgement, base: int) -> None:
        self.files, self.crc, self.judgement, self.base = files, crc, judgement, base
        self.manifest = manifest = judgement.manifest
        self.segments: list[Segment] = []
        self.promises = [(manifest["durable_lsn"], "the manifest"), (manifest["pruned_lsn"], "the manifest")]
        self.promises += [(snapshot["lsn"], "a snapshot") for snapshot in manifest["snapshots"]]

    def read(self) -> None:
        """Read all of them, then ask whether everything promised is there."""
        slot = self._slot()
        for entry in self.manifest["segments"]:
            name = f"log-{entry['number']:016}.jks"
            last_lsn = self.segments[-1].last_lsn if self.segments else self.manifest["pruned_lsn"]
            segment = Segment(entry, name, self.files.get(name, b""), last_lsn=last_lsn)
            if name not in self.files:
                segment.fail(0, "missing")
            if self._begins(segment):
                self._connect(segment)
                self._walk(segment)
                self.segments.append(segment)
            elif any(segment.data):
                self._search(segment, 0)
                self._note("torn", segment, "bytes in a segment that has not begun")
            if slot and slot[0] == entry["number"] and segment.end < slot[1]:
                segment.fail(segment.end, f"the durable slot promises the bytes up to {slot[1]}")
        last = self.segments[-1] if self.segments else Segment({}, "MANIFEST", b"", 0, self.manifest["pruned_lsn"])
        self.judgement.last_lsn = last.last_lsn
        lsn, who = max(self.promises)
        if lsn > last.last_lsn:
            last.fail(last.end, f"{who} promises the records up to {lsn}")

    def _note(self, kind: str, segment: Segment, reason: str) -> None:
        self.judgement.findings.append(Finding(kind, segment.name, segment.end, segment.last_lsn + 1, reason))

    def _slot(self) -> tuple[int, int] | None:
        """Return the segment and the bytes that the durable slot promises, if it promises anything."""
        data, manifest = self.files.get("durable", b""), self.manifest
        slot = _header(SLOT, b"JKD1", data, self.crc)
        if not slot or len(data) != SLOT.size or slot[1:3] != (0, manifest["store"]):
            return None
        writer, epoch, number, end, lsn = slot[3:8]
        if (epoch, writer) != (manifest["epoch"], manifest["writer"]) and epoch <= manifest["epoch"]:
            return None
        is_named = number in [entry["number"] for entry in manifest["segments"]]
        is_pruned = number < manifest["next_segment"] and lsn <= manifest["pruned_lsn"]
        if epoch > manifest["epoch"] or not (is_named or is_pruned):
            raise BadError("MANIFEST", 0, lsn, f"an older copy: the slot is of epoch {epoch}, segment {number}")
        self.promises.append((lsn, "the durable slot"))
        return number, end

    def _begins(self, segment: Segment) -> bool:
        """Check a segment's header, and say whether it was begun at all."""
        entry, header = segment.entry, _segment_header(segment.data, self.crc)
        if not header:
            if entry["first_lsn"]:
                segment.fail(0, "the header is damaged")
            return False
        _, version, reserved, salt, store, _, epoch, number, first_lsn, *_ = header
        _check_version(segment.name, version, reserved)
        found = (store, number, salt, epoch)
        expected = (self.manifest["store"], entry["number"], entry["salt"], entry["epoch"])
        if found != expected or entry["first_lsn"] not in (0, first_lsn):
            segment.fail(0, "this is another segment than the manifest names")
        segment.first_lsn, segment.last_lsn, segment.end = first_lsn, first_lsn - 1, SEGMENT.size
        return True

    def _connect(self, segment: Segment) -> None:
        """Compare what a segment says of the one before it with that one."""
        number, last_lsn, end, checksum = SEGMENT.unpack_from(segment.data)[10:14]
        if not self.segments:
            if last_lsn > self.manifest["pruned_lsn"]:
                segment.fail(80, f"segment {number} before it is missing")
            return
        before = self.segments[-1]
        if before.end < end or before.last_lsn < last_lsn or not (before.is_sealed or before.entry["end"]):
            before.fail(before.end, "the next segment promises more than is there")
        if (number, last_lsn, end, checksum) != (before.entry["number"], before.last_lsn, before.end, before.checksum):
            segment.fail(80, "it names another end of the segment before it")

    def _walk(self, segment: Segment) -> None:
        """Read a segment's frames. One that ends at or below the base needn't be whole for the state to be."""
        end = segment.entry["end"]
        try:
            self._scan(segment, len(segment.data) if not end or end["sealed"] else end["end_bytes"])
            found = (segment.last_lsn, segment.end, segment.checksum, segment.is_sealed)
            if end and found != (end["last_lsn"], end["end_bytes"], end["checksum"], end["sealed"]):
                segment.fail(segment.end, f"the manifest ends it at LSN {end['last_lsn']}, byte {end['end_bytes']}")
        except BadError as bad:
            if not end or end["last_lsn"] > self.base or end["end_bytes"] > len(segment.data):
                raise
            self.judgement.findings.append(bad.finding)
            segment.last_lsn, segment.end = end["last_lsn"], end["end_bytes"]
            segment.checksum, segment.is_sealed = end["checksum"], end["sealed"]

    def _scan(self, segment: Segment, limit: int) -> None:
        """Walk whole frames from the beginning to the first that isn't, and judge what stands there."""
        kind_here = BATCH if self.manifest["kind"] == "store" else RECORD
        while not segment.is_sealed and segment.end < limit:
            at = segment.end
            fields, payload = self._frame(segment, at)
            if not fields:
                break
            checksum, _, _, _, kind, flags, lsn, time_us, durable_lsn = fields
            if flags & 0x7F or not (1 <= kind <= SEAL or kind >= IGNORABLE):
                segment.fail(at, f"a frame of kind {kind}, flags {flags}", "unsupported")
            if kind == SEAL:
                if lsn != segment.last_lsn or payload != SEAL_PAYLOAD.pack(segment.first_lsn, lsn):
                    segment.fail(at, "the seal doesn't fit the records")
                segment.is_sealed = True
            elif lsn != segment.last_lsn + 1:
                segment.fail(at, f"record {lsn} follows record {segment.last_lsn}")
            elif kind < IGNORABLE and kind != kind_here:
                segment.fail(at, f"a frame of kind {kind} in a {self.manifest['kind']}")
            else:
                self.judgement.records.append(Record(lsn, kind, time_us, durable_lsn, segment.name, at, payload))
                segment.last_lsn = lsn
            segment.end, segment.checksum = at + FRAME.size + len(payload), checksum
        if not segment.data.startswith(bytes(max(limit - segment.end, 0)), segment.end):
            if segment.is_sealed:
                segment.fail(segment.end, "bytes behind the seal")
            self._search(segment, segment.end)
            self._note("torn", segment, "a frame that is not whole")

    def _frame(self, segment: Segment, at: int) -> tuple[tuple[int, ...], bytes]:
        """Return a frame's fields and its payload; no fields if it isn't whole."""
        data, salt, begin = segment.data, segment.entry["salt"], at + FRAME.size
        if begin > len(data):
            return (), b""
        fields = FRAME.unpack_from(data, at)
        if fields[3] != FRAME_MAGIC or self.crc(data[at + 4 : begin], (salt + at) & U32_MASK) != fields[0]:
            return (), b""
        payload = data[begin : begin + fields[2]] if fields[2] <= PAYLOAD_BYTES_MAX else b""
        is_whole = len(payload) == fields[2] and self.crc(payload, (salt + begin) & U32_MASK) == fields[1]
        return (fields if is_whole else ()), payload

    def _search(self, segment: Segment, at: int) -> None:
        """Look behind a bad frame for whole ones, for what they promise; not inside of them."""
        magic = FRAME_MAGIC.to_bytes(2, "little")
        while (found := segment.data.find(magic, at + FRAME_MAGIC_OFFSET)) >= 0:
            fields, payload = self._frame(segment, found - FRAME_MAGIC_OFFSET)
            at = found - FRAME_MAGIC_OFFSET + (FRAME.size + len(payload) if fields else 1)
            if fields and (fields[4] == SEAL or fields[8] > segment.last_lsn):
                segment.fail(segment.end, f"the frame at {found - FRAME_MAGIC_OFFSET} promises more than is there")


# --- The whole


def judge(files: Mapping[str, bytes], crc: Crc = crc32c) -> Judgement:
    """Judge a directory by the bytes of its files.

    `crc(data, seed)` may be replaced by a faster CRC32C.
    """
    judgement = Judgement()
    try:
        if "MANIFEST" in files:
            judgement.manifest = read_manifest(files["MANIFEST"], crc)
            judgement.state = _recover(files, crc, judgement)
        elif "restore.tmp" in files:
            return judgement  # of a restore that was cut short
        elif any(re.match(r"log-\d{16}\.jks$|table-\d{16}\.jkt$|durable$|reserve$|quarantine", name) for name in files):
            raise BadError("MANIFEST", 0, None, "missing beside other files of a store")
        else:
            return judgement
    except BadError as bad:
        judgement.refusal = bad.finding
        judgement.findings.append(bad.finding)
    judgement.verdict = next((kind for kind in ("unsupported", "damaged", "torn") if judgement.files(kind)), "sound")
    return judgement


def _recover(files: Mapping[str, bytes], crc: Crc, judgement: Judgement) -> State:
    """Return the newest sound snapshot with the log behind it."""
    manifest = judgement.manifest
    sound: list[tuple[int, State]] = []
    for snapshot in manifest["snapshots"]:
        try:
            sound.append((snapshot["lsn"], read_snapshot(files, manifest["store"], snapshot, crc)))
        except BadError as bad:
            if bad.finding.kind == "unsupported" and not sound:
                raise  # a later version's state is left to it, whatever older one is sound
            judgement.findings.append(bad.finding)
    base, state = sound[0] if sound else (0, {})
    if base < manifest["pruned_lsn"] and manifest["kind"] == "store":
        file = judgement.findings[0].file if judgement.findings else "MANIFEST"
        raise BadError(file, 0, None, "no snapshot is sound, and the log doesn't reach back")
    judgement.snapshot_lsn = base
    Log(files, crc, judgement, max(base, manifest["pruned_lsn"])).read()
    _check_strays(files, manifest, crc)
    for record in judgement.records:
        if record.kind != BATCH:
            continue
        try:
            _apply(state if record.lsn > base else {}, entries(record))
        except BadError as bad:
            if record.lsn > base:
                raise
            judgement.findings.append(bad.finding)  # the snapshot stands in for it
    return state


def _apply(state: State, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
    for key, value in changes:
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value


def _check_strays(files: Mapping[str, bytes], manifest: dict[str, Any], crc: Crc) -> None:
    """Refuse segments that the manifest can't know yet: it is an older copy, or they are copies."""
    named = {segment["number"] for segment in manifest["segments"]}
    for name, data in files.items():
        match = re.fullmatch(r"log-(\d{16})\.jks", name)
        if not match or int(match[1]) in named or int(match[1]) < manifest["next_segment"]:
            continue
        header = _segment_header(data, crc)
        if header and (header[4], header[7]) != (manifest["store"], int(match[1])):
            raise BadError(name, 0, None, "a segment of another place")
        if any(data[SEGMENT.size :]):
            raise BadError(name, SEGMENT.size, None, "the manifest doesn't know this segment: it is an older copy")


def entries(record: Record) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the entries of a batch; a deletion's value is None."""
    payload, end = record.payload, 0
    while end < len(payload):
        head = payload[end : end + ENTRY.size].ljust(ENTRY.size, b"\0")
        key_bytes, value_bytes = ENTRY.unpack(head)
        key_at, value_at = end + ENTRY.size, end + ENTRY.size + key_bytes
        end = value_at + (0 if value_bytes == DELETED else value_bytes)
        if end > len(payload) or not 1 <= key_bytes <= KEY_BYTES_MAX:
            raise BadError(record.file, record.offset, record.lsn, "the batch is malformed")
        yield payload[key_at:value_at], None if value_bytes == DELETED else payload[value_at:end]


# --- The program


def _shown(decode: Callable[..., Any], *data: bytes) -> str:
    try:
        return repr(decode(*data))
    except MalformedError as error:
        return f"{data[0].hex()} ({error})"


def _changes(record: Record, judgement: Judgement) -> Iterator[str]:
    """Yield what a record says, a line each."""
    if record.kind == RECORD:
        yield _shown(judgement.decode, record.payload)
    elif record.kind != BATCH:
        yield f"kind {record.kind}, {len(record.payload)} bytes"
    else:
        try:
            for key, value in entries(record):
                name = _shown(decode_key, key)
                yield f"del {name}" if value is None else f"{name} = {_shown(judgement.decode, value, key)}"
        except BadError as bad:
            yield f"({bad})"


def _time(time_us: int) -> str:
    try:
        return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us):%F %T}"
    except OverflowError:
        return f"{time_us} us"


def _lines(judgement: Judgement, *, with_records: bool, with_state: bool) -> Iterator[str]:
    """Yield what there is to say of a directory."""
    facts = {"verdict": judgement.verdict}
    if manifest := judgement.manifest:
        facts |= {name: manifest[name] for name in ("kind", "codec", "epoch", "generation", "pruned_lsn")}
        facts |= {"snapshot_lsn": judgement.snapshot_lsn, "last_lsn": judgement.last_lsn}
    yield from (f"{name + ':':<14}{value}" for name, value in facts.items())
    for kind, file, offset, lsn, reason in judgement.findings:
        yield f"{kind + ':':<14}{file} at {offset}, LSN {lsn}: {reason}"
    for record in judgement.records if with_records else ():
        yield f"LSN {record.lsn}, {_time(record.time_us)}, {record.file} at {record.offset}"
        yield from (f"    {change}" for change in _changes(record, judgement))
    for key, value in sorted((judgement.state or {}).items()) if with_state else ():
        yield f"{_shown(decode_key, key)} = {_shown(judgement.decode, value, key)}"


def main(arguments: list[str] | None = None) -> int:
    """Read a directory, print what is in it, return the exit code."""
    parser = argparse.ArgumentParser(description="Read a journalkit store or journal, and judge it.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--records", action="store_true", help="list the records of the log")
    parser.add_argument("--state", action="store_true", help="list the state: every key and its value")
    options = parser.parse_args(arguments)
    if not options.path.is_dir():
        parser.error(f"{options.path} is no directory")
    judgement = judge({path.name: path.read_bytes() for path in sorted(options.path.iterdir()) if path.is_file()})
    for line in _lines(judgement, with_records=options.records, with_state=options.state):
        print(line)
    return {"sound": 0, "torn": 1}.get(judgement.verdict, 2)


if __name__ == "__main__":
    sys.exit(main())
