"""One file per engine. `PEERS` are all that journalkit is measured against, installed or not."""

from __future__ import annotations

from typing import Final

from journalkit.bench.engine import Engine
from journalkit.bench.engines import disk_cache, leveldb, lmdb_, rocksdb, sqlite, zodb

PEERS: Final[tuple[Engine, ...]] = (
    sqlite.ENGINE,
    lmdb_.ENGINE,
    leveldb.ENGINE,
    rocksdb.ENGINE,
    disk_cache.ENGINE,
    zodb.ENGINE,
)
