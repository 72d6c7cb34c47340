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
RESTORING = "restore.tmp"

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
    return name == RESTORING or base == MANIFEST or segment_number(base) is not None or table_number(base) is not None


HEADS = "heads/"
_HEAD = re.compile(r"heads/(\d{10})", re.ASCII)


def head_key(number: int) -> str:
    """Return the object key of a head of a job's checkpoints."""
    return f"{HEADS}{number:010d}"


def head_number(key: str) -> int | None:
    """Return the number in a head's key, None for any other key."""
    match = _HEAD.fullmatch(key)
    return int(match[1]) if match else None


PAGES = "pages/"
MANIFESTS = "manifests/"
PACKS = "packs/"
# Flat below the epoch: a directory for each save would have to be made durably, and would stay when the save is gone.
_SAVED = re.compile(r"(?:manifests/(\d{10})/(\d{10})|packs/(\d{10})/(\d{10})-\d{6})", re.ASCII)
_PAGE = re.compile(r"pages/(\d{10})/[0-9a-f]{32}", re.ASCII)


def page_key(epoch: int, nonce: bytes) -> str:
    """Return the object key of a page of a job's catalogue: nobody else draws the nonce."""
    return f"{PAGES}{epoch:010d}/{nonce.hex()}"


def checkpoint_key(epoch: int, save: int) -> str:
    """Return the object key of a checkpoint's manifest."""
    return f"{MANIFESTS}{epoch:010d}/{save:010d}"


def pack_key(epoch: int, save: int, part: int) -> str:
    """Return the object key of a pack: the chunks that one part of a save wrote."""
    return f"{PACKS}{epoch:010d}/{save:010d}-{part:06d}"


def saved_place(key: str) -> tuple[int, int] | None:
    """Return the epoch and save that wrote a manifest or a pack, None for any other key."""
    match = _SAVED.fullmatch(key)
    return (int(match[1] or match[3]), int(match[2] or match[4])) if match else None


def page_epoch(key: str) -> int | None:
    """Return the epoch that wrote a page, None for any other key."""
    match = _PAGE.fullmatch(key)
    return int(match[1]) if match else None


RUNS = "runs/"
ROUNDS = "rounds/"
_RUN = re.compile(r"runs/[0-9a-f]{32}-(\d{10})", re.ASCII)
LOOK = "look-"
"""What the keys of rounds that aren't saves' begin with, behind the epoch."""
_ROUND = re.compile(r"rounds/(\d{10})/(?:joined-\d{6}|(?:look-)?\d{10}-(?:\d{6}|verdict))", re.ASCII)


def run_prefix(token_digest: bytes) -> str:
    """Return what the keys of a run of several workers begin with."""
    return f"{RUNS}{token_digest.hex()}-"


def run_key(token_digest: bytes, epoch: int) -> str:
    """Return the object key by which the workers of a run find it."""
    return f"{run_prefix(token_digest)}{epoch:010d}"


def joined_key(epoch: int, rank: int) -> str:
    """Return the object key by which one process becomes a rank of a run."""
    return f"{ROUNDS}{epoch:010d}/joined-{rank:06d}"


def round_prefix(epoch: int, number: int, series: str = "") -> str:
    """Return what the keys of a round begin with. There are two series of rounds: `LOOK` is the other one."""
    return f"{ROUNDS}{epoch:010d}/{series}{number:010d}-"


def report_key(epoch: int, number: int, rank: int, series: str = "") -> str:
    """Return the object key of what a rank says in a round."""
    return f"{round_prefix(epoch, number, series)}{rank:06d}"


def verdict_key(epoch: int, number: int, series: str = "") -> str:
    """Return the object key of how a round ends."""
    return f"{round_prefix(epoch, number, series)}verdict"


def run_epoch(key: str) -> int | None:
    """Return the epoch of what belongs to a run of several workers, None for any other key."""
    match = _RUN.fullmatch(key) or _ROUND.fullmatch(key)
    return int(match[1]) if match else None


LEASES = "lease/"
_LEASE = re.compile(r"lease/(\d{10})", re.ASCII)


def lease_key(number: int) -> str:
    """Return the object key of a notice about a job's lease."""
    return f"{LEASES}{number:010d}"


def lease_number(key: str) -> int | None:
    """Return the number in a notice's key, None for any other key."""
    match = _LEASE.fullmatch(key)
    return int(match[1]) if match else None
