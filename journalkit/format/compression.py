"""Compressed data blocks: a block's body, made smaller, and back.

    u32 method, 1: zstd
    u32 bytes of the body
    u32 bytes of the frame
    frame: one Zstandard frame (RFC 8878), without a dictionary

It stands in the body's place, and the block's checksum is over what stands
there. A body begins with where its entries do, at least 11; so a method can't
be taken for one. Only tables of version 3 have compressed blocks, and in them
a block is compressed only if that makes it smaller.

What is read may be hostile. A body is at most `BODY_BYTES_MAX`, whatever the
frame says: no more is ever made of a block.

The library is that of Python 3.14, or its backport: `journalkit[zstd]`.
"""

from __future__ import annotations

import struct
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Final

from journalkit.format.malformed import MalformedError, MissingLibraryError

ZSTD: Final = 1
HEAD: Final = struct.Struct("<III")
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""A larger body, which is a single large value, is stored as it is."""

_LEVEL: Final = 3
_WINDOW_BITS_MAX: Final = BODY_BYTES_MAX.bit_length() - 1
"""No frame asks the library for more memory than for the largest body."""
_HOMES: Final = ("compression.zstd", "backports.zstd")


@cache
def library() -> ModuleType:
    """Return the library. Raises MissingLibraryError."""
    for home in _HOMES:
        try:
            return import_module(home)
        except ImportError:
            continue
    raise MissingLibraryError("blocks compressed with zstd take a package that isn't installed")


def packed(body: bytes) -> bytes:
    """Return what stands for a body: itself, unless it gets smaller. Raises MissingLibraryError."""
    if len(body) > BODY_BYTES_MAX:
        return body
    frame: bytes = library().compress(body, _LEVEL)
    if HEAD.size + len(frame) >= len(body):
        return body
    return HEAD.pack(ZSTD, len(body), len(frame)) + frame


def is_packed(stored: bytes) -> bool:
    """Whether these bytes stand for a body that was compressed."""
    return stored[:4] == b"\1\0\0\0"


def packed_length(beginning: bytes) -> int:
    """Return how many bytes stand for a compressed body that begins with these; 0 if none can."""
    if len(beginning) < HEAD.size:
        return 0
    method, body_bytes, frame_bytes = HEAD.unpack_from(beginning)
    length: int = HEAD.size + frame_bytes
    return length if method == ZSTD and length < body_bytes <= BODY_BYTES_MAX else 0


def unpacked(stored: bytes) -> bytes:
    """Return the body that these bytes, whose checksum was found right, stand for.

    Raises:
        MalformedError: They stand for none.
        MissingLibraryError: It takes the library to tell.
    """
    if not is_packed(stored):
        return stored
    if packed_length(stored) != len(stored):
        raise MalformedError("a compressed block of another size")
    _, body_bytes, _ = HEAD.unpack_from(stored)
    zstd = library()
    reader = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_BITS_MAX})
    try:
        body: bytes = reader.decompress(stored[HEAD.size :], body_bytes + 1)
    except zstd.ZstdError as error:
        raise MalformedError(f"a compressed block that can't be read ({error})", HEAD.size) from error
    if len(body) != body_bytes or not reader.eof or reader.unused_data:
        raise MalformedError("a compressed block whose body is of another size", HEAD.size)
    return body
