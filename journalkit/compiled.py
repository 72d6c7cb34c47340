"""The compiled path: which functions have one, and whether it is taken.

`journalkit._speed` is an extension in C that may be missing; all of journalkit
is there without it. A function marked `@compiled` is the plain one, in Python,
and what is called in its place is its twin of the same name from the
extension, which does the same with the same bytes and leaves to it whatever is
out of the ordinary, errors above all. tests/unit/test_compiled.py holds the
two together.

With `JOURNALKIT_PURE` set in the environment, to anything but nothing, the
extension isn't even loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeVar

__all__ = [
    "IS_COMPILED",
    "AttemptsFields",
    "LayersFields",
    "LogFields",
    "MemTableFields",
    "SegmentFields",
    "SuccessionFields",
    "compiled",
    "speed",
]

_Function = TypeVar("_Function", bound=Callable[..., object])


def _load() -> ModuleType | None:
    if os.environ.get("JOURNALKIT_PURE"):
        return None
    try:
        import journalkit._speed as extension
    except ImportError:  # not built, or built for another machine
        return None
    return extension


speed: Final = _load()
"""The extension, None if everything runs as Python."""

IS_COMPILED: Final = speed is not None


# Bases whose attributes the extension finds without asking Python; without it they are the instances' own.
if TYPE_CHECKING:
    from journalkit._speed import (
        AttemptsFields,
        LayersFields,
        LogFields,
        MemTableFields,
        SegmentFields,
        SuccessionFields,
    )
elif speed is None:
    LogFields = SegmentFields = SuccessionFields = LayersFields = object

    class MemTableFields:
        """There are many of these, and they have no attributes beside their slots."""

        __slots__ = ("entries", "last_lsn", "payload_bytes")

    class AttemptsFields:
        """Likewise, beside a class that has slots."""

        __slots__ = ("failed_errno",)

else:
    LogFields, SegmentFields = speed.LogFields, speed.SegmentFields
    SuccessionFields, LayersFields, MemTableFields = speed.SuccessionFields, speed.LayersFields, speed.MemTableFields
    AttemptsFields = speed.AttemptsFields


def compiled(plain: _Function) -> _Function:
    """Return the compiled twin of a function, the function itself if there is none here. Positional arguments only."""
    twin: _Function = plain if speed is None else speed.bind(plain)
    return twin
