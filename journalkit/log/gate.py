"""The gate: threads encode one after another, and only while there is room for what they make.

Each thread that commits waits with one record, encoded, so what waits grows
with threads times records. The gate stands before the encoding: who comes while
`bytes_max` are on their way into the log waits, and has nothing in memory but
the value itself. So at most `bytes_max` and one record wait, whatever its size:
a larger one passes as soon as there is room for any.

Records of up to `SMALL_BYTES` aren't counted; threads are few enough for them.

Nothing here can be left locked or counted by an interrupt. The lock is taken by
`with` alone, and may be taken again by who has it: a signal handler or a
finalizer that puts while its thread encodes. What is counted is what there is:
an object that lives as long as its caller waits.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock, get_ident
from typing import Any, Final, TypeAlias
from weakref import ref

from journalkit.log.commit import Check, Commit, Mutations
from journalkit.log.log import Log

WAITING_BYTES_MAX: Final = 32 * 1024 * 1024
SMALL_BYTES: Final = 64 * 1024
_PAUSE_S: Final = 0.001
_PAUSES_MAX: Final = 100
"""What was waited for is done, and its threads have to come round to say so; a budget isn't worth more than this."""

Made: TypeAlias = "tuple[bytes, Mutations]"
"""A record's payload, and what it changes."""


class _Held:
    """A record that somebody waits with."""

    __slots__ = ("__weakref__", "size_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes


class Gate:
    """The way of a thread into a log. Any thread may call anything; `turn` is held by who encodes."""

    def __init__(self, log: Log, *, bytes_max: int = WAITING_BYTES_MAX) -> None:
        self._log = log
        self._bytes_max = bytes_max
        self._held: list[ref[_Held]] = []
        self.turn = RLock()

    def append(
        self, make: Callable[..., Made], subject: tuple[Any, ...], kind: int, durable: bool, check: Check | None = None
    ) -> int:
        """`Log.append` what `make(*subject)` returns, made when there is room for it.

        Raises:
            Exception: What `make` raised; nothing was written. Else as `Log.append`.
        """
        log = self._log
        if log._leader and log._leader == get_ident():
            # From inside a commit: it is refused. Whoever waits at the gate may be waiting for that commit.
            payload, mutations = make(*subject)
            return log.append(payload, kind, mutations, durable, check)
        with self.turn:
            if self._held:
                self._wait_for_room()
            payload, mutations = make(*subject)
            if len(payload) <= SMALL_BYTES:
                held = None
            else:
                held = _Held(len(payload))
                self._held.append(ref(held))
        try:
            return log.append(payload, kind, mutations, durable, check)
        finally:
            if held is not None:
                # An exception that somebody keeps would keep it, too.
                held.size_bytes = 0

    def _wait_for_room(self) -> None:
        """With the turn in hand, wait until less waits than may.

        Raises:
            JournalError: The log takes no more records.
        """
        for _ in range(_PAUSES_MAX):
            if self._waiting_bytes() < self._bytes_max:
                return
            # Done when everything that is in the queue by now is; this thread may do it itself.
            self._log.commit(Commit(None, 0, (), durable=False))
            if self._waiting_bytes() < self._bytes_max:
                return
            self._log._clock.sleep(_PAUSE_S)

    def _waiting_bytes(self) -> int:
        """Return what waits, and forget what doesn't any more."""
        living = [held for each in self._held if (held := each()) is not None and held.size_bytes]
        self._held = [ref(held) for held in living]
        return sum(held.size_bytes for held in living)
