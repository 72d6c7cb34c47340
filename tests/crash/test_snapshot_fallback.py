"""Which snapshot recovery starts from, and what it does when that one is damaged."""

from __future__ import annotations

import errno
from typing import Any

import pytest

import journalkit
from journalkit.errors import CorruptionError, StorageError
from journalkit.format.manifest import encode_manifest
from journalkit.format.table import HEADER_BYTES as TABLE_HEADER_BYTES
from journalkit.recovery import snapshots
from journalkit.testing import SimulatedDisk

OLDER, NEWER = 0, 1


def folded(world: Any) -> Any:
    """Write two snapshots that are both kept, the log from the older one on, and a tail."""
    session = world.open()
    for _ in range(3):
        session.put()
    session.fold()
    for _ in range(3):
        session.put()
    session.fold()
    session.put()
    session.close()
    assert world.manifest.pruned_lsn == 3
    assert [entry.lsn for entry in world.manifest.snapshots] == [6, 3]
    return world.copy()


def spoil(world: Any, which: int) -> str:
    """Flip a bit in the middle of a table and return its name."""
    name = str(world.tables()[which])
    world.fs.flip_bit(f"/store/{name}", 8 * (len(world.read(name)) // 3))
    return name


def unpruned(world: Any) -> Any:
    """Write a snapshot, and leave the log below it as it is before the prune comes."""
    session = world.open()
    for _ in range(3):
        session.put()
    session.fold(prune=False)
    session.put()
    session.close()
    return world.copy()


def test_the_newest_sound_snapshot_is_the_beginning(world: Any) -> None:
    """Only the tail behind it is replayed; that is what it is for."""
    session = folded(world).open()
    assert (session.report.snapshot_lsn, session.report.fell_back, session.report.records_replayed) == (6, False, 1)


@pytest.mark.parametrize("how", ["flipped", "missing", "empty", "swapped", "unreadable"])
def test_a_damaged_newest_snapshot_is_replaced_by_the_older_one_and_its_log(world: Any, how: str) -> None:
    """Nothing is lost, it is said, and the damaged table is kept aside once a manifest without it is durable."""
    store = folded(world).in_memory() if how != "unreadable" else folded(world)
    name = store.tables()[NEWER]
    if how == "flipped":
        data = bytearray(store.read(name))
        data[200] ^= 1
        store.write(name, bytes(data))
    elif how == "missing":
        store.remove(name)
    elif how == "empty":
        store.write(name, b"")
    elif how == "swapped":
        store.write(name, store.read(store.tables()[OLDER]))
    else:
        store.fs.fail("pread", 1, errno.EIO, times=None, path_contains=name)
    assert len(store.look()) == 7
    session = store.open()
    assert store.check(session) == 7
    assert (session.report.snapshot_lsn, session.report.fell_back, session.report.records_replayed) == (3, True, 4)
    assert [entry.lsn for entry in store.manifest.snapshots] == [3]
    if how not in ("missing", "unreadable"):
        assert name not in store.names()
        assert store.quarantined() == [name]
        assert session.report.quarantine == "/store/quarantine"
    session.close()
    assert not store.open().report.fell_back


def test_a_crash_on_the_way_back_to_the_older_snapshot_keeps_the_table_until_it_is_decided(world: Any) -> None:
    """Moved before the manifest, a damaged table would be a missing one; the other order only leaves a stray."""
    store = folded(world)
    name = spoil(store, NEWER)
    whole = store.fork()
    before = whole.fs.operation_count
    whole.open()
    for after in range(1, whole.fs.operation_count - before + 1):
        trial = store.fork()
        trial.fs.stop_after(after)
        with pytest.raises(BaseException, match="before"):
            trial.open()
        again = trial.crash(after)
        named = [info.number for entry in again.manifest.snapshots for info in entry.tables]
        assert name in again.names() or len(named) == 1
        assert again.check(again.open()) == 7


def test_without_a_sound_snapshot_and_with_a_pruned_log_it_refuses(world: Any) -> None:
    """PITFALLS 20: an empty state with half a log on top is silent loss."""
    store = folded(world)
    for which in (OLDER, NEWER):
        spoil(store, which)
    before = store.files()
    for attempt in (store.open, store.look, lambda: store.open(mode="point-in-time")):
        with pytest.raises(CorruptionError, match="table-"):
            attempt()
    assert store.files() == before


def test_without_a_sound_snapshot_the_whole_log_serves(world: Any) -> None:
    """Before anything was pruned the log alone is the state."""
    store = unpruned(world)
    spoil(store, OLDER)
    session = store.open()
    assert store.check(session) == 4
    assert (session.report.snapshot_lsn, session.report.fell_back, session.report.records_replayed) == (0, True, 4)
    assert "the whole log (the snapshot is damaged)" in str(session.report)


def test_the_log_between_the_snapshots_has_to_be_there(world: Any) -> None:
    """The older snapshot without the records up to the newer one would be an older state, served as today's."""
    store = folded(world)
    spoil(store, NEWER)
    between = store.segments()[0]
    whole = store.fork()
    whole.remove(between)
    with pytest.raises(CorruptionError, match=f"{between}.*missing"):
        whole.open()
    store.fs.flip_bit(f"/store/{between}", 8 * (len(store.read(between)) - 70))
    with pytest.raises(CorruptionError, match=between):
        store.open()


def test_history_below_the_snapshot_costs_the_state_nothing(world: Any) -> None:
    """A lost segment that only the older snapshot needs: refused as damage, and point-in-time keeps every record."""
    store = folded(world)
    store.remove(store.segments()[0])
    with pytest.raises(CorruptionError, match="missing"):
        store.open()
    session = store.open(mode="point-in-time")
    assert store.check(session) == 7
    # The older snapshot has no log any more: as a fallback it would be loss.
    assert [entry.lsn for entry in store.manifest.snapshots] == [6]
    assert session.put() == 8
    session.close()
    assert store.check(store.open(mode="strict")) == 8


def test_damage_below_the_snapshot_in_the_segment_that_goes_on_behind_it(world: Any) -> None:
    """What is kept begins at the snapshot, new numbers above everything, and an older snapshot is never used again."""
    session = world.open()
    for _ in range(3):
        session.put()
    session.fold()
    session.put()
    session.close()
    store = world.copy()
    tail = store.segments()[-1]
    store.fs.flip_bit(f"/store/{tail}", 8 * (len(store.read(tail)) - 60))
    with pytest.raises(CorruptionError, match=tail):
        store.open()
    session = store.open(mode="point-in-time")
    assert len(session.state) == 3
    assert (session.report.last_lsn, store.manifest.pruned_lsn) == (3, 3)
    assert session.put() == 5
    session.close()
    session = store.open(mode="strict")
    assert len(session.state) == 4


def test_a_large_table_is_opened_by_its_ends_and_read_in_full_only_on_request(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening must not take longer with the state's size; `recover` looks at every byte."""
    store = folded(world)
    spoil(store, NEWER)
    monkeypatch.setattr(snapshots, "SMALL_BYTES", 100)
    choice = store.choose()
    assert choice.lsn == 6
    choice = store.choose(deep=True)
    assert (choice.lsn, len(choice.damaged)) == (3, 1)


def test_a_small_table_on_a_large_one_is_not_read_in_full_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base of ten million keys has deltas of a few megabytes on it: to read those took longer than all the rest."""
    disk = SimulatedDisk()
    with journalkit.open("/s", fs=disk, compaction="manual", fold_bytes_min=1, fold_ratio=1000.0) as store:
        store.update({number: bytes(50) for number in range(500)})
        store.compact()
        store["new"] = bytes(50)
        store.compact()
    delta, base = sorted((len(disk.read_bytes(f"/s/{name}")), name) for name in disk.list("/s") if "table-" in name)
    disk.flip_bit(f"/s/{delta[1]}", 8 * (TABLE_HEADER_BYTES + 20))
    monkeypatch.setattr(snapshots, "SMALL_BYTES", base[0])
    with journalkit.open("/s", fs=disk, mode="r") as store:
        assert store[7] == bytes(50)
        with pytest.raises(CorruptionError, match=delta[1]):
            store["new"]
    monkeypatch.setattr(snapshots, "SMALL_BYTES", base[0] + delta[0])
    with journalkit.open("/s", fs=disk, mode="r") as store:
        assert store.recovery_report.fell_back


def test_a_table_that_can_not_be_read_for_another_reason_is_no_damage(world: Any) -> None:
    """Too many open files today says nothing about the table: falling back would throw it away."""
    store = folded(world)
    before = store.files()
    store.fs.fail("open_read", 1, errno.EMFILE, path_contains="table-")
    with pytest.raises(StorageError, match="try again") as caught:
        store.open()
    assert caught.value.errno == errno.EMFILE
    assert store.files() == before
    assert not store.open().report.fell_back


def test_a_pruned_log_without_any_snapshot_is_refused_for_a_store_and_right_for_a_journal(world: Any) -> None:
    """A journal has no snapshots: what was pruned there was given up on request."""
    for kind in ("store", "journal"):
        trial = type(world)()
        trial.open(kind=kind).close()
        trial = trial.copy()
        pruned = trial.manifest.next_generation(pruned_lsn=5, durable_lsn=5, segments=())
        trial.write("MANIFEST", encode_manifest(pruned))
        trial.remove(trial.segments()[0])
        trial.remove("durable")
        if kind == "journal":
            assert trial.open(kind=kind).put() == 6
        else:
            with pytest.raises(CorruptionError, match="no snapshot is named"):
                trial.open(kind=kind)
