"""Many entries of a data block at a time, in columns: what scans pay for.

`columns` is what `decode_block` says of a part of a block. `same_sized_items`
is for a block whose entries all have one shape: keys of one length and type,
values of one length that are bytes. There C finds every key and value, a
third of the time or less, and the Python objects are the first ones made.
What it can't tell that way it leaves to `columns`; a property test holds them
together.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from operator import itemgetter, lt
from typing import Final, NamedTuple

from journalkit.format.block import CRC_BYTES, ROW_BYTES, START_BYTES, TOMBSTONE, block_shape
from journalkit.format.codec import Codec
from journalkit.format.keys import BYTES, KEY_BYTES_MAX, STR, decode_key
from journalkit.format.malformed import MalformedError
from journalkit.types import Key, Value

_PLACE: Final = struct.Struct("<I")
_ROW: Final = struct.Struct("<HI")
_HEAD_BYTES_MAX: Final = 5
_BYTES_TAG: Final = bytes((BYTES,))
_STR_TAG: Final = bytes((STR,))
_behind_tag: Final = itemgetter(slice(1, None))


class Columns(NamedTuple):
    """Entries in key order, keys and values apart; None is a tombstone."""

    keys: list[bytes]
    values: list[bytes | None]


def columns(block: bytes, low: int, high: int) -> Columns:
    """Return entries `low` to `high`, not included, of a block that was found right by `check_ends`.

    Raises MalformedError where an entry doesn't lie in it, or isn't above the one before.
    """
    shape = _shape(block)
    if shape is not None and low < high:
        start, key_bytes, value_bytes = shape
        size = key_bytes + value_bytes
        pairs = struct.iter_unpack(f"{key_bytes}s{value_bytes}s", block[start + low * size : start + high * size])
        found, contents = zip(*pairs, strict=True)
        return _ordered(Columns(list(found), list(contents)))
    limit = len(block) - CRC_BYTES
    (at,) = _PLACE.unpack_from(block, low * ROW_BYTES)
    keys: list[bytes] = []
    values: list[bytes | None] = []
    for key_bytes, end in _ROW.iter_unpack(block[START_BYTES + low * ROW_BYTES : START_BYTES + high * ROW_BYTES]):
        if key_bytes == TOMBSTONE:
            middle = end
            values.append(None)
        else:
            middle = at + key_bytes
            values.append(block[middle:end])
        if not at <= middle <= end <= limit:
            raise MalformedError("an entry's key doesn't fit it", min(at, limit))
        keys.append(block[at:middle])
        at = end
    return _ordered(Columns(keys, values))


def _ordered(found: Columns) -> Columns:
    if not _ascend(found.keys):
        raise MalformedError("keys in a block don't ascend")
    return found


def _shape(block: bytes) -> tuple[int, int, int] | None:
    """Return where entries begin, and the bytes of each one's key and value, if all have the same; else None."""
    count, start = block_shape(block)
    key_bytes, first_end = _ROW.unpack_from(block, START_BYTES)
    size = first_end - start
    if not 0 < key_bytes <= min(size, KEY_BYTES_MAX) or start + count * size != len(block) - CRC_BYTES:
        return None
    if block[START_BYTES : START_BYTES + count * ROW_BYTES] != _rows(count, key_bytes, size):
        return None
    return start, key_bytes, size - key_bytes


def same_sized_items(
    block: bytes, low: int, high: int, codec: Codec, *, is_ordered: bool
) -> list[tuple[Key, bytes]] | None:
    """Return keys and values, decoded, of entries that all have one shape; None where it takes a closer look.

    `is_ordered` says that the block gave an answer before: its keys ascend, all of them were looked at then.
    """
    shape = _shape(block)
    if shape is None or low == high:
        return None
    start, key_bytes, value_bytes = shape
    size = key_bytes + value_bytes
    entries = block[start + low * size : start + high * size]
    tag, head = entries[0], bytes_head(codec.encode, value_bytes)
    if head is None or tag not in (STR, BYTES):
        return None
    fixed = ((0, tag), *enumerate(head, key_bytes))
    if not _all_have(entries, size, fixed) or not (is_ordered or _keys_ascend(block, start, key_bytes, value_bytes)):
        return None
    items = list(struct.iter_unpack(f"x{key_bytes - 1}s{len(head)}x{value_bytes - len(head)}s", entries))
    if tag == BYTES:
        return items
    try:
        return [(key.decode(), value) for key, value in items]
    except UnicodeDecodeError:
        return None


def _keys_ascend(block: bytes, start: int, key_bytes: int, value_bytes: int) -> bool:
    """Whether the keys of a block of entries of one shape ascend."""
    keys = [key for (key,) in struct.iter_unpack(f"{key_bytes}s{value_bytes}x", block[start:-CRC_BYTES])]
    return _ascend(keys)


@lru_cache(maxsize=256)
def bytes_head(encode: Callable[[Value], bytes], size_bytes: int) -> bytes | None:
    """Return what an encoded value of this size begins with if it is bytes, and nothing else; None if none can be."""
    for head_bytes in range(min(_HEAD_BYTES_MAX, size_bytes) + 1):
        payload = bytes(size_bytes - head_bytes)
        encoded = encode(payload)
        if len(encoded) == size_bytes and encoded.endswith(payload):
            return encoded[:head_bytes]
    return None


@lru_cache(maxsize=64)
def _rows(count: int, key_bytes: int, size: int) -> bytes:
    """Return the rows of a block of entries that all have this shape."""
    start = START_BYTES + count * (ROW_BYTES + 1)
    return b"".join(_ROW.pack(key_bytes, start + size * (n + 1)) for n in range(count))


def decode_keys(keys: list[bytes]) -> list[Key]:
    """Return what `decode_key` says of each of some keys in order, most of the time quicker.

    Raises MalformedError for the first that it refuses.
    """
    if keys and max(map(len, keys)) <= KEY_BYTES_MAX:
        tag = keys[0][:1]
        if tag == keys[-1][:1] == _BYTES_TAG:  # and so of all between
            return list(map(_behind_tag, keys))
        if tag == keys[-1][:1] == _STR_TAG:
            with suppress(UnicodeDecodeError):  # which one, it says below
                return list(map(bytes.decode, map(_behind_tag, keys)))
    return list(map(decode_key, keys))


def decode_values(values: list[bytes], codec: Codec) -> list[Value]:
    """Return what the codec makes of each value. Raises MalformedError for the first that it refuses."""
    if values and len(set(map(len, values))) == 1:
        size = len(values[0])
        head, joined = bytes_head(codec.encode, size), b"".join(values)
        if head is not None and _all_have(joined, size, enumerate(head)):
            return list(map(itemgetter(slice(len(head), None)), values))
    return list(map(codec.decode, values))


def _all_have(entries: bytes, size: int, fixed: Iterable[tuple[int, int]]) -> bool:
    """Whether each entry of so many bytes has these bytes at these places."""
    count = len(entries) // size if size else 0
    return all(entries[at::size] == bytes((byte,)) * count for at, byte in fixed)


def _ascend(keys: list[bytes]) -> bool:
    return all(map(lt, keys, islice(keys, 1, None)))
