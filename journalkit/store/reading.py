"""Reading: what a store, a view and a transaction have in common.

`OrderedReads` is the reading half of the mapping protocol, in key order, over
whatever entries its subclass stands for; `Decoder` turns encoded entries into
keys and values.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from functools import partial
from itertools import chain, islice
from typing import Any, Final, cast

from journalkit.errors import CorruptionError, KeyTypeError, KeyValueError, salvage_step
from journalkit.format.block import Entry
from journalkit.format.codec import Codec
from journalkit.format.columns import decode_keys, decode_values
from journalkit.format.keys import (
    USER_FIRST,
    Keyspace,
    decode_key,
    encode_key,
    keyspace_bounds,
    prefix_bounds,
    reserved_key,
    reserved_name,
)
from journalkit.format.malformed import MalformedError
from journalkit.snapshot.batches import FIRST_ENTRIES, Batch, Batches, entries_of
from journalkit.types import ABSENT, Absent, Key, Value

SHOWN_CHARACTERS_MAX: Final = 80


def encoded_range(start: Key | None, stop: Key | None, prefix: Key | None) -> tuple[bytes, bytes | None]:
    """Return the half-open range of encoded user keys that all given bounds allow.

    Raises:
        UsageError: A bound isn't a key, or a prefix is of a kind that has none.
    """
    low, high = USER_FIRST, None
    if prefix is not None:
        low, high = prefix_bounds(prefix)
    if start is not None:
        low = max(low, encode_key(start))
    if stop is not None:
        bound = encode_key(stop)
        high = bound if high is None else min(high, bound)
    return low, high


def offset_key(name: str) -> bytes:
    """Return the encoded key of an input's position. Raises UsageError if it can't be a name."""
    if type(name) is not str:
        raise KeyTypeError(f"an input is named by a str, not by {name!r}")
    return reserved_key(Keyspace.OFFSETS, name)


def check_limit(limit: int | None) -> None:
    """Raise UsageError unless `limit` is None or a count."""
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise KeyTypeError(f"limit={limit!r} is not a number of entries")
    if limit < 0:
        raise KeyValueError(f"limit={limit!r} is below 0")


def shown(thing: Any) -> str:
    """Return how a message shows a key or value: in short, whatever its `repr` makes of it."""
    try:
        text = repr(thing)
    except Exception:  # noqa: BLE001 - the message is about something else; large integers have no repr, for one
        return f"<{type(thing).__name__}>"
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + "..."


class Decoder:
    """Encoded keys and values of one store, turned back into objects; damage becomes an error that names the key."""

    __slots__ = ("_codec", "_decode", "path")

    def __init__(self, codec: Codec, path: str) -> None:
        self._codec = codec
        self._decode = codec.decode
        self.path = path

    def value(self, key: Key, encoded: bytes) -> Value:
        """Return the value: a new object each time.

        Raises:
            CorruptionError: The bytes are whole and aren't a value.
        """
        try:
            return self._decode(encoded)
        except MalformedError as error:
            raise CorruptionError(
                f"the value of key {shown(key)} can't be decoded ({error.reason})",
                path=self.path,
                next_step=salvage_step(self.path),
            ) from error

    def key(self, encoded: bytes) -> Key:
        """Return the key. Raises CorruptionError if the bytes aren't one."""
        try:
            return decode_key(encoded)
        except MalformedError as error:
            raise self._not_a_key(encoded, error) from error

    def items(self, batches: Batches, limit: int | None, *, reverse: bool) -> Iterator[tuple[Key, Value]]:
        """Yield keys and values of what isn't deleted, at most `limit`; batches are decoded as they are reached."""
        decode = partial(self._batch_items, reverse=reverse)
        return islice(chain.from_iterable(map(decode, batches)), limit)

    def keys(self, batches: Batches, *, reverse: bool = False) -> Iterator[Key]:
        """Yield the keys of what isn't deleted; values aren't decoded."""
        for batch in batches:
            keys, _ = _there(batch)
            yield from map(self.key, reversed(keys) if reverse else keys)

    def offsets(self, batches: Batches) -> dict[str, Value]:
        """Return names and values of the entries of the offsets' keyspace."""
        found: dict[str, Value] = {}
        for batch in batches:
            for encoded, value in zip(*_there(batch), strict=True):
                name = self._name(encoded)
                found[name] = self.value(name, value)
        return found

    def _batch_items(self, batch: Batch, *, reverse: bool) -> Iterable[tuple[Key, Value]]:
        """Return a batch's keys and values, all at once where nothing is wrong with any of them."""
        # Hot: a scan spends its time here and below, in passes at the speed of C.
        items: list[tuple[Key, Value]] | None = batch.items(self._codec)
        if items is None:
            keys, values = _there(batch)
            try:
                items = list(zip(decode_keys(keys), decode_values(values, self._codec), strict=True))
            except MalformedError:
                return self._one_by_one(keys, values, reverse=reverse)
        if reverse:
            items.reverse()
        return items

    def _one_by_one(self, keys: list[bytes], values: list[bytes], *, reverse: bool) -> Iterator[tuple[Key, Value]]:
        """Yield what can be decoded, and raise the error of what can't when its turn comes."""
        pairs = list(zip(keys, values, strict=True))
        for encoded, value in reversed(pairs) if reverse else pairs:
            key = self.key(encoded)
            yield key, self.value(key, value)

    def _name(self, encoded: bytes) -> str:
        try:
            return reserved_name(encoded)
        except MalformedError as error:
            raise self._not_a_key(encoded, error) from error

    def _not_a_key(self, encoded: bytes, error: MalformedError) -> CorruptionError:
        return CorruptionError(
            f"a key can't be decoded ({error.reason}): {shown(encoded)}",
            path=self.path,
            next_step=salvage_step(self.path),
        )


def _there(batch: Batch) -> tuple[list[bytes], list[bytes]]:
    """Return keys and values of what isn't deleted."""
    keys, values = batch.columns()
    if None not in values:
        return keys, cast("list[bytes]", values)
    pairs = [(key, value) for key, value in zip(keys, values, strict=True) if value is not None]
    return [key for key, _ in pairs], [value for _, value in pairs]


OFFSETS_RANGE = keyspace_bounds(Keyspace.OFFSETS)


class OrderedReads(Mapping[Key, Value]):
    """The reading half of a mapping in key order.

    A subclass says what a key's encoded value is and which entries there are.
    Iterators belong to the moment at which they were made.
    """

    _values: Decoder

    @abstractmethod
    def _encoded(self, encoded_key: bytes) -> bytes | Absent | None:
        """Return the key's encoded value, None or ABSENT if there is none."""

    @abstractmethod
    def _batches(
        self, start: bytes | None, stop: bytes | None, *, reverse: bool = False, first_entries: int = FIRST_ENTRIES
    ) -> Batches:
        """Return entries with start <= key < stop, deletions included, as they are at this call."""

    def _entries(self, start: bytes | None, stop: bytes | None, *, reverse: bool = False) -> Iterator[Entry]:
        """Return what `_batches` does in ones."""
        return entries_of(self._batches(start, stop, reverse=reverse), reverse=reverse)

    def __getitem__(self, key: Key) -> Value:
        encoded = self._encoded(encode_key(key))
        if encoded is None or encoded is ABSENT:
            raise KeyError(key)
        return self._values.value(key, encoded)

    def __contains__(self, key: Any) -> bool:
        encoded = self._encoded(encode_key(key))
        return encoded is not None and encoded is not ABSENT

    @abstractmethod
    def _encoded_many(self, encoded_keys: list[bytes]) -> dict[bytes, bytes]:
        """Return the encoded values of those keys, given in order, that are there, all as they are at this call."""

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Value]:
        """Return copies of the values of those keys that are there, all from one moment, in the order of `keys`.

        Raises:
            UsageError: Something isn't a key.
            CorruptionError: A block that would hold one of them is damaged.

        Complexity:
            Each key is encoded once, and the blocks of tables are read in their order, so each goes to the file once.
        """
        encoded = {encode_key(key): key for key in keys}
        found = self._encoded_many(sorted(encoded))
        return {key: self._values.value(key, found[each]) for each, key in encoded.items() if each in found}

    def __iter__(self) -> Iterator[Key]:
        return self._values.keys(self._batches(USER_FIRST, None))

    def __reversed__(self) -> Iterator[Key]:
        return self._values.keys(self._batches(USER_FIRST, None, reverse=True), reverse=True)

    def __len__(self) -> int:
        """Count the keys. O(n): it scans them."""
        return sum(len(_there(batch)[0]) for batch in self._batches(USER_FIRST, None))

    def __bool__(self) -> bool:
        """Whether there is any key. It looks for the first one only."""
        return any(_there(batch)[0] for batch in self._batches(USER_FIRST, None))

    def keys(self) -> OrderedKeys:
        """Return the keys, in order."""
        return OrderedKeys(self)

    def values(self) -> OrderedValues:
        """Return the values, in key order."""
        return OrderedValues(self)

    def items(self) -> OrderedItems:
        """Return keys and values, in key order."""
        return OrderedItems(self)

    def scan(
        self,
        start: Key | None = None,
        stop: Key | None = None,
        *,
        prefix: Key | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[Key, Value]]:
        """Return an iterator over keys and values in key order, frozen at this call.

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
        check_limit(limit)
        low, high = encoded_range(start, stop, prefix)
        first_entries = FIRST_ENTRIES if limit is None else limit
        batches = self._batches(low, high, reverse=reverse, first_entries=first_entries)
        return self._values.items(batches, limit, reverse=reverse)


class OrderedKeys(KeysView[Key]):
    """`keys()` in order, in both directions, frozen when the iteration begins."""

    _mapping: OrderedReads

    def __iter__(self) -> Iterator[Key]:
        return iter(self._mapping)

    def __reversed__(self) -> Iterator[Key]:
        return reversed(self._mapping)


class OrderedItems(ItemsView[Key, Value]):
    """`items()` that reads in one scan, frozen when the iteration begins."""

    _mapping: OrderedReads

    def __iter__(self) -> Iterator[tuple[Key, Value]]:
        return self._mapping.scan()

    def __reversed__(self) -> Iterator[tuple[Key, Value]]:
        return self._mapping.scan(reverse=True)


class OrderedValues(ValuesView[Value]):
    """`values()` that reads in one scan, frozen when the iteration begins."""

    _mapping: OrderedReads

    def __iter__(self) -> Iterator[Value]:
        return (value for _, value in self._mapping.scan())

    def __reversed__(self) -> Iterator[Value]:
        return (value for _, value in self._mapping.scan(reverse=True))

    def __contains__(self, wanted: object) -> bool:
        # The inherited one reads key by key: one that goes meanwhile would be a KeyError.
        return any(value is wanted or value == wanted for value in self)
