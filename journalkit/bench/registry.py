"""Which rows there are, what measures them, and how they are selected."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from journalkit.bench.arena import Bench
from journalkit.bench.result import Row
from journalkit.bench.work import checkpoints, folding, footprint, growth, opening, reads, together, writes, ycsb
from journalkit.errors import UsageError


@dataclass(frozen=True, slots=True)
class Measure:
    """Rows that are measured together, because they share what has to be set up."""

    rows: tuple[str, ...]
    run: Callable[[Bench, frozenset[str]], Iterator[Row]]


MEASURES: Final[tuple[Measure, ...]] = (
    Measure(("durable-put-device", "durable-put"), writes.durable_put),
    Measure(("durable-put-threads",), together.threads),
    Measure(("durable-put-async",), together.tasks),
    Measure(("put-bytes", "put-msgpack", "put-cbor"), writes.put),
    Measure(("batch-bytes", "batch-objects"), writes.batch),
    Measure(("get-tables", "get-memory", "get-few", "get-msgpack", "get-cbor"), reads.hot),
    Measure(("get-cold", "get-cold-device"), reads.cold),
    Measure(("get-many",), reads.many),
    Measure(("get-missing",), reads.missing),
    Measure(("scan-1000",), reads.scan),
    Measure(("scan-all",), reads.scan_all),
    Measure(ycsb.NAMES, ycsb.ycsb),
    Measure(
        ("open-write-small", "open-write-large", "open-write-growth",
         "open-read-small", "open-read-large", "open-read-growth"),
        opening.clean,
    ),
    Measure(("replay", "replay-batches"), opening.replay),
    Measure(("fold-delta", "fold-full"), folding.fold),
    Measure(tuple(folding.P99_ROWS), folding.append_while_folding),
    Measure(("commit-p99-threads",), together.tails),
    Measure(("memory", "memory-writing"), footprint.memory),
    Measure(("disk-between", "disk-during"), footprint.disk),
    Measure(growth.NAMES, growth.growth),
    Measure(checkpoints.NAMES, checkpoints.checkpoints),
)  # fmt: skip
NAMES: Final = tuple(name for measure in MEASURES for name in measure.rows)


def select(patterns: Sequence[str]) -> frozenset[str]:
    """Return the rows that the patterns name: a row, the beginning of some up to a hyphen, or a shell pattern.

    Raises:
        UsageError: One names none.
    """
    if not patterns:
        return frozenset(NAMES)
    chosen: set[str] = set()
    for pattern in patterns:
        named = {name for name in NAMES if name.startswith(f"{pattern}-") or fnmatch.fnmatchcase(name, pattern)}
        if not named:
            raise UsageError(f"there is no row {pattern!r}; there are {', '.join(NAMES)}")
        chosen |= {pattern} if pattern in NAMES else named
    return frozenset(chosen)


def measure(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """Yield the wanted rows as they are done."""
    for one in MEASURES:
        asked = wanted & frozenset(one.rows)
        if asked:
            yield from one.run(bench, asked)
