"""Commits and groups: what waits to be written, and what is written as one.

A commit is one record to be, or none: a barrier that only wants the log
synced. It is settled when it has an outcome. A group is the commits that share
one write and at most one fsync; it remembers how far it got, so that another
thread can carry it on when its leader is interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol, TypeAlias

from journalkit.errors import JournalError

Mutations: TypeAlias = Sequence[tuple[bytes, bytes | None]]
Check: TypeAlias = "Callable[[int, Sequence[Commit]], None]"


class Applier(Protocol):
    """Makes records visible, in the order of their LSNs. Called by a leader, and again after an interruption."""

    def apply(self, commits: list[Commit], last_lsn: int, /) -> None:
        """Make a group visible whose last record is `last_lsn`."""
        ...

    def apply_one(self, mutations: Mutations, payload: bytes, lsn: int, /) -> None:
        """Make a record visible that was alone: what `apply` does, without the object around it."""
        ...


class Stateless:
    """The applier of a log that is all there is: no state changes with a record."""

    def apply(self, commits: list[Commit], last_lsn: int, /) -> None:
        """Do nothing."""

    def apply_one(self, mutations: Mutations, payload: bytes, lsn: int, /) -> None:
        """Do nothing."""


class Commit:
    """One caller's record on its way into the log; good for one `Log.commit`.

    `check` is called when the record's place is decided, with the LSN of the
    last record before it and the earlier commits of the same group; it raises
    to refuse. It may be called again if its caller was interrupted or a group
    had to be split. `lsn` is assigned right after, and is final once the
    commit is settled.
    """

    __slots__ = ("_signal", "check", "durable", "error", "kind", "lsn", "mutations", "payload", "settled")

    def __init__(
        self,
        payload: bytes | None,
        kind: int,
        mutations: Mutations,
        durable: bool,
        check: Check | None = None,
    ) -> None:
        self.payload = payload
        self.kind = kind
        self.mutations = mutations
        self.durable = durable
        self.check = check
        self.lsn = 0
        self.error: Exception | None = None
        self.settled = False
        self._signal: SimpleQueue[None] | None = None

    def settle(self, error: Exception | None) -> None:
        """Give the commit its outcome and wake who waits for it. Twice is harmless."""
        self.error = error
        self.settled = True
        if self._signal is not None:
            self._signal.put(None)

    def withdraw(self) -> None:
        """Say that nobody wants this commit any more. From the thread that made it; never waits.

        The leader passes over one that has no place yet. One that has completes
        all the same, and its outcome is nobody's to read.
        """
        self.settled = True

    def listen(self) -> SimpleQueue[None]:
        """Return what `wake` will be heard by from now on, for `wait`."""
        signal: SimpleQueue[None] = SimpleQueue()
        self._signal = signal
        return signal

    def wake(self) -> None:
        """Make the waiter look again, if there is one."""
        if self._signal is not None:
            self._signal.put(None)


def wait(signal: SimpleQueue[None], timeout_s: float) -> None:
    """Sleep until woken, at most `timeout_s`; a wake that came earlier counts."""
    try:
        signal.get(timeout=timeout_s)
    except Empty:
        return


class Group:
    """Commits with LSNs and bytes, and how far they got."""

    __slots__ = ("checksum", "commits", "data", "durable", "error", "last_lsn", "offset_bytes", "written")

    def __init__(
        self, commits: list[Commit], data: bytes, offset_bytes: int, last_lsn: int, checksum: int, durable: bool
    ) -> None:
        self.commits = commits
        self.data = data
        self.offset_bytes = offset_bytes
        self.last_lsn = last_lsn
        self.checksum = checksum
        self.durable = durable
        self.written = not data
        self.error: JournalError | None = None
