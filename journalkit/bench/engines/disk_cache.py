"""diskcache: a mapping over SQLite and files, which pickles what isn't a plain value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from journalkit.bench.engine import MIB, Database, Engine, Item, MissingError, Put, Terms

_SYNCHRONOUS: Final = {"power cut": 2, "process crash": 1}
_SYNCHRONOUS_NAMES: Final = {"power cut": "FULL", "process crash": "NORMAL"}
_SIZE_BYTES_MAX: Final = 1 << 50


def _settings(terms: Terms) -> str:
    values = ", objects by its own pickle" if terms.objects else ""
    return (
        f"WAL, synchronous={_SYNCHRONOUS_NAMES[terms.durability]}, no eviction, cache {terms.cache_bytes / MIB:.3g} "
        f"MiB, {'no mmap' if terms.bounded else 'mmap 1 GiB'}{values}"
    )


class _DiskCache(Database):
    def __init__(self, path: str, terms: Terms) -> None:
        import diskcache

        self._cache: Any = diskcache.Cache(
            path,
            eviction_policy="none",
            cull_limit=0,
            size_limit=_SIZE_BYTES_MAX,
            sqlite_synchronous=_SYNCHRONOUS[terms.durability],
            sqlite_cache_size=terms.cache_bytes // 4096,
            sqlite_mmap_size=0 if terms.bounded else 1 << 30,
        )
        self.put, self.get = self._cache.set, self._cache.get

    def write(self, items: Sequence[Item]) -> None:
        put = self._cache.set
        with self._cache.transact():
            for key, value in items:
                put(key, value)

    def scan(self, start: bytes, count: int) -> Sequence[Item]:
        del start, count
        raise MissingError("it has no scan from a key on")

    def settle(self) -> None:
        """Nothing to do: SQLite has moved its log on by itself."""

    @contextmanager
    def worker(self) -> Iterator[Put]:
        try:
            yield self.put
        finally:
            self._cache.close()  # this thread's own connection

    def close(self) -> None:
        self._cache.close()


ENGINE: Final = Engine("diskcache", ("diskcache",), "diskcache", _DiskCache, _settings)
