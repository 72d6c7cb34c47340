"""Commits and groups: what waits to be written, and what is written as one.

A commit is one record to be, or none: a barrier that only wants the log
synced. It is settled when it has an outcome. A group is the commits that share
one write and at most one fsync; it remembers how far it got, so that another
thread can carry it on when its leader is interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Final, Protocol, TypeAlias

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

    Who waits is woken by who was woken before it, not all by one: they need
    the interpreter one after another, and sixteen that come for it at once are
    sixteen that go to sleep again. `following` is whom this one's caller wakes
    when it goes, and `is_called` says that somebody will wake this one so.
    """

    __slots__ = (
        "_bell",
        "check",
        "durable",
        "error",
        "following",
        "is_called",
        "kind",
        "lsn",
        "mutations",
        "payload",
        "settled",
    )

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
        self.following: Commit | None = None
        self.is_called = False
        self._bell: Lock | None = None

    def settle(self, error: Exception | None) -> None:
        """Give the commit its outcome. Twice is harmless. Who waits for it hears of it by `wake`."""
        self.error = error
        self.settled = True

    def withdraw(self) -> None:
        """Say that nobody wants this commit any more. From the thread that made it; never waits.

        The leader passes over one that has no place yet. One that has completes
        all the same, and its outcome is nobody's to read.
        """
        self.settled = True

    def listen(self) -> None:
        """Be heard from now on by who calls `wait`."""
        self._bell = bell = Lock()
        bell.acquire()

    def listen_for(self, other: Commit) -> None:
        """Let who wakes this one wake the waiter of another."""
        self._bell = other._bell

    @property
    def is_waited_for(self) -> bool:
        """Whether a thread sleeps, or will, until this is settled."""
        return self._bell is not None

    def leave(self) -> None:
        """Nobody waits any more; wake who counts on it."""
        self._bell = None
        if self.following is not None:
            self.following.wake()

    def wait(self, timeout_s: float) -> None:
        """Sleep until woken, at most `timeout_s`; a wake that came since `listen` counts."""
        bell = self._bell
        if bell is not None:
            bell.acquire(timeout=timeout_s)

    def wake(self) -> None:
        """Make the waiter look again, if there is one."""
        bell = self._bell
        if bell is not None and bell.locked():
            with suppress(RuntimeError):  # Somebody else woke it in between.
                bell.release()


CHAINS: Final = 2
"""One would stand still whenever one thread in it has to wait for a processor."""


def chain(commits: Iterable[Commit]) -> None:
    """Have each who waits be woken by the one before; the first is left to the leader. Before they are settled.

    One that was settled first might be gone before it knew whom to wake. Twice is harmless.
    """
    waiting = [commit for commit in commits if commit.is_waited_for]
    for before, commit in zip(waiting, waiting[CHAINS:], strict=False):
        before.following, commit.is_called = commit, True


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
