"""Reads: hot and cold gets, and scans."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from journalkit.bench import data
from journalkit.bench.arena import Arena, Bench, must, unmeasured
from journalkit.bench.engine import MIB, Database, Get, MissingError, Terms
from journalkit.bench.engines import device
from journalkit.bench.engines.own import own
from journalkit.bench.result import Goal, Row
from journalkit.bench.rounds import Contender, Contest, timed

_NOTE: Final = "ZODB is shown and doesn't count: it hands out the object that its cache holds"
_MAPPED_NOTE: Final = f"LMDB is shown and doesn't count: it has the system's whole cache. {_NOTE}"

_HOT: Final[dict[str, tuple[str, Goal, str | None, bool]]] = {
    "get-tables": ("get, hot, bytes, {:,} keys, from tables", Goal(1.2), None, False),
    "get-memory": ("get, hot, bytes, {:,} keys, just written", Goal(1.2), None, False),
    "get-few": ("get, hot, bytes, {:,} keys, from tables", Goal(1.2), None, False),
    "get-msgpack": ("get, hot, objects with MessagePack, {:,} keys, from tables", Goal(1.5), "msgpack", True),
    "get-cbor": ("get, hot, objects with CBOR, {:,} keys, from tables", Goal(0.9), None, True),
}
_SMALL: Final = frozenset({"get-few", "get-msgpack", "get-cbor"})
SCANNED: Final = 1_000
AT_ONCE: Final = 100


def hot(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """Random gets, again and again of the same keys. LMDB and SQLite read inside one open read transaction."""
    for name, (what, goal, codec, objects) in _HOT.items():
        if name not in wanted:
            continue
        count = bench.scale.few_keys if name in _SMALL else bench.scale.keys
        title = what.format(count)
        try:
            with bench.arena(Terms("process crash", objects=objects), ours=own(codec)) as arena:
                arena.load(count, settle=name != "get-memory")
                result = _gets(arena, count, bench.scale.gets, bench.scale.rounds)
                arena.must_hold(data.items(0, count, objects=objects)[:: max(1, count // 500)])
                yield arena.row(name, title, goal, result, note=_NOTE, writes=False)
        except MissingError as missing:
            yield unmeasured(name, title, goal, str(missing))


def cold(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """Gets from a state ten times as large as the cache: first with the system's own cache, then without."""
    count = bench.scale.keys
    state_bytes = count * (len(data.key(0)) + data.VALUE_BYTES)
    cache_bytes = max(state_bytes // 10, MIB // 4)
    terms = Terms("process crash", cache_bytes=cache_bytes, bounded=True)
    what = f"get, cold, bytes, state {state_bytes / MIB:.1f} MiB, caches of {cache_bytes / MIB:.1f} MiB"
    with bench.arena(terms, ours=own(cache_bytes=cache_bytes)) as arena:
        arena.load(count)
        some = data.items(0, count)[:: max(1, count // 500)]
        if "get-cold" in wanted:
            draw = random.Random(data.SEED)
            result = _gets(arena, count, bench.scale.cold_gets, bench.scale.rounds, draw=draw)
            arena.must_hold(some)
            yield arena.row("get-cold", what, Goal(0.5), result, note=_MAPPED_NOTE, writes=False)
        if "get-cold-device" in wanted:
            arena.terms = replace(terms, bounded=False)  # nobody has anything in memory, so all count
            result = _gets_from_device(arena, count, bench.scale.cold_gets, max(2, bench.scale.rounds // 2))
            what += ", the system's own dropped"
            arena.must_hold(some)
            yield arena.row("get-cold-device", what, Goal(0.5), result, note=_NOTE, writes=False)


def many(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """A hundred keys in one call, other ones each time."""
    del wanted
    count = bench.scale.keys
    at_once = min(AT_ONCE, count)
    what = f"get of {at_once} keys at once, any of {count:,}, from tables, per key"
    with bench.arena(Terms("process crash")) as arena:
        arena.load(count)
        draw = random.Random(data.SEED)
        calls = max(1, bench.scale.cold_gets // at_once)
        drawn = [
            [[data.key(number) for number in draw.sample(range(count), at_once)] for _ in range(calls)]
            for _ in range(bench.scale.rounds + 1)
        ]

        def run(database: Database) -> Callable[[int], float]:
            get_many = database.get_many
            return lambda number: timed(lambda: [get_many(keys) for keys in drawn[number]], calls * at_once)

        result = arena.compete(run, bench.scale.rounds, reads=True)
        some = dict(data.items(0, at_once))
        arena.each(lambda name, database: must(dict(database.get_many(list(some))) == some, name))
        yield arena.row("get-many", what, None, result, note=_NOTE, writes=False)


def missing(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """Keys that aren't there, between those that are, other ones each time."""
    del wanted
    count, gets = bench.scale.keys, bench.scale.cold_gets
    with bench.arena(Terms("process crash")) as arena:
        arena.load(count)
        draw = random.Random(data.SEED)
        drawn = [[data.key(draw.randrange(count)) + b"?" for _ in range(gets)] for _ in range(bench.scale.rounds + 1)]

        def run(database: Database) -> Callable[[int], float]:
            def gets_of(number: int) -> float:
                found: list[int] = []
                with database.reader() as get:
                    seconds = timed(lambda: found.append(database.count_missing(get, drawn[number])), gets)
                must(found == [gets], "a contender")
                return seconds

            return gets_of

        result = arena.compete(run, bench.scale.rounds, reads=True)
        arena.must_hold(data.items(0, count)[:: max(1, count // 500)])
        what = f"look for keys that aren't there, {count:,} others, from tables"
        yield arena.row("get-missing", what, None, result, note=_NOTE, writes=False)


def scan(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """A thousand keys in order with their values, from a random key on."""
    del wanted
    count = bench.scale.keys
    length = min(SCANNED, count // 2)
    with bench.arena(Terms("process crash")) as arena:
        arena.load(count)
        ordered = sorted(data.items(0, count))
        starts = random.Random(data.SEED).sample(range(count - length), bench.scale.scans)
        start = starts[0]
        right = ordered[start : start + length]
        arena.each(lambda name, database: must(list(database.scan(right[0][0], length)) == right, name))
        keys = [ordered[start][0] for start in starts]

        def run(database: Database) -> Callable[[int], float]:
            scan = database.scan
            return lambda _: timed(lambda: [scan(key, length) for key in keys], len(keys))

        result = arena.compete(run, bench.scale.rounds, reads=True)
        yield arena.row("scan-1000", f"scan of {length:,} keys", Goal(1.0), result, writes=False)


def scan_all(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """Every key and value in order; the bare device reads as many bytes from front to back."""
    del wanted
    count = bench.scale.keys
    with bench.arena(Terms("process crash")) as arena:
        arena.load(count)
        first = min(data.key(number) for number in range(count))
        plain = os.path.join(arena.path, "plain")
        device.write_through(plain, count * (len(first) + data.VALUE_BYTES))
        bare = Contender(
            device.NAME,
            lambda _: timed(lambda: device.read_through(plain), count),
            "as many bytes of keys and values, read from front to back",
            counts=False,
        )

        def run(database: Database) -> Callable[[int], float]:
            return lambda _: timed(lambda: database.scan(first, count), count)

        arena.each(lambda name, database: must(len(database.scan(first, count)) == count, name))
        result = arena.compete(run, max(2, bench.scale.rounds // 3), besides=[bare], reads=True)
        yield arena.row("scan-all", f"scan of all {count:,} keys, per key", None, result, writes=False)


def _gets(arena: Arena, count: int, gets: int, rounds: int, *, draw: random.Random | None = None) -> Contest:
    """Get keys that were drawn once, or drawn anew for each round."""
    fixed = random.Random(data.SEED).sample(range(count), min(gets, count))
    drawn = [[draw.randrange(count) for _ in range(gets)] if draw else fixed for _ in range(rounds + 1)]

    def run(database: Database) -> Callable[[int], float]:
        def gets_of(number: int) -> float:
            keys = [data.key(index) for index in drawn[number]]
            with database.reader() as get:
                return timed(lambda: _read(get, keys), len(keys))

        return gets_of

    return arena.compete(run, rounds, reads=True)


def _gets_from_device(arena: Arena, count: int, gets: int, rounds: int) -> Contest:
    """Each time: close, let the system forget the files, open, and get keys that nobody has read since."""
    draw = random.Random(data.SEED)
    drawn = [[data.key(draw.randrange(count)) for _ in range(gets)] for _ in range(rounds + 1)]

    def run(name: str) -> Callable[[int], float]:
        def gets_of(number: int) -> float:
            with arena.reopened(name, forgotten=True).reader() as get:
                return timed(lambda: _read(get, drawn[number]), gets)

        return gets_of

    return arena.compete_by_name(run, rounds, reads=True)


def _read(get: Get, keys: list[bytes]) -> None:
    for key in keys:
        get(key)
