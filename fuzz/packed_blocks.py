"""The target of compressed blocks."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from fuzz.mutation import mutate
from fuzz.target import Target, require
from journalkit.format import block, compression
from journalkit.format.malformed import MalformedError

_CRC = bytes(block.CRC_BYTES)


def compressed_seeds(chance: Random) -> Iterable[bytes]:
    """Bodies of several sizes that get smaller, one that doesn't, and frames that are none."""
    for count in (1, 20, 300):
        entries = [(b"%05d" % number, b"again " * chance.randrange(9)) for number in range(count)]
        yield compression.packed(block.encode_block([block.run_of(entries)]))
    yield compression.packed(bytes(100_000))
    yield compression.HEAD.pack(compression.ZSTD, 100, 20) + bytes(20)


def mutate_compressed(data: bytes, chance: Random) -> bytes:
    """Change the frame or the head, and make the lengths right half of the time."""
    changed = mutate(data, chance)
    head = compression.HEAD.size
    if len(changed) < head or chance.randrange(2):
        return changed
    _, body_bytes, _ = compression.HEAD.unpack_from(data.ljust(head, b"\0"))
    return compression.HEAD.pack(compression.ZSTD, body_bytes, len(changed) - head) + changed[head:]


def run_compressed(data: bytes) -> None:
    """A compressed block is what it says, within bounds, or malformed; and its length is told rightly."""
    length = compression.packed_length(data)
    require(length in (0, len(data)) or length >= compression.HEAD.size, "a compressed block of no length")
    try:
        body = compression.unpacked(data)
    except MalformedError:
        return
    if not compression.is_packed(data):
        require(body == data, "a plain body changes")
        return
    require(len(data) < len(body) <= compression.BODY_BYTES_MAX, "a body out of bounds")
    require(block.block_length(data + _CRC) == len(data) + len(_CRC), "a compressed block's length is told wrongly")
    require(compression.unpacked(compression.packed(body)) == body or compression.is_packed(body), "a body changes")


TARGETS = (Target("compressed", "compressed blocks", compressed_seeds, run_compressed, mutate_compressed),)
