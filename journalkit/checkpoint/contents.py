"""Long bytes of two checkpoints, held against each other.

by digests     where both have digests of one kind: nothing is read
by reading     where they haven't; and where bytes as many were cut in another way, on a machine without NumPy for
               one, which the digests of chunks can't tell from other bytes. Piece by piece, each checked
by blocks      arrays that are divided among another number of workers, of which no two chunks need be the same
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from math import prod
from typing import Final

from journalkit.checkpoint import arrays
from journalkit.checkpoint.assembling import Pieces
from journalkit.checkpoint.loading import Manifest
from journalkit.checkpoint.pack import places
from journalkit.checkpoint.tree import Steps
from journalkit.format.checkpoint import ChunkList
from journalkit.format.head import DIGEST_BYTES
from journalkit.format.nodes import Chunked, Content, ShardNode

BLOCK_BYTES: Final = 8 << 20
"""How much of a divided array is put together at once."""


class Contents:
    """What two manifests name."""

    def __init__(self, first: Manifest, second: Manifest) -> None:
        self._sides = (first, second)
        self._is_one_digest = first.said.digest == second.said.digest

    def length(self, content: Content, side: int) -> int:
        """Return how many bytes there are."""
        return self._listed(content, side).length if isinstance(content, Chunked) else len(content)

    def shares(self) -> tuple[int, int, int]:
        """Return the bytes of chunks that both have, and those that only the first and only the second has."""
        first, second = ({digest: where.length for where, digest in places(side.said)} for side in self._sides)
        both = first.keys() & second.keys() if self._is_one_digest else set()
        shared = sum(first[digest] for digest in both)
        return shared, sum(first.values()) - shared, sum(second.values()) - shared

    def compared(self, before: Content, after: Content) -> tuple[bool, int]:
        """Return whether bytes of the first are those of the second, and how many of these lie in others' chunks.

        Raises as `ChunkReader.pieces`.
        """
        if not isinstance(before, Chunked) or not isinstance(after, Chunked):
            is_same = not isinstance(before, Chunked) and before == after
            return is_same, 0 if is_same else self.length(after, 1)
        mine, others = self._listed(before, 0), self._listed(after, 1)
        if not self._is_one_digest:
            differing = others.length - sum(count for count, is_same in self._read(before, after) if is_same)
            return mine.length == others.length and not differing, differing
        if (mine.length, mine.digests) == (others.length, others.digests):
            return True, 0
        if (
            mine.length == others.length
            and not _are_cut_alike(mine, others)
            and all(is_same for _, is_same in self._read(before, after))
        ):
            return True, 0
        return False, _differing(mine, others)

    def added(self, before: Sequence[Content], after: Sequence[Content]) -> int:
        """Return how many bytes of what lies in several pieces now lie in chunks that none of them had before.

        Where digests are of two kinds as many pieces are read, one beside the other. Raises as `compared`.
        """
        if not self._is_one_digest and len(before) == len(after):
            return sum(self.compared(one, other)[1] for one, other in zip(before, after, strict=True))
        mine = self._lengths(before, 0) if self._is_one_digest else {}
        return sum(length for digest, length in self._lengths(after, 1).items() if digest not in mine)

    def divided(self, shard: ShardNode, steps: Steps) -> int:
        """Return how many bytes of an array that both have lie in blocks that aren't the same.

        Raises as `Manifest.load`.
        """
        differing = 0
        for region in blocks_of(shard.shape, _item_bytes(shard), BLOCK_BYTES):
            mine, others = (_block(side, steps, region) for side in self._sides)
            differing += len(others) if mine != others else 0
        return differing

    def divided_bytes(self, shard: ShardNode) -> int:
        """Return how many bytes a divided array has in all."""
        return prod(shard.shape) * _item_bytes(shard)

    # -- within ---------------------------------------------------------------------------------

    def _lengths(self, contents: Sequence[Content], side: int) -> dict[bytes, int]:
        """Return how long each chunk is, by its digest."""
        listed = [self._listed(each, side) for each in contents if isinstance(each, Chunked)]
        pairs = (pair for each in listed for pair in zip(_digests(each), each.lengths(), strict=True))
        return dict(pairs)

    def _listed(self, content: Chunked, side: int) -> ChunkList:
        return self._sides[side].said.chunked[content.index]

    def _read(self, before: Chunked, after: Chunked) -> Iterator[tuple[int, bool]]:
        """Yield lengths of pieces behind one another, and whether both have the same there; as far as both go."""
        with ExitStack() as stack:
            mine, others = (
                stack.enter_context(closing(side.reader.pieces(content.index)))
                for side, content in zip(self._sides, (before, after), strict=True)
            )
            yield from _aligned(mine, others)


def blocks_of(shape: tuple[int, ...], item_bytes: int, most_bytes: int) -> Iterator[tuple[slice, ...]]:
    """Yield regions that together are an array, none of more bytes than that unless a single element has."""
    axis = 0
    while axis < len(shape) - 1 and prod(shape[axis + 1 :]) * item_bytes > most_bytes:
        axis += 1
    count = max(1, most_bytes // max(1, prod(shape[axis + 1 :]) * item_bytes))
    outer = [[slice(at, at + 1) for at in range(size)] for size in shape[:axis]]
    inner = [[slice(at, min(at + count, size)) for at in range(0, size, count)] for size in shape[axis : axis + 1]]
    yield from itertools.product(*outer, *inner)


def _block(side: Manifest, steps: Steps, region: tuple[slice, ...]) -> bytes:
    """Return the bytes of a part of a divided array, row by row."""
    found = side.load(paths=[steps], regions={steps: region})[steps].array
    if arrays.is_tensor(found):
        return bytes(arrays.tensor_source(found)[1][1])
    data: bytes = found.tobytes()
    return data


def _item_bytes(shard: ShardNode) -> int:
    array = shard.array.found[0][0] if isinstance(shard.array, Pieces) else shard.array
    return arrays.item_bytes(array)


def _are_cut_alike(one: ChunkList, other: ChunkList) -> bool:
    return (one.chunk_bytes, one.sizes) == (other.chunk_bytes, other.sizes)


def _differing(before: ChunkList, after: ChunkList) -> int:
    """Return how many bytes lie in chunks that are others: where they stand, or of what was cut by content anywhere."""
    mine, others = _digests(before), _digests(after)
    if before.chunk_bytes and before.chunk_bytes == after.chunk_bytes:
        pairs = itertools.zip_longest(others, mine[: len(others)])
        return sum(length for length, (new, old) in zip(after.lengths(), pairs, strict=True) if new != old)
    known = set(mine)
    return sum(length for length, digest in zip(after.lengths(), others, strict=True) if digest not in known)


def _digests(listed: ChunkList) -> list[bytes]:
    return [listed.digests[at : at + DIGEST_BYTES] for at in range(0, len(listed.digests), DIGEST_BYTES)]


def _aligned(one: Iterator[memoryview], other: Iterator[memoryview]) -> Iterator[tuple[int, bool]]:
    """Yield how long pieces are that lie behind one another, and whether they are the same; as far as both go."""
    mine = others = memoryview(b"")
    while True:
        mine = mine or next(one, mine)
        others = others or next(other, others)
        count = min(len(mine), len(others))
        if not count:
            return
        yield count, bytes(mine[:count]) == bytes(others[:count])
        mine, others = mine[count:], others[count:]
