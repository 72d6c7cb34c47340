"""Sets of keys and of LSNs as sorted ranges, for telling what is lost. Pure.

A key range is half-open, over encoded keys; `KEYS_END` stands above all of
them. An LSN range is inclusive, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

KeyRange: TypeAlias = "tuple[bytes, bytes]"
LsnRange: TypeAlias = "tuple[int, int]"

KEYS_END: Final = b"\xff" * 8
"""Above every encoded key: no key's tag is 0xFF."""

ALL_KEYS: Final[KeyRange] = (b"", KEYS_END)


NEXT: Final = b"\0"
"""What makes of a key the smallest one above it."""


def above(key: bytes) -> bytes:
    """Return the smallest key above this one."""
    return key + NEXT


def united(ranges: Iterable[KeyRange]) -> list[KeyRange]:
    """Return the same keys as ranges that ascend and don't touch."""
    result: list[KeyRange] = []
    for start, stop in sorted(ranges):
        if start >= stop:
            continue
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(stop, result[-1][1]))
        else:
            result.append((start, stop))
    return result


def without(ranges: Iterable[KeyRange], taken: Iterable[KeyRange]) -> list[KeyRange]:
    """Return the keys of `ranges` that are not in `taken`."""
    holes = united(taken)
    result: list[KeyRange] = []
    for start, stop in united(ranges):
        at = start
        for low, high in holes:
            if high > at and low < stop:
                result.append((at, low))
                at = high
        result.append((at, stop))
    return united(result)


class LsnSet:
    """LSNs seen, mostly in ascending order: what is between them is what is missing."""

    __slots__ = ("_ranges",)

    def __init__(self) -> None:
        self._ranges: list[LsnRange] = []

    def add(self, first: int, last: int) -> None:
        """Add an inclusive range; an empty one adds nothing."""
        if first > last:
            return
        if self._ranges and first == self._ranges[-1][1] + 1:
            self._ranges[-1] = (self._ranges[-1][0], last)
        else:
            self._ranges.append((first, last))

    def missing(self, first: int, last: int) -> list[LsnRange]:
        """Return the ranges of [first, last] that were not added."""
        gaps: list[LsnRange] = []
        at = first
        for low, high in sorted(self._ranges):
            if low > at and at <= last:
                gaps.append((at, min(low - 1, last)))
            at = max(at, high + 1)
        if at <= last:
            gaps.append((at, last))
        return gaps
