"""Codecs: a value as bytes, and back.

A store names its codec in the file. `cbor` is the default and takes every
type that `journalkit.format.values` allows; `msgpack` takes the same in less
time, and lives in `journalkit.format.msgpack`; `raw` takes bytes as they are.

Encoding refuses, before a byte is written, what would not come back equal and
of the same types. Decoding takes bytes from anywhere: it is bounded in depth
and memory, runs nothing, accepts only what encoding produces in kind, and all
its failures are `MalformedError`. Map order and the order in which a set's
elements are written are as they come: equal values may differ in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Final, NoReturn, Protocol

from cbor2 import CBORDecodeError, CBORDecoder, CBOREncodeError, dumps, loads

from journalkit.compiled import compiled
from journalkit.errors import KeyTypeError, KeyValueError, UnsupportedFormatError, UsageError
from journalkit.format.cbor_tags import DECODERS, ENCODERS, FRAMES_OF_SCALAR, FRAMES_PER_CONTAINER
from journalkit.format.malformed import MalformedError
from journalkit.format.msgpack import MsgpackCodec
from journalkit.format.values import SCALARS, VALUE_DEPTH_MAX, is_plain, refuse_unstorable, same
from journalkit.types import Value

_FRAMES_MAX: Final = 1 + FRAMES_PER_CONTAINER * VALUE_DEPTH_MAX + FRAMES_OF_SCALAR
"""How deep the library may nest: the pair of `_decode_container`, then the value."""

_REASON_CHARACTERS_MAX: Final = 200

_BYTES: Final = 0x40
_STR: Final = 0x60
_NO_HEAD: Final = 0xFF

_BYTES_HEADS: Final = [
    *(bytes((_BYTES + size,)) for size in range(24)),
    *(bytes((_BYTES + 24, size)) for size in range(24, 256)),
]

_MEDIUM: Final = (_BYTES + 24, _STR + 24)
"""The first byte of a string whose size is the second."""

_SIZE_BY_HEAD: Final[dict[int, int]] = {
    **dict.fromkeys((*range(0x18), *range(0x20, 0x38), 0xF4, 0xF5, 0xF6), 1),
    **dict.fromkeys((0x18, 0x38), 2),
    **dict.fromkeys((0x19, 0x39, 0xF9), 3),
    **dict.fromkeys((0x1A, 0x3A, 0xFA), 5),
    **dict.fromkeys((0x1B, 0x3B, 0xFB), 9),
    **{head + size: 1 + size for head in (_BYTES, _STR) for size in range(24)},
}
_SIZES: Final = [_SIZE_BY_HEAD.get(head, 0) for head in range(256)]
"""The size of a whole scalar by its first byte: integers, constants, floats, short strings; 0 for all else."""

_LONG_STARTS: Final = {head + code: start for head in (_BYTES, _STR) for code, start in ((25, 3), (26, 5))}
"""Where the payload of a longer string starts, by its first byte."""

_PAIR_HEAD: Final = b"\x82"
_END_MARK: Final = b"journalkit.ends!"
_END_ITEM: Final = b"\x50" + _END_MARK


class Codec(Protocol):
    """Turns values into bytes and back. `name` is what a file says it was written with."""

    @property
    def name(self) -> str:
        """The name in the file."""

    def encode(self, value: Value) -> bytes:
        """Return the bytes of a value, or refuse it with a `UsageError`."""

    def decode(self, data: bytes) -> Value:
        """Return a new value, or raise `MalformedError`."""


class CborCodec:
    """Values as CBOR (RFC 8949), with the tags of `journalkit.format.cbor_tags`."""

    name: Final = "cbor"

    def encode(self, value: Value) -> bytes:
        """Return the bytes of a value.

        Raises:
            KeyTypeError: Something inside is of a type that wouldn't come back as it is.
            KeyValueError: Something inside is out of range, or nested too deep.

        Complexity:
            O(size); values with anything but scalars, lists and dicts inside are
            decoded again and compared.
        """
        if type(value) is bytes:
            # What `dumps` gives: short ones in half the time, long ones with one copy where it makes several.
            size = len(value)
            return (_BYTES_HEADS[size] if size < len(_BYTES_HEADS) else _long_bytes_head(size)) + value
        try:
            plain = encode_plain(value)
        except (UnicodeEncodeError, CBOREncodeError):
            plain = None  # All that the library refuses here is a lone surrogate; what follows says where.
        if plain is not None:
            return plain
        refuse_unstorable(value)
        data = dumps(value, encoders=ENCODERS)
        if not same(self.decode(data), value):
            raise KeyValueError("value would not come back as it is: convert it to plain built-in types first")
        return data

    def decode(self, data: bytes) -> Value:
        """Return the value that the bytes stand for, as a new object.

        Raises:
            MalformedError: `encode` doesn't write such bytes, or they go on behind the value.
        """
        size = len(data)
        head = data[0] if size else _NO_HEAD
        try:
            # A scalar tells its own size and nests nothing, so it needs neither bounds nor an end
            # mark: this takes a quarter of the time. A twin test holds it to the general way.
            if head in _MEDIUM and size > 1 and size == 2 + data[1]:
                return data[2:] if head < _STR else loads(data)
            if _SIZES[head] == size:
                return data[1:] if _BYTES <= head < _STR else loads(data)
            if head in _LONG_STARTS:
                start = _LONG_STARTS[head]
                if start + int.from_bytes(data[1:start]) == size:
                    return data[start:] if head < _STR else loads(data)
            value = _decode_container(data)
        except CBORDecodeError as error:
            _raise_verdict(error)
        if not is_plain(value):
            try:
                refuse_unstorable(value)
            except UsageError as error:
                raise MalformedError(_cut(error)) from None
        return value


@compiled
def encode_plain(value: Value) -> bytes | None:
    """Return the bytes of a value made of scalars, lists and dicts alone, None for any other; what `dumps` gives."""
    return dumps(value) if type(value) in SCALARS or is_plain(value) else None


class RawCodec:
    """Bytes as they are: the application has its own encoding."""

    name: Final = "raw"

    def encode(self, value: Value) -> bytes:
        """Return the value itself.

        Raises:
            KeyTypeError: The value is not exactly bytes.
        """
        if type(value) is not bytes:
            raise KeyTypeError(f"the raw codec stores bytes, not {type(value).__name__}: encode the value first")
        return value

    def decode(self, data: bytes) -> bytes:
        """Return the bytes themselves."""
        return data


_CODECS: Final[dict[str, Callable[[], Codec]]] = {
    CborCodec.name: CborCodec,
    MsgpackCodec.name: lambda: MsgpackCodec(CborCodec()),
    RawCodec.name: RawCodec,
}


def codec_named(name: str) -> Codec:
    """Return the codec of that name.

    Raises:
        UnsupportedFormatError: This version has none.
        UsageError: It needs a package that isn't installed.
    """
    try:
        make = _CODECS[name]
    except KeyError:
        known = ", ".join(sorted(_CODECS))
        raise UnsupportedFormatError(
            f"no codec is named {name[:_REASON_CHARACTERS_MAX]!r}: upgrade journalkit, this one has {known}"
        ) from None
    return make()


def _long_bytes_head(size: int) -> bytes:
    if size < 1 << 16:
        return b"\x59" + size.to_bytes(2)
    if size < 1 << 32:
        return b"\x5a" + size.to_bytes(4)
    return b"\x5b" + size.to_bytes(8)


def _decode_container(data: bytes) -> Value:
    """Decode one item that is all of `data`.

    The library ignores what follows an item and can't tell where it stopped. So
    it is given a pair, the data and an end mark, in half the time of a file
    object that can be asked. Only data that hold the mark could imitate it: the
    second item comes out as the mark just when its 16 bytes are in the input
    behind a head. In the data they are not; across the border they can't be,
    because there lies 0x50, which is no byte of the mark; and behind it, 0x50
    is the whole head, since as the end of a longer one it would say 80 bytes or more.
    """
    if _END_MARK in data:
        return _decode_exactly(data)
    pair = loads(
        _PAIR_HEAD + data + _END_ITEM,
        semantic_decoders=DECODERS,
        max_depth=_FRAMES_MAX,
        allow_indefinite=False,
        allow_duplicate_keys=False,
    )
    if pair[1] != _END_MARK:
        raise MalformedError("bytes go on behind the value")
    return pair[0]


def _decode_exactly(data: bytes) -> Value:
    """Do what `_decode_container` does for any data."""
    file = BytesIO(data)
    value = CBORDecoder(
        file,
        semantic_decoders=DECODERS,
        max_depth=_FRAMES_MAX - 1,
        allow_indefinite=False,
        allow_duplicate_keys=False,
    ).decode()
    if file.tell() != len(data):
        raise MalformedError("bytes go on behind the value", file.tell())
    return value


def _raise_verdict(error: CBORDecodeError) -> NoReturn:
    """Raise what the library's error means: it wraps whatever a tag's decoder raised, Ctrl-C included."""
    cause = error.__cause__
    if isinstance(cause, (MemoryError, RecursionError)) or not isinstance(cause, Exception | None):
        raise cause
    raise MalformedError(_cut(error if cause is None else cause)) from None


def _cut(error: Exception) -> str:
    return str(error)[:_REASON_CHARACTERS_MAX]
