"""mode="r": what is there, beside a writer or without one, and never a byte changed."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

import journalkit
from journalkit.log.durable import DurableFile


class Bench(Protocol):
    disk: Any
    clock: Any
    opened: list[Any]

    def open(self, **options: Any) -> journalkit.Store: ...
    def names(self, ending: str) -> list[str]: ...


def test_a_reader_sees_what_was_there_when_it_opened(bench: Bench) -> None:
    """Undurable records too; it shows them as such."""
    store = bench.open(metadata={"a": 1})
    store["a"] = 1
    store.put("b", 2, sync="never")
    count = bench.disk.operation_count
    reader = bench.open(mode="r")
    assert (dict(reader), reader.lsn, reader.durable_lsn) == ({"a": 1, "b": 2}, 2, 1)
    assert (reader.uuid, reader.epoch, reader.metadata) == (store.uuid, 1, {"a": 1})
    assert (reader.snapshot_lsn, reader.pruned_lsn) == (0, 0)
    assert repr(reader) == "<journalkit.Store '/store', mode 'r', LSN 2, durable to 1>"
    assert reader.recovery_report.records_replayed == 2
    reader.check()
    assert reader.statistics().segments == 1
    reader.close()
    assert bench.disk.operation_count == count
    store["c"] = 3


def test_what_is_durable_is_known_from_slot_manifest_and_seal(bench: Bench) -> None:
    """Only the manifest was asked, which is as old as the last rotation or fold."""
    store = bench.open()
    store["a"] = 1
    assert bench.open(mode="r").durable_lsn == 1
    store.put("b", 2, sync="never")
    assert bench.open(mode="r").durable_lsn == 1
    store.compact()
    assert bench.open(mode="r").durable_lsn == 2
    store.put("c", 3, sync="never")
    store.close()
    # Torn, the slot promises nothing; the seal still does.
    bench.disk.write_bytes("/store/durable", b"torn")
    assert bench.open(mode="r").durable_lsn == 3
    store = bench.open()
    store["d"] = 4
    # A slot of an older life promises nothing either.
    old = bench.disk.read_bytes("/store/durable")
    store.close()
    store = bench.open()
    store.put("e", 5, sync="never")
    bench.disk.write_bytes("/store/durable", old)
    assert bench.open(mode="r").durable_lsn == 4


def test_a_reader_keeps_its_files_while_the_writer_folds_and_prunes(bench: Bench) -> None:
    """It holds them open; what it sees doesn't change."""
    store = bench.open(keep_snapshots=1)
    store.update({f"{number:04}": "v" * 100 for number in range(1000)})
    store.compact()
    store["tail"] = 1
    reader = bench.open(mode="r", cache_bytes=0)
    store.clear()
    store.compact()
    store["tail"] = 2
    store.compact()
    assert len(reader) == 1001
    assert (reader["0000"], reader["0999"], reader["tail"]) == ("v" * 100, "v" * 100, 1)
    reader.check()
    assert (reader.lsn, reader.snapshot_lsn) == (2, 1)


def test_a_reader_does_not_wait_for_a_lock_nor_take_one(bench: Bench) -> None:
    """Any number of them, beside one writer."""
    store = bench.open()
    readers = [bench.open(mode="r", sync="interval", compaction="thread") for _ in range(3)]
    store["a"] = 1
    assert all(reader == {} for reader in readers)
    assert all(reader._backgrounds == [] for reader in readers)
    store.close()
    bench.open()


def test_a_reader_never_knew_less_to_be_durable_than_the_program_was_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation and a close told the program first: who asked it and then opened the files heard a lower LSN."""
    lags: list[int] = []
    begin = DurableFile.__init__

    def watched(durable: DurableFile, *args: Any, **more: Any) -> None:
        begin(durable, *args, **more)
        write = durable.file.pwrite

        def look_and_write(data: bytes, offset_bytes: int) -> int:
            with bench.open(mode="r") as reader:
                lags.append(store.durable_lsn - reader.durable_lsn)
            return write(data, offset_bytes)

        monkeypatch.setattr(durable.file, "pwrite", look_and_write)

    monkeypatch.setattr(DurableFile, "__init__", watched)
    store = bench.open(segment_bytes_max=4096)
    for number in range(60):
        store.put(f"{number:02}", b"v" * 200, sync="always" if number % 7 == 0 else "never")
    assert store.statistics().segments > 3
    store.close()
    assert len(lags) > 9
    assert max(lags) <= 0


def test_the_seal_of_an_older_segment_vouches_for_its_records(bench: Bench) -> None:
    """Only the last segment's was heard: between a rotation and the next fsync a reader knew less than there was."""
    store = bench.open(segment_bytes_max=4096)
    store["first"] = 1
    old = bench.disk.read_bytes("/store/durable")
    while store.statistics().segments == 1:
        store.put("again", b"v" * 200, sync="never")
    store.sync()
    lsn = store.lsn
    bench.disk.write_bytes("/store/durable", old)
    assert bench.open(mode="r").durable_lsn == lsn - 1
