"""Keys and values as JSON, and back, without a loss.

What JSON can say stays what it is: null, true, false, strings, finite numbers
(an integer of any usual size, a float always with a point or an exponent),
arrays, and objects with string keys. Everything else is an object with one
member whose name begins with a dollar sign:

    {"$bytes": "base64"}      {"$tuple": [...]}     {"$datetime": "2026-11-22T09:30:00+00:00"}
    {"$float": "nan"}         {"$set": [...]}       {"$date": "2026-11-22"}
    {"$int": "0x..."}         {"$frozenset": [...]} {"$decimal": "1.50"}
    {"$dict": [[k, v], ...]}  {"$fraction": [1, 3]} {"$uuid": "..."}

`$dict` stands for a dict with a key that is not a string, or that begins with
a dollar sign, `$int` for integers that JSON readers can't be asked to parse,
`$float` for "nan", "inf" and "-inf". So every object with a dollar name is one
of these or an error. Reading is strict: a repeated name, a number out of
range or a form that isn't one of these is refused, never guessed.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from journalkit.types import Value

INT_BITS_MAX: Final = 4096
"""A longer integer is written in hexadecimal: Python itself refuses decimals of over 4300 digits."""

_MARK: Final = "$"
_CONTROLS: Final = re.compile("[\x7f-\x9f]")
_PAIR: Final = 2
_FLOATS: Final = ("nan", "inf", "-inf")


class JsonFormError(ValueError):
    """The text isn't JSON, or not of a form that stands for a value."""


def to_json(value: Value) -> Any:
    """Return what `json.dumps` makes of a value that a store can hold."""
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    return _WRITERS[kind](value)


def from_json(document: Any) -> Value:
    """Return the value that a parsed JSON document stands for.

    Raises:
        JsonFormError: It stands for none.
    """
    if type(document) is list:
        return [from_json(item) for item in document]
    if type(document) is not dict:
        return document
    marked = [name for name in document if name.startswith(_MARK)]
    if not marked:
        return {name: from_json(item) for name, item in document.items()}
    [name, *others] = document
    if others:
        raise JsonFormError(f"{marked[0]!r} stands beside other names; such a dict is written as $dict")
    reader = _READERS.get(name)
    if reader is None:
        raise JsonFormError(f"{name!r} is no type; a dict with such a key is written as $dict")
    return reader(document[name])


def dumps(value: Value) -> str:
    """Return a value as one line of JSON."""
    return document_text(to_json(value))


def document_text(document: Any) -> str:
    """Return a document, as `to_json` makes one, as one line of JSON."""
    return tamed(json.dumps(document, ensure_ascii=False, allow_nan=False))


def tamed(text: str) -> str:
    """Return a JSON text with DEL and the controls behind it escaped: JSON leaves them, and a terminal obeys them."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def parse(text: str) -> Any:
    """Return a JSON document as Python has it, not yet as a value.

    Raises:
        JsonFormError: It isn't JSON, has a name twice, or a number that would change on the way.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_float=_float, parse_constant=_constant, parse_int=_integer
        )
    except RecursionError:
        raise JsonFormError("it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise JsonFormError(f"it is no JSON: {error.msg} at character {error.pos + 1}") from None


def loads(text: str) -> Value:
    """Return the value that a JSON text stands for.

    Raises:
        JsonFormError: It stands for none.
    """
    return from_json(parse(text))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise JsonFormError("an object has a name twice")
    return document


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise JsonFormError(f"the number {text[:40]} is out of range")
    return value


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise JsonFormError("an integer has too many digits; write it as $int, in hexadecimal") from None


def _constant(text: str) -> float:
    raise JsonFormError(f'{text} is no JSON; write it as {{"$float": ...}}')


def _write_int(value: int) -> Any:
    return value if value.bit_length() <= INT_BITS_MAX else {"$int": hex(value)}


def _write_float(value: float) -> Any:
    return value if math.isfinite(value) else {"$float": repr(value)}


def _write_dict(value: dict[Any, Any]) -> Any:
    if all(type(key) is str and not key.startswith(_MARK) for key in value):
        return {key: to_json(item) for key, item in value.items()}
    return {"$dict": [[to_json(key), to_json(item)] for key, item in value.items()]}


def _write_set(name: str) -> Callable[[Any], Any]:
    # Sorted by their own text, so that equal sets are equal lines.
    return lambda value: {name: sorted((to_json(item) for item in value), key=json.dumps)}


_WRITERS: Final[dict[type, Callable[[Any], Any]]] = {
    int: _write_int,
    float: _write_float,
    bytes: lambda value: {"$bytes": base64.b64encode(value).decode("ascii")},
    list: lambda value: [to_json(item) for item in value],
    tuple: lambda value: {"$tuple": [to_json(item) for item in value]},
    dict: _write_dict,
    set: _write_set("$set"),
    frozenset: _write_set("$frozenset"),
    datetime: lambda value: {"$datetime": value.isoformat()},
    date: lambda value: {"$date": value.isoformat()},
    Decimal: lambda value: {"$decimal": str(value)},
    Fraction: lambda value: {"$fraction": [_write_int(value.numerator), _write_int(value.denominator)]},
    UUID: lambda value: {"$uuid": str(value)},
}


def _from_text(name: str, make: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Return a reader of a type that is written as a string, through its own constructor."""

    def read(item: Any) -> Any:
        if type(item) is not str:
            raise JsonFormError(f"{name} takes a string")
        try:
            return make(item)
        except (ValueError, InvalidOperation, KeyError):
            raise JsonFormError(f"{item[:40]!r} is no {name}") from None

    return read


def _read_float(text: str) -> float:
    """Make a new NaN each time: a set may hold several, and one object twice is one element."""
    return float(_FLOATS[_FLOATS.index(text)])


def _items(name: str, item: Any) -> list[Any]:
    if type(item) is not list:
        raise JsonFormError(f"{name} takes an array")
    return [from_json(child) for child in item]


def _read_set(name: str, kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(item: Any) -> Any:
        items = _items(name, item)
        try:
            made = kind(items)
        except TypeError as error:
            raise JsonFormError(f"{name} can't hold that: {error}") from None
        if len(made) != len(items):
            raise JsonFormError(f"{name} has an element twice")
        return made

    return read


def _read_dict(item: Any) -> dict[Any, Any]:
    pairs = _items("$dict", item)
    if any(type(pair) is not list or len(pair) != _PAIR for pair in pairs):
        raise JsonFormError("$dict takes an array of [key, value]")
    try:
        made = dict(pairs)
    except TypeError as error:
        raise JsonFormError(f"$dict has a key that a dict can't have: {error}") from None
    if len(made) != len(pairs):
        raise JsonFormError("$dict has a key twice")
    return made


def _read_fraction(item: Any) -> Fraction:
    parts = _items("$fraction", item)
    if [type(part) for part in parts] != [int, int] or parts[1] < 1:
        raise JsonFormError("$fraction takes [numerator, denominator], two integers, the second positive")
    return Fraction(*parts)


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "$int": _from_text("$int", lambda text: int(text, 16)),
    "$float": _from_text("$float", _read_float),
    "$bytes": _from_text("$bytes", lambda text: base64.b64decode(text, validate=True)),
    "$tuple": lambda item: tuple(_items("$tuple", item)),
    "$dict": _read_dict,
    "$set": _read_set("$set", set),
    "$frozenset": _read_set("$frozenset", frozenset),
    "$datetime": _from_text("$datetime", datetime.fromisoformat),
    "$date": _from_text("$date", date.fromisoformat),
    "$decimal": _from_text("$decimal", Decimal),
    "$fraction": _read_fraction,
    "$uuid": _from_text("$uuid", UUID),
}
