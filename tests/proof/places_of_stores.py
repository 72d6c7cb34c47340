"""The file systems that stores are proved on, with the options that change what is written when."""

from __future__ import annotations

from typing import Final, NamedTuple

from block_device import BLOCK_BYTES, SECTOR_BYTES
from mounts import BTRFS, EXT4, EXT4_SMALL_BLOCKS, XFS, Kind


class Place(NamedTuple):
    """A file system, how it is mounted, where it bears that a write to its device is torn, and what it conceals.

    One that doesn't tell of failed flushes lets fsync return as if all were
    well: no program on it can know what is durable once its device fails.
    """

    name: str
    kind: Kind
    options: str = ""
    tears_at: tuple[int, ...] = (SECTOR_BYTES, BLOCK_BYTES)
    tells_of_flushes: bool = True


_BLOCKS: Final = (BLOCK_BYTES,)

PLACES: Final = {
    place.name: place
    for place in (
        Place("ext4", EXT4),
        Place("ext4 writeback", EXT4, "data=writeback,nodelalloc"),
        Place("ext4 journal", EXT4, "data=journal"),
        Place("ext4 1k", EXT4_SMALL_BLOCKS),
        Place("xfs", XFS),
        Place("xfs wsync", XFS, "wsync"),
        # Nothing is discarded: the recording knows writes and flushes.
        Place("btrfs", BTRFS, "nodiscard", _BLOCKS),
        Place("btrfs notreelog", BTRFS, "nodiscard,notreelog", _BLOCKS),
    )
}

ASYNC_COMMIT: Final = Place("ext4 async", EXT4, "data=writeback,journal_async_commit", tells_of_flushes=False)
"""None of the places, for a store is as safe as what it stands on. The journal can't be replayed there once the device
lost one of its blocks and kept the commit; and fsync returns as if all were well when the device didn't flush."""
