"""The journal: records in order, read from anywhere, pruned by whole segments."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import journalkit
from journalkit.errors import (
    ClosedError,
    CorruptionError,
    HistoryGoneError,
    KeyTypeError,
    KeyValueError,
    ReadOnlyError,
    RecordTooLargeError,
    StorageError,
    StoreFullError,
    UsageError,
)
from journalkit.testing import SimulatedClock, SimulatedDisk

PLACE = "/journal"


class Bench:
    """A disk and a clock, and what was opened on them."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk()
        self.clock = SimulatedClock(seed=5)
        self.opened: list[journalkit.Journal] = []

    def open(self, **options: Any) -> journalkit.Journal:
        usual: dict[str, Any] = {"fs": self.disk, "clock": self.clock, "segment_bytes_max": 4096}
        journal = journalkit.open_journal(PLACE, **(usual | options))
        self.opened.append(journal)
        return journal

    def segments(self) -> list[str]:
        return [name for name in self.disk.list(PLACE) if name.endswith(".jks")]


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An empty disk, and everything closed at the end."""
    bench = Bench()
    yield bench
    bench.disk.capacity_bytes = None
    for journal in bench.opened:
        journal.close()


@pytest.fixture
def long(bench: Bench) -> journalkit.Journal:
    """A journal of a hundred records in several segments; each value is its LSN and some padding."""
    journal = bench.open()
    for number in range(1, 101):
        journal.append((number, b"x" * 200), sync="never")
    assert len(bench.segments()) > 4
    return journal


def lsns(records: Iterator[journalkit.JournalRecord]) -> list[int]:
    """Return the LSNs of records, each checked against its value."""
    found = list(records)
    assert all(record.value == (record.lsn, b"x" * 200) for record in found)
    return [record.lsn for record in found]


def test_what_is_appended_is_read_in_order_with_lsn_and_time(bench: Bench) -> None:
    """Any value that a store takes, None too."""
    values = [{"kind": "signup", "user": 7}, None, [1, (2, 3)], "text", b"", 1 << 100]
    with bench.open() as journal:
        for number, value in enumerate(values, 1):
            assert journal.append(value) == number
            assert (journal.lsn, journal.durable_lsn) == (number, number)
            bench.clock.advance(1)
    with bench.open() as journal:
        records = list(journal.read())
        assert [record.value for record in records] == values
        assert [record.lsn for record in records] == [1, 2, 3, 4, 5, 6]
        assert [record.time for record in records] == [datetime(2026, 1, 1, 0, 0, n, tzinfo=UTC) for n in range(6)]
        assert journal.append("more") == 7
        assert (journal.epoch, len(bytes.fromhex(journal.uuid)), journal.pruned_lsn) == (2, 16, 0)
        assert journal.recovery_report.last_lsn == 6
        assert repr(journal) == "<journalkit.Journal '/journal', mode 'rw', LSN 7, durable to 7>"
    assert repr(journal) == "<journalkit.Journal '/journal', closed>"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, range(1, 101)),
        ({"from_lsn": 1}, range(1, 101)),
        ({"from_lsn": 60}, range(60, 101)),
        ({"from_lsn": 100}, [100]),
        ({"from_lsn": 101}, []),
        ({"from_lsn": 5000}, []),
        ({"to_lsn": 3}, [1, 2, 3]),
        ({"to_lsn": 0}, []),
        ({"from_lsn": 40, "to_lsn": 42}, [40, 41, 42]),
        ({"from_lsn": 42, "to_lsn": 40}, []),
        ({"from_lsn": 99, "to_lsn": 1000}, [99, 100]),
    ],
)
@pytest.mark.parametrize("mode", ["live", "reopened", "r"])
def test_a_read_takes_any_range_inclusive(
    bench: Bench, long: journalkit.Journal, mode: str, arguments: dict[str, Any], expected: Any
) -> None:
    """Across segments, and wherever the records are."""
    journal = long
    if mode == "reopened":
        long.close()
        journal = bench.open()
    elif mode == "r":
        journal = bench.open(mode="r")
    assert lsns(journal.read(**arguments)) == list(expected)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"from_lsn": 0}, KeyValueError),
        ({"from_lsn": -1}, KeyValueError),
        ({"from_lsn": "1"}, KeyTypeError),
        ({"from_lsn": True}, KeyTypeError),
        ({"to_lsn": -1}, KeyValueError),
        ({"to_lsn": 1.5}, KeyTypeError),
    ],
)
def test_what_is_no_lsn_is_refused_at_once(bench: Bench, arguments: dict[str, Any], error: type[UsageError]) -> None:
    """LSN 0 was told to be pruned."""
    journal = bench.open()
    with pytest.raises(error):
        journal.read(**arguments)


def test_a_read_ends_where_the_journal_ended_when_it_was_asked_for(bench: Bench) -> None:
    """What comes meanwhile is for the next one."""
    journal = bench.open()
    journal.append(1)
    records = journal.read()
    journal.append(2)
    assert [record.value for record in records] == [1]
    assert [record.value for record in journal.read()] == [1, 2]


def test_undurable_records_are_read_and_known_as_such(bench: Bench) -> None:
    """Here and beside the writer."""
    journal = bench.open()
    journal.append(1)
    journal.append(2, sync="never")
    assert (journal.lsn, journal.durable_lsn) == (2, 1)
    reader = bench.open(mode="r")
    assert ([record.value for record in reader.read()], reader.lsn, reader.durable_lsn) == ([1, 2], 2, 1)
    assert repr(reader) == "<journalkit.Journal '/journal', mode 'r', LSN 2, durable to 1>"
    assert journal.sync() == 2
    after = bench.disk.crash("none")
    with journalkit.open_journal(PLACE, fs=after) as left:
        assert [record.value for record in left.read()] == [1, 2]


def test_pruning_takes_whole_sealed_segments_and_never_more_than_asked_for(
    bench: Bench, long: journalkit.Journal
) -> None:
    """What is left is read, what is gone is an error that says what there is."""
    assert long.prune(0) == 0
    pruned = long.prune(50)
    assert 30 < pruned <= 50
    assert long.pruned_lsn == pruned
    assert long.prune(pruned) == pruned
    assert long.prune(10) == pruned
    assert lsns(long.read()) == list(range(pruned + 1, 101))
    with pytest.raises(HistoryGoneError, match="was pruned") as caught:
        long.read(from_lsn=pruned)
    assert (caught.value.first_lsn, caught.value.last_lsn) == (pruned + 1, 100)
    long.close()
    with bench.open() as again:
        assert again.pruned_lsn == pruned
        assert lsns(again.read()) == list(range(pruned + 1, 101))
        again.append((101, b"x" * 200))
    for wrong in (-1, "5", True):
        with pytest.raises(UsageError):
            again.prune(wrong)  # type: ignore[arg-type]


def test_everything_can_be_pruned_after_a_rotation(bench: Bench) -> None:
    """The active segment never goes; numbering goes on."""
    journal = bench.open()
    journal.append((1, b"x" * 200))
    assert journal.prune(1) == 0
    journal.rotate()
    assert journal.prune(1) == 1
    assert list(journal.read()) == []
    assert journal.append((2, b"x" * 200)) == 2
    assert len(bench.segments()) == 1
    journal.close()
    assert lsns(bench.open().read()) == [2]


def test_a_record_that_is_pruned_while_it_is_read_is_history(bench: Bench, long: journalkit.Journal) -> None:
    """Not a missing file, which would be corruption."""
    records = long.read()
    assert next(records).lsn == 1
    pruned = long.prune(60)
    with pytest.raises(HistoryGoneError) as caught:
        list(records)
    assert caught.value.first_lsn == pruned + 1


def test_a_reader_whose_writer_prunes_hears_of_history_too(bench: Bench, long: journalkit.Journal) -> None:
    """Its own manifest was older than that, so it spoke of damage."""
    reader = bench.open(mode="r")
    pruned = long.prune(60)
    with pytest.raises(HistoryGoneError, match=f"{pruned + 1} to 100 are there"):
        list(reader.read())
    assert lsns(reader.read(from_lsn=pruned + 1)) == list(range(pruned + 1, 101))


def test_two_who_prune_at_once_never_go_back(bench: Bench, long: journalkit.Journal) -> None:
    """The one with less would have made the manifest name files that are gone."""
    keeper = long._opened.keeper  # type: ignore[union-attr]
    publish = keeper.publish
    results: list[int] = []

    def overtaken(change: Callable[[Any], Any]) -> Any:
        keeper.publish = publish  # type: ignore[method-assign]
        results.append(long.prune(80))
        return publish(change)

    keeper.publish = overtaken  # type: ignore[method-assign]
    assert long.prune(30) == results[0] == long.pruned_lsn
    assert results[0] > 60
    long.close()
    assert lsns(bench.open().read()) == list(range(results[0] + 1, 101))


def test_a_file_that_cannot_be_removed_does_not_stop_a_prune(bench: Bench, long: journalkit.Journal) -> None:
    """It is swept at the next open."""
    bench.disk.fail("unlink", 1, errno.EIO)
    pruned = long.prune(50)
    assert pruned > 30
    long.close()
    before = len(bench.segments())
    bench.open()
    assert len(bench.segments()) <= before


def test_damage_is_told_with_its_place_and_what_is_before_it_is_read(bench: Bench, long: journalkit.Journal) -> None:
    """Never a wrong record, never one left out."""
    name = bench.segments()[1]
    bench.disk.flip_bit(f"{PLACE}/{name}", 8 * 2000)
    found: list[int] = []
    with pytest.raises(CorruptionError) as caught:  # noqa: PT012 - what came before counts
        for record in long.read():
            found.append(record.lsn)
    assert found == list(range(1, found[-1] + 1))
    assert name in caught.value.path
    assert 0 < caught.value.offset_bytes <= 2000  # type: ignore[operator]
    assert lsns(long.read(from_lsn=60)) == list(range(60, 101))
    bench.disk.unlink(f"{PLACE}/{name}")
    with pytest.raises(CorruptionError, match="missing"):
        list(long.read())
    bench.disk.unlink(f"{PLACE}/MANIFEST")
    with pytest.raises(CorruptionError, match="missing"):
        list(long.read())


def test_a_value_that_does_not_decode_is_damage_and_not_a_wrong_value(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frame is whole: somebody wrote it so."""
    journal = bench.open()
    monkeypatch.setattr(type(journal._codec), "encode", lambda _self, _value: b"\xff")
    journal.append(1)
    monkeypatch.undo()
    with pytest.raises(CorruptionError, match="isn't a value") as caught:
        list(journal.read())
    assert caught.value.lsn == 1


@pytest.mark.parametrize("operation", ["open_read", "pread"])
def test_a_disk_that_cannot_be_read_is_a_storage_error(bench: Bench, long: journalkit.Journal, operation: str) -> None:
    """Trying again is the next step, and works."""
    bench.disk.fail(operation, 1, errno.EIO)
    with pytest.raises(StorageError, match="try again"):
        list(long.read())
    assert len(lsns(long.read())) == 100


def test_wrong_values_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is written."""
    journal = bench.open()
    for value in (object(), {1, 2}.__iter__(), "\ud800"):
        with pytest.raises(UsageError):
            journal.append(value)
    with pytest.raises(UsageError):
        journal.append(1, sync="perhaps")  # type: ignore[arg-type]
    monkeypatch.setattr("journalkit.journal.PAYLOAD_BYTES_MAX", 10)
    with pytest.raises(RecordTooLargeError) as caught:
        journal.append(b"x" * 20)
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (21, 10)
    assert journal.lsn == 0


def test_reading_only_changes_nothing(bench: Bench, long: journalkit.Journal) -> None:
    """Each verb that would is refused."""
    count = bench.disk.operation_count
    reader = bench.open(mode="r", sync="interval")
    for attempt in (lambda: reader.append(1), lambda: reader.prune(5), reader.rotate, reader.sync):
        with pytest.raises(ReadOnlyError):
            attempt()
    assert (reader.epoch, reader.uuid, reader.pruned_lsn) == (1, long.uuid, 0)
    reader.close()
    assert bench.disk.operation_count == count
    with pytest.raises(ClosedError):
        reader.read()


def test_closing_ends_a_read(bench: Bench, long: journalkit.Journal) -> None:
    """What another writer does afterwards would look like damage."""
    records = long.read()
    next(records)
    long.close()
    with pytest.raises(ClosedError):
        list(records)


def test_a_full_disk_is_told_and_over_when_there_is_room(bench: Bench, long: journalkit.Journal) -> None:
    """Pruning makes some, out of the reserve."""
    bench.disk.capacity_bytes = 1 << 40
    bench.disk.capacity_bytes -= bench.disk.free_bytes("/")
    number = 100
    with pytest.raises(StoreFullError):  # noqa: PT012 - one of many is refused
        while True:
            long.append((number + 1, b"x" * 200))
            number += 1
    assert lsns(long.read()) == list(range(1, number + 1))
    assert long.prune(60) > 40
    assert long.append((number + 1, b"x" * 200)) == number + 1
    assert lsns(long.read(from_lsn=90)) == list(range(90, number + 2))


def test_raw_values_are_bytes_as_they_are(bench: Bench) -> None:
    """For who has an encoding of his own."""
    with bench.open(codec="raw", metadata={"schema": 3}) as journal:
        journal.append(b"\xff\x00")
        with pytest.raises(KeyTypeError):
            journal.append("text")
    with pytest.raises(UsageError, match="raw"):
        bench.open(codec="cbor", mode="r")
    assert [record.value for record in bench.open(mode="r").read()] == [b"\xff\x00"]
