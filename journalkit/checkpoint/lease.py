"""Leases: of several that would run a job one does, and another takes over once that one is silent.

A lease is said on a board (`journalkit.checkpoint.board`): who holds it, for
how long it is good, or that it was let go. Who says something names what was
said last, and of several that do so one is heard.

The holder says it again before its time is up. Whoever waits watches what was
said last: if nothing new comes for as long as that says that it is good, by
the waiter's own clock, the waiter says the next. No two clocks are compared.

A lease says who should run, so that nobody does work that will be thrown away.
That nobody else can publish is what epochs are for: `journalkit.checkpoint.heads`.
A holder that sleeps through its time loses nothing but its turn.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Final

from journalkit.checkpoint.board import Board
from journalkit.checkpoint.documents import decoded
from journalkit.clock import Clock
from journalkit.errors import CorruptionError, JournalError, LockedError
from journalkit.format.codec import CborCodec
from journalkit.format.malformed import MalformedError
from journalkit.runtime.background import Background

_LOOKS_A_TERM: Final = 8
"""How often a waiter looks in the time that a lease is good."""
_RENEWALS_A_TERM: Final = 3
_NONCE_BYTES: Final = 16
_KEEPER_WAIT_S: Final = 1.0
TERM_MAX_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What was said last: who holds the lease, for how many seconds it is good from when it is seen.

    0 seconds: it was let go. `number` is the board's name for it.
    """

    number: int
    holder: str
    term_s: float
    nonce: bytes


class Lease:
    """A lease that somebody waits for, or holds. `step` keeps it, and is to be called by one thread."""

    def __init__(self, board: Board, clock: Clock, holder: str, term_s: float) -> None:
        self._board = board
        self._clock = clock
        self._holder = holder
        self._term_s = term_s
        self._held: Notice | None = None
        self._good_until_s = 0.0
        self._keeper: Background | None = None

    @property
    def is_held(self) -> bool:
        """Whether it is held, and good still: nobody who keeps to it takes over before."""
        return self._held is not None and self._clock.monotonic_s() < self._good_until_s

    def acquire(self, patience_s: float | None = None) -> None:
        """Wait until nobody else holds it, and take it.

        Args:
            patience_s: How long to wait; None for as long as it takes.

        Raises:
            LockedError: Somebody else holds it, and patience was up.
            ArchiveUnavailableError, StorageError, CorruptionError: The board can't be read or written.
        """
        begun_s = self._clock.monotonic_s()
        seen: Notice | None = None
        seen_s = begun_s
        while True:
            newest = newest_notice(self._board)
            now_s = self._clock.monotonic_s()
            if newest != seen:
                seen, seen_s = newest, now_s
            is_free = newest is None or not newest.term_s or now_s - seen_s >= newest.term_s
            if is_free and self._take(newest):
                return
            if patience_s is not None and now_s - begun_s >= patience_s and newest is not None:
                raise LockedError(
                    f"{self._board.where}: {newest.holder} holds the lease: wait, or end that one",
                    path=self._board.where,
                    host=newest.holder,
                )
            term_s = newest.term_s if newest is not None and newest.term_s else self._term_s
            self._clock.sleep(term_s / _LOOKS_A_TERM)

    def keep(self) -> None:
        """Say in a thread, again and again, that it is held still, until it is released."""
        self._keeper = Background(self, "journalkit-lease")

    def step(self) -> float:
        """Say that it is held still; return after how many seconds to do so again."""
        if self._held is not None:
            # What can't be said now is said the next time, or its time runs out.
            with contextlib.suppress(JournalError):
                if not self._take(self._held):
                    self._held = None
        return self._term_s / _RENEWALS_A_TERM

    def release(self) -> None:
        """Let it go, so that nobody has to wait until its time is up, and the board too. Idempotent.

        What can't be told is found out.
        """
        if self._keeper is not None:
            self._keeper.ask_to_stop()
            self._keeper.join(_KEEPER_WAIT_S)
        held, self._held = self._held, None
        if held is not None:
            with contextlib.suppress(JournalError):
                self._say(held, 0.0)
        self._board.close()

    def _take(self, newest: Notice | None) -> bool:
        """Say that it is ours; return whether that was heard, and is the newest."""
        # What is good for others begins when they see it, which is later.
        begun_s = self._clock.monotonic_s()
        nonce = self._say(newest, self._term_s)
        there = newest_notice(self._board)
        if there is None or there.nonce != nonce:
            return False
        self._held, self._good_until_s = there, begun_s + self._term_s
        return True

    def _say(self, newest: Notice | None, term_s: float) -> bytes:
        """Say something behind what was said last; whether it was heard shows by the nonce that this returns."""
        nonce = self._clock.random_bytes(_NONCE_BYTES)
        said = {"holder": self._holder, "term_s": term_s, "nonce": nonce}
        self._board.say(CborCodec().encode(said), after=newest.number if newest is not None else 0)
        return nonce


def newest_notice(board: Board) -> Notice | None:
    """Return what was said last, None if nothing was.

    Raises:
        CorruptionError: It makes no sense.
        ArchiveUnavailableError, StorageError: It can't be read.
    """
    newest = board.newest()
    if newest is None:
        return None
    number, data, path = newest
    step = "delete it once nobody runs the job"
    plain = decoded(CborCodec().decode, data, path=path, next_step=step)
    try:
        return _noticed(number, plain)
    except MalformedError as error:
        raise CorruptionError(error.reason, path=path, next_step=step) from error


def _noticed(number: int, plain: Any) -> Notice:
    if type(plain) is not dict or set(plain) != {"holder", "term_s", "nonce"}:
        raise MalformedError("it is no lease")
    holder, term_s, nonce = plain["holder"], plain["term_s"], plain["nonce"]
    if type(holder) is not str or type(term_s) is not float or type(nonce) is not bytes:
        raise MalformedError("it is no lease")
    if not 0 <= term_s <= TERM_MAX_S:
        raise MalformedError(f"a lease of {term_s} seconds")
    return Notice(number, holder, term_s, nonce)
