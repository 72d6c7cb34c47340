"""Every operation fails once, and from then on: nothing acknowledged as durable is ever lost."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from journalkit.errors import JournalError, StorageError, StoreFullError

Maker = Callable[..., Any]

OPERATIONS = ("pwrite", "sync_data", "sync", "allocate", "create", "sync_directory", "rename", "truncate", "unlink")


def small_workload(log: Any) -> Iterator[JournalError]:
    """Write over several rotations, prepared ahead and not; go on after every error and yield it."""
    for index in range(24):
        try:
            log.put(b"%02d" % index * (10 + index * 40), durable=index % 4 == 0)
            if index == 7:
                log.log.prepare_next()
            if index == 15:
                log.log.rotate()
            if index % 5 == 0:
                log.log.sync()
        except JournalError as error:
            yield error
    try:
        log.log.close()
    except JournalError as error:
        yield error


def hold(log: Any, errors: list[JournalError]) -> None:
    """Hold the promises, whatever failed."""
    ended = False
    for error in errors:
        assert isinstance(error, StorageError | StoreFullError)
        # Once it is over it stays over: nothing is acknowledged behind an unknown.
        ended = ended or (isinstance(error, StorageError) and "the log goes on" not in str(error))
    durable = {lsn: payload for lsn, payload in log.acknowledged.items() if lsn <= log.log.durable_lsn}
    assert all(log.visible[lsn] == payload for lsn, payload in log.acknowledged.items())
    for keep in ("none", "all", 3, 4):
        log.check(log.fs.crash(keep), promised=durable)
    if not ended:
        log.check()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("times", [1, 2, None])
def test_no_failing_operation_loses_what_was_promised(
    bench: Maker, operation: str, error: int, times: int | None
) -> None:
    """For each kind of operation the first fails, then the second, and so on until none is left to fail."""
    nth = 0
    failed = True
    while failed:
        nth += 1
        log = bench(segment_bytes_max=4096)
        log.fs.fail(operation, nth, error, times=times)
        errors = list(small_workload(log))
        failed = any(" -> " in line for line in log.fs.history())
        hold(log, errors)
    assert nth > (3 if operation != "unlink" else 0)


@pytest.mark.parametrize("count_bytes", [0, 1, 39, 41])
def test_no_short_write_loses_what_was_promised(bench: Maker, count_bytes: int) -> None:
    """A write that takes part of its bytes is gone on with, or was none."""
    nth = 0
    shortened = True
    while shortened:
        nth += 1
        log = bench(segment_bytes_max=4096)
        log.fs.short_write(nth, count_bytes, path_contains="log-")
        errors = list(small_workload(log))
        shortened = any(" -> " in line for line in log.fs.history())
        hold(log, errors)
    assert nth > 24


@pytest.mark.parametrize("room_bytes", [0, 100, 5_000, 70_000, 140_000])
def test_a_disk_that_fills_up_and_is_freed_again(bench: Maker, room_bytes: int) -> None:
    """Refusals while it is full, the same handle afterwards, and every acknowledged record at the end."""
    log = bench(segment_bytes_max=4096)
    used = sum(log.fs.status(f"/store/{name}").size_bytes for name in log.fs.list("/store"))
    log.fs.capacity_bytes = used + room_bytes
    for index in range(60):
        with suppress(StoreFullError):
            log.put(b"%03d" % index * 700, durable=index % 4 == 0)
    refused = 60 - len(log.acknowledged)
    assert refused or room_bytes >= 70_000
    log.fs.capacity_bytes = None
    for index in range(10):
        log.put(b"later%d" % index * 100, durable=True)
    log.log.rotate()
    log.put(b"end", durable=True)
    log.log.close()
    assert dict(log.check(log.fs.crash("none"))) == log.visible
