"""RocksDB through `rocksdict`: bytes in its raw mode, objects in its own, which pickles them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from journalkit.bench.engine import MIB, Database, Engine, Item, Terms


def _settings(terms: Terms) -> str:
    values = "its own object mode (pickle)" if terms.objects else "raw mode"
    log = f", write buffer {terms.log_bytes / MIB:g} MiB" if terms.log_bytes else ""
    return (
        f"{values}, sync={terms.durability == 'power cut'}, cache {terms.cache_bytes / MIB:.3g} MiB, bloom filter of "
        f"10 bits, 2 background threads{log}"
    )


class _RocksDb(Database):
    def __init__(self, path: str, terms: Terms) -> None:
        import rocksdict

        self._rocksdict: Any = rocksdict
        self._raw = not terms.objects
        options = rocksdict.Options(raw_mode=self._raw)
        options.create_if_missing(True)
        options.increase_parallelism(2)
        if terms.log_bytes:
            options.set_write_buffer_size(terms.log_bytes)
        blocks = rocksdict.BlockBasedOptions()
        blocks.set_block_cache(rocksdict.Cache(terms.cache_bytes))
        blocks.set_bloom_filter(10, False)
        options.set_block_based_table_factory(blocks)
        self._db: Any = rocksdict.Rdict(path, options)
        writing = rocksdict.WriteOptions()
        writing.sync = terms.durability == "power cut"
        self._db.set_write_options(writing)
        self._writing = writing
        self.put, self.get = self._db.put, self._db.get

    def write(self, items: Sequence[Item]) -> None:
        batch = self._rocksdict.WriteBatch(raw_mode=self._raw)
        put = batch.put
        for key, value in items:
            put(key, value)
        self._db.write(batch, self._writing)

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, Any]:
        return dict(zip(keys, self._db.get(list(keys)), strict=True))

    def scan(self, start: bytes, count: int) -> Sequence[Item]:
        return list(islice(self._db.items(from_key=start), count))

    def settle(self) -> None:
        self._db.flush()
        self._db.compact_range(None, None)

    def close(self) -> None:
        self._db.close()


ENGINE: Final = Engine("RocksDB", ("rocksdict",), "rocksdict", _RocksDb, _settings)
