"""Full disks, really full: a store on tmpfs, ext4, xfs or btrfs with so many blocks left, and files that may not grow.

At each level of free blocks, in each scene: writes that find no room are
refused with `StoreFullError` and nothing of them is there, what was
acknowledged is, everything can be read meanwhile, by this handle and by
another; and once there is room the same handle goes on, folds and closes. A
store that is opened on such a disk opens, or is refused as it was.
"""

from __future__ import annotations

import errno
import gc
import itertools
import logging
import os
import resource
import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from mounts import BTRFS, EXT4, EXT4_SMALL_BLOCKS, XFS, Images, Kind, Mounted, mount_tmpfs
from units import Outcome

import journalkit
from journalkit.cli.examination import examine
from journalkit.errors import StorageError, StoreFullError
from journalkit.format import names
from journalkit.fs.posix import PosixFileSystem

BLOCK: Final = 4096
FAILURES_MAX: Final = 5
_VALUE: Final = b"value " * 300
_PUTS_MAX: Final = 600
_OPTIONS: Final[dict[str, Any]] = {"compaction": "manual", "segment_bytes_max": 32_768}


class Limit(Protocol):
    """What is scarce."""

    def tighten(self, left: int) -> None:
        """Leave so much."""
        ...

    def lift(self) -> None:
        """Have enough again."""
        ...


class FullDisk:
    """A file system that a file fills up to a number of free blocks."""

    def __init__(self, point: str) -> None:
        self._filler = os.path.join(point, "filler")
        self._point = point

    def tighten(self, left: int) -> None:
        """Leave so many blocks."""
        descriptor = os.open(self._filler, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            filled = 0
            for _ in range(64):
                free = os.statvfs(self._point)
                spare = free.f_bavail * free.f_frsize - left * BLOCK
                if spare < BLOCK:
                    break
                step = spare
                while step >= BLOCK:
                    # The file system needs some for itself: take what it gives.
                    with suppress(OSError):
                        os.posix_fallocate(descriptor, filled, step // BLOCK * BLOCK)
                        filled += step // BLOCK * BLOCK
                        break
                    step //= 2
                else:
                    break
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lift(self) -> None:
        """Remove the file."""
        with suppress(FileNotFoundError):
            os.unlink(self._filler)
            descriptor = os.open(self._point, os.O_RDONLY)
            os.fsync(descriptor)  # btrfs gives room back when that is on the device
            os.close(descriptor)


class SmallFiles:
    """No file may grow beyond a number of sectors."""

    def __init__(self) -> None:
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def tighten(self, left: int) -> None:
        """Allow so many times 512 bytes, and an odd one."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (left * 512 + left % 2, self._before[1]))

    def lift(self) -> None:
        """Allow what was allowed before."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


@dataclass
class Trial:
    """One store, one level: what it must hold, and what was wrong."""

    path: str
    limit: Limit
    left: int
    expected: dict[Any, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    may_stay_unsealed: bool = False
    refused: int = 0
    unsealed: int = 0
    number: int = 0

    @contextmanager
    def opened(self, **options: Any) -> Iterator[journalkit.Store]:
        """Open the store, and close it.

        Room for the seal is prepared. Where prepared room can't be relied on,
        closing may say that there is none: nothing is lost by that.
        """
        store = journalkit.open(self.path, **_OPTIONS, **options)
        try:
            yield store
        finally:
            try:
                store.close()
            except StorageError as error:
                if not self.may_stay_unsealed or error.errno not in {errno.ENOSPC, errno.EFBIG}:
                    raise
                self.unsealed += 1

    def put_until_full(self, store: journalkit.Store, puts: int) -> bool:
        """Commit up to so many records; return whether one was refused."""
        for _ in range(puts):
            self.number += 1
            key, size = self.number % 150, self.number * 7 % len(_VALUE)
            try:
                store[key] = _VALUE[:size]
            except StoreFullError:
                self.refused += 1
                return True
            self.expected[key] = _VALUE[:size]
        return False

    def compact(self, store: journalkit.Store) -> None:
        """Fold, if there is room for it."""
        try:
            store.compact()
        except StoreFullError:
            self.refused += 1

    def look(self, store: Any, where: str) -> None:
        """Hold what a handle shows against what was acknowledged."""
        if (found := dict(store)) != self.expected:
            keys = [key for key in {**found, **self.expected} if found.get(key) != self.expected.get(key)]
            self.wrong.append(f"{where}: {len(keys)} keys are not as they were acknowledged, {keys[:3]} among them")

    def look_beside(self, where: str) -> None:
        """Look as another process would."""
        with journalkit.open(self.path, mode="r") as reader:
            self.look(reader, where)

    def verify(self, where: str) -> None:
        """Have every byte looked at."""
        found = examine(PosixFileSystem(), self.path, deep=True).verdict
        if found != "sound" and not (found == "torn tail" and self.unsealed):
            self.wrong.append(f"{where}: verify says {found}")


def fill_while_open(trial: Trial) -> None:
    """The disk fills up under an open store that writes, folds, and goes on."""
    with trial.opened() as store:
        trial.put_until_full(store, 20)
        view = store.view()
        before = dict(trial.expected)
        trial.limit.tighten(trial.left)
        for _ in range(3):
            trial.put_until_full(store, _PUTS_MAX // 3)
            trial.look(store, "on the full disk")
            trial.compact(store)
        trial.look_beside("a reader on the full disk")
        if dict(view) != before:
            trial.wrong.append("an older view changed")
        trial.limit.lift()
        if trial.put_until_full(store, 50):
            trial.wrong.append("there is room again, and a write was refused")
        store.compact()
        trial.look(store, "after there was room again")
        store.check()
        trial.limit.tighten(0)
    trial.verify("closed on a full disk")
    trial.limit.lift()


def open_when_full(trial: Trial) -> None:
    """A store is opened on a full disk: it opens or is refused as it was, and opens later."""
    trial.limit.tighten(trial.left)
    before = files(trial.path)
    trial.look_beside("a reader on the full disk")
    try:
        with trial.opened() as store:
            trial.put_until_full(store, 40)
            trial.compact(store)
            trial.look(store, "opened on the full disk")
    except StoreFullError:
        trial.refused += 1
        if files(trial.path) != before:
            changed = sorted(dict(before.items() ^ files(trial.path).items()))
            trial.wrong.append(f"refused for want of room, and {changed} changed")
    trial.look_beside("a reader after that")
    trial.limit.lift()
    with trial.opened() as store:
        trial.look(store, "opened when there was room again")
        if trial.put_until_full(store, 20):
            trial.wrong.append("there is room again, and a write was refused")


def create_when_full(trial: Trial) -> None:
    """A store is created on a full disk: it is there or it isn't, and later it can be."""
    shutil.rmtree(trial.path)
    trial.expected.clear()
    trial.limit.tighten(trial.left)
    try:
        with trial.opened() as store:
            trial.put_until_full(store, 40)
            trial.look(store, "created on the full disk")
    except StoreFullError:
        trial.refused += 1
    trial.limit.lift()
    with trial.opened() as store:
        trial.look(store, "opened when there was room again")
        trial.put_until_full(store, 20)


def recover_when_full(trial: Trial) -> None:
    """A torn tail is found on a full disk: what is cut is kept aside out of the reserve, or the open is refused."""
    segment = max(name for name in os.listdir(trial.path) if names.segment_number(name) is not None)
    with open(os.path.join(trial.path, segment), "ab") as file:
        file.write(b"torn" * 300)
    open_when_full(trial)


def close_when_full(trial: Trial) -> None:
    """A store with records that aren't durable is closed on a full disk: room for that was set aside."""
    with trial.opened(sync="never") as store:
        trial.put_until_full(store, 30 + trial.left % 40)
        trial.limit.tighten(trial.left)
        # To the last byte that was prepared, or not quite.
        trial.put_until_full(store, 20 if trial.left % 3 == 1 else 200)
    trial.look_beside("closed on the full disk")
    trial.verify("closed on the full disk")
    trial.limit.lift()


SCENES: Final[dict[str, Callable[[Trial], None]]] = {
    "fill": fill_while_open,
    "open": open_when_full,
    "create": create_when_full,
    "recover": recover_when_full,
    "close": close_when_full,
}
MAY_STAY_UNSEALED: Final = frozenset({"btrfs", "file size"})
"""btrfs writes each block anew, also one that is there; a limit may be set below what a file has already."""
KINDS: Final[dict[str, Kind]] = {kind.name: kind for kind in (EXT4, EXT4_SMALL_BLOCKS, XFS, BTRFS)}


def files(path: str) -> dict[str, bytes]:
    """Return the files that say what the state is."""
    aside = {names.LOCK, names.RESERVE, names.QUARANTINE}
    return {name: Path(path, name).read_bytes() for name in sorted(os.listdir(path)) if name not in aside}


def try_levels(folder: str, medium: str, scenes: Sequence[str], levels: Sequence[int]) -> Outcome:
    """Play scenes at each level, on a medium: a file system in `folder`, or "file size"."""
    outcome = Outcome()
    logging.disable()  # that only one snapshot is kept in an emergency
    with _medium(folder, medium) as (point, limit):
        template = os.path.join(folder, "template")
        expected = make_template(template)
        for scene, left in itertools.product(scenes, levels):
            path = os.path.join(point, "store")
            shutil.copytree(template, path)
            trial = Trial(path, limit, left, dict(expected), may_stay_unsealed=medium in MAY_STAY_UNSEALED)
            try:
                SCENES[scene](trial)
                trial.look_beside("at the end")
                trial.verify("at the end")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told with the level that it came at
                trial.wrong.append("".join(traceback.format_exception(error)))
            finally:
                limit.lift()
            shutil.rmtree(path)
            outcome.add("levels")
            outcome.add(f"levels on {medium}" if medium != "file size" else "levels of file size")
            outcome.add("refused for want of room", trial.refused)
            outcome.add("closed without a seal", trial.unsealed)
            if trial.wrong:
                told = "\n  ".join(trial.wrong)
                outcome.failures.append(f"{medium}, {scene}, {left} left:\n  {told}")
                if len(outcome.failures) == FAILURES_MAX:
                    break
    logging.disable(logging.NOTSET)
    return outcome


@contextmanager
def _medium(folder: str, medium: str) -> Iterator[tuple[str, Limit]]:
    if medium == "file size":
        yield folder, SmallFiles()
    elif medium == "tmpfs":
        point = mount_tmpfs(os.path.join(folder, "small"), "3m")
        yield point, FullDisk(point)
    else:
        images = Images(folder)
        mounted = Mounted(images.fresh(KINDS[medium]), KINDS[medium], images.point())
        yield mounted.point, FullDisk(mounted.point)
        gc.collect()  # an error keeps the handle that raised it, and that its tables' descriptors
        mounted.unmount()


def make_template(path: str) -> dict[Any, Any]:
    """Make a store with snapshots, a log and a tail, as a kill leaves it; return what it holds."""
    expected: dict[Any, Any] = {}
    with journalkit.open(f"{path}.open", **_OPTIONS) as store:
        for number in range(260):
            store[number % 150] = expected[number % 150] = _VALUE[: number * 11 % len(_VALUE)]
            if number in {120, 230}:
                store.compact()
        shutil.copytree(f"{path}.open", path)
    return expected
