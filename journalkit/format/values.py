"""What a value may be, decided before it is written and after it is read.

A value is stored when it comes back equal and of the same types, at any depth;
everything else is refused, never changed. Two walks say so: `is_plain`, quick,
for what the CBOR library carries by itself, and `refuse_unstorable`, thorough,
which knows every type and tells where in the value the trouble is. Both bound
the depth, because the library doesn't survive deep nesting.

How a value becomes bytes is for `journalkit.format.codec` to say.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from types import NoneType
from typing import Any, Final
from uuid import UUID

from journalkit.compiled import compiled
from journalkit.errors import KeyTypeError, KeyValueError
from journalkit.types import Value

VALUE_DEPTH_MAX: Final = 64
"""How many containers may lie inside each other."""

DECIMAL_EXPONENT_MAX: Final = 999_999
"""The adjusted exponent is within plus and minus this, as in Python's default context, so that
rounding or adding what a hostile file holds can't fill the memory."""

FRACTION_BITS_MAX: Final = 65_536
"""Of numerator and denominator each: reducing a fraction takes the square of this."""

SCALARS: Final = frozenset({NoneType, bool, int, float, str, bytes})
"""Types that the CBOR library carries by itself and exactly."""

IMMUTABLE: Final = SCALARS | {datetime, date, Decimal, Fraction, UUID}
"""Types whose values may be handed out twice: nobody can change one, and nothing that can be changed is inside."""

_SHOWN_CHARACTERS_MAX = 40


@compiled
def is_plain(value: Value, depth: int = 1) -> bool:
    """Whether the value is made of scalars, lists and dicts alone, in bounds.

    On the path of every read and write of a container, so it looks at children
    in place and calls itself only for containers: 30 ns for a scalar inside.
    """
    kind = type(value)
    if depth > VALUE_DEPTH_MAX:
        return kind in SCALARS
    if kind is dict:
        for key, child in value.items():
            if type(key) not in SCALARS or (type(child) not in SCALARS and not is_plain(child, depth + 1)):
                return False
        return True
    if kind is list:
        for child in value:  # noqa: SIM110  # all() costs 200 ns more
            if type(child) not in SCALARS and not is_plain(child, depth + 1):
                return False
        return True
    return kind in SCALARS


def refuse_unstorable(value: Value) -> None:
    """Raise for the first thing inside the value that can't be stored, and say where it is.

    Raises:
        KeyTypeError: Something is of a type that wouldn't come back as it is.
        KeyValueError: Something of a right type is out of range, or nested too deep.
    """
    try:
        _survey(value, 1)
    except _RefusedError as refused:
        place = "value" + "".join(reversed(refused.steps))
        raise refused.kind(f"{place} {refused.reason}") from None


def same(left: Value, right: Value) -> bool:
    """Whether two values are equal and of the same types at every depth; NaN is the same as NaN.

    Stricter than `==` where Python lets a difference through: the sign of zero,
    the digits of a Decimal, the order of a dict, the offset of a datetime. Not
    its fold, which says nothing at a fixed offset, nor the name of the offset.

    Complexity:
        O(size), with a copy of the size of both.
    """
    return _likeness(left) == _likeness(right)


class _RefusedError(Exception):
    """On its way up from the culprit; each container adds its step to the path."""

    def __init__(self, kind: type[KeyTypeError | KeyValueError], reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.steps: list[str] = []


def _survey(value: Value, depth: int) -> None:
    kind = type(value)
    if kind in _RULES:
        _RULES[kind](value)
    elif kind in _CONTAINERS:
        if depth > VALUE_DEPTH_MAX:
            raise _RefusedError(
                KeyValueError, f"is nested too deep, or contains itself: {VALUE_DEPTH_MAX} levels are the most"
            )
        for step, child in _CONTAINERS[kind](value):
            try:
                _survey(child, depth + 1)
            except _RefusedError as refused:
                refused.steps.append(_shown(step))
                raise
    elif kind not in SCALARS:
        raise _RefusedError(
            KeyTypeError,
            f"is a {kind.__module__}.{kind.__qualname__}, which would not come back as it is: "
            "convert it to a plain built-in type first",
        )


_IN_KEYS = object()
_IN_SET = object()


def _dict_children(value: dict[Any, Any]) -> Iterator[tuple[object, Any]]:
    for key, child in value.items():
        yield _IN_KEYS, key
        yield key, child


def _set_children(value: set[Any] | frozenset[Any]) -> Iterator[tuple[object, Any]]:
    return ((_IN_SET, child) for child in value)


def _shown(step: object) -> str:
    if step is _IN_KEYS:
        return " (a key)"
    if step is _IN_SET:
        return " (an element)"
    if type(step) is str and len(step) <= _SHOWN_CHARACTERS_MAX:
        return f"[{json.dumps(step)}]"
    if type(step) is int and step.bit_length() <= _SHOWN_CHARACTERS_MAX:
        return f"[{step}]"
    return f"[<{type(step).__name__}>]"


def _check_str(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _RefusedError(
            KeyValueError, f"has a lone surrogate at position {error.start}: replace it, or store bytes"
        ) from None


def _check_datetime(value: datetime) -> None:
    zone = value.tzinfo
    if zone is None:
        raise _RefusedError(
            KeyValueError, "is a naive datetime: say which time zone it is in, as in .replace(tzinfo=timezone.utc)"
        )
    if type(zone) is not timezone:
        raise _RefusedError(
            KeyTypeError,
            f"is in a {type(zone).__module__}.{type(zone).__qualname__} time zone, of which only the "
            "offset could be stored: convert it with .astimezone(timezone.utc)",
        )
    if zone.utcoffset(None) % timedelta(minutes=1):
        raise _RefusedError(KeyValueError, "has a UTC offset with seconds: convert it with .astimezone(timezone.utc)")


def _check_decimal(value: Decimal) -> None:
    if abs(value.adjusted()) > DECIMAL_EXPONENT_MAX:
        raise _RefusedError(
            KeyValueError, f"has an exponent beyond {DECIMAL_EXPONENT_MAX}: round it, or store it as a str"
        )


def _check_fraction(value: Fraction) -> None:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > FRACTION_BITS_MAX:
        raise _RefusedError(
            KeyValueError,
            f"has a numerator or denominator over {FRACTION_BITS_MAX} bits: limit_denominator(), or store two ints",
        )


def _pass(_value: object) -> None:
    """Every date and every UUID comes back as it is."""


_RULES: Final[dict[type, Callable[[Any], None]]] = {
    str: _check_str,
    datetime: _check_datetime,
    Decimal: _check_decimal,
    Fraction: _check_fraction,
    date: _pass,
    UUID: _pass,
}

_CONTAINERS: Final[dict[type, Callable[[Any], Iterator[tuple[object, Any]]]]] = {
    list: enumerate,
    tuple: enumerate,
    dict: _dict_children,
    set: _set_children,
    frozenset: _set_children,
}


def _likeness(value: Value) -> Hashable:
    """Return something that is equal for two values just when they are the same."""
    kind = type(value)
    if kind is list or kind is tuple:
        return kind, tuple(map(_likeness, value))
    if kind is dict:
        return kind, tuple((_likeness(key), _likeness(child)) for key, child in value.items())
    if kind is set or kind is frozenset:
        return kind, frozenset(Counter(map(_likeness, value)).items())
    if kind is float:
        return kind, value.hex()
    if kind is Decimal:
        return kind, repr(value)
    if kind is datetime:
        return kind, value.isoformat()
    return kind, value
