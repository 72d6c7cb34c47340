"""What one record holds, as a store's callers give it and as the log takes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from journalkit.errors import KeyTypeError, RecordTooLargeError
from journalkit.format.batch import encode_batch
from journalkit.format.frame import PAYLOAD_BYTES_MAX
from journalkit.log.commit import Mutations
from journalkit.log.gate import Made
from journalkit.store.batch import Batch
from journalkit.types import Key, Value


def check_batch(batch: Any) -> None:
    """Raise UsageError unless it is one."""
    if not isinstance(batch, Batch):
        raise KeyTypeError(f"write takes a journalkit.Batch, not {type(batch).__name__}; for a mapping use update")


def pairs_of(
    other: Mapping[Any, Value] | Iterable[tuple[Any, Value]], more: Mapping[str, Value]
) -> list[tuple[Key, Value]]:
    """Return what `update` was given as pairs, in order."""
    # One scan of a mapping: key by key another thread could come between. And no dict, to which True is 1.
    return [*(other.items() if isinstance(other, Mapping) else other), *more.items()]


def made_of(mutations: list[tuple[bytes, bytes | None]]) -> Made:
    """Return mutations as a record. Raises RecordTooLargeError."""
    return payload_of(mutations), mutations


def payload_of(mutations: Mutations) -> bytes:
    """Return the payload of a commit. Raises RecordTooLargeError."""
    payload = encode_batch(mutations)
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise too_large(len(payload))
    return payload


def too_large(size_bytes: int) -> RecordTooLargeError:
    """Return the error for a record that is over the limit."""
    return RecordTooLargeError(
        f"a record of {size_bytes} bytes is over the limit of {PAYLOAD_BYTES_MAX}; split it",
        size_bytes=size_bytes,
        limit_bytes=PAYLOAD_BYTES_MAX,
    )
