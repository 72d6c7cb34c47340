"""A golden store whose snapshots are a base with deltas."""

from __future__ import annotations

from directories import Files, Maker, flipped


def store_deltas(seed: int, damaged: str = "") -> Files:
    """A base, two deltas on it, two snapshots that share tables, and a tail; one bit of one file turned over."""
    maker = Maker(seed)
    with maker.store(fold_bytes_min=1, fold_ratio=1000.0) as store:
        store.update({f"k{number:02}": number for number in range(20)})
        store.compact()
        for number in (1, 3):
            store[f"k{number:02}"] = "changed"
            del store[f"k{number + 1:02}"]
            store.compact()
        store["k19"] = "tail"
    files = dict(maker.files())
    if damaged:
        files[damaged] = flipped(files[damaged], 100)
    return files
