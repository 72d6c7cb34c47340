"""Two places as one: the one that counts, and a fast copy beside it, of what never changes.

    put       to both at once. What the copy fails at is noted, and nobody else's trouble
    get       from the copy if it has the object, or else from the one that counts
    the rest  the one that counts; what is deleted there is deleted in the copy too

Only objects below the given prefixes are copied, and only such as never change
under their key: so a copy is the right one or damaged, never an old one.
Whoever reads checks what they read, and says with `distrust` that a copy is
wrong: it is removed, and the next read is from the one that counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from journalkit.errors import JournalError
from journalkit.objects.directory import DirectoryObjects
from journalkit.objects.interface import PAGE_MAX, Objects, ObjectStatus, Part, as_bytes
from journalkit.objects.ranges import read_into

_AHEAD: Final = 8
"""How many pieces the copy may be behind."""
_END_WAIT_S: Final = 60.0
_NAME_CHARACTERS: Final = 32


def copy_name(where: str) -> str:
    """Return the name of the directory in which copies of a place lie: two places have two."""
    return hashlib.sha256(where.encode()).hexdigest()[:_NAME_CHARACTERS]


class TieredObjects:
    """`Objects` of the one that counts, with copies in a directory. Threads may share it.

    `copy_failure` is what the copy failed at last, None if it never did.
    """

    def __init__(self, main: Objects, copy: DirectoryObjects, prefixes: Sequence[str]) -> None:
        self._main = main
        self._copy = copy
        self._prefixes = tuple(prefixes)
        self.where = main.where
        self.copy_failure: JournalError | None = None

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes | None:
        """Return an object's bytes, or a range of them, None if there is none."""
        if self._is_copied(key):
            with self._noting():
                found = self._copy.get(key, start=start, length=length)
                if found is not None:
                    return found
        return self._main.get(key, start=start, length=length)

    def read_into(self, key: str, start: int, target: memoryview) -> int | None:
        """Fill memory with an object's bytes from an offset; return how many there were, None if there is no object."""
        if self._is_copied(key):
            with self._noting():
                found = self._copy.read_into(key, start, target)
                if found is not None:
                    return found
        return read_into(self._main, key, start, target)

    def status(self, key: str) -> ObjectStatus | None:
        """Return the size of an object, None if there is none."""
        return self._main.status(key)

    def list(self, prefix: str = "", *, after: str = "", limit: int = PAGE_MAX) -> Sequence[ObjectStatus]:
        """Return a page of objects, sorted by key."""
        return self._main.list(prefix, after=after, limit=limit)

    def put(self, key: str, parts: Iterable[Part]) -> int:
        """Make an object of these pieces, and a copy of it if that can be."""
        if not self._is_copied(key):
            return self._main.put(key, parts)
        feed = _Feed(self._copy, key)
        try:
            size_bytes = self._main.put(key, feed.through(parts))
        except BaseException:
            feed.end(is_whole=False)
            raise
        self.copy_failure = feed.end(is_whole=True) or self.copy_failure
        return size_bytes

    def create(self, key: str, data: bytes) -> bool:
        """Make an object if there is none of that key; return whether these bytes are there."""
        return self._main.create(key, data)

    def delete(self, *keys: str) -> None:
        """Take objects away, and their copies."""
        copied = [key for key in keys if self._is_copied(key)]
        if copied:
            with self._noting():
                self._copy.delete(*copied)
        self._main.delete(*keys)

    def close(self) -> None:
        """Let go of both."""
        with contextlib.suppress(JournalError):
            self._copy.close()
        self._main.close()

    def distrust(self, key: str) -> bool:
        """Remove a copy that isn't what was saved; return whether there was one, so that reading again may help."""
        with self._noting():
            if self._is_copied(key) and self._copy.status(key) is not None:
                self._copy.delete(key)
                return True
        return False

    def remove_what_is_gone(self) -> None:
        """Remove the copies of objects that there are no more: another node deleted them, or a put failed midway.

        Raises as `list` of the one that counts.
        """
        for prefix in self._prefixes:
            after = ""
            while True:
                with self._noting():
                    page = self._copy.list(prefix, after=after)
                    gone = [found.key for found in page if self._main.status(found.key) != found]
                    self._copy.delete(*gone)
                    if len(page) == PAGE_MAX:
                        after = page[-1].key
                        continue
                break

    def _is_copied(self, key: str) -> bool:
        # What is no key, whatever its type, is refused by the one that counts.
        return str(key).startswith(self._prefixes)

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except JournalError as error:
            self.copy_failure = error


class _Feed:
    """Hands the pieces of an object to a copy, in a thread of its own, as they pass by."""

    def __init__(self, copy: DirectoryObjects, key: str) -> None:
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._copy = copy
        self._key = key
        self._is_whole = False
        self._failure: JournalError | None = None
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journalkit-copy", daemon=True)
        self._thread.start()

    def through(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Yield the pieces, and hand a copy of each over: what yields them may use its memory again."""
        for part in parts:
            self._hand(bytes(as_bytes(part)))
            yield part

    def end(self, *, is_whole: bool) -> JournalError | None:
        """Say that that was all, or that it isn't all; return what the copy failed at. Waits a minute at most."""
        self._is_whole = is_whole
        self._hand(None)
        self._thread.join(_END_WAIT_S)
        if self._thread.is_alive():
            return _BehindError(f"{self._copy.where}: the copy of {self._key} isn't done after {_END_WAIT_S:g} s")
        return self._failure

    def _hand(self, piece: bytes | None) -> None:
        while not self._has_ended.is_set():
            with contextlib.suppress(queue.Full):
                self._pieces.put(piece, timeout=0.1)
                return

    def _run(self) -> None:
        try:
            self._copy.put(self._key, self._taken())
        except JournalError as error:
            self._failure = error
        except _NotAll:
            pass
        finally:
            self._has_ended.set()

    def _taken(self) -> Iterator[bytes]:
        while (piece := self._pieces.get()) is not None:
            yield piece
        if not self._is_whole:
            raise _NotAll


class _NotAll(Exception):  # noqa: N818 - it ends a put, and nobody sees it
    """The object wasn't made, so there is no copy."""


class _BehindError(JournalError):
    """The copy is slower than anybody waits for."""
