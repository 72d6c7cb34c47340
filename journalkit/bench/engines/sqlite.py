"""SQLite, from the standard library: one table, prepared statements, a write-ahead log."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from journalkit.bench.engine import MIB, Database, Engine, Get, Item, Put, Terms

_SYNCHRONOUS: Final = {"power cut": "FULL", "process crash": "NORMAL"}
_PUT: Final = "INSERT INTO kv VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_GET: Final = "SELECT value FROM kv WHERE key = ?"
_SCAN: Final = "SELECT key, value FROM kv WHERE key >= ? ORDER BY key LIMIT ?"
_BUSY_S: Final = 60.0
_MMAP_BYTES: Final = 1 << 30


def _settings(terms: Terms) -> str:
    values = "values as JSON text" if terms.objects else "values as BLOB"
    return (
        f"WAL, synchronous={_SYNCHRONOUS[terms.durability]}, WITHOUT ROWID, {values}, cache "
        f"{terms.cache_bytes / MIB:.3g} MiB, {'no mmap' if terms.bounded else 'mmap 1 GiB'}, one connection per thread"
    )


class _Sqlite(Database):
    def __init__(self, path: str, terms: Terms) -> None:
        self._file = os.path.join(path, "kv.sqlite")
        self._terms = terms
        self._connection = self._connect()
        self._dump: Callable[[Any], Any] = json.dumps if terms.objects else _same
        self._load: Callable[[Any], Any] = json.loads if terms.objects else _same
        self._connection.execute("CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, value) WITHOUT ROWID")
        self.put = self._put_with(self._connection)
        self.get = self._get_with(self._connection)

    def _connect(self) -> sqlite3.Connection:
        # Without isolation_level the module adds no BEGIN of its own. Threads use their own; close() is another's.
        connection = sqlite3.connect(self._file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={_SYNCHRONOUS[self._terms.durability]}")
        connection.execute(f"PRAGMA cache_size=-{self._terms.cache_bytes // 1024}")
        connection.execute(f"PRAGMA mmap_size={0 if self._terms.bounded else _MMAP_BYTES}")
        return connection

    def _put_with(self, connection: sqlite3.Connection) -> Put:
        execute = connection.execute
        if not self._terms.objects:
            return lambda key, value: execute(_PUT, (key, value))
        dumps = json.dumps
        return lambda key, value: execute(_PUT, (key, dumps(value)))

    def _get_with(self, connection: sqlite3.Connection) -> Get:
        execute, load = connection.execute, self._load

        def get(key: bytes) -> Any:
            row = execute(_GET, (key,)).fetchone()
            return None if row is None else load(row[0])

        def get_bytes(key: bytes) -> Any:
            row = execute(_GET, (key,)).fetchone()
            return None if row is None else row[0]

        return get if self._terms.objects else get_bytes

    def write(self, items: Sequence[Item]) -> None:
        execute, dump = self._connection, self._dump
        execute.execute("BEGIN IMMEDIATE")
        try:
            if self._terms.objects:
                execute.executemany(_PUT, ((key, dump(value)) for key, value in items))
            else:
                execute.executemany(_PUT, items)
        except BaseException:
            execute.execute("ROLLBACK")
            raise
        execute.execute("COMMIT")

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, Any]:
        marks = ", ".join("?" * len(keys))
        found = dict(self._connection.execute(f"SELECT key, value FROM kv WHERE key IN ({marks})", keys).fetchall())
        return {key: json.loads(value) for key, value in found.items()} if self._terms.objects else found

    def scan(self, start: bytes, count: int) -> Sequence[Item]:
        rows: list[Item] = self._connection.execute(_SCAN, (start, count)).fetchall()
        return [(key, json.loads(value)) for key, value in rows] if self._terms.objects else rows

    def settle(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def reader(self) -> Iterator[Get]:
        self._connection.execute("BEGIN")  # one read transaction: no lock is taken per statement
        try:
            yield self.get
        finally:
            self._connection.execute("COMMIT")

    @contextmanager
    def worker(self) -> Iterator[Put]:
        connection = self._connect()
        try:
            yield self._put_with(connection)
        finally:
            connection.close()

    def close(self) -> None:
        self._connection.close()


def _same(value: Any) -> Any:
    return value


ENGINE: Final = Engine("SQLite", ("sqlite3",), "sqlite3", _Sqlite, _settings)
