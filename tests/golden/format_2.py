"""What is in the golden directories of format 2, and what opening them has to say: tables with filters.

Nothing else differs from format 1, so only what has tables is here.
"""

from __future__ import annotations

from format_1 import KEYS, NEWER_TABLE, OLDER_TABLE, Golden, folded, layered, refused

FOLDER = "format-2"
AT_ONE = {"snapshot_lsn": 1, "pruned_lsn": 1}

__all__ = ["FOLDER", "GOLDEN", "KEYS"]

GOLDEN = (
    Golden("folded-all-keys", {key: index for index, key in enumerate(KEYS)}, lsn=1, outcome="clean", **AT_ONE),
    folded("filtered-two-snapshots"),
    layered("filtered-deltas"),
    folded("damaged-filter", snapshot_lsn=4, fell_back=True, verify=2, kind="flipped-bit", blames=NEWER_TABLE),
    refused("damaged-filter-of-the-base", OLDER_TABLE, "flipped-bit"),
)
