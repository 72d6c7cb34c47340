"""Names of files for what stands somewhere in a state, whatever its keys are.

A name has no separator and no leading dot, is short enough for every file
system, and differs from all others even where case doesn't count or where
letters with accents are spelled in two ways.
"""

from __future__ import annotations

import os
import unicodedata
from typing import Any, Final

_BYTES_MAX: Final = 150
"""File systems take 255: room for a number and an ending."""
_MARKS: Final = frozenset("._-")
_RESERVED: Final = frozenset(
    ("con", "prn", "aux", "nul", *(f"{kind}{number}" for kind in ("com", "lpt") for number in range(10)))
)
"""Names that are devices on some systems, whatever their ending."""


class SafeNames:
    """Names that were given, none of them twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of_place(self, steps: tuple[Any, ...], ending: str) -> str:
        """Return a name for what stands there: its keys and numbers with dots between."""
        words = ".".join(step if isinstance(step, str) else str(step) for step in steps)
        return self._free(_safe(words), ending)

    def of_file(self, name: str) -> str:
        """Return a file's own name, as far as it may have it."""
        stem, ending = os.path.splitext(_safe(name))
        return self._free(stem, ending)

    def _free(self, stem: str, ending: str) -> str:
        name, number = stem + ending, 1
        while _folded(name) in self._taken:
            number += 1
            name = f"{stem}-{number}{ending}"
        self._taken.add(_folded(name))
        return name


def _safe(text: str) -> str:
    kept = "".join(each if each.isalnum() or each in _MARKS else "_" for each in text[:_BYTES_MAX])
    while len(kept.encode("utf-8")) > _BYTES_MAX:
        kept = kept[:-1]
    kept = kept.strip(".-") or "state"
    return f"_{kept}" if kept.split(".")[0].lower() in _RESERVED else kept


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name.casefold())
