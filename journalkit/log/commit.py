"""Commits and groups: what waits to be written, and what is written as one.

A commit is one record to be, or none: a barrier that only wants the log
synced. It is settled when it has an outcome. A group is the commits that share
one write and at most one fsync; it remembers how far it got, so that another
thread can carry it on when its leader is interrupted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeAlias

from journalkit.errors import JournalError
from journalkit.log.attempt import SyncAttempt

Mutations: TypeAlias = Sequence[tuple[bytes, bytes | None]]


class Commit:
    """One caller's record on its way into the log.

    `check` is called when the record's place is decided, with the LSN of the
    last record before it and the earlier commits of the same group; it raises
    to refuse. `lsn` is assigned right after.
    """

    __slots__ = ("_signal", "check", "durable", "error", "kind", "lsn", "mutations", "payload", "settled")

    def __init__(
        self,
        payload: bytes | None,
        kind: int,
        mutations: Mutations,
        durable: bool,
        check: Callable[[int, Sequence[Commit]], None] | None = None,
    ) -> None:
        self.payload = payload
        self.kind = kind
        self.mutations = mutations
        self.durable = durable
        self.check = check
        self.lsn = 0
        self.error: JournalError | None = None
        self.settled = False
        self._signal: SimpleQueue[None] | None = None

    def settle(self, error: JournalError | None = None) -> None:
        """Give the commit its outcome and wake who waits for it. Twice is harmless."""
        self.error = error
        self.settled = True
        self.wake()

    def wake(self) -> None:
        """Make the waiter look again."""
        if self._signal is not None:
            self._signal.put(None)

    def wait(self, timeout_s: float) -> None:
        """Sleep until woken, at most `timeout_s`; returns at once if settled meanwhile."""
        if self._signal is None:
            self._signal = SimpleQueue()
        if not self.settled:
            with contextlib.suppress(Empty):
                self._signal.get(timeout=timeout_s)


class Group:
    """Commits with LSNs and bytes, and how far they got."""

    __slots__ = ("attempt", "checksum", "commits", "data", "end_bytes", "error", "last_lsn", "offset_bytes", "written")

    def __init__(
        self,
        commits: list[Commit],
        data: bytes,
        offset_bytes: int,
        last_lsn: int,
        checksum: int,
        attempt: SyncAttempt | None,
    ) -> None:
        self.commits = commits
        self.data = data
        self.offset_bytes = offset_bytes
        self.end_bytes = offset_bytes + len(data)
        self.last_lsn = last_lsn
        self.checksum = checksum
        self.attempt = attempt
        self.written = False
        self.error: JournalError | None = None
