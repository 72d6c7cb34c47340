"""Chunks read back: each one checked, many at once, wherever they lie.

A load checks CRC32C, as all of journalkit does; whoever verifies or copies checks digests as well.

A chunk that isn't what was saved is `CorruptionError` with the pack, the place
in it and the place in the state. Nothing is given out that wasn't checked, but
for what is mapped: `journalkit.checkpoint.loading`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias, TypeVar

from journalkit.checkpoint import arrays, chunks
from journalkit.checkpoint.pack import Progress, Where, in_order, places_of
from journalkit.errors import CorruptionError, UnsupportedFormatError
from journalkit.format import names
from journalkit.format.checkpoint import ALIGNMENT, CheckpointManifest, ChunkList, PackEntry
from journalkit.format.checksum import checksum
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.objects.interface import ReadableObjects
from journalkit.objects.ranges import distrust, read_into, reads_into

_READ_BYTES: Final = 8 << 20
"""How much one request asks for at most: chunks that lie behind one another are read together."""
_THREADS_MAX: Final = 16
_Found = TypeVar("_Found")
STEP: Final = "load an older checkpoint, which may not need it"


@dataclass(frozen=True, slots=True)
class Span:
    """Chunks that lie behind one another in a pack, and where in the bytes of their list they belong."""

    target: int
    found: tuple[tuple[Where, bytes], ...]

    @property
    def where(self) -> Where:
        """Where the first of them lies."""
        return self.found[0][0]

    @property
    def length(self) -> int:
        """How many bytes they have."""
        return sum(where.length for where, _ in self.found)

    @property
    def stored_bytes(self) -> int:
        """How many bytes stand for them."""
        return sum(where.stored_bytes for where, _ in self.found)


Work: TypeAlias = tuple[Span, memoryview | None, str]
"""What is to be read, to where if it is kept, and the words for its place in the state."""


class ChunkReader:
    """Reads the chunks that one manifest names."""

    def __init__(self, objects: ReadableObjects, manifest: CheckpointManifest, threads: int | None = None) -> None:
        self._objects = objects
        self._manifest = manifest
        self._threads = threads if threads is not None else min((os.cpu_count() or 1) * 2, _THREADS_MAX)

    @cached_property
    def _digest(self) -> chunks.Digest:
        return chunks.digest_named(self._manifest.digest)

    def read(self, index: int, words: str, start: int = 0, stop: int | None = None) -> memoryview:
        """Return the bytes of a list, or a range of them: the chunks that it touches are read and checked.

        Raises:
            CorruptionError: A chunk is damaged, or missing.
            ArchiveUnavailableError, StorageError: It can't be read.
            UnsupportedFormatError: It takes a package that isn't installed.
        """
        listed = self._manifest.chunked[index]
        stop = listed.length if stop is None else stop
        if start >= stop:
            return memoryview(b"")
        spans, first = self._touched(listed, start, stop)
        target = arrays.empty(spans[-1].target + spans[-1].length)
        self.fill([(span, target, words) for span in spans])
        return target[start - first : stop - first]

    def length(self, index: int) -> int:
        """Return how long a list's bytes are."""
        return self._manifest.chunked[index].length

    def whole(self, index: int, target: memoryview | None, words: str) -> Iterator[Work]:
        """Yield what has to be read for all of a list; without a target it is only looked at."""
        return (
            (span, target, words) for span in _joined(places_of(self._manifest.chunked[index], self._manifest.packs))
        )

    def digests(self, index: int, kind: str) -> list[tuple[bytes, int]] | None:
        """Return digest and length of each chunk of a list, None if they are of another kind of digest."""
        if self._manifest.digest != kind:
            return None
        found = places_of(self._manifest.chunked[index], self._manifest.packs)
        return [(digest, where.length) for where, digest in found]

    def chunk_bytes(self, index: int) -> int:
        """Return how many bytes each chunk of a list has, the last one perhaps fewer; 0 where they differ."""
        return self._manifest.chunked[index].chunk_bytes

    def pieces(
        self, index: int, words: str | None = None, *, ahead: int | None = None
    ) -> Generator[memoryview, None, None]:
        """Yield the chunks of a list one by one, checked by digest; so many spans are read ahead. Raises as `read`."""
        words = words if words is not None else f"part {index} of the state"
        ahead = ahead if ahead is not None else 2 * self._threads

        def read(span: Span) -> memoryview:
            target = arrays.empty(span.length)
            self._fill(Span(0, span.found), target, words, by_digest=True)
            return target

        spans = _joined(places_of(self._manifest.chunked[index], self._manifest.packs))
        for span, data in in_order(read, spans, self._threads, ahead):
            at = 0
            for where, _ in span.found:
                yield data[at : at + where.length]
                at += where.length

    def fill(self, work: Sequence[Work], progress: Progress | None = None) -> None:
        """Read spans to where they belong. Raises as `read`."""
        for _ in self._read(lambda each, fetched: self._fill(*each, fetched=fetched), work, progress):
            pass

    def damaged(self, work: Sequence[Work], progress: Progress | None = None) -> list[CorruptionError]:
        """Read spans and return what is wrong with them, in their order, by digest too. Raises as `read`."""

        def look(each: Work, fetched: memoryview | None) -> CorruptionError | None:
            try:
                self._fill(*each, by_digest=True, fetched=fetched)
            except CorruptionError as error:
                return error
            return None

        return [error for error in self._read(look, work, progress) if error is not None]

    def _read(
        self, read: Callable[[Work, memoryview | None], _Found], work: Sequence[Work], progress: Progress | None
    ) -> Iterator[_Found]:
        """Yield what `read` makes of each span, and of its bytes if they came with others'."""
        total = sum(span.length for span, _, _ in work)
        done = 0
        threads = self._threads if len(work) > 1 else 0
        groups = [[each] for each in work] if reads_into(self._objects) else list(_grouped(work))
        for group, found in in_order(lambda group: self._read_group(read, group), groups, threads, 2 * self._threads):
            for (span, _, _), one in zip(group, found, strict=True):
                done += span.length
                if progress is not None:
                    progress(done, total)
                yield one

    def _read_group(self, read: Callable[[Work, memoryview | None], _Found], group: Sequence[Work]) -> list[_Found]:
        """Read spans that lie side by side in one request: many arrays are small, and each request takes its time."""
        first, last = group[0][0].where, group[-1][0]
        data = None
        if len(group) > 1:
            key = names.pack_key(first.pack.epoch, first.pack.save, first.pack.part)
            end = last.where.offset_bytes + last.stored_bytes
            data = self._objects.get(key, start=first.offset_bytes, length=end - first.offset_bytes)
        if data is None:
            return [read(each, None) for each in group]
        view = memoryview(data)
        starts = [each[0].where.offset_bytes - first.offset_bytes for each in group]
        return [
            read(each, view[start : start + each[0].stored_bytes]) for start, each in zip(starts, group, strict=True)
        ]

    def one_piece(self, index: int) -> tuple[PackEntry, int] | None:
        """Return the pack and the offset at which a list's bytes lie as they are, None if they don't."""
        listed = self._manifest.chunked[index]
        if listed.stored or not listed.runs:
            return None
        pack, offset_bytes, count = listed.runs[:3]
        behind = offset_bytes + count * listed.chunk_bytes
        for number, offset, more in zip(*[iter(listed.runs[3:])] * 3, strict=True):
            if not listed.chunk_bytes or (number, offset) != (pack, behind):
                return None
            behind += more * listed.chunk_bytes
        return self._manifest.packs[pack], offset_bytes

    def path_of(self, pack: PackEntry) -> str:
        """Return where a pack is, for messages."""
        return f"{self._objects.where}/{names.pack_key(pack.epoch, pack.save, pack.part)}"

    def _fill(
        self,
        span: Span,
        target: memoryview | None,
        words: str,
        *,
        by_digest: bool = False,
        fetched: memoryview | None = None,
    ) -> None:
        """Read a span to where it belongs; if a copy of it is damaged, from the place that counts."""
        try:
            self._fill_once(span, target, words, by_digest=by_digest, fetched=fetched)
        except CorruptionError:
            pack = span.where.pack
            if not distrust(self._objects, names.pack_key(pack.epoch, pack.save, pack.part)):
                raise
            self._fill_once(span, target, words, by_digest=by_digest, fetched=None)

    def _fill_once(
        self, span: Span, target: memoryview | None, words: str, *, by_digest: bool, fetched: memoryview | None
    ) -> None:
        """Read a span, and check it: by the CRC32C, which costs next to nothing, or by both."""
        where = span.where
        key = names.pack_key(where.pack.epoch, where.pack.save, where.pack.part)
        is_plain = all(each.stored_bytes == each.length for each, _ in span.found)
        into = arrays.empty(span.length) if target is None else target[span.target : span.target + span.length]
        given = into if is_plain else arrays.empty(span.stored_bytes)
        if fetched is None:
            got = read_into(self._objects, key, where.offset_bytes, given)
        else:
            got = len(fetched)
            given[:got] = fetched
        if got is None:
            raise self._corruption(f"the pack that has {words} is missing", where, None)
        at = put = 0
        for each, digest in span.found:
            if got < at + each.stored_bytes:
                raise self._corruption(f"the pack ends before the bytes of {words}", each, each.offset_bytes)
            chunk = given[at : at + each.stored_bytes]
            if not is_plain:
                chunk = self._expanded(chunk, each, words)
                into[put : put + each.length] = chunk
            if checksum(chunk) != each.check or (by_digest and self._digest(chunk) != digest):
                raise self._corruption(f"these bytes of {words} aren't what was saved", each, each.offset_bytes)
            at += each.stored_bytes
            put += each.length

    def _expanded(self, chunk: memoryview, where: Where, words: str) -> memoryview:
        if where.stored_bytes == where.length:
            return chunk
        try:
            return memoryview(chunks.expanded(bytes(chunk), where.length))
        except NewerFormatError as error:
            raise UnsupportedFormatError(f"{self.path_of(where.pack)} has {error}: {error.remedy}") from error
        except MalformedError as error:
            reason = f"these bytes of {words} are {error.reason}"
            raise self._corruption(reason, where, where.offset_bytes) from error

    def _corruption(self, reason: str, where: Where, offset_bytes: int | None) -> CorruptionError:
        return CorruptionError(reason, path=self.path_of(where.pack), offset_bytes=offset_bytes, next_step=STEP)

    def _touched(self, listed: ChunkList, start: int, stop: int) -> tuple[list[Span], int]:
        """Return the spans that a range touches, and at which byte of the list they begin."""
        at = first = 0
        found: list[tuple[Where, bytes]] = []
        for where, digest in places_of(listed, self._manifest.packs):
            if at + where.length <= start:
                first = at + where.length
            elif at < stop:
                found.append((where, digest))
            at += where.length
        return list(_joined(found)), first


def _grouped(work: Sequence[Work]) -> Iterator[list[Work]]:
    """Yield spans in groups that lie side by side in one pack, but for what aligns them, and aren't too long."""
    group: list[Work] = []
    begun = end = 0
    for each in work:
        span = each[0]
        start = span.where.offset_bytes
        stop = start + span.stored_bytes
        if group and (
            span.where.pack != group[-1][0].where.pack
            or not end <= start < end + ALIGNMENT
            or stop - begun > _READ_BYTES
        ):
            yield group
            group = []
        if not group:
            begun = start
        group.append(each)
        end = stop
    if group:
        yield group


def _joined(found: Iterator[tuple[Where, bytes]] | list[tuple[Where, bytes]]) -> Iterator[Span]:
    """Yield chunks in spans: of one pack, behind one another, and not too long."""
    waiting: list[tuple[Where, bytes]] = []
    target = size_bytes = 0
    for where, digest in found:
        if waiting:
            last = waiting[-1][0]
            is_next = (last.pack, last.offset_bytes + last.stored_bytes) == (where.pack, where.offset_bytes)
            if not is_next or size_bytes + where.length > _READ_BYTES:
                yield Span(target, tuple(waiting))
                target += size_bytes
                waiting, size_bytes = [], 0
        waiting.append((where, digest))
        size_bytes += where.length
    if waiting:
        yield Span(target, tuple(waiting))
