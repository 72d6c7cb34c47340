"""What journalkit asks of a file system, and no more.

Two halves: `ReadableFileSystem` has no method that changes a byte, and code
that only looks takes that type, so that a type checker proves that reading
never writes. `FileSystem` adds what a writer needs.

Durability is told per call. Names and contents are separate things: `sync` of
a file makes its bytes durable, `sync_directory` its name. Implementations:
`journalkit.fs.posix`, `journalkit.fs.memory` and, for proofs,
`journalkit.testing.SimulatedDisk`; `tests/contract/` runs one suite on all.

Errors are `OSError` with an errno, as the operating system gives them; what
they mean is decided above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What a directory says of one entry."""

    size_bytes: int
    is_directory: bool
    inode: int


class ReadableFile(Protocol):
    """An open file that can be read at any offset."""

    def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
        """Return up to `count_bytes` from `offset_bytes`; short only at the end of the file."""
        ...

    def size(self) -> int:
        """Return the file's size in bytes now."""
        ...

    def close(self) -> None:
        """Release the descriptor; twice is harmless."""
        ...


class WritableFile(ReadableFile, Protocol):
    """An open file that can be written at known offsets. It has no position."""

    def pwrite(self, data: bytes | bytearray | memoryview, offset_bytes: int, /) -> int:
        """Write at an offset and return how many bytes were taken, possibly fewer than given.

        Positional only, so that an implementation may bind the system call
        itself. Take it from the file for each call: one kept aside would not
        know that the file was closed.

        Durability: none until `sync` or `sync_data`.
        """
        ...

    def sync_data(self) -> None:
        """Make every byte written so far durable (fdatasync); contents and size, not the name.

        After an error the state of what was written is unknown for good: a
        later success proves nothing.
        """
        ...

    def sync(self) -> None:
        """Make contents and all attributes durable (fsync, F_FULLFSYNC on macOS)."""
        ...

    def allocate(self, offset_bytes: int, count_bytes: int) -> None:
        """Reserve room so that writes inside it need no more; reads there give zeros.

        Raises OSError (ENOSPC, EDQUOT, EFBIG) and leaves the contents as they were.
        """
        ...

    def truncate(self, size_bytes: int) -> None:
        """Set the size; what lies beyond is gone once synced."""
        ...

    def drop_cache(self) -> None:
        """Ask that later reads come from the device. Advice: nothing may rely on it alone."""
        ...


class LockHandle(Protocol):
    """An exclusive kernel lock that ends with the process that took it."""

    def describe(self, text: bytes) -> None:
        """Replace the words that a refused opener will read. Not durable."""
        ...

    def is_valid(self) -> bool:
        """Whether the lock file is still the one at its path."""
        ...

    def close(self) -> None:
        """Release the lock; the file stays."""
        ...


class ReadableFileSystem(Protocol):
    """The half that cannot change anything."""

    def open_read(self, path: str) -> ReadableFile:
        """Open an existing regular file for reading; never follows a symbolic link at its end."""
        ...

    def open_direct(self, path: str) -> ReadableFile:
        """Open for reads that bypass the page cache where the platform can, plainly elsewhere."""
        ...

    def list(self, path: str) -> Sequence[str]:
        """Return the names in a directory, sorted."""
        ...

    def status(self, path: str) -> FileStatus | None:
        """Return what is at `path` (the last link not followed), or None when there is nothing."""
        ...

    def free_bytes(self, path: str) -> int:
        """Return what an unprivileged writer could still allocate there."""
        ...

    def filesystem_type(self, path: str) -> str:
        """Return the file system's name ("ext4", "nfs4", ...), "" where it can't be told."""
        ...


class FileSystem(ReadableFileSystem, Protocol):
    """Everything a writer needs."""

    def open_write(self, path: str) -> WritableFile:
        """Open an existing regular file for reading and writing; never creates, never follows a link."""
        ...

    def create(self, path: str) -> WritableFile:
        """Create a file that must not exist (O_EXCL, mode 0600).

        Durability: its name only after `sync_directory` of its parent.
        """
        ...

    def make_directory(self, path: str) -> None:
        """Create one directory (mode 0700); FileExistsError if something is there."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Replace `target` by `source`, atomically. Durable after `sync_directory`."""
        ...

    def link(self, source: str, target: str) -> None:
        """Give the file `source` a second name, which must not be taken: FileExistsError, and nothing changed.

        Of any number of programs that try one name exactly one gets it, on
        network file systems too. Not every file system can: OSError (EPERM,
        EOPNOTSUPP) then. Durable after `sync_directory` of the target's
        directory; a rename between two names of one file does nothing.
        """
        ...

    def unlink(self, path: str) -> None:
        """Remove a name; who has the file open keeps it. Durable after `sync_directory`."""
        ...

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        ...

    def sync_directory(self, path: str) -> None:
        """Make every change of names in this directory durable."""
        ...

    def lock(self, path: str) -> LockHandle | None:
        """Take the exclusive lock on the file at `path`, creating it if need be; None if somebody has it."""
        ...


class StreamedFile(WritableFile, Protocol):
    """What a file can do besides if there is a device that works while the program does."""

    def write_behind(self, offset_bytes: int, count_bytes: int) -> None:
        """Ask that what was written there goes to the device now. Advice: nothing is durable before a sync."""
        ...


class FillingFile(ReadableFile, Protocol):
    """What a file can do besides if it can be read to a given place."""

    def pread_into(self, target: memoryview, offset_bytes: int) -> int:
        """Fill memory from an offset and return how many bytes there were: fewer only at the end of the file."""
        ...


class MappingFileSystem(Protocol):
    """What a file system can do besides if its files can be looked at where they lie in the system's memory."""

    def map_read(self, path: str) -> memoryview:
        """Return a file's bytes, read from the device when they are looked at. The file can't be changed by them.

        An error of the device is then a signal that ends the process, and so
        is a file that somebody else makes shorter: only for files that nobody
        changes, on explicit request.
        """
        ...


class Child(Protocol):
    """A program that runs in a process of its own, and sees the same files."""

    def send(self, data: bytes, pause: Callable[[], None]) -> None:
        """Hand over all of the bytes, calling `pause` now and then while they aren't taken; it may raise to give up.

        Raises BrokenPipeError if the child has ended.
        """
        ...

    def receive(self, timeout_s: float) -> bytes | None:
        """Return what the child said meanwhile, b"" if it has ended, and None if nothing was heard in that time."""
        ...

    def end(self) -> int | None:
        """Kill the child if it still runs; return its status, negative for a signal. Again is harmless.

        None is a child that can't be killed at the moment: it hangs in the kernel, and ends when that lets it.
        """
        ...


class ChildStarter(Protocol):
    """What a file system can do besides if other processes see the same files: not every one does."""

    def start_child(self, module: str) -> Child:
        """Start `main()` of that module in a process of its own. Raises OSError if that can't be, and says why."""
        ...
