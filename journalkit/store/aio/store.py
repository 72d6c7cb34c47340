"""The asynchronous store: a `Store` whose verbs are awaited.

It belongs to the loop that opened it. Behind it is an ordinary store, opened
and closed in a thread; writes go through the committer, and what may wait for
the disk through workers. What a verb means, refuses and raises is what the
verb of `Store` does.
"""

from __future__ import annotations

import warnings
from asyncio import _get_running_loop
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from weakref import WeakValueDictionary

from journalkit.errors import ClosedError, UsageError
from journalkit.format.batch import ENTRY_BYTES, encode_one
from journalkit.format.block import Entry
from journalkit.format.frame import PAYLOAD_BYTES_MAX, Kind
from journalkit.format.keys import encode_key
from journalkit.log.commit import Commit
from journalkit.options import check_sync
from journalkit.recovery.report import RecoveryReport
from journalkit.store.aio.running import Running, running_loop
from journalkit.store.aio.transaction import AsyncTransaction
from journalkit.store.aio.updates import AsyncUpdates
from journalkit.store.aio.view import AsyncView
from journalkit.store.aio.workers import Workers, undisturbed
from journalkit.store.batch import Batch
from journalkit.store.checks import Check
from journalkit.store.moment import Moment, Momentary
from journalkit.store.records import check_batch, pairs_of, payload_of, too_large
from journalkit.store.statistics import StoreStatistics
from journalkit.store.store import Store
from journalkit.types import ABSENT, UNSET, Absent, Key, Lsn, Sync, Unset, Value

ENCODED_ON_THE_LOOP_MAX: Final = 256
"""A batch of more changes is encoded in a worker."""

_BATCH: Final = Kind.BATCH
_Result = TypeVar("_Result")


class AsyncStore(AsyncUpdates, Momentary):
    """A durable, ordered mapping for the tasks of one event loop; `journalkit.open_async` makes one.

    Await it to open it, and then `await store.close()`; or use it with `async with`,
    which does both. A task that is cancelled while it waits for a write has
    written nothing if the record had no place in the log yet; else the record
    is completed, and which it was isn't known to the task.
    """

    def __init__(self, path: str, opening: Callable[[], Store]) -> None:
        """Use `journalkit.open_async`."""
        self._path = path
        self._opening: Callable[[], Store] | None = opening
        self._running: Running | None = None
        self._turns = WeakValueDictionary()

    # Beginning and end

    async def _begin(self) -> Self:
        if self._running is not None:
            self._running.require()
            return self
        loop, opening = running_loop(), self._opening
        if opening is None:
            raise UsageError(f"{self._path} is being opened by another task, was closed, or could not be opened")
        self._opening = None
        workers = Workers(loop, self._path)
        try:
            store, cancelled = await undisturbed(workers.run(opening))
            if cancelled is not None:
                await undisturbed(workers.run(store.close))
                raise cancelled
            self._values = store._values
            self._running = Running(store, loop, workers)
        finally:
            if self._running is None:
                workers.stop()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._begin().__await__()

    async def __aenter__(self) -> Self:
        return await self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let what was submitted complete, sync, seal the log, release the lock. Idempotent.

        Once this returns, nothing of the store runs any more, and every visible
        record survives a power cut. It takes at most about a second and a half, and
        a cancellation is raised only when it is done.

        Raises:
            StorageError: The log could not be sealed; the handle is closed all
                the same, and opening tells what survived.
        """
        self._opening = None
        running = self._running
        if running is None:
            return
        was_closed = running.is_closed
        closed = running.close()
        if not was_closed:
            _, cancelled = await undisturbed(closed)
            if cancelled is not None:
                raise cancelled

    def __del__(self) -> None:
        running = getattr(self, "_running", None)
        if running is not None and not running.is_closing:
            try:
                warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self)
            finally:
                running.drop()

    def __repr__(self) -> str:
        running = self._running
        if running is None:
            return f"<journalkit.AsyncStore {self._path!r}, not open>"
        return f"<journalkit.AsyncStore on {running.store!r}>"

    # Where it stands: all of this is in memory

    @property
    def path(self) -> str:
        """The directory, as it was given."""
        return self._path

    @property
    def closed(self) -> bool:
        """Whether the handle is of no more use."""
        return self._opening is None and (self._running is None or self._running.is_closing)

    @property
    def uuid(self) -> str:
        """The store's identity, 32 hexadecimal digits; copies share it."""
        return self._inner.uuid

    @property
    def epoch(self) -> int:
        """How often the store was opened for writing."""
        return self._inner.epoch

    @property
    def lsn(self) -> Lsn:
        """The last record that is visible; 0 if there is none."""
        return self._inner.lsn

    @property
    def durable_lsn(self) -> Lsn:
        """The last record that is known to survive a power cut."""
        return self._inner.durable_lsn

    @property
    def snapshot_lsn(self) -> Lsn:
        """The record up to which the newest snapshot reaches; 0 if there is none."""
        return self._inner.snapshot_lsn

    @property
    def pruned_lsn(self) -> Lsn:
        """The last record that is gone from the log; 0 if none is."""
        return self._inner.pruned_lsn

    @property
    def recovery_report(self) -> RecoveryReport:
        """What opening found and did; its `str` is one line."""
        return self._inner.recovery_report

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was given as `metadata` when the store was created: a copy."""
        return self._inner.metadata

    # Reads

    def view(self) -> AsyncView:
        """Return the store as it is when this is awaited or entered, as a read-only mapping that doesn't change."""
        return AsyncView(self._require())

    def moment(self) -> Moment:
        """Return the state as it is now, with what the store is, in any thread. For journalkit's own layers."""
        return self._inner.moment()

    async def offsets(self) -> dict[str, Value]:
        """Return input positions by name: a copy. They are written in transactions and batches. O(offsets)."""
        return dict(await self._in_worker(lambda store: store.offsets))

    async def _value(self, key: Key) -> Value | Absent:
        running = self._require()
        value = running.store._get_in_memory(key)
        # There it also becomes hot, if it is asked for again.
        return await running.workers.run(running.store.get, key, ABSENT) if value is UNSET else value

    async def _source(self) -> Store:
        return self._require().store

    async def _encoded(self, encoded_key: bytes) -> bytes | Absent | None:
        running = self._require()
        found = running.store._layers.get_in_memory(encoded_key)
        return await running.workers.run(running.store._encoded, encoded_key) if found is UNSET else found

    async def _entries(self, start: bytes | None, stop: bytes | None, *, reverse: bool = False) -> Iterator[Entry]:
        return await self._in_worker(lambda store: store._entries(start, stop, reverse=reverse))

    # Writes

    async def put(
        self, key: Key, value: Value, *, sync: Sync | None = None, expect: Value | Absent | Unset = UNSET
    ) -> Lsn:
        """Set one key and return the record's log sequence number.

        Arguments, durability and errors are those of `Store.put`. Who waits at
        the same time shares one write and one fsync. When much is on its way
        already, it waits for room first.
        """
        # A thousand tasks come here at once, on one thread: nothing is called that needn't be.
        running = self._running
        if running is None or _get_running_loop() is not running.loop:
            running = self._require()
        committer, store = running.committer, running.store
        if committer is None or running.refusal is not None or store._refusal is not None or running.in_transaction:
            committer = running.require_committer()
        if committer.waiting or committer.pending_bytes >= committer.bytes_max:
            await committer.room()
            running.require()
        encoded_key, encoded = encode_key(key), store._encode_value(value)
        if len(encoded_key) + len(encoded) + ENTRY_BYTES > PAYLOAD_BYTES_MAX:
            raise too_large(len(encoded_key) + len(encoded) + ENTRY_BYTES)
        check = None if expect is UNSET else store._checks.expected(key, encoded_key, expect)
        durable = store._default_durable if sync is None else store._durable(sync)
        commit = Commit(encode_one(encoded_key, encoded), _BATCH, ((encoded_key, encoded),), durable, check)
        try:
            return await committer.submit(commit)
        except BaseException:
            commit.withdraw()
            raise

    async def delete(self, key: Key, *, sync: Sync | None = None, expect: Value | Unset = UNSET) -> Lsn:
        """Remove one key, whether it is there or not, and return the record's LSN. Otherwise as `put`."""
        store = self._require_writable()
        encoded_key = encode_key(key)
        check = None if expect is UNSET else store._checks.expected(key, encoded_key, expect)
        return await self._commit([(encoded_key, None)], sync, check)

    async def write(self, batch: Batch, *, sync: Sync | None = None) -> Lsn:
        """Commit a batch as one record and return its LSN. All of it or nothing; otherwise as `put`.

        A large batch is encoded in a worker: leave it, and what is in it, as it is until this returns.
        """
        store = self._require_writable()
        check_batch(batch)
        if len(batch) > ENCODED_ON_THE_LOOP_MAX:
            mutations = await self._in_worker(lambda store: store._mutations_of(batch))
        else:
            mutations = store._mutations_of(batch)
        return await self._commit(mutations, sync, None)

    async def update(self, other: Mapping[Any, Value] | Iterable[tuple[Any, Value]] = (), /, **more: Value) -> None:
        """Set several keys in one record: all or nothing. As for `write`, many are encoded in a worker."""
        store = self._require_writable()
        pairs = pairs_of(other, more)
        if len(pairs) > ENCODED_ON_THE_LOOP_MAX:
            mutations = await self._in_worker(lambda store: store._mutations_of_pairs(pairs))
        else:
            mutations = store._mutations_of_pairs(pairs)
        await self._commit(mutations, None, None)

    async def popitem(self) -> tuple[Key, Value]:
        """Remove the last key and return it with its value; atomic. Raises KeyError if the store is empty.

        Cancelled, it may still be done.
        """
        self._require_writable()
        return await self._in_worker(lambda store: store.popitem())

    async def clear(self) -> None:
        """Remove every key, in one record; input positions stay. O(n). Cancelled, it may still be done."""
        self._require_writable()
        await self._in_worker(lambda store: store.clear())

    def transaction(self, *, sync: Sync | None = None) -> AsyncTransaction:
        """Return a transaction, to be used in an `async with` block: one record, all or nothing.

        It reads the store as it was at its first read, and its own writes. An
        exception rolls it back, and so does a cancellation before its end.

        Raises:
            ConflictError: At the end of the block: it read something, and
                somebody committed since. Nothing was written; run it again.
            UsageError: This task is in a transaction of this store already.
        """
        running = self._require()
        running.require_committer()
        if sync is not None:
            check_sync(sync)
        return AsyncTransaction(running, sync)

    async def _commit(self, mutations: list[tuple[bytes, bytes | None]], sync: Sync | None, check: Check | None) -> Lsn:
        running = self._require()
        committer = running.require_committer()
        durable = running.store._durable(sync)
        if not mutations:
            return running.store.lsn
        return await committer.commit(Commit(payload_of(mutations), Kind.BATCH, mutations, durable, check))

    # Upkeep

    async def sync(self) -> Lsn:
        """Make every visible record durable and return the LSN that is then durable. Raises StorageError."""
        running = self._require()
        return await running.require_committer().commit(Commit(None, 0, (), durable=True))

    async def compact(self) -> None:
        """Fold the log into a new snapshot now, and prune; errors as for `Store.compact`. Cancelled, it goes on."""
        self._require_writable()
        await self._in_worker(lambda store: store.compact())

    async def check(self) -> None:
        """Read every byte of the newest snapshot again and check what must always hold; return if all is well."""
        await self._in_worker(lambda store: store.check())

    async def statistics(self) -> StoreStatistics:
        """Return counts and sizes. O(segments)."""
        return await self._in_worker(lambda store: store.statistics())

    # Guards

    @property
    def _inner(self) -> Store:
        if self._running is None:
            raise self._not_open()
        return self._running.store

    def _require(self) -> Running:
        running = self._running
        if running is None:
            raise self._not_open()
        running.require()
        return running

    def _require_workers(self) -> Workers:
        return self._require().workers

    def _require_writable(self) -> Store:
        running = self._require()
        running.require_committer()
        return running.store

    def _not_open(self) -> UsageError:
        if self._opening is None:
            return ClosedError(f"{self._path} is closed, or could not be opened; open it again")
        return UsageError(f"{self._path} isn't open yet; await the store, or use it with `async with`")

    async def _in_worker(self, function: Callable[[Store], _Result]) -> _Result:
        running = self._require()
        return await running.workers.run(function, running.store)
