"""Scenes: what a few threads do to one store, small enough that all their schedules can be run.

Each thread does one to three things. A scene says what, and what may happen;
what may not is the witness's to know.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from stage_world import SEGMENT_BYTES, JournalWorld, World

import journalkit.log.commit
import journalkit.log.log
import journalkit.log.succession
import journalkit.log.writer
import journalkit.manifest
import journalkit.runtime.handle
import journalkit.store.compactor
import journalkit.store.hot
import journalkit.store.layers
import journalkit.store.memtable


def _sources(*modules: ModuleType) -> frozenset[str]:
    return frozenset(str(module.__file__) for module in modules)


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene: `plays` adds its threads to a world.

    `early_timeouts`: waits may end by their timeout at any point. `by_line`:
    every line of these source files is a point. `stalls`: somebody may have to
    wait for a timeout. `shares`: into how many units its schedules are split.
    `is_large`: it is for full runs only.
    """

    says: str
    plays: Callable[[Any], None]
    options: dict[str, Any] = field(default_factory=dict)
    snapshots: int = 0
    preemptions: int = 2
    preemptions_full: int = 2
    shares: int = 1
    shares_full: int = 1
    early_timeouts: bool = False
    stalls: bool = False
    by_line: frozenset[str] = frozenset()
    is_journal: bool = False
    is_large: bool = False


def _two_writers(world: World) -> None:
    world.act("one", world.put("a"), world.put("b"))
    world.act("two", world.put("a"))


def _three_writers(world: World) -> None:
    for name in ("one", "two", "three"):
        world.act(name, world.put("a"))


def _weak_and_strong(world: World) -> None:
    world.act("weak", world.put("a", sync="never"), world.put("b", sync="never"))
    world.act("strong", world.put("a"))


def _writer_and_reader(world: World) -> None:
    world.act("writer", world.put("a"), world.put("b"))
    world.act("reader", world.get("b", "a"), world.scan, world.get("a", "b"))


def _writer_and_view(world: World) -> None:
    world.act("writer", world.put("a"), world.put("b", sync="never"))
    world.act("viewer", world.view, world.view)


def _writer_and_fold(world: World) -> None:
    world.act("writer", world.put("a"))
    world.act("compactor", world.compact)


def _writer_and_closer(world: World) -> None:
    world.act("writer", world.put("a"), world.put("b"))
    world.act("closer", world.close)


def _slow_disk_and_closer(world: World) -> None:
    world.act("writer", world.put("a"))
    world.act("closer", world.close_or_be_told)


def _slow_disk_and_next_owner(world: World) -> None:
    world.act("writer", world.put("a"))
    world.act("closer", world.close_or_be_told, world.reopen)


def _slow_disk_fold_and_closer(world: World) -> None:
    world.put("a")("before")
    world.act("compactor", world.compact_or_be_told)
    world.act("closer", world.close_or_be_told)


def _fold_and_closer(world: World) -> None:
    world.put("a")("before")
    world.act("compactor", world.compact)
    world.act("closer", world.close)


def _view_fold_writer(world: World) -> None:
    world.act("compactor", world.compact)
    world.act("writer", world.put("a", sync="never"), world.glance)


def _view_fold_writer_apart(world: World) -> None:
    world.act("compactor", world.compact)
    world.act("viewer", world.glance)
    world.act("writer", world.put("a", sync="never"))


def _rotation(world: World) -> None:
    world.act("one", world.put("a", bytes_more=SEGMENT_BYTES), world.put("b"))
    world.act("two", world.put("a"))


def _transaction(world: World) -> None:
    world.act("transaction", world.increment("a"))
    world.act("writer", world.put("a"))


def _two_increments(world: World) -> None:
    world.act("one", world.increment("a"))
    world.act("two", world.increment("a"))


def _two_expectations(world: World) -> None:
    world.act("one", world.expect("a", "old-a"))
    world.act("two", world.expect("a", "old-a"))


def _two_expectations_of_a_group(world: World) -> None:
    world.act("leader", world.put("b"))
    world.act("one", world.expect("a", "old-a"))
    world.act("two", world.expect("a", "old-a"))


def _sync_and_writer(world: World) -> None:
    world.act("writer", world.put("a", sync="never"), world.put("b", sync="never"))
    world.act("syncer", world.sync_log, world.ladder)


def _failing_sync(nth: int) -> Callable[[World], None]:
    def plays(world: World) -> None:
        world.disk.fail("sync_data", nth, errno.EIO)
        _three_writers(world)

    return plays


def _full_disk(world: World) -> None:
    world.disk.fail("pwrite", 1, errno.ENOSPC, path_contains="log-")
    _three_writers(world)


def _reader_beside_fold(world: World) -> None:
    world.act("reader", world.look)
    world.act("compactor", world.compact)


def _background_fold(world: World) -> None:
    world.act("writer", world.put("a"), world.close)


def _two_folds(world: World) -> None:
    world.put("a")("before")
    world.act("one", world.compact)
    world.act("two", world.compact)


def _rotation_and_fold(world: World) -> None:
    world.act("writer", world.put("a", bytes_more=SEGMENT_BYTES), world.put("b"))
    world.act("compactor", world.compact)


def _reader_and_freeze(world: World) -> None:
    for key in ("a", "b"):
        world.put(key)("before")
    world.act("reader", world.get("a", "c", "b"))
    world.act("viewer", world.view)


def _reader_and_merge(world: World) -> None:
    for key in ("a", "b", "a"):
        world.put(key)("before")
        world.view("before")
    world.act("reader", world.get("a", "b"))
    world.act("writer", world.put("b"), world.view)


def _reader_and_fold(world: World) -> None:
    world.put("a")("before")
    world.act("reader", world.get("a", "b", "a"))
    world.act("compactor", world.compact)


def _two_closers(world: World) -> None:
    world.put("a", sync="never")("before")
    world.act("one", world.close)
    world.act("two", world.close)


def _ladder_and_fold(world: World) -> None:
    world.put("a", sync="never")("before")
    world.act("climber", world.ladder, world.ladder)
    world.act("compactor", world.compact)


def _appends_and_reader(world: JournalWorld) -> None:
    world.act("writer", world.append(), world.append(sync="never"))
    world.act("reader", world.read, world.read)


def _journal_rotation(world: JournalWorld) -> None:
    world.act("writer", world.append(bytes_more=SEGMENT_BYTES), world.append())
    world.act("reader", world.read)


def _journal_beside(world: JournalWorld) -> None:
    world.act("writer", world.append(), world.rotate, world.append(sync="never"))
    world.act("reader", world.read_beside)


def _journal_closer(world: JournalWorld) -> None:
    world.act("writer", world.append(), world.append())
    world.act("reader", world.read)
    world.act("closer", world.close)


_SLOW: Final[Any] = {"early_timeouts": True, "stalls": True}
# Few points: a full run can afford one more preemption.
_DEEP: Final[Any] = {"preemptions_full": 3, "shares_full": 2}

SCENES: Final[dict[str, Scene]] = {
    "two-writers": Scene("two durable writers: group commit, leader and follower", _two_writers, **_DEEP),
    "three-writers": Scene("three durable writers: a leader and two who wait", _three_writers),
    "weak-and-strong": Scene("a writer that waits for no fsync beside one that does", _weak_and_strong, **_DEEP),
    "writer-reader": Scene("gets and a scan beside a writer", _writer_and_reader, **_DEEP),
    "writer-view": Scene("views beside a writer", _writer_and_view, **_DEEP),
    "writer-fold": Scene("a writer beside a fold that rotates, publishes and prunes", _writer_and_fold, snapshots=2),
    "writer-closer": Scene("a close in the middle of writes", _writer_and_closer, **_DEEP),
    "slow-disk-closer": Scene(
        "a close beside a write that a slow disk holds up",
        _slow_disk_and_closer,
        **_SLOW,
        **_DEEP,
    ),
    "slow-disk-next-owner": Scene(
        "the same, and somebody opens the store at once",
        _slow_disk_and_next_owner,
        **_SLOW,
    ),
    "slow-disk-followers": Scene("followers who look again before their leader is done", _three_writers, **_SLOW),
    "slow-disk-fold-closer": Scene(
        "a close that gives up waiting for a fold",
        _slow_disk_fold_and_closer,
        snapshots=1,
        **_SLOW,
    ),
    "slow-disk-syncer-closer": Scene(
        "a close that gives up waiting, beside the interval's thread",
        _slow_disk_and_closer,
        options={"sync": "interval"},
        **_SLOW,
    ),
    "fold-closer": Scene("a close in the middle of a fold", _fold_and_closer, snapshots=2),
    "view-fold-writer": Scene("a writer who takes a view, beside a fold", _view_fold_writer, snapshots=2),
    "view-fold-writer-apart": Scene(
        "a view, a fold and a writer, each on its own",
        _view_fold_writer_apart,
        snapshots=2,
        shares=4,
        shares_full=4,
        is_large=True,
    ),
    "rotation": Scene("a rotation beside a second writer", _rotation, **_DEEP),
    "transaction": Scene("a transaction beside a writer", _transaction, **_DEEP),
    "two-increments": Scene("two transactions that read what the other writes", _two_increments, **_DEEP),
    "two-expectations": Scene("two writers that expect the same value", _two_expectations, **_DEEP),
    "sync-writer": Scene("sync() beside a writer that waits for no fsync", _sync_and_writer, **_DEEP),
    "failing-first-sync": Scene("a lone leader whose fsync fails, and who comes after him", _failing_sync(1)),
    "failing-second-sync": Scene("a leader of a group whose fsync fails, and followers", _failing_sync(2)),
    "full-disk": Scene("a leader whose write finds no room, and followers", _full_disk),
    "reader-fold": Scene("an open for reading beside a fold that prunes", _reader_beside_fold, snapshots=2),
    "syncer-closer": Scene(
        "the interval's thread, a writer and a close", _writer_and_closer, options={"sync": "interval"}
    ),
    "background-fold": Scene(
        "the compactor's thread, a writer and a close",
        _background_fold,
        options={"compaction": "thread", "fold_bytes_min": 1, "fold_ratio": 0.0},
        snapshots=1,
        **_DEEP,
    ),
    "group-expectations": Scene("two that expect the same value, in one group", _two_expectations_of_a_group),
    "rotation-fold": Scene("a rotation beside a fold: two that publish", _rotation_and_fold, snapshots=1),
    "two-folds": Scene("two threads that fold", _two_folds, snapshots=2),
    "two-closers": Scene("two threads that close", _two_closers, **_DEEP),
    "ladder-fold": Scene("the ladder, asked for beside a fold", _ladder_and_fold, snapshots=2),
    "journal-reader": Scene("a journal's reader beside appends", _appends_and_reader, is_journal=True, **_DEEP),
    "journal-rotation": Scene("a journal's reader beside a rotation", _journal_rotation, is_journal=True, **_DEEP),
    "journal-beside": Scene(
        "another process reads a journal beside appends and a rotation", _journal_beside, is_journal=True
    ),
    "journal-closer": Scene("a close beside a journal's writer and reader", _journal_closer, is_journal=True),
    "line-writers": Scene(
        "two durable writers",
        _two_writers,
        preemptions=1,
        shares_full=16,
        by_line=_sources(journalkit.log.log, journalkit.log.writer, journalkit.log.commit),
    ),
    "line-failing-sync": Scene(
        "a leader whose fsync fails, and followers",
        _failing_sync(2),
        preemptions=1,
        by_line=_sources(journalkit.log.log, journalkit.log.writer, journalkit.log.commit),
    ),
    "line-sync": Scene(
        "sync() beside a writer that waits for no fsync",
        _sync_and_writer,
        preemptions=1,
        shares_full=16,
        by_line=_sources(journalkit.log.log, journalkit.log.writer),
    ),
    "line-closer": Scene(
        "a close in the middle of writes",
        _writer_and_closer,
        preemptions=1,
        shares_full=16,
        by_line=_sources(journalkit.log.log, journalkit.runtime.handle),
    ),
    "line-freeze": Scene(
        "gets beside a freeze",
        _reader_and_freeze,
        by_line=_sources(journalkit.store.layers, journalkit.store.memtable),
    ),
    "line-merge": Scene(
        "gets beside a write and a view that merges memtables",
        _reader_and_merge,
        preemptions=1,
        shares_full=8,
        by_line=_sources(journalkit.store.layers, journalkit.store.memtable),
    ),
    "line-fold": Scene(
        "gets beside a fold that swaps the tables",
        _reader_and_fold,
        snapshots=2,
        preemptions=1,
        shares_full=8,
        by_line=_sources(journalkit.store.layers, journalkit.store.hot),
    ),
    "line-rotation-fold": Scene(
        "a rotation beside a fold: two that publish",
        _rotation_and_fold,
        snapshots=1,
        preemptions=1,
        shares_full=32,
        by_line=_sources(journalkit.log.succession, journalkit.manifest, journalkit.store.compactor),
    ),
}
