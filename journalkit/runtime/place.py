"""Where a handle lives: what a path means, and who opened it."""

from __future__ import annotations

import os
import sys
from typing import Final

from journalkit.errors import KeyTypeError, KeyValueError
from journalkit.fs.interface import FileSystem
from journalkit.fs.memory import MemoryFileSystem
from journalkit.fs.posix import PosixFileSystem

MEMORY: Final = "memory://"
MODES: Final = ("rw", "r")
_MEMORY_DIRECTORY: Final = "/store"


def resolve(path: str | os.PathLike[str], fs: FileSystem | None) -> tuple[str, FileSystem]:
    """Return the directory and the file system that a path names.

    Raises:
        UsageError: The path is no str, or of a scheme that isn't known.
    """
    try:
        place = os.fspath(path)
        place.encode()
    except (TypeError, AttributeError, UnicodeEncodeError):
        raise KeyTypeError(f"path={path!r} is neither a str nor a path") from None
    if place == MEMORY and fs is None:
        return _MEMORY_DIRECTORY, MemoryFileSystem()
    if "://" in place:
        raise KeyValueError(f"{place!r}: a store lives in a directory or in {MEMORY!r}")
    if not place or "\0" in place:
        raise KeyValueError(f"path={place!r} names no directory")
    return place, fs if fs is not None else PosixFileSystem()


def caller() -> str:
    """Return "file:line" of the code outside journalkit that called."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("journalkit"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
