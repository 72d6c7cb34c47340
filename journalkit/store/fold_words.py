"""What a fold and the process that merges for it say to each other.

    to the child     a job, then what is new as batches, oldest first, then nothing: each behind its length, u32;
                     anything after that says that there is no time to lose
    to the parent    a line when it has begun, one when it is done or has failed

How is what `journalkit.runtime.talk` says. Both ends are one version of
journalkit, which is checked; nothing of this is ever on disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

from journalkit._version import __version__
from journalkit.errors import CorruptionError, JournalError, UnsupportedFormatError
from journalkit.format.batch import decode_into, encode_batch, encode_one
from journalkit.format.table import TableInfo
from journalkit.runtime.talk import line, measured, message, require_same_version
from journalkit.store.memtable import MemTable

_BATCH_ENTRIES: Final = 256
"""So few that encoding them takes no longer than a fold may hold the interpreter."""
_BATCH_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """What a child is to write: table `number`, of the entries that it is sent and of the tables.

    Attributes:
        directory: The store's directory.
        store: Its UUID.
        lsn: The state that the table is of.
        number: The table's number.
        salt: Its salt.
        tables: What it lies on and what it takes in, newest first.
        merged_count: How many of them it takes in.
        bytes_per_s: How fast it may write; None: as fast as it can.
        compress: Whether blocks are compressed.
        version: journalkit's.
    """

    directory: str
    store: bytes
    lsn: int
    number: int
    salt: int
    tables: tuple[TableInfo, ...]
    merged_count: int
    bytes_per_s: float | None
    compress: bool = False
    version: str = __version__


def told(job: Job, memtables: tuple[MemTable, ...]) -> Iterator[bytes]:
    """Yield what a child is sent, in parts that cost little each."""
    words = {**asdict(job), "store": job.store.hex()}
    yield measured(json.dumps(words).encode())
    for memtable in reversed(memtables):
        # In any order: the child sorts, where nobody waits for it.
        rest = iter(memtable.entries.items())
        while some := tuple(islice(rest, _BATCH_ENTRIES)):
            if sum(len(value) for _, value in some if value is not None) <= _BATCH_BYTES_MAX:
                yield measured(encode_batch(some))
            else:
                yield from (measured(encode_one(*entry)) for entry in some)
    yield measured(b"")


def heard(read: Callable[[int], bytes]) -> tuple[Job, dict[bytes, bytes | None]]:
    """Return the job and what is new, as a child reads them; `read` returns so many bytes.

    Raises UnsupportedFormatError if another version sent it.
    """
    words: dict[str, Any] = json.loads(message(read))
    require_same_version(words.get("version"))
    tables = tuple(TableInfo(**info) for info in words.pop("tables"))
    job = Job(**{**words, "store": bytes.fromhex(words["store"]), "tables": tables})
    entries: dict[bytes, bytes | None] = {}
    while batch := message(read):
        decode_into(batch, entries)
    return job, entries


def done(info: TableInfo) -> bytes:
    """Return the line that tells of a table that is written."""
    return line({"done": asdict(info)})


def failed(error: Exception) -> bytes:
    """Return the line that tells of an error, so that `outcome` can raise it again."""
    words: dict[str, Any] = {"kind": "other", "text": f"{type(error).__name__}: {error}"}
    if isinstance(error, CorruptionError):
        words = {"kind": "corruption", "reason": error.reason, "path": error.path, "offset_bytes": error.offset_bytes}
    elif isinstance(error, UnsupportedFormatError):
        words = {"kind": "unsupported", "text": str(error)}
    elif isinstance(error, OSError) and error.errno is not None and not isinstance(error, JournalError):
        words = {"kind": "os", "number": error.errno, "text": error.strerror, "path": error.filename}
    return line({"failed": words})


def outcome(words: dict[str, Any]) -> TableInfo:
    """Return the table that a child's last line tells of, or raise the error.

    Raises:
        CorruptionError, UnsupportedFormatError, OSError: As they came.
        ChildProcessError: Any other.
    """
    if "done" in words:
        return TableInfo(**words["done"])
    error = words["failed"]
    match error["kind"]:
        case "corruption":
            raise CorruptionError(error["reason"], path=error["path"], offset_bytes=error["offset_bytes"])
        case "unsupported":
            raise UnsupportedFormatError(error["text"])
        case "os":
            raise OSError(error["number"], error["text"], error["path"])
    raise ChildProcessError(error["text"])
