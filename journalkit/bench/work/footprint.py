"""What it takes: memory against a dict, disk under steady overwrites."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import journalkit
from journalkit.bench import data
from journalkit.bench.arena import Bench, must, unmeasured
from journalkit.bench.engine import MIB, BenchError
from journalkit.bench.engines.own import NAME
from journalkit.bench.result import Goal, Row
from journalkit.bench.rounds import Contender, contest
from journalkit.bench.work.states import fill
from journalkit.format.names import is_temporary

_DICT: Final = "a plain dict"
_LIVE: Final = "live data"
_SLACK_BYTES: Final = 64 * MIB
_LOOK_EVERY_S: Final = 0.005
_PRUNING_S: Final = 0.25
_MEMORY_NOTE: Final = "what each process grew by beyond interpreter and imports; the keys in no order"


def memory(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """Resident memory of a process that read every key, and of one that wrote them, against a dict."""
    count = bench.scale.keys
    with bench.place() as path:
        stored, written = os.path.join(path, "stored"), os.path.join(path, "written")
        fill(stored, count)

        def writing(_number: int) -> float:
            shutil.rmtree(written, ignore_errors=True)
            return _grown_bytes("writing", written, count)

        held = Contender(_DICT, lambda _: _grown_bytes("dict", "-", count))
        for name, what, goal, work in (
            ("memory", "resident memory, {:,} keys, every one read", Goal(0.35, at_most=True),
             lambda _: _grown_bytes("reading", stored, count)),
            ("memory-writing", "resident memory, {:,} keys, written one by one and folded", None, writing),
        ):  # fmt: skip
            if name in wanted:
                ours = Contender(NAME, work, "defaults, sync='never'")
                result = contest(ours, [held], max(2, bench.scale.rounds // 4), warm_up=False)
                yield Row(name, what.format(count), _DICT, goal, result, unit="bytes", note=_MEMORY_NOTE)


def _grown_bytes(kind: str, path: str, count: int) -> float:
    ran = subprocess.run(
        [sys.executable, "-m", "journalkit.bench.resident", kind, path, str(count)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
    )  # fmt: skip
    if ran.returncode:
        raise BenchError(f"the process that holds the keys failed: {ran.stderr.strip().splitlines()[-1:]}")
    must(int(ran.stdout) != 0, NAME if kind != "dict" else _DICT)
    return max(1.0, float(ran.stdout))


def disk(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """The largest directory that is seen while every key is overwritten again and again, in no order."""
    scale = bench.scale
    live_bytes = scale.keys * (len(data.key(0)) + data.VALUE_BYTES)
    with bench.place() as path:
        place = os.path.join(path, "store")
        fill(place, scale.keys)
        draw = random.Random(data.SEED)
        latest: dict[int, int] = {}
        with journalkit.open(place, sync="never") as store, _Watch(place, lambda: store.statistics().folds) as watch:
            for serial in range(scale.overwrites * scale.keys):
                number = draw.randrange(scale.keys)
                latest[number] = serial
                store.put(data.key(number), data.value(serial))
            must(all(store[data.key(number)] == data.value(latest[number]) for number in list(latest)[:1000]), NAME)
            folds = store.statistics().folds
    for name, what, goal, seen_bytes in (
        ("disk-between", "between folds", Goal(3, at_most=True), watch.between_bytes),
        ("disk-during", "during a fold", Goal(4.5, at_most=True), watch.during_bytes),
    ):
        if name in wanted and not folds:
            yield unmeasured(name, f"disk {what}", goal, "no fold was due at this size", against=_LIVE)
        elif name in wanted:
            beyond = max(1.0, float(seen_bytes - _SLACK_BYTES))
            result = contest(
                Contender(NAME, lambda _, beyond=beyond: beyond, "defaults, sync='never'"),  # type: ignore[misc]
                [Contender(_LIVE, lambda _: live_bytes)],
                1,
                warm_up=False,
            )
            yield Row(name, f"disk {what}, each key overwritten {scale.overwrites} times, less 64 MiB", _LIVE, goal,
                      result, unit="bytes", note=f"{folds} folds were seen, at most {seen_bytes / MIB:.0f} MiB",
                      durability="process crash")  # fmt: skip


class _Watch:
    """Looks every few milliseconds at what a store's directory takes on the disk, in a thread.

    A fold is under way from the first look that finds a temporary table until the store has counted it, and a
    moment more: it prunes after it is counted.
    """

    def __init__(self, path: str, folds: Callable[[], int]) -> None:
        self.between_bytes = 0
        self.during_bytes = 0
        self._path = path
        self._folds = folds
        self._folding_after = -1
        self._ended_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> _Watch:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            self._look()

    def _look(self) -> None:
        size_bytes = 0
        begun = False
        folds = self._folds()
        with os.scandir(self._path) as entries:
            for entry in entries:
                begun = begun or is_temporary(entry.name)
                try:
                    size_bytes += entry.stat().st_blocks * 512
                except FileNotFoundError:  # pruned between the two looks
                    continue
        if begun:
            self._folding_after = folds
        now_s = time.monotonic()
        if begun or self._folding_after == folds:
            self._ended_s = now_s
        if now_s - self._ended_s < _PRUNING_S:
            self.during_bytes = max(self.during_bytes, size_bytes)
        else:
            self.between_bytes = max(self.between_bytes, size_bytes)
