"""Ranges of keys and LSNs: what is lost is told exactly, no key more and none less."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from journalkit.recovery.salvage_ranges import ALL_KEYS, KEYS_END, KeyRange, LsnSet, above, united, without

UNIVERSE = [bytes((letter,)) for letter in b"abcdefgh"]
BOUNDS = st.sampled_from([b"", *UNIVERSE, KEYS_END])
RANGES = st.lists(st.tuples(BOUNDS, BOUNDS), max_size=5)


def members(ranges: list[KeyRange]) -> set[bytes]:
    """Return the keys of the universe that lie in the ranges."""
    return {key for key in UNIVERSE for start, stop in ranges if start <= key < stop}


@given(RANGES)
def test_united_ranges_hold_the_same_keys_and_never_touch(ranges: list[KeyRange]) -> None:
    """Ranges that overlap would count a lost key twice."""
    result = united(ranges)
    assert members(result) == members(ranges)
    assert all(start < stop for start, stop in result)
    assert all(left[1] < right[0] for left, right in itertools.pairwise(result))


@given(RANGES, RANGES)
def test_taking_ranges_away_leaves_exactly_the_other_keys(ranges: list[KeyRange], taken: list[KeyRange]) -> None:
    """What one snapshot lost is what the next one has to tell."""
    assert members(without(ranges, taken)) == members(ranges) - members(taken)


def test_every_encoded_key_lies_below_the_end() -> None:
    """The end stands for "no bound", so no key may reach it."""
    assert ALL_KEYS[0] <= b"\x10" < b"\x50" + b"\xff" * 8191 < KEYS_END


def test_nothing_lies_between_a_key_and_the_one_above() -> None:
    """A lost block's last key is lost too, and nothing behind it."""
    assert b"a" < above(b"a") <= b"a\0"


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 4))), st.integers(1, 12), st.integers(0, 22))
def test_missing_lsns_are_those_never_added(added: list[tuple[int, int]], first: int, last: int) -> None:
    """The gap report is the one place where a lost record is named."""
    seen, model = LsnSet(), set[int]()
    for start, length in added:
        seen.add(start, start + length - 1)
        model |= set(range(start, start + length))
    gaps = seen.missing(first, last)
    told = [lsn for low, high in gaps for lsn in range(low, high + 1)]
    assert told == sorted(set(range(first, last + 1)) - model)
