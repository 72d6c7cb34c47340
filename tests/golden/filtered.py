"""Golden stores whose tables have filters."""

from __future__ import annotations

from collections.abc import Callable

from directories import Files, Maker, flipped
from format_1 import KEYS

from journalkit.format.table import FOOTER


def folded_all_keys(seed: int) -> Files:
    """Every type of key, in a table."""
    maker = Maker(seed)
    with maker.store() as store:
        store.update([(key, index) for index, key in enumerate(KEYS)])
        store.compact()
    return maker.files()


def damaged_filter(make: Callable[[int], Files], name: str) -> Callable[[int], Files]:
    """Return a maker of that store with a bit of a table's filter turned over."""

    def damage(seed: int) -> Files:
        files = dict(make(seed))
        footer = FOOTER.unpack(files[name][-FOOTER.size :])
        files[name] = flipped(files[name], footer["root_offset"] - 6)
        return files

    return damage
