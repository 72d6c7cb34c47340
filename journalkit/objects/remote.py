"""Objects in object storage, through `obstore`: S3 and what speaks like it, Google's, Azure's, and memory.

The library tries again by itself, so a create may be refused because its own
first try, whose reply was lost, had succeeded. What is there is therefore read
back and compared before anybody is told that they lost.

An upload of several parts that is given up midway is no object. Whether its
parts are removed at once is the server's business; a rule of the bucket that
aborts old incomplete uploads is worth having.

`obstore` is imported when a place in object storage is opened, and is an extra.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, NoReturn

from journalkit.errors import ArchiveUnavailableError, ClosedError, StorageError, UnknownOutcomeError, UsageError
from journalkit.objects.interface import (
    PAGE_MAX,
    ObjectStatus,
    Part,
    as_bytes,
    check_range,
    checked_key,
    checked_page,
)

EXTRA: Final = "object-storage"
SCHEMES: Final = ("s3", "gs", "az", "memory")
PART_BYTES: Final = 8 << 20
"""How much one request of an upload carries, and an object that goes in one. S3 takes 10,000 parts: 80 GB."""
_UPLOADS_AT_ONCE: Final = 8


class RemoteObjects:
    """`Objects` of one bucket, below a prefix if the URL has a path."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._obstore, store = _library(url)
        self.where = url.partition("?")[0]
        self._is_closed = False
        try:
            self._store: Any = store.MemoryStore() if url == "memory://" else store.from_url(url, **options)
        except self._obstore.exceptions.BaseError as error:
            raise UsageError(f"{self.where} can't be opened: {_words(error)}") from error

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes | None:
        """Return an object's bytes, or a range of them, None if there is none."""
        checked_key(key)
        check_range(start, length)
        if length == 0:
            return None if self.status(key) is None else b""
        options: dict[str, Any] = {}
        if start or length is not None:
            options["range"] = {"offset": start} if length is None else (start, start + length)
        try:
            return bytes(self._obstore.get(self._store, key, options=options).bytes())
        except FileNotFoundError:
            return None
        except self._obstore.exceptions.BaseError as error:
            # A range that begins beyond the end is an error here, and each server has its own for it.
            found = self.status(key) if start else None
            if found is not None and start >= found.size_bytes:
                return b""
            self._tell(error, f"{key} can't be read")

    def status(self, key: str) -> ObjectStatus | None:
        """Return the size of an object, None if there is none."""
        checked_key(key)
        try:
            return ObjectStatus(key, self._obstore.head(self._store, key)["size"])
        except FileNotFoundError:
            return None
        except self._obstore.exceptions.BaseError as error:
            self._tell(error, f"{key} can't be looked at")

    def list(self, prefix: str = "", *, after: str = "", limit: int = PAGE_MAX) -> Sequence[ObjectStatus]:
        """Return a page of objects, sorted by key."""
        count = checked_page(prefix, after, limit)
        # The library's prefixes end where a part of a key does.
        whole = prefix.rpartition("/")[0]
        try:
            pages = self._obstore.list(self._store, prefix=whole or None, offset=after or None, chunk_size=count)
            entries = ((entry["path"], entry["size"]) for page in pages for entry in page)
            # What begins with the prefix lies side by side.
            behind = itertools.dropwhile(lambda entry: entry[0] <= after or entry[0] < prefix, entries)
            asked = itertools.takewhile(lambda entry: entry[0].startswith(prefix), behind)
            return [ObjectStatus(key, size_bytes) for key, size_bytes in itertools.islice(asked, count)]
        except FileNotFoundError as error:
            self._tell(error, "it can't be listed")
        except self._obstore.exceptions.BaseError as error:
            self._tell(error, "it can't be listed")

    def put(self, key: str, parts: Iterable[Part]) -> int:
        """Make an object of these pieces; a large one in several parts, some of them at once."""
        checked_key(key)
        self._refuse_closed()
        pieces = _Counted(parts)
        first = list(pieces.up_to(PART_BYTES))
        try:
            if pieces.has_ended:
                self._obstore.put(self._store, key, b"".join(first), use_multipart=False)
            else:
                self._obstore.put(
                    self._store,
                    key,
                    itertools.chain(first, pieces),
                    use_multipart=True,
                    chunk_size=PART_BYTES,
                    max_concurrency=_UPLOADS_AT_ONCE,
                )
        except FileNotFoundError as error:
            self._tell(error, f"{key} can't be written")
        except self._obstore.exceptions.BaseError as error:
            self._tell(error, f"{key} can't be written")
        return pieces.size_bytes

    def create(self, key: str, data: bytes) -> bool:
        """Make an object if there is none of that key; return whether these bytes are there."""
        checked_key(key)
        self._refuse_closed()
        errors = self._obstore.exceptions
        try:
            self._obstore.put(self._store, key, data, mode="create", use_multipart=False)
            return True
        except (errors.AlreadyExistsError, errors.PreconditionError, errors.GenericError) as error:
            cause: Exception = error
        except (FileNotFoundError, errors.BaseError) as error:
            self._tell(error, f"{key} can't be created")
        try:
            there = self.get(key)
        except ArchiveUnavailableError:
            there = None
        if there is not None:
            return there == data
        raise UnknownOutcomeError(f"{self.where}: whether {key} was created isn't known: {_words(cause)}") from cause

    def delete(self, *keys: str) -> None:
        """Take objects away."""
        for key in keys:
            checked_key(key)
        self._refuse_closed()
        try:
            for first in range(0, len(keys), PAGE_MAX):
                self._obstore.delete(self._store, list(keys[first : first + PAGE_MAX]))
        except FileNotFoundError:
            # Some servers mind what isn't there, and may have stopped at it.
            for key in keys:
                self._delete_one(key)
        except self._obstore.exceptions.BaseError as error:
            self._tell(error, "objects can't be deleted")

    def close(self) -> None:
        """Take no more writes. Connections go with the object."""
        self._is_closed = True

    # -- within ---------------------------------------------------------------------------------

    def _delete_one(self, key: str) -> None:
        try:
            self._obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except self._obstore.exceptions.BaseError as error:
            self._tell(error, f"{key} can't be deleted")

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise ClosedError(f"{self.where} was closed: open it again")

    def _tell(self, error: Exception, what: str) -> NoReturn:
        """Raise what an error of the library's means for the caller."""
        errors = self._obstore.exceptions
        message = f"{self.where}: {what}: {_words(error)}"
        if isinstance(error, errors.GenericError):
            raise ArchiveUnavailableError(message) from error
        raise StorageError(message, path=self.where) from error


class _Counted(Iterator[memoryview]):
    """Pieces one by one, as bytes; how many bytes they had, and whether they came to an end."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = iter(parts)
        self.size_bytes = 0
        self.has_ended = False

    def __next__(self) -> memoryview:
        for part in self._parts:
            piece = as_bytes(part)
            if piece:
                self.size_bytes += len(piece)
                return piece
        self.has_ended = True
        raise StopIteration

    def up_to(self, count_bytes: int) -> Iterator[memoryview]:
        """Yield pieces until they have more bytes than that, or end."""
        while self.size_bytes <= count_bytes:
            try:
                yield next(self)
            except StopIteration:
                return


def _library(url: str) -> tuple[ModuleType, Any]:
    try:
        import obstore
        from obstore import exceptions, store
    except ImportError as error:
        raise UsageError(
            f"{url.partition('?')[0]} is in object storage, which needs a package: pip install 'journalkit[{EXTRA}]'"
        ) from error
    del exceptions  # imported so that the package has it as an attribute
    return obstore, store


def _words(error: Exception) -> str:
    """Return what the library says to people: behind it comes what it says to its authors."""
    return str(error).partition("\n")[0][:500]
