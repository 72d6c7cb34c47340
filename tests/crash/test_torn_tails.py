"""Torn tails: what a power cut leaves of undurable records is cut, kept aside and reported, and never an error."""

from __future__ import annotations

import errno
import random
from typing import Any

import pytest

from journalkit.errors import CorruptionError, StorageError
from journalkit.format.frame import HEADER_BYTES as FRAME_BYTES
from journalkit.format.segment import HEADER_BYTES

RECORD_BYTES = FRAME_BYTES + 6 + 10 + 5
FIRST = "log-0000000000000001.jks"


def written(world: Any, *, durable: int, undurable: int) -> Any:
    """Write records of which the last were never synced, and return the world with all bytes on disk and no slot."""
    session = world.open()
    for _ in range(durable):
        session.put()
    for _ in range(undurable):
        session.put(durable=False)
    after = world.copy()
    if "durable" in after.names() and not durable:
        after.remove("durable")
    return after


def at(record: int) -> int:
    """Return where a record begins, counted from 0."""
    return HEADER_BYTES + record * RECORD_BYTES


def test_every_cut_of_an_undurable_tail_gives_a_prefix(world: Any) -> None:
    """Whatever length the file has after the cut, the whole records before it are the state."""
    store = written(world, durable=2, undurable=3)
    data = store.read(FIRST)
    for size in range(at(2), at(5) + 1):
        trial = store.fork()
        trial.write(FIRST, data[:size])
        session = trial.open()
        whole = (size - HEADER_BYTES) // RECORD_BYTES
        assert trial.check(session) == whole
        rest = size - at(whole)
        assert session.report.bytes_cut == len(data[at(whole) : size].rstrip(b"\0"))
        assert session.report.outcome == ("cut" if rest and session.report.bytes_cut else "replayed")
        assert bool(trial.quarantined()) == bool(session.report.quarantine) == bool(session.report.bytes_cut)


def test_every_flipped_bit_of_an_undurable_tail_gives_a_prefix(world: Any) -> None:
    """Half written sectors hold anything; nobody was told about these records."""
    store = written(world, durable=2, undurable=2)
    for bit in range(8 * at(2), 8 * at(4), 5):
        trial = store.fork()
        trial.fs.flip_bit(f"/store/{FIRST}", bit)
        session = trial.open()
        assert trial.check(session) == (bit // 8 - HEADER_BYTES) // RECORD_BYTES
        assert session.report.outcome == "cut"


def test_a_whole_record_behind_an_unpromised_hole_is_cut_and_kept_aside(world: Any) -> None:
    """PITFALLS 12 and 25: it is whole, numbered and ours, and still follows nothing."""
    store = written(world, durable=2, undurable=3)
    behind = store.read(FIRST)[at(3) : at(5)]
    store.fs.zero(f"/store/{FIRST}", at(2), RECORD_BYTES)
    session = store.open()
    assert store.check(session) == 2
    assert session.report.bytes_cut == 3 * RECORD_BYTES
    assert store.read(f"quarantine/{store.quarantined()[0]}") == bytes(RECORD_BYTES) + behind
    # The numbers of records that were never durable are used again, under a higher epoch.
    store.submitted = 2
    assert session.put() == 3
    session.close()
    assert store.check(store.open()) == 3


def test_a_hole_that_a_later_record_promises_is_a_loss(world: Any) -> None:
    """The mark in a later frame was written when an fsync had covered the hole: without the slot it is all there is."""
    session = world.open()
    for durable in (True, True, True, False):
        session.put(durable=durable)
    store = world.copy()
    store.remove("durable")
    store.fs.zero(f"/store/{FIRST}", at(1), RECORD_BYTES)
    before = store.files()
    with pytest.raises(CorruptionError, match="zeros where a durable record was promised") as caught:
        store.open()
    assert (caught.value.offset_bytes, caught.value.lsn) == (at(1), 2)
    assert store.files() == before


def test_garbage_in_the_prepared_space_is_cut(world: Any) -> None:
    """All of the prepared space is searched: for a promise, and for what has to be kept aside."""
    store = written(world, durable=2, undurable=0)
    data = bytearray(store.read(FIRST))
    data[-3:] = b"end"
    store.write(FIRST, bytes(data))
    session = store.open()
    assert store.check(session) == 2
    assert session.report.bytes_cut == len(data) - at(2)


def test_strict_refuses_a_torn_tail_and_touches_nothing(world: Any) -> None:
    """For those who want to look before anything is given up."""
    store = written(world, durable=2, undurable=1)
    store.write(FIRST, store.read(FIRST)[: at(3) - 1])
    before = store.files()
    with pytest.raises(CorruptionError, match=r"torn tail .cut short., which recovery='strict' doesn't cut") as caught:
        store.open(mode="strict")
    assert caught.value.offset_bytes == at(2)
    assert store.files() == before
    assert store.check(store.open()) == 2


def test_a_power_cut_in_the_middle_of_writing_gives_a_prefix_for_any_seed(world: Any) -> None:
    """Promise 2, by chance: rotations, folds, undurable runs, and everything unsynced kept or lost at random."""
    for seed in range(40):
        chance = random.Random(seed)
        store = world.fork()
        for _ in range(4):
            session = store.open(segment_bytes_max=4096)
            store.submitted = store.acknowledged = store.check(session)
            for _ in range(chance.randrange(12)):
                session.put(durable=chance.random() < 0.3, value=b"x" * chance.randrange(1500))
                if chance.random() < 0.1:
                    session.fold(keep=1 + chance.randrange(2))
                if chance.random() < 0.2:
                    session.log.rotate()
            session.release_tables()
            store = store.crash(chance.randrange(1000))
        session = store.open()
        store.check(session)
        session.close()


def test_a_slot_from_before_a_fold_is_no_reason_to_refuse(world: Any) -> None:
    """The slot is never synced: after a power cut it may name a segment that was folded and pruned long ago."""
    session = world.open()
    session.put()
    old = world.read("durable")
    session.put()
    session.fold(keep=1)
    session.put()
    after = world.copy()
    after.write("durable", old)
    assert FIRST not in after.names()
    assert after.check(after.open()) == 3


def test_a_copy_of_a_live_directory_opens_to_a_prefix_or_refuses(world: Any) -> None:
    """Promise 6: `cp -r` reads each file at another moment; what it gets is never misread."""
    session = world.open(segment_bytes_max=4096)
    sights = []
    for step in range(30):
        session.put(durable=step % 3 == 0, value=b"x" * 300)
        if step % 10 == 9:
            session.fold(keep=1)
        sights.append(world.files())
    chance = random.Random(7)
    opened = refused = 0
    for _ in range(150):
        now = chance.randrange(len(sights) - 6)
        copy = type(world)()
        copy.fs.make_directory("/store")
        copy.submitted = world.submitted
        for name in sights[now]:
            at_moment = sights[now + chance.randrange(6)]
            if name in at_moment:
                copy.write(name, at_moment[name])
        try:
            state = copy.look()
        except (CorruptionError, FileNotFoundError):
            refused += 1
        else:
            opened += 1
            assert sorted(state) == [b"key-%06d" % n for n in range(len(state))]
    assert opened > 10
    assert refused > 10


def test_what_a_failed_fsync_lost_is_not_believed_for_being_in_the_page_cache(world: Any) -> None:
    """PITFALLS 1 and 2: the next process reads the lost record from the cache; the next power cut would take it."""
    session = world.open()
    session.put()
    world.fs.fail("sync_data", 1, errno.EIO)
    with pytest.raises(StorageError):
        session.put(durable=True)
    world.acknowledged = 1
    assert len(world.fork().look()) == 2
    survivor = world.fork()
    session = survivor.open()
    assert survivor.check(session) == 1
    survivor.submitted = 1
    assert session.put() == 2
    after = survivor.crash("none")
    assert after.check(after.open()) == 2
