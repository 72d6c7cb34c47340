"""The public names: what the contract promises is there, documented and cheap to import.

Adding a name here is a promise for years; taking one out needs a decision
record and a deprecation first.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator, MutableMapping

import pytest

import journalkit
from journalkit import errors

PUBLIC = [
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
    "Keyed",
    "Key",
    "Lsn",
    "Overhead",
    "RecoveryReport",
    "Sink",
    "SqlSink",
    "Store",
    "Sync",
    "Transaction",
    "Value",
    "View",
    "YoungDaly",
    "__version__",
    "errors",
    "open",
    "open_async",
    "open_checkpoints",
    "open_worker",
    "key_group",
    "key_groups_of",
    "Shard",
    "Worker",
    "open_journal",
]

STORE = (
    "put delete write update transaction transact edit modify scan keys values items get pop popitem setdefault clear "
    "view sync compact statistics check close "
    "lsn durable_lsn snapshot_lsn pruned_lsn epoch uuid path offsets recovery_report"
)

# What Python can't await has a verb of its own: `count` for len, `contains` for in.
ASYNC_STORE = (
    "put delete write update transaction transact edit modify scan keys values items get get_many contains count pop "
    "popitem setdefault clear view sync compact statistics check close offsets "
    "lsn durable_lsn snapshot_lsn pruned_lsn epoch uuid path recovery_report"
)

RECOVERY_REPORT = "outcome snapshot_lsn fell_back last_lsn records_replayed bytes_cut quarantine seconds"

# An error class is what the caller does next, and also Python's own class for the same thing.
ERRORS: dict[str, tuple[type[BaseException], ...]] = {
    "JournalError": (Exception,),
    "UsageError": (errors.JournalError,),
    "ClosedError": (errors.UsageError,),
    "ReadOnlyError": (errors.UsageError,),
    "RecordTooLargeError": (errors.UsageError, ValueError),
    "ForkedError": (errors.UsageError,),
    "LockedError": (errors.JournalError,),
    "ConflictError": (errors.JournalError,),
    "FencedError": (errors.JournalError,),
    "StoreFullError": (errors.JournalError, OSError),
    "StorageError": (errors.JournalError, OSError),
    "CorruptionError": (errors.JournalError,),
    "SchemaError": (errors.JournalError,),
    "UnsupportedFormatError": (errors.JournalError,),
    "StoreNotFoundError": (errors.JournalError, FileNotFoundError),
    "HistoryGoneError": (errors.JournalError,),
    "CheckpointNotFoundError": (errors.JournalError,),
    "CheckpointAbortedError": (errors.JournalError,),
    "ArchiveUnavailableError": (errors.JournalError,),
    "UnknownOutcomeError": (errors.ArchiveUnavailableError,),
    "DamagedCheckpointWarning": (UserWarning,),
}


def documented(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield a public object and, of a class, its public members that it defines itself."""
    yield name, value
    if inspect.isclass(value):
        for member, inner in vars(value).items():
            if not member.startswith("_") and (inspect.isroutine(inner) or isinstance(inner, property)):
                yield f"{name}.{member}", inner


def test_the_public_names_are_the_contracts() -> None:
    """A name that appears by accident is used by somebody the week after."""
    assert sorted(journalkit.__all__) == sorted(PUBLIC)


def test_all_is_sorted() -> None:
    """A sorted list shows a second entry, and merges without a quarrel."""
    assert list(journalkit.__all__) == sorted(journalkit.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_there(name: str) -> None:
    """`__all__` may name what isn't."""
    assert hasattr(journalkit, name)


def test_every_public_object_has_a_docstring() -> None:
    """help() is the manual that is always at hand."""
    classes = (type, type(inspect), type(documented))
    silent = [
        spelled
        for name in PUBLIC
        if isinstance(getattr(journalkit, name), classes)
        for spelled, value in documented(name, getattr(journalkit, name))
        if not inspect.getdoc(value)
    ]
    assert not silent


def test_a_store_has_the_contracts_members() -> None:
    """The verbs that programs are written with."""
    missing = [name for name in STORE.split() if not hasattr(journalkit.Store, name)]
    assert not missing
    assert issubclass(journalkit.Store, MutableMapping)


def test_an_asynchronous_store_has_the_stores_verbs() -> None:
    """The same program, awaited; and the same arguments to open it with."""
    missing = [name for name in ASYNC_STORE.split() if not hasattr(journalkit.AsyncStore, name)]
    assert not missing
    spelled = [inspect.signature(opener).parameters for opener in (journalkit.open, journalkit.open_async)]
    assert spelled[0] == spelled[1]


def test_a_name_that_isnt_there_is_an_attribute_error() -> None:
    """Some names are loaded on demand; a wrong one must fail as it does everywhere."""
    assert not hasattr(journalkit, "open_asynchronously")
    assert set(journalkit.__all__) <= set(dir(journalkit))


def test_a_recovery_report_has_the_contracts_fields() -> None:
    """Scripts read what a recovery did."""
    fields = set(getattr(journalkit.RecoveryReport, "__dataclass_fields__", {})) | set(vars(journalkit.RecoveryReport))
    assert set(RECOVERY_REPORT.split()) <= fields


@pytest.mark.parametrize(("name", "parents"), ERRORS.items())
def test_each_error_is_what_a_caller_may_catch(name: str, parents: tuple[type[BaseException], ...]) -> None:
    """`except OSError` written by someone who never read our errors has to work."""
    error = getattr(errors, name)
    assert all(issubclass(error, parent) for parent in parents)
    assert inspect.getdoc(error)


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        # Not argparse: crc32c imports it, with importlib.metadata, to read its own version.
        ("journalkit", "asyncio multiprocessing pickle rich watchdog"),
        ("journalkit.cli", "asyncio multiprocessing pickle rich.console watchdog"),
    ],
)
def test_importing_stays_light(module: str, absent: str) -> None:
    """A command that answers in 80 ms can't spend 100 on what it doesn't show."""
    program = f"import sys, {module}; print(*(set(sys.modules) & set({absent.split()!r})))"
    path = [entry for entry in sys.path if entry]
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}\n{program}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.split() == []
