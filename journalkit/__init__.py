"""journalkit: the durable state of a Python program.

`open` gives a `Store`, a durable ordered mapping; `open_async` the same for
asyncio; `open_journal` a `Journal`, the log alone; `open_checkpoints` the
`Checkpoints` of a job, `open_worker` those of a job of several workers. What
can go wrong is in `journalkit.errors`.

This module names what is public. Its one piece of logic is that the
asynchronous face and the checkpoints are loaded when they are first named:
asyncio takes longer to import than all the rest, and most programs have
neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from journalkit import errors
from journalkit._version import __version__
from journalkit.journal import Journal, JournalRecord, open_journal
from journalkit.recovery.report import RecoveryReport
from journalkit.store.batch import Batch
from journalkit.store.open import open_store as open  # noqa: A004 - `journalkit.open` is the contract's name
from journalkit.store.store import Store
from journalkit.store.transaction import Transaction
from journalkit.store.view import View
from journalkit.types import ABSENT, Key, Lsn, Sync, Value

if TYPE_CHECKING:
    from journalkit.checkpoint.checkpoint import Checkpoint
    from journalkit.checkpoint.checkpoints import Checkpoints
    from journalkit.checkpoint.joining import open_worker
    from journalkit.checkpoint.keyed import Keyed, Shard, key_group, key_groups_of
    from journalkit.checkpoint.open import open_checkpoints
    from journalkit.checkpoint.pacing import Every, Overhead, YoungDaly
    from journalkit.checkpoint.retention import Best, Keep
    from journalkit.checkpoint.sink_files import FilesSink
    from journalkit.checkpoint.sink_sql import SqlSink
    from journalkit.checkpoint.sinks import Sink
    from journalkit.checkpoint.worker import Worker
    from journalkit.store.aio.open import open_async
    from journalkit.store.aio.store import AsyncStore
    from journalkit.store.aio.transaction import AsyncTransaction
    from journalkit.store.aio.view import AsyncView

__all__ = [
    "ABSENT",
    "AsyncStore",
    "AsyncTransaction",
    "AsyncView",
    "Batch",
    "Best",
    "Checkpoint",
    "Checkpoints",
    "Every",
    "FilesSink",
    "Journal",
    "JournalRecord",
    "Keep",
    "Key",
    "Keyed",
    "Lsn",
    "Overhead",
    "RecoveryReport",
    "Shard",
    "Sink",
    "SqlSink",
    "Store",
    "Sync",
    "Transaction",
    "Value",
    "View",
    "Worker",
    "YoungDaly",
    "__version__",
    "errors",
    "key_group",
    "key_groups_of",
    "open",
    "open_async",
    "open_checkpoints",
    "open_journal",
    "open_worker",
]

_ON_DEMAND = {
    "Best": "journalkit.checkpoint.retention",
    "Checkpoint": "journalkit.checkpoint.checkpoint",
    "Checkpoints": "journalkit.checkpoint.checkpoints",
    "Every": "journalkit.checkpoint.pacing",
    "FilesSink": "journalkit.checkpoint.sink_files",
    "Keep": "journalkit.checkpoint.retention",
    "Keyed": "journalkit.checkpoint.keyed",
    "Overhead": "journalkit.checkpoint.pacing",
    "Shard": "journalkit.checkpoint.keyed",
    "Sink": "journalkit.checkpoint.sinks",
    "SqlSink": "journalkit.checkpoint.sink_sql",
    "Worker": "journalkit.checkpoint.worker",
    "YoungDaly": "journalkit.checkpoint.pacing",
    "key_group": "journalkit.checkpoint.keyed",
    "key_groups_of": "journalkit.checkpoint.keyed",
    "open_checkpoints": "journalkit.checkpoint.open",
    "open_worker": "journalkit.checkpoint.joining",
    "AsyncStore": "journalkit.store.aio.store",
    "AsyncTransaction": "journalkit.store.aio.transaction",
    "AsyncView": "journalkit.store.aio.view",
    "open_async": "journalkit.store.aio.open",
}

if not TYPE_CHECKING:  # a checker would take this to mean that any name is there

    def __getattr__(name: str) -> object:
        """Load one of the names that are loaded on demand."""
        module = _ON_DEMAND.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(module), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
