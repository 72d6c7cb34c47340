"""A small piece of the proof of interrupts, the bugs that it found, and what it must find."""

from __future__ import annotations

import threading
from typing import Any

import interrupts
import pytest
from interrupt_paths import PATHS, Path
from places import Hang, Interrupter, elsewhere
from units import Outcome, Unit

import journalkit
from journalkit.log.log import Log
from journalkit.log.writer import LogWriter
from journalkit.snapshot.cache import BlockCache
from journalkit.testing import SimulatedDisk


def path_named(name: str) -> Path:
    """Return one of the paths."""
    return next(path for path in PATHS if path.name == name)


@pytest.mark.parametrize("name", ["put", "transaction", "close-never", "compact-eio", "journal"])
def test_an_interrupt_at_some_places_of_a_path_does_no_harm(name: str) -> None:
    """The runner does all places of all paths."""
    outcome = Outcome()
    interrupts.every_place(path_named(name), outcome, most=12, seed=3)
    assert outcome.failures == []
    assert outcome.counts["interrupts"] >= 5


def test_a_second_interrupt_comes_while_the_first_is_cleaned_up_after() -> None:
    """CPython switches a tracer off that raises: pairs mean something only if it is switched on again."""
    path = path_named("put")
    base, states = path.begin(), interrupts.plain_run(path)
    handlers = 0
    for first in range(10, 60, 7):
        run = interrupts.attempt(path, base, states, 0, Interrupter(first, first + 3))
        assert run.complaints == []
        assert len(run.interrupter.fired) == 2
        handlers += any(name in run.interrupter.fired[1] for name in ("_complete", "_as_leader", "_as_group"))
    assert handlers


def test_exceptions_are_sent_to_threads() -> None:
    """A short one of what runs for minutes."""
    outcome = interrupts.prove(Unit("sent", {"sent": 5, "seconds": 0.5}))
    assert outcome.failures == []
    assert outcome.counts["sent"] > 10


def each_place(make: Any, call: Any, after: Any) -> int:
    """Interrupt a call on something new at each of its places, and do something from another thread after each."""
    place = 1
    while True:
        subject, interrupter = make(), Interrupter(place)
        try:
            with interrupter.armed():
                call(subject)
        except KeyboardInterrupt:
            elsewhere(lambda subject=subject: after(subject), seconds=2)
            place += 1
            continue
        return place


def test_an_interrupt_while_a_table_was_forgotten_left_the_cache_locked() -> None:
    """Between taking the lock and `try`: every read of a block waited for ever."""

    def cache() -> BlockCache:
        made = BlockCache(1000)
        made.put(made.register(), 0, b"block", 5)
        return made

    assert each_place(cache, lambda c: c.forget(1), lambda c: c.put(c.register(), 0, b"block", 5)) > 5


def test_an_interrupt_while_a_close_waited_for_a_fold_left_folding_locked() -> None:
    """Between taking the lock and giving it back: the compactor's thread waited for ever, and held what it folds."""

    def compactor() -> Any:
        store = journalkit.open("/store", fs=SimulatedDisk(), compaction="manual")
        kept.append(store)
        return store._engine.writing.compactor

    kept: list[journalkit.Store] = []
    assert each_place(compactor, lambda c: c.rest(0.1), lambda c: c.compact()) > 2
    for store in kept:
        store.close()


# -- canaries: broken on purpose ------------------------------------------------------------------


def complaints(name: str, *, most: int = 60) -> str:
    """Return what is found on a path."""
    outcome = Outcome()
    interrupts.every_place(path_named(name), outcome, most=most)
    return "\n".join(outcome.failures)


def test_a_handle_that_keeps_a_lock_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leadership taken and given back by calls, with room for an interrupt in between."""

    def lead(self: Any, *record: Any) -> int:
        self._leadership.acquire()
        lsn = self._writer.write_single(*record)
        self._leadership.release()
        return int(lsn)

    monkeypatch.setattr("interrupts._LIMIT_S", 1.0)
    monkeypatch.setattr("places.PATIENCE_S", 0.05)
    monkeypatch.setattr(Log, "append", lead)
    path = path_named("put")
    base, states = path.begin(), interrupts.plain_run(path)
    found = []
    for place in range(20, 60, 8):
        found += interrupts.attempt(path, base, states, 0, Interrupter(place)).complaints
    assert any("hangs" in complaint for complaint in found)


def test_a_record_that_is_shown_before_it_is_written_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What readers saw, and maybe acted upon, is in no log."""
    real = LogWriter.write_single

    def eager(self: Any, payload: Any, kind: Any, mutations: Any, *rest: Any) -> int:
        self._applier.apply_one(mutations, payload, self.last_lsn)
        return real(self, payload, kind, mutations, *rest)

    monkeypatch.setattr(LogWriter, "write_single", eager)
    assert "the handle showed" in complaints("never")


def test_an_acknowledgement_behind_a_failed_fsync_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next fsync says that all is well, and nothing is."""

    def again(self: Any, active: Any) -> None:
        try:
            active.file.sync_data()
        except OSError:
            active.file.sync_data()

    monkeypatch.setattr(LogWriter, "_sync", again)
    assert "after a power cut" in complaints("put-eio")


def test_what_waits_for_ever_in_another_thread_is_a_hang() -> None:
    """The patience is what all of this stands on."""
    lock = threading.Lock()
    with lock, pytest.raises(Hang, match="waits for ever"):
        elsewhere(lock.acquire, seconds=0.05)
