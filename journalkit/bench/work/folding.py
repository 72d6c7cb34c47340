"""Folds: what one costs after few changes, what the whole costs, and what who writes meanwhile notices of it."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Literal

import journalkit
from journalkit.bench import data
from journalkit.bench.arena import Bench, must
from journalkit.bench.engines import device
from journalkit.bench.engines.own import NAME
from journalkit.bench.result import Goal, Row
from journalkit.bench.rounds import Contender, contest, timed
from journalkit.bench.work.states import fill, rewrite
from journalkit.bench.work.together import p99

_FULL: Final = "a full fold"
_WITHOUT: Final = "without folding"
_FOLDS_MAX: Final = 20

P99_ROWS: Final[dict[str, tuple[Literal["manual", "process"], journalkit.Sync]]] = {
    "append-p99-folding": ("manual", "always"),
    "append-p99-folding-unsynced": ("manual", "never"),
    "append-p99-folding-process": ("process", "always"),
    "append-p99-folding-process-unsynced": ("process", "never"),
}


def fold(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """Fold after a hundredth of the keys changed, against a fold of as many keys that all changed."""
    scale = bench.scale
    rounds = max(2, scale.rounds // 3)
    with bench.place() as path:
        few, all_of_them = os.path.join(path, "few"), os.path.join(path, "all")
        fill(few, scale.keys)
        fill(all_of_them, scale.keys)
        changed = random.Random(data.SEED).sample(range(scale.keys), max(1, scale.keys // 100))
        with (
            journalkit.open(few, compaction="manual") as small,
            journalkit.open(all_of_them, compaction="manual") as large,
        ):

            def after_few(number: int) -> float:
                small.update((data.key(index), data.value(index + number)) for index in changed)
                return timed(small.compact, 1)

            def after_all(number: int) -> float:
                rewrite(large, scale.keys, number)
                return timed(large.compact, 1)

            one = f"fold of {scale.keys:,} keys"
            if "fold-delta" in wanted:
                result = contest(
                    Contender(NAME, after_few, "compaction='manual', compact()"),
                    [Contender(_FULL, after_all, "the same, every key changed")],
                    rounds,
                )
                must(all(small[data.key(index)] == data.value(index + rounds) for index in changed[:1000]), NAME)
                yield Row("fold-delta", f"{one} after 1 % changed", _FULL, Goal(10), result)
            if "fold-full" in wanted:
                size_bytes = scale.keys * (len(data.key(0)) + data.VALUE_BYTES)
                target = os.path.join(path, "sequential")
                bare = Contender(
                    device.NAME,
                    lambda _: timed(lambda: device.write_through(target, size_bytes), 1),
                    "as many bytes of keys and values, written from front to back, one fsync",
                )
                result = contest(Contender(NAME, after_all, "compaction='manual', compact()"), [bare], rounds)
                must(large[data.key(0)] == data.value(rounds), NAME)
                yield Row("fold-full", f"{one}, all changed", device.NAME, None, result)


def append_while_folding(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """The slowest hundredth of puts while a fold of the whole state runs, against puts in peace."""
    with bench.place() as path:
        for name, (compaction, sync) in P99_ROWS.items():
            if name in wanted:
                least = bench.scale.durable_puts if sync == "always" else bench.scale.puts
                yield _appends(bench, name, os.path.join(path, name), sync, compaction, least)


def _appends(
    bench: Bench, name: str, path: str, sync: journalkit.Sync, compaction: Literal["manual", "process"], least: int
) -> Row:
    scale = bench.scale
    fill(path, scale.keys)
    # Folds happen when they are asked for, whatever is written.
    with journalkit.open(
        path, sync=sync, compaction=compaction, fold_bytes_min=1 << 40, max_age=1e9, max_recovery=1e9
    ) as store:
        numbers = iter(range(scale.keys, 1 << 31))

        def put() -> float:
            number = next(numbers)
            key, value = data.key(number), data.value(number)
            began = time.perf_counter()
            store.put(key, value)
            return time.perf_counter() - began

        def folding(number: int) -> float:
            waits: list[float] = []
            for repeat in range(_FOLDS_MAX):
                rewrite(store, scale.keys, number + repeat)
                waits += _while_running(store.compact, put)
                if len(waits) >= least:
                    break
            return p99(waits)

        asked = f"sync={sync!r}, compaction={compaction!r}, every key changed, compact() in a thread"
        result = contest(
            Contender("while folding", folding, asked),
            [Contender(_WITHOUT, lambda _: p99([put() for _ in range(least)]), f"sync={sync!r}")],
            max(2, scale.rounds // 2),
        )
        last = next(numbers) - 1
        must(store[data.key(last)] == data.value(last), NAME)
        must(compaction == "manual" or store.statistics().folds_outside == store.statistics().folds, NAME)
    told = ["" if sync == "always" else f"sync={sync!r}", "" if compaction == "manual" else "by another process"]
    what = ", ".join([f"put, p99, while {scale.keys:,} keys are folded", *filter(None, told)])
    survives = "power cut" if sync == "always" else "process crash"
    return Row(name, what, _WITHOUT, Goal(3, at_most=True), result, durability=survives)


def _while_running(work: Callable[[], object], put: Callable[[], float]) -> list[float]:
    """Put again and again while another thread works; return what each put waited."""
    failures: list[BaseException] = []

    def target() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    worker = threading.Thread(target=target, daemon=True)
    worker.start()
    waits: list[float] = []
    try:
        while worker.is_alive():
            waits.append(put())
    finally:
        worker.join()
    if failures:
        raise failures[0]
    return waits
