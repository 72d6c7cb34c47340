"""Where a job's checkpoints are, in words: so that a process besides this one opens the same place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from journalkit.checkpoint.said import own
from journalkit.clock import Clock
from journalkit.errors import KeyValueError, UsageError
from journalkit.format import names
from journalkit.fs.interface import FileSystem
from journalkit.fs.posix import PosixFileSystem, real_path
from journalkit.objects.directory import DirectoryObjects
from journalkit.objects.interface import Objects
from journalkit.objects.places import open_objects
from journalkit.objects.tiered import TieredObjects, copy_name

_INSTEAD: Final = "leave saving='thread'"


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
    carried = {}
    for name, value in (options or {}).items():
        try:
            carried[name] = own(value, f"options[{name!r}]")
        except UsageError as error:
            raise KeyValueError(f"{error}; so no other process can be given it: {_INSTEAD}") from None
    # A directory as it was found: a link may lead elsewhere by the time another process follows it.
    return Address(path if _is_remote(path) else objects.where, carried, copies)


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
