"""Ranges of objects, read to where they are wanted, or mapped: what some places can do better than a get.

Whoever has objects of any kind asks here; those that can't are read by `get`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from journalkit.objects.interface import ReadableObjects


@runtime_checkable
class FillingObjects(Protocol):
    """What objects can do besides, if what they lie in can read to a given place."""

    def read_into(self, key: str, start: int, target: memoryview) -> int | None:
        """Fill memory with an object's bytes from an offset; return how many there were, None if there is no object.

        Raises as `get`.
        """
        ...


@runtime_checkable
class MappableObjects(Protocol):
    """What objects can do besides, if they are files that this machine can map."""

    def mapped(self, key: str) -> memoryview | None:
        """Return an object's bytes as they lie in its file, read when they are looked at; None if there is no object.

        An error of the medium is then no exception but a signal, which ends
        the process. Raises as `get`, and StorageError where nothing can be mapped.
        """
        ...


def reads_into(objects: ReadableObjects) -> bool:
    """Whether reading a range costs no request, and no copy."""
    return isinstance(objects, FillingObjects)


@runtime_checkable
class CopiedObjects(Protocol):
    """What objects can do besides, if they are read from copies."""

    def distrust(self, key: str) -> bool:
        """Remove the copy of an object that isn't what was saved; return whether there was one."""
        ...


def distrust(objects: ReadableObjects, key: str) -> bool:
    """Say that what was read isn't what was saved; return whether reading again may help."""
    return isinstance(objects, CopiedObjects) and objects.distrust(key)


def read_into(objects: ReadableObjects, key: str, start: int, target: memoryview) -> int | None:
    """Fill memory with an object's bytes from an offset; return how many there were, None if there is no object.

    Raises:
        UsageError, ArchiveUnavailableError, StorageError: As `ReadableObjects.get`.
    """
    if isinstance(objects, FillingObjects):
        return objects.read_into(key, start, target)
    data = objects.get(key, start=start, length=len(target))
    if data is None:
        return None
    target[: len(data)] = data
    return len(data)
