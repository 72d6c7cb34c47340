"""The way through a table's index to its data blocks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from journalkit.format.index import IndexBlock, IndexEntry


def walk(
    index: IndexBlock,
    start: bytes | None,
    stop: bytes | None,
    reverse: bool,
    child: Callable[[IndexBlock, IndexEntry], IndexBlock],
) -> Iterator[tuple[IndexBlock, int]]:
    """Yield the places, in the indexes that point to them, of data blocks that may hold keys of the range."""
    low = 0 if start is None else max(bisect_right(index.firsts, start) - 1, 0)
    high = len(index.firsts) if stop is None else bisect_left(index.firsts, stop)
    places = range(low, high)
    for at in reversed(places) if reverse else places:
        if start is not None and index.lasts[at] < start:
            continue
        if index.level:
            yield from walk(child(index, index.entry(at)), start, stop, reverse, child)
        else:
            yield index, at
