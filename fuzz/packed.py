"""The target `msgpack`: MessagePack from anywhere, and values carried through it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from random import Random
from typing import Any

from fuzz import second
from fuzz.draw import Source, draw_value, source_of, spelled
from fuzz.target import Target, require
from journalkit.cli import jsonform
from journalkit.errors import UsageError
from journalkit.format import codec
from journalkit.format.malformed import MalformedError

_CBOR = codec.CborCodec()
_MSGPACK = codec.codec_named("msgpack")

HEADS = bytes((*range(0x80, 0xA2), *range(0xC0, 0xE0)))


def run_msgpack(data: bytes) -> None:
    """Decode bytes as the second reader does; carry generated values, and take exactly those that CBOR takes."""
    body = data[1:]
    if data[:1] < b"\x80":
        second.compare("decode_msgpack", _MSGPACK.decode, body)
        with suppress(MalformedError):
            value = _MSGPACK.decode(body)
            text = spelled(value)
            require(spelled(_MSGPACK.decode(_MSGPACK.encode(value))) == text, f"{value!r:.200} doesn't come back")
            require(spelled(jsonform.loads(jsonform.dumps(value))) == text, f"{value!r:.200} changes in JSON")
        return
    value = draw_value(Source(body))
    mine, theirs = _encoded(_MSGPACK, value), _encoded(_CBOR, value)
    require((mine is None) == (theirs is None), f"one codec refuses {value!r:.200}")
    if mine is not None:
        require(spelled(_MSGPACK.decode(mine)) == spelled(value), f"{value!r:.200} comes back as something else")


def _encoded(chosen: codec.Codec, value: Any) -> bytes | None:
    try:
        return chosen.encode(value)
    except UsageError:
        return None


def seeds(chance: Random) -> Iterable[bytes]:
    """Values of every kind, heads of every kind, and stuff for the generator."""
    for _ in range(80):
        data = _encoded(_MSGPACK, draw_value(source_of(chance)))
        if data is not None and len(data) < 2000:
            yield b"\0" + data
    for _ in range(20):
        yield b"\0" + bytes(chance.choice(HEADS) if chance.random() < 0.6 else chance.randrange(16) for _ in range(14))
        yield b"\x80" + chance.randbytes(80)
    for depth in (64, 65, 1000):
        yield b"\0" + b"\x91" * depth + b"\xc0"
        yield b"\0" + b"\x81\xc0" * depth + b"\xc0"
        yield b"\0\x81" + b"\x91" * depth + b"\xc0\xc0"
    for stamp in ("d6ff00000001", "d7ff0000000400000001", "c70cff00000001" + "ff" * 8, "c7024a8101", "d44af6"):
        yield b"\0" + bytes.fromhex(stamp)


TARGETS = (Target("msgpack", "MessagePack, beside CBOR and the second reader", seeds, run_msgpack),)
