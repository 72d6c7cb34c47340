"""Keys, values and batches out of bytes: what makes a generator of a fuzzer's input.

A `Source` reads numbers from its bytes and zeros behind their end, so every
input means something, a longer one means more, and a fuzzer that changes one
byte changes one choice.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from random import Random
from typing import Any
from uuid import UUID

_DEPTH_MAX = 5
_EDGES = (0, 1, -1, 23, 24, 255, 256, -24, -25, -256, -257, 1 << 32, 1 << 63, -(1 << 63), 1 << 64, -(1 << 64), 1 << 70)
_DECIMALS = ("0", "-0", "1.50", "NaN", "-sNaN7", "Infinity", "-Infinity", "1E+999999", "1E-999999", "1E+1000000")
_TEXTS = ("", "a", "a\0", "ab", "\x7f", "\x80", "é", "\ud7ff", "\ue000", "\U0001f600", "\ud800", "a\udfff", "\0\xff")


class Source:
    """Choices out of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def below(self, count: int) -> int:
        """Return a number from 0 up to `count`, which is at most 256, not included."""
        return self.take(1)[0] % count

    def take(self, count: int) -> bytes:
        """Return so many bytes, zeros where there are none left."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken.ljust(count, b"\0")

    def some(self) -> bytes:
        """Return a few bytes, as many as there are at most."""
        count = self.below(24)
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def rest(self) -> bytes:
        """Return all that is left."""
        taken = self._data[self._at :]
        self._at = len(self._data)
        return taken

    def number(self) -> int:
        """Return an integer of any size, often one at an edge."""
        edge = _EDGES[self.below(len(_EDGES))]
        return edge + self.below(5) - 2 if self.below(2) else int.from_bytes(self.some(), "big", signed=True)

    def text(self) -> str:
        """Return a text, sometimes one with a lone surrogate."""
        return "".join(_TEXTS[self.below(len(_TEXTS))] for _ in range(self.below(4))) + self.some().decode("latin-1")


def source_of(chance: Random, count: int = 120) -> Source:
    """Return a source of chance."""
    return Source(chance.randbytes(count))


def draw_key(source: Source, depth: int = 0) -> Any:
    """Return a key, or something that is nearly one."""
    kind = source.below(12)
    if kind < 3:
        return source.text()
    if kind < 5:
        return source.some()
    if kind < 8:
        return source.number()
    if kind < 11:
        return tuple(draw_key(source, depth + 1) for _ in range(source.below(4))) if depth < _DEPTH_MAX else ()
    return (True, None, 1.5, [1], "a" * 9000, b"\0" * 8191, (((((("deep",),),),),),))[source.below(7)]


def draw_value(source: Source, depth: int = 0) -> Any:
    """Return a value, or something that is nearly one."""
    if depth < _DEPTH_MAX and source.below(3) == 0:
        return _CONTAINERS[source.below(len(_CONTAINERS))](source, depth + 1)
    return _SCALARS[source.below(len(_SCALARS))](source)


def _children(source: Source, depth: int) -> list[Any]:
    return [draw_value(source, depth) for _ in range(source.below(5))]


def _hashable(source: Source, depth: int) -> list[Any]:
    found = []
    for child in _children(source, depth):
        try:
            hash(child)
        except TypeError:
            continue
        found.append(child)
    return found


def _nested(source: Source, _depth: int) -> Any:
    """Nest one kind of container up to the limit of depth and beyond it."""
    kind = (list, tuple, lambda one: {1: one[0]}, frozenset)[source.below(4)]
    value: Any = ()
    for _ in range(source.below(70)):
        value = kind([value]) if kind is not frozenset or _is_hashable(value) else [value]
    return value


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _datetime(source: Source) -> datetime:
    zones = (UTC, None, timezone(timedelta(minutes=source.below(200) - 100)), timezone(timedelta(seconds=61)))
    moment = datetime(1 + source.below(200) * 49, 1 + source.below(12), 1 + source.below(28), 12, 59, 58, tzinfo=UTC)
    return moment.replace(microsecond=source.below(4) * 1007, tzinfo=zones[source.below(4)], fold=source.below(2))


def _fraction(source: Source) -> Fraction:
    return Fraction(source.number(), source.number() or 1)


def _decimal(source: Source) -> Decimal:
    with localcontext(Context(traps=[])):
        return Decimal(_DECIMALS[source.below(len(_DECIMALS))]) if source.below(2) else Decimal(source.number()) / 7


def _float(source: Source) -> float:
    value: float = struct.unpack("<d", source.take(8))[0]
    return value


class _Text(str):
    """Equal to a str, and not one."""

    __slots__ = ()


_SCALARS: tuple[Callable[[Source], Any], ...] = (
    lambda _source: None,
    lambda source: bool(source.below(2)),
    lambda source: source.number(),
    _float,
    lambda source: source.text(),
    lambda source: source.some(),
    lambda source: bytes((source.below(3),)) * (source.below(255) * 257),
    lambda source: "é" * (source.below(255) * 9),
    _datetime,
    lambda source: date(1 + source.below(200) * 49, 1 + source.below(12), 1 + source.below(28)),
    _decimal,
    _fraction,
    lambda source: UUID(bytes=source.take(16)),
    lambda source: (_Text("x"), bytearray(b"x"), 1j, timedelta(1), range(3), object, Ellipsis)[source.below(7)],
)
_CONTAINERS: tuple[Callable[[Source, int], Any], ...] = (
    _children,
    lambda source, depth: tuple(_children(source, depth)),
    lambda source, depth: dict(zip(_hashable(source, depth), _children(source, depth), strict=False)),
    lambda source, depth: set(_hashable(source, depth)),
    lambda source, depth: frozenset(_hashable(source, depth)),
    _nested,
)


def draw_mutations(source: Source) -> list[tuple[bytes, bytes | None]]:
    """Return mutations as a batch has them: encoded keys, values or deletions."""
    found: list[tuple[bytes, bytes | None]] = []
    for _ in range(source.below(6)):
        key = (b"\x40" + source.some(), b"\x40k", b"\x01in", b"\x30" * 8192)[source.below(4)]
        found.append((key, source.some() if source.below(4) else None))
    return found


def spelled(value: Any) -> str:
    """Return a text that two values share just when they are equal and of the same types at every depth.

    Written apart from the package's own comparison, which is under test.
    """
    kind = type(value)
    if kind in (list, tuple):
        return f"{kind.__name__}({', '.join(map(spelled, value))})"
    if kind in (set, frozenset):
        return f"{kind.__name__}({', '.join(sorted(map(spelled, value)))})"
    if kind is dict:
        return f"dict({', '.join(f'{spelled(key)}: {spelled(child)}' for key, child in value.items())})"
    if kind is datetime:
        return f"datetime {value.isoformat()}"
    if kind is int:
        return f"int {value:x}"
    if kind is Fraction:
        return f"fraction {value.numerator:x} {value.denominator:x}"
    return f"{kind.__name__} {value!r}"
