"""A crash at any operation of an open, and of the recovery after that one, is just another crash."""

from __future__ import annotations

from typing import Any

import pytest

from journalkit.errors import StoreNotFoundError
from journalkit.testing import PowerCut

SEEDS = range(4)


def operations_of_open(world: Any, **options: Any) -> int:
    """Return how many mutating operations it takes to open this store."""
    trial = world.fork()
    before = trial.fs.operation_count
    trial.open(**options)
    return int(trial.fs.operation_count - before)


def cut_off_open(world: Any, after: int, **options: Any) -> Any:
    """Return the store as the next process would see it, had the power gone at an operation of an open."""
    trial = world.fork()
    trial.fs.stop_after(after)
    with pytest.raises(PowerCut):
        trial.open(**options)
    return trial


def torn(world: Any) -> Any:
    """Fill a store: snapshots, a pruned log, segments of several lives, and undurable records at the end."""
    session = world.open()
    for _ in range(4):
        session.put()
    session.close()
    session = world.open()
    for _ in range(3):
        session.put(durable=False)
    session.put()
    session.fold()
    session.put()
    session.fold()
    session.put()
    for _ in range(3):
        session.put(durable=False, value=b"x" * 700)
    session.release_tables()
    return world.crash(2)


def goes_on(world: Any) -> None:
    """Open, hold the promise, write, crash, and find the same again, numbered without a gap."""
    session = world.open()
    count = world.check(session)
    world.submitted = count
    assert session.put() == count + 1
    session.release_tables()
    after = world.crash("none")
    second = after.open()
    assert after.check(second) == count + 1
    second.close()
    third = after.open()
    assert third.state == second.state
    assert third.report.outcome in ("clean", "replayed")
    third.close()


def test_a_power_cut_at_every_operation_of_an_open_loses_nothing(world: Any) -> None:
    """PITFALLS 10: recovery runs right after a crash, which is when the next one comes."""
    store = torn(world)
    for after in range(1, operations_of_open(store) + 1):
        for seed in SEEDS:
            goes_on(cut_off_open(store, after).crash(seed))


def test_a_power_cut_in_the_recovery_of_a_cut_off_recovery_loses_nothing(world: Any) -> None:
    """Nested: what a half recovery leaves is itself an input of recovery."""
    store = torn(world)
    for after in range(1, operations_of_open(store) + 1):
        again = cut_off_open(store, after).crash(after)
        for nested in range(1, operations_of_open(again) + 1, 2):
            goes_on(cut_off_open(again, nested).crash(nested))


def test_kill_at_every_operation_of_an_open_loses_nothing(world: Any) -> None:
    """After SIGKILL the next process sees the page cache; it must not derive anything from what isn't durable."""
    store = torn(world)
    for after in range(1, operations_of_open(store) + 1):
        killed = cut_off_open(store, after).fork()
        session = killed.open()
        count = killed.check(session)
        killed.submitted = count
        session.release_tables()
        survivor = killed.crash("none")
        session = survivor.open()
        assert survivor.check(session) == count
        session.close()


def test_a_creation_cut_short_anywhere_opens_as_a_new_store(world: Any) -> None:
    """A store exists from its first manifest: until then there is nothing, and never corruption."""
    for after in range(1, operations_of_open(world) + 1):
        for seed in SEEDS:
            for made in (cut_off_open(world, after).crash(seed), cut_off_open(world, after).fork()):
                goes_on(made)


def test_a_creation_in_deep_directories_is_durable_with_all_their_names(make_world: Any) -> None:
    """PITFALLS 4: a store whose own directory has no durable name is lost whole."""
    world = make_world()
    world.fs.make_directory("/store")  # by a process that died before it could sync "/"
    session = world.open()
    session.put()
    after = world.crash("none")
    session = after.open(create=False)
    assert after.check(session) == 1


def test_an_open_that_may_not_create_leaves_no_trace(world: Any) -> None:
    """A mistyped path must not become a directory."""
    with pytest.raises(StoreNotFoundError):
        world.open(create=False)
    assert list(world.fs.list("/")) == []


def test_a_thousand_openings_leave_a_bounded_store(world: Any) -> None:
    """A service that restarts every minute must not fill its directory with empty segments."""
    session = world.open()
    session.put()
    session.close()
    sizes = set()
    for cycle in range(1000):
        session = world.open()
        if cycle % 2:
            session.close()
        else:
            session.opened.lock.close()
            session.log.close()
        sizes.add((len(world.segments()), len(world.read("MANIFEST")) // 100))
    assert max(sizes) <= (2, 7)
    assert world.check(world.open()) == 1


def test_segments_of_crashed_openings_do_not_pile_up(world: Any) -> None:
    """A crash loop is worse than a restart loop: no close ever runs."""
    world.open().put()
    for _ in range(30):
        world = cut_off_open(world.fork(), operations_of_open(world) - 1).fork()
    session = world.fork().open()
    assert len(session.world.segments()) == 2
