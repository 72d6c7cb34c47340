"""The committer: what the tasks of a loop commit, written as groups by one thread.

    submit, on the loop -> pending -> (end of the loop's turn) inbox -> thread: `Log.commit_all` -> `_tell`, on the loop

All that comes in one turn of the loop is handed over at once, and all that was
handed over while the thread was writing becomes the next group: tasks share an
fsync without knowing of each other. The loop hears of a group once, and tells
its tasks in portions, so that a large group doesn't hold up the rest.

The thread knows the log and not the store, so it keeps no dropped store alive.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from journalkit.errors import JournalError, StorageError
from journalkit.log.commit import Commit
from journalkit.log.log import Log

PENDING_BYTES_MAX: Final = 32 * 1024 * 1024
"""How much may be on its way into the log before who comes next has to wait."""

TELL_MAX: Final = 500
"""How many tasks are told their outcome in one turn of the loop: a few milliseconds of work."""

Handed: TypeAlias = "tuple[list[Commit], list[asyncio.Future[int]], int]"
"""Commits, at the same places who waits for them, and their bytes."""


class Committer:
    """Commits for the tasks of one loop. Its methods are the loop's, except `join`.

    While `pending_bytes` are at `bytes_max`, or somebody is `waiting`, who wants
    to submit waits for `room` first.
    """

    def __init__(self, log: Log, loop: asyncio.AbstractEventLoop, *, bytes_max: int = PENDING_BYTES_MAX) -> None:
        self._loop = loop
        self.bytes_max = bytes_max
        self.pending_bytes = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._commits: list[Commit] = []
        self._futures: list[asyncio.Future[int]] = []
        self._new_bytes = 0
        # Handed over and not told yet, oldest first; the first `_settled` of them have their outcomes.
        self._handed: deque[Handed] = deque()
        self._settled = 0
        self._told = 0
        self._inbox: SimpleQueue[list[Commit] | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=_serve, args=(log, self._inbox, loop, self._note), name="journalkit-committer", daemon=True
        )
        self._thread.start()

    async def room(self) -> None:
        """Wait, first come, first served, until there is room; then submit without another await."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self.waiting.append(turn)
        try:
            await turn
        finally:
            # The next one's turn, whatever becomes of this one's: by then it has submitted, if it does.
            if turn.done() and not turn.cancelled():
                self._loop.call_soon(self._admit)
            else:
                turn.cancel()

    def _admit(self) -> None:
        while self.waiting and self.pending_bytes < self.bytes_max:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def submit(self, commit: Commit) -> asyncio.Future[int]:
        """Line a commit up and return the future of its LSN. Who stops waiting for it withdraws the commit."""
        commits = self._commits
        if not commits:
            self._loop.call_soon(self._hand_over)
        future: asyncio.Future[int] = asyncio.Future(loop=self._loop)
        commits.append(commit)
        self._futures.append(future)
        if commit.payload is not None:
            size_bytes = len(commit.payload)
            self.pending_bytes += size_bytes
            self._new_bytes += size_bytes
        return future

    async def commit(self, commit: Commit) -> int:
        """Line a commit up, wait for its outcome and return its LSN.

        Cancelled, it is withdrawn if it has no LSN yet, and completes if it has.
        """
        if self.pending_bytes >= self.bytes_max or self.waiting:
            await self.room()
        try:
            return await self.submit(commit)
        except BaseException:
            commit.withdraw()
            raise

    def _hand_over(self) -> None:
        """Give the thread what came in this turn of the loop."""
        if self._commits:
            self._handed.append((self._commits, self._futures, self._new_bytes))
            self._inbox.put(self._commits)
            self._commits, self._futures, self._new_bytes = [], [], 0

    # Outcomes

    def _note(self, count: int) -> None:
        """So many more of what was handed over have their outcomes."""
        if not self._handed:
            # All were told at the end, that the disk hangs; now it has let go.
            return
        is_idle = not self._settled
        self._settled += count
        if is_idle:
            self._tell()

    def _tell(self) -> None:
        """Tell tasks their outcomes, in the order of the commits, and the rest of them in the loop's next turn."""
        if not self._settled:
            return
        commits, futures, size_bytes = self._handed[0]
        first, last = self._told, self._told + TELL_MAX
        for commit, future in zip(commits[first:last], futures[first:last], strict=True):
            if future.done():
                continue
            if commit.error is None:
                future.set_result(commit.lsn)
            else:
                future.set_exception(commit.error)
        self._told = last
        if last >= len(commits):
            self._handed.popleft()
            self._settled -= 1
            self._told = 0
            self.pending_bytes -= size_bytes
            if self.waiting:
                self._admit()
        if self._settled:
            self._loop.call_soon(self._tell)

    # The end

    def stop(self, closed: JournalError) -> None:
        """Refuse who waits for room, and let the thread end once it has written what was submitted."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_exception(closed)
        self._hand_over()
        self._inbox.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for the thread to end and return whether it did. From any other thread."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def end(self, path: str) -> None:
        """Tell everybody who has not been told, whatever is known: the thread has ended, or hangs with the disk."""
        while self._settled:
            self._tell()
        hangs = StorageError(f"{path}: closed while a write had not returned; open it again, which tells what survived")
        while self._handed:
            for future in self._handed.popleft()[1]:
                if not future.done():
                    future.set_exception(hangs)


def _serve(
    log: Log,
    inbox: SimpleQueue[list[Commit] | None],
    loop: asyncio.AbstractEventLoop,
    note: Callable[[int], None],
) -> None:
    """Commit all that is in the inbox as one group, again and again, until told to stop or the loop is gone."""
    is_last = False
    while not is_last:
        batches = [inbox.get()]
        with suppress(Empty):
            while True:
                batches.append(inbox.get_nowait())
        is_last = batches[-1] is None
        full = [commits for commits in batches if commits is not None]
        if full:
            _commit(log, full[0] if len(full) == 1 else [commit for commits in full for commit in commits])
            with suppress(RuntimeError):  # The loop was closed before the store: there is nobody to tell.
                loop.call_soon_threadsafe(note, len(full))


def _commit(log: Log, commits: list[Commit]) -> None:
    try:
        log.commit_all(commits)
    except BaseException:  # noqa: BLE001 - whatever strikes this thread, nobody may be left waiting
        for commit in commits:
            if not commit.settled:
                commit.settle(
                    StorageError("the thread that commits was interrupted; read again, or reopen, to see what survived")
                )
