"""Packs: the chunks that one part of a save writes, in one object.

    pack = header chunk*        ; journalkit.format.checkpoint

An array's chunks begin at a multiple of 64, so that an array which is written
for the first time lies in one piece and can be mapped as it is. What is known
isn't written again: the manifest names it where it lies.

Nothing says which chunks a pack has but the manifests that name it; a pack
whose manifest was never written belongs to nobody.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, TypeVar

from journalkit.checkpoint import arrays, chunks
from journalkit.checkpoint.streams import Stream
from journalkit.checkpoint.tree import Leaf
from journalkit.format.checkpoint import (
    ALIGNMENT,
    CHECK_BYTES,
    PACK_HEADER_BYTES,
    CheckpointManifest,
    ChunkList,
    PackEntry,
    encode_pack_header,
)
from journalkit.format.checksum import checksum
from journalkit.format.head import DIGEST_BYTES
from journalkit.objects.interface import Part

AHEAD: Final = 24
"""How many chunks digests run ahead of what is written."""
_UNUSED: Final = 3
"""References to a piece of memory while it is looked at: the list's, the name's, the call's."""
_THREADS_MAX: Final = 8
_LEAST_SHARE: Final = 3

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

Progress = Callable[[int, int], None]
"""Told how many bytes are done, and how many there are in all."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where a chunk lies: in which pack, where in it, in how many bytes; how many it has, and their CRC32C."""

    pack: PackEntry
    offset_bytes: int
    stored_bytes: int
    length: int
    check: int


@dataclass(slots=True)
class Known:
    """What a save needn't write again: the chunks of the checkpoints that it stands on, by digest."""

    digest: str
    chunks: dict[bytes, Where] = field(default_factory=dict)

    @classmethod
    def of(cls, manifests: Iterable[CheckpointManifest], digest: str) -> Known:
        """Return what those checkpoints name; of a pack of which less than a third is named, nothing.

        What isn't named any more is written again, so that old packs die. It
        costs a third more than what changed, in the long run. Checkpoints
        whose digests are of another kind have nothing to offer.
        """
        known = cls(digest)
        named: dict[PackEntry, int] = {}
        for manifest in manifests:
            if manifest.digest != digest:
                continue
            for where, found in places(manifest):
                if known.chunks.setdefault(found, where) is where:
                    named[where.pack] = named.get(where.pack, 0) + where.stored_bytes
        sparse = {pack for pack, size_bytes in named.items() if size_bytes * _LEAST_SHARE < pack.pack_bytes}
        if sparse:
            known.chunks = {each: where for each, where in known.chunks.items() if where.pack not in sparse}
        return known

    def find(self, digest: bytes, length: int) -> Where | None:
        """Return where a chunk lies, None if it isn't known."""
        where = self.chunks.get(digest)
        return where if where is not None and where.length == length else None


def places(manifest: CheckpointManifest) -> Iterator[tuple[Where, bytes]]:
    """Yield every chunk that a manifest names: where it lies, and its digest."""
    for listed in manifest.chunked:
        yield from places_of(listed, manifest.packs)


def places_of(listed: ChunkList, packs: tuple[PackEntry, ...]) -> Iterator[tuple[Where, bytes]]:
    """Yield every chunk of a list, in order."""
    lengths = listed.lengths()
    stored = iter(listed.stored)
    checks = memoryview(listed.checks)
    at = check_at = 0
    for number, offset_bytes, count in zip(*[iter(listed.runs)] * 3, strict=True):
        offset = offset_bytes
        for length in itertools.islice(lengths, count):
            stored_bytes = next(stored, length)
            check = int.from_bytes(checks[check_at : check_at + CHECK_BYTES], "little")
            yield Where(packs[number], offset, stored_bytes, length, check), listed.digests[at : at + DIGEST_BYTES]
            offset += stored_bytes
            at += DIGEST_BYTES
            check_at += CHECK_BYTES


@dataclass(frozen=True, slots=True)
class Told:
    """Stands for a chunk that is known, and wasn't read."""

    digest: bytes
    length: int

    def __len__(self) -> int:
        """How many bytes the chunk has."""
        return self.length


Piece = memoryview | Told


@dataclass(slots=True)
class _List:
    """A list of chunks in the making."""

    is_array: bool
    lengths: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    wheres: list[Where] = field(default_factory=list)


class PackWriter:
    """What one part of a save writes: the chunks of its leaves that aren't known.

    `parts` gives the pack's bytes, while `jobs` runs ahead with digests; what
    it found out is in `lists` and `packs` once it has ended.
    """

    def __init__(
        self,
        job: bytes,
        entry: PackEntry,
        known: Known,
        *,
        compression: str = "none",
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._header = encode_pack_header(job, entry.epoch, entry.save, entry.part)
        self._entry = entry
        self._known = known
        self._digest = chunks.digest_named(known.digest)
        self._compressed = chunks.compressor(compression)
        self._threads = threads if threads is not None else min(os.cpu_count() or 1, _THREADS_MAX)
        self._progress = progress
        self._shared: frozenset[int] = frozenset()
        self._scratch = Scratch()
        self._own: dict[bytes, Where] = {}
        self._lists: list[_List] = []
        self.pack_bytes = 0
        self.chunks_new = 0
        self.chunks_known = 0

    def parts(self, leaves: Iterable[Leaf]) -> Generator[Part, None, None]:
        """Yield the pack's bytes as they are found to be new; nothing at all if all is known."""
        leaves = tuple(leaves)
        cut = ((number, view) for number, leaf in enumerate(leaves) for view in self._cut(leaf))
        self._shared = frozenset(number for number, leaf in enumerate(leaves) if not leaf.is_private)
        yield from self.parts_of(cut, [leaf.is_array for leaf in leaves], sum(leaf.size_bytes for leaf in leaves))
        for leaf, listed in zip(leaves, self._lists, strict=True):
            if isinstance(leaf.view, Stream):
                leaf.view.learn(self._known.digest, list(zip(listed.digests, listed.lengths, strict=True)))

    def _cut(self, leaf: Leaf) -> Iterable[Piece]:
        """Return the pieces of long bytes; of a stream that is known all of it is told, and none of it read."""
        if not isinstance(leaf.view, Stream):
            return chunks.fixed(leaf.view) if leaf.is_array else chunks.by_content(leaf.view)
        told = leaf.view.digests(self._known.digest)
        if told is not None and all(self._known.find(*each) for each in told):
            return (Told(*each) for each in told)
        return leaf.view.pieces()

    def parts_of(
        self, cut: Iterable[tuple[int, Piece]], are_arrays: Sequence[bool], total: int
    ) -> Generator[Part, None, None]:
        """Yield the pack's bytes, of chunks that come list by list with the number of theirs, `total` bytes in all."""
        self._lists = [_List(is_array) for is_array in are_arrays]
        done = 0
        threads = self._threads if total > chunks.ARRAY_CHUNK_BYTES else 0
        for (number, view), (digest, check, written) in in_order(self._prepared, cut, threads):
            listed = self._lists[number]
            is_array = listed.is_array
            where = self._known.find(digest, len(view)) or (None if is_array else self._own.get(digest))
            if where is None:
                if not self.pack_bytes:
                    yield self._header
                    self.pack_bytes = PACK_HEADER_BYTES
                padding = -self.pack_bytes % ALIGNMENT if is_array and len(written) == len(view) else 0
                if padding:
                    yield bytes(padding)
                offset_bytes = self.pack_bytes + padding
                where = Where(self._entry, offset_bytes, len(written), len(view), check)
                self._own.setdefault(digest, where)
                self.pack_bytes = offset_bytes + len(written)
                self.chunks_new += 1
                yield written
            else:
                self.chunks_known += 1
            listed.lengths.append(len(view))
            listed.digests.append(digest)
            listed.wheres.append(where)
            done += len(view)
            if self._progress is not None:
                self._progress(done, total)
        if self._progress is not None and done != total:
            self._progress(done, done)  # of a stream it wasn't known

    def finished(self) -> tuple[tuple[ChunkList, ...], tuple[PackEntry, ...]]:
        """Return the lists of chunks, and the packs that they name, once all of the pack was given out."""
        mine = PackEntry(self._entry.epoch, self._entry.save, self._entry.part, self.pack_bytes)
        numbers: dict[PackEntry, int] = {}
        lists = tuple(_finished(listed, numbers, {self._entry: mine}) for listed in self._lists)
        return lists, tuple(numbers)

    def _prepared(self, item: tuple[int, Piece]) -> tuple[bytes, int, memoryview]:
        """Return a chunk's digest, its CRC32C if it isn't known, and what stands for it in the pack. In any thread.

        What the application may change meanwhile, in another thread of its
        own, is copied first: a chunk that is written is the one whose digest
        is named, whatever becomes of the state.
        """
        number, view = item
        if isinstance(view, Told):
            return view.digest, 0, memoryview(b"")
        if number in self._shared:
            # Before the copy, so that what is known costs none.
            if self._known.chunks and self._known.find(digest := self._digest(view), len(view)):
                return digest, 0, view
            view = self._scratch.copy_of(view)
        digest = self._digest(view)
        if self._known.find(digest, len(view)):
            return digest, 0, view
        compressed = self._compressed(view)
        return digest, checksum(view), view if compressed is None else memoryview(compressed)


def _finished(listed: _List, numbers: dict[PackEntry, int], named: Mapping[PackEntry, PackEntry]) -> ChunkList:
    runs: list[int] = []
    behind = (-1, -1)
    for where in listed.wheres:
        pack = named.get(where.pack, where.pack)
        number = numbers.setdefault(pack, len(numbers))
        if (number, where.offset_bytes) == behind:
            runs[-1] += 1
        else:
            runs += (number, where.offset_bytes, 1)
        behind = (number, where.offset_bytes + where.stored_bytes)
    stored = tuple(where.stored_bytes for where in listed.wheres)
    lengths = tuple(listed.lengths)
    is_fixed = listed.is_array or (
        all(length == chunks.ARRAY_CHUNK_BYTES for length in lengths[:-1]) and (lengths[-1] <= chunks.ARRAY_CHUNK_BYTES)
    )
    return ChunkList(
        sum(lengths),
        chunks.ARRAY_CHUNK_BYTES if is_fixed else 0,
        () if is_fixed else lengths,
        b"".join(listed.digests),
        b"".join(where.check.to_bytes(CHECK_BYTES, "little") for where in listed.wheres),
        tuple(runs),
        () if stored == lengths else stored,
    )


class Scratch:
    """Memory for copies of chunks, used again as soon as nobody looks at it. Threads may share it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._all: list[bytearray] = []

    def copy_of(self, view: memoryview) -> memoryview:
        """Return a copy, in memory that is somebody's until nothing refers to it any more."""
        with self._guard:
            target = memoryview(self._free(len(view)))[: len(view)]
        arrays.fill(target, view)
        return target

    def _free(self, size_bytes: int) -> bytearray:
        for each in self._all:
            if len(each) >= size_bytes and sys.getrefcount(each) == _UNUSED:
                return each
        self._all.append(bytearray(max(size_bytes, chunks.ARRAY_CHUNK_BYTES)))
        return self._all[-1]


def in_order(
    work: Callable[[_Given], _Made], items: Iterable[_Given], threads: int, ahead: int = AHEAD
) -> Iterator[tuple[_Given, _Made]]:
    """Yield items with what `work` made of them, in order; threads are ahead by so many items at most.

    Without threads each is made when it is asked for. What `work` raises is
    raised in its item's place; what is under way then is waited for.
    """
    if threads < 1:
        for item in items:
            yield item, work(item)
        return
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(threads, "journalkit-chunks")
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        waiting: deque[tuple[_Given, Future[_Made]]] = deque()
        for item in items:
            waiting.append((item, _begun(pool, work, item)))
            if len(waiting) >= ahead:
                given, made = waiting.popleft()
                yield given, made.result()
        while waiting:
            given, made = waiting.popleft()
            yield given, made.result()


def _begun(pool: ThreadPoolExecutor, work: Callable[[_Given], _Made], item: _Given) -> Future[_Made]:
    """Have a thread of the pool do it; do it here where none can be had: the system has no more, or the program ends.

    A save that is under way when the main program has ended is waited for, and no thread is begun any more then.
    """
    try:
        return pool.submit(work, item)
    except RuntimeError:
        done: Future[_Made] = Future()
        try:
            done.set_result(work(item))
        except Exception as error:  # noqa: BLE001 - it is raised in its item's place
            done.set_exception(error)
        return done
