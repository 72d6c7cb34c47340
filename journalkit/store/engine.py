"""The engine of one open store: what is behind a `Store`, whichever mode it was opened in.

A writer's engine has a log, a keeper of the manifest, a lock and a compactor;
a reader's has layers and nothing that could change a byte.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from journalkit.clock import Clock
from journalkit.format.manifest import Manifest
from journalkit.fs.interface import FileSystem, ReadableFileSystem
from journalkit.options import MIB, Options
from journalkit.recovery.replay import Replay
from journalkit.recovery.report import RecoveryReport
from journalkit.recovery.writer import Opened, OpenRequest, open_for_writing
from journalkit.runtime.request import open_to_read
from journalkit.snapshot.cache import BlockCache
from journalkit.store.compactor import REPLAY_BYTES_PER_S, Compactor
from journalkit.store.layers import Layers

_MEASURABLE_BYTES = 4_000_000
_ENOUGH_BYTES = 8 * MIB


@dataclass(frozen=True, slots=True)
class Writing:
    """The half of an engine that only a writer has."""

    opened: Opened
    compactor: Compactor


@dataclass(frozen=True, slots=True)
class Engine:
    """An open store's parts. `writing` is None for a reader, `seen_durable_lsn` is what a reader saw to be durable."""

    path: str
    options: Options
    layers: Layers
    cache: BlockCache
    report: RecoveryReport
    manifest: Callable[[], Manifest]
    clock: Clock
    writing: Writing | None
    seen_durable_lsn: int


def shares(cache_bytes: int) -> tuple[int, int]:
    """Return how much memory blocks get, and how much hot values.

    Half each of a little: blocks of the index have to fit. Of more, blocks need
    less, since the system's own cache stands behind them, and a hot value is
    what was asked for and nothing beside it.
    """
    block_bytes = min(cache_bytes // 2, max(cache_bytes // 4, _ENOUGH_BYTES))
    return block_bytes, cache_bytes - block_bytes


def open_writer(fs: FileSystem, path: str, request: OpenRequest, options: Options, clock: Clock) -> Engine:
    """Open or create a store as its only writer; raises as `recovery.writer.open_for_writing` does."""
    block_bytes, hot_bytes = shares(options.cache_bytes)
    cache = BlockCache(block_bytes)
    replay = Replay(path)
    layers = Layers(clock, hot_bytes=hot_bytes)
    opened = open_for_writing(fs, path, request, cache, clock, replay, layers)
    layers.load(replay.entries, opened.tables, lsn=opened.log.last_lsn, payload_bytes=replay.payload_bytes)
    # From here on the tables are the layers': held here too, a pruned one would keep its room until the close.
    opened = replace(opened, tables=())
    rate = REPLAY_BYTES_PER_S
    if replay.payload_bytes >= _MEASURABLE_BYTES and opened.report.seconds > 0:
        rate = int(replay.payload_bytes / opened.report.seconds)
    compactor = Compactor(
        fs,
        path,
        opened.keeper,
        opened.log,
        layers,
        cache,
        opened.reserve,
        clock,
        options,
        replay_bytes_per_s=rate,
    )
    writing = Writing(opened, compactor)
    return Engine(path, options, layers, cache, opened.report, lambda: opened.keeper.current, clock, writing, 0)


def open_reader(fs: ReadableFileSystem, path: str, request: OpenRequest, options: Options, clock: Clock) -> Engine:
    """Look at a store beside whoever writes it; raises as `runtime.request.open_to_read` does."""
    block_bytes, hot_bytes = shares(options.cache_bytes)
    cache = BlockCache(block_bytes)
    found, report, replay = open_to_read(fs, path, request, cache, clock, lambda: Replay(path))
    layers = Layers(clock, hot_bytes=hot_bytes)
    layers.load(replay.entries, found.snapshot.tables, lsn=report.last_lsn, payload_bytes=replay.payload_bytes)
    return Engine(path, options, layers, cache, report, lambda: found.manifest, clock, None, found.plan.durable_lsn)
