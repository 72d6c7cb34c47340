"""Many keys at once: those that are there, from one moment, in the order they were asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import journalkit
from journalkit.errors import ClosedError, ConflictError
from journalkit.format.keys import encode_key
from tests.unit.store.conftest import Bench

KEYS: list[Any] = ["z", b"a", 3, ("t", 1), "absent", "a", "gone"]
EXPECTED = {"z": [1], b"a": 2, 3: {"x": 3}, ("t", 1): 4, "a": None}


def filled(bench: Bench, **options: Any) -> journalkit.Store:
    """Return a store with entries in tables, in frozen memtables and in the active one."""
    store = bench.open(sync="never", **options)
    store.update([("z", "old"), (b"a", 2), ("gone", 1), (("t", 1), 4)])
    store.compact()
    store.update([("z", [1]), (3, {"x": 3})])
    store.view().close()
    store.update([("a", None)])
    del store["gone"]
    return store


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_those_that_are_there_come_in_the_order_of_the_question(bench: Bench, cache_bytes: int) -> None:
    """From whichever layer, of every type of key; None is a value, a deletion isn't."""
    store = filled(bench, cache_bytes=cache_bytes)
    for reads in (store, store.view()):
        assert list(reads.get_many(KEYS).items()) == list(EXPECTED.items())
        assert reads.get_many(iter(["a", "a"])) == {"a": None}
        assert reads.get_many([]) == {}
    for key, value in EXPECTED.items():
        assert store[key] == value


def test_a_transaction_sees_its_own_writes_and_its_own_moment(bench: Bench, in_thread: Any) -> None:
    """As with single reads; and having read so, it conflicts as after any read."""
    store = filled(bench)
    tx = store.transaction()
    with tx:
        tx["absent"] = 5
        del tx["z"]
        assert tx.get_many(KEYS) == {b"a": 2, 3: {"x": 3}, ("t", 1): 4, "absent": 5, "a": None}
    with pytest.raises(ConflictError), tx:
        _read_overtaken_and_write(tx, lambda: in_thread(lambda: store.put("a", "later")))
    assert store.get_many(["a", "new"]) == {"a": "later"}


def _read_overtaken_and_write(tx: journalkit.Transaction, overtake: Callable[[], Any]) -> None:
    assert tx.get_many(["a"]) == {"a": None}
    overtake()
    assert tx.get_many(["a"]) == {"a": None}
    tx["new"] = 1


def test_values_are_the_callers_own(bench: Bench) -> None:
    """Changing one changes nothing that anybody reads later."""
    store = filled(bench)
    store.get_many(["z"])["z"].append(2)
    assert store.get_many(["z"]) == {"z": [1]}


def test_what_is_no_key_is_refused_and_a_closed_store_too(bench: Bench) -> None:
    """Before anything is read."""
    store = filled(bench)
    for wrong in (True, 1.5, ["a"]):
        with pytest.raises(TypeError):
            store.get_many(["a", wrong])  # type: ignore[list-item]
    store.close()
    with pytest.raises(ClosedError):
        store.get_many(["a"])


class _Overtaken(list[bytes]):
    """Keys between which somebody writes."""

    def __init__(self, keys: list[bytes], write: Callable[[], Any]) -> None:
        super().__init__(keys)
        self._write = write

    def __iter__(self) -> Any:
        for at in range(len(self)):
            if at == 1:
                self._write()
            yield self[at]


@pytest.mark.parametrize("write", ["put", "view", "compact"])
def test_keys_are_of_one_moment_whatever_comes_between_them(bench: Bench, write: str) -> None:
    """Both as they were or both as they are, never one of each; also where they lie may change meanwhile."""
    store = bench.open(sync="never")
    store.update([("a", 1), ("b", 1)])
    layers = store._layers
    writes: list[int] = []

    def overtake() -> None:
        if writes:
            return
        writes.append(1)
        store.update([("a", 2), ("b", 2)])
        if write == "view":
            store.view().close()
        elif write == "compact":
            store.compact()

    found = layers.get_many(_Overtaken([encode_key("a"), encode_key("b")], overtake))
    assert len(found) == 2
    assert len(set(found.values())) == 1
    assert writes == [1]


def test_while_a_record_is_applied_nothing_is_read_beside_it(bench: Bench) -> None:
    """What an interrupt left half applied is finished first."""
    store = bench.open(sync="never")
    store.put("a", 1)
    layers = store._layers
    layers.applying = (([(encode_key("a"), b"\x02")],), 0, store.lsn)
    assert store.get_many(["a"]) == {"a": 2}
    assert layers.applying is None


def test_reading_many_freezes_nothing(bench: Bench) -> None:
    """Each call would leave a memtable behind, and merge the last ones."""
    store = filled(bench)
    frozen = store._layers.frozen
    for number in range(5):
        store.put("a", number)
        assert store.get_many(["a", "z", "gone"]) == {"a": number, "z": [1]}
    assert store._layers.frozen is frozen
