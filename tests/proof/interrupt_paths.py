"""What is interrupted: the calls of a store and of a journal that write, each from a state of its own.

A path is a list of steps, each of which commits at most once, so that a run
without interruptions tells every state that there may be.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import journalkit
from journalkit.store.outside import Outside
from journalkit.testing import SimulatedDisk
from journalkit.types import ABSENT

Step = Callable[[Any], object]
BIG = "x" * 700


def _nothing(_: Any) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Path:
    """Steps to interrupt. `warm` comes before, uninterrupted; `fault` arranges what the disk then does."""

    name: str
    steps: tuple[Step, ...]
    warm: Callable[[Any], None] = _nothing
    fault: Callable[[SimulatedDisk], None] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    is_journal: bool = False
    closes: bool = False

    def open(self, disk: SimulatedDisk, **options: Any) -> Any:
        """Open the store or journal."""
        if self.is_journal:
            return journalkit.open_journal("/store", fs=disk, **(self.options | options))
        return journalkit.open("/store", fs=disk, compaction="manual", **(self.options | options))

    def begin(self) -> SimulatedDisk:
        """Return a disk with a closed store: a snapshot, a log behind it, and an older snapshot to prune."""
        disk = SimulatedDisk()
        handle = self.open(disk)
        for number in range(6):
            put(handle, number)
            if number in (1, 3) and not self.is_journal:
                handle.compact()
        handle.close()
        return disk


def put(handle: Any, value: object, key: object = None) -> None:
    """Write something of one's own."""
    if isinstance(handle, journalkit.Journal):
        handle.append(value)
    else:
        handle.put(("key", value) if key is None else key, value)


def state(handle: Any) -> Any:
    """Return all that a handle shows, to be compared."""
    if isinstance(handle, journalkit.Journal):
        return [record.value for record in handle.read()]
    # The other writer's key has an outcome of its own.
    return {key: value for key, value in handle.items() if key != "beside"}, dict(handle.offsets)


def compactor(store: Any) -> Any:
    """Return a store's compactor, which the thread would step."""
    return store._engine.writing.compactor


def _batch(store: Any) -> None:
    batch = journalkit.Batch()
    batch.put("one", 1)
    batch.delete(("key", 2))
    batch.offsets["input"] = 7
    store.write(batch)


def _edit(store: Any) -> None:
    with store.edit("list", default=[]) as value:
        value.append(1)


def _transaction(store: Any) -> None:
    with store.transaction() as transaction:
        transaction["sum"] = sum(value for value in transaction.values() if isinstance(value, int))
        del transaction[("key", 0)]
        transaction.offsets["input"] = 3


def _blind(store: Any) -> None:
    with store.transaction(sync="always") as transaction:
        transaction["a"] = 1
        transaction["b"] = 2


def _fill(handle: Any) -> None:
    for number in range(5):
        put(handle, BIG, ("fill", number))


def _fill_outside(handle: Any) -> None:
    """Fold by a child, without the thread that `compaction="process"` would start."""
    _fill(handle)
    folding = compactor(handle)
    folding._outside = Outside(folding._fs, folding._clock)


def _undurable(handle: Any) -> None:
    put(handle, "shown", "undurable")


def _views(store: Any) -> None:
    with store.view() as view:
        list(view.items())
    list(reversed(store))


def _compact(store: Any) -> None:
    store.compact()


def _close(handle: Any) -> None:
    handle.close()


def _beside(handle: Any) -> None:
    """Another writer is inside its fsync, and ends it once somebody waits, or no longer does."""
    active = handle._log.position.active.file
    real, syncing = active.sync_data, threading.Event()

    def slow() -> None:
        active.sync_data = real
        syncing.set()
        until = time.monotonic() + 0.002
        while not handle._log._queue and time.monotonic() < until:
            time.sleep(0.0001)
        time.sleep(0.0002)
        real()

    active.sync_data = slow
    threading.Thread(target=lambda: handle.put("beside", 1), daemon=True).start()
    syncing.wait()


def _failing(
    operation: str, number: int, path: str, *, nth: int = 1, times: int = 1
) -> Callable[[SimulatedDisk], None]:
    return lambda disk: disk.fail(operation, nth, number, times=times, path_contains=path)


def _full(disk: SimulatedDisk) -> None:
    disk.short_write(1, 9, path_contains="log-")
    disk.fail("pwrite", 2, errno.ENOSPC, path_contains="log-")


_ROTATES = {"segment_bytes_max": 4096}
_PUTS: tuple[Step, ...] = (lambda s: s.put("a", 1), lambda s: s.put(("key", 1), 2))

PATHS: tuple[Path, ...] = (
    Path("put", (*_PUTS, lambda s: s.put("a", 3, expect=1), lambda s: s.delete("a"))),
    Path("never", (*_PUTS, lambda s: s.sync(), lambda s: s.put("a", 5, sync="always")), options={"sync": "never"}),
    Path("interval", (lambda s: s.put("a", 1, sync="interval"), lambda s: s.sync()), options={"sync": "never"}),
    Path("update", (lambda s: s.update(a=1, b=2, c=3), _batch)),
    Path(
        "atomic",
        (
            lambda s: s.modify(("key", 1), lambda value: value + 1),
            lambda s: s.pop(("key", 0)),
            lambda s: s.setdefault("new", []),
            _edit,
            lambda s: s.popitem(),
            lambda s: s.put("c", 1, expect=ABSENT),
        ),
    ),
    Path("transaction", (_transaction, _blind, lambda s: s.transact(lambda t: t.put("t", len(t))))),
    Path("views", (_PUTS[0], _views, _PUTS[1], _views)),
    Path("rotate", (lambda s: s.put("a", BIG), lambda s: s.put("b", BIG), _PUTS[0]), warm=_fill, options=_ROTATES),
    Path(
        "prepare",
        (lambda s: compactor(s).step(), lambda s: s.put("a", BIG), lambda s: s.put("b", BIG)),
        warm=_fill,
        options=_ROTATES,
    ),
    Path("compact", (_compact, _PUTS[0], _compact), warm=_fill, options={"keep_snapshots": 1}),
    Path("compact-outside", (_compact, _PUTS[0], _compact), warm=_fill_outside, options={"keep_snapshots": 1}),
    Path("step", (lambda s: compactor(s).step(), _PUTS[0]), warm=_fill, options={"fold_bytes_min": 1, **_ROTATES}),
    Path("clear", (lambda s: s.clear(), _PUTS[0])),
    Path("close", (_close,), warm=_undurable, closes=True),
    Path("close-never", (_close,), warm=_undurable, options={"sync": "never"}, closes=True),
    Path("follow", (*_PUTS,), warm=_beside),
    Path(
        "journal",
        (lambda j: j.append("a"), lambda j: j.append(BIG, sync="never"), lambda j: j.sync()),
        is_journal=True,
        options=_ROTATES,
    ),
    Path("journal-rotate", (lambda j: j.rotate(), lambda j: j.append("a")), warm=_fill, is_journal=True),
    Path("journal-close", (_close,), warm=_undurable, is_journal=True, closes=True, options={"sync": "never"}),
    Path("put-eio", (*_PUTS,), fault=_failing("sync_data", errno.EIO, "log-")),
    Path("put-slot-eio", (*_PUTS,), fault=_failing("pwrite", errno.EIO, "durable", times=2)),
    Path("put-write-eio", (*_PUTS,), fault=_failing("pwrite", errno.EIO, "log-")),
    Path("put-full", (*_PUTS,), fault=_full),
    Path("rotate-eio", (lambda s: s.put("a", BIG), lambda s: s.put("b", BIG)), warm=_fill,
         fault=_failing("sync_data", errno.EIO, "log-", nth=2), options=_ROTATES),
    Path("rotate-full", (lambda s: s.put("a", BIG), lambda s: s.put("b", BIG)), warm=_fill,
         fault=_failing("create", errno.ENOSPC, "log-"), options=_ROTATES),
    Path("rotate-unpublished", (lambda s: s.put("a", BIG), lambda s: s.put("b", BIG)), warm=_fill,
         fault=_failing("sync_directory", errno.EIO, "", nth=2), options=_ROTATES),
    Path("compact-eio", (_compact, _PUTS[0]), warm=_fill, fault=_failing("sync", errno.EIO, "table-")),
    Path("compact-unpublished", (_compact, _PUTS[0]), warm=_fill,
         fault=_failing("rename", errno.EIO, "MANIFEST")),
    Path("close-eio", (_close,), warm=_undurable, closes=True, options={"sync": "never"},
         fault=_failing("sync_data", errno.EIO, "log-")),
)  # fmt: skip
