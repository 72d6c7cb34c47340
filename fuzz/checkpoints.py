"""The targets `checkpoint` and `tree`: manifests of checkpoints and their trees, from anywhere, decoded and loaded."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from random import Random

import journalkit
from fuzz.directories import edit_manifest
from fuzz.mutation import mutate
from fuzz.target import Target, require
from journalkit.checkpoint.loading import Manifest
from journalkit.checkpoint.pack import Known
from journalkit.checkpoint.saved import SavedArray, SavedBytes, SavedFile
from journalkit.checkpoint.saved_store import SavedStore
from journalkit.checkpoint.saving import SaveOptions, write_checkpoint
from journalkit.checkpoint.tree import capture
from journalkit.errors import CorruptionError, UnsupportedFormatError, UsageError
from journalkit.format import checkpoint, names
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.names import table_name
from journalkit.format.nodes import (
    ArrayNode,
    BytesNode,
    Chunked,
    FileNode,
    GroupsNode,
    ShardNode,
    StoreNode,
    TableNode,
    TensorNode,
    walk,
)
from journalkit.format.tree import decode_tree, encode_tree
from journalkit.format.values import same
from journalkit.fs.memory import MemoryFileSystem
from journalkit.objects.directory import DirectoryObjects
from journalkit.testing import SimulatedClock

_JOB = bytes(16)
_LENGTHS = (70_000, 80)
_READ_BYTES = 100


@cache
def _saved() -> tuple[bytes, bytes]:
    """Return a pack and the manifest that names it."""
    objects = DirectoryObjects("/job", MemoryFileSystem())
    state = {"long": bytes(range(256)) * 300, "zeros": bytearray(70_000), "short": [1, {"x": (2.5, None)}]}
    with journalkit.open("memory://", compaction="manual", clock=SimulatedClock()) as store:
        store.update({number: number * "x" for number in range(50)})
        store.compact()
        store.put("last", 1)
        captured = capture(state | {"store": store})
    written = write_checkpoint(
        objects, job=_JOB, epoch=1, save=1, captured=captured, time_us=7, offsets={"in": 1}, metrics={"loss": 0.5},
        known=Known("sha256"), options=SaveOptions("sha256", threads=0),
    )  # fmt: skip
    return objects.get(names.pack_key(1, 1, 0)) or b"", objects.get(written.manifest_key) or b""


def checkpoint_seeds(chance: Random) -> Iterable[bytes]:
    """Manifests of a save, and of one that stands on others."""
    data = _saved()[1]
    yield data
    said = checkpoint.decode_manifest(data)
    packs = tuple(replace(said.packs[0], save=save) for save in range(1, 4))
    first = said.chunked[0]
    cut = checkpoint.ChunkList(700, 0, (300, 400), chance.randbytes(64), bytes(8), (2, 600, 2), (300, 20))
    yield checkpoint.encode_manifest(replace(said, save=3, packs=packs, chunked=(*said.chunked, cut)))
    tree = encode_tree({"a": ArrayNode("<f8", (2, 2), False, bytes(32)), "b": Chunked(0)})
    yield checkpoint.encode_manifest(replace(said, tree=tree, chunked=(first,), name="x", metadata=[1]))
    yield checkpoint.encode_manifest(replace(said, tree=b"\xf6", chunked=(), packs=(), digest="blake3"))
    mine = checkpoint.PartEntry(tree, 0, 1)
    parts = (mine, replace(mine, first=1), checkpoint.PartEntry(0, 2, 1))
    yield checkpoint.encode_manifest(replace(said, tree=b"", chunked=(first, first, first), parts=parts))


def mutate_checkpoint(data: bytes, chance: Random) -> bytes:
    """Change what a manifest says, or its bytes, and make the checksums right: they are where every document's are."""
    return edit_manifest(data if chance.random() < 0.5 else mutate(data, chance), chance)


def run_checkpoint(data: bytes) -> None:
    """What is accepted comes back; a place that has it is looked at and read without another error than ours."""
    try:
        said = checkpoint.decode_manifest(data)
    except (MalformedError, NewerFormatError):
        return
    again = checkpoint.decode_manifest(checkpoint.encode_manifest(said))
    require(repr(again) == repr(said), f"{said!r:.300} comes back as {again!r:.300}")
    objects = DirectoryObjects("/job", MemoryFileSystem())
    for pack in said.packs[:3]:
        objects.put(names.pack_key(pack.epoch, pack.save, pack.part), (_saved()[0],))
    manifest = Manifest(objects, "manifest", said)
    with suppress(CorruptionError, UnsupportedFormatError, UsageError):
        tree = manifest.load(lazy=True)
        waiting = [tree]
        while waiting:
            found = waiting.pop()
            if isinstance(found, SavedBytes):
                found[:_READ_BYTES]
            elif isinstance(found, SavedFile):
                found.read(0, _READ_BYTES)
            elif isinstance(found, SavedArray) and found.size_bytes < 1 << 20:
                found.read()
            elif isinstance(found, SavedStore):
                with suppress(CorruptionError, UnsupportedFormatError, UsageError):
                    found.restore("memory://", compaction="manual", clock=SimulatedClock()).close()
            elif isinstance(found, dict):
                waiting += found.values()
            elif isinstance(found, list | tuple):
                waiting += found
    with suppress(UnsupportedFormatError):
        manifest.verify()
    require(all(use.used_bytes <= use.pack.pack_bytes for use in manifest.packs().values()), "more is used than is")


def tree_seeds(chance: Random) -> Iterable[bytes]:
    """A tree with a node of each kind, and its parts."""
    array = ArrayNode(">f4", (2, 3), False, chance.randbytes(24))
    record = ArrayNode((("x", "<i4"), ("y", "<f8", (2,))), (1,), False, bytes(20))
    tables = (TableNode(7, Chunked(1)), TableNode(3, Chunked(0)))
    parts = [
        array, record, replace(array, by_columns=True), ArrayNode("|b1", (), False, b"\1", is_scalar=True),
        TensorNode(ArrayNode("bfloat16", (2,), False, bytes(4)), True, False, "cpu"), BytesNode("bytearray", b"x"),
        BytesNode("memoryview", Chunked(0)), Chunked(1), FileNode("a.bin", b"few"), (1, {2}, "x"), {"a": 1.5},
        GroupsNode(8, {1: BytesNode("bytes", b"x"), 7: BytesNode("bytes", Chunked(1))}),
        ShardNode(array, (4, 4), (1, 1)), StoreNode(bytes(16), "raw", 5, 0, 0, 1, b"\xa0", ()),
        StoreNode(bytes(16), "cbor", 5, 2, 9, 8, b"\xa1\x61a\x01", tables),
    ]  # fmt: skip
    yield from map(encode_tree, parts)
    yield encode_tree({f"{at}": part for at, part in enumerate(parts)})


def run_tree(data: bytes) -> None:
    """What is accepted comes back, and each node is at a place."""
    try:
        tree = decode_tree(data, _LENGTHS)
    except MalformedError:
        return
    again = decode_tree(encode_tree(tree), _LENGTHS)
    # Not by its text: a set tells its members in the order in which they came.
    require(same(again, tree), f"{tree!r:.300} comes back as {again!r:.300}")
    for steps, node in walk(tree):
        found = tree
        for step in steps:
            tables = {table_name(each.number): each for each in found.tables} if isinstance(found, StoreNode) else found
            found = tables[step]
        found = found.array if isinstance(found, ShardNode) else found
        require(found is node, f"{steps} don't lead to {node!r:.100}")


TARGETS = (
    Target("checkpoint", "manifests of checkpoints", checkpoint_seeds, run_checkpoint, mutate_checkpoint),
    Target("tree", "trees of states", tree_seeds, run_tree),
)
