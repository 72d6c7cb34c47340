"""ZODB: live objects in a B-tree of its own, on a FileStorage, one transaction per commit."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from journalkit.bench.engine import Database, Engine, Get, Item, Put, Terms

_CACHED_OBJECTS: Final = 100_000
_CONNECTIONS_MAX: Final = 100


def _settings(terms: Terms) -> str:
    synced = "" if terms.durability == "power cut" else " (it can't be asked for less)"
    return (
        f"FileStorage, fsync per transaction{synced}, OOBTree, {_CACHED_OBJECTS:,} objects kept, pickle, "
        "one connection per thread"
    )


class _Zodb(Database):
    def __init__(self, path: str, terms: Terms) -> None:
        from BTrees.OOBTree import OOBTree
        from ZODB import DB
        from ZODB.FileStorage import FileStorage

        for name in ("ZODB", "txn"):  # what it logs of a failure, the bench tells in a line
            logging.getLogger(name).addHandler(logging.NullHandler())
        del terms  # it knows one durability, and pickles everything
        storage = FileStorage(os.path.join(path, "Data.fs"))
        self._db: Any = DB(storage, cache_size=_CACHED_OBJECTS, pool_size=_CONNECTIONS_MAX)
        self._manager, self._connection = self._connect()
        root = self._connection.root()
        if "kv" not in root:
            root["kv"] = OOBTree()
            self._manager.commit()
        self._tree: Any = root["kv"]
        self.put = _put_with(self._tree, self._manager)
        self.get = self._tree.get

    def _connect(self) -> tuple[Any, Any]:
        from transaction import TransactionManager

        manager = TransactionManager()
        return manager, self._db.open(transaction_manager=manager)

    def write(self, items: Sequence[Item]) -> None:
        self._tree.update(items)
        self._manager.commit()

    def scan(self, start: bytes, count: int) -> Sequence[Item]:
        return list(islice(self._tree.items(min=start), count))

    def settle(self) -> None:
        self._connection.cacheGC()

    @contextmanager
    def reader(self) -> Iterator[Get]:
        self._manager.begin()  # sees what other connections committed
        yield self.get

    @contextmanager
    def worker(self) -> Iterator[Put]:
        manager, connection = self._connect()
        try:
            yield _put_with(connection.root()["kv"], manager)
        finally:
            manager.abort()
            connection.close()

    def close(self) -> None:
        self._manager.abort()
        self._connection.close()
        self._db.close()


def _put_with(tree: Any, manager: Any) -> Put:
    """Return what sets one key in a transaction of its own, again if another thread came between."""
    from ZODB.POSException import ConflictError

    def put(key: bytes, value: Any) -> None:
        while True:
            try:
                tree[key] = value
                manager.commit()
            except ConflictError:
                manager.abort()
            else:
                return

    return put


ENGINE: Final = Engine(
    "ZODB", ("ZODB", "BTrees", "transaction"), "ZODB", _Zodb, _settings, live_objects=True, always_syncs=True
)
