"""Whether an operation costs more as the state grows: the same work on states of rising size, in turn."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Final, TypeAlias

import journalkit
from journalkit.bench import data
from journalkit.bench.arena import Bench, must
from journalkit.bench.engines.own import NAME
from journalkit.bench.result import Goal, Row
from journalkit.bench.rounds import Contender, Run, contest, timed
from journalkit.bench.work.states import fill, rewrite

FLAT: Final = Goal(2, at_most=True)
HOT_KEYS: Final = 1_000
_MANY_S: Final = 10**6

Stores: TypeAlias = "Mapping[int, journalkit.Store]"
Maker: TypeAlias = "Callable[[Bench, journalkit.Store, int], Run]"


def growth(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """One row for each kind of operation; its contenders are the sizes."""
    open_ones = [name for name in _OPEN if name in wanted]
    if open_ones:
        with bench.place() as path, ExitStack() as stack:
            stores: dict[int, journalkit.Store] = {}
            for size in bench.scale.growth:
                place = os.path.join(path, str(size))
                fill(place, size)
                stores[size] = stack.enter_context(journalkit.open(place, sync="never", compaction="manual"))
            for name in open_ones:
                what, make, share = _OPEN[name]
                runs = {size: make(bench, store, size) for size, store in stores.items()}
                yield _row(name, what, runs, max(2, bench.scale.rounds // share))
    for name, (what, prepare) in _CLOSED.items():
        if name in wanted:
            with bench.place() as path:
                runs = {size: prepare(os.path.join(path, str(size)), size) for size in bench.scale.growth}
                yield _row(name, what, runs, max(2, bench.scale.rounds // 3))


def _row(name: str, what: str, runs: Mapping[int, Run], rounds: int) -> Row:
    smallest, *between, largest = sorted(runs)
    result = contest(
        Contender(f"{largest:,} keys", runs[largest]),
        [Contender(f"{size:,} keys", runs[size]) for size in (smallest, *between)],
        rounds,
    )
    goal = None if name == "growth-get-any" else FLAT
    return Row(name, f"{what}, {largest:,} keys", f"{smallest:,} keys", goal, result)


def _put(bench: Bench, store: journalkit.Store, size: int) -> Run:
    count = max(1, bench.scale.puts // 4)
    draw = random.Random(data.SEED)

    def run(number: int) -> float:
        pairs = [(data.key(draw.randrange(size)), data.value(number)) for _ in range(count)]

        def work() -> None:
            for key, value in pairs:
                store.put(key, value)

        seconds = timed(work, count)
        must(store[pairs[-1][0]] == pairs[-1][1], NAME)
        return seconds

    return run


def _batch(bench: Bench, store: journalkit.Store, size: int) -> Run:
    count = min(bench.scale.batch, bench.scale.growth[0])

    def run(number: int) -> float:
        first = size + number * count
        some = data.items(first, first + count)
        return timed(lambda: store.update(some), count)

    return run


def _get_hot(bench: Bench, store: journalkit.Store, size: int) -> Run:
    del bench
    keys = [data.key(number) for number in random.Random(data.SEED).sample(range(size), min(HOT_KEYS, size))]
    return lambda _: timed(lambda: [store[key] for key in keys], len(keys))


def _get_any(bench: Bench, store: journalkit.Store, size: int) -> Run:
    draw = random.Random(data.SEED)

    def run(_number: int) -> float:
        keys = [data.key(draw.randrange(size)) for _ in range(bench.scale.cold_gets)]
        return timed(lambda: [store[key] for key in keys], len(keys))

    return run


def _scan(bench: Bench, store: journalkit.Store, size: int) -> Run:
    draw = random.Random(data.SEED)
    starts = [data.key(draw.randrange(size)) for _ in range(bench.scale.scans)]
    # A start near the end has fewer keys behind it.
    count = sum(len(list(store.scan(start, limit=HOT_KEYS))) for start in starts)
    return lambda _: timed(lambda: [list(store.scan(start, limit=HOT_KEYS)) for start in starts], count)


def _fold(_bench: Bench, store: journalkit.Store, size: int) -> Run:
    def run(number: int) -> float:
        rewrite(store, size, number)
        return timed(store.compact, size)

    return run


def _fold_delta(_bench: Bench, store: journalkit.Store, size: int) -> Run:
    changed = random.Random(data.SEED).sample(range(size), max(1, size // 100))

    def run(number: int) -> float:
        store.update((data.key(index), data.value(index + number)) for index in changed)
        return timed(store.compact, len(changed))

    return run


def _open(path: str, size: int) -> Run:
    fill(path, size)

    def run(_number: int) -> float:
        opened: list[journalkit.Store] = []
        seconds = timed(lambda: opened.append(journalkit.open(path)), 1)
        with opened[0] as store:
            must(store[data.key(size - 1)] == data.value(size - 1), NAME)
        return seconds

    return run


def _replay(path: str, size: int) -> Run:
    with journalkit.open(path, sync="never", compaction="manual") as store:
        for key, value in data.items(0, size):
            store.put(key, value)

    def run(_number: int) -> float:
        opened: list[journalkit.Store] = []
        seconds = timed(lambda: opened.append(journalkit.open(path, compaction="manual", max_recovery=_MANY_S)), size)
        with opened[0] as store:
            must(store.recovery_report.records_replayed == size, NAME)
        return seconds

    return run


_OPEN: Final[dict[str, tuple[str, Maker, int]]] = {
    "growth-get": ("get, the same thousand keys again and again", _get_hot, 1),
    "growth-get-any": ("get, any key, a block each where the cache doesn't hold it", _get_any, 1),
    "growth-scan": ("scan, per key", _scan, 1),
    "growth-put": ("put of a key that is there, sync='never'", _put, 1),
    "growth-batch": ("commit of many new keys, per key", _batch, 1),
    "growth-fold": ("fold with every key changed, per key", _fold, 3),
    "growth-fold-delta": ("fold with 1 % of the keys changed, per changed key", _fold_delta, 3),
}
_CLOSED: Final[dict[str, tuple[str, Callable[[str, int], Run]]]] = {
    "growth-open": ("open for writing, clean", _open),
    "growth-replay": ("replay, per record", _replay),
}
NAMES: Final = (*_OPEN, *_CLOSED)
