"""How long bytes are cut, digested and compressed.

An array changes in place, so its bytes are cut at fixed places. A byte string
or a file grows and shifts, so it is cut where its content says: behind a
window of 32 bytes whose rolling hash has zeros in its upper bits, which is the
same place wherever those bytes have moved to. The hash is a gear hash: each
byte shifts it by one and adds a number of the byte's own.

How bytes are cut is told in the manifest, so that any way of cutting is read
by all: where neither the extension nor NumPy is there to find places by
content, which Python itself would take a second for every few megabytes for,
bytes are cut at fixed places, and what is appended is found all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any, Final

from journalkit.compiled import IS_COMPILED, compiled
from journalkit.errors import UnsupportedFormatError, UsageError
from journalkit.format.compression import library
from journalkit.format.malformed import MalformedError

INLINE_BYTES: Final = 64 << 10
"""What is shorter stands in the tree itself."""
ARRAY_CHUNK_BYTES: Final = 1 << 20
CONTENT_BYTES_MIN: Final = 256 << 10
CONTENT_BYTES_MEAN: Final = 1 << 20
CONTENT_BYTES_MAX: Final = 4 << 20

SHA256: Final = "sha256"
BLAKE3: Final = "blake3"
_LEVEL: Final = 3
_WINDOW: Final = 32
_BLOCK_BYTES: Final = 32 << 10
"""How much NumPy hashes at once: what the processor's cache holds of it."""
_RARE: Final = 0xFFFF_FC00  # 22 bits: before the mean
_FREQUENT: Final = 0xFFFF_C000  # 18 bits: behind it. What passes the rare one passes this one

Digest = Callable[[memoryview], bytes]


def fixed(view: memoryview) -> Iterator[memoryview]:
    """Yield bytes in pieces of 1 MiB."""
    for start in range(0, len(view), ARRAY_CHUNK_BYTES):
        yield view[start : start + ARRAY_CHUNK_BYTES]


def by_content(view: memoryview) -> Iterator[memoryview]:
    """Yield bytes in pieces of 256 KiB to 4 MiB, 1 MiB in the mean, the last one perhaps shorter."""
    if not is_by_content():
        yield from fixed(view)
        return
    start = 0
    while start < len(view):
        end = _cut(view, start)
        yield view[start:end]
        start = end


def is_by_content() -> bool:
    """Whether this machine finds places by content."""
    return IS_COMPILED or _numpy() is not None


def best_digest() -> str:
    """Return the quickest digest that is installed."""
    try:
        digest_named(BLAKE3)
    except UnsupportedFormatError:
        return SHA256
    return BLAKE3


@cache
def digest_named(name: str) -> Digest:
    """Return a digest of 32 bytes, which no two pieces of bytes share that anybody can find.

    Raises:
        UnsupportedFormatError: There is none of that name, or it takes a package that isn't installed.
    """
    if name == SHA256:
        return lambda view: hashlib.sha256(view).digest()
    if name == BLAKE3:
        try:
            blake3: Any = import_module(BLAKE3).blake3
        except ImportError:
            raise UnsupportedFormatError(
                "the chunks' digests are BLAKE3, which takes a package: pip install 'journalkit[blake3]'"
            ) from None
        return lambda view: bytes(blake3(view).digest())
    raise UnsupportedFormatError(f"no digest is named {name!r:.50}: upgrade journalkit")


def compressor(name: str) -> Callable[[memoryview], bytes | None]:
    """Return what compresses a chunk, None where that doesn't make it smaller.

    Raises:
        UsageError: There is no compression of that name, or it takes a package that isn't installed.
    """
    if name == "none":
        return lambda _view: None
    if name != "zstd":
        raise UsageError(f"compression={name!r:.50}: it is none or zstd")
    zstd = _zstd()

    def compressed(view: memoryview) -> bytes | None:
        frame: bytes = zstd.compress(view, _LEVEL)
        return frame if len(frame) < len(view) else None

    return compressed


def expanded(frame: bytes, length: int) -> bytes:
    """Return the chunk of that length that a compressed one stands for.

    Raises:
        MalformedError: It stands for none.
        MissingLibraryError: It takes a package that isn't installed.
    """
    zstd = library()
    reader = zstd.ZstdDecompressor()
    try:
        chunk: bytes = reader.decompress(frame, length + 1)
    except zstd.ZstdError as error:
        raise MalformedError(f"a compressed chunk that can't be read ({error})") from error
    if len(chunk) != length or not reader.eof or reader.unused_data:
        raise MalformedError("a compressed chunk of another length")
    return chunk


def _zstd() -> Any:
    try:
        return library()
    except ValueError as error:
        raise UsageError("compression takes a package: pip install 'journalkit[zstd]'") from error


@cache
def _numpy() -> Any:
    try:
        return import_module("numpy")
    except ImportError:
        return None


@cache
def gear() -> bytes:
    """Return four bytes for each byte: a number as if by chance, and the same everywhere."""
    return b"".join(hashlib.sha256(bytes((byte,))).digest()[:4] for byte in range(256))


def _cut(view: memoryview, start: int) -> int:
    """Return where the piece that begins there ends."""
    end = min(start + CONTENT_BYTES_MAX, len(view))
    mean = min(start + CONTENT_BYTES_MEAN, end)
    at = start + CONTENT_BYTES_MIN
    numbers = gear()
    for stop, mask in ((mean, _RARE), (end, _FREQUENT)):
        while at < stop:
            until = min(at + _BLOCK_BYTES, stop)
            found = gear_place(view[at - _WINDOW + 1 : until], mask, numbers)
            if found:
                return at + found
            at = until
    return end


@compiled
def gear_place(view: memoryview, mask: int, numbers: bytes) -> int:
    """Return behind which byte, from the first that has all of its window, the hash has zeros at the mask; 0: none."""
    np = _numpy()
    hashes = np.frombuffer(numbers, "<u4").astype(np.uint32)[np.frombuffer(view, np.uint8)]
    shifted = np.empty_like(hashes)
    width = 1
    while width < _WINDOW:
        np.left_shift(hashes[:-width], width, out=shifted[width:])
        hashes[width:] += shifted[width:]
        width *= 2
    places = np.flatnonzero((hashes[_WINDOW - 1 :] & mask) == 0)
    return int(places[0]) + 1 if len(places) else 0
