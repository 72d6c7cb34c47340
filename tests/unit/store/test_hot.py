"""Hot entries: what was read from tables and is asked for again."""

from __future__ import annotations

from journalkit.store.hot import ENTRY_OVERHEAD_BYTES, HotEntries
from journalkit.types import ABSENT


def test_the_budget_holds_and_what_is_read_again_stays() -> None:
    """A cache that grows is a leak; one that forgets what is wanted is useless."""
    hot = HotEntries(2 * 10 * (ENTRY_OVERHEAD_BYTES + 11))
    hot.keep(b"wanted", b"value")
    for number in range(100):
        hot.keep(b"%06d" % number, b"value")
        assert (hot.young.get(b"wanted") or hot.get_old(b"wanted")) == b"value"
        assert len(hot.young) + len(hot._old) <= 20


def test_an_entry_over_half_the_budget_is_not_kept() -> None:
    """One large value must not push out everything else."""
    hot = HotEntries(2000)
    hot.keep(b"k", b"x" * 1000)
    assert (hot.young, hot.get_old(b"k")) == ({}, None)


def test_a_key_that_is_not_there_is_known_too() -> None:
    """Looking for what isn't there costs a block as well."""
    hot = HotEntries(2000)
    hot.keep(b"k", ABSENT)
    assert hot.young[b"k"] is ABSENT


def test_nothing_is_kept_without_a_budget() -> None:
    """cache_bytes=0 asks for exactly that."""
    hot = HotEntries(0)
    hot.keep(b"k", b"v")
    assert hot.young == {}
