"""`close` takes at most a second: during a fold, under load, with everything at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import journalkit
from journalkit.errors import ClosedError

CLOSE_S = 1.0


def closing_s(store: journalkit.Store) -> float:
    """Close, and return how long that took."""
    began_s = time.monotonic()
    store.close()
    return time.monotonic() - began_s


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for another thread, not for ever."""
    deadline_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.0005)


@pytest.mark.parametrize("who", ["the store's own thread", "a caller's thread"])
def test_close_during_a_fold_takes_at_most_a_second(who: str, tmp_path: Path) -> None:
    """A fold of a large state takes as long as it takes; a program that ends doesn't wait for it."""
    is_own = who == "the store's own thread"
    entries = {f"key {number}": b"x" * 100 for number in range(150_000)}
    with journalkit.open(tmp_path / "store", compaction="manual") as store:
        store.update(entries)
    fold_bytes_min = 1000 if is_own else 1 << 40
    store = journalkit.open(tmp_path / "store", fold_bytes_min=fold_bytes_min)
    outcome: list[BaseException | None] = []

    def fold() -> None:
        try:
            store.compact()
        except ClosedError as error:
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=fold)
    if not is_own:
        thread.start()
    wait_until(lambda: any((tmp_path / "store").glob("table-*.tmp")))
    assert closing_s(store) < CLOSE_S
    if not is_own:
        thread.join()
        assert isinstance(outcome[0], ClosedError)
    with journalkit.open(tmp_path / "store", compaction="manual") as store:
        assert store.snapshot_lsn == 0
        assert dict(store) == entries
        assert not list((tmp_path / "store").glob("*.tmp"))


@pytest.mark.parametrize("sync", ["always", "interval", "never"])
def test_close_under_load_takes_at_most_a_second_and_loses_nothing(sync: journalkit.Sync, tmp_path: Path) -> None:
    """Writers that never pause are told ClosedError, and what they were told before stays true."""
    store = journalkit.open(tmp_path / "store", sync=sync, fold_bytes_min=10_000, segment_bytes_max=50_000)
    acknowledged = [0] * 4

    def write(thread: int) -> None:
        for number in range(1, 1_000_000):
            try:
                store.put(("thread", thread), number)
            except ClosedError:
                return
            acknowledged[thread] = number

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: min(acknowledged) > 50)
    took_s = closing_s(store)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert took_s < CLOSE_S
    with journalkit.open(tmp_path / "store") as store:
        assert store.recovery_report.outcome in ("clean", "replayed")
        assert store.recovery_report.bytes_cut == 0
        found = [store["thread", thread] for thread in range(4)]
    # A commit that was under way when the store closed may be in it, and its writer not know.
    assert all(count <= there <= count + 1 for count, there in zip(acknowledged, found, strict=True))
