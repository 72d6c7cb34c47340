"""Reading: what a store, a view and a transaction have in common under asyncio.

A key that is in memory is read on the loop, since that takes no longer than
the hop to a thread would; whatever may touch the disk, or grows with the state,
runs in a worker. A scan fetches entries in chunks, small ones first, and is
suspended between them, so it holds up neither the loop nor a worker.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from typing import Final, TypeVar

from journalkit.format.block import Entry
from journalkit.format.columns import Columns
from journalkit.format.keys import USER_FIRST, encode_key
from journalkit.snapshot.batches import Batches, ColumnsBatch
from journalkit.store.aio.workers import Workers
from journalkit.store.reading import Decoder, OrderedReads, check_limit, encoded_range
from journalkit.types import ABSENT, Absent, Key, Value

CHUNK_FIRST: Final = 32
CHUNK_MAX: Final = 512
CHUNK_BYTES: Final = 256 * 1024

_Item = TypeVar("_Item")


class AsyncReads(ABC):
    """The reading half of a mapping in key order, awaited."""

    _values: Decoder

    @abstractmethod
    def _require_workers(self) -> Workers:
        """Return who may wait for the disk. Raises UsageError if this can't be used, or not from here."""

    @abstractmethod
    async def _source(self) -> OrderedReads:
        """Return what is read, for a worker."""

    @abstractmethod
    async def _encoded(self, encoded_key: bytes) -> bytes | Absent | None:
        """Return the key's encoded value, None or ABSENT if there is none."""

    @abstractmethod
    async def _entries(self, start: bytes | None, stop: bytes | None, *, reverse: bool = False) -> Iterator[Entry]:
        """Return entries with start <= key < stop, deletions included, as they are at this call."""

    async def __getitem__(self, key: Key) -> Value:
        """Return a copy of the value: `await store[key]`. Raises KeyError if there is none."""
        value = await self._value(key)
        if value is ABSENT:
            raise KeyError(key)
        return value

    async def get(self, key: Key, default: Value = None) -> Value:
        """Return a copy of the key's value, or `default` if there is none.

        Raises:
            CorruptionError: The block that would hold it is damaged.
        """
        value = await self._value(key)
        return default if value is ABSENT else value

    async def _value(self, key: Key) -> Value | Absent:
        """Return a copy of the key's value, ABSENT if there is none."""
        encoded = await self._encoded(encode_key(key))
        if encoded is None or encoded is ABSENT:
            return ABSENT
        return self._values.value(key, encoded)

    async def get_many(self, keys: Iterable[Key]) -> dict[Key, Value]:
        """Return copies of the values of those keys that are there, all from one moment, in the order of `keys`.

        Raises:
            UsageError: Something isn't a key.
            CorruptionError: A block that would hold one of them is damaged.
        """
        workers, wanted = self._require_workers(), list(keys)
        return await workers.run((await self._source()).get_many, wanted)

    async def contains(self, key: Key) -> bool:
        """Whether the key is there."""
        encoded = await self._encoded(encode_key(key))
        return encoded is not None and encoded is not ABSENT

    async def count(self) -> int:
        """Count the keys. O(n): it scans them, in chunks."""
        count = 0
        async for chunk in self._chunks(USER_FIRST, None, False, None, _undecoded):
            count += len(chunk)
        return count

    def scan(
        self,
        start: Key | None = None,
        stop: Key | None = None,
        *,
        prefix: Key | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncGenerator[tuple[Key, Value], None]:
        """Return an asynchronous iterator over keys and values in key order, frozen when the iteration begins.

        Args:
            start: The first key of the range, inclusive.
            stop: Its end, exclusive.
            prefix: Only keys that begin with this string, bytes, or these tuple elements.
            reverse: From the last to the first.
            limit: At most this many.

        Raises:
            UsageError: A bound can't be a key.
            CorruptionError: While iterating, for the keys of a damaged block.
        """
        self._require_workers()
        check_limit(limit)
        low, high = encoded_range(start, stop, prefix)
        values = self._values
        return self._each(low, high, reverse, limit, lambda batches: values.items(batches, None, reverse=False))

    def keys(self) -> AsyncGenerator[Key, None]:
        """Return an asynchronous iterator over the keys, in order."""
        self._require_workers()
        return self._each(USER_FIRST, None, False, None, self._values.keys)

    def values(self) -> AsyncGenerator[Value, None]:
        """Return an asynchronous iterator over the values, in key order."""
        self._require_workers()
        return self._each(USER_FIRST, None, False, None, self._decoded_values)

    def items(self) -> AsyncGenerator[tuple[Key, Value], None]:
        """Return an asynchronous iterator over keys and values, in key order."""
        return self.scan()

    def __aiter__(self) -> AsyncGenerator[Key, None]:
        return self.keys()

    def _decoded_values(self, batches: Batches) -> Iterator[Value]:
        return (value for _, value in self._values.items(batches, None, reverse=False))

    async def _each(
        self,
        low: bytes,
        high: bytes | None,
        reverse: bool,
        limit: int | None,
        decode: Callable[[Batches], Iterator[_Item]],
    ) -> AsyncGenerator[_Item, None]:
        async for chunk in self._chunks(low, high, reverse, limit, decode):
            for item in chunk:
                yield item

    async def _chunks(
        self,
        low: bytes,
        high: bytes | None,
        reverse: bool,
        limit: int | None,
        decode: Callable[[Batches], Iterator[_Item]],
    ) -> AsyncGenerator[list[_Item], None]:
        """Yield what the range holds, decoded, in lists of bounded length."""
        entries = await self._entries(low, high, reverse=reverse)
        count_max, left = CHUNK_FIRST, sys.maxsize if limit is None else limit
        while left:
            # Asked anew each time: a loop over a scan is suspended for as long as its body takes.
            chunk, is_last = await self._require_workers().run(_fetch, entries, min(count_max, left), decode)
            yield chunk
            if is_last:
                return
            left -= len(chunk)
            count_max = min(count_max * 2, CHUNK_MAX)


def _fetch(
    entries: Iterator[Entry], count_max: int, decode: Callable[[Batches], Iterator[_Item]]
) -> tuple[list[_Item], bool]:
    """Return the next entries that aren't deleted, decoded, and whether they are the last."""
    keys: list[bytes] = []
    values: list[bytes | None] = []
    size_bytes = 0
    is_last = True
    for key, value in entries:
        if value is None:
            continue
        keys.append(key)
        values.append(value)
        size_bytes += len(value)
        if len(keys) == count_max or size_bytes >= CHUNK_BYTES:
            is_last = False
            break
    # In the scan's own direction, so there is nothing left to turn round.
    return list(decode(iter([ColumnsBatch(Columns(keys, values))]))), is_last


def _undecoded(batches: Batches) -> Iterator[bytes]:
    return (key for batch in batches for key in batch.columns().keys)
