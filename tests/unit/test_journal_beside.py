"""Reads of a journal beside threads that append, rotate and prune: gapless from where they were asked to begin."""

from __future__ import annotations

import threading
from typing import Any

import journalkit
from journalkit.errors import HistoryGoneError
from journalkit.testing import SimulatedClock, SimulatedDisk
from tests.unit.conftest import overtaken

READS = {
    journalkit.Journal.read.__code__,
    journalkit.Journal._readable.__code__,
    journalkit.Journal._records.__code__,
}


def opened(**options: Any) -> journalkit.Journal:
    """Open an empty journal of small segments."""
    return journalkit.open_journal(
        "/journal", fs=SimulatedDisk(), clock=SimulatedClock(seed=5), segment_bytes_max=4096, sync="never", **options
    )


def test_a_read_that_pruning_overtakes_at_any_line_says_so_or_is_gapless() -> None:
    """It once began with the first record that was left, without a word, where pruning came after its first look."""
    outcomes = set()
    line, came = 0, True
    while came:
        line += 1
        with opened() as journal:
            for number in range(1, 21):
                journal.append((number, b"x" * 1500))

            def read(journal: journalkit.Journal = journal) -> list[int] | None:
                try:
                    return [record.lsn for record in journal.read(from_lsn=3)]
                except HistoryGoneError:
                    return None

            found, came = overtaken(read, READS, line, lambda journal=journal: journal.prune(12))
            if came:
                assert journal.pruned_lsn > 5
            assert found in (None, list(range(3, 21))), f"line {line}"
            outcomes.add(found is None)
    assert line > 10
    assert outcomes == {True, False}


def test_a_read_of_all_that_pruning_overtakes_at_any_line_is_gapless_to_the_end() -> None:
    """Without a beginning that was asked for, it begins with what is left at some moment of the call."""
    line, came = 0, True
    while came:
        line += 1
        with opened() as journal:
            for number in range(1, 21):
                journal.append((number, b"x" * 1500))

            def read(journal: journalkit.Journal = journal) -> list[int] | None:
                try:
                    return [record.lsn for record in journal.read()]
                except HistoryGoneError:
                    return None

            found, came = overtaken(read, READS, line, lambda journal=journal: journal.prune(12))
            assert found is None or found == list(range(found[0], 21)), f"line {line}"
    assert line > 10


def test_a_read_that_an_append_and_a_rotation_overtake_at_any_line_is_gapless() -> None:
    """It ends with the last record that there was at some moment of the call."""
    line, came = 0, True
    while came:
        line += 1
        with opened() as journal:
            for number in range(1, 11):
                journal.append((number, b"x" * 1500))

            def act(journal: journalkit.Journal = journal) -> None:
                journal.append((11, b"x" * 1500))
                journal.rotate()
                journal.append((12, b"x" * 1500))

            read = journal.read
            found, came = overtaken(lambda read=read: [record.lsn for record in read()], READS, line, act)
            assert len(found) in (10, 11, 12), f"line {line}"
            assert found == list(range(1, len(found) + 1)), f"line {line}"
    assert line > 10


def test_threads_append_and_read_beside_rotation_and_pruning() -> None:
    """Every read is a gapless run of records up to one that was there when it was asked for."""
    journal = opened()
    stop = threading.Event()
    wrong: list[Any] = []

    def append(name: int) -> None:
        for number in range(300):
            journal.append((name, number, b"x" * 100), sync="always" if number % 50 == 0 else None)

    def read() -> None:
        while not stop.is_set():
            first = journal.pruned_lsn + 1
            try:
                found = [record.lsn for record in journal.read(from_lsn=first)]
            except HistoryGoneError:
                continue
            if found != list(range(first, first + len(found))):
                wrong.append(found)

    def prune() -> None:
        while not stop.is_set():
            journal.prune(max(journal.lsn - 100, 0))

    writers = [threading.Thread(target=append, args=(name,)) for name in range(3)]
    others = [threading.Thread(target=target) for target in (read, prune)]
    for thread in (*writers, *others):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in others:
        thread.join()
    assert wrong == []
    assert journal.lsn == 900
    rest = list(journal.read())
    assert rest[-1].lsn == 900
    for name in range(3):
        numbers = [record.value[1] for record in rest if record.value[0] == name]
        assert numbers == list(range(300))[300 - len(numbers) :]
    journal.close()
