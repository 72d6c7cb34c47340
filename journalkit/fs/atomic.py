"""The one way to replace a file: temporary, sync, rename, sync of the directory.

Nothing else in journalkit renames. After a power cut the name stands for the
old bytes or for the new ones, never for a mixture and never for nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os

from journalkit.format import names
from journalkit.fs.interface import FileSystem, WritableFile


class UnknownOutcomeError(OSError):
    """The rename happened, but whether it survives a power cut is unknown. errno is the failed sync's."""


def write_all(file: WritableFile, data: bytes | bytearray | memoryview, offset_bytes: int) -> None:
    """Write every byte at an offset, going on after short writes.

    Durability: none until the file is synced.

    Raises:
        OSError: Some of the bytes may have been written. A write that takes
            nothing is EIO: trying again would go on forever.
    """
    taken = file.pwrite(data, offset_bytes)
    if taken == len(data):
        return
    rest = memoryview(data)
    while True:
        if taken == 0:
            raise OSError(errno.EIO, "a write took no bytes")
        rest = rest[taken:]
        offset_bytes += taken
        if not rest:
            return
        taken = file.pwrite(rest, offset_bytes)


def replace_file(fs: FileSystem, directory: str, name: str, data: bytes) -> None:
    """Make `name` in `directory` a file of exactly these bytes, or leave the one that is there.

    A temporary left over from a crash is removed first.

    Durability:
        Once this returns, contents and name survive a power cut.

    Raises:
        UnknownOutcomeError: The new file is in place, but its name may be
            lost in a power cut: the state is unknown until the directory is
            read again after one. Trying again proves nothing.
        OSError: Any other: the old file stands, or none if there was none,
            and the temporary is removed if that could be done. Trying again
            is safe.
    """
    temporary = os.path.join(directory, names.temporary_name(name))
    file = _create_afresh(fs, temporary)
    try:
        try:
            write_all(file, data, 0)
            file.sync()
        finally:
            file.close()
        fs.rename(temporary, os.path.join(directory, name))
    except OSError:
        with contextlib.suppress(OSError):
            fs.unlink(temporary)
        raise
    try:
        fs.sync_directory(directory)
    except OSError as error:
        raise UnknownOutcomeError(error.errno, error.strerror, directory) from error


def publish_file(fs: FileSystem, directory: str, temporary: str, name: str) -> None:
    """Give a whole file, synced under its temporary name, its final name in the same directory.

    Durability:
        Once this returns, the name survives a power cut.

    Raises:
        UnknownOutcomeError: The file has its name, which may be lost in a power cut.
        OSError: Any other: nothing was renamed.
    """
    fs.rename(os.path.join(directory, temporary), os.path.join(directory, name))
    try:
        fs.sync_directory(directory)
    except OSError as error:
        raise UnknownOutcomeError(error.errno, error.strerror, directory) from error


def _create_afresh(fs: FileSystem, path: str) -> WritableFile:
    try:
        return fs.create(path)
    except FileExistsError:
        fs.unlink(path)
    return fs.create(path)


def move_file(fs: FileSystem, source: str, target: str) -> None:
    """Give a file another name, in another directory perhaps.

    Durability:
        Once this returns, the new name and the absence of the old one survive a power cut.

    Raises:
        OSError: Which of the two names survives a power cut is unknown; the bytes do.
    """
    fs.rename(source, target)
    fs.sync_directory(os.path.dirname(target))
    fs.sync_directory(os.path.dirname(source))


def place_file(fs: FileSystem, source: str, target: str) -> None:
    """Give a whole, synced file its final name, in another directory of the same file system, whatever is there.

    Durability:
        Once this returns, the name survives a power cut.

    Raises:
        UnknownOutcomeError: The file has its name, which may be lost in a power cut.
        OSError: Any other: nothing was renamed.
    """
    fs.rename(source, target)
    _sync_name(fs, target)


def claim_name(fs: FileSystem, source: str, target: str) -> bool:
    """Give a whole, synced file a second name if nobody has it; return whether it has it.

    Durability:
        Once this returns, whoever has the name has it after a power cut.

    Raises:
        UnknownOutcomeError: Somebody has the name, which may be lost in a power cut.
        OSError: Any other: this file hasn't got it.
    """
    try:
        fs.link(source, target)
        is_ours = True
    except FileExistsError:
        # A network file system that tries again after a lost reply finds its own link there.
        mine, there = fs.status(source), fs.status(target)
        is_ours = mine is not None and there is not None and mine.inode == there.inode
    _sync_name(fs, target)
    return is_ours


def _sync_name(fs: FileSystem, path: str) -> None:
    directory = os.path.dirname(path)
    try:
        fs.sync_directory(directory)
    except OSError as error:
        raise UnknownOutcomeError(error.errno, error.strerror, directory) from error
