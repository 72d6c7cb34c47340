"""Layers: frozen states stay, readers never miss an entry on its way down, interruptions change nothing."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from journalkit.format.frame import Kind
from journalkit.log.commit import Commit
from journalkit.store.layers import Frozen, Layers
from journalkit.testing import SimulatedClock
from journalkit.types import ABSENT


def commit(*mutations: tuple[bytes, bytes | None]) -> Commit:
    """Return a commit of these mutations."""
    return Commit(b"x" * 10, Kind.BATCH, mutations, durable=False)


def written(layers: Layers, number: int) -> None:
    """Apply one record with one key, both of that number."""
    layers.apply([commit((b"%03d" % number, b"v%d" % number))], number)


def everything(state: Frozen) -> list[tuple[bytes, bytes | None]]:
    """Return all entries of a state, in order."""
    return list(state.scan(None, None))


@pytest.fixture
def layers() -> Layers:
    """Layers with nothing in them."""
    return Layers(SimulatedClock())


def test_a_frozen_state_does_not_change(layers: Layers) -> None:
    """Views, scans, transactions and folds all stand on this."""
    layers.apply([commit((b"a", b"1"))], 1)
    first = layers.freeze()
    layers.apply([commit((b"a", b"2"), (b"b", b"3")), commit((b"c", None))], 3)
    second = layers.freeze()
    layers.apply([commit((b"a", None))], 4)
    assert (first.lsn, everything(first)) == (1, [(b"a", b"1")])
    assert (second.lsn, everything(second)) == (3, [(b"a", b"2"), (b"b", b"3"), (b"c", None)])
    assert (layers.lsn, layers.get(b"a"), layers.get(b"b"), layers.get(b"z")) == (4, None, b"3", ABSENT)
    assert (first.get(b"b"), second.get(b"c"), second.get(b"a")) == (ABSENT, None, b"2")


def test_freezes_without_a_write_between_share_a_memtable(layers: Layers) -> None:
    """A thousand readers of a store that rests cost nothing."""
    written(layers, 1)
    states = [layers.freeze() for _ in range(5)]
    assert len({id(state.memtables) for state in states}) == 1
    assert len(layers.frozen) == 1


def test_small_memtables_are_merged_so_that_reads_stay_quick(layers: Layers) -> None:
    """A view after each write must not make the next read ask a thousand memtables."""
    states = []
    for number in range(1, 257):
        written(layers, number)
        states.append(layers.freeze())
    assert len(layers.frozen) <= 10
    assert [len(everything(state)) for state in states] == list(range(1, 257))
    assert layers.unfolded_bytes == 2560


def test_what_a_fold_works_on_is_not_merged_with_what_comes(layers: Layers) -> None:
    """It goes when the fold ends; what came meanwhile must not go with it."""
    written(layers, 1)
    folded = layers.begin_fold()
    for number in range(2, 6):
        written(layers, number)
        layers.freeze()
    layers.end_fold(folded, ())
    assert [layers.get(b"%03d" % number) for number in (1, 2, 5)] == [ABSENT, b"v2", b"v5"]


def test_a_fold_that_failed_leaves_everything_where_it_was(layers: Layers) -> None:
    """And what it worked on may be merged again."""
    written(layers, 1)
    layers.abandon_fold(layers.begin_fold())
    written(layers, 2)
    state = layers.freeze()
    assert len(layers.frozen) == 1
    assert [key for key, _ in everything(state)] == [b"001", b"002"]


def test_the_age_of_what_is_not_folded_counts_from_its_first_record() -> None:
    """Else a store that is written all the time would never be old enough."""
    clock = SimulatedClock()
    layers = Layers(clock)
    assert layers.unfolded_since_s is None
    clock.advance(5)
    written(layers, 1)
    clock.advance(5)
    written(layers, 2)
    assert layers.unfolded_since_s == 5
    folded = layers.begin_fold()
    clock.advance(5)
    layers.end_fold(folded, ())
    assert layers.unfolded_since_s is None
    written(layers, 3)
    folded = layers.begin_fold()
    clock.advance(5)
    written(layers, 4)
    layers.abandon_fold(folded)
    assert layers.unfolded_since_s == 15
    folded = layers.begin_fold()
    written(layers, 5)
    layers.end_fold(folded, ())
    assert layers.unfolded_since_s == 20


class Interrupt(BaseException):
    """What another thread may send at any time."""


class Interrupting(list[tuple[bytes, bytes | None]]):
    """Mutations that interrupt who first asks how many they are."""

    asked = False

    def __len__(self) -> int:
        if not self.asked:
            self.asked = True
            raise Interrupt
        return super().__len__()


@pytest.mark.parametrize("before", range(3))
@pytest.mark.parametrize("first", ["apply", "freeze"])
def test_an_interrupted_group_is_seen_whole_by_whoever_looks_next(layers: Layers, before: int, first: str) -> None:
    """Half a group in a frozen memtable could never be told from a whole one."""
    commits = [commit((b"%d" % number, b"v")) for number in range(3)]
    commits[before].mutations = Interrupting(commits[before].mutations)
    with pytest.raises(Interrupt):
        layers.apply(commits, 3)
    if first == "apply":
        layers.apply(commits, 3)
        state = layers.freeze()
    else:
        state = layers.freeze()
        layers.apply(commits, 3)
    assert (state.lsn, len(everything(state))) == (3, 3)
    assert (layers.lsn, len(everything(layers.freeze()))) == (3, 3)


def test_an_interrupted_record_that_was_alone_is_seen_whole_by_whoever_looks_next(layers: Layers) -> None:
    """An entry in a frozen memtable whose LSN says that it isn't there would be written twice by a fold."""
    written(layers, 1)
    with pytest.raises(Interrupt):
        layers.apply_one(Interrupting(((b"a", b"v"),)), b"x" * 10, 2)
    state = layers.freeze()
    assert (state.lsn, state.get(b"a"), layers.unfolded_bytes) == (2, b"v", 20)


def test_a_record_that_was_alone_is_applied_as_a_group_of_one(layers: Layers) -> None:
    """Two ways to the same state, for one key and for several, on an empty store and on one that isn't."""
    twin = Layers(SimulatedClock())
    records: list[tuple[tuple[bytes, bytes | None], ...]] = [
        ((b"a", b"1"),), ((b"b", b"2"),), ((b"a", None), (b"c", b"3")), ((b"b", None),)
    ]  # fmt: skip
    for lsn, mutations in enumerate(records, start=1):
        layers.apply_one(mutations, b"x" * 10, lsn)
        twin.apply([commit(*mutations)], lsn)
        assert (layers.lsn, layers.active.entries) == (twin.lsn, twin.active.entries)
        assert (layers.unfolded_bytes, layers.unfolded_since_s) == (twin.unfolded_bytes, twin.unfolded_since_s)
        assert layers.applying is None


def test_readers_never_miss_a_key_while_memtables_freeze_and_go(layers: Layers) -> None:
    """Between two layers an entry may be seen twice, never not at all, and never older than before."""
    stop = threading.Event()
    wrong: list[Any] = []
    layers.apply([commit((b"k", b"%08d" % 0))], 1)

    def read() -> None:
        last = b""
        while not stop.is_set():
            value = layers.get(b"k")
            if not isinstance(value, bytes) or value < last:
                wrong.append((last, value))
            else:
                last = value

    def view() -> None:
        last = -1
        while not stop.is_set():
            state = layers.freeze()
            value = state.get(b"k")
            if state.lsn < last or value != b"%08d" % (state.lsn - 1):
                wrong.append((state.lsn, value))
            last = state.lsn

    threads = [threading.Thread(target=target) for target in (read, read, view)]
    for thread in threads:
        thread.start()
    for number in range(1, 4000):
        layers.apply([commit((b"k", b"%08d" % number), (b"%d" % number, b""))], number + 1)
        if number % 50 == 0:
            layers.abandon_fold(layers.begin_fold())
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
