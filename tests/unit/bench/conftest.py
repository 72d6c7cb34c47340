"""A bench of tiny work, and engines made of a dict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from journalkit.bench.arena import Bench
from journalkit.bench.engine import Database, Engine, Item, Terms
from journalkit.bench.scale import TINY


class DictDatabase(Database):
    """A database that is a dict, found again by its path."""

    kept: ClassVar[dict[str, dict[bytes, Any]]] = {}

    def __init__(self, path: str, _terms: Terms) -> None:
        self.entries: dict[bytes, Any] = self.kept.setdefault(path, {})
        self.put = self.entries.__setitem__
        self.get = self.entries.get

    def write(self, items: Sequence[Item]) -> None:
        self.entries.update(items)

    def scan(self, start: bytes, count: int) -> Sequence[Item]:
        return [item for item in sorted(self.entries.items()) if item[0] >= start][:count]

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def dict_database() -> type[DictDatabase]:
    """The class, for a test that spoils a part of it."""
    return DictDatabase


@pytest.fixture
def engine() -> Callable[..., Engine]:
    """What makes an engine that needs nothing installed."""

    def make(name: str = "dict", kind: Callable[[str, Terms], Database] = DictDatabase, **more: Any) -> Engine:
        return Engine(name, (), name, kind, lambda _terms: f"settings of {name}", **more)

    return make


@pytest.fixture
def bench(tmp_path: Path, engine: Callable[..., Engine]) -> Callable[..., Bench]:
    """What makes a bench of tiny work against the given engines, by default one that is a dict."""

    def make(*peers: Engine) -> Bench:
        return Bench(str(tmp_path), TINY, peers or (engine(),))

    return make
