"""The independent reader of `docs/reference/`, asked about the same bytes as the package.

It is written from the format's page and shares no code with the package, so an
input that both read the same way is read as the page says. Nothing is compared
where the page isn't there: in a wheel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import crc32c

from fuzz.draw import spelled
from fuzz.loading import load
from fuzz.target import require
from journalkit.format.malformed import MalformedError

PATH = Path(__file__).parents[1] / "docs" / "reference" / "read_store.py"


@cache
def reader() -> ModuleType | None:
    """Return the reader, None where there is none."""
    return load(PATH) if PATH.exists() else None


def compare(what: str, decode: Callable[[bytes], Any], data: bytes) -> None:
    """Decode with the package and with the reader's function of that name: both refuse, or both give the same."""
    second = reader()
    if second is None:
        return
    mine = theirs = None
    try:
        mine = spelled(decode(data))
    except MalformedError as error:
        said = str(error)
    else:
        said = mine
    try:
        theirs = spelled(getattr(second, what)(data))
    except second.MalformedError as error:
        also = str(error)
    else:
        also = theirs
    require(mine == theirs, f"{what} of {data!r:.300}: the package says {said:.200}, the second reader {also:.200}")


def judge(files: Mapping[str, bytes]) -> Any:
    """Return what the reader makes of a directory, None where there is no reader."""
    second = reader()
    return None if second is None else second.judge(files, crc32c.crc32c)
