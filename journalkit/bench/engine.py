"""What the bench asks of an engine: a few verbs over keys of bytes, each in its cheapest form.

One file in `journalkit.bench.engines` adapts one engine. It says which
durability it can keep and writes down the settings that it ran with; whatever
it can't do it leaves undone, and the row says so.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from journalkit.errors import JournalError

Durability: TypeAlias = Literal["power cut", "process crash"]
"""What a write that returned survives."""

Put: TypeAlias = Callable[[bytes, Any], object]
Get: TypeAlias = Callable[[bytes], Any]
"""Returns the value. A key that isn't there gives None or KeyError, whichever the engine does."""
Item: TypeAlias = "tuple[bytes, Any]"

MIB: Final = 1024 * 1024


class BenchError(JournalError):
    """The bench can't go on: a contender answered wrongly, or there is no room. No figure is worth anything."""


class MissingError(Exception):
    """A contender can't take part; the message says why, and how to change that."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What every engine of a row is asked for.

    Attributes:
        durability: What a put or write that returned survives.
        objects: Values are small dicts, through the engine's usual serializer, instead of bytes.
        cache_bytes: Memory for what is read, where the engine lets one choose.
        bounded: No memory beyond that: files aren't mapped, where the engine lets one choose.
        log_bytes: How much may stay in the log before it is moved on, where the engine lets one choose; 0: its default.
    """

    durability: Durability = "process crash"
    objects: bool = False
    cache_bytes: int = 64 * MIB
    log_bytes: int = 0
    bounded: bool = False


class Database(ABC):
    """An open database. `put` and `get` are whatever callables of the engine cost least."""

    put: Put
    get: Get

    @abstractmethod
    def write(self, items: Sequence[Item]) -> None:
        """Set several keys in one atomic commit."""

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, Any]:
        """Return the values of keys that are there, in the way that costs least; one by one where there is no other."""
        with self.reader() as get:
            return {key: get(key) for key in keys}

    def count_missing(self, get: Get, keys: Sequence[bytes]) -> int:
        """Return how many keys aren't there, in the way that costs least; `get` is what `reader` handed out."""
        count = 0
        for key in keys:
            try:
                count += get(key) is None
            except (KeyError, TypeError):  # what an engine raises, or an adapter that takes nothing for a row
                count += 1
        return count

    @abstractmethod
    def scan(self, start: bytes, count: int) -> Sequence[Item]:
        """Return `count` items in key order from `start` on. Raises MissingError if the engine can't."""

    @abstractmethod
    def settle(self) -> None:
        """Bring what was written to where it will rest, if the engine has such a place: fold, compact, checkpoint."""

    @contextmanager
    def reader(self) -> Iterator[Get]:
        """Hand out the fastest way to read many keys, such as one open read transaction."""
        yield self.get

    @contextmanager
    def worker(self) -> Iterator[Put]:
        """Hand out a `put` for another thread."""
        yield self.put

    @abstractmethod
    def close(self) -> None:
        """Close. Everything that was written is there when the directory is opened again."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A peer.

    Attributes:
        name: As a result shows it.
        modules: What has to be importable.
        package: What brings it: a distribution's name.
        open: Opens or creates the database in a directory that exists.
        settings: What it was asked for, in words.
        live_objects: It hands out the object that its own cache holds, not one read from the database.
        maps_files: It reads through a map of its files, so that no cache of its own can be kept small.
        always_syncs: It can't be asked for less than surviving a power cut.
    """

    name: str
    modules: tuple[str, ...]
    package: str
    open: Callable[[str, Terms], Database]
    settings: Callable[[Terms], str]
    live_objects: bool = False
    always_syncs: bool = False
    maps_files: bool = False

    def require(self) -> None:
        """Raise MissingError if the engine can't be imported here."""
        for module in self.modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise MissingError(
                    f"{self.package} can't be imported ({error}): pip install 'journalkit[bench]'"
                ) from error
