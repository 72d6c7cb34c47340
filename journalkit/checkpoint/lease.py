"""Leases: of several that would run a job one does, and another takes over once that one is silent.

    lease/0000000007   created if absent: whoever creates the next number has said something
    lease/0000000008   the newest: who holds it, for how long it is good, or that it was let go

The holder creates the next number before its time is up. Whoever waits watches
the newest number: if it hasn't changed for as long as it says that it is good,
by the waiter's own clock, the waiter creates the next one, and of several that
do so one succeeds. No two clocks are compared.

A lease says who should run, so that nobody does work that will be thrown away.
That nobody else can publish is what epochs are for: `journalkit.checkpoint.heads`.
A holder that sleeps through its time loses nothing but its turn.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Final

from journalkit.checkpoint.documents import decoded
from journalkit.clock import Clock
from journalkit.errors import CorruptionError, JournalError, LockedError, UnknownOutcomeError
from journalkit.format import names
from journalkit.format.codec import CborCodec
from journalkit.format.malformed import MalformedError
from journalkit.objects.interface import PAGE_MAX, Objects, ReadableObjects
from journalkit.runtime.background import Background

_KEPT: Final = 5
_LOOKS_A_TERM: Final = 8
"""How often a waiter looks in the time that a lease is good."""
_RENEWALS_A_TERM: Final = 3
_NONCE_BYTES: Final = 16
_KEEPER_WAIT_S: Final = 1.0
TERM_MAX_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What the newest number says: who holds the lease, for how many seconds it is good from when it is seen.

    0 seconds: it was let go.
    """

    number: int
    holder: str
    term_s: float
    nonce: bytes


class Lease:
    """A lease that somebody waits for, or holds. `step` keeps it, and is to be called by one thread."""

    def __init__(self, objects: Objects, clock: Clock, holder: str, term_s: float) -> None:
        self._objects = objects
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
            ArchiveUnavailableError, StorageError, CorruptionError: The place can't be read or written.
        """
        begun_s = self._clock.monotonic_s()
        seen: Notice | None = None
        seen_s = begun_s
        while True:
            newest = newest_notice(self._objects)
            now_s = self._clock.monotonic_s()
            if newest != seen:
                seen, seen_s = newest, now_s
            is_free = newest is None or not newest.term_s or now_s - seen_s >= newest.term_s
            if is_free and self._take(newest):
                return
            if patience_s is not None and now_s - begun_s >= patience_s and newest is not None:
                raise LockedError(
                    f"{self._objects.where}: {newest.holder} holds the lease: wait, or end that one",
                    path=self._objects.where,
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
        """Let it go, so that nobody has to wait until its time is up. What can't be told is found out."""
        if self._keeper is not None:
            self._keeper.ask_to_stop()
            self._keeper.join(_KEEPER_WAIT_S)
        held, self._held = self._held, None
        if held is not None:
            with contextlib.suppress(JournalError):
                self._say(held.number + 1, 0.0)

    def _take(self, newest: Notice | None) -> bool:
        """Create the next number; return whether that is ours, and the newest."""
        # What is good for others begins when they see it, which is later.
        begun_s = self._clock.monotonic_s()
        said = self._say((newest.number if newest is not None else 0) + 1, self._term_s)
        there = newest_notice(self._objects)
        if there != said:
            return False
        self._held, self._good_until_s = said, begun_s + self._term_s
        old = [names.lease_key(number) for number in range(max(1, said.number - 2 * _KEPT), said.number - _KEPT)]
        with contextlib.suppress(JournalError):
            self._objects.delete(*old)
        return True

    def _say(self, number: int, term_s: float) -> Notice:
        notice = Notice(number, self._holder, term_s, self._clock.random_bytes(_NONCE_BYTES))
        plain = {"holder": notice.holder, "term_s": notice.term_s, "nonce": notice.nonce}
        with contextlib.suppress(UnknownOutcomeError):  # who has the number is read next
            self._objects.create(names.lease_key(number), CborCodec().encode(plain))
        return notice


def newest_notice(objects: ReadableObjects) -> Notice | None:
    """Return what the newest number says, None if there is none.

    Raises:
        CorruptionError: It makes no sense.
        ArchiveUnavailableError, StorageError: It can't be read.
    """
    while True:
        numbers = _numbers(objects)
        if not numbers:
            return None
        key = names.lease_key(numbers[-1])
        data = objects.get(key)
        if data is not None:
            step = "delete it once nobody runs the job"
            plain = decoded(CborCodec().decode, data, path=f"{objects.where}/{key}", next_step=step)
            try:
                return _noticed(numbers[-1], plain)
            except MalformedError as error:
                raise CorruptionError(error.reason, path=f"{objects.where}/{key}", next_step=step) from error


def _numbers(objects: ReadableObjects) -> list[int]:
    found: list[int] = []
    after = ""
    while True:
        page = objects.list(names.LEASES, after=after, limit=PAGE_MAX)
        found += [number for status in page if (number := names.lease_number(status.key)) is not None]
        if len(page) < PAGE_MAX:
            return found
        after = page[-1].key


def _noticed(number: int, plain: Any) -> Notice:
    if type(plain) is not dict or set(plain) != {"holder", "term_s", "nonce"}:
        raise MalformedError("it is no lease")
    holder, term_s, nonce = plain["holder"], plain["term_s"], plain["nonce"]
    if type(holder) is not str or type(term_s) is not float or type(nonce) is not bytes:
        raise MalformedError("it is no lease")
    if not 0 <= term_s <= TERM_MAX_S:
        raise MalformedError(f"a lease of {term_s} seconds")
    return Notice(number, holder, term_s, nonce)
