"""No descriptor left: each operation of a store with every number of free descriptors, from none to enough.

Whatever can't be done is a `StorageError`; nothing acknowledged is lost by it,
and what was not acknowledged is there whole or not at all. An error that says
"try again" means it: with descriptors to be had, the same handle goes on. An
open that failed has let go of everything, the lock included.
"""

from __future__ import annotations

import os
import resource
import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from full_disks import make_template
from units import Outcome

import journalkit
from journalkit.cli.examination import examine
from journalkit.errors import StorageError, StoreFullError
from journalkit.fs.posix import PosixFileSystem

FREE: Final = range(13)
_OPTIONS: Final[dict[str, Any]] = {"compaction": "manual", "segment_bytes_max": 4096}
_ROOM: Final = 64


@contextmanager
def only(free: int) -> Iterator[None]:
    """Leave this process so many descriptors that it may still open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + _ROOM, before[1]))
    try:
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                break
        for descriptor in taken[:free]:
            os.close(descriptor)
        del taken[:free]
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Spent:
    """A store, and what was acknowledged and what may be there besides."""

    def __init__(self, path: str, expected: dict[Any, Any], free: int) -> None:
        self.path = path
        self.expected = expected
        self.unknown: dict[Any, Any] = {}
        self.free = free
        self.errors: list[StorageError] = []
        self.wrong: list[str] = []

    def attempt(self, action: Callable[[], object]) -> bool:
        """Do something that may fail for want of descriptors; return whether it was done."""
        try:
            action()
        except StoreFullError as error:
            self.wrong.append(f"taken for a full disk: {error}")
            return False
        except StorageError as error:
            self.errors.append(error)
            return False
        return True

    def put(self, store: journalkit.Store, number: int) -> None:
        """Commit a record of a kilobyte, so that a few of them rotate."""
        key, value = number % 150, b"%d" % number * 200
        if self.attempt(lambda: store.put(key, value)):
            self.expected[key] = value
            self.unknown.pop(key, None)
        else:
            self.unknown[key] = value

    def look(self, store: Any, where: str) -> None:
        """Hold what a handle shows against what was acknowledged."""
        found = dict(store)
        for key, value in self.expected.items():
            if found.get(key) != value and (key not in self.unknown or found.get(key) != self.unknown[key]):
                self.wrong.append(f"{where}: {key!r} is not as it was acknowledged")
                return
        if extra := found.keys() - self.expected.keys() - self.unknown.keys():
            self.wrong.append(f"{where}: {extra} were never written")

    def go_on(self, store: journalkit.Store) -> None:
        """With descriptors to be had: go on, if the errors said so; else everything must be refused for that reason."""
        self.look(store, "read when there were descriptors again")
        may_go_on = all("try again" in str(error) or "goes on" in str(error) for error in self.errors)
        before = len(self.errors)
        for number in range(5000, 5008):
            self.put(store, number)
        self.attempt(store.compact)
        if may_go_on and len(self.errors) > before:
            self.wrong.append(f"{self.errors[0]}\n    but then: {self.errors[before]}")

    def end(self) -> None:
        """Open it as its next owner does."""
        with journalkit.open(self.path, **_OPTIONS) as store:
            self.look(store, "opened again")
            store.compact()
        if (found := examine(PosixFileSystem(), self.path, deep=True).verdict) != "sound":
            self.wrong.append(f"verify says {found}")


def open_it(spent: Spent) -> None:
    """Open for writing; if that fails, again when it can't fail."""
    with only(spent.free):
        spent.attempt(lambda: journalkit.open(spent.path, **_OPTIONS).close())


def create_it(spent: Spent) -> None:
    """Create a store."""
    shutil.rmtree(spent.path)
    spent.expected.clear()
    open_it(spent)


def read_it(spent: Spent) -> None:
    """Open for reading, and read all of it."""

    def read() -> None:
        with journalkit.open(spent.path, mode="r") as store:
            spent.look(store, "a reader")

    with only(spent.free):
        spent.attempt(read)


def write_it(spent: Spent) -> None:
    """Commit until segments have to be rotated."""
    with journalkit.open(spent.path, **_OPTIONS) as store:
        with only(spent.free):
            for number in range(1000, 1012):
                spent.put(store, number)
            spent.look(store, "read without descriptors")
        spent.go_on(store)
        _close_though_failed(spent, store)


def fold_it(spent: Spent) -> None:
    """Fold and prune, and commit behind it."""
    with journalkit.open(spent.path, **_OPTIONS) as store:
        for number in range(1000, 1010):
            spent.put(store, number)
        with only(spent.free):
            spent.attempt(store.compact)
            spent.put(store, 2000)
            spent.look(store, "read without descriptors")
        spent.go_on(store)
        _close_though_failed(spent, store)


def close_it(spent: Spent) -> None:
    """Close with records that aren't durable: everything that it takes is open already."""
    store = journalkit.open(spent.path, sync="never", **_OPTIONS)
    for number in range(1000, 1003):
        spent.put(store, number)
    with only(spent.free):
        store.close()


def _close_though_failed(spent: Spent, store: journalkit.Store) -> None:
    """Close a handle; one that failed may say so again."""
    try:
        store.close()
    except StorageError as error:
        if not spent.errors:
            spent.wrong.append(f"closing failed: {error}")


SCENES: Final[dict[str, Callable[[Spent], None]]] = {
    "open": open_it,
    "create": create_it,
    "read": read_it,
    "write": write_it,
    "fold": fold_it,
    "close": close_it,
}


def try_all(folder: str, scene: str, numbers: Sequence[int] = FREE) -> Outcome:
    """Play a scene with each number of free descriptors; the last of them is enough."""
    outcome = Outcome()
    template = os.path.join(folder, "template")
    expected = make_template(template)
    for free in numbers:
        spent = Spent(os.path.join(folder, "store"), dict(expected), free)
        shutil.copytree(template, spent.path)
        try:
            SCENES[scene](spent)
            spent.end()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with the number that it came at
            spent.wrong.append("".join(traceback.format_exception(error)))
        shutil.rmtree(spent.path)
        outcome.add("numbers of free descriptors")
        outcome.add("refused for want of descriptors", len(spent.errors))
        if free == numbers[-1] and spent.errors:
            spent.wrong.append(f"{free} are not enough: {spent.errors[0]}")
        if spent.wrong:
            told = "\n  ".join(spent.wrong)
            outcome.failures.append(f"{scene} with {free} free descriptors:\n  {told}")
    return outcome
