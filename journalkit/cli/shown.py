"""Encoded keys and values, as they are told: in JSON for programs, in short for people.

For those commands that look at records and tables directly, not through a
store. Bytes that don't decode are shown as what they are, never hidden.
"""

from __future__ import annotations

from typing import Any, Final

from journalkit.cli import jsonform
from journalkit.cli.terminal import shortened
from journalkit.errors import JournalError
from journalkit.format.codec import CborCodec, Codec, codec_named
from journalkit.format.keys import Keyspace, decode_key, reserved_name
from journalkit.format.malformed import MalformedError
from journalkit.recovery.salvage_ranges import KEYS_END, NEXT, KeyRange
from journalkit.types import Key

RESERVED_BELOW: Final = 0x10
_SPACES: Final = {space.value: space.name.lower() for space in Keyspace}


def key_text(key: Key) -> str:
    """Return a key as a person reads it: a str as it is, any other, and an empty one, in the lossless JSON form."""
    return key if type(key) is str and key else jsonform.dumps(key)


def encoded_key_text(encoded: bytes) -> str:
    """Return an encoded key as a person reads it, a reserved one with its keyspace."""
    try:
        if is_reserved(encoded):
            return f"<{space_name(encoded)}> {reserved_name(encoded)}"
        return key_text(decode_key(encoded))
    except MalformedError:
        return f"<undecodable> {encoded.hex()}"


def encoded_key_json(encoded: bytes) -> dict[str, Any]:
    """Return an encoded key as members of a JSON object: `key`, or `keyspace` and `name`, or `key_bytes`."""
    try:
        if is_reserved(encoded):
            return {"keyspace": space_name(encoded), "name": reserved_name(encoded)}
        return {"key": jsonform.to_json(decode_key(encoded))}
    except MalformedError:
        return {"key_bytes": encoded.hex()}


def range_text(keys: KeyRange, width: int = 0) -> tuple[str, str]:
    """Return where a range of encoded keys begins and ends, each key cut to `width` if one is given."""

    def text(key: bytes) -> str:
        told = encoded_key_text(key.removesuffix(NEXT))
        return shortened(told, width) if width else told

    start, stop = keys
    first = f"after {text(start)}" if start.endswith(NEXT) else text(start) if start else "the first key"
    last = "the last key" if stop == KEYS_END else text(stop) if stop.endswith(NEXT) else f"before {text(stop)}"
    return first, last


def range_json(keys: KeyRange) -> dict[str, Any]:
    """Return a range of encoded keys for JSON; None is an open end."""
    start, stop = keys
    return {
        "from": encoded_key_json(start.removesuffix(NEXT)) | {"inclusive": not start.endswith(NEXT)} if start else None,
        "to": encoded_key_json(stop.removesuffix(NEXT)) | {"inclusive": stop.endswith(NEXT)}
        if stop != KEYS_END
        else None,
    }


def is_reserved(encoded: bytes) -> bool:
    """Whether an encoded key is one of journalkit's own."""
    return bool(encoded) and encoded[0] < RESERVED_BELOW


def space_name(encoded: bytes) -> str:
    """Return the name of a reserved key's keyspace."""
    return _SPACES.get(encoded[0], f"keyspace {encoded[0]}")


class Values:
    """Decodes values with a store's own codec, and what is journalkit's own with CBOR."""

    def __init__(self, codec: str) -> None:
        self._codec: Codec | None
        try:
            self._codec = codec_named(codec)
        except JournalError:
            self._codec = None  # of a later version: keys can be told all the same
        self._own = CborCodec()

    def json(self, encoded: bytes, key: bytes = b"") -> dict[str, Any]:
        """Return an encoded value as members of a JSON object: `value`, or `value_bytes` if it doesn't decode."""
        codec = self._own if is_reserved(key) else self._codec
        if codec is not None:
            try:
                return {"value": jsonform.to_json(codec.decode(encoded))}
            except MalformedError:
                pass
        return {"value_bytes": encoded.hex()}

    def text(self, encoded: bytes, width: int, key: bytes = b"") -> str:
        """Return an encoded value in about `width` characters."""
        told = self.json(encoded, key)
        if "value" in told:
            return shortened(jsonform.document_text(told["value"]), width)
        return shortened(f"<undecodable> {told['value_bytes']}", width)
