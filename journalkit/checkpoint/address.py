"""Where a job's checkpoints are, in words: so that a process besides this one opens the same place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from journalkit.clock import Clock
from journalkit.errors import KeyTypeError, KeyValueError, UsageError
from journalkit.format import names
from journalkit.fs.interface import FileSystem
from journalkit.fs.posix import PosixFileSystem, real_path
from journalkit.objects.directory import DirectoryObjects
from journalkit.objects.interface import Objects
from journalkit.objects.places import open_objects
from journalkit.objects.tiered import TieredObjects, copy_name

_INSTEAD: Final = "leave saving='thread'"
_SPAN: Final = ""
"""What a duration is written down under: no option has such a name."""


@dataclass(frozen=True, slots=True)
class Address:
    """A place that other processes can open.

    Attributes:
        where: The directory or URL, with all that the URL says.
        options: For object storage, what opening takes besides.
        copies: The directory that copies lie in, "" if there is none.
    """

    where: str
    options: Mapping[str, Any] = field(default_factory=dict)
    copies: str = ""

    def open(self, clock: Clock) -> Objects:
        """Return the objects there. Raises as `open_objects`."""
        objects = open_objects(self.where, clock=clock, options=self.options)
        return with_copies(objects, self.copies, clock) if self.copies else objects


def address_of(
    where: str | os.PathLike[str],
    objects: Objects,
    *,
    options: Mapping[str, Any] | None = None,
    local: str | os.PathLike[str] | None = None,
    fs: FileSystem | None = None,
) -> Address:
    """Return the address of a place that was opened.

    Raises:
        UsageError: No other process can open it, and why.
    """
    path = os.fspath(where)
    if fs is not None:
        raise UsageError(f"{path} is on a file system of this process (fs=), which no other one sees: {_INSTEAD}")
    if path.startswith("memory://"):
        raise UsageError(f"{path} is in this process's memory, which no other one sees: {_INSTEAD}")
    copies = "" if local is None else copies_in(local, objects)
    portable(dict(options or {}), "options")
    # A directory as it was found: a link may lead elsewhere by the time another process follows it.
    return Address(path if _is_remote(path) else objects.where, dict(options or {}), copies)


def portable(value: Any, name: str) -> Any:
    """Return an option as what can be written down: what it is made of, by exact types.

    Raises:
        UsageError: It is a function, a connection or the like, which no other process can be given.
    """
    if type(value) is timedelta:
        return {_SPAN: (value.days, value.seconds, value.microseconds)}
    if type(value) is dict:
        return {key: portable(each, f"{name}[{key!r}]") for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(portable(each, f"{name}[{at}]") for at, each in enumerate(value))
    if value is not None and type(value) not in (bool, int, float, str, bytes):
        raise KeyTypeError(
            f"{name} is a {type(value).__module__}.{type(value).__qualname__}, which no other process can be given: "
            f"say it in plain values, or {_INSTEAD}"
        )
    return value


def original(value: Any) -> Any:
    """Return the option that was written down as that."""
    if type(value) is dict:
        if _SPAN in value:
            return timedelta(*value[_SPAN])
        return {key: original(each) for key, each in value.items()}
    return type(value)(map(original, value)) if type(value) in (list, tuple) else value


def copies_in(local: str | os.PathLike[str], main: Objects) -> str:
    """Return the directory for copies of a place. Raises UsageError if it is none of this machine."""
    directory = os.path.join(os.fspath(local), copy_name(main.where))
    if "://" in directory:
        raise KeyValueError(f"local={local!r} is no directory of this machine")
    return real_path(directory)


def with_copies(main: Objects, directory: str, clock: Clock) -> TieredObjects:
    """Return the place with copies of its data beside it."""
    copies = DirectoryObjects(directory, PosixFileSystem(), clock=clock)
    return TieredObjects(main, copies, (names.PACKS, names.MANIFESTS))


def _is_remote(path: str) -> bool:
    return "://" in path and not path.startswith("file://")
