"""journalkit itself, through its public names, with default options unless a row says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import journalkit
from journalkit.bench.engine import Database, Engine, Get, Item, MissingError, Put, Terms

NAME: Final = "journalkit"
SYNC: Final[dict[str, journalkit.Sync]] = {"power cut": "always", "process crash": "never"}


class _OwnDatabase(Database):
    def __init__(self, path: str, terms: Terms, codec: str | None, **options: Any) -> None:
        store = open_store(os.path.join(path, "store"), sync=SYNC[terms.durability], codec=codec, **options)
        self._store = store
        self.put: Put = store.put
        self.get: Get = store.__getitem__

    def write(self, items: Sequence[Item]) -> None:
        self._store.update(items)

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, Any]:
        return cast("Mapping[bytes, Any]", self._store.get_many(keys))

    def count_missing(self, _get: Get, keys: Sequence[bytes]) -> int:
        contains = self._store.__contains__
        count = 0
        for key in keys:
            count += not contains(key)
        return count

    def scan(self, start: bytes, count: int) -> Sequence[Item]:
        return cast("list[Item]", list(self._store.scan(start, limit=count)))

    def settle(self) -> None:
        self._store.compact()

    def close(self) -> None:
        self._store.close()


def open_store(path: str, **options: Any) -> journalkit.Store:
    """Open a store. Raises MissingError if the codec that is asked for needs what isn't installed."""
    try:
        return journalkit.open(path, **options)
    except journalkit.errors.UsageError as error:
        if options.get("codec") is None:
            raise
        raise MissingError(str(error)) from error


def own(codec: str | None = None, **options: Any) -> Engine:
    """Return journalkit as an engine. `options` are `journalkit.open`'s, beside those that the terms name."""

    def settings(terms: Terms) -> str:
        chosen = {"sync": SYNC[terms.durability], **({"codec": codec} if codec else {}), **options}
        return ", ".join(f"{name}={value!r}" for name, value in chosen.items()) + ", else defaults"

    return Engine(NAME, (), NAME, lambda path, terms: _OwnDatabase(path, terms, codec, **options), settings)
