"""The gate: how much may wait, whatever threads bring, and that nobody is stuck behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest

from journalkit.errors import ClosedError, UsageError
from journalkit.format.frame import Kind
from journalkit.log.gate import SMALL_BYTES, Gate, _Held

Maker = Callable[..., Any]
RECORD = 4 * SMALL_BYTES
BUDGET = 10 * RECORD


def counted(gate: Gate, sizes: list[int]) -> Callable[[bytes], tuple[bytes, tuple[()]]]:
    """Return what makes a record, and notes how large it is."""

    def make(value: bytes) -> tuple[bytes, tuple[()]]:
        sizes.append(len(value))
        return bytes(value), ()

    return make


def appending(gate: Gate, count: int, size_bytes: int, sizes: list[int], lsns: list[int]) -> list[threading.Thread]:
    """Start so many threads that append a record each."""
    value, make = bytes(size_bytes), counted(gate, sizes)
    threads = [
        threading.Thread(target=lambda: lsns.append(gate.append(make, (value,), Kind.RECORD, True)))
        for _ in range(count)
    ]
    for each in threads:
        each.start()
    return threads


def settle(sizes: list[int]) -> None:
    """Wait until nothing more is made."""
    before = -1
    while before != len(sizes):
        before = len(sizes)
        time.sleep(0.15)


def test_no_more_than_the_budget_and_one_record_waits(bench: Maker) -> None:
    """Whoever comes while the disk is busy has made nothing yet; when it goes on, everybody gets through."""
    log = bench(segment_bytes_max=1 << 30)
    gate = Gate(log.log, bytes_max=BUDGET)
    sizes: list[int] = []
    lsns: list[int] = []
    with log.log._leadership:
        threads = appending(gate, 40, RECORD, sizes, lsns)
        settle(sizes)
        assert sum(sizes) == BUDGET
    for each in threads:
        each.join(20)
    assert sorted(lsns) == list(range(1, 41))
    assert gate._waiting_bytes() == 0
    log.log.close()


def test_a_record_larger_than_the_budget_passes_alone(bench: Maker) -> None:
    """It could never pass otherwise."""
    log = bench(segment_bytes_max=1 << 30)
    gate = Gate(log.log, bytes_max=BUDGET)
    sizes: list[int] = []
    lsns: list[int] = []
    with log.log._leadership:
        threads = appending(gate, 5, 2 * BUDGET, sizes, lsns)
        settle(sizes)
        assert len(sizes) == 1
    for each in threads:
        each.join(20)
    assert sorted(lsns) == [1, 2, 3, 4, 5]
    log.log.close()


def test_small_records_never_wait(bench: Maker) -> None:
    """A thousand threads of them are nothing."""
    log = bench(segment_bytes_max=1 << 30)
    gate = Gate(log.log, bytes_max=1)
    sizes: list[int] = []
    with log.log._leadership:
        threads = appending(gate, 30, SMALL_BYTES, sizes, [])
        settle(sizes)
        assert len(sizes) == 30
    for each in threads:
        each.join(20)
    log.log.close()


def test_who_waits_for_room_hears_of_the_end_of_the_log(bench: Maker) -> None:
    """Nobody is left behind in front of a closed door."""
    log = bench(segment_bytes_max=1 << 30)
    gate = Gate(log.log, bytes_max=1)
    sizes: list[int] = []
    told: list[BaseException] = []

    def append() -> None:
        try:
            gate.append(counted(gate, sizes), (bytes(RECORD),), Kind.RECORD, True)
        except ClosedError as error:
            told.append(error)

    with log.log._leadership:
        threads = [threading.Thread(target=append) for _ in range(6)]
        for each in threads:
            each.start()
        settle(sizes)
        assert len(sizes) == 1
        log.log._writer.failed = ClosedError("closed")
    for each in threads:
        each.join(20)
    assert len(told) == 6


def test_what_is_made_inside_of_making_passes(bench: Maker) -> None:
    """A signal handler or a finalizer puts while its own thread encodes: it has the turn."""
    log = bench(segment_bytes_max=1 << 30)
    gate = Gate(log.log, bytes_max=BUDGET)

    def make(value: bytes) -> tuple[bytes, tuple[()]]:
        if value == b"outer":
            assert gate.append(make, (bytes(RECORD),), Kind.RECORD, True) == 1
        return value, ()

    assert gate.append(make, (b"outer",), Kind.RECORD, True) == 2
    log.log.close()


def test_what_is_made_inside_of_a_commit_is_refused_at_once(bench: Maker) -> None:
    """It never waits for the turn: who has that may be waiting for this very commit."""
    log = bench(segment_bytes_max=1 << 30)
    gate = Gate(log.log)
    refused: list[str] = []
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with gate.turn:
            held.set()
            done.wait(20)

    holder = threading.Thread(target=hold)

    def from_inside(_lsn: int, _before: object) -> None:
        holder.start()
        held.wait(20)
        with pytest.raises(UsageError, match="from inside a commit") as told:
            gate.append(lambda: (b"inner", ()), (), Kind.RECORD, True)
        refused.append(str(told.value))

    assert gate.append(lambda: (b"outer", ()), (), Kind.RECORD, True, from_inside) == 1
    assert not done.is_set()
    done.set()
    holder.join(20)
    assert len(refused) == 1
    log.log.close()


def test_an_error_that_is_kept_takes_no_room(bench: Maker) -> None:
    """Its traceback keeps the frame, and so what waited in it; the budget must not be its."""
    log = bench(segment_bytes_max=1 << 30)
    gate = Gate(log.log, bytes_max=1)
    kept: list[BaseException] = []

    def refuse(_lsn: int, _before: object) -> None:
        raise LookupError("refused")

    for _ in range(3):
        with pytest.raises(LookupError) as refused:
            gate.append(lambda: (bytes(RECORD), ()), (), Kind.RECORD, True, refuse)
        kept.append(refused.value)
    assert gate.append(lambda: (bytes(RECORD), ()), (), Kind.RECORD, True) == 1
    log.log.close()


def test_what_an_interrupt_left_counted_holds_nobody_up_for_long(bench: Maker) -> None:
    """Something counts and doesn't end: a budget isn't worth a program that stands still."""
    log = bench(segment_bytes_max=1 << 30)
    gate = Gate(log.log, bytes_max=1)
    left: Any = _Held(RECORD)
    gate._held.append(ref(left))
    assert gate.append(lambda: (bytes(RECORD), ()), (), Kind.RECORD, True) == 1
    del left
    assert gate._waiting_bytes() == 0
    log.log.close()


def test_what_cannot_be_made_leaves_the_turn_to_others(bench: Maker) -> None:
    """Whatever it raises, an interrupt among it."""
    log = bench(segment_bytes_max=1 << 30)
    gate = Gate(log.log)

    def make() -> tuple[bytes, tuple[()]]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gate.append(make, (), Kind.RECORD, True)
    lsns: list[int] = []
    threads = appending(gate, 3, RECORD, [], lsns)
    for each in threads:
        each.join(20)
    assert sorted(lsns) == [1, 2, 3]
    log.log.close()
