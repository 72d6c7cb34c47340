"""Memtables: dicts that sort themselves once, when something scans."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from journalkit.store.memtable import MemTable

ENTRIES: dict[bytes, bytes | None] = {b"c": b"3", b"a": b"1", b"d": None, b"b": b"2"}


@pytest.mark.parametrize(
    ("start", "stop", "keys"),
    [
        (None, None, b"abcd"),
        (b"b", None, b"bcd"),
        (None, b"b", b"a"),
        (b"b", b"d", b"bc"),
        (b"b", b"b", b""),
        (b"d", b"a", b""),
        (b"bb", b"cc", b"c"),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_is_half_open_and_in_order(start: bytes | None, stop: bytes | None, keys: bytes, reverse: bool) -> None:
    """Every range of a store is made of these."""
    expected = [(bytes((key,)), ENTRIES[bytes((key,))]) for key in keys]
    found = list(MemTable(dict(ENTRIES), 4, 10).scan(start, stop, reverse=reverse))
    assert found == (expected[::-1] if reverse else expected)


def test_a_merge_says_what_the_newer_one_says() -> None:
    """A deletion has to hide the older value, not to make room for it."""
    older = MemTable({b"a": b"old", b"b": b"kept"}, 5, 8)
    newer = MemTable({b"a": None, b"c": b"new"}, 9, 4)
    merged = newer.merged_over(older)
    assert merged.entries == {b"a": None, b"b": b"kept", b"c": b"new"}
    assert (merged.last_lsn, merged.payload_bytes, merged.folding) == (9, 12, False)


def test_threads_that_scan_first_share_one_sort() -> None:
    """The sorted list isn't thread-safe; it is made under a lock and never changed."""
    memtable = MemTable({str(number).encode(): b"" for number in range(3000)}, 1, 1)
    with ThreadPoolExecutor(4) as pool:
        lists = set(pool.map(lambda _: id(memtable._sorted()), range(8)))
        scans = list(pool.map(lambda _: [key for key, _ in memtable.scan(None, None)], range(4)))
    assert len(lists) == 1
    assert all(scan == sorted(memtable.entries) for scan in scans)
