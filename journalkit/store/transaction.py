"""Transactions: reads from one moment, writes as one record.

A transaction reads from a view that is frozen at its first read, sees its own
writes on top, and commits when its block ends without an exception. Once it
has read anything, any commit in between is a conflict; one that only writes
never conflicts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping
from types import TracebackType
from typing import Protocol, Self

from sortedcontainers import SortedDict

from journalkit.errors import UsageError
from journalkit.format.codec import Codec
from journalkit.format.columns import Columns
from journalkit.format.keys import encode_key
from journalkit.snapshot.batches import FIRST_ENTRIES, Batches, ColumnsBatch, merge_batches
from journalkit.store.layers import Frozen
from journalkit.store.reading import OFFSETS_RANGE, Decoder, OrderedReads, offset_key
from journalkit.types import ABSENT, Absent, Key, Lsn, Sync, Value


class TransactionHost(Protocol):
    """What a transaction needs of its store."""

    def begin(self, transaction: Transaction) -> None:
        """Note that this thread is in a transaction. Raises UsageError if it is in one already."""
        ...

    def end(self, transaction: Transaction) -> None:
        """Forget it."""
        ...

    def freeze(self) -> Frozen:
        """Return the state as it is now."""
        ...

    def commit_read(
        self, mutations: list[tuple[bytes, bytes | None]], sync: Sync | None, read_at_lsn: Lsn | None
    ) -> Lsn:
        """Append them as one record, unless something was read and a record came behind it."""
        ...


class Transaction(OrderedReads, MutableMapping[Key, Value]):
    """A mapping that is the store at one moment, with this transaction's own changes.

    Used in a `with` block, by one thread. `lsn` is the record's LSN once it is
    committed, 0 before, and 0 for one that wrote nothing. `thread` is the one
    that is in its block.
    """

    def __init__(
        self,
        host: TransactionHost,
        codec: Codec,
        offset_codec: Codec,
        values: Decoder,
        offsets: Decoder,
        sync: Sync | None,
    ) -> None:
        """Use `Store.transaction`."""
        self._host = host
        self._codec = codec
        self._offset_codec = offset_codec
        self._values = values
        self._offset_values = offsets
        self._sync = sync
        self._writes: SortedDict = SortedDict()
        self._base: Frozen | None = None
        self._is_open = False
        self.thread = threading.current_thread()
        self.lsn: Lsn = 0

    def __enter__(self) -> Self:
        self.thread = threading.current_thread()
        self._host.begin(self)
        self.lsn = 0
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._host.end(self)
        writes, base = list(self._writes.items()), self._base
        self._writes.clear()
        self._base = None
        if kind is None and writes:
            self.lsn = self._host.commit_read(writes, self._sync, base.lsn if base is not None else None)

    # Reads

    def _read(self) -> Frozen:
        self._require_open()
        if self._base is None:
            self._base = self._host.freeze()
        return self._base

    def _require_open(self) -> None:
        if not self._is_open:
            raise UsageError("the transaction isn't open; use it inside its own with block")

    def _encoded(self, encoded_key: bytes) -> bytes | Absent | None:
        self._require_open()
        own: bytes | Absent | None = self._writes.get(encoded_key, ABSENT)
        return own if own is not ABSENT else self._read().get(encoded_key)

    def _encoded_many(self, encoded_keys: list[bytes]) -> dict[bytes, bytes]:
        own = self._writes
        found = self._read().get_many([key for key in encoded_keys if key not in own])
        found.update((key, own[key]) for key in encoded_keys if own.get(key) is not None)
        return found

    def _batches(
        self, start: bytes | None, stop: bytes | None, *, reverse: bool = False, first_entries: int = FIRST_ENTRIES
    ) -> Batches:
        base = self._read()
        # A copy: a loop over a scan may write.
        keys = list(self._writes.irange(start, stop, inclusive=(True, False)))
        own: Batches = iter([ColumnsBatch(Columns(keys, [self._writes[key] for key in keys]))] if keys else ())
        return merge_batches(
            [own, base.batches(start, stop, reverse=reverse, first_entries=first_entries)], reverse=reverse
        )

    # Writes

    def __setitem__(self, key: Key, value: Value) -> None:
        self._require_open()
        self._writes[encode_key(key)] = self._codec.encode(value)

    def put(self, key: Key, value: Value) -> None:
        """Set a key when the transaction commits."""
        self[key] = value

    def delete(self, key: Key) -> None:
        """Remove a key when the transaction commits, whether it is there or not."""
        self._require_open()
        self._writes[encode_key(key)] = None

    def __delitem__(self, key: Key) -> None:
        if key not in self:
            raise KeyError(key)
        self.delete(key)

    def clear(self) -> None:
        """Remove every key that is there when the transaction reads."""
        for key in list(self):
            self.delete(key)

    def popitem(self) -> tuple[Key, Value]:
        """Remove and return the last key and its value; KeyError if there is none."""
        for key, value in self.scan(reverse=True, limit=1):
            self.delete(key)
            return key, value
        raise KeyError("popitem(): the store is empty")

    @property
    def offsets(self) -> TransactionOffsets:
        """Input positions by name; written here, they commit in the same record as the state."""
        return TransactionOffsets(self)

    def __repr__(self) -> str:
        state = "open" if self._is_open else "ended"
        return f"<journalkit.Transaction on {self._values.path}, {state}, {len(self._writes)} writes>"


class TransactionOffsets(MutableMapping[str, Value]):
    """The input positions as a transaction sees them."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def _all(self) -> dict[str, Value]:
        return self._transaction._offset_values.offsets(self._transaction._batches(*OFFSETS_RANGE))

    def __getitem__(self, name: str) -> Value:
        encoded = self._transaction._encoded(offset_key(name))
        if encoded is None or encoded is ABSENT:
            raise KeyError(name)
        return self._transaction._offset_values.value(name, encoded)

    def __setitem__(self, name: str, value: Value) -> None:
        self._transaction._require_open()
        encoded = self._transaction._offset_codec.encode(value)
        self._transaction._writes[offset_key(name)] = encoded

    def __delitem__(self, name: str) -> None:
        self[name]
        self._transaction._writes[offset_key(name)] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"<offsets of {self._transaction!r}>"
