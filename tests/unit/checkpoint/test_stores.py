"""Stores in states: what is saved is what was visible, a save writes what is new, and what can't be is refused."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

import journalkit
from journalkit.checkpoint import stores, streams
from journalkit.checkpoint.stores import captured
from journalkit.checkpoint.streams import PIECE_BYTES, Remembered, Stream, in_pieces
from journalkit.errors import (
    ClosedError,
    CorruptionError,
    DamagedCheckpointWarning,
    ForkedError,
    KeyTypeError,
    KeyValueError,
    StorageError,
    UsageError,
)
from journalkit.format import names
from journalkit.format.manifest import NUMBER_MAX
from journalkit.store.layers import Frozen
from journalkit.store.memtable import MemTable
from journalkit.store.moment import Moment
from journalkit.testing import SimulatedClock, SimulatedDisk
from tests.unit.checkpoint.conftest import Place

MANUAL: dict[str, Any] = {"compaction": "manual"}


@pytest.fixture
def disk() -> SimulatedDisk:
    """A disk that has the job's store."""
    return SimulatedDisk()


@pytest.fixture
def store(disk: SimulatedDisk) -> Iterator[journalkit.Store]:
    """A store with a base, a delta and something that isn't in either."""
    opened = journalkit.open("/state", fs=disk, clock=SimulatedClock(), metadata={"of": ["job"]}, fold_bytes_min=1, **MANUAL)
    with opened as store:
        fill(store, 0, 400)
        store.compact()
        fill(store, 100, 110)
        store.delete(5)
        store.compact()
        fill(store, 200, 205)
        store.delete(6)
        with store.transaction() as transaction:
            transaction.offsets["input"] = 17
        yield store


def fill(store: journalkit.Store, start: int, stop: int, seed: int = 1) -> None:
    """Give keys other values: of a length and of chance, so that nothing makes them smaller."""
    chance = Random(f"{start} {stop} {seed}")
    store.update({key: chance.randbytes(300) for key in range(start, stop)})


def contents(store: Any) -> tuple[Any, ...]:
    """Return all that a store is for who reads it."""
    return dict(store), dict(store.offsets), store.lsn


def restored(handle: Any, **options: Any) -> tuple[Any, ...]:
    """Return what a store is that is made of what was saved."""
    with handle.restore("/restored", fs=SimulatedDisk(), **MANUAL, **options) as store:
        store.check()
        return contents(store)


# -- what is in it ---------------------------------------------------------------------------------


def test_what_is_restored_is_what_was_visible_at_the_call(place: Place, store: journalkit.Store) -> None:
    """Not what came meanwhile, whether it was folded or not: offsets of the state would be of another moment."""
    job = place.open()
    expected = contents(store)
    saving = job.save_async({"db": store, "step": 7}, offsets={"in": 3})
    fill(store, 0, 400, seed=2)
    store.compact(full=True)
    checkpoint = saving.wait()
    assert checkpoint is not None
    state = checkpoint.load()
    handle = state["db"]
    assert (state["step"], handle.lsn, handle.tables, handle.codec) == (7, expected[2], 3, "cbor")
    assert (handle.uuid, dict(handle.metadata)) == (store.uuid, {"of": ["job"]})
    assert repr(handle) == f"<state['db']: store of LSN {handle.lsn}, {handle.size_bytes} bytes, saved>"
    assert restored(handle) == expected
    assert contents(store) != expected


def test_a_restored_store_is_as_it_was_saved_and_goes_on_by_itself(place: Place, store: journalkit.Store) -> None:
    """LSNs go on where they were; metadata, codec and identity are those of the original, as with a copy."""
    handle = place.open().save({"db": store}).load()["db"]
    disk = SimulatedDisk()
    with handle.restore("/new", fs=disk, clock=SimulatedClock(seed=2), **MANUAL) as again:
        assert (again.lsn, again.snapshot_lsn, again.durable_lsn, again.pruned_lsn) == (store.lsn,) * 4
        assert (again.uuid, again.epoch, dict(again.metadata)) == (store.uuid, store.epoch + 1, dict(store.metadata))
        assert again.put("more", 1) == store.lsn + 1
        again.compact(full=True)
        assert again["more"] == 1
    assert "restore.tmp" not in disk.list("/new")
    with journalkit.open("/new", fs=disk, **MANUAL) as again:
        assert again.recovery_report.outcome == "clean"
        assert dict(again) == {**dict(store), "more": 1}


@pytest.mark.parametrize("codec", ["cbor", "raw", "msgpack"])
@pytest.mark.parametrize("what", ["nothing", "deleted", "unfolded", "folded"])
def test_stores_of_every_kind_come_back(place: Place, codec: str, what: str) -> None:
    """An empty one, one of which nothing is left, one that was never folded."""
    with journalkit.open("memory://", codec=codec, **MANUAL) as store:
        if what != "nothing":
            store.update({f"{key}": b"x" * key for key in range(50)})
        if what == "folded":
            store.compact()
        if what == "deleted":
            for key in list(store):
                del store[key]
        handle = place.open().save(store).load()
        assert (handle.codec, handle.tables, handle.lsn) == (codec, int(what != "nothing"), store.lsn)
        assert restored(handle) == contents(store)


def test_a_store_of_compressed_tables_comes_back(place: Place) -> None:
    """Its tables go in as they are."""
    with journalkit.open("memory://", compression="zstd", **MANUAL) as store:
        store.update({key: "same" * 100 for key in range(500)})
        store.compact()
        store.put("new", 1)
        assert restored(place.open().save(store).load()) == contents(store)


def test_a_moment_beyond_all_records_is_saved_as_that(place: Place, store: journalkit.Store) -> None:
    """A recovery that gave records up goes on above them: there is nothing at the last LSN, and it was shown."""
    moment = store.moment()
    gap = Moment(replace(moment.state, lsn=moment.state.lsn + 5, memtables=()), moment.manifest)

    class View(journalkit.View):
        def moment(self) -> Moment:
            return gap

    view = View(gap.state, gap.manifest, store._values, store._offset_values)
    handle = place.open().save({"db": view}).load()["db"]
    with handle.restore("memory://", **MANUAL) as again:
        assert again.lsn == store.lsn + 5


@pytest.mark.parametrize("sync", ["interval", "never"])
def test_what_isnt_durable_in_the_store_is_in_the_checkpoint(place: Place, sync: Any) -> None:
    """What is visible is saved, and then survives here what it may not survive there."""
    with journalkit.open("memory://", sync=sync, **MANUAL) as store:
        store["a"] = 1
        assert restored(place.open().save(store).load())[0] == {"a": 1}


def test_views_read_only_stores_and_those_of_asyncio_are_saved(place: Place, store: journalkit.Store) -> None:
    """A view is the natural way to save a moment that is past."""
    job = place.open()
    view, expected = store.view(), contents(store)
    store["later"] = 1
    fs = store._engine.writing.opened.keeper._fs  # type: ignore[union-attr]
    with journalkit.open("/state", mode="r", fs=fs) as reader:
        state = job.save({"then": view, "now": store, "reader": reader}).load()
    assert restored(state["then"]) == expected
    assert restored(state["now"]) == restored(state["reader"]) == contents(store)

    async def live() -> Any:
        async with journalkit.open_async("memory://", **MANUAL) as late:
            await late.put("a", 1)
            async with late.view() as moment:
                await late.put("a", 2)
                return await asyncio.to_thread(job.save, {"then": moment, "now": late})

    state = asyncio.run(live()).load()
    assert [restored(state[name])[0] for name in ("then", "now")] == [{"a": 1}, {"a": 2}]


def test_a_store_that_is_there_twice_is_of_one_moment_and_written_once(place: Place, store: journalkit.Store) -> None:
    """Two halves of a state that hold one store agree."""
    job = place.open()
    once = job.save(store).size_bytes
    twice = job.save([store, {"same": store}])
    assert twice.size_bytes == once
    with store.view() as view:
        assert job.save([view, store.view()]).size_bytes < once * 2
    first, second = twice.load()[0], twice.load()[1]["same"]
    assert restored(first) == restored(second) == contents(store)


def test_what_was_loaded_is_saved_again_without_being_read(place: Place, store: journalkit.Store) -> None:
    """A job that passes its store on and never restores it; and by another kind of digest it is read."""
    job = place.open()
    first = job.save({"db": store, "step": 1})
    reads: list[str] = []
    place.bucket.before = lambda _who, what, key, *_: reads.append(key) if what == "get" else None
    second = job.save({"db": first.load(lazy=True)["db"], "step": 2})
    assert not [key for key in reads if key.startswith("packs/")]
    place.bucket.before = None
    assert restored(second.load()["db"]) == contents(store)
    assert list(second.manifest.packs()) == list(first.manifest.packs())


def test_what_was_loaded_is_read_where_its_digests_are_of_another_kind(place: Place, store: journalkit.Store) -> None:
    """It is the same bytes, in pieces of the same length."""
    handle = place.open().save(store).load(lazy=True)
    node, found = handle.captured()
    assert [stream.size_bytes for stream in found] == [sum(map(len, stream.pieces())) for stream in found]
    assert [stream.digests("later") for stream in found] == [None] * len(node.tables)
    for table, stream in zip(store.moment().state.tables, found[1:], strict=True):
        assert b"".join(stream.pieces()) == table.source.file.pread(table.info.size_bytes, 0)


# -- what is written -------------------------------------------------------------------------------


class Reads:
    """Counts what is read of tables, and how much is written of packs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tables = 0
        pieces = stores.TableStream.pieces

        def counted(stream: stores.TableStream) -> Iterator[memoryview]:
            self.tables += 1
            return pieces(stream)

        monkeypatch.setattr(stores.TableStream, "pieces", counted)


def pack_bytes(place: Place, save: int) -> int:
    """Return how long a save's pack is, 0 if it wrote none."""
    return len(place.bucket.contents().get(names.pack_key(1, save, 0), b""))


@pytest.mark.parametrize("is_async", [False, True])
def test_a_save_reads_and_writes_what_is_new(
    place: Place, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    """One per cent more is about one per cent to write, whatever the store has; and if nothing is new, nothing."""
    reads = Reads(monkeypatch)
    job = place.open()

    def save(store: journalkit.Store) -> None:
        if is_async:
            job.save_async({"db": store}).wait()
        else:
            job.save({"db": store})

    with journalkit.open("memory://", fold_ratio=1e9, **MANUAL) as store:
        fill(store, 0, 10_000)
        store.compact()
        save(store)
        assert (pack_bytes(place, 1) > 3_000_000, reads.tables) == (True, 1)
        save(store)
        assert (pack_bytes(place, 2), reads.tables) == (0, 1)
        fill(store, 500, 600)
        save(store)
        assert 30_000 < pack_bytes(place, 3) < 45_000
        save(store)
        assert (pack_bytes(place, 4), reads.tables) == (0, 1)
        store.compact()
        save(store)
        assert pack_bytes(place, 5) < 45_000
        assert reads.tables == 2
        job.save("no store")
        save(store)
        assert reads.tables == 4
        assert restored(next(iter(job)).load()["db"]) == contents(store)


def test_a_base_that_is_gone_is_read_and_written_anew(place: Place, store: journalkit.Store) -> None:
    """What was remembered of it says nothing of where it lies now."""
    job = place.open(trash_period=0)
    first = job.save({"db": store})
    job.save("nothing of it")
    job.delete(first)
    job.prune()
    last = job.save({"db": store})
    assert restored(last.load()["db"]) == contents(store)
    assert last.verify() == []


def test_the_bytes_of_a_large_store_are_never_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Piece by piece, and a piece is given up once it is written."""
    with journalkit.open("memory://", **MANUAL) as store:
        store.update({key: Random(key).randbytes(100_000) for key in range(80)})
        found = captured(store, Remembered(), "state")
        assert found is not None
        [stream] = found[1]
        sizes = [len(piece) for piece in stream.pieces()]
        assert sizes[:-1] == [PIECE_BYTES] * (len(sizes) - 1)
        assert 8_000_000 < stream.size_bytes < sum(sizes) < 8_020_000
        most = 0
        taken = stores._Outlet.taken

        def looked(outlet: stores._Outlet) -> list[bytes]:
            nonlocal most
            given = taken(outlet)
            most = max(most, sum(map(len, given)))
            return given

        monkeypatch.setattr(stores._Outlet, "taken", looked)
        monkeypatch.setattr(stores, "_RUN_ENTRIES", 4)
        assert [len(piece) for piece in stream.pieces()] == sizes
        assert most < 2 * PIECE_BYTES


def test_saving_and_restoring_take_memory_for_some_chunks(tmp_path: Path) -> None:
    """A store may be larger than memory: what is held is what is under way."""
    with (
        journalkit.open(tmp_path / "state", sync="never", **MANUAL) as store,
        journalkit.open_checkpoints(tmp_path / "job", threads=0) as job,
    ):
        for number in range(64):
            store.put(number, Random(number).randbytes(1 << 20))
        store.compact()
        tracemalloc.start()
        try:
            checkpoint = job.save({"db": store})
            saved_peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            again = checkpoint.load(lazy=True)["db"].restore(tmp_path / "new", **MANUAL)
            restored_peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        with again:
            assert again[63] == store[63]
    assert checkpoint.size_bytes > 64 << 20
    assert saved_peak < 16 << 20
    assert restored_peak < 48 << 20


def test_progress_ends_with_all_of_it(place: Place, store: journalkit.Store) -> None:
    """How much of a store isn't in tables yet can only be guessed before."""
    told: list[tuple[int, int]] = []
    job = place.open()
    checkpoint = job.save(store, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (checkpoint.size_bytes,) * 2
    assert 0 < abs(told[0][1] - checkpoint.size_bytes) < 5000


def test_the_same_changes_are_the_same_bytes_and_others_are_others() -> None:
    """A save of what hasn't changed writes nothing; and two stores of one number and LSN aren't taken for each other."""

    def table(entries: dict[bytes, bytes | None]) -> bytes:
        frozen = Frozen(9, (MemTable(entries, 9, 0),), ())
        return b"".join(stores.ChangesStream(frozen, bytes(16), 3).pieces())

    one = {b"a": b"1", b"b": None, b"c": b"2"}
    assert table(one) == table(dict(reversed(one.items())))
    assert table(one) != table({**one, b"c": b"3"})
    assert table({b"a": b""})[:32] != table({b"a": None})[:32]


def test_pieces_are_of_one_length_however_bytes_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the same table would be cut otherwise from one save to the next."""
    monkeypatch.setattr(streams, "PIECE_BYTES", 10)
    data = bytes(range(256))
    for cuts in ([], [3, 10, 11], [100, 200], [256], range(0, 256, 7)):
        places = [0, *cuts, 256]
        parts = [data[start:stop] for start, stop in zip(places, places[1:], strict=False)]
        assert list(map(bytes, in_pieces(parts))) == [data[at : at + 10] for at in range(0, 256, 10)]
    assert list(in_pieces([b"", b""])) == []


def test_a_plain_stream_knows_nothing_and_learns_nothing() -> None:
    """What can't be the same twice needs no memory."""

    class Once(Stream):
        size_bytes = 1

        def pieces(self) -> Iterator[memoryview]:
            yield memoryview(b"x")

    once = Once()
    once.learn("sha256", [(b"", 1)])
    assert once.digests("sha256") is None


# -- what can't be ---------------------------------------------------------------------------------


def test_what_is_of_no_more_use_or_not_yet_is_refused_before_anything_is_written(
    place: Place, store: journalkit.Store
) -> None:
    """Closed stores and views, transactions, what asyncio hasn't begun; an error of ours, and its place."""
    job = place.open()
    closed = journalkit.open("memory://")
    closed.close()
    view = store.view()
    view.close()
    late = journalkit.open_async("memory://")
    before = place.data()
    for state, error, words in (
        (closed, ClosedError, "closed"),
        ({"v": view}, ClosedError, "the view is closed"),
        (late, UsageError, "isn't open"),
        ([1, store.transaction()], KeyTypeError, r"state\[1\] is a transaction"),
    ):
        with pytest.raises(error, match=words):
            job.save(state)
    assert place.data() == before
    assert job.latest() is None


def test_a_store_whose_numbers_are_at_their_end_is_refused(store: journalkit.Store) -> None:
    """Nobody could restore it."""
    moment = store.moment()
    last = Moment(moment.state, replace(moment.manifest, next_table=NUMBER_MAX))

    class View(journalkit.View):
        def moment(self) -> Moment:
            return last

    view = View(last.state, last.manifest, store._values, store._offset_values)
    with pytest.raises(KeyValueError, match="state is a store that no checkpoint can hold: next_table"):
        captured(view, Remembered(), "state")


def test_a_table_that_is_damaged_in_the_store_fails_the_save(
    place: Place, store: journalkit.Store, disk: SimulatedDisk
) -> None:
    """Copied as it is it would be sound for the checkpoint, and for nobody who restores it."""
    job = place.open()
    good = job.save({"step": 1})
    name = names.table_name(store.moment().state.tables[-1].info.number)
    disk.flip_bit(f"/state/{name}", 8 * 5000)
    with pytest.raises(CorruptionError, match=name):
        job.save({"db": store})
    assert job.latest() == good
    disk.flip_bit(f"/state/{name}", 8 * 5000)
    job.save({"db": store})


def test_a_table_that_cant_be_read_fails_the_save(
    place: Place, store: journalkit.Store, disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an error of ours; in a child of the process, whose descriptors are closed, by one that says so."""
    job = place.open()
    disk.fail("pread", 2, 5)
    with pytest.raises(StorageError, match="can't be read"):
        job.save({"db": store})
    disk.fail("pread", 2, 9)
    monkeypatch.setattr("journalkit.store.failures.was_forked", lambda: True)
    with pytest.raises(ForkedError, match="parent process"):
        job.save({"db": store})
    assert job.latest() is None


def test_a_table_that_got_shorter_behind_the_look_at_it_fails_the_save(
    store: journalkit.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is saved is what was checked, or nothing is."""
    table = store.moment().state.tables[0]
    monkeypatch.setattr(type(table), "verify", lambda _table, **_options: None)
    file: Any = table.source.file
    monkeypatch.setattr(type(file), "pread", lambda _file, count, _offset: bytes(count - 1))
    with pytest.raises(CorruptionError, match="ends too early"):
        list(stores.TableStream(table, Remembered()).pieces())


# -- damage ----------------------------------------------------------------------------------------


def test_a_damaged_store_is_passed_over_as_everything_damaged_is(place: Place, store: journalkit.Store) -> None:
    """`load` looks at every byte of it, so `load_latest` goes on; a lazy one leaves that to who restores."""
    job = place.open()
    good = job.save({"db": store})
    expected = contents(store)
    fill(store, 0, 50, seed=3)
    bad = job.save({"db": store})
    place.flip(names.pack_key(1, 2, 0))
    with pytest.raises(CorruptionError, match=r"state\['db'\]\['table-\d+.jkt'\]"):
        bad.load()
    assert len(bad.verify()) == 1
    with pytest.warns(DamagedCheckpointWarning):
        loaded = job.load_latest()
    assert loaded is not None
    assert (loaded[1], restored(loaded[0]["db"])) == (good, expected)
    disk = SimulatedDisk()
    with pytest.raises(CorruptionError, match=names.pack_key(1, 2, 0)):
        bad.load(lazy=True)["db"].restore("/new", fs=disk)
    assert disk.status("/new") is None


def test_a_copy_in_another_place_has_the_store(place: Place, store: journalkit.Store) -> None:
    """From a bucket to memory: chunk by chunk, in bounded memory."""
    checkpoint = place.open().save({"db": store}, name="before")
    with journalkit.open_checkpoints("memory://") as other:
        copied = other.copy_from(checkpoint)
        assert restored(copied.load(paths=[("db",)])[("db",)]) == contents(store)
    with pytest.raises(KeyValueError, match="nothing at"):
        checkpoint.load(paths=[("db", 1)])


def test_a_real_directory_is_restored_beside_a_writer_that_goes_on(tmp_path: Path) -> None:
    """Files that a fold removed are read all the same, by the descriptors of the view."""
    with (
        journalkit.open(tmp_path / "state", keep_snapshots=1, **MANUAL) as store,
        journalkit.open_checkpoints(tmp_path / "job", threads=0) as job,
    ):
        fill(store, 0, 3000)
        store.compact()
        view, expected = store.view(), dict(store)
        gate = threading.Event()

        def write() -> None:
            for turn in range(3):
                fill(store, 0, 3000, seed=turn + 5)
                store.compact(full=True)
            gate.set()

        thread = threading.Thread(target=write)
        thread.start()
        gate.wait(60)
        thread.join()
        checkpoint = job.save({"db": view})
        with checkpoint.load()["db"].restore(tmp_path / "new", compaction="manual") as again:
            assert dict(again) == expected
            assert again.path == str(tmp_path / "new")
            again.check()
