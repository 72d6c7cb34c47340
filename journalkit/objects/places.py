"""Which back end a path or URL means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from journalkit.clock import Clock
from journalkit.errors import KeyTypeError, KeyValueError
from journalkit.fs.interface import FileSystem
from journalkit.fs.posix import PosixFileSystem, real_path
from journalkit.objects.directory import DirectoryObjects
from journalkit.objects.interface import Objects
from journalkit.objects.remote import SCHEMES, RemoteObjects

_FILE: Final = "file"


def open_objects(
    where: str | os.PathLike[str],
    *,
    fs: FileSystem | None = None,
    clock: Clock | None = None,
    options: Mapping[str, Any] | None = None,
) -> Objects:
    """Return the objects at a path, a `file://` URL, or an `s3://`, `gs://`, `az://` or `memory://` URL.

    Nothing is looked at or made: a place that isn't there has no objects, and
    a directory is made by the first write.

    Args:
        where: The place. `memory://` is one of its own for each call.
        fs: Where a directory lies, the machine's own file system by default.
        clock: What chance comes from.
        options: For object storage, what `obstore.store.from_url` takes
            besides: `endpoint`, `region`, `client_options`, ... Credentials
            are found as the provider's own tools find them.

    Raises:
        UsageError: It names no place, or one that needs a package that isn't installed.
    """
    path = where.__fspath__() if isinstance(where, os.PathLike) else where
    if not isinstance(path, str):
        raise KeyTypeError(f"{where!r} is neither a str nor a path")
    scheme, separator, _ = path.partition("://")
    if separator and scheme in SCHEMES:
        return RemoteObjects(path, options or {})
    if options:
        raise KeyValueError(f"options are for object storage, and {path!r} is a directory")
    if separator and scheme == _FILE:
        parts = urlsplit(path)
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise KeyValueError(f"{path!r} names no directory of this machine: file:///path does")
        path = unquote(parts.path)
    elif separator:
        raise KeyValueError(f"{path!r} is of no scheme that is known: a path, {', '.join((_FILE, *SCHEMES))}")
    if not path or "\0" in path:
        raise KeyValueError(f"{path!r} names no directory")
    if fs is not None:
        return DirectoryObjects(path, fs, clock=clock)
    # A link to the directory is followed here, once, and wherever the process goes the place stays.
    return DirectoryObjects(real_path(path), PosixFileSystem(), clock=clock)
