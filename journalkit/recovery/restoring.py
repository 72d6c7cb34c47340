"""A store's directory made of what was saved of one: tables first, the manifest last.

    mark -> tables, each read back from the device -> manifest: it is a store -> the mark goes

The mark says that what is there without a manifest is nothing but the remains
of a restore that was cut short, and may be removed by the next one. As long as
there is no manifest nobody opens the directory; one with a manifest is never
touched. A mark beside a manifest means nothing, and is swept at the next open.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from typing import Final

from journalkit.clock import Clock
from journalkit.errors import CorruptionError, JournalError, StorageError, UnsupportedFormatError, UsageError
from journalkit.format import names
from journalkit.format.codec import codec_named
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import Manifest, SnapshotEntry
from journalkit.format.nodes import StoreNode, TableNode
from journalkit.format.stored import metadata_of
from journalkit.format.table import (
    FOOTER_BYTES,
    HEADER_BYTES,
    TableInfo,
    decode_footer,
    decode_header,
    footer_checksum,
)
from journalkit.fs.atomic import replace_file, write_all
from journalkit.fs.full import is_full, store_full
from journalkit.fs.interface import FileSystem, ReadableFileSystem
from journalkit.manifest import encode_bounded, read_manifest
from journalkit.recovery.look import no_directory
from journalkit.recovery.owner import Ownership, take_ownership
from journalkit.recovery.place import MAY_PRECEDE_STORE, UUID_BYTES, check_filesystem, make_directories
from journalkit.recovery.snapshots import MISPLACED, misplaced
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import SYNC_STRIDE_BYTES

_STEP: Final = "load an older checkpoint, which may not need it"

Pieces = Callable[[TableNode], Generator[memoryview, None, None]]
"""Reads the bytes of a table that was saved."""


class Restored:
    """A store that was restored and isn't opened yet."""

    def __init__(self, fs: FileSystem, directory: str, manifest: Manifest, *, is_made: bool) -> None:
        self._fs = fs
        self._directory = directory
        self._manifest = manifest
        self._is_made = is_made

    def take_back(self) -> None:
        """Remove the store as far as the file system lets us, unless somebody has written to it."""
        with contextlib.suppress(OSError, JournalError):
            lock = self._fs.lock(os.path.join(self._directory, names.LOCK))
            if lock is None:
                return
            try:
                if read_manifest(self._fs, self._directory) == self._manifest:
                    if names.RESTORING not in self._fs.list(self._directory):
                        _mark(self._fs, self._directory)
                    _clear(self._fs, self._directory)
                    self._fs.unlink(os.path.join(self._directory, names.LOCK))
            finally:
                lock.close()
            _remove_made(self._fs, self._directory, is_made=self._is_made)


def write_store(
    fs: FileSystem,
    directory: str,
    node: StoreNode,
    pieces: Pieces,
    clock: Clock,
    *,
    size_bytes: int,
    opened_at: str,
    trust_filesystem: str | None,
) -> Restored:
    """Make a store of what was saved of one, which has so many bytes.

    Durability:
        It survives a power cut once this returns.

    Raises:
        UsageError: There is something in the directory, or its file system can't be trusted. Nothing was changed.
        LockedError: Another process is at it.
        CorruptionError: What was saved makes no store, or what `pieces` raises. Nothing is left, as after any error
            from here on, unless the file system refuses that too; the next one then clears it away.
        UnsupportedFormatError: It takes a later version, or a package.
        StoreFullError: No room.
        StorageError: The operating system failed.
    """
    try:
        codec_named(node.codec)
        is_made = _check(fs, directory)
        check_filesystem(fs, directory, trust_filesystem)
        owner = _own(fs, directory, clock, opened_at, is_made=is_made)
        return _Restoring(fs, directory, node, pieces, clock, owner, is_made=is_made).run()
    except OSError as error:
        if isinstance(error, JournalError):
            raise
        if is_full(error):
            raise store_full(fs, directory, size_bytes, error) from error
        raise StorageError(f"{directory}: can't be restored ({error}); try again", cause=error) from error


def _check(fs: ReadableFileSystem, directory: str) -> bool:
    """Return whether the directory has to be made; raise UsageError if it holds what isn't of a restore."""
    status = fs.status(directory)
    if status is None:
        return True
    if not status.is_directory:
        raise no_directory(directory)
    there = fs.list(directory)
    if names.MANIFEST in there:
        raise UsageError(
            f"{directory} is a store already, which a restore never touches; name another directory, or remove it"
        )
    is_ours = _is_of_a_restore if names.RESTORING in there else MAY_PRECEDE_STORE.__contains__
    foreign = next((name for name in there if not is_ours(name)), None)
    if foreign is not None:
        raise UsageError(f"{directory} holds {foreign!r}; name an empty or a new directory to restore to")
    return False


def _own(fs: FileSystem, directory: str, clock: Clock, opened_at: str, *, is_made: bool) -> Ownership:
    """Return the lock of the directory, which is made if it isn't there, if nobody was faster."""
    try:
        make_directories(fs, directory)
        owner = take_ownership(fs, directory, clock, opened_at)
        try:
            _check(fs, directory)
        except BaseException:
            owner.undo()
            raise
    except BaseException:
        _remove_made(fs, directory, is_made=is_made)
        raise
    return owner


def _remove_made(fs: FileSystem, directory: str, *, is_made: bool) -> None:
    """Remove a directory that was made, if there is nothing in it."""
    if is_made:
        with contextlib.suppress(OSError):
            fs.remove_directory(directory)


def _is_of_a_restore(name: str) -> bool:
    return name in MAY_PRECEDE_STORE or _is_written(name)


def _is_written(name: str) -> bool:
    """Whether a restore may have written that, or the opening behind it, which was cut short."""
    numbers = names.table_number(name), names.segment_number(name)
    return names.is_temporary(name) or name in (names.DURABLE, names.RESERVE) or numbers != (None, None)


class _Restoring:
    """The steps from an empty directory to a store, in their order, under its lock."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        node: StoreNode,
        pieces: Pieces,
        clock: Clock,
        owner: Ownership,
        *,
        is_made: bool,
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._node = node
        self._pieces = pieces
        self._clock = clock
        self._owner = owner
        self._is_made = is_made

    def run(self) -> Restored:
        """Write all of it, or leave nothing."""
        fs, directory = self._fs, self._directory
        try:
            _clear(fs, directory)
            _mark(fs, directory)
            infos = tuple(self._write(table) for table in self._node.tables)
            fs.sync_directory(directory)
            self._verify(infos)
            manifest = self._manifest(infos)
            replace_file(fs, directory, names.MANIFEST, encode_bounded(manifest))
        except BaseException:
            with contextlib.suppress(OSError):
                _clear(fs, directory)
            self._owner.undo()
            _remove_made(fs, directory, is_made=self._is_made)
            raise
        try:
            with contextlib.suppress(OSError):  # it means nothing any more, and is swept by who opens
                fs.unlink(os.path.join(directory, names.RESTORING))
        finally:
            self._owner.lock.close()
        return Restored(fs, directory, manifest, is_made=self._is_made)

    def _write(self, table: TableNode) -> TableInfo:
        path = os.path.join(self._directory, names.table_name(table.number))
        file = self._fs.create(path)
        try:
            end = synced = 0
            with contextlib.closing(self._pieces(table)) as pieces:
                for piece in pieces:
                    write_all(file, piece, end)
                    end += len(piece)
                    if end - synced >= SYNC_STRIDE_BYTES:
                        file.sync_data()
                        synced = end
            file.sync()
            head, foot = file.pread(HEADER_BYTES, 0), file.pread(FOOTER_BYTES, max(0, end - FOOTER_BYTES))
            return self._info(path, table.number, head, foot, end)
        finally:
            file.close()

    def _info(self, path: str, number: int, head: bytes, foot: bytes, size_bytes: int) -> TableInfo:
        """Return what a manifest records of a table that says of itself that it is the one."""
        try:
            if size_bytes < HEADER_BYTES + FOOTER_BYTES:
                raise MalformedError("it is too short for a table")
            header = decode_header(head)
            footer = decode_footer(foot, salt=header.salt, offset_bytes=size_bytes - FOOTER_BYTES)
            if (header.store, header.number) != (self._node.store, number):
                raise MalformedError("it is another table than its place says")
        except MalformedError as error:
            reason = f"what was saved of it makes no table: {error.reason}"
            raise CorruptionError(reason, path=path, next_step=_STEP) from error
        except NewerFormatError as error:
            raise UnsupportedFormatError(f"{path}: {error}: {error.remedy}") from error
        return TableInfo(number, size_bytes, footer.entry_count, footer_checksum(foot), header.salt)

    def _verify(self, infos: tuple[TableInfo, ...]) -> None:
        """Read every block back from the device, and see that the tables are those of one state."""
        try:
            wrong = misplaced(self._node.lsn, [self._looked_at(info) for info in infos])
        except CorruptionError as error:
            # What it says of the file is right, but nobody will find that.
            raise CorruptionError(
                error.reason, path=error.path, offset_bytes=error.offset_bytes, next_step=_STEP
            ) from error
        if wrong is not None:
            path = os.path.join(self._directory, names.table_name(infos[wrong].number))
            raise CorruptionError(MISPLACED, path=path, next_step=_STEP)

    def _looked_at(self, info: TableInfo) -> tuple[int, int]:
        """Read a table, and return its LSN and on what it lies."""
        table = Table.open(self._fs, self._directory, info, self._node.store, BlockCache(0))
        try:
            table.verify(from_device=True, thorough=False)
            return table.footer.lsn, table.footer.below
        finally:
            table.close()

    def _manifest(self, infos: tuple[TableInfo, ...]) -> Manifest:
        node, now_us = self._node, self._clock.wall_us()
        return Manifest(
            store=node.store,
            kind="store",
            codec=node.codec,
            created_us=node.created_us,
            generation=1,
            epoch=node.epoch,
            writer=self._clock.random_bytes(UUID_BYTES),
            segments=(),
            snapshots=(SnapshotEntry(node.lsn, now_us, infos),) if infos else (),
            pruned_lsn=node.lsn,
            durable_lsn=node.lsn,
            next_segment=1,
            next_table=node.next_table,
            metadata=metadata_of(node),
        )


def _mark(fs: FileSystem, directory: str) -> None:
    """Say, durably, that what comes is a restore's."""
    file = fs.create(os.path.join(directory, names.RESTORING))
    try:
        file.sync()
    finally:
        file.close()
    fs.sync_directory(directory)


def _clear(fs: FileSystem, directory: str) -> None:
    """Remove what a restore has written: the manifest first, durably, and the mark last."""
    there = [name for name in fs.list(directory) if name == names.MANIFEST or _is_written(name)]
    if names.MANIFEST in there:
        fs.unlink(os.path.join(directory, names.MANIFEST))
        fs.sync_directory(directory)
    for name in there:
        if name not in (names.MANIFEST, names.RESTORING):
            fs.unlink(os.path.join(directory, name))
    fs.sync_directory(directory)
    if names.RESTORING in there:
        fs.unlink(os.path.join(directory, names.RESTORING))
        fs.sync_directory(directory)
