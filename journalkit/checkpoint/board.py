"""Boards: where a lease is said, and everybody reads what was said last.

    lease/0000000007   in the place of the checkpoints: created if absent, by whoever says the next
    lease/0000000008   what was said last

What a board has to be able to do is one thing: to change what it says only if
it still says what somebody has read. So a key of etcd is one, too, or one of
NATS JetStream (`board_etcd`, `board_nats`), which are asked more cheaply, and
answer sooner, than most object storage.
"""

from __future__ import annotations

import contextlib
from typing import Final, NamedTuple, Protocol

from journalkit.errors import JournalError, UnknownOutcomeError
from journalkit.format import names
from journalkit.objects.interface import PAGE_MAX, Objects

_KEPT: Final = 5


class Said(NamedTuple):
    """What a board says: its number, above 0 and never that of anything else that it said, the bytes, and where."""

    number: int
    data: bytes
    path: str


class Board(Protocol):
    """What a lease is said on. One thread at a time calls."""

    @property
    def where(self) -> str:
        """What it is called in messages; no password is in it."""
        ...

    def newest(self) -> Said | None:
        """Return what was said last, None if nothing was. Linearizable.

        Raises:
            ArchiveUnavailableError: It can't be reached. Retry.
            UsageError, StorageError: It can't be read, and why.
        """
        ...

    def say(self, data: bytes, *, after: int) -> None:
        """Say something, if what was said last is still what `newest` gave with the number `after`; 0: nothing.

        Whether it was said is for `newest` to tell: the reply may be lost.

        Raises:
            ArchiveUnavailableError: It can't be reached. It may have been said.
            UsageError, StorageError: It can't be written, and why.
        """
        ...

    def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...


class NumberedBoard:
    """A board of numbered objects, in the place of the checkpoints themselves, which it doesn't close."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @property
    def where(self) -> str:
        """The place."""
        return self._objects.where

    def newest(self) -> Said | None:
        """Return the object with the highest number. O(objects that are kept), two requests."""
        while True:
            numbers = self._numbers()
            if not numbers:
                return None
            key = names.lease_key(numbers[-1])
            data = self._objects.get(key)
            if data is not None:  # else somebody has gone on by as many as are kept
                return Said(numbers[-1], data, f"{self._objects.where}/{key}")

    def say(self, data: bytes, *, after: int) -> None:
        """Create the next number, and delete one that is too old for anybody to read."""
        with contextlib.suppress(UnknownOutcomeError):
            self._objects.create(names.lease_key(after + 1), data)
        old = [names.lease_key(number) for number in range(max(1, after + 1 - 2 * _KEPT), after + 1 - _KEPT)]
        with contextlib.suppress(JournalError):
            self._objects.delete(*old)

    def close(self) -> None:
        """Do nothing: the place is somebody else's."""

    def _numbers(self) -> list[int]:
        found: list[int] = []
        after = ""
        while True:
            page = self._objects.list(names.LEASES, after=after, limit=PAGE_MAX)
            found += [number for status in page if (number := names.lease_number(status.key)) is not None]
            if len(page) < PAGE_MAX:
                return found
            after = page[-1].key
