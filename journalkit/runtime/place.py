"""Where a handle lives: what a path means, and who opened it."""

from __future__ import annotations

import os
import sys
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import Final

from journalkit.errors import KeyTypeError, KeyValueError
from journalkit.fs.interface import FileSystem
from journalkit.fs.memory import MemoryFileSystem
from journalkit.fs.posix import PosixFileSystem, real_path

MEMORY: Final = "memory://"
MODES: Final = ("rw", "r")
_PACKAGE: Final = __name__.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a handle lives: `name` as it was given, `directory` for the file system, wherever the process goes."""

    name: str
    directory: str
    fs: FileSystem


def resolve(path: str | os.PathLike[str], fs: FileSystem | None) -> Place:
    """Return what a path names.

    Raises:
        UsageError: The path is no str, or of a scheme that isn't known.
    """
    name = path.__fspath__() if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise KeyTypeError(f"path={path!r} is neither a str nor a path")
    if name == MEMORY and fs is None:
        return Place(name, name, MemoryFileSystem())
    if "://" in name:
        raise KeyValueError(f"{name!r}: a store lives in a directory or in {MEMORY!r}")
    try:
        is_path = bool(name) and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        is_path = False
    if not is_path:
        raise KeyValueError(f"path={path!r} names no directory")
    if fs is not None:
        return Place(name, name, fs)
    # A link to the store's directory is followed here, once; below it, links are refused.
    return Place(name, real_path(name), PosixFileSystem())


_called_from: Final[ContextVar[str]] = ContextVar("called_from", default="")


def calling_from(line: str) -> Context:
    """Return a context in which `caller` answers this: for who does a caller's work in a thread."""
    context = copy_context()
    context.run(_called_from.set, line)
    return context


def callers_level() -> int:
    """Return the `stacklevel` by which a warning of whoever asks is told of the code outside journalkit."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame, level = frame.f_back, level + 1
    return level


def caller() -> str:
    """Return "file:line" of the code outside journalkit that called."""
    known = _called_from.get()
    if known:
        return known
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
