"""Workers with outputs in one place, killed at any operation: whoever goes on, each output is seen once."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.checkpoint.joining import worker_on
from journalkit.checkpoint.sink_files import STAGED
from journalkit.errors import JournalError
from journalkit.testing import SimulatedBucket, SimulatedClock
from tests.unit.workers.test_killed import KilledError, QuickClock

INPUTS = 4
SIZES = (1, 2, 3)
STEP = 2
"""How many inputs there are between two saves."""


class World:
    """The storage of a job, and what its outputs go to: a bucket and a table, the same for all workers."""

    def __init__(self, path: Path, seed: int) -> None:
        self.bucket = SimulatedBucket(seed=seed)
        self.outputs = SimulatedBucket(seed=seed)
        self.path = path
        self._starts = itertools.count(1)
        with sqlite3.connect(path) as made:
            made.execute("CREATE TABLE rows (input INTEGER)")
        made.close()

    def run(self, size: int, count: Callable[[int], None] = lambda _: None) -> list[Any]:
        """Let so many workers do the rest of the work, and count each operation of each; return what ended them."""
        start = next(self._starts)
        ended: list[Any] = [None] * size
        self.bucket.before = self.outputs.before = lambda who, *_: count(int(who))

        def live(rank: int) -> None:
            class Connection(sqlite3.Connection):
                def commit(self) -> None:
                    count(rank)
                    super().commit()
                    count(rank)

            def connect() -> sqlite3.Connection:
                connection = sqlite3.connect(self.path, timeout=60, factory=Connection)
                connection.execute("PRAGMA synchronous = OFF")  # no power is cut here
                return connection

            rows = journalkit.SqlSink(connect, "rows", ["input"])
            files = journalkit.FilesSink("unused", clock=SimulatedClock(seed=start * 100 + rank))
            files._objects = self.outputs.handle(str(rank))
            try:
                worker = worker_on(
                    self.bucket.handle(str(rank)), QuickClock(), rank=rank, size=size, run=f"start {start}", patience=4,
                    threads=0,
                )  # fmt: skip
                work(worker, rows, files)
            except (JournalError, KilledError) as error:
                ended[rank] = error
            finally:
                rows.close()  # as the end of a process does

        threads = [threading.Thread(target=live, args=(rank,)) for rank in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), "a worker waits for ever"
        self.bucket.before = self.outputs.before = None
        return ended

    def complaints(self) -> str:
        """Return what is wrong with the outputs of all inputs, "" if nothing."""
        connection = sqlite3.connect(self.path)
        rows = [number for (number,) in connection.execute("SELECT input FROM rows ORDER BY input")]
        connection.close()
        if rows != list(range(INPUTS)):
            return f"rows {rows}"
        wanted = {f"part-{number}": b"%d" % number for number in range(INPUTS)}
        found = self.outputs.contents()
        return "" if found == wanted else f"files {found}, of which none is to begin with {STAGED}"


def work(worker: journalkit.Worker, rows: journalkit.SqlSink, files: journalkit.FilesSink) -> None:
    """Go on from the latest checkpoint to the last input: each makes a row and a file, in one of the workers."""
    loaded = worker.load_latest(sinks=[rows, files])
    done = loaded[1].offsets["in"] if loaded is not None else 0
    while done < INPUTS:
        for number in range(done, done + STEP):
            if number % worker.size == worker.rank:
                rows.add((number,))
                files.write(f"part-{number}", b"%d" % number)
        done += STEP
        worker.save({}, step=done, offsets={"in": done}, sinks=[rows, files])


@pytest.mark.parametrize("victim", range(2))
def test_killed_at_every_operation_each_output_of_each_worker_is_seen_once(tmp_path: Path, victim: int) -> None:
    """Of the checkpoints, of the files, and of the database; the next run has as many workers, fewer or more."""
    for nth in itertools.count(1):
        left = itertools.count(1)

        def count(rank: int, nth: int = nth, left: Any = left) -> None:
            if rank == victim and next(left) >= nth:
                raise KilledError

        world = World(tmp_path / f"{nth}.db", nth)
        first = world.run(2, count)
        second = world.run(SIZES[nth % len(SIZES)])
        assert not any(second), f"killed at {nth}: {second}"
        wrong = world.complaints()
        assert not wrong, f"killed at {nth}: {wrong}\n{world.outputs.story()}"
        if not isinstance(first[victim], KilledError):
            assert nth > 40
            return
