"""One store, many threads, and readers beside them, on a real disk, while it rotates, folds and prunes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import journalkit
from journalkit.errors import ConflictError

BUSY: dict[str, Any] = {
    "segment_bytes_max": 16_384,
    "fold_bytes_min": 10_000,
    "fold_ratio": 0.5,
    "cache_bytes": 100_000,
}
"""Rotates and folds all the time."""


class Crew:
    """Threads that work until time is up, and what they found wrong."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.wrong: list[Any] = []
        self._threads: list[threading.Thread] = []

    def hire(self, work: Callable[[], None], *, count: int = 1) -> None:
        """Let threads do `work` again and again."""

        def loop() -> None:
            try:
                while not self.stop.is_set():
                    work()
            except BaseException as error:  # noqa: BLE001 - a thread's assertion is the test's
                self.wrong.append(error)
                self.stop.set()

        self._threads += [threading.Thread(target=loop) for _ in range(count)]

    def work(self, seconds: float, *, until: Callable[[], bool]) -> None:
        """Let them work so long, and on until enough has happened; raise the first error of any."""
        for thread in self._threads:
            thread.start()
        began_s = time.monotonic()
        while not self.stop.wait(0.05):
            worked_s = time.monotonic() - began_s
            if worked_s > seconds and (until() or worked_s > 30):
                self.stop.set()
        for thread in self._threads:
            thread.join()
        if self.wrong:
            raise self.wrong[0]


def test_nobody_ever_sees_half_a_record_or_an_older_state(tmp_path: Path) -> None:
    """Views, scans, gets, transactions, readers of other processes' kind: one state after another, each whole."""
    crew = Crew()
    place = tmp_path / "store"
    accounts = [f"account:{number:02}" for number in range(20)]
    store = journalkit.open(place, sync="never", **BUSY)
    store.update(dict.fromkeys(accounts, 100))
    opens: list[int] = []
    chance = random.Random(1)

    def transfer() -> None:
        source, target = chance.sample(accounts, 2)
        with suppress(ConflictError), store.transaction(sync="always" if chance.random() < 0.01 else None) as tx:
            amount = chance.randint(0, tx[source])
            tx[source] -= amount
            tx[target] += amount
            tx.offsets["transfers"] = tx.offsets.get("transfers", 0) + 1
            tx[f"noise:{chance.randrange(300):03}"] = chance.randbytes(100)

    def overwrite() -> None:
        store[f"noise:{chance.randrange(300):03}"] = chance.randbytes(200)
        store.delete(f"noise:{chance.randrange(300):03}")
        time.sleep(0.0002)

    def total(state: Any) -> int:
        return sum(value for _, value in state.scan(prefix="account:"))

    def view() -> None:
        with store.view() as seen:
            assert total(seen) == 2000
            lsn = seen.lsn
            assert sum(seen[key] for key in accounts) == 2000
            assert seen.lsn == lsn <= store.lsn
            assert list(seen) == sorted(seen)

    def scan() -> None:
        assert total(store) == 2000
        assert all(store[key] >= 0 for key in accounts)
        ladder = (store.pruned_lsn, store.snapshot_lsn, store.durable_lsn, store.lsn)
        assert list(ladder) == sorted(ladder)
        store.check()

    def read() -> None:
        durable_lsn, lsn, transfers = store.durable_lsn, store.lsn, store.offsets.get("transfers", 0)
        with journalkit.open(place, mode="r") as reader:
            assert total(reader) == 2000
            assert reader.lsn >= lsn
            assert reader.durable_lsn >= durable_lsn
            assert reader.offsets.get("transfers", 0) >= transfers
            assert list(reader) == sorted(reader)
        opens.append(1)

    crew.hire(transfer, count=2)
    crew.hire(overwrite)
    crew.hire(view)
    crew.hire(scan)
    crew.hire(read)
    try:
        crew.work(3, until=lambda: store.statistics().folds > 2 and len(opens) > 5)
    finally:
        statistics = store.statistics()
        store.close()
    assert statistics.folds > 2
    assert statistics.fold_failures == 0, statistics.last_fold_error
    assert len(opens) > 5
    with journalkit.open(place) as again:
        assert total(again) == 2000
        assert again.recovery_report.bytes_cut == 0


def test_acknowledged_writes_of_many_threads_are_all_there(tmp_path: Path) -> None:
    """Each thread's own keys, in the order in which it wrote them, whatever the sync; and they share fsyncs."""
    store = journalkit.open(tmp_path / "store", **BUSY)
    last: dict[str, int] = {}

    def write(name: str) -> None:
        previous = 0
        for number in range(120):
            lsn = store.put((name, number % 10), number, sync=("always", "never", "interval")[number % 3])
            assert lsn > previous
            assert store[name, number % 10] == number
            previous = lsn
        last[name] = previous

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(last) == 6
    assert max(last.values()) == store.lsn == 720
    statistics = store.statistics()
    assert statistics.syncs < 720
    store.close()
    with journalkit.open(tmp_path / "store") as again:
        assert {key: again[key] for key in again} == {(name, n): 110 + n for name in "abcdef" for n in range(10)}


def test_folding_on_demand_from_many_threads_folds_one_at_a_time(tmp_path: Path) -> None:
    """Beside the background thread, and beside writers that are never held up for long."""
    crew = Crew()
    store = journalkit.open(tmp_path / "store", sync="never", **BUSY)
    store.update({str(number): "v" * 100 for number in range(2000)})
    slowest: list[float] = []

    def write() -> None:
        began_s = time.monotonic()
        store["k"] = began_s
        slowest.append(time.monotonic() - began_s)
        time.sleep(0.001)

    crew.hire(store.compact, count=2)
    crew.hire(write)
    crew.work(0.5, until=lambda: store.statistics().folds > 2 and len(slowest) > 10)
    assert store.statistics().fold_failures == 0
    assert len(store) == 2001
    assert sorted(slowest)[len(slowest) // 2] < 0.1
    store.close()
    with journalkit.open(tmp_path / "store") as again:
        assert len(again) == 2001
