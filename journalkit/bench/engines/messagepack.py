"""MessagePack through `msgspec`: the fastest common serializer, for engines that store bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from journalkit.bench.engine import MissingError


def functions() -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    """Return what encodes and what decodes a value. Raises MissingError if msgspec isn't installed."""
    try:
        import msgspec
    except ImportError as error:
        raise MissingError("msgspec is not installed: pip install 'journalkit[bench]'") from error
    return msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
