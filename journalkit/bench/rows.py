"""The rows of the bench: what is measured, against what, with which goal.

Each row sets up both contenders, lets them do the same work in turn, checks
that what was written can be read, and gives a `Row`.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import journalkit
from journalkit.bench import device, rocksdb
from journalkit.bench.rounds import Duel, duel, timed

VALUE: Final = bytes(range(100))
BATCH: Final = 10_000
SEED: Final = 20_261_122


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result. `ratio` is other / ours in time: above 1 journalkit is faster."""

    name: str
    against: str
    durability: str
    goal: float
    duel: Duel | None
    missing: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None if nothing was measured."""
        return None if self.duel is None else self.duel.ratio >= self.goal


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything."""

    rounds: int
    durable_puts: int
    puts: int
    keys: int
    few_keys: int
    gets: int
    replayed: int
    opened_keys: int


FULL: Final = Scale(
    rounds=21,
    durable_puts=200,
    puts=20_000,
    keys=1_000_000,
    few_keys=50_000,
    gets=50_000,
    replayed=1_000_000,
    opened_keys=1_000_000,
)
QUICK: Final = Scale(
    rounds=5,
    durable_puts=50,
    puts=5_000,
    keys=50_000,
    few_keys=5_000,
    gets=5_000,
    replayed=50_000,
    opened_keys=50_000,
)


def key(number: int) -> bytes:
    """Return the key of a number, as every contender gets it."""
    return b"key:%010d" % number


@contextmanager
def two_places(directory: str) -> Iterator[tuple[str, str]]:
    """Yield two new paths on the file system that is measured."""
    with tempfile.TemporaryDirectory(prefix="journalkit-bench-", dir=directory) as place:
        yield os.path.join(place, "ours"), os.path.join(place, "other")


def durable_put(directory: str, scale: Scale) -> Row:
    """One durable put at a time, against pwrite + fdatasync of as many bytes into prepared space."""
    with two_places(directory) as (ours, other), journalkit.open(ours, compaction="manual") as store:
        numbers = iter(range(10**9))
        store.put(key(next(numbers)), VALUE)
        frame_bytes = 40 + 6 + len(key(0)) + 1 + len(VALUE) + 2
        with device.PreparedFile(other) as file:
            data = os.urandom(frame_bytes)

            def bare() -> None:
                for _ in range(scale.durable_puts):
                    file.append(data)

            result = duel(
                lambda: _timed_fill(store, numbers, scale.durable_puts),
                lambda: timed(bare, scale.durable_puts),
                2 * scale.rounds,
            )
        _must(store[key(0)] == VALUE and store.durable_lsn == store.lsn)
    return Row("durable put, one thread", "bare pwrite + fdatasync", "power cut", 1 / 1.3, result)


def put(directory: str, scale: Scale) -> Row:
    """Puts that survive a process crash, values as bytes, against RocksDB with its log unsynced."""
    name, against, durability = "put, sync='never', bytes", "RocksDB (rocksdict)", "process crash"
    try:
        rocksdb.load()
    except rocksdb.MissingError as missing:
        return Row(name, against, durability, 1.0, None, str(missing))
    with two_places(directory) as (ours, other), journalkit.open(ours, sync="never", compaction="manual") as store:
        database = rocksdb.open_database(other)
        ours_numbers, other_numbers = iter(range(10**9)), iter(range(10**9))
        result = duel(
            lambda: _timed_fill(store, ours_numbers, scale.puts),
            lambda: _timed_fill(database, other_numbers, scale.puts),
            scale.rounds,
        )
        _must(store[key(0)] == VALUE == database[key(0)])
        database.close()
    return Row(name, against, durability, 1.0, result)


def get_from_memory(directory: str, scale: Scale) -> Row:
    """Random gets from a state that was just written and not folded yet."""
    return _get(directory, scale, scale.keys, folded=False)


def get_from_tables(directory: str, scale: Scale) -> Row:
    """Random gets, again and again of the same part of a state that a fold put into tables."""
    return _get(directory, scale, scale.keys, folded=True)


def get_from_few(directory: str, scale: Scale) -> Row:
    """Random gets from a state so small that both contenders have it in the processor's caches."""
    return _get(directory, scale, scale.few_keys, folded=True)


def _get(directory: str, scale: Scale, count: int, *, folded: bool) -> Row:
    name = f"get, hot, {count:,} keys, {'from tables' if folded else 'just written'}"
    against = "RocksDB (rocksdict)"
    try:
        rocksdb.load()
    except rocksdb.MissingError as missing:
        return Row(name, against, "-", 2.0, None, str(missing))
    with two_places(directory) as (ours, other), journalkit.open(ours, sync="never", compaction="manual") as store:
        database = rocksdb.open_database(other)
        for start in range(0, count, BATCH):
            store.update((key(number), VALUE) for number in range(start, min(start + BATCH, count)))
        _timed_fill(database, iter(range(count)), count)
        if folded:
            store.compact()
            database.flush()
            database.compact_range(None, None)
        keys = [key(number) for number in random.Random(SEED).sample(range(count), min(scale.gets, count))]
        result = duel(
            lambda: timed(lambda: _read(store, keys), len(keys)),
            lambda: timed(lambda: _read(database, keys), len(keys)),
            scale.rounds,
        )
        _must(all(store[name] == VALUE == database[name] for name in keys[:100]))
        database.close()
    return Row(name, against, "-", 2.0, result)


def replay(directory: str, scale: Scale) -> Row:
    """Opening a store whose log holds many small records, against 500,000 records a second."""
    with two_places(directory) as (ours, _):
        with journalkit.open(ours, sync="never", compaction="manual") as store:
            _timed_fill(store, iter(range(scale.replayed)), scale.replayed)
        pace_s = 1 / 500_000

        def reopen() -> float:
            with journalkit.open(ours, compaction="manual", max_recovery=10**6) as store:
                report = store.recovery_report
                _must(report.records_replayed == scale.replayed)
                return report.seconds / report.records_replayed

        result = duel(reopen, lambda: pace_s, max(3, scale.rounds // 4))
    return Row("recovery, records replayed", "500,000 records a second", "-", 1.0, result)


def open_clean(directory: str, scale: Scale) -> Row:
    """Opening a large store for writing after a clean close, against the bare syncs that it must do."""
    with two_places(directory) as (ours, other):
        os.mkdir(other)
        with journalkit.open(ours, sync="never", compaction="manual") as store:
            for start in range(0, scale.opened_keys, BATCH):
                store.update((key(number), VALUE) for number in range(start, start + BATCH))
            store.compact()
        manifest_bytes = os.path.getsize(os.path.join(ours, "MANIFEST"))

        def reopen() -> float:
            opened: list[journalkit.Store] = []
            seconds = timed(lambda: opened.append(journalkit.open(ours, compaction="manual")), 1)
            _must(opened[0][key(scale.opened_keys - 1)] == VALUE)
            opened[0].close()
            return seconds

        def bare() -> float:
            return timed(lambda: device.open_and_nothing_else(other, b"m" * manifest_bytes), 1)

        result = duel(reopen, bare, 2 * scale.rounds)
    return Row("open for writing, clean", "the bare fsyncs it must do", "power cut", 1 / 8, result)


ROWS: Final[dict[str, Callable[[str, Scale], Row]]] = {
    "durable-put": durable_put,
    "put": put,
    "get-memory": get_from_memory,
    "get-tables": get_from_tables,
    "get-few": get_from_few,
    "replay": replay,
    "open": open_clean,
}


def _timed_fill(target: Any, numbers: Iterator[int], count: int) -> float:
    """Put under the next `count` keys, which are made beforehand; return the seconds per put."""
    keys = [key(next(numbers)) for _ in range(count)]

    def fill() -> None:
        for name in keys:
            target[name] = VALUE

    return timed(fill, count)


def _read(source: Any, keys: list[bytes]) -> None:
    for name in keys:
        source[name]


def _must(held: bool) -> None:
    """Stop the bench if a contender didn't do its work: a wrong answer is not a fast one."""
    if not held:
        raise journalkit.errors.JournalError("a contender did not read back what it wrote; the figures mean nothing")
