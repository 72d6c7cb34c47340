"""Sectors that stand twice: where damage is, and where they belong. Reads only.

A device that puts a write, or a read, in the wrong place moves whole sectors.
What it moved is found here by itself: equal bytes at another place of the
store's files, that begin and end where sectors do. Equal values that an
application stored twice begin and end anywhere, and are not meant; nor is what
any file may hold, such as zeros or one byte again and again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from journalkit.fs.interface import ReadableFile, ReadableFileSystem
from journalkit.recovery.damage import DamageKind
from journalkit.recovery.diagnosis import Cause, Finding
from journalkit.recovery.evidence import SECTOR_BYTES

_CHUNK_BYTES: Final = 2048 * SECTOR_BYTES
_SECTORS_MAX: Final = 256
"""So many sectors of one hole are looked for."""
_VALUES_MIN: Final = 16
"""A sector with fewer different bytes says too little to be known again."""
_SLACK_BYTES: Final = 16
_RUN_SECTORS_MAX: Final = 2048


def moved_sectors(
    fs: ReadableFileSystem, directory: str, files: Sequence[str], holes: Sequence[Finding]
) -> dict[Finding, Cause]:
    """Return for those of the holes that hold sectors of another place which place that is.

    Raises:
        OSError: A file can't be read.

    Complexity:
        O(bytes of `files`), unless there is nothing to look for.
    """
    with ExitStack() as stack:
        opened: dict[str, ReadableFile] = {}
        for name in dict.fromkeys([*files, *(hole.file for hole in holes)]):
            opened[name] = fs.open_read(os.path.join(directory, name))
            stack.callback(opened[name].close)
        wanted: dict[bytes, tuple[Finding, int]] = {}
        for hole in holes:
            for at, sector in _sectors(opened[hole.file], hole):
                wanted.setdefault(sector, (hole, at))
        found: dict[Finding, Cause] = {}
        for name in files if wanted else ():
            for at, hole, here in _meetings(opened[name], wanted):
                if hole not in found and (name, at) != (hole.file, here):
                    cause = _cause(opened[hole.file], here, opened[name], at, name)
                    if cause is not None:
                        found[hole] = cause
        return found


def _sectors(file: ReadableFile, hole: Finding) -> Iterator[tuple[int, bytes]]:
    first = (hole.offset_bytes or 0) // SECTOR_BYTES * SECTOR_BYTES
    last = min(-(-(hole.end_bytes or 0) // SECTOR_BYTES) * SECTOR_BYTES, first + _SECTORS_MAX * SECTOR_BYTES)
    data = file.pread(last - first, first)
    for at in range(0, len(data) - SECTOR_BYTES + 1, SECTOR_BYTES):
        sector = data[at : at + SECTOR_BYTES]
        if len(set(sector)) >= _VALUES_MIN:
            yield first + at, sector


def _meetings(file: ReadableFile, wanted: Mapping[bytes, tuple[Finding, int]]) -> Iterator[tuple[int, Finding, int]]:
    for base in range(0, file.size(), _CHUNK_BYTES):
        data = file.pread(_CHUNK_BYTES, base)
        for at in range(0, len(data), SECTOR_BYTES):
            met = wanted.get(data[at : at + SECTOR_BYTES])
            if met is not None:
                yield base + at, *met


def _cause(here: ReadableFile, at: int, there: ReadableFile, origin: int, name: str) -> Cause | None:
    """Return the cause if the bytes that are equal around two equal sectors are whole sectors and no more."""
    before = _equal(here, at, there, origin, -1)
    after = _equal(here, at, there, origin, 1)
    if before % SECTOR_BYTES >= _SLACK_BYTES or after % SECTOR_BYTES >= _SLACK_BYTES:
        return None
    start, end = at - before // SECTOR_BYTES * SECTOR_BYTES, at + after // SECTOR_BYTES * SECTOR_BYTES
    belongs = origin - (at - start)
    return Cause(DamageKind.MISDIRECTED_BLOCK, f"bytes {start} to {end} are those from byte {belongs} of {name}")


def _equal(here: ReadableFile, at: int, there: ReadableFile, origin: int, direction: int) -> int:
    """Return how many bytes from two places on, or before them, are equal; not many more than are looked at."""
    count = 0
    for step in range(_RUN_SECTORS_MAX):
        back = SECTOR_BYTES * (step + 1) if direction < 0 else -SECTOR_BYTES * step
        if min(at, origin) < back:
            break
        one, other = here.pread(SECTOR_BYTES, at - back), there.pread(SECTOR_BYTES, origin - back)
        pairs = zip(reversed(one), reversed(other), strict=False) if direction < 0 else zip(one, other, strict=False)
        same = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
        count += same
        if same < SECTOR_BYTES:
            break
    return count
