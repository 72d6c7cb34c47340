"""What is in the golden directories of format 3, and what opening them has to say: tables with compressed blocks.

Nothing else differs from format 2, so only what has such tables is here.
"""

from __future__ import annotations

from typing import Any

from format_1 import KEYS, Golden, refused

FOLDER = "format-3"
AT_ONE = {"snapshot_lsn": 1, "pruned_lsn": 1}
COMPRESSED_DELTA = f"table-{2 << 20:016}.jkt"

__all__ = ["FOLDER", "GOLDEN", "KEYS"]

_ENTRIES: dict[Any, Any] = {
    **{f"k{number:02}": f"value {number} " * 9 for number in range(20) if number != 9},
    **{f"k{number:02}": f"changed {number} " * 9 for number in range(1, 9)},
    "k00": "changed again",
    "k19": "tail",
}

GOLDEN = (
    Golden(
        "compressed-all-keys",
        {key: [index, "the same again and again" * 4] for index, key in enumerate(KEYS)},
        lsn=1,
        outcome="clean",
        **AT_ONE,
    ),
    Golden("compressed-deltas", _ENTRIES, lsn=5, epoch=3, snapshot_lsn=4, pruned_lsn=3),
    refused("damaged-compressed-delta", COMPRESSED_DELTA, "flipped-bit"),
)
