"""Keys as bytes, so that the order of bytes is the order of keys.

    int    one tag for the sign and the count of bytes, then the magnitude, big-endian
    bytes  0x30, then the bytes as they are
    str    0x40, then UTF-8, whose byte order is the order of code points
    tuple  0x50, then the elements

Nothing ends a top-level key but its length, so a prefix of a str is a prefix
of its bytes. Inside a tuple strings and nested tuples end with 00, and a 00 in
a string is written 00 FF, which sorts behind any end. Negative integers store
the complement. Every key has one encoding: what decodes encodes back.

Tags 01 to 0F are reserved keyspaces of journalkit's own; they sort before all
user keys and can't be written as one. Which records live there is for the
layers above to say.
"""

from __future__ import annotations

import enum
from typing import Final

from journalkit.compiled import compiled
from journalkit.errors import KeyTypeError, KeyValueError
from journalkit.format.malformed import MalformedError
from journalkit.types import Key

KEY_BYTES_MAX: Final = 8192
KEY_DEPTH_MAX: Final = 16

NEGATIVE_BIG = 0x10
ZERO = 0x19
"""An integer of n bytes, 1 to 8, has the tag ZERO + n, or ZERO - n if it is negative."""
POSITIVE_BIG = 0x22
BYTES = 0x30
STR = 0x40
TUPLE = 0x50
END = 0x00
ESCAPE = 0xFF

USER_FIRST: Final = bytes((NEGATIVE_BIG,))
"""No user key is smaller; every reserved key is."""

_INT_BYTES_INLINE = 8
_BYTES_TAG = bytes((BYTES,))
_STR_TAG = bytes((STR,))
_TUPLE_TAG = bytes((TUPLE,))
_END = bytes((END,))
_ESCAPED_ZERO = bytes((END, ESCAPE))


class Keyspace(enum.IntEnum):
    """The reserved keyspaces in use; the number is the tag on disk."""

    OFFSETS = 1
    CHECKPOINTS = 2
    CURSORS = 3
    SCHEMA = 4


@compiled
def encode_key(key: Key) -> bytes:
    """Return the bytes that stand for a key, ordered as keys are.

    Raises:
        KeyTypeError: Not exactly a str, bytes, int or a tuple of these.
        KeyValueError: A lone surrogate, too long, or nested too deep.

    Complexity:
        O(len(key)).
    """
    if type(key) is str:
        # Every put and get comes through here, mostly with a str: `_utf8` inline saves a call.
        try:
            encoded = b"\x40" + key.encode()
        except UnicodeEncodeError as error:
            raise _surrogate(error) from None
    elif type(key) is bytes:
        encoded = b"\x30" + key
    elif type(key) is tuple:
        encoded = _TUPLE_TAG + b"".join([_element(item, 1) for item in key])
    else:
        encoded = _integer(key)
    if len(encoded) > KEY_BYTES_MAX:
        raise KeyValueError(
            f"the key is too long: shorten it, {KEY_BYTES_MAX} encoded bytes are the most, not {len(encoded)}"
        )
    return encoded


def decode_key(data: bytes) -> Key:
    """Return the key that these bytes stand for: the inverse of `encode_key`.

    Raises:
        MalformedError: `encode_key` doesn't make these bytes; reserved keys too.
    """
    if len(data) > KEY_BYTES_MAX:
        raise MalformedError(f"key of {len(data)} bytes is over the limit of {KEY_BYTES_MAX}")
    tag = data[0] if data else END
    if tag == STR:
        return _text(data[1:], 1)
    if tag == BYTES:
        return data[1:]
    if tag == TUPLE:
        return _take_elements(data, 1, 1, nested=False)[0]
    key, end = _take_integer(data, 0)
    if end != len(data):
        raise MalformedError("bytes behind the end of an integer key", end)
    return key


def prefix_bounds(prefix: Key) -> tuple[bytes, bytes | None]:
    """Return the half-open range of encoded keys that have this prefix.

    A str or bytes prefix matches keys of its own type that start with it; a
    tuple prefix those tuples that begin with all of its elements, whole.

    Raises:
        KeyTypeError: The prefix is an int, or not a key at all.
        KeyValueError: As for `encode_key`.
    """
    if type(prefix) is int:
        raise KeyTypeError("an int has no prefix: scan from start to stop, or give a str, bytes or tuple prefix")
    first = encode_key(prefix)
    if type(prefix) is tuple:
        # Not the successor: behind a string's end an escape would continue the
        # string, so ("a",) is a byte prefix of ("a\0",). Element tags are smaller.
        return first, first + bytes((ESCAPE,))
    return first, successor(first)


def successor(data: bytes) -> bytes | None:
    """Return the smallest byte string above all that begin with `data`, None if there is none."""
    stem = data.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


def reserved_key(space: Keyspace, name: str) -> bytes:
    """Return the encoded key of an entry of journalkit's own.

    Raises:
        KeyValueError: The name has a lone surrogate or is too long.
    """
    encoded = bytes((space,)) + _utf8(name)
    if len(encoded) > KEY_BYTES_MAX:
        raise KeyValueError(f"the name is too long: shorten it to {KEY_BYTES_MAX - 1} bytes of UTF-8")
    return encoded


def reserved_name(key: bytes) -> str:
    """Return the name in a reserved key, of any keyspace: later versions may add some.

    Raises:
        MalformedError: Not a reserved key.
    """
    if not 0 < len(key) <= KEY_BYTES_MAX or not END < key[0] < NEGATIVE_BIG:
        raise MalformedError("not a reserved key")
    return _text(key[1:], 1)


def keyspace_bounds(space: Keyspace) -> tuple[bytes, bytes]:
    """Return the half-open range of encoded keys in a reserved keyspace."""
    return bytes((space,)), bytes((space + 1,))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise _surrogate(error) from None


def _surrogate(error: UnicodeEncodeError) -> KeyValueError:
    return KeyValueError(f"a key can't hold the lone surrogate at position {error.start}: replace it, or use bytes")


def _element(item: Key, depth: int) -> bytes:
    """Encode one element of a tuple that lies inside `depth` tuples."""
    if type(item) is str:
        return _STR_TAG + _utf8(item).replace(_END, _ESCAPED_ZERO) + _END
    if type(item) is bytes:
        return _BYTES_TAG + item.replace(_END, _ESCAPED_ZERO) + _END
    if type(item) is tuple:
        if depth == KEY_DEPTH_MAX:
            raise KeyValueError(f"the key is nested too deep: {KEY_DEPTH_MAX} tuples inside each other are the most")
        return _TUPLE_TAG + b"".join([_element(inner, depth + 1) for inner in item]) + _END
    return _integer(item)


def _integer(key: object) -> bytes:
    if type(key) is not int:
        raise KeyTypeError(
            f"a key can't be or hold a {type(key).__name__}: convert it to a plain str, bytes, int or tuple of these"
        )
    size = (key.bit_length() + 7) // 8
    if size <= _INT_BYTES_INLINE:
        if key < 0:
            return bytes((ZERO - size,)) + (key + (1 << 8 * size) - 1).to_bytes(size)
        return bytes((ZERO + size,)) + key.to_bytes(size)
    if size > KEY_BYTES_MAX:
        raise KeyValueError(f"the integer is too big for a key: {KEY_BYTES_MAX} encoded bytes are the most")
    if key < 0:
        length = (0xFFFF - size).to_bytes(2)
        return bytes((NEGATIVE_BIG,)) + length + (key + (1 << 8 * size) - 1).to_bytes(size)
    return bytes((POSITIVE_BIG,)) + size.to_bytes(2) + key.to_bytes(size)


def _text(raw: bytes, offset_bytes: int) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("key is not UTF-8", offset_bytes + error.start) from None


def _take_elements(data: bytes, start: int, depth: int, *, nested: bool) -> tuple[tuple[Key, ...], int]:
    """Decode the elements of a tuple from `start`; return them and where the tuple ends."""
    elements: list[Key] = []
    at = start
    while at < len(data):
        tag = data[at]
        element: Key
        if tag == END and nested:
            return tuple(elements), at + 1
        if tag == TUPLE:
            if depth == KEY_DEPTH_MAX:
                raise MalformedError("key is nested too deep", at)
            element, at = _take_elements(data, at + 1, depth + 1, nested=True)
        elif tag in (BYTES, STR):
            raw, end = _take_string(data, at + 1)
            element = raw if tag == BYTES else _text(raw, at + 1)
            at = end
        else:
            element, at = _take_integer(data, at)
        elements.append(element)
    if nested:
        raise MalformedError("tuple without an end", at)
    return tuple(elements), at


def _take_string(data: bytes, start: int) -> tuple[bytes, int]:
    end = data.find(END, start)
    while end >= 0 and data[end + 1 : end + 2] == b"\xff":
        end = data.find(END, end + 2)
    if end < 0:
        raise MalformedError("string without an end", start)
    return data[start:end].replace(_ESCAPED_ZERO, _END), end + 1


def _take_integer(data: bytes, start: int) -> tuple[int, int]:
    tag = data[start] if data else END
    if not NEGATIVE_BIG <= tag <= POSITIVE_BIG:
        raise MalformedError(f"unknown key tag 0x{tag:02x}", start)
    negative = tag < ZERO
    at = start + 1
    size = abs(tag - ZERO)
    size_min = size
    if size > _INT_BYTES_INLINE:
        size = int.from_bytes(data[at : at + 2])
        size = 0xFFFF - size if negative else size
        size_min = _INT_BYTES_INLINE + 1
        at += 2
    end = at + size
    if end > len(data):
        raise MalformedError("integer is cut short", start)
    value = int.from_bytes(data[at:end])
    if negative:
        value -= (1 << 8 * size) - 1
    if size < size_min or (value.bit_length() + 7) // 8 != size:
        raise MalformedError("integer is not in its shortest form", start)
    return value, end
