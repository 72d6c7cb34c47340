"""Transactions under asyncio: reads are awaited, writes stay in memory, the end of the block commits.

Inside is the ordinary `Transaction`; what it would append itself is taken from
it and goes through the committer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from journalkit.errors import UsageError
from journalkit.format.block import Entry
from journalkit.format.frame import Kind
from journalkit.log.commit import Commit
from journalkit.store.aio.reads import AsyncReads
from journalkit.store.aio.running import Running
from journalkit.store.aio.workers import Workers
from journalkit.store.layers import Frozen
from journalkit.store.reading import OFFSETS_RANGE, offset_key
from journalkit.store.records import pairs_of, payload_of
from journalkit.store.store import Store
from journalkit.store.transaction import Transaction
from journalkit.types import ABSENT, UNSET, Absent, Key, Lsn, Sync, Unset, Value


class _Host:
    """What a transaction takes for its store; keeps the commit that it would have made."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._commit: Commit | None = None

    def take(self) -> Commit | None:
        """Return what the transaction commits, None if nothing, once."""
        commit, self._commit = self._commit, None
        return commit

    def begin(self, transaction: Transaction) -> None:
        """Nothing: which task is in a transaction is told by the face."""

    def end(self, transaction: Transaction) -> None:
        """Nothing."""

    def freeze(self) -> Frozen:
        return self._store.freeze()

    def commit_read(
        self, mutations: list[tuple[bytes, bytes | None]], sync: Sync | None, read_at_lsn: Lsn | None
    ) -> Lsn:
        check = self._store._checks.nothing_since(read_at_lsn) if read_at_lsn is not None else None
        self._commit = Commit(payload_of(mutations), Kind.BATCH, mutations, self._store._durable(sync), check)
        return 0


class AsyncTransaction(AsyncReads):
    """The store at one moment, with this transaction's own changes, for an `async with` block.

    `lsn` is the record's LSN once it is committed, 0 before, and 0 for one
    that wrote nothing.
    """

    def __init__(self, running: Running, sync: Sync | None) -> None:
        """Use `AsyncStore.transaction`."""
        store = running.store
        self._running = running
        self._values = store._values
        self._host = _Host(store)
        self._inner = Transaction(
            self._host, store._codec, store._offset_codec, store._values, store._offset_values, sync
        )
        self._freezing = asyncio.Lock()
        self.lsn: Lsn = 0

    async def __aenter__(self) -> Self:
        self._running.require_committer()
        if self._inner._is_open:
            raise UsageError("the transaction is open already; make another one")
        self._task = asyncio.current_task()
        self._inner.__enter__()
        self._running.in_transaction.add(self._task)
        self.lsn = 0
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.in_transaction.discard(self._task)
        self._inner.__exit__(kind, error, trace)
        commit = self._host.take()
        if commit is not None:
            self.lsn = await self._running.require_committer().commit(commit)

    # Reads

    def _require_workers(self) -> Workers:
        self._running.require()
        self._inner._require_open()
        return self._running.workers

    async def _base(self) -> Frozen:
        """Return the state that this transaction reads: the one at its first read, whoever of its tasks does it."""
        inner = self._inner
        async with self._freezing:
            base = inner._base
            if base is None:
                base = await self._require_workers().run(self._host.freeze)
                inner._require_open()
                inner._base = base
        return base

    async def _source(self) -> Transaction:
        await self._base()
        return self._inner

    async def _encoded(self, encoded_key: bytes) -> bytes | Absent | None:
        workers = self._require_workers()
        own: bytes | Absent | None = self._inner._writes.get(encoded_key, ABSENT)
        if own is not ABSENT:
            return own
        base = self._inner._base or await self._base()
        found = base.get_in_memory(encoded_key)
        return await workers.run(base.get, encoded_key) if found is UNSET else found

    async def _entries(self, start: bytes | None, stop: bytes | None, *, reverse: bool = False) -> Iterator[Entry]:
        await self._base()
        return self._inner._entries(start, stop, reverse=reverse)

    # Writes

    def __setitem__(self, key: Key, value: Value) -> None:
        self._running.require()
        self._inner[key] = value

    async def put(self, key: Key, value: Value) -> None:
        """Set a key when the transaction commits: `tx[key] = value`, which waits for nothing either."""
        self[key] = value

    async def delete(self, key: Key) -> None:
        """Remove a key when the transaction commits, whether it is there or not."""
        self._running.require()
        self._inner.delete(key)

    async def update(self, other: Mapping[Any, Value] | Iterable[tuple[Any, Value]] = (), /, **more: Value) -> None:
        """Set several keys when the transaction commits."""
        for key, value in pairs_of(other, more):
            self[key] = value

    async def pop(self, key: Key, default: Value | Unset = UNSET) -> Value:
        """Remove a key and return its value, or `default`. Raises KeyError without either."""
        value = await self.get(key, default)
        if value is UNSET:
            raise KeyError(key)
        await self.delete(key)
        return value

    async def setdefault(self, key: Key, default: Value = None) -> Value:
        """Return the key's value; if there is none, set it to `default` first."""
        value = await self.get(key, UNSET)
        if value is not UNSET:
            return value
        self[key] = default
        return default

    async def popitem(self) -> tuple[Key, Value]:
        """Remove and return the last key and its value; KeyError if there is none."""
        last = [item async for item in self.scan(reverse=True, limit=1)]
        if not last:
            raise KeyError("popitem(): the store is empty")
        await self.delete(last[0][0])
        return last[0]

    async def clear(self) -> None:
        """Remove every key that is there when the transaction reads."""
        for key in [key async for key in self]:
            await self.delete(key)

    @property
    def offsets(self) -> AsyncTransactionOffsets:
        """Input positions by name; written here, they commit in the same record as the state."""
        return AsyncTransactionOffsets(self)

    def __repr__(self) -> str:
        return f"<journalkit.AsyncTransaction: {self._inner!r}>"


class AsyncTransactionOffsets:
    """The input positions as a transaction sees them: `tx.offsets[name] = position`, `await tx.offsets.get(name)`."""

    def __init__(self, transaction: AsyncTransaction) -> None:
        self._transaction = transaction

    def __setitem__(self, name: str, position: Value) -> None:
        self._transaction._running.require()
        self._transaction._inner.offsets[name] = position

    async def get(self, name: str, default: Value = None) -> Value:
        """Return a position, or `default` if there is none."""
        encoded = await self._transaction._encoded(offset_key(name))
        if encoded is None or encoded is ABSENT:
            return default
        return self._transaction._running.store._offset_values.value(name, encoded)

    async def delete(self, name: str) -> None:
        """Forget a position when the transaction commits, whether it is there or not."""
        self._transaction._require_workers()
        self._transaction._inner._writes[offset_key(name)] = None

    async def all(self) -> dict[str, Value]:
        """Return all positions: a copy. O(offsets)."""
        transaction = self._transaction
        workers = transaction._require_workers()
        await transaction._base()
        batches = transaction._inner._batches(*OFFSETS_RANGE)
        return await workers.run(transaction._running.store._offset_values.offsets, batches)

    def __repr__(self) -> str:
        return f"<offsets of {self._transaction!r}>"
