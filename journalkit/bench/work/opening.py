"""Opening: clean, for writing and for reading, and with a tail of the log to replay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Final

import journalkit
from journalkit.bench import data
from journalkit.bench.arena import Bench, must
from journalkit.bench.engine import MIB, Engine, MissingError, Terms
from journalkit.bench.engines import device, rocksdb
from journalkit.bench.engines.own import NAME, open_store
from journalkit.bench.result import Goal, Row
from journalkit.bench.rounds import Contender, Missing, contest, timed
from journalkit.bench.work.states import fill

_BARE: Final = "bare fsyncs and reads"
_PACE: Final = 1_000_000
_REPLAY: Final = "recover a tail of {:,} puts of 100 bytes, one a record, cold"
_REPLAY_BATCHES: Final = "recover {:,} puts in batches of 100, cold"
_MANY_S: Final = 10**6


def clean(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """Open large stores after a clean close, against the syncs and reads that doing so can't do without."""
    rounds = bench.scale.rounds
    with bench.place() as path:
        stores = [os.path.join(path, f"store-{size}") for size in bench.scale.open_sizes]
        for store, size in zip(stores, bench.scale.open_sizes, strict=True):
            fill(store, size)
        other = os.path.join(path, "bare")
        os.mkdir(other)
        for mode, goal in (("write", Goal(8, at_most=True)), ("read", Goal(20, at_most=True))):
            opens = [_opener(store, size, mode) for store, size in zip(stores, bench.scale.open_sizes, strict=True)]
            for store, size, opened in zip(stores, bench.scale.open_sizes, opens, strict=True):
                name = f"open-{mode}-{'small' if size == bench.scale.open_sizes[0] else 'large'}"
                if name in wanted:
                    bare = _bare_write(store, other) if mode == "write" else _bare_read(store)
                    result = contest(Contender(NAME, opened), [Contender(_BARE, bare)], 2 * rounds)
                    yield Row(name, f"open for {mode[:4].rstrip('e')}ing, {size:,} keys, clean", _BARE, goal, result,
                              durability="power cut" if mode == "write" else "")  # fmt: skip
            name = f"open-{mode}-growth"
            if name in wanted:
                small, large = (f"{size:,} keys" for size in bench.scale.open_sizes)
                result = contest(Contender(large, opens[1]), [Contender(small, opens[0])], 2 * rounds)
                yield Row(name, f"open for {mode[:4].rstrip('e')}ing, {large} against {small}", small,
                          Goal(1.2, at_most=True), result)  # fmt: skip


def replay(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """Open a store whose state is all in its log, the files dropped from the system's cache each time."""
    scale = bench.scale
    rounds = max(2, scale.rounds // 3)
    count = scale.replayed
    if "replay" in wanted:
        with bench.place() as path:
            ours = _replayer(path, "single", count, 1)
            bytes_read = Contender("bare sequential read", _reader(os.path.join(path, "single"), count), counts=False)
            others = [bytes_read]
            missing: tuple[Missing, ...] = ()
            try:
                others.append(_rocksdb_replayer(path, count, rocksdb.ENGINE))
            except MissingError as error:
                missing = (Missing(rocksdb.ENGINE.name, str(error)),)
            result = contest(Contender(NAME, ours, "the whole open"), others, rounds)
            yield Row("replay", _REPLAY.format(count), rocksdb.ENGINE.name, Goal(0.5), result,
                      (*missing, *result.dropped))  # fmt: skip
    if "replay-batches" in wanted:
        with bench.place() as path:
            ours = _replayer(path, "batches", count, 100)
            pace = Contender("the pace", lambda _: 1 / _PACE)
            result = contest(Contender(NAME, ours, "the whole open"), [pace], rounds)
            yield Row("replay-batches", _REPLAY_BATCHES.format(count), f"{_PACE:,} a second", Goal(1), result)


def _opener(path: str, count: int, mode: str) -> Callable[[int], float]:
    def run(_number: int) -> float:
        opened: list[journalkit.Store] = []
        seconds = timed(lambda: opened.append(journalkit.open(path, mode="rw" if mode == "write" else "r")), 1)
        with opened[0] as store:
            must(store[data.key(count - 1)] == data.value(count - 1), NAME)
        return seconds

    return run


def _bare_write(store: str, other: str) -> Callable[[int], float]:
    manifest = b"m" * os.path.getsize(os.path.join(store, "MANIFEST"))

    def work() -> None:
        device.open_and_nothing_else(other, manifest)
        _read_ends(store)

    return lambda _number: timed(work, 1)


def _bare_read(store: str) -> Callable[[int], float]:
    return lambda _number: timed(lambda: _read_ends(store), 1)


def _read_ends(store: str) -> None:
    """List the directory; read each file's first and last 4 KiB: manifest, headers, footers and indexes are there."""
    for name in os.listdir(store):
        path = os.path.join(store, name)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size_bytes = os.fstat(fd).st_size
            os.pread(fd, 4096, 0)
            os.pread(fd, 4096, max(0, size_bytes - 4096))
        finally:
            os.close(fd)


def _replayer(path: str, name: str, count: int, batch: int) -> Callable[[int], float]:
    """Write the log, and return what recovers it."""
    place = os.path.join(path, name)
    some = data.items(0, count)
    with journalkit.open(place, sync="never", compaction="manual") as store:
        if batch == 1:
            for key, value in some:
                store.put(key, value)
        else:
            for first in range(0, count, batch):
                store.update(some[first : first + batch])

    def run(_number: int) -> float:
        device.forget(place)
        opened: list[journalkit.Store] = []
        seconds = timed(lambda: opened.append(open_store(place, compaction="manual", max_recovery=_MANY_S)), count)
        with opened[0] as store:
            must(store.recovery_report.records_replayed == -(-count // batch), NAME)
            must(all(store[key] == value for key, value in some[:: max(1, count // 100)]), NAME)
        return seconds

    return run


def _reader(path: str, count: int) -> Callable[[int], float]:
    """Return what reads the files of a store from front to back, so many records."""

    def run(_number: int) -> float:
        device.forget(path)
        files = [os.path.join(path, name) for name in os.listdir(path)]
        return timed(lambda: [device.read_through(file) for file in files], count)

    return run


def _rocksdb_replayer(path: str, count: int, engine: Engine) -> Contender:
    """RocksDB with a buffer that holds it all; each round opens a copy, since opening writes the tail to a table.

    The first copy is taken while it is open: its close would write the table, and leave no log to replay.
    """
    engine.require()
    terms = Terms("process crash", log_bytes=max(64 * MIB, count * 1024))
    living, written, copy = (os.path.join(path, name) for name in ("living", "written", "copy"))
    os.mkdir(living)
    some = data.items(0, count)
    database = engine.open(living, terms)
    for key, value in some:
        database.put(key, value)
    shutil.copytree(living, written)
    database.close()
    logs = [name for name in os.listdir(written) if name.endswith(".log")]
    must(sum(os.path.getsize(os.path.join(written, name)) for name in logs) > count * 100, engine.name)

    def run(_number: int) -> float:
        shutil.copytree(written, copy)
        device.forget(copy)
        opened = []
        seconds = timed(lambda: opened.append(engine.open(copy, terms)), count)
        must(all(opened[0].get(key) == value for key, value in some[:: max(1, count // 100)]), engine.name)
        opened[0].close()
        shutil.rmtree(copy)
        return seconds

    return Contender(engine.name, run, engine.settings(terms))
