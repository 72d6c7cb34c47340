"""What is in the golden directories of format 1, and what opening them has to say.

The directories in `format-1/` were written once, by `make.py` of the version
that released the format, and never change. Nor does what is expected here:
old data stays readable.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

FOLDER = "format-1"

VALUES: dict[Any, Any] = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "minus one": -1,
    "64 bits": 2**64 - 1,
    "big": 2**100,
    "small": -(2**100),
    "half": 0.5,
    "minus zero": -0.0,
    "third": 1 / 3,
    "infinite": float("inf"),
    "not a number": float("nan"),
    "empty text": "",
    "text": "Grüße, 世界 \N{PILE OF POO}",
    "empty bytes": b"",
    "bytes": bytes(range(256)),
    "empty list": [],
    "list": [1, "two", [3.0, None]],
    "empty tuple": (),
    "tuple": (1, (2, ()), [3]),
    "empty dict": {},
    "dict": {"a": 1, 2: "b", (3, "c"): b"d", None: {"deep": {"er": True}}},
    "set": {3},
    "frozenset": frozenset({(1, 2)}),
    "moment": datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC),
    "moment elsewhere": datetime(1969, 7, 20, 20, 17, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
    "day": date(2024, 2, 29),
    "decimal": Decimal("1.10"),
    "decimal infinity": Decimal("-Infinity"),
    "fraction": Fraction(-22, 7),
    "uuid": uuid.UUID("12345678-9abc-def0-1234-56789abcdef0"),
}

KEYS: list[Any] = [
    -(2**70), -256, -1, 0, 1, 255, 256, 2**70,
    b"", b"\x00", b"\x00\xff", b"bytes", b"\xff\xff",
    "", "\x00", "a", "a\x00b", "ab", "b", "Ü",
    (), (0,), (0, "x"), ("a",), ("a", b"b", 3), ("b",), (("nested", ()), "x"),
]  # fmt: skip
"""Keys of every type, in the order of their bytes."""


@dataclass(frozen=True)
class Golden:
    """What opening a golden directory gives.

    `outcome` is the recovery report's, for writing; None if both ways of
    opening are refused, with an error of the class `error` that names the file
    `blames`. `verify` is the exit code of `journalkit verify`, and `kind` what it
    calls the damage. A journal's `entries` are its records by LSN.
    """

    name: str
    entries: dict[Any, Any] = field(default_factory=dict)
    offsets: dict[str, Any] = field(default_factory=dict)
    lsn: int = 0
    outcome: str | None = "replayed"
    error: str = ""
    blames: str = ""
    verify: int = 0
    kind: str = ""
    codec: str = "cbor"
    metadata: dict[str, Any] = field(default_factory=dict)
    snapshot_lsn: int = 0
    pruned_lsn: int = 0
    epoch: int = 1
    fell_back: bool = False
    is_journal: bool = False


def refused(name: str, blames: str, kind: str, error: str = "CorruptionError", *, is_journal: bool = False) -> Golden:
    """Return a directory that can't be opened."""
    return Golden(name, outcome=None, error=error, blames=blames, verify=2, kind=kind, is_journal=is_journal)


FOLDED: dict[Any, Any] = {"k0": b"x", "k1": "one", "k3": 3, "k9": [1], "n": (1, 2)}
FOLDED_OFFSETS = {"in": 7}
EVENTS: dict[int, Any] = {lsn: {"kind": "signup", "user": lsn} for lsn in range(1, 13)}
FIRST_LOG, SECOND_LOG, THIRD_LOG = (f"log-{number:016}.jks" for number in (1, 2, 3))
OLDER_TABLE, NEWER_TABLE, DELTA = (f"table-{(1 << 20) + number:016}.jkt" for number in (0, 1, 2))


LAYERED: dict[Any, Any] = {
    **{f"k{number:02}": number for number in range(20) if number not in (2, 4)},
    "k01": "changed",
    "k03": "changed",
    "k19": "tail",
}


def layered(name: str, **different: Any) -> Golden:
    """Return a directory with the state of the store that has deltas."""
    return Golden(name, **({"entries": LAYERED, "lsn": 6, "snapshot_lsn": 5, "pruned_lsn": 3} | different))


def folded(name: str, **different: Any) -> Golden:
    """Return a directory with the state of the store that was folded twice."""
    usual = {
        "entries": FOLDED,
        "offsets": FOLDED_OFFSETS,
        "lsn": 9,
        "snapshot_lsn": 7,
        "metadata": {"made": "once"},
        "pruned_lsn": 4,
    }
    return Golden(name, **(usual | different))


GOLDEN = (
    Golden("store-empty", outcome="clean"),
    Golden("store-all-values", VALUES, lsn=len(VALUES)),
    Golden("store-all-keys", {key: index for index, key in enumerate(KEYS)}, lsn=1),
    Golden("store-raw-codec", {"a": b"not CBOR: \xff", "b": b""}, lsn=2, codec="raw"),
    Golden("store-msgpack-codec", VALUES, lsn=len(VALUES), codec="msgpack"),
    folded("store-two-snapshots"),
    folded("store-two-snapshots-killed"),
    Golden("store-torn-tail", {"a": 1, "b": 2}, lsn=2, outcome="cut", verify=1),
    Golden("store-hole-in-its-tail", {"a": 1, "b": 2}, lsn=2, outcome="cut", verify=1),
    Golden("store-recovered-twice", {"a": 1, "b": 2, "d": 4, "e": 5}, lsn=4, epoch=3),
    Golden("journal-empty", outcome="clean", is_journal=True),
    Golden("journal-closed", {1: "first", 2: None, 3: [b"third"]}, lsn=3, is_journal=True),
    Golden("journal-many-segments", EVENTS, lsn=12, is_journal=True),
    Golden("journal-pruned", {lsn: EVENTS[lsn] for lsn in range(9, 13)}, lsn=12, pruned_lsn=8, is_journal=True),
    Golden("journal-torn-tail", {1: "first", 2: None}, lsn=2, outcome="cut", verify=1, is_journal=True),
    folded("damaged-newest-table", snapshot_lsn=4, fell_back=True, verify=2, kind="flipped-bit"),
    refused("damaged-both-tables", NEWER_TABLE, "flipped-bit"),
    refused("damaged-promised-record", THIRD_LOG, "flipped-bit"),
    refused("damaged-seal", THIRD_LOG, "flipped-bit"),
    folded("damaged-durable-slot"),
    refused("damaged-manifest", "MANIFEST", "damaged-manifest"),
    refused("damaged-segment-header", THIRD_LOG, "flipped-bit"),
    refused("missing-manifest", "MANIFEST", "missing-manifest"),
    refused("missing-segment", THIRD_LOG, "missing-file"),
    refused("swapped-segments", SECOND_LOG, "swapped-files", is_journal=True),
    refused("truncated-segment", THIRD_LOG, "truncated-file"),
    refused("foreign-segment", THIRD_LOG, "foreign-file"),
    refused("older-manifest", "MANIFEST", "rolled-back-file"),
    refused("newer-format", "MANIFEST", "", "UnsupportedFormatError"),
    folded("missing-table", snapshot_lsn=4, fell_back=True, verify=2, kind="missing-file"),
    folded("truncated-table", snapshot_lsn=4, fell_back=True, verify=2, kind="truncated-file"),
    refused("swapped-tables", NEWER_TABLE, "swapped-files"),
    refused("zeroed-sectors", FIRST_LOG, "zeroed-page", is_journal=True),
    refused("misdirected-sector", FIRST_LOG, "misdirected-block", is_journal=True),
    refused("duplicated-segment", FIRST_LOG, "duplicated-file", is_journal=True),
    refused("rolled-back-segment", FIRST_LOG, "rolled-back-file", is_journal=True),
    refused("foreign-manifest", NEWER_TABLE, "foreign-file"),
    layered("store-deltas"),
    layered("damaged-delta", snapshot_lsn=3, fell_back=True, verify=2, kind="flipped-bit"),
    refused("damaged-base", OLDER_TABLE, "flipped-bit"),
)
