"""The bytes of a checkpoint's manifest, and of the head of a pack.

A manifest says what one checkpoint is: its tree, where the chunks of the
tree's long bytes lie, in which packs, and what the job said with it. A pack is
a header and chunks behind one another; it knows nothing of what they are.

A manifest names chunks of its own save's packs and of older ones. Who may read
which, and how long they stay, is decided in `journalkit.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, Final

from journalkit.format.checksum import checksum
from journalkit.format.envelope import Bounds, Envelope, names_of, plain_of
from journalkit.format.head import (
    DIGEST_BYTES,
    METRICS_MAX,
    NAME_CHARACTERS_MAX,
    NONCE_BYTES,
    NUMBER_MAX,
    OPTIONAL,
    check_restores,
)
from journalkit.format.layout import Field, Layout
from journalkit.format.malformed import MalformedError
from journalkit.format.nodes import SIZE_MAX

MAGIC: Final = b"JKCHK\r\n\x1a"
PACK_MAGIC: Final = b"JKPCK\r\n\x1a"
VERSION: Final = 1
MANIFEST_BYTES_MAX: Final = 256 << 20
"""What is larger isn't one: the chunks of 4 TiB have their digests in half of it."""
CHUNK_BYTES_MAX: Final = 64 << 20
PART_MAX: Final = 999_999
"""The largest number of a part: keys have six digits."""
DIGESTS: Final = ("sha256", "blake3")

_MANIFEST: Final = Envelope("manifest", MAGIC, VERSION, "a checkpoint")

PACK_HEADER = Layout(
    Field("magic", "8s", "`JKPCK\\r\\n\\x1a`"),
    Field("version", "H", "format version of the checkpoints, 1"),
    Field("reserved", "H", "zero"),
    Field("part", "I", "which part of the save, from 0"),
    Field("job", "16s", "that of the heads"),
    Field("epoch", "Q", "incarnation of the writer"),
    Field("save", "Q", "which of its saves"),
    Field("padding", "12s", "zeros, so that the chunks begin at a multiple of 64"),
    Field("header_checksum", "I", "CRC32C of all bytes before it"),
)
PACK_HEADER_BYTES: Final = PACK_HEADER.size
ALIGNMENT: Final = 64
_CRC_BYTES: Final = 4
CHECK_BYTES: Final = 4
_RUN: Final = 3
_OPTIONAL: Final = ("parts", OPTIONAL)
"""Fields that are only there if they say something."""
_EXPANSION_BITS: Final = 16
"""Zstandard says 128 KiB of one byte in four: nothing that it writes expands by more."""
_BOUNDS: Final = Bounds(
    {**dict.fromkeys(("epoch", "save"), NUMBER_MAX), "part": PART_MAX, "chunk_bytes": CHUNK_BYTES_MAX},
    SIZE_MAX,
    {"job": NONCE_BYTES},
)


@dataclass(frozen=True, slots=True)
class PackEntry:
    """One pack that a checkpoint needs: which save wrote it, as which part, and how long it is."""

    epoch: int
    save: int
    part: int
    pack_bytes: int


@dataclass(frozen=True, slots=True)
class ChunkList:
    """Long bytes: how they are cut, what each chunk's digest is, and where the chunks lie.

    All chunks but the last have `chunk_bytes`; where that is 0 `sizes` has the
    length of each. `runs` are triples behind one another: the pack's number,
    an offset in it, and how many chunks lie there behind one another. `checks`
    are the chunks' CRC32C: what a load checks, in a fifth of the time. `stored`
    is empty, or tells how many bytes stand for each chunk in its pack: fewer
    than it has if it is compressed.
    """

    length: int
    chunk_bytes: int
    sizes: tuple[int, ...]
    digests: bytes
    checks: bytes
    runs: tuple[int, ...]
    stored: tuple[int, ...] = ()

    def __len__(self) -> int:
        """How many chunks there are."""
        return len(self.digests) // DIGEST_BYTES

    def lengths(self) -> Iterator[int]:
        """Yield the length of each chunk."""
        if not self.chunk_bytes:
            return iter(self.sizes)
        last = self.length - (len(self) - 1) * self.chunk_bytes
        return chain(repeat(self.chunk_bytes, len(self) - 1), (last,))


@dataclass(frozen=True, slots=True)
class PartEntry:
    """What one of several workers gave: its tree, and the lists of chunks that are its own.

    The tree counts lists from the part's first, `first` of the manifest; there are `count`. `prepared` is that of its
    own sinks.
    """

    tree: bytes | int
    first: int
    count: int
    prepared: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckpointManifest:
    """What one checkpoint is. `tree` is its CBOR, or the number of the chunk list that has it.

    Of several workers each has a tree in `parts`, by rank, and `tree` is empty.
    `time_us` is a label. `offsets` and `metadata` are the application's,
    `prepared` the handles of its sinks, by their names. `restores` is the id of
    the checkpoint that it brings back, "" as a rule.
    """

    job: bytes
    epoch: int
    save: int
    part: int
    time_us: int
    digest: str
    tree: bytes | int
    chunked: tuple[ChunkList, ...] = ()
    packs: tuple[PackEntry, ...] = ()
    offsets: Mapping[Any, Any] = field(default_factory=dict)
    metadata: Any = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    name: str = ""
    prepared: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[PartEntry, ...] = ()
    restores: str = ""


def encode_manifest(manifest: CheckpointManifest) -> bytes:
    """Return a manifest's bytes.

    Raises:
        MalformedError: It says something that no manifest may.
        UsageError: Offsets or metadata can't be stored.
    """
    check_manifest(manifest)
    plain = plain_of(manifest)
    plain["chunked"] = [_chunks_as_plain(each) for each in manifest.chunked]
    plain["packs"] = [list(plain_of(each).values()) for each in manifest.packs]
    for name in ("offsets", "metrics", "prepared"):
        plain[name] = dict(plain[name])
    plain["parts"] = [_part_as_plain(each) for each in manifest.parts]
    for name in _OPTIONAL:
        if not plain[name]:
            del plain[name]
    data = _MANIFEST.seal_plain(plain)
    if len(data) > MANIFEST_BYTES_MAX:
        raise MalformedError(f"a manifest of {len(data)} bytes is too large")
    return data


def decode_manifest(data: bytes) -> CheckpointManifest:
    """Return what a manifest says.

    Raises:
        MalformedError: It is none, or is damaged.
        NewerFormatError: It is whole, and of a later version.
    """
    if len(data) > MANIFEST_BYTES_MAX:
        raise MalformedError(f"{len(data)} bytes are no checkpoint's manifest")
    manifest: CheckpointManifest = _MANIFEST.open_plain(data, _from_plain)
    return manifest


def encode_pack_header(job: bytes, epoch: int, save: int, part: int) -> bytes:
    """Return what a pack begins with."""
    head = PACK_HEADER.pack(
        magic=PACK_MAGIC, version=VERSION, reserved=0, part=part, job=job, epoch=epoch, save=save,
        padding=bytes(12), header_checksum=0,
    )[:-_CRC_BYTES]  # fmt: skip
    return head + checksum(head).to_bytes(_CRC_BYTES, "little")


def check_pack_header(data: bytes, job: bytes, entry: PackEntry) -> None:
    """Raise MalformedError unless a pack begins as the one that a manifest names does."""
    if data[:PACK_HEADER_BYTES] != encode_pack_header(job, entry.epoch, entry.save, entry.part):
        raise MalformedError("it is another pack than its name says, or its header is damaged")


def check_manifest(manifest: CheckpointManifest) -> None:
    """Raise MalformedError where fields contradict each other: whole bytes can still be wrong."""
    _BOUNDS.check(manifest)
    if manifest.digest not in DIGESTS:
        raise MalformedError(f"the digest is {manifest.digest!r:.50}")
    _check_parts(manifest)
    if len(manifest.name) > NAME_CHARACTERS_MAX:
        raise MalformedError("the name is too long")
    check_restores(manifest.restores)
    if type(manifest.offsets) is not dict:
        raise MalformedError("the offsets are no map")
    _check_prepared(manifest.prepared)
    if type(manifest.metrics) is not dict or len(manifest.metrics) > METRICS_MAX:
        raise MalformedError("the metrics are no map of some names")
    if any(type(name) is not str or type(value) is not float for name, value in manifest.metrics.items()):
        raise MalformedError("a metric is no float by name")
    for pack in manifest.packs:
        _BOUNDS.check(pack)
        if pack.epoch > manifest.epoch:
            raise MalformedError("a pack is of an epoch to come")
    if len({(pack.epoch, pack.save, pack.part) for pack in manifest.packs}) != len(manifest.packs):
        raise MalformedError("a pack is named twice")
    for chunks in manifest.chunked:
        _check_chunks(chunks, manifest.packs)


def _check_parts(manifest: CheckpointManifest) -> None:
    """Raise MalformedError unless the trees' lists are there, and those of the parts lie behind one another."""
    if not manifest.parts:
        _check_root(manifest.tree, len(manifest.chunked))
        return
    if manifest.tree != b"" or manifest.prepared or len(manifest.parts) > PART_MAX + 1:
        raise MalformedError("it has a tree or outputs besides those of its parts, or too many of those")
    at = 0
    for part in manifest.parts:
        _require_number(part.first, SIZE_MAX, "a part's first list")
        _require_number(part.count, SIZE_MAX, "a part's number of lists")
        if part.first != at:
            raise MalformedError("the lists of the parts don't lie behind one another")
        _check_root(part.tree, part.count)
        _check_prepared(part.prepared)
        at += part.count
    if at != len(manifest.chunked):
        raise MalformedError("the parts have other lists than there are")


def _check_prepared(prepared: object) -> None:
    """Raise MalformedError unless each sink, by its name, has a list of handles."""
    if type(prepared) is not dict or any(type(name) is not str for name in prepared):
        raise MalformedError("what sinks prepared is no map by their names")
    if any(type(handles) is not list for handles in prepared.values()):
        raise MalformedError("what a sink prepared is no list of handles")


def _check_root(tree: bytes | int, lists: int) -> None:
    if type(tree) is not bytes:
        _require_number(tree, lists - 1, "tree")


def _check_chunks(chunks: ChunkList, packs: tuple[PackEntry, ...]) -> None:
    """Raise MalformedError unless the chunks are as long as all of it, and lie within their packs."""
    _BOUNDS.check(chunks)
    if len(chunks.digests) % DIGEST_BYTES or not chunks.digests:
        raise MalformedError("digests are cut off")
    count = len(chunks)
    if len(chunks.checks) != count * CHECK_BYTES:
        raise MalformedError("checksums are cut off")
    if chunks.chunk_bytes:
        if chunks.sizes or count != -(-chunks.length // chunks.chunk_bytes):
            raise MalformedError(f"{count} chunks of {chunks.chunk_bytes} aren't {chunks.length} bytes")
    else:
        for size in chunks.sizes:
            if type(size) is not int or not 0 < size <= CHUNK_BYTES_MAX:
                raise MalformedError(f"a chunk of {size!r:.50} bytes")
        if len(chunks.sizes) != count or sum(chunks.sizes) != chunks.length:
            raise MalformedError(f"{count} chunks aren't {chunks.length} bytes")
    stored: Any = chunks.lengths()
    if chunks.stored:
        if len(chunks.stored) != count:
            raise MalformedError("not every chunk has a stored length")
        for size, given in zip(chunks.lengths(), chunks.stored, strict=True):
            if type(given) is not int or not 0 < given <= size <= given << _EXPANSION_BITS:
                raise MalformedError(f"a chunk of {size} bytes is stored in {given!r:.50}")
        stored = iter(chunks.stored)
    _check_runs(chunks, packs, tuple(stored) if chunks.stored or not chunks.chunk_bytes else None)


def _check_runs(chunks: ChunkList, packs: tuple[PackEntry, ...], stored: tuple[int, ...] | None) -> None:
    if len(chunks.runs) % _RUN:
        raise MalformedError("a run is cut off")
    at, total = 0, len(chunks)
    for first in range(0, len(chunks.runs), _RUN):
        pack, offset_bytes, count = chunks.runs[first : first + _RUN]
        _require_number(pack, len(packs) - 1, "a run's pack")
        _require_number(offset_bytes, SIZE_MAX, "a run's offset")
        _require_number(count, total - at, "a run's count")
        if not count or offset_bytes < PACK_HEADER_BYTES:
            raise MalformedError("a run is empty, or begins within a header")
        if stored is None:
            size_bytes = min((at + count) * chunks.chunk_bytes, chunks.length) - at * chunks.chunk_bytes
        else:
            size_bytes = sum(stored[at : at + count])
        if offset_bytes + size_bytes > packs[pack].pack_bytes:
            raise MalformedError("a run goes on behind its pack's end")
        at += count
    if at != total:
        raise MalformedError("not every chunk is somewhere")


def _require_number(value: object, most: int, what: str) -> None:
    if type(value) is not int or not 0 <= value <= most:
        raise MalformedError(f"{what} is {value!r:.50}")


def _part_as_plain(part: PartEntry) -> list[Any]:
    """Return a part's fields; where its sinks had prepared nothing it doesn't speak of them."""
    return [part.tree, part.first, part.count, *([dict(part.prepared)] if part.prepared else [])]


def _chunks_as_plain(chunks: ChunkList) -> dict[str, Any]:
    return {name: list(value) if type(value) is tuple else value for name, value in plain_of(chunks).items()}


def _from_plain(plain: object) -> CheckpointManifest:
    if type(plain) is not dict or {*plain, *_OPTIONAL} != set(names_of(CheckpointManifest)):
        raise MalformedError("the fields of a manifest aren't there, or others are")
    parts = []
    for each in _list_of(plain.get("parts", []), "parts"):
        fields = len(names_of(PartEntry))
        if len(_list_of(each, "a part")) not in (fields - 1, fields):
            raise MalformedError("a part has other fields")
        parts.append(PartEntry(*each))
    chunked = tuple(_chunks_from_plain(each) for each in _list_of(plain["chunked"], "chunked"))
    packs = []
    for each in _list_of(plain["packs"], "packs"):
        if len(_list_of(each, "a pack")) != len(names_of(PackEntry)):
            raise MalformedError("a pack has other fields")
        packs.append(PackEntry(*each))
    manifest = CheckpointManifest(**{**plain, "chunked": chunked, "packs": tuple(packs), "parts": tuple(parts)})
    check_manifest(manifest)
    return manifest


def _chunks_from_plain(plain: object) -> ChunkList:
    if type(plain) is not dict or set(plain) != set(names_of(ChunkList)):
        raise MalformedError("the fields of a list of chunks aren't there, or others are")
    tuples = {name: tuple(_list_of(plain[name], name)) for name in ("sizes", "runs", "stored")}
    return ChunkList(**{**plain, **tuples})


def _list_of(value: object, what: str) -> list[Any]:
    if type(value) is not list:
        raise MalformedError(f"{what} is {value!r:.50}")
    return value
