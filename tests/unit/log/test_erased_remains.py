"""What a refused record left in the file: erased before anybody is told, and durably."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from journalkit.errors import StoreFullError
from journalkit.format.frame import Kind
from journalkit.log.commit import Commit

Maker = Callable[..., Any]


def test_a_refused_record_does_not_come_back_after_a_power_cut(bench: Maker) -> None:
    """A whole frame of it may have reached the disk before the room was gone, and stands where the next belongs."""
    log = bench()
    log.put(b"a", durable=True)
    kept, refused, too = commits = [Commit(letter * 20, Kind.RECORD, (), False) for letter in (b"x", b"y", b"z")]
    log.log._queue.extend(commits)
    # Two frames of sixty bytes and a part of the third; then each by itself, of which only the first finds room.
    log.fs.short_write(1, 130, path_contains="log-")
    for nth in (2, 5, 7):
        log.fs.fail("pwrite", nth, errno.ENOSPC, path_contains="log-")
    for _ in range(4):
        log.log._writer.lead(log.log._queue)
    assert (kept.error, type(refused.error), type(too.error)) == (None, StoreFullError, StoreFullError)
    for seed in range(100):
        payloads = [payload for _, payload in log.check(log.fs.crash(seed))]
        assert payloads in ([b"a"], [b"a", b"x" * 20]), log.fs.story()
