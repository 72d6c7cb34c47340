"""Stores in states: what is saved is what was visible, and what can't be is refused."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.checkpoint import stores
from journalkit.checkpoint.stores import captured
from journalkit.checkpoint.streams import Remembered
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
from journalkit.store.moment import Moment
from journalkit.testing import SimulatedClock, SimulatedDisk
from tests.unit.checkpoint.conftest import Place
from tests.unit.checkpoint.stored import MANUAL, contents, fill, restored

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
        store.update(dict.fromkeys(range(500), "same" * 100))
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
    with journalkit.open_journal("memory://") as journal:
        pass
    before = place.data()
    for state, error, words in (
        (closed, ClosedError, "closed"),
        ({"v": view}, ClosedError, "the view is closed"),
        (late, UsageError, "isn't open"),
        ([1, store.transaction()], KeyTypeError, r"state\[1\] is a transaction"),
        ({"log": journal}, KeyTypeError, r"state\['log'\] is a journal"),
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


def test_a_store_that_is_closed_meanwhile_is_saved_all_the_same(tmp_path: Path) -> None:
    """The moment has what it needs: who leaves both blocks in the other order loses nothing."""
    with journalkit.open_checkpoints(tmp_path / "job") as job:
        with journalkit.open(tmp_path / "state", **MANUAL) as store:
            fill(store, 0, 1000)
            store.compact()
            fill(store, 0, 10)
            expected = dict(store)
            saving = job.save_async(store.view())
        checkpoint = saving.wait()
    assert checkpoint is not None
    with checkpoint.load().restore("memory://", **MANUAL) as again:
        assert dict(again) == expected


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
