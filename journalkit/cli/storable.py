"""Whether entries can be stored, asked before a store is opened: a refused command leaves no new store behind."""

from __future__ import annotations

from journalkit.errors import StoreNotFoundError
from journalkit.format.codec import CborCodec, Codec, codec_named
from journalkit.format.keys import Keyspace, encode_key, reserved_key
from journalkit.fs.posix import PosixFileSystem
from journalkit.recovery.look import require_manifest
from journalkit.types import Key, Value


class Storable:
    """Checks entries for the store at a path: the one that is there, or the one that would be made."""

    def __init__(self, path: str, codec: str | None = None) -> None:
        try:
            name = require_manifest(PosixFileSystem(), path).codec
        except StoreNotFoundError:
            name = codec if codec is not None else CborCodec.name
        self._codec: Codec = codec_named(name)
        self._positions = CborCodec()

    def check(self, key: Key, value: Value) -> None:
        """Raise the UsageError that storing this entry would raise."""
        encode_key(key)
        self._codec.encode(value)

    def check_offset(self, name: str, position: Value) -> None:
        """Raise the UsageError that storing this offset would raise."""
        reserved_key(Keyspace.OFFSETS, name)
        self._positions.encode(position)
