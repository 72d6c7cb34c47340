"""Reading a checkpoint's data: the manifest, and from it the state, all of it or what is asked for.

in memory   all is read and checked, many chunks at once
lazy        handles stand for what is long; they read and check what they are asked for
stores      are always handles; but for a lazy load what they would be made of is read and checked
mapped      arrays that lie in one piece in a directory's pack are mapped and not read at all, nor checked:
            `verify` does that. What can't be mapped is in memory
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from journalkit.checkpoint import arrays
from journalkit.checkpoint.assembling import Pieces, Regions, assembled, put_together
from journalkit.checkpoint.documents import decoded
from journalkit.checkpoint.keyed import Keyed, Shard, entries_of
from journalkit.checkpoint.pack import Progress, places
from journalkit.checkpoint.reading import STEP, ChunkReader, Work
from journalkit.checkpoint.saved import SavedArray, SavedBytes, SavedFile, made_of
from journalkit.checkpoint.saved_store import SavedStore
from journalkit.checkpoint.tree import Steps, place
from journalkit.errors import CorruptionError, KeyValueError
from journalkit.format import names
from journalkit.format.checkpoint import (
    MANIFEST_BYTES_MAX,
    PACK_HEADER_BYTES,
    CheckpointManifest,
    PackEntry,
    PartEntry,
    check_pack_header,
    decode_manifest,
)
from journalkit.format.malformed import MalformedError
from journalkit.format.nodes import (
    COMPOUND,
    ArrayNode,
    BytesNode,
    Chunked,
    FileNode,
    Node,
    ShardNode,
    StoreNode,
    TableNode,
    TensorNode,
    content_of,
    item_bytes_of,
    moved,
    rebuilt,
    walk,
)
from journalkit.format.tree import decode_tree
from journalkit.objects.interface import ReadableObjects
from journalkit.objects.ranges import MappableObjects, distrust

ALONE: Final = (0, 1)
"""The rank of one who works alone, and how many there are."""


@dataclass(frozen=True, slots=True)
class PackUse:
    """What a checkpoint needs of a pack: ranges of its bytes, in order, none touching the next."""

    pack: PackEntry
    ranges: tuple[tuple[int, int], ...]

    @property
    def used_bytes(self) -> int:
        """How many bytes they have."""
        return sum(stop - start for start, stop in self.ranges)


def read_manifest(objects: ReadableObjects, key: str, digest: bytes | None = None) -> Manifest:
    """Return a checkpoint's manifest.

    Raises:
        CorruptionError: It is missing, damaged, or not the one that has this digest.
        UnsupportedFormatError: A later journalkit wrote it.
        ArchiveUnavailableError, StorageError: It can't be read.
    """
    path = f"{objects.where}/{key}"
    data = objects.get(key, length=MANIFEST_BYTES_MAX + 1)
    if data is not None and digest not in (None, hashlib.sha256(data).digest()) and distrust(objects, key):
        data = objects.get(key, length=MANIFEST_BYTES_MAX + 1)
    if data is None:
        raise CorruptionError("a checkpoint's manifest is missing", path=path, next_step=STEP)
    if digest is not None and hashlib.sha256(data).digest() != digest:
        raise CorruptionError("it isn't the manifest that the head names", path=path, next_step=STEP)
    return Manifest(objects, key, decoded(decode_manifest, data, path=path, next_step=STEP))


class Manifest:
    """One checkpoint, as its manifest says: `said` has its fields."""

    def __init__(self, objects: ReadableObjects, key: str, said: CheckpointManifest) -> None:
        self._objects = objects
        self._key = key
        self._maps: dict[str, memoryview | None] = {}
        self.said = said

    @cached_property
    def reader(self) -> ChunkReader:
        """What reads its chunks."""
        return ChunkReader(self._objects, self.said)

    def load(
        self,
        *,
        lazy: bool = False,
        mapped: bool = False,
        paths: Iterable[Steps] | None = None,
        progress: Progress | None = None,
        worker: tuple[int, int] = ALONE,
        regions: Regions | None = None,
    ) -> Any:
        """Return the state.

        Args:
            lazy: Handles stand for what is long: `journalkit.checkpoint.saved`.
            mapped: Arrays that can be are mapped, unchecked; what is changed in them is in memory only.
            paths: Only what these keys lead to is loaded; what is returned maps each of them to what is there.
            progress: Told how many bytes were read, of how many.
            worker: Whose state: rank, and how many there are now.
            regions: Which parts of arrays that are divided are wanted, where it isn't the even ones.

        Raises:
            UsageError: A path leads nowhere, what was saved can't be divided among so many workers, or what is
                loaded takes a library that isn't installed.
            CorruptionError: Something that is loaded is damaged or missing.
            UnsupportedFormatError: It takes a later journalkit, or a package.
            ArchiveUnavailableError, StorageError: It can't be read.
        """
        tree = self._tree_for(worker, regions or {})
        if paths is None:
            return self._made(tree, (), lazy, mapped, progress)
        chosen = {tuple(steps): _at(tree, tuple(steps)) for steps in paths}
        return {steps: self._made(found, steps, lazy, mapped, progress) for steps, found in chosen.items()}

    def verify(self, progress: Progress | None = None) -> list[CorruptionError]:
        """Read all of it and return what is wrong, in the order of the state; nothing if it is sound.

        Raises:
            UnsupportedFormatError: It takes a later journalkit, or a package.
            ArchiveUnavailableError, StorageError: It can't be read.
        """
        found: list[CorruptionError] = []
        for use in self.packs().values():
            found += self._wrong_with(use.pack)
        words: dict[int, str] = {}
        try:
            for part in self._parts():
                words.update((content.index, place(steps)) for steps, content in _chunked(self._tree(part)))
        except CorruptionError as error:
            found.append(error)
        work: list[Work] = []
        # Read to know the words.
        read = {part.first + part.tree for part in self._parts() if isinstance(part.tree, int)}
        for index in range(len(self.said.chunked)):
            if index not in read:
                work += self.reader.whole(index, None, words.get(index, "the state"))
        return found + self.reader.damaged(work, progress)

    def packs(self) -> dict[str, PackUse]:
        """Return what it needs of which packs, by their keys: what garbage collection may not touch."""
        ranges: dict[PackEntry, list[tuple[int, int]]] = {}
        for where, _ in places(self.said):
            ranges.setdefault(where.pack, []).append((where.offset_bytes, where.offset_bytes + where.stored_bytes))
        return {
            names.pack_key(pack.epoch, pack.save, pack.part): PackUse(pack, _merged(found))
            for pack, found in ranges.items()
        }

    def trees(self) -> list[Any]:
        """Return what each worker gave, by rank, with nodes for what is long, which isn't read. Raises as `load`."""
        return [self._tree(part) for part in self._parts()]

    def whole_tree(self) -> Any:
        """Return what all workers gave, put together: nodes, and `Pieces` for divided arrays. Raises as `load`."""
        return self._tree_for(ALONE, {})

    # -- within ---------------------------------------------------------------------------------

    def _parts(self) -> tuple[PartEntry, ...]:
        return self.said.parts or (PartEntry(self.said.tree, 0, len(self.said.chunked)),)

    def _tree(self, part: PartEntry) -> Any:
        """Return a part's tree; its nodes name lists by the numbers that they have in the manifest."""
        first = part.first
        data = part.tree if isinstance(part.tree, bytes) else bytes(self.reader.read(first + part.tree, "the tree"))
        lengths = [listed.length for listed in self.said.chunked[first : first + part.count]]
        try:
            tree = decode_tree(data, lengths)
        except MalformedError as error:
            raise self._senseless("its tree", error) from error
        return rebuilt(tree, lambda _, node: moved(node, first)) if first else tree

    def _tree_for(self, worker: tuple[int, int], regions: Regions) -> Any:
        """Return the tree of a worker: what it gave, or its share of all that was given."""
        rank, size = worker
        parts = self._parts()
        if len(parts) == size and not regions:
            return self._tree(parts[rank])
        return assembled([self._tree(part) for part in parts], rank, size, regions, self._are_one)

    def _are_one(self, one: Node, other: Node) -> bool:
        """Whether two nodes say the same: told by their digests, without reading their bytes."""
        mine, others = content_of(one), content_of(other)
        if not isinstance(mine, Chunked) or not isinstance(others, Chunked):
            return one == other
        first, second = (self.said.chunked[each.index] for each in (mine, others))
        is_same = (first.length, first.digests) == (second.length, second.digests)
        return is_same and moved(other, mine.index - others.index) == one

    def _senseless(self, what: str, error: MalformedError) -> CorruptionError:
        path = f"{self._objects.where}/{self._key}"
        return CorruptionError(f"{what} makes no sense: {error.reason}", path=path, next_step=STEP)

    def _made(self, tree: Any, steps: Steps, lazy: bool, mapped: bool, progress: Progress | None) -> Any:
        if lazy:
            return rebuilt(tree, lambda at, node: self._handle((*steps, *at), self._checked((*steps, *at), node)))
        memory = self._memory(tree, steps, mapped, progress)
        return rebuilt(tree, lambda at, node: self._value((*steps, *at), self._checked((*steps, *at), node), memory))

    def _memory(self, tree: Any, steps: Steps, mapped: bool, progress: Progress | None) -> dict[int, memoryview]:
        """Return the bytes of every list of chunks that a tree names, by number; a store's tables are looked at."""
        memory: dict[int, memoryview] = {}
        tables: dict[int, Steps] = {}
        work: list[Work] = []
        for at, node in walk(tree, steps):
            content = content_of(node)
            if isinstance(node, TableNode):
                tables.setdefault(node.content.index, at)
                continue
            if not isinstance(content, Chunked) or isinstance(node, FileNode) or content.index in memory:
                continue
            found = self._mapped(content.index) if mapped and not isinstance(node, BytesNode) else None
            if found is None:
                size_bytes = self.reader.length(content.index)
                is_array = not isinstance(node, BytesNode)
                found = arrays.empty(size_bytes) if is_array else memoryview(bytearray(size_bytes))
                work += self.reader.whole(content.index, found, place(at))
            memory[content.index] = found
        for index, at in tables.items():
            work += self.reader.whole(index, None, place(at))
        self.reader.fill(work, progress)
        return memory

    def _mapped(self, index: int) -> memoryview | None:
        piece = self.reader.one_piece(index)
        if piece is None or not isinstance(self._objects, MappableObjects):
            return None
        pack, offset_bytes = piece
        key = names.pack_key(pack.epoch, pack.save, pack.part)
        if key not in self._maps:
            self._maps[key] = self._objects.mapped(key)
        whole = self._maps[key]
        length = self.reader.length(index)
        if whole is None or len(whole) < offset_bytes + length:
            reason = "a pack is missing" if whole is None else "the pack ends too early"
            raise CorruptionError(reason, path=self.reader.path_of(pack), next_step=STEP)
        return whole[offset_bytes : offset_bytes + length]

    def _checked(self, steps: Steps, node: Any) -> Any:
        """Return a node whose sizes fit: what takes a library to tell is told here."""
        array = node.array if isinstance(node, TensorNode) else node
        if isinstance(array, ArrayNode) and (isinstance(node, TensorNode) or item_bytes_of(array.kind) is None):
            content = content_of(node)
            size_bytes = self.reader.length(content.index) if isinstance(content, Chunked) else len(content)
            try:
                arrays.check_size(node, size_bytes)
            except MalformedError as error:
                raise self._senseless(place(steps), error) from error
        return node

    def _compound(self, steps: Steps, node: Any, made: Callable[[Steps, Any], Any]) -> Any:
        """Return what holds other nodes, made of what is made of those."""
        if isinstance(node, ShardNode):
            if isinstance(node.array, Pieces):
                array = put_together(node.array, lambda each: self._handle(steps, self._checked(steps, each)))
            else:
                array = made(steps, self._checked(steps, node.array))
            return Shard(array, node.shape, node.offset)
        if isinstance(node, StoreNode):
            return SavedStore(self.reader, node, place(steps))
        keyed = Keyed(groups=node.groups)
        for group, each in node.items():
            data = made((*steps, group), each)
            try:
                keyed.update(entries_of(data if isinstance(data, bytes) else data.read()))
            except MalformedError as error:
                raise self._senseless(place((*steps, group)), error) from error
        return keyed

    def _handle(self, steps: Steps, node: Any) -> Any:
        if isinstance(node, COMPOUND):
            return self._compound(steps, node, self._handle)
        if isinstance(node, FileNode):
            return SavedFile(self.reader, node, place(steps))
        if not isinstance(content_of(node), Chunked):
            return self._value(steps, node, {})
        if isinstance(node, BytesNode):
            return SavedBytes(self.reader, node, place(steps))
        return SavedArray(self.reader, node, place(steps))

    def _value(self, steps: Steps, node: Any, memory: dict[int, memoryview]) -> Any:
        if isinstance(node, COMPOUND):
            return self._compound(steps, node, lambda at, each: self._value(at, each, memory))
        if isinstance(node, FileNode):
            return SavedFile(self.reader, node, place(steps))
        content = content_of(node)
        data = memory[content.index] if isinstance(content, Chunked) else memoryview(content)
        if isinstance(node, BytesNode):
            if node.kind == "bytearray":
                return data.obj if isinstance(data.obj, bytearray) else bytearray(data)
            return bytes(data) if node.kind == "bytes" else memoryview(bytes(data))
        if not isinstance(content, Chunked):
            data = memoryview(bytearray(data))
        return made_of(node, data)

    def _wrong_with(self, pack: PackEntry) -> Iterator[CorruptionError]:
        """Yield what is wrong with a pack as such: it is missing, ends too early, or is another one."""
        key = names.pack_key(pack.epoch, pack.save, pack.part)
        path = self.reader.path_of(pack)
        status = self._objects.status(key)
        if status is None:
            yield CorruptionError("a pack is missing", path=path, next_step=STEP)
            return
        if status.size_bytes != pack.pack_bytes:
            reason = f"it has {status.size_bytes} bytes, and had {pack.pack_bytes}"
            yield CorruptionError(reason, path=path, next_step=STEP)
        try:
            header = self._objects.get(key, length=PACK_HEADER_BYTES)
            check_pack_header(header or b"", self.said.job, pack)
        except MalformedError as error:
            yield CorruptionError(error.reason, path=path, offset_bytes=0, next_step=STEP)


def _at(tree: Any, steps: Steps) -> Any:
    """Return what keys and numbers lead to."""
    found = tree
    for count, step in enumerate(steps):
        try:
            if not isinstance(found, dict | list | tuple) or isinstance(found, COMPOUND):
                raise KeyError(step)  # what is divided among workers is loaded as a whole
            found = found[step]
        except (LookupError, TypeError):
            raise KeyValueError(f"the state has nothing at {place(steps[: count + 1])}") from None
    return found


def _chunked(tree: Any) -> Iterator[tuple[Steps, Chunked]]:
    for steps, node in walk(tree):
        content = content_of(node)
        if isinstance(content, Chunked):
            yield steps, content


def _merged(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return tuple(merged)
