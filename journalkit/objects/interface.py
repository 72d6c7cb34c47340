"""What journalkit asks of a place that keeps objects, and no more.

Two halves, as for files: `ReadableObjects` has no method that changes anything.

An object is whole or not there, and never changes but by a `put` of the same
key, which the layers above do without: they name data so that nobody else
does, and let several writers meet only in `create`. No rename, no append, no
swap, no lock: what every object storage and every directory can do is all that
is asked for.

Keys are checked here, by `checked_key`, so that what is written to one back
end can be copied to any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from journalkit.errors import KeyTypeError, KeyValueError

Part: TypeAlias = bytes | bytearray | memoryview
"""A piece of an object: any of them contiguous; a memoryview of whatever it is of, as bytes."""

KEY_BYTES_MAX: Final = 800
PAGE_MAX: Final = 1000
"""How many objects a list returns at most, whatever is asked for: what S3 gives in one request."""

# No part begins with a dot: what does is a back end's own, or an operating system's litter. Nor is "..", "" or "/a" a
# key, and no part is too long for a file name with a suffix.
_PART: Final = r"[A-Za-z0-9_][A-Za-z0-9._=-]{0,199}"
_KEY: Final = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)
_PREFIX: Final = re.compile(rf"(?:{_PART}/)*(?:{_PART})?", re.ASCII)
_NAME: Final = re.compile(_PART, re.ASCII)


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """What a listing says of one object."""

    key: str
    size_bytes: int


class ReadableObjects(Protocol):
    """The half that cannot change anything."""

    @property
    def where(self) -> str:
        """The path or URL, for messages; no secrets in it."""
        ...

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes | None:
        """Return an object's bytes, or so many of them from an offset: short only at its end. None if there is none.

        Raises:
            UsageError: No such key or range can be.
            ArchiveUnavailableError: It can't be reached just now. Retry.
            StorageError: It can't be read, and trying again alone won't help.
        """
        ...

    def status(self, key: str) -> ObjectStatus | None:
        """Return what is known of an object without its bytes, None if there is none. Raises as `get`."""
        ...

    def list(self, prefix: str = "", *, after: str = "", limit: int = PAGE_MAX) -> Sequence[ObjectStatus]:
        """Return the first objects whose key begins with `prefix` and sorts behind `after`, sorted by key.

        Fewer than `limit` (at most `PAGE_MAX`) are the last: the next page
        lies behind the last key of this one. What was written or deleted
        before the call began is told as it is. Raises as `get`.

        Some servers sort part by part: beside keys under `a/`, `a-b` and `a.b`
        come before them in one place and behind them in another, and `a`
        itself as `after` skips what is under it. Name things so that this
        doesn't arise, and look behind keys that an object has or had.
        """
        ...


class Objects(ReadableObjects, Protocol):
    """Everything a writer needs. Threads may share it."""

    def put(self, key: str, parts: Iterable[Part]) -> int:
        """Make an object of these pieces, behind one another, whatever was there; return how many bytes it has.

        The pieces are asked for as they are written, and kept no longer than
        that; an object larger than memory is no trouble. If asking for one
        raises, that is what the caller gets, and nothing changed.

        Durability:
            Once this returns, the object survives whatever its place does: a
            power cut in a directory, what the provider promises elsewhere.

        Raises:
            UsageError: No such key can be. Nothing was written.
            StoreFullError: No room. What there was under the key is there still.
            ArchiveUnavailableError: It can't be reached. There is either what there was or the whole new object. Retry.
            StorageError: As before, and trying again alone won't help: after a failed sync of a directory this
                handle takes no more writes.
        """
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Make an object if there is none of that key: True if these bytes are there now, False if others were.

        Of any number of writers with different bytes exactly one is told True:
        give each try a nonce. For small objects; it is one request.

        Durability:
            As for `put`. What a False stands on is durable as well.

        Raises:
            UnknownOutcomeError: It may have been created, now or a moment later.
            UsageError, StoreFullError, StorageError: As for `put`; nothing was created, unless the
                error says that the outcome is unknown until the place is opened again.
        """
        ...

    def delete(self, *keys: str) -> None:
        """Take objects away; one that isn't there is none to take.

        Durability:
            Once this returns, none of them comes back.

        Raises:
            ArchiveUnavailableError, StorageError: Some of them may be gone. Again is safe.
        """
        ...

    def close(self) -> None:
        """Let go of what the handle holds; twice is harmless. Nothing can be written by it afterwards."""
        ...


def checked_key(key: str) -> str:
    """Return the key.

    Raises:
        UsageError: It is none: slash-separated parts of ASCII letters, digits, `.`, `_`, `=` and `-`, each
            beginning with a letter, a digit or `_`, at most 200 characters each and 800 in all.
    """
    if not isinstance(key, str):
        raise KeyTypeError(f"an object's key is a str, not {type(key).__name__}")
    if not _KEY.fullmatch(key) or len(key) > KEY_BYTES_MAX:
        raise KeyValueError(f"{key!r:.100} is no object's key: parts of A-Z a-z 0-9 . _ = - with slashes between")
    return key


def checked_page(prefix: str, after: str, limit: int) -> int:
    """Return how many objects a page holds, or raise UsageError for a prefix or limit that can't be.

    `after` is compared only, and needn't be a key: a reader may hand in the number that it begins behind.
    """
    if not _PREFIX.fullmatch(prefix) or not after.isascii():
        raise KeyValueError(f"no key can begin with {prefix!r:.100} or sort behind {after!r:.100}")
    if limit < 1:
        raise KeyValueError(f"limit={limit}: a page has one object at least")
    return min(limit, PAGE_MAX)


def check_range(start: int, length: int | None) -> None:
    """Raise UsageError for a range that can't be."""
    if start < 0 or (length is not None and length < 0):
        raise KeyValueError(f"start={start}, length={length}: a range begins and extends forwards from 0")


def is_name(name: str) -> bool:
    """Whether a key may have such a part."""
    return _NAME.fullmatch(name) is not None


def as_bytes(part: Part) -> memoryview:
    """Return a piece as bytes, without a copy.

    Raises:
        UsageError: It is no contiguous buffer.
    """
    try:
        return memoryview(part).cast("B")
    except (TypeError, ValueError) as error:
        raise KeyTypeError(f"a piece of an object is contiguous bytes, not {type(part).__name__}: {error}") from None
