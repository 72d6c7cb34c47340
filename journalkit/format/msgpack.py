"""Values as MessagePack: the quick codec, for programs whose values are JSON's and a little more.

What MessagePack carries exactly goes through `msgspec` as it is: None, bool,
integers of 64 bits, float, str, bytes, lists, dicts, and datetimes in UTC.
A value with anything else inside becomes its CBOR whole, in one extension item,
so both codecs take the same values and refuse the same. `docs/decisions/0022`
tells what was measured.

`msgspec` changes types where a program doesn't look (tuple to list, Enum to its
value), so what it gets is checked before, and what it gives is bounded after.
"""

from __future__ import annotations

from datetime import UTC, datetime
from gc import get_referents
from typing import Any, Final, NoReturn, Protocol

from journalkit.compiled import compiled
from journalkit.errors import UsageError
from journalkit.format.malformed import MalformedError
from journalkit.format.values import SCALARS, VALUE_DEPTH_MAX
from journalkit.types import Value

EXTENSION: Final = 74
"""The type of the extension item that holds a value's CBOR; "J", of the range for applications."""

_EXTENSION_HEADS: Final = frozenset((*range(0xC7, 0xCA), *range(0xD4, 0xD9)))
_CONTAINER_HEADS: Final = frozenset((*range(0x80, 0xA0), *range(0xDC, 0xE0)))
_MARK_HEADS: Final = bytes(byte in _CONTAINER_HEADS for byte in range(256))
"""Translates the first byte of an array or map, and whatever looks like one, to 1, every other byte to 0."""

_CONTAINERS: Final = frozenset({dict, list, tuple})
"""What arrays and maps are decoded to; an array in a key is a tuple."""

_REASON_CHARACTERS_MAX: Final = 200


class _Fallback(Protocol):
    def encode(self, value: Value) -> bytes:
        """As `codec.Codec`."""

    def decode(self, data: bytes) -> Value:
        """As `codec.Codec`."""


class MsgpackCodec:
    """Values as MessagePack, and as `fallback` has them where that can't carry them."""

    name: Final = "msgpack"

    def __init__(self, fallback: _Fallback) -> None:
        """Load `msgspec`. Raises UsageError if it isn't installed."""
        try:
            from msgspec import MsgspecError, msgpack
        except ImportError:
            raise UsageError(
                "values as 'msgpack' need the package msgspec, which isn't installed: pip install 'journalkit[msgpack]'"
            ) from None
        self._fallback = fallback
        self._encode = msgpack.Encoder().encode
        self._decode = msgpack.Decoder(ext_hook=_refuse_extension).decode
        self._decode_item = msgpack.Decoder().decode
        self._extension = msgpack.Ext
        # A key that can't be hashed is a TypeError, text that isn't UTF-8 a UnicodeDecodeError.
        self._errors = (MsgspecError, TypeError, ValueError)

    def encode(self, value: Value) -> bytes:
        """Return the bytes of a value.

        Raises:
            KeyTypeError: Something inside is of a type that wouldn't come back as it is.
            KeyValueError: Something inside is out of range, or nested too deep.

        Complexity:
            O(size). A value that MessagePack can't carry costs what it costs as CBOR.
        """
        if is_native(value):
            try:
                return self._encode(value)
            except (OverflowError, UnicodeEncodeError):
                pass  # An integer beyond 64 bits, or a lone surrogate, which the fallback refuses by its place.
        return self._encode(self._extension(EXTENSION, self._fallback.encode(value)))

    def decode(self, data: bytes) -> Value:
        """Return the value that the bytes stand for, as a new object.

        Raises:
            MalformedError: `encode` doesn't write such bytes, or they go on behind the value.
        """
        try:
            value = self._decode(data)
        except _ExtensionError:
            return self._decode_extension(data)
        except self._errors as error:
            raise MalformedError(str(error)[:_REASON_CHARACTERS_MAX]) from None
        except RecursionError:
            # The library stops where Python's stack ends. If the caller is to blame this raises it again.
            _descend(VALUE_DEPTH_MAX)
            raise _too_deep() from None
        # The library bounds no depth. Each level takes a head, and counting what may be one costs a tenth of a
        # microsecond, where a walk through the value costs as much as decoding it.
        if (
            len(data) > VALUE_DEPTH_MAX
            and type(value) in _CONTAINERS
            and data.translate(_MARK_HEADS).count(1) > VALUE_DEPTH_MAX
        ):
            _refuse_deep(value)
        return value

    def _decode_extension(self, data: bytes) -> Value:
        """Decode what holds an extension item: right if that is all there is."""
        if data[0] not in _EXTENSION_HEADS:
            raise MalformedError("an extension item inside a container")
        try:
            item = self._decode_item(data)
        except self._errors as error:
            raise MalformedError(str(error)[:_REASON_CHARACTERS_MAX]) from None
        if type(item) is not self._extension or item.code != EXTENSION:
            raise MalformedError("an extension item that isn't written here")
        return self._fallback.decode(bytes(item.data))


@compiled
def is_native(value: Value, depth: int = 1) -> bool:
    """Whether the value is made of what MessagePack carries alone, but for the range of integers, in bounds.

    As `values.is_plain`, with datetimes; on the path of every write.
    """
    kind = type(value)
    if depth <= VALUE_DEPTH_MAX:
        if kind is dict:
            for key, child in value.items():
                if type(key) not in SCALARS or (type(child) not in SCALARS and not is_native(child, depth + 1)):
                    return False
            return True
        if kind is list:
            for child in value:  # noqa: SIM110  # all() costs 200 ns more
                if type(child) not in SCALARS and not is_native(child, depth + 1):
                    return False
            return True
    return kind in SCALARS or (kind is datetime and value.tzinfo is UTC)


class _ExtensionError(Exception):
    """An extension item was met."""


def _refuse_extension(_code: int, _data: memoryview) -> NoReturn:
    raise _ExtensionError


def _refuse_deep(value: Value) -> None:
    """Raise MalformedError if containers nest deeper than a value may. O(elements), most of it in C."""
    level: list[Any] = [value]
    for _ in range(VALUE_DEPTH_MAX):
        # Whatever a list, a tuple or a dict holds, keys too: a quarter of the time of a loop over each.
        children = get_referents(*level)
        if _CONTAINERS.isdisjoint(map(type, children)):
            return
        level = [child for child in children if type(child) in _CONTAINERS]
    raise _too_deep()


def _descend(frames: int) -> None:
    """Take as many frames of the stack as a value may need. Raises RecursionError if they aren't there."""
    if frames:
        _descend(frames - 1)


def _too_deep() -> MalformedError:
    return MalformedError(f"containers are nested too deep: {VALUE_DEPTH_MAX} levels are the most")
