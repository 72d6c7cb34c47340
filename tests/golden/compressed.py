"""Golden stores whose tables have compressed blocks."""

from __future__ import annotations

from typing import Any

from directories import Files, Maker, flipped
from format_1 import KEYS

ZSTD: dict[str, Any] = {"compression": "zstd"}


def compressed_all_keys(seed: int) -> Files:
    """Every type of key, in a table whose values repeat."""
    maker = Maker(seed)
    with maker.store(**ZSTD) as store:
        store.update([(key, [index, "the same again and again" * 4]) for index, key in enumerate(KEYS)])
        store.compact()
    return maker.files()


def compressed_deltas(seed: int, damaged: str = "") -> Files:
    """A plain base, a compressed delta on it and a plain one on that; one bit of one file turned over."""
    maker = Maker(seed)
    layers: dict[str, Any] = {"fold_bytes_min": 1, "fold_ratio": 1000.0}
    with maker.store(**layers) as store:
        store.update({f"k{number:02}": f"value {number} " * 9 for number in range(20)})
        store.compact()
    with maker.store(**layers, **ZSTD) as store:
        store.update({f"k{number:02}": f"changed {number} " * 9 for number in range(1, 9)})
        del store["k09"]
        store.compact()
    with maker.store(**layers) as store:
        store["k00"] = "changed again"
        store.compact()
        store["k19"] = "tail"
    files = dict(maker.files())
    if damaged:
        files[damaged] = flipped(files[damaged], 100)
    return files
