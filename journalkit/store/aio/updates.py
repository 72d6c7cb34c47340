"""Reading and writing in one step, awaited: what somebody else could come between.

Each reads a key, makes a commit whose check says that the key is still as it
was read, and tries again when somebody was faster. The tasks of one store that
do so with one key take turns: only one of them can succeed in a group, and the
others would encode, wait for the fsync and try again, each as often as there
are tasks.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TypeVar
from weakref import WeakValueDictionary

from journalkit.errors import ConflictError
from journalkit.format.keys import encode_key
from journalkit.store.aio.reads import AsyncReads
from journalkit.store.aio.transaction import AsyncTransaction
from journalkit.store.checks import Check, is_there
from journalkit.store.store import Store
from journalkit.store.updates import TRANSACT_ATTEMPTS, pause_s
from journalkit.types import ABSENT, UNSET, Absent, Key, Lsn, Sync, Unset, Value

_Result = TypeVar("_Result")


class AsyncUpdates(AsyncReads):
    """The half of an asynchronous store that reads and writes in one step."""

    _turns: WeakValueDictionary[bytes | None, asyncio.Lock]

    @abstractmethod
    def _require_writable(self) -> Store:
        """Return the store behind. Raises UsageError unless this task may write."""

    @abstractmethod
    async def _commit(self, mutations: list[tuple[bytes, bytes | None]], sync: Sync | None, check: Check | None) -> Lsn:
        """Append encoded mutations as one record, if the check lets them."""

    @abstractmethod
    def transaction(self, *, sync: Sync | None = None) -> AsyncTransaction:
        """Return a transaction."""

    async def modify(self, key: Key, function: Callable[[Value], Value], default: Value | Unset = UNSET) -> Value:
        """Replace a key's value by what `function` makes of it, atomically, and return the new value.

        `function` runs on the loop and waits for nothing. It is called again if
        somebody else changed the key meanwhile.

        Raises:
            KeyError: There is no such key, and no `default`.
        """
        encoded_key = encode_key(key)
        store = self._require_writable()
        async with self._turn(encoded_key):
            while True:
                before = await self._encoded(encoded_key)
                new = function(store._value_or(key, before, default))
                with suppress(ConflictError):
                    await self._replace(store, key, encoded_key, before, new)
                    return new

    @asynccontextmanager
    async def edit(self, key: Key, default: Value | Unset = UNSET) -> AsyncIterator[Value]:
        """Hand out a key's value to be changed in place, and commit what the block made of it.

        Raises:
            KeyError: There is no such key, and no `default`.
            ConflictError: Somebody else changed the key meanwhile. Nothing was written.
        """
        encoded_key = encode_key(key)
        store = self._require_writable()
        before = await self._encoded(encoded_key)
        value = store._value_or(key, before, default)
        yield value
        await self._replace(store, key, encoded_key, before, value)

    async def pop(self, key: Key, default: Value | Unset = UNSET) -> Value:
        """Remove a key and return its value, or `default`; atomic. Raises KeyError without either."""
        encoded_key = encode_key(key)
        store = self._require_writable()
        async with self._turn(encoded_key):
            while True:
                before = await self._encoded(encoded_key)
                if not is_there(before) and default is not UNSET:
                    return default
                value = store._value_or(key, before, UNSET)
                with suppress(ConflictError):
                    await self._commit([(encoded_key, None)], None, store._checks.unchanged(key, encoded_key, before))
                    return value

    async def setdefault(self, key: Key, default: Value = None) -> Value:
        """Return the key's value; if there is none, set it to `default` first. Atomic."""
        encoded_key = encode_key(key)
        store = self._require_writable()
        async with self._turn(encoded_key):
            while True:
                before = await self._encoded(encoded_key)
                if is_there(before):
                    return store._value_or(key, before, UNSET)
                with suppress(ConflictError):
                    await self._replace(store, key, encoded_key, before, default)
                    return store._value_or(key, ABSENT, default)

    async def transact(
        self, function: Callable[[AsyncTransaction], Awaitable[_Result]], *, attempts: int = TRANSACT_ATTEMPTS
    ) -> _Result:
        """Await `function(tx)` in a transaction, again if it was overtaken, and return what it returned.

        What it does besides the transaction happens as often as it is tried.

        Raises:
            ConflictError: It was overtaken `attempts` times. Nothing was written.
        """
        if attempts > 1:
            with suppress(ConflictError):
                return await self._try(function)
        # From here on one after the other: of those that read, one in a group can succeed.
        async with self._turn(None):
            for attempt in range(attempts - 2):
                with suppress(ConflictError):
                    return await self._try(function)
                await asyncio.sleep(pause_s(attempt, self._require_writable()._clock))
            return await self._try(function)

    async def _try(self, function: Callable[[AsyncTransaction], Awaitable[_Result]]) -> _Result:
        async with self.transaction() as transaction:
            return await function(transaction)

    def _turn(self, what: bytes | None) -> AbstractAsyncContextManager[None]:
        """Wait for one's turn with a key, or, with None, with a transaction that was overtaken."""
        # Held by who has it or waits for it, and gone with the last of them.
        lock = self._turns.get(what)
        if lock is None:
            self._turns[what] = lock = asyncio.Lock()
        return lock

    async def _replace(
        self, store: Store, key: Key, encoded_key: bytes, before: bytes | Absent | None, value: Value
    ) -> None:
        encoded = store._codec.encode(value)
        await self._commit([(encoded_key, encoded)], None, store._checks.unchanged(key, encoded_key, before))
