"""What a log says when the disk fails: which file, which error of the system, and what to do.

Mutation testing found that each of them could be left out.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from journalkit.errors import StorageError

Maker = Callable[..., Any]

WHAT_TO_DO = "; close the store and open it again, which tells what survived"


def put_two(log: Any) -> None:
    """Commit a record, durably."""
    log.put(b"a", durable=True)


def rotate(log: Any) -> None:
    """Go on in another segment."""
    log.log.rotate()
    log.put(b"after")


def close(log: Any) -> None:
    """Seal the log."""
    log.log.close()


@pytest.mark.parametrize(
    ("do", "operation", "nth", "path_contains", "words"),
    [
        (put_two, "pwrite", 1, "log-", "the log could not be written"),
        (put_two, "sync_data", 1, "log-", "the log could not be synced, so nobody was told that it is"),
        (put_two, "pwrite", 1, "durable", "the durable slot could not be written"),
        (rotate, "sync_data", 1, "log-", "the log could not go on in a new segment"),
        (close, "pwrite", 1, "log-", "the log could not be sealed"),
    ],
)
def test_a_failure_names_the_file_the_error_and_what_to_do(
    bench: Maker, do: Callable[[Any], None], operation: str, nth: int, path_contains: str, words: str
) -> None:
    """Three things an operator needs at three in the morning."""
    log = bench()
    log.put(b"first")
    path = log.segment_path(1)
    if do is rotate:
        log.log.prepare_next()
    log.fs.fail(operation, nth, errno.EROFS, times=None, path_contains=path_contains)
    with pytest.raises(StorageError) as caught:
        do(log)
    message = str(caught.value)
    # Of a single record, too, whose failed fsync a group meets again: it was told as EIO, whatever it had been.
    assert message.startswith(f"{path}: {words} ([Errno {errno.EROFS}]")
    assert message.endswith(WHAT_TO_DO)
    assert (caught.value.filename, caught.value.errno) == (path, errno.EROFS)
    if do is not close:
        log.log.close()
