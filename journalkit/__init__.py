"""journalkit: the durable state of a Python program.

`open` gives a `Store`, a durable ordered mapping; `open_journal` a `Journal`,
the log alone. What can go wrong is in `journalkit.errors`.

This module names what is public and has no logic.
"""

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

__all__ = [
    "ABSENT",
    "Batch",
    "Journal",
    "JournalRecord",
    "Key",
    "Lsn",
    "RecoveryReport",
    "Store",
    "Sync",
    "Transaction",
    "Value",
    "View",
    "__version__",
    "errors",
    "open",
    "open_journal",
]
