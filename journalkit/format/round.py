"""What the workers of a run write to each other: that there is a run, what a rank says in a round, how that ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from journalkit.format.checkpoint import MANIFEST_BYTES_MAX, PART_MAX
from journalkit.format.envelope import Bounds, Envelope, names_of, plain_of
from journalkit.format.head import NONCE_BYTES, NUMBER_MAX
from journalkit.format.malformed import MalformedError

RUN_MAGIC: Final = b"JKRUN\r\n\x1a"
ROUND_MAGIC: Final = b"JKRND\r\n\x1a"
VERSION: Final = 1
REPORT_BYTES_MAX: Final = MANIFEST_BYTES_MAX + (1 << 20)

_RUN: Final = Envelope("run", RUN_MAGIC, VERSION, "a run of workers")
_ROUND: Final = Envelope("round", ROUND_MAGIC, VERSION, "a run of workers")
_BOUNDS: Final = Bounds({"rank": PART_MAX, "size": PART_MAX + 1}, NUMBER_MAX, {"job": NONCE_BYTES})


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run: the workers of one epoch. `size` is how many there are."""

    job: bytes
    epoch: int
    size: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a rank says in a round of a run; in a verdict, what rank 0 says to all."""

    epoch: int
    number: int
    rank: int
    said: Mapping[str, Any]


def encode_run(run: RunEntry) -> bytes:
    """Return the bytes of the notice that there is a run."""
    _BOUNDS.check(run)
    return _RUN.seal_plain(plain_of(run))


def decode_run(data: bytes) -> RunEntry:
    """Return what it says. Raises MalformedError, NewerFormatError."""
    found: RunEntry = _RUN.open_plain(data, lambda plain: _read(RunEntry, plain))
    return found


def encode_report(report: Report) -> bytes:
    """Return the bytes of what a rank says. Raises UsageError: It can't be stored."""
    _BOUNDS.check(report)
    return _ROUND.seal_plain({**plain_of(report), "said": dict(report.said)})


def decode_report(data: bytes) -> Report:
    """Return what a rank says. Raises MalformedError, NewerFormatError."""
    found: Report = _ROUND.open_plain(data, lambda plain: _read(Report, plain))
    if type(found.said) is not dict:
        raise MalformedError("a rank says nothing by name")
    return found


def _read(kind: Any, plain: object) -> Any:
    if type(plain) is not dict or set(plain) != set(names_of(kind)):
        raise MalformedError("its fields aren't there, or others are")
    made = kind(**plain)
    _BOUNDS.check(made)
    return made
