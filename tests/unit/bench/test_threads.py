"""How long threads take together is what they say, not when somebody who waits for them hears of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from journalkit.bench.work import together

PUT_S = 0.02


class Slow:
    """A database each of whose puts takes so long."""

    @contextmanager
    def worker(self) -> Iterator[Any]:
        """Return what puts."""
        yield lambda _key, _value: time.sleep(PUT_S)


def test_threads_that_were_done_before_the_clock_was_read_took_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a figure of SQLite's said once: a durable put in a fifth of the time that the disk takes."""

    class Late(threading.Barrier):
        def wait(self, timeout: float | None = None) -> int:
            place = super().wait(timeout)
            if threading.current_thread() is threading.main_thread():
                time.sleep(10 * PUT_S)
            return place

    class Lingering(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            super().join(timeout)
            time.sleep(10 * PUT_S)

    monkeypatch.setattr(threading, "Barrier", Late)
    monkeypatch.setattr(threading, "Thread", Lingering)
    items = [(b"%d" % number, b"") for number in range(8)]
    seconds = together._in_threads(Slow(), items, 4) * len(items)  # type: ignore[arg-type]
    assert 2 * PUT_S <= seconds < 10 * PUT_S


def test_what_one_route_has_put_is_not_put_by_the_other_again() -> None:
    """SQLite doesn't write a value that is there already: it looked a hundred times as quick as the disk."""
    seen: list[bytes] = []

    class Noting(Slow):
        @contextmanager
        def worker(self) -> Iterator[Any]:
            yield lambda key, _value: seen.append(key)

    with ExitStack() as stack:
        routes = [together._by(route, Noting(), stack, 20) for route in together._ROUTES]  # type: ignore[arg-type]
        for number in range(3):
            for route in routes:
                route(number)
    assert len(seen) == len(set(seen)) == 3 * 2 * 20


def test_a_thread_that_fails_is_told_as_what_it_failed_with() -> None:
    """And nobody waits for it at the start."""

    class Failing(Slow):
        @contextmanager
        def worker(self) -> Iterator[Any]:
            if threading.current_thread().name.startswith("Thread") and not failed:
                failed.append(True)
                raise LookupError("no room")
            yield lambda _key, _value: None

    failed: list[bool] = []
    with pytest.raises(LookupError, match="no room"):
        together._in_threads(Failing(), [(b"", b"")] * 4, 4)  # type: ignore[arg-type]
