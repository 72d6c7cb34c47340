"""CBOR tags: how types that CBOR lacks are written, and the only tags that are read.

    0           datetime, RFC 3339 text
    2, 3        integers beyond 64 bits
    30          Fraction, [numerator, denominator]
    37          UUID, 16 bytes
    258         set, an array
    1004        date, RFC 3339 text
    1246429185  tuple, an array
    1246429186  frozenset, a set (tag 258)
    1246429187  Decimal, the text of str(): keeps -0, trailing zeros, NaN and infinities,
                and takes linear time, where tag 4 converts between bases, in quadratic time

The three large ones are ours: "JK" and a number, of the range that is first come, first served.
Every other tag is malformed here: shared references, regular expressions, MIME
parts and the like are ways for data to make a reader do work.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, TypeAlias
from uuid import UUID

from cbor2 import CBOREncoder, shareable_decoder

from journalkit.format.values import FRACTION_BITS_MAX

TAG_DATETIME = 0
TAG_POSITIVE_BIGNUM = 2
TAG_NEGATIVE_BIGNUM = 3
TAG_FRACTION = 30
TAG_UUID = 37
TAG_SET = 258
TAG_DATE = 1004
TAG_TUPLE = 0x4A4B_0001
TAG_FROZENSET = 0x4A4B_0002
TAG_DECIMAL = 0x4A4B_0003

FRAMES_PER_CONTAINER: Final = 3
"""A frozenset is a tag, a tag and an array; no container nests deeper by itself."""
FRAMES_OF_SCALAR: Final = 2
"""A Fraction is a tag and an array."""

Decoder: TypeAlias = Callable[[Any, bool], Any]

_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DECIMAL = re.compile(r"-?(\d+(\.\d+)?([Ee][+-]?\d{1,7})?|s?NaN\d*|Infinity)", re.ASCII)
_UUID_BYTES = 16


def _encode_tuple(encoder: CBOREncoder, value: tuple[Any, ...]) -> None:
    encoder.encode_semantic(TAG_TUPLE, list(value))


def _encode_frozenset(encoder: CBOREncoder, value: frozenset[Any]) -> None:
    encoder.encode_semantic(TAG_FROZENSET, set(value))


def _encode_set(encoder: CBOREncoder, value: set[Any]) -> None:
    # The library's own would pass a tuple on, which is ours to tag.
    encoder.encode_semantic(TAG_SET, list(value))


def _encode_fraction(encoder: CBOREncoder, value: Fraction) -> None:
    # As for sets.
    encoder.encode_semantic(TAG_FRACTION, [value.numerator, value.denominator])


def _encode_decimal(encoder: CBOREncoder, value: Decimal) -> None:
    encoder.encode_semantic(TAG_DECIMAL, str(value))


ENCODERS: Final[dict[type, Callable[[CBOREncoder, Any], None]]] = {
    tuple: _encode_tuple,
    frozenset: _encode_frozenset,
    set: _encode_set,
    Fraction: _encode_fraction,
    Decimal: _encode_decimal,
}


def _matching(pattern: re.Pattern[str], item: object) -> str:
    if type(item) is not str or not pattern.fullmatch(item):
        raise ValueError("the text under a tag is not of the tag's form")
    return item


def _decode_datetime(item: object, _immutable: bool) -> datetime:
    return datetime.fromisoformat(_matching(_DATETIME, item))


def _decode_date(item: object, _immutable: bool) -> date:
    return date.fromisoformat(_matching(_DATE, item))


def _decode_decimal(item: object, _immutable: bool) -> Decimal:
    # Checked first: under a context without traps Decimal("x") is a quiet NaN.
    return Decimal(_matching(_DECIMAL, item))


def _decode_fraction(item: object, _immutable: bool) -> Fraction:
    # A list here, a tuple inside a key or a set.
    if not isinstance(item, (list, tuple)) or [type(part) for part in item] != [int, int]:
        raise ValueError("a fraction is not two integers")
    numerator, denominator = item
    if denominator < 1 or max(numerator.bit_length(), denominator.bit_length()) > FRACTION_BITS_MAX:
        raise ValueError("a fraction is out of bounds")
    return Fraction(numerator, denominator)


def _decode_uuid(item: object, _immutable: bool) -> UUID:
    if type(item) is not bytes or len(item) != _UUID_BYTES:
        raise ValueError("a UUID is not 16 bytes")
    return UUID(bytes=item)


def _decode_tuple(item: object, _immutable: bool) -> tuple[Any, ...]:
    if not isinstance(item, (list, tuple)):
        raise ValueError("a tuple is not an array")
    return tuple(item)


def _decode_frozenset(item: object, _immutable: bool) -> frozenset[Any]:
    if not isinstance(item, (set, frozenset)):
        raise ValueError("a frozenset is not a set")
    return frozenset(item)


@shareable_decoder(name="set", immutable=True)
def _decode_set(immutable: bool) -> tuple[None, Callable[[Any], Any]]:
    """Set up the decoding of a set: its elements come as a tuple, themselves immutable."""
    kind = frozenset if immutable else set

    def build(items: object) -> set[Any] | frozenset[Any]:
        if type(items) is not tuple:
            raise ValueError("a set is not an array")
        elements: set[Any] | frozenset[Any] = kind(items)
        if len(elements) != len(items):
            raise ValueError("a set has an element twice")
        return elements

    return None, build


class _Tags(dict[int, Any]):
    """The decoders by tag. What is missing is refused, but for what the library decodes by itself."""

    def __missing__(self, tag: int) -> Any:
        if tag in (TAG_POSITIVE_BIGNUM, TAG_NEGATIVE_BIGNUM):
            raise KeyError(tag)
        raise ValueError(f"tag {tag} is not one that is written here")


DECODERS: Final = _Tags(
    {
        TAG_DATETIME: _decode_datetime,
        TAG_FRACTION: _decode_fraction,
        TAG_UUID: _decode_uuid,
        TAG_SET: _decode_set,
        TAG_DATE: _decode_date,
        TAG_TUPLE: _decode_tuple,
        TAG_FROZENSET: _decode_frozenset,
        TAG_DECIMAL: _decode_decimal,
    }
)
