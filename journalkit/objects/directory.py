"""Objects in a directory: a file for each, its key its path.

    put      temporary, sync, rename, sync of the directory
    create   temporary, sync, link(2), sync of the directory: a name that is taken is refused by the kernel

Temporaries lie in `.tmp`; a handle's first write sweeps what others left there:
`journalkit.objects.temporaries`. Directories are made as keys need them and stay. A key that is the beginning of
another one's, up to a slash, can't be here what it can be in object storage.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from journalkit.clock import Clock, SystemClock
from journalkit.errors import ClosedError, KeyValueError, StorageError
from journalkit.fs.atomic import UnknownOutcomeError, claim_name, place_file
from journalkit.fs.full import is_full, store_full
from journalkit.fs.interface import FileSystem, ReadableFile, ReadableFileSystem
from journalkit.objects.interface import (
    PAGE_MAX,
    ObjectStatus,
    Part,
    as_bytes,
    check_range,
    checked_key,
    checked_page,
    is_name,
)
from journalkit.objects.streaming import FileStream
from journalkit.objects.temporaries import Temporaries

_Found = TypeVar("_Found")

TEMPORARIES: Final = ".tmp"
_NONCE_BYTES: Final = 8
_NOT_THERE: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class DirectoryReader:
    """`ReadableObjects` in a directory, which needn't exist."""

    def __init__(self, directory: str, fs: ReadableFileSystem) -> None:
        self.where = directory.rstrip("/") or "/"
        self._readable = fs

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes | None:
        """Return an object's bytes, or a range of them, None if there is none."""
        path = self._path(key)
        check_range(start, length)

        def read(file: ReadableFile) -> bytes:
            size_bytes = max(0, file.size() - start)
            return file.pread(size_bytes if length is None else min(length, size_bytes), start)

        return self._read(path, lambda: self._with_file(path, read))

    def read_into(self, key: str, start: int, target: memoryview) -> int | None:
        """Fill memory with an object's bytes from an offset; return how many there were, None if there is no object."""
        path = self._path(key)
        check_range(start, None)

        def fill(file: ReadableFile) -> int:
            into: Callable[[memoryview, int], int] | None = getattr(file, "pread_into", None)
            if into is not None:
                return into(target, start)
            data = file.pread(len(target), start)
            target[: len(data)] = data
            return len(data)

        return self._read(path, lambda: self._with_file(path, fill))

    def mapped(self, key: str) -> memoryview | None:
        """Return an object's bytes as they lie in the system's memory, None if there is no object.

        An error of the medium is a signal then, which ends the process.

        Raises:
            StorageError: It can't be read, or nothing can be mapped here.
        """
        path = self._path(key)
        map_read: Callable[[str], memoryview] | None = getattr(self._readable, "map_read", None)
        if map_read is None:
            raise StorageError(f"{path} is on a file system that can't map files: load without", path=path)
        return self._read(path, lambda: map_read(path))

    def status(self, key: str) -> ObjectStatus | None:
        """Return the size of an object, None if there is none."""
        found = self._look(self._path(key))
        return None if found is None or found[1] else ObjectStatus(key, found[0])

    def list(self, prefix: str = "", *, after: str = "", limit: int = PAGE_MAX) -> Sequence[ObjectStatus]:
        """Return a page of objects, sorted by key."""
        count = checked_page(prefix, after, limit)
        return list(itertools.islice(self._walk("", prefix, after), count))

    def _with_file(self, path: str, use: Callable[[ReadableFile], _Found]) -> _Found:
        with contextlib.closing(self._readable.open_read(path)) as file:
            return use(file)

    def _read(self, path: str, use: Callable[[], _Found]) -> _Found | None:
        """Return what a read gives, None if nothing is there; errors become ours."""
        try:
            return use()
        except _NOT_THERE:
            return None
        except OSError as error:
            raise StorageError(f"{path} can't be read: {error.strerror}", cause=error, path=path) from error

    def _walk(self, base: str, prefix: str, after: str) -> Iterator[ObjectStatus]:
        """Yield the objects below a directory; what isn't asked for isn't looked at."""
        for name in self._in_order(base):
            key = base + name
            below = key + "/"
            may_be_object = key.startswith(prefix) and key > after
            may_hold = (below.startswith(prefix) or prefix.startswith(below)) and (
                below > after or after.startswith(below)
            )
            if not (may_be_object or may_hold) or (found := self._look(self._path(key))) is None:
                continue
            size_bytes, is_directory = found
            if is_directory and may_hold:
                yield from self._walk(below, prefix, after)
            elif not is_directory and may_be_object:
                yield ObjectStatus(key, size_bytes)

    def _in_order(self, base: str) -> Sequence[str]:
        """Return the names in a directory as their keys sort: `a-b`, `a.b`, then what lies in the directory `a`."""
        path = os.path.join(self.where, base)
        try:
            names = [name for name in self._readable.list(path) if is_name(name)]
        except _NOT_THERE:
            return ()
        except OSError as error:
            raise StorageError(f"{path} can't be listed: {error.strerror}", cause=error, path=path) from error

        def sorts_as(index: int) -> str:
            name = names[index]
            # Only where another name goes on from this one does it matter what it is.
            if index + 1 == len(names) or not names[index + 1].startswith(name):
                return name
            found = self._look(os.path.join(path, name))
            return name + "/" if found is not None and found[1] else name

        return [names[index] for index in sorted(range(len(names)), key=sorts_as)]

    def _look(self, path: str) -> tuple[int, bool] | None:
        try:
            found = self._readable.status(path)
        except OSError as error:
            raise StorageError(f"{path} can't be read: {error.strerror}", cause=error, path=path) from error
        return None if found is None else (found.size_bytes, found.is_directory)

    def _path(self, key: str) -> str:
        return os.path.join(self.where, checked_key(key))


class DirectoryObjects(DirectoryReader):
    """`Objects` in a directory, which is made by the first write."""

    def __init__(self, directory: str, fs: FileSystem, *, clock: Clock | None = None) -> None:
        super().__init__(directory, fs)
        self._fs = fs
        self._clock = clock if clock is not None else SystemClock()
        self._guard = threading.Lock()
        self._durable: set[str] = set()
        self._temporaries: Temporaries | None = None
        self._failure: OSError | None = None
        self._is_closed = False

    def put(self, key: str, parts: Iterable[Part]) -> int:
        """Make an object of these pieces, durably, whatever was there; return its size."""
        path = self._path(key)
        return self._write(path, parts, lambda temporary: place_file(self._fs, temporary, path))

    def create(self, key: str, data: bytes) -> bool:
        """Make an object if there is none of that key, durably; return whether these bytes are there."""
        path = self._path(key)
        is_ours = False

        def publish(temporary: str) -> None:
            nonlocal is_ours
            is_ours = claim_name(self._fs, temporary, path)
            self._begin().remove(temporary)

        self._write(path, (data,), publish)
        return is_ours or self.get(key) == data

    def delete(self, *keys: str) -> None:
        """Take objects away, durably."""
        self._refuse_unusable()
        paths = [self._path(key) for key in keys]
        with self._telling(self.where, 0):
            for path in paths:
                with contextlib.suppress(*_NOT_THERE):
                    self._fs.unlink(path)
            for directory in dict.fromkeys(map(os.path.dirname, paths)):
                # Where nothing was removed, too: an earlier try may have got no further than to here.
                with contextlib.suppress(*_NOT_THERE):
                    self._sync(directory)

    def close(self) -> None:
        """Let go of the lock that says that this handle lives."""
        with self._guard:
            self._is_closed = True
            if self._temporaries is not None:
                self._temporaries.close()

    # -- within ---------------------------------------------------------------------------------

    def _write(self, path: str, parts: Iterable[Part], publish: Callable[[str], None]) -> int:
        """Write a temporary, make it durable and publish it. Return its size."""
        self._refuse_unusable()
        with self._telling(path, 0):
            temporaries = self._begin()
            temporary, file = temporaries.create()
        try:
            stream = FileStream(file)
            try:
                for part in parts:  # what asking for one raises is the caller's own
                    piece = as_bytes(part)
                    with self._telling(path, stream.size_bytes + len(piece)):
                        stream.add(piece)
                with self._telling(path, stream.size_bytes):
                    stream.finish()
            finally:
                file.close()
            with self._telling(path, stream.size_bytes):
                self._make(os.path.dirname(path))
                publish(temporary)
        except BaseException:
            temporaries.remove(temporary)
            raise
        return stream.size_bytes

    def _begin(self) -> Temporaries:
        """Return where temporaries go; the first time, sweep what others left."""
        with self._guard:
            if self._temporaries is None:
                directory = os.path.join(self.where, TEMPORARIES)
                self._make(directory)
                clock = self._clock
                self._temporaries = Temporaries(
                    self._fs, directory, lambda: clock.random_bytes(_NONCE_BYTES).hex()
                )
            return self._temporaries

    def _make(self, directory: str) -> None:
        """Make a directory, its name durable whoever made it, and those above it: outside the place only if need be."""
        if directory in self._durable:
            return
        parent = os.path.dirname(directory) or "."
        is_within = directory != self.where and parent.startswith(self.where)
        if is_within or self._fs.status(parent) is None:
            self._make(parent)
        try:
            self._fs.make_directory(directory)
        except FileExistsError:
            found = self._fs.status(directory)
            if found is not None and not found.is_directory:
                if directory == self.where:
                    raise KeyValueError(f"{directory} is a file, and no directory: choose another place") from None
                raise KeyValueError(f"{directory} is an object: no other's key can go on from its key") from None
        self._sync(parent)
        self._durable.add(directory)

    def _sync(self, directory: str) -> None:
        try:
            self._fs.sync_directory(directory)
        except _NOT_THERE:
            raise
        except OSError as error:
            raise UnknownOutcomeError(error.errno, error.strerror, directory) from error

    @contextlib.contextmanager
    def _telling(self, path: str, needed_bytes: int) -> Iterator[None]:
        """Turn the system's errors into ours. A failed sync of a directory ends the handle: a later one is no proof."""
        try:
            yield
        except UnknownOutcomeError as error:
            self._failure = error
            raise self._ended(error) from error
        except OSError as error:
            if is_full(error):
                raise store_full(self._fs, self.where, needed_bytes, error) from error
            reason = error.strerror
            if error.errno in _NO_LINKS and isinstance(error.filename2, str):
                reason = f"this file system has no hard links, by which one of several writers gets a name ({reason})"
            raise StorageError(f"{path}: {reason}; nothing was published", cause=error, path=path) from error

    def _ended(self, cause: OSError) -> StorageError:
        reason = (
            f"{self.where}: a sync of a directory failed ({cause.strerror}), so what was written last may be lost in a "
            "power cut; open it again"
        )
        return StorageError(reason, cause=cause, path=self.where)

    def _refuse_unusable(self) -> None:
        if self._is_closed:
            raise ClosedError(f"{self.where} was closed: open it again")
        if self._failure is not None:
            raise self._ended(self._failure) from self._failure
