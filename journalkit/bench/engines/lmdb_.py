"""LMDB through `lmdb`: a mapped B+ tree, one writer at a time, readers that copy nothing but the value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from journalkit.bench.engine import Database, Engine, Get, Item, Terms
from journalkit.bench.engines import messagepack

MAP_BYTES: Final = 1 << 36


def _settings(terms: Terms) -> str:
    synced = "synced per commit" if terms.durability == "power cut" else "sync=False"
    return f"{synced}, map 64 GiB, one open read transaction for reads{', MessagePack' if terms.objects else ''}"


class _Lmdb(Database):
    def __init__(self, path: str, terms: Terms) -> None:
        import lmdb

        self._env: Any = lmdb.open(path, map_size=MAP_BYTES, sync=terms.durability == "power cut")
        self._objects = terms.objects
        begin = self._env.begin
        if terms.objects:
            self._dump, self._load = dump, load = messagepack.functions()

            def put_object(key: bytes, value: Any) -> None:
                with begin(write=True) as transaction:
                    transaction.put(key, dump(value))

            def get_object(key: bytes) -> Any:
                with begin() as transaction:
                    found: Any = transaction.get(key)
                    return None if found is None else load(found)

            self.put, self.get = put_object, get_object
            return

        def put(key: bytes, value: bytes) -> None:
            with begin(write=True) as transaction:
                transaction.put(key, value)

        def get(key: bytes) -> Any:
            with begin() as transaction:
                return transaction.get(key)

        self.put, self.get = put, get

    def write(self, items: Sequence[Item]) -> None:
        with self._env.begin(write=True) as transaction:
            if self._objects:
                dump = self._dump
                items = [(key, dump(value)) for key, value in items]
            transaction.cursor().putmulti(items)

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, Any]:
        with self._env.begin() as transaction:
            found: dict[bytes, Any] = dict(transaction.cursor().getmulti(keys))
        return {key: self._load(value) for key, value in found.items()} if self._objects else found

    def scan(self, start: bytes, count: int) -> Sequence[Item]:
        with self._env.begin() as transaction:
            cursor = transaction.cursor()
            items: list[Item] = list(islice(cursor.iternext(), count)) if cursor.set_range(start) else []
        return [(key, self._load(value)) for key, value in items] if self._objects else items

    def settle(self) -> None:
        """Nothing to do: a commit writes its pages where they stay."""

    @contextmanager
    def reader(self) -> Iterator[Get]:
        with self._env.begin() as transaction:
            get = transaction.get
            if not self._objects:
                yield get
                return
            load = self._load
            yield lambda key: load(get(key))

    def close(self) -> None:
        self._env.sync(True)
        self._env.close()


ENGINE: Final = Engine("LMDB", ("lmdb",), "lmdb", _Lmdb, _settings, maps_files=True)
