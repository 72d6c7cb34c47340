"""File names: the only module that makes or reads them.

Numbers are zero-padded so that sorted names are sorted numbers. A name that
isn't ours is never touched.
"""

from __future__ import annotations

import re

MANIFEST = "MANIFEST"
LOCK = "LOCK"
DURABLE = "durable"
RESERVE = "reserve"
QUARANTINE = "quarantine"
TEMPORARY_SUFFIX = ".tmp"

# ASCII: a name in another script's digits isn't one that we wrote.
_SEGMENT = re.compile(r"log-(\d{16})\.jks", re.ASCII)
_TABLE = re.compile(r"table-(\d{16})\.jkt", re.ASCII)


def segment_name(number: int) -> str:
    """Return the file name of a log segment."""
    return f"log-{number:016d}.jks"


def segment_number(name: str) -> int | None:
    """Return the number in a segment's file name, None for any other name."""
    match = _SEGMENT.fullmatch(name)
    return int(match[1]) if match else None


def table_name(number: int) -> str:
    """Return the file name of a table."""
    return f"table-{number:016d}.jkt"


def table_number(name: str) -> int | None:
    """Return the number in a table's file name, None for any other name."""
    match = _TABLE.fullmatch(name)
    return int(match[1]) if match else None


def quarantine_name(segment: int, offset_bytes: int, epoch: int) -> str:
    """Return the name under which bytes cut from a segment are kept."""
    return f"log-{segment:016d}-at-{offset_bytes}-epoch-{epoch}.bin"


def temporary_name(name: str) -> str:
    """Return the name a file has until it is whole."""
    return name + TEMPORARY_SUFFIX


def is_temporary(name: str) -> bool:
    """Whether the name is one that only an unfinished write of ours leaves behind."""
    if not name.endswith(TEMPORARY_SUFFIX):
        return False
    base = name.removesuffix(TEMPORARY_SUFFIX)
    return base == MANIFEST or segment_number(base) is not None or table_number(base) is not None


HEADS = "heads/"
_HEAD = re.compile(r"heads/(\d{10})", re.ASCII)


def head_key(number: int) -> str:
    """Return the object key of a head of a job's checkpoints."""
    return f"{HEADS}{number:010d}"


def head_number(key: str) -> int | None:
    """Return the number in a head's key, None for any other key."""
    match = _HEAD.fullmatch(key)
    return int(match[1]) if match else None


def page_key(epoch: int, nonce: bytes) -> str:
    """Return the object key of a page of a job's catalogue: nobody else draws the nonce."""
    return f"pages/{epoch:010d}/{nonce.hex()}"


def checkpoint_key(epoch: int, save: int) -> str:
    """Return the object key of a checkpoint's manifest."""
    return f"manifests/{epoch:010d}/{save:010d}"
