"""What a type checker must refuse: each line that is wrong names the code of the error it gets."""

from __future__ import annotations

import journalkit


def misuses(store: journalkit.Store, path: str) -> None:
    """One after the other."""
    store[1.5] = 1  # refused: index
    store[None] = 1  # refused: index
    store.put("a", 1, "never")  # refused: call-arg
    store.put("a", 1, sync="sometimes")  # refused: arg-type
    journalkit.open(path, "r")  # refused: call-arg
    journalkit.open(path, mode="a")  # refused: arg-type
    journalkit.open(path, compaction="often")  # refused: arg-type
    store.lsn = 7  # refused: misc
    store.offsets["in"] = 7  # refused: index
    journalkit.Batch().get("a")  # refused: attr-defined
    with store.view() as view:
        view["a"] = 1  # refused: index


async def forgotten(path: str) -> None:
    """What isn't awaited isn't there."""
    async with journalkit.open_async(path) as store:
        store["a"] = 1  # refused: index
        len(store)  # refused: arg-type
