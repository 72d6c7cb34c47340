"""The words that types are made of: keys, values, log sequence numbers.

No logic lives here. What a key or a value may be is decided by
`journalkit.format.keys` and `journalkit.format.codec`, which refuse the rest.
"""

from __future__ import annotations

import enum
from typing import Any, Final, Literal, TypeAlias

Key: TypeAlias = "bytes | str | int | tuple[Key, ...]"
"""What names an entry. Order: int < bytes < str < tuple."""

Value: TypeAlias = Any
"""What CBOR can say and give back equal and of the same types, at any depth."""

Lsn: TypeAlias = int
"""Log sequence number: 1, 2, 3, ..., one per record; 0 means nothing yet."""

Sync: TypeAlias = Literal["always", "interval", "never"]
"""What an acknowledgement means: on the medium, or handed to the OS."""

SYNC_MODES: Final[tuple[Sync, ...]] = ("always", "interval", "never")


class Absent(enum.Enum):
    """The type of `ABSENT`, so that a type checker can tell it from a value."""

    ABSENT = "ABSENT"

    def __repr__(self) -> str:
        return "journalkit.ABSENT"


ABSENT: Final = Absent.ABSENT
"""Stands for "no such key" where None would be a value."""


class Unset(enum.Enum):
    """The type of `UNSET`, the default of arguments for which None is a value."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "<unset>"


UNSET: Final = Unset.UNSET
