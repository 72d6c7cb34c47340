"""The process that merges for a fold: it reads tables, and writes one under its temporary name.

It never renames, publishes or prunes, has no lock, and believes nothing that
it didn't check. Values are not decoded, so no codec is asked for. Whoever
started it decides what becomes of the table: `journalkit.store.folding`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from journalkit.clock import Clock, SystemClock
from journalkit.format.names import table_name, temporary_name
from journalkit.format.table import TableInfo
from journalkit.fs.child import Parent
from journalkit.fs.interface import FileSystem
from journalkit.fs.posix import PosixFileSystem
from journalkit.runtime.talk import begun
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.check import check_table
from journalkit.snapshot.reader import Table
from journalkit.store.fold_words import Job, done, failed, heard
from journalkit.store.folding import merge
from journalkit.store.layers import Frozen
from journalkit.store.memtable import MemTable
from journalkit.store.rate import RateLimit


def main() -> None:
    """Be the child of the process that started this one, for one fold."""
    parent = Parent()
    parent.say(begun())
    hurry = threading.Event()
    parent.say(
        answer(parent.read, PosixFileSystem(), SystemClock(), hurry.is_set, heard_all=lambda: parent.watch(hurry.set))
    )


def answer(
    read: Callable[[int], bytes],
    fs: FileSystem,
    clock: Clock,
    is_urgent: Callable[[], bool],
    *,
    heard_all: Callable[[], None],
) -> bytes:
    """Read a job, do it, and return the line that tells how it went; `heard_all` is called in between."""
    try:
        job, entries = heard(read)
        heard_all()
        return done(_write(job, entries, fs, clock, is_urgent))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to hear of it
        return failed(error)


def _write(
    job: Job, entries: dict[bytes, bytes | None], fs: FileSystem, clock: Clock, is_urgent: Callable[[], bool]
) -> TableInfo:
    """Write the job's table and read it back from the device; return what the manifest will say of it."""
    cache = BlockCache(0)
    tables = tuple(Table.open(fs, job.directory, info, job.store, cache) for info in job.tables)
    limit = RateLimit(clock, job.bytes_per_s, is_urgent) if job.bytes_per_s is not None else None
    info = merge(
        fs,
        job.directory,
        job.store,
        Frozen(job.lsn, (MemTable(entries, job.lsn, 0),), tables),
        job.merged_count,
        number=job.number,
        salt=job.salt,
        compress=job.compress,
        limit=limit,
        named=False,
    )
    path = os.path.join(job.directory, temporary_name(table_name(job.number)))
    file = fs.open_direct(path)
    try:
        check_table(file, path, info, job.store)
    finally:
        file.close()
        for table in tables:
            table.close()
    return info
