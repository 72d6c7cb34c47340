"""Whether a place keeps the rules that several writers rely on: found out by trying, since some say yes and don't.

Servers exist that take `If-None-Match` and ignore it: two writers would both
be told that they won. Nothing but trying tells. What is tried is taken away
again; a probe that is killed leaves two small objects under `probe/`, which
harm nothing: others may be probing at the same time, so nobody sweeps there.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final

from journalkit.clock import Clock
from journalkit.errors import JournalError, UsageError
from journalkit.objects.interface import Objects

PREFIX: Final = "probe/"
_NONCE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Probe:
    """What a place was seen to do."""

    refuses_second_create: bool
    lists_at_once: bool
    reads_at_once: bool

    @property
    def is_sound(self) -> bool:
        """Whether several writers may share the place."""
        return self.refuses_second_create and self.lists_at_once and self.reads_at_once

    @property
    def complaint(self) -> str:
        """What is wrong, in words; "" if nothing is."""
        wrong = [
            words
            for is_kept, words in (
                (self.refuses_second_create, "lets a second create replace an object (it ignores If-None-Match)"),
                (self.lists_at_once, "doesn't list at once what was written or deleted"),
                (self.reads_at_once, "doesn't read at once what was written or deleted"),
            )
            if not is_kept
        ]
        return " and ".join(wrong)


def probe(objects: Objects, clock: Clock) -> Probe:
    """Try it on two objects of our own, and take them away.

    Raises:
        ArchiveUnavailableError, StorageError, StoreFullError: It couldn't be tried; nothing is known.
    """
    mine = f"{PREFIX}{clock.random_bytes(_NONCE_BYTES).hex()}-"
    first, second = f"{mine}1", f"{mine}2"
    try:
        is_created = objects.create(first, b"the first")
        is_replaced = objects.create(first, b"the second")
        left = objects.get(first)
        objects.put(second, (b"another",))
        listed = [found.key for found in objects.list(mine)]
        objects.delete(first)
        left_after = objects.get(first)
        listed_after = [found.key for found in objects.list(mine)]
        is_free_again = objects.create(first, b"the third")
    finally:
        with contextlib.suppress(JournalError):
            objects.delete(first, second)
    return Probe(
        refuses_second_create=is_created and not is_replaced and left in (b"the first", None),
        lists_at_once={first, second} <= {*listed} and first not in listed_after and second in listed_after,
        reads_at_once=left is not None and left_after is None and is_free_again,
    )


def require_several_writers(objects: Objects, clock: Clock) -> None:
    """Return if several writers may share the place.

    Raises:
        UsageError: They may not, and it says why. Nothing was left behind.
        ArchiveUnavailableError, StorageError: It couldn't be tried.
    """
    found = probe(objects, clock)
    if not found.is_sound:
        raise UsageError(
            f"{objects.where} {found.complaint}: two writers could both take themselves for the only one; "
            "use a server that enforces conditional writes, or see to it yourself that there is one writer"
        )
