"""RocksDB through `rocksdict`, as a peer: raw bytes, its defaults, the log not synced per write."""

from __future__ import annotations

from typing import Any, Final

SETTINGS: Final = "raw bytes mode, default options, WAL on and not synced per write"


class MissingError(Exception):
    """The peer isn't installed; the message says how to get it."""


def load() -> Any:
    """Return the peer's module. Raises MissingError if it can't be imported."""
    try:
        import rocksdict
    except ImportError as error:
        raise MissingError("rocksdict is not installed: pip install 'journalkit[bench]'") from error
    return rocksdict


def open_database(path: str) -> Any:
    """Create a database; its `db[key]` takes and gives bytes."""
    rocksdict = load()
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    return rocksdict.Rdict(path, options)
