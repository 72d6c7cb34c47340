"""States of journalkit that rows begin with."""

from __future__ import annotations

import journalkit
from journalkit.bench import data
from journalkit.bench.arena import LOADED_AT_ONCE


def fill(path: str, count: int) -> None:
    """Make a store of the first `count` keys, folded and closed."""
    with journalkit.open(path, sync="never") as store:
        rewrite(store, count, 0)
        store.compact()


def rewrite(store: journalkit.Store, count: int, shift: int) -> None:
    """Set the first `count` keys to the values of `shift`, in commits of 10,000."""
    for first in range(0, count, LOADED_AT_ONCE):
        store.update(data.items(first, min(first + LOADED_AT_ONCE, count), shift=shift))
