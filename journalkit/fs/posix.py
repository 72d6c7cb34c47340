"""The real file system, by raw descriptors and nothing buffered.

Every method is one system call or the loop that a short one needs. Files are
0600, directories 0700; a symbolic link at the end of a path, a FIFO or a
device is refused. After `close`, and in a forked child, every use raises
EBADF without touching the kernel: `journalkit.fs.descriptors`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NoReturn

from journalkit.compiled import speed
from journalkit.fs import descriptors, mounts
from journalkit.fs.child import PosixChild
from journalkit.fs.descriptors import DIRECTORY_MODE, Descriptor, Handle, closed_error, fork_guard, open_regular
from journalkit.fs.direct import PosixDirectFile
from journalkit.fs.interface import FileStatus, ReadableFile
from journalkit.fs.lock import PosixLock, take_lock

# One read takes at most about 2 GiB on Linux; asking for less also bounds what is allocated ahead of the read.
_READ_BYTES_MAX = 1 << 30
_ZEROS = bytes(1 << 20)
_SYNC_IS_OURS: Final = sys.platform == "darwin"
"""Whether making data durable is more than one system call: `_sync`."""

_CANT_ALLOCATE = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


def real_path(path: str) -> str:
    """Return the absolute path that a path names, every symbolic link on the way followed."""
    return os.path.realpath(path)


class PosixFile(Handle):
    """An open regular file.

    `pwrite` and `sync_data` are the system calls themselves, bound to the
    descriptor: on the way to an acknowledgement a layer of Python would cost
    more than it tells. They are `os.pwrite(descriptor, data, offset_bytes)`
    and what `sync` calls, minus the attributes; `read_at` is `os.pread`, which may
    be short, and not a part of the interface. The compiled path has three of its
    own that do the same, and knows them when it meets them.
    """

    pwrite: Callable[[bytes | bytearray | memoryview, int], int]
    sync_data: Callable[[], None]
    read_at: Callable[[int, int], bytes]

    def __init__(self, descriptor: Descriptor, path: str) -> None:
        self.pwrite = partial(os.pwrite, descriptor) if speed is None else speed.bind_pwrite(descriptor)
        self.sync_data = (
            partial(_sync_data, descriptor) if speed is None or _SYNC_IS_OURS else speed.bind_sync_data(descriptor)
        )
        self.read_at = partial(os.pread, descriptor) if speed is None else speed.bind_read_at(descriptor)
        super().__init__(descriptor, path)

    def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
        """Return up to `count_bytes` from `offset_bytes`; short only at the end of the file."""
        # Hot: each block that is read for a key comes this way.
        descriptor = self._descriptor
        if descriptor is None:
            raise closed_error(self._path)
        try:
            data = os.pread(descriptor, min(count_bytes, _READ_BYTES_MAX), offset_bytes)
            if len(data) == count_bytes or not data:
                return data
            parts = [data]
            got = len(data)
            while data and got < count_bytes:
                data = os.pread(descriptor, min(count_bytes - got, _READ_BYTES_MAX), offset_bytes + got)
                parts.append(data)
                got += len(data)
        except OSError as error:
            error.filename = self._path  # by a descriptor the kernel names nothing, and a person is told of a file
            raise
        return b"".join(parts)

    def pread_into(self, target: memoryview, offset_bytes: int) -> int:
        """Fill memory from an offset and return how many bytes there were: fewer only at the end of the file."""
        descriptor = self._held()
        at = 0
        while at < len(target):
            got = os.preadv(descriptor, [target[at : at + _READ_BYTES_MAX]], offset_bytes + at)
            if not got:
                break
            at += got
        return at

    def write_behind(self, offset_bytes: int, count_bytes: int) -> None:
        """Ask that what was written there goes to the device now: Linux does so with pages that aren't needed soon."""
        descriptor = self._held()
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):  # advice refused is advice not taken
                os.posix_fadvise(descriptor, offset_bytes, count_bytes, os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        """Make contents and all attributes durable."""
        _sync(self._held())

    def allocate(self, offset_bytes: int, count_bytes: int) -> None:
        """Reserve room, by the file system where it can and with zeros behind the file's end where it can't.

        Raises:
            OSError: No room, or no such range. Size and contents are as before.
        """
        descriptor = self._held()
        if offset_bytes < 0 or count_bytes < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self._path)
        if count_bytes == 0:
            return
        size_bytes = os.fstat(descriptor).st_size
        try:
            _reserve(descriptor, offset_bytes, count_bytes, size_bytes)
        except OSError:
            if os.fstat(descriptor).st_size > size_bytes:
                os.ftruncate(descriptor, size_bytes)
            raise

    def truncate(self, size_bytes: int) -> None:
        """Set the size."""
        os.ftruncate(self._held(), size_bytes)

    def drop_cache(self) -> None:
        """Ask the kernel to forget clean pages; it may not, and other platforms don't know the question."""
        descriptor = self._held()
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):  # advice refused is advice not taken
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Release the descriptor; twice is harmless. Nothing is made durable by it."""
        self.pwrite = self.sync_data = self.read_at = partial(_refuse, self._path)
        super().close()


class PosixFileSystem:
    """`FileSystem` on the machine's own. It has no state."""

    def open_read(self, path: str) -> PosixFile:
        """Open an existing regular file for reading."""
        return _open(path, os.O_RDONLY)

    def open_direct(self, path: str) -> ReadableFile:
        """Open for reads with O_DIRECT, plainly where platform or file system have no such thing."""
        direct: Final[int] = getattr(os, "O_DIRECT", 0)
        if direct:
            try:
                with fork_guard:
                    return PosixDirectFile(open_regular(path, os.O_RDONLY | direct), path)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
        return self.open_read(path)

    def map_read(self, path: str) -> memoryview:
        """Return a file's bytes as the system has them. The map ends when nothing refers to it any more.

        What is written to it stays in memory, of this process alone.
        """
        with fork_guard:
            descriptor = open_regular(path, os.O_RDONLY)
        try:
            if not os.fstat(descriptor).st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
        finally:
            descriptor.release()

    def list(self, path: str) -> Sequence[str]:
        """Return the names in a directory, sorted."""
        return sorted(os.listdir(path))

    def status(self, path: str) -> FileStatus | None:
        """Return what is at `path`, the last link not followed, or None when there is nothing."""
        return descriptors.status(path)

    def free_bytes(self, path: str) -> int:
        """Return what an unprivileged writer could still allocate there."""
        numbers = os.statvfs(path)
        return numbers.f_bavail * numbers.f_frsize

    def filesystem_type(self, path: str) -> str:
        """Return the file system's name on Linux, "" elsewhere."""
        return mounts.filesystem_type(path)

    def open_write(self, path: str) -> PosixFile:
        """Open an existing regular file for reading and writing."""
        return _open(path, os.O_RDWR)

    def create(self, path: str) -> PosixFile:
        """Create a file that must not exist, mode 0600."""
        return _open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def make_directory(self, path: str) -> None:
        """Create one directory, mode 0700."""
        os.mkdir(path, DIRECTORY_MODE)

    def rename(self, source: str, target: str) -> None:
        """Replace `target` by `source`, atomically. Only `journalkit.fs.atomic` calls this."""
        os.replace(source, target)

    def link(self, source: str, target: str) -> None:
        """Give a file a second name that must not be taken; a symbolic link gets one itself, and isn't followed."""
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        os.rmdir(path)

    def sync_directory(self, path: str) -> None:
        """Make every change of names in this directory durable."""
        with fork_guard:
            descriptor = Descriptor(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            handle = Handle(descriptor, path)
        try:
            _sync(descriptor)
        finally:
            handle.abandon()

    def lock(self, path: str) -> PosixLock | None:
        """Take the exclusive lock on the file at `path`, creating it if need be; None if somebody has it."""
        return take_lock(path)

    def start_child(self, module: str) -> PosixChild:
        """Start `main()` of that module in a process of its own."""
        return PosixChild(module)


def _open(path: str, flags: int) -> PosixFile:
    with fork_guard:
        return PosixFile(open_regular(path, flags), path)


def _refuse(path: str, *_: object) -> NoReturn:
    raise descriptors.closed_error(path)


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        # fsync stops at the drive's cache there; F_FULLFSYNC doesn't. Where the file system
        # knows no such call (SMB, exFAT) fsync is all there is.
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
                raise
        else:
            return
    os.fsync(descriptor)


if sys.platform == "darwin":
    _sync_data = _sync
else:
    _sync_data = os.fdatasync


def _reserve(descriptor: int, offset_bytes: int, count_bytes: int, size_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, offset_bytes, count_bytes)
        except OSError as error:
            if error.errno not in _CANT_ALLOCATE:
                raise
        else:
            return
    # Only behind the end: over existing bytes zeros would be damage.
    at, end = max(offset_bytes, size_bytes), offset_bytes + count_bytes
    while at < end:
        at += os.pwrite(descriptor, _ZEROS[: end - at], at)
