"""A mounted file system that promises as little as POSIX does: simulated disks behind a real mount.

Each directory of its root is a `SimulatedDisk`, so that real processes run the
real `PosixFileSystem` on a disk that loses what wasn't synced, names as well as
bytes, keeps only what it chooses, and marks pages clean whose fsync failed.

A program: `fuse_daemon.running("strict_mount.py", folder)` starts it, and
`Daemon.ask` gives it the commands below. While a disk is watched, the counter
is the number of its mutating operations so far, and cuts that were asked for
are taken right before the operation behind the n-th: as further disks, for the
one that is written goes on.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import mfusepy
from fuse_daemon import Counter, serve

from journalkit.fs.tree import os_error
from journalkit.testing import PowerCut, SimulatedDisk
from journalkit.testing.handles import SimulatedFile

_DISK_INODES = 1 << 32
Method = TypeVar("Method", bound=Callable[..., Any])


def served(method: Method) -> Method:
    """One operation at a time; on a machine without power every one of them fails."""

    @functools.wraps(method)
    def guarded(self: StrictMount, *arguments: Any) -> Any:
        with self.guard:
            try:
                return method(self, *arguments)
            except PowerCut as cut:
                raise OSError(errno.EIO, "no power") from cut
            finally:
                self.note()

    return guarded  # type: ignore[return-value]


def changing(method: Method) -> Method:
    """An operation that a power cut may come before."""

    @functools.wraps(method)
    def guarded(self: StrictMount, *arguments: Any) -> Any:
        with self.guard:
            self.cut_if_due()
            return method(self, *arguments)

    return served(guarded)  # type: ignore[arg-type,return-value]


class StrictMount(mfusepy.Operations):
    """The disks, and what is open on them."""

    use_ns = True

    def __init__(self, counter: Counter) -> None:
        """Begin with no disk."""
        self.guard = threading.RLock()
        self.disks: dict[str, SimulatedDisk] = {}
        self._watched: SimulatedDisk | None = None
        self._counter = counter
        self._due: list[tuple[int, int, str]] = []
        self._kill: tuple[int, int] | None = None
        self._files: dict[int, SimulatedFile] = {}
        self._next_handle = 1

    # -- what it is told ------------------------------------------------------------------------

    def make(self, name: str) -> None:
        """Add an empty disk, and watch it."""
        self.disks[name] = SimulatedDisk()
        self.watch(name)

    def watch(self, name: str) -> None:
        """Let the counter be this disk's."""
        self._watched = self.disks[name]
        self._due = []
        self.note()

    def cut_at(self, cuts: list[tuple[int, int, str]]) -> None:
        """Take a cut, by a seed, behind each of the given operations of the watched disk, as a disk of that name."""
        self._due = sorted((count, seed, name) for count, seed, name in cuts)

    def stop_after(self, count: int) -> None:
        """Let the watched disk have no more power when the count-th change from now on begins."""
        self._watch().stop_after(count)

    def kill_at(self, count: int, process: int) -> None:
        """Kill a process when it asks for the first change behind the count-th; that one still takes place."""
        self._kill = (count, process)

    def fail(self, operation: str, nth: int, error: int, times: int | None = 1) -> None:
        """Let operations of the watched disk fail, as `SimulatedDisk.fail` says."""
        self._watch().fail(operation, nth, error, times=times)

    def end_faults(self) -> None:
        """Let no more cuts, kills and faults come."""
        self._due, self._kill = [], None
        watched = self._watched
        for name, disk in self.disks.items():
            if disk is watched:
                self.disks[name] = self._watched = disk.process_crash()

    def cut(self, source: str, target: str, seed: int) -> None:
        """Add what a power cut now may leave of a disk, by a seed, as another."""
        self.disks[target] = self.disks[source].crash(seed)

    def remove(self, names: list[str]) -> None:
        """Forget disks."""
        for name in names:
            self.disks.pop(name, None)

    def names(self) -> list[str]:
        """Return the names of the disks."""
        return sorted(self.disks)

    def history(self, name: str) -> list[str]:
        """Return the operations of a disk, a line each."""
        return list(self.disks[name].history())

    def _watch(self) -> SimulatedDisk:
        if self._watched is None:
            raise ValueError("no disk is watched")
        return self._watched

    def note(self) -> None:
        """Let others see how many changes there were."""
        if self._watched is not None:
            self._counter.value = self._watched.operation_count

    def cut_if_due(self) -> None:
        """Take the cuts whose place this is, and kill whom that is for."""
        if self._kill is not None and self._kill[0] <= self._watch().operation_count:
            os.kill(self._kill[1], signal.SIGKILL)
            self._kill = None
        while self._due and self._due[0][0] <= self._watch().operation_count:
            _, seed, name = self._due.pop(0)
            self.disks[name] = self._watch().crash(seed)

    # -- what the kernel asks: names ------------------------------------------------------------

    def _at(self, path: str) -> tuple[SimulatedDisk, str]:
        name, _, rest = path[1:].partition("/")
        disk = self.disks.get(name)
        if disk is None:
            raise os_error(errno.ENOENT, path)
        return disk, "/" + rest

    @served
    def getattr(self, path: str | None, info: Any = None) -> dict[str, int]:
        """Return what is at a path, or of an open file."""
        if info is not None and info.fh in self._files:
            return _attributes(self._files[info.fh].size(), 0, is_directory=False)
        if path == "/":
            return _attributes(0, 1, is_directory=True)
        if path is None:
            raise os_error(errno.ENOENT, "")
        disk, place = self._at(path)
        status = disk.status(place)
        if status is None:
            raise os_error(errno.ENOENT, path)
        number = (1 + list(self.disks.values()).index(disk)) * _DISK_INODES + status.inode
        return _attributes(status.size_bytes, number, is_directory=status.is_directory)

    @served
    def readdir(self, path: str, _info: Any) -> list[tuple[str, dict[str, int], int]]:
        """Return the names in a directory. What the C library shows needs an inode number, whichever."""
        names = self.disks if path == "/" else self._at(path)[0].list(self._at(path)[1])
        return [(name, {"st_ino": 1}, 0) for name in (".", "..", *names)]

    @served
    def statfs(self, _path: str) -> dict[str, int]:
        """Say that there is room."""
        blocks = 1 << 20
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": blocks, "f_bfree": blocks, "f_bavail": blocks}

    @changing
    def mkdir(self, path: str, _mode: int) -> None:
        """Make a directory."""
        disk, place = self._at(path)
        disk.make_directory(place)

    @changing
    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        disk, place = self._at(path)
        disk.remove_directory(place)

    @changing
    def unlink(self, path: str) -> None:
        """Remove a file's name."""
        disk, place = self._at(path)
        disk.unlink(place)

    @changing
    def rename(self, old: str, new: str) -> None:
        """Move a file's name."""
        (disk, source), (other, target) = self._at(old), self._at(new)
        if disk is not other:
            raise os_error(errno.EXDEV, new)
        disk.rename(source, target)

    @changing
    def link(self, new: str, old: str) -> None:
        """Give a file a second name."""
        (disk, source), (other, target) = self._at(old), self._at(new)
        if disk is not other:
            raise os_error(errno.EXDEV, new)
        disk.link(source, target)

    @changing
    def fsyncdir(self, path: str, _is_data_only: int, _info: Any) -> None:
        """Make a directory's names durable; the disks themselves always are."""
        if path == "/":
            return
        disk, place = self._at(path)
        disk.sync_directory(place)

    @served
    def chmod(self, _path: str, _mode: int) -> None:
        """Accept it: modes are not what this is about."""

    @served
    def utimens(self, _path: str, _times: Any = None) -> None:
        """Accept it."""

    # -- files ----------------------------------------------------------------------------------

    def _opened(self, file: SimulatedFile, info: Any) -> int:
        info.fh = self._next_handle
        info.direct_io = 1
        self._files[info.fh] = file
        self._next_handle += 1
        return 0

    @changing
    def create(self, path: str, _mode: int, info: Any) -> int:
        """Create a file."""
        disk, place = self._at(path)
        return self._opened(disk.create(place), info)

    @served
    def open(self, path: str, info: Any) -> int:
        """Open a file; past the cache, if that was asked for."""
        disk, place = self._at(path)
        if info.flags & os.O_ACCMODE != os.O_RDONLY:
            return self._opened(disk.open_write(place), info)
        return self._opened(disk.open_direct(place) if info.flags & os.O_DIRECT else disk.open_read(place), info)

    @served
    def read(self, _path: str | None, size: int, offset: int, info: Any) -> bytes:
        """Return what is there."""
        return self._files[info.fh].pread(size, offset)

    @changing
    def write(self, _path: str | None, data: bytes, offset: int, info: Any) -> int:
        """Write; durable when synced."""
        return self._files[info.fh].pwrite(data, offset)

    @changing
    def truncate(self, path: str | None, size: int, _info: Any = None) -> None:
        """Set a size."""
        if path is None:
            raise os_error(errno.ENOENT, "")
        disk, place = self._at(path)
        file = disk.open_write(place)
        try:
            file.truncate(size)
        finally:
            file.close()

    @changing
    def fallocate(self, _path: str | None, mode: int, offset: int, size: int, info: Any) -> None:
        """Reserve room at the file's end."""
        if mode:
            raise os_error(errno.EOPNOTSUPP, "")
        self._files[info.fh].allocate(offset, size)

    @changing
    def fsync(self, _path: str | None, is_data_only: int, info: Any) -> None:
        """Make a file's bytes durable."""
        file = self._files[info.fh]
        if is_data_only:
            file.sync_data()
        else:
            file.sync()

    @served
    def release(self, _path: str | None, info: Any) -> None:
        """Close."""
        self._files.pop(info.fh).close()


def _attributes(size_bytes: int, inode: int, *, is_directory: bool) -> dict[str, int]:
    mode = stat.S_IFDIR | 0o700 if is_directory else stat.S_IFREG | 0o600
    return {"st_mode": mode, "st_size": size_bytes, "st_ino": inode, "st_nlink": 1, "st_blocks": size_bytes // 512}


def main() -> None:
    """Serve, as the two arguments say where."""
    point, counter = sys.argv[1:]
    mount = StrictMount(Counter(counter))
    told = (mount.make, mount.watch, mount.cut_at, mount.stop_after, mount.kill_at, mount.fail, mount.end_faults)
    told += (mount.cut, mount.remove, mount.names, mount.history)
    serve(mount, {command.__name__: command for command in told}, point, mount.guard)


if __name__ == "__main__":
    main()
