"""How a fold lets go of the interpreter: for a moment, and for longer beside a writer that makes quick use of it."""

from __future__ import annotations

from typing import Any

import pytest

import journalkit
from journalkit.store import compactor as module
from journalkit.store.compactor import Compactor
from tests.unit.store.conftest import Bench


class Pauses:
    """A clock that notes how long was slept, while another writes so many records."""

    def __init__(self, clock: Any, store: journalkit.Store, records: int) -> None:
        self.slept: list[float] = []
        self._clock = clock
        self._store = store
        self._records = records

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        for number in range(self._records):
            self._store.put(number, b"x" * 20)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


@pytest.mark.parametrize(("records", "is_long"), [(0, False), (1, False), (7, False), (8, True), (50, True)])
def test_a_fold_lets_go_for_longer_beside_a_quick_writer(bench: Bench, records: int, is_long: bool) -> None:
    """One that waits for an fsync each time is served by the short pause; a long one would only hold the fold up."""
    store = bench.open(sync="never")
    compactor: Compactor = bench.compactor(store)
    pauses = Pauses(bench.clock, store, records)
    compactor._clock = pauses
    compactor._pace()
    assert pauses.slept == [module._YIELD_S, module._QUICK_YIELD_S][: 1 + is_long]
    compactor._clock = bench.clock


def test_a_fold_that_is_behind_does_not_let_go_for_longer(bench: Bench) -> None:
    """Writers that outrun it are slowed down; it isn't."""
    store = bench.open(sync="never", fold_bytes_min=1000)
    compactor: Compactor = bench.compactor(store)
    pauses = Pauses(bench.clock, store, 60)
    compactor._clock = pauses
    compactor._pace()
    assert pauses.slept == [module._YIELD_S]
    compactor._clock = bench.clock
