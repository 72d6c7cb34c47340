"""LevelDB through `plyvel`: a log and sorted tables in levels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from journalkit.bench.engine import MIB, Database, Engine, Item, Terms
from journalkit.bench.engines import messagepack

_BUFFER_BYTES: Final = 64 * MIB


def _settings(terms: Terms) -> str:
    return (
        f"sync={terms.durability == 'power cut'}, write buffer 64 MiB, cache {terms.cache_bytes / MIB:.3g} MiB, bloom "
        f"filter of 10 bits{', MessagePack' if terms.objects else ''}"
    )


class _LevelDb(Database):
    def __init__(self, path: str, terms: Terms) -> None:
        import plyvel

        self._db: Any = plyvel.DB(
            path,
            create_if_missing=True,
            write_buffer_size=max(_BUFFER_BYTES, terms.log_bytes),
            lru_cache_size=terms.cache_bytes,
            bloom_filter_bits=10,
        )
        self._sync = terms.durability == "power cut"
        self._objects = terms.objects
        put, get = partial(self._db.put, sync=True) if self._sync else self._db.put, self._db.get
        self.put, self.get = put, get
        if terms.objects:
            self._dump, self._load = dump, load = messagepack.functions()
            self.put = lambda key, value: put(key, dump(value))
            self.get = lambda key: None if (found := get(key)) is None else load(found)

    def write(self, items: Sequence[Item]) -> None:
        with self._db.write_batch(transaction=True, sync=self._sync) as batch:
            put = batch.put
            if self._objects:
                dump = self._dump
                for key, value in items:
                    put(key, dump(value))
            else:
                for key, value in items:
                    put(key, value)

    def scan(self, start: bytes, count: int) -> Sequence[Item]:
        with self._db.iterator(start=start) as entries:
            items: list[Item] = list(islice(entries, count))
        return [(key, self._load(value)) for key, value in items] if self._objects else items

    def settle(self) -> None:
        self._db.compact_range()

    def close(self) -> None:
        self._db.close()


ENGINE: Final = Engine("LevelDB", ("plyvel",), "plyvel", _LevelDb, _settings)
