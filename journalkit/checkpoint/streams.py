"""Long bytes of a state that are read piece by piece as they are written: they may be larger than memory.

A stream gives the same bytes each time it is read, as a save may have to write
them twice. Its pieces are those of an array: of one length, the last one
perhaps shorter. Once it was read to its end its digests are known, and a save
that has all of its chunks reads none of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from journalkit.checkpoint.chunks import ARRAY_CHUNK_BYTES

PIECE_BYTES: Final = ARRAY_CHUNK_BYTES


class Stream(ABC):
    """Bytes that come in pieces. `key` is the same for what has the same bytes, within a process."""

    key: Hashable

    @property
    @abstractmethod
    def size_bytes(self) -> int:
        """How many bytes there are; of what isn't made yet about how many."""

    @abstractmethod
    def pieces(self) -> Iterator[memoryview]:
        """Yield them, `PIECE_BYTES` at a time, checked as far as they can be.

        Raises:
            CorruptionError: They are damaged where they lie.
            ForkedError, ArchiveUnavailableError, StorageError: They can't be read.
        """

    def digests(self, kind: str) -> Sequence[tuple[bytes, int]] | None:
        """Return digest and length of each piece, None if it isn't known, or not of that kind of digest."""
        del kind
        return None

    def learn(self, kind: str, digests: Sequence[tuple[bytes, int]]) -> None:
        """Take note of the digests of all pieces, which were read to the end."""
        del kind, digests


@dataclass(slots=True)
class Remembered:
    """The digests of what was saved before and can't change, by key: those of the last capture."""

    _found: dict[Hashable, tuple[str, Sequence[tuple[bytes, int]]]] = field(default_factory=dict)

    def find(self, key: Hashable, kind: str) -> Sequence[tuple[bytes, int]] | None:
        """Return what is known of a stream, None if nothing is."""
        found = self._found.get(key)
        return found[1] if found is not None and found[0] == kind else None

    def learn(self, key: Hashable, kind: str, digests: Sequence[tuple[bytes, int]]) -> None:
        """Keep what was found out."""
        self._found[key] = (kind, digests)

    def keep(self, keys: Collection[Hashable]) -> None:
        """Forget all others: nobody will ask for them again."""
        self._found = {key: found for key, found in self._found.items() if key in keys}


def in_pieces(parts: Iterable[bytes | memoryview]) -> Iterator[memoryview]:
    """Yield bytes that come in any lengths in pieces of one length, the last one perhaps shorter."""
    waiting = bytearray()
    for part in parts:
        waiting += part
        whole = len(waiting) // PIECE_BYTES * PIECE_BYTES
        if whole:
            given, waiting = memoryview(bytes(waiting[:whole])), waiting[whole:]
            for start in range(0, whole, PIECE_BYTES):
                yield given[start : start + PIECE_BYTES]
    if waiting:
        yield memoryview(bytes(waiting))
