"""Keys and values, the same for every contender, made before the clock starts."""

from __future__ import annotations

from typing import Any, Final

from journalkit.bench.engine import Item

SEED: Final = 20_261_122
VALUE_BYTES: Final = 100
_FILL: Final = bytes(range(256))
_SPREAD: Final = 2_654_435_761
_KEYS_MAX: Final = 1 << 32


def key(number: int) -> bytes:
    """Return the key of a number: keys of neighbouring numbers lie far apart. 14 bytes, no two the same."""
    return b"key:%010d" % (number * _SPREAD % _KEYS_MAX)


def value(number: int) -> bytes:
    """Return 100 bytes that tell the number."""
    start = number % 156
    return b"%012d" % number + _FILL[start : start + VALUE_BYTES - 12]


def thing(number: int) -> dict[str, Any]:
    """Return a small object, such as applications keep; every serializer gives it back equal."""
    return {
        "id": number,
        "name": f"user {number}",
        "email": f"user{number}@example.org",
        "score": number / 8,
        "active": number % 3 == 0,
        "tags": ["a", "b"],
    }


def items(first: int, stop: int, *, objects: bool = False, shift: int = 0) -> list[Item]:
    """Return keys `first` to `stop` with their values; `shift` gives other values to the same keys."""
    make = thing if objects else value
    return [(key(number), make(number + shift)) for number in range(first, stop)]
