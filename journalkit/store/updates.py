"""Reading and writing in one step: what a mapping does that another writer could come between.

Each reads a key, makes a commit whose check says that the key is still as it
was read, and tries again when somebody was faster.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

from journalkit.clock import Clock
from journalkit.errors import ConflictError
from journalkit.format.codec import Codec
from journalkit.format.keys import USER_FIRST, encode_key
from journalkit.store.checks import Check, Checks, is_there
from journalkit.store.layers import Frozen
from journalkit.store.reading import OrderedReads
from journalkit.store.transaction import Transaction
from journalkit.types import ABSENT, UNSET, Absent, Key, Lsn, Sync, Unset, Value

TRANSACT_ATTEMPTS: Final = 100
_PAUSE_S: Final = 0.000_05
_PAUSE_DOUBLINGS_MAX: Final = 8
_Result = TypeVar("_Result")


class AtomicUpdates(OrderedReads, MutableMapping[Key, Value]):
    """The half of a store that reads and writes in one step."""

    _checks: Checks
    _codec: Codec
    _clock: Clock

    @abstractmethod
    def _commit(self, mutations: list[tuple[bytes, bytes | None]], sync: Sync | None, check: Check | None) -> Lsn:
        """Append encoded mutations as one record, if the check lets them."""

    @abstractmethod
    def _set(self, encoded_key: bytes, value: Value, check: Check) -> Lsn:
        """Set one key, if the check lets it."""

    @abstractmethod
    def _require_writable(self) -> None:
        """Raise UsageError unless this thread may write."""

    @abstractmethod
    def _freeze(self) -> Frozen:
        """Return the state as it is now."""

    @abstractmethod
    def transaction(self, *, sync: Sync | None = None) -> Transaction:
        """Return a transaction."""

    def modify(self, key: Key, function: Callable[[Value], Value], default: Value | Unset = UNSET) -> Value:
        """Replace a key's value by what `function` makes of it, atomically, and return the new value.

        `function` is called again if somebody else changed the key meanwhile.

        Raises:
            KeyError: There is no such key, and no `default`.
        """
        encoded_key = encode_key(key)
        self._require_writable()
        while True:
            before = self._encoded(encoded_key)
            new = function(self._value_or(key, before, default))
            with suppress(ConflictError):
                self._replace(key, encoded_key, before, new)
                return new

    @contextmanager
    def edit(self, key: Key, default: Value | Unset = UNSET) -> Iterator[Value]:
        """Hand out a key's value to be changed in place, and commit what the block made of it.

        Raises:
            KeyError: There is no such key, and no `default`.
            ConflictError: Somebody else changed the key meanwhile. Nothing was written.
        """
        encoded_key = encode_key(key)
        # Here too, and not only when the block is done.
        self._require_writable()
        before = self._encoded(encoded_key)
        value = self._value_or(key, before, default)
        yield value
        self._replace(key, encoded_key, before, value)

    def pop(self, key: Key, default: Value | Unset = UNSET) -> Value:
        """Remove a key and return its value, or `default`; atomic. Raises KeyError without either."""
        encoded_key = encode_key(key)
        while True:
            before = self._encoded(encoded_key)
            if before is None or before is ABSENT:
                if default is UNSET:
                    raise KeyError(key)
                return default
            value = self._values.value(key, before)
            with suppress(ConflictError):
                self._commit([(encoded_key, None)], None, self._checks.unchanged(key, encoded_key, before))
                return value

    def popitem(self) -> tuple[Key, Value]:
        """Remove the last key and return it with its value; atomic. Raises KeyError if the store is empty."""
        while True:
            state = self._freeze()
            entries = state.scan(USER_FIRST, None, reverse=True)
            encoded_key, encoded = next((entry for entry in entries if entry[1] is not None), (b"", None))
            if encoded is None:
                raise KeyError("popitem(): the store is empty")
            key = self._values.key(encoded_key)
            last = key, self._values.value(key, encoded)
            with suppress(ConflictError):
                self._commit([(encoded_key, None)], None, self._checks.still_last(state, encoded_key, encoded))
                return last

    def setdefault(self, key: Key, default: Value = None) -> Value:
        """Return the key's value; if there is none, set it to `default` first. Atomic."""
        encoded_key = encode_key(key)
        while True:
            before = self._encoded(encoded_key)
            if is_there(before):
                return self._value_or(key, before, UNSET)
            with suppress(ConflictError):
                self._replace(key, encoded_key, before, default)
                # Not read again: somebody may have removed it meanwhile, and it would be set twice.
                return copy.deepcopy(default)

    def clear(self) -> None:
        """Remove every key, in one record; input positions stay. O(n)."""
        while True:
            state = self._freeze()
            gone: dict[bytes, bytes | None] = {
                key: None for key, value in state.scan(USER_FIRST, None) if value is not None
            }
            with suppress(ConflictError):
                self._commit(list(gone.items()), None, self._checks.no_others(state, gone))
                return

    def transact(self, function: Callable[[Transaction], _Result], *, attempts: int = TRANSACT_ATTEMPTS) -> _Result:
        """Run `function(tx)` in a transaction, again if it was overtaken, and return what it returned.

        As a decorator it runs the function where it is defined; what it does besides
        the transaction happens as often as it is tried.

        Raises:
            ConflictError: It was overtaken `attempts` times. Nothing was written.
        """
        for attempt in range(attempts - 1):
            with suppress(ConflictError):
                return self._try(function)
            self._clock.sleep(pause_s(attempt, self._clock))
        return self._try(function)

    def _try(self, function: Callable[[Transaction], _Result]) -> _Result:
        with self.transaction() as transaction:
            return function(transaction)

    def _value_or(self, key: Key, encoded: bytes | Absent | None, default: Value | Unset) -> Value:
        if encoded is not None and encoded is not ABSENT:
            return self._values.value(key, encoded)
        if default is UNSET:
            raise KeyError(key)
        return copy.deepcopy(default)

    def _replace(self, key: Key, encoded_key: bytes, before: bytes | Absent | None, value: Value) -> None:
        self._set(encoded_key, value, self._checks.unchanged(key, encoded_key, before))


def pause_s(attempt: int, clock: Clock) -> float:
    """A random pause that grows with the attempts, so that those who collided don't do so again."""
    share = int.from_bytes(clock.random_bytes(2), "little") / 0xFFFF
    return float(share * _PAUSE_S * 2 ** min(attempt, _PAUSE_DOUBLINGS_MAX))
