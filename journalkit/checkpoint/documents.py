"""Documents of a place, read: whole and as they should be, or an error that says what to do next."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

from journalkit.errors import CorruptionError, UnsupportedFormatError
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.objects.interface import ReadableObjects

T = TypeVar("T")


def decoded(decode: Callable[[bytes], T], data: bytes, *, path: str, next_step: str) -> T:
    """Return what an object's bytes say.

    Raises:
        CorruptionError: They make no sense.
        UnsupportedFormatError: A later journalkit wrote them.
    """
    try:
        return decode(data)
    except MalformedError as error:
        raise CorruptionError(error.reason, path=path, offset_bytes=error.offset_bytes, next_step=next_step) from error
    except NewerFormatError as error:
        raise UnsupportedFormatError(f"{path} is of {error}: upgrade journalkit") from error


def read_named(
    objects: ReadableObjects,
    key: str,
    size_bytes: int,
    digest: bytes,
    decode: Callable[[bytes], T],
    *,
    what: str,
    next_step: str,
) -> T:
    """Return what an object says that another one names, with its length and SHA-256.

    `what` it is, for messages: "the page of the catalogue".

    Raises:
        CorruptionError: It is missing, another one than is named, or makes no sense.
        UnsupportedFormatError: A later journalkit wrote it.
        ArchiveUnavailableError, StorageError: It can't be read.
    """
    path = f"{objects.where}/{key}"
    data = objects.get(key, length=size_bytes + 1)
    if data is None:
        raise CorruptionError(f"{what} is missing", path=path, next_step=next_step)
    if len(data) != size_bytes or hashlib.sha256(data).digest() != digest:
        raise CorruptionError(f"it isn't {what}", path=path, next_step=next_step)
    return decoded(decode, data, path=path, next_step=next_step)
