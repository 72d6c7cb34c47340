"""A store as a mapping: what `dict` does, in key order, with iterators that don't move."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from typing import Any, Protocol

import pytest

import journalkit
from journalkit.errors import KeyTypeError, KeyValueError, RecordTooLargeError, UsageError


class Bench(Protocol):
    disk: Any

    def open(self, **options: Any) -> journalkit.Store: ...
    def compactor(self, store: journalkit.Store) -> Any: ...


MODEL: dict[Any, Any] = {
    -5: "minus",
    3: 3,
    b"b": b"",
    "": [],
    "a": 1,
    "a\0": (1,),
    "b": {"x": 1},
    ("t",): None,
    ("t", 2): 2.5,
}
"""In key order, as a store has it."""


@pytest.fixture(params=["memtable", "table", "mixed", "view", "transaction"])
def mapping(store: journalkit.Store, request: pytest.FixtureRequest) -> Iterator[Mapping[Any, Any]]:
    """The same entries, wherever they are read from."""
    pairs = list(MODEL.items())
    store["gone"] = 1
    store.update(pairs[::2])
    if request.param in ("table", "mixed"):
        store.compact()
    del store["gone"]
    store.update(pairs[1::2])
    if request.param == "table":
        store.compact()
    if request.param == "view":
        view = store.view()
        store["later"] = 1
        yield view
    elif request.param == "transaction":
        with store.transaction() as tx:
            yield tx
    else:
        yield store


def test_it_reads_as_a_dict_does(mapping: Mapping[Any, Any]) -> None:
    """The contract is `MutableMapping`; programs are written against that."""
    assert mapping == MODEL
    assert mapping == MODEL
    assert mapping != {**MODEL, "more": 1}
    assert len(mapping) == len(MODEL) == len(mapping.keys()) == len(mapping.items()) == len(mapping.values())
    assert bool(mapping)
    assert dict(mapping) == MODEL
    assert "a" in mapping
    assert "gone" not in mapping
    assert mapping["b"] == {"x": 1}
    assert mapping.get("gone") is None
    assert mapping.get("gone", 7) == 7
    with pytest.raises(KeyError) as caught:
        mapping["gone"]
    assert caught.value.args == ("gone",)


def test_everything_is_in_key_order_in_both_directions(mapping: Any) -> None:
    """Int < bytes < str < tuple, and by their bytes within."""
    assert list(mapping) == list(mapping.keys()) == list(MODEL)
    assert list(mapping.values()) == list(MODEL.values())
    assert list(mapping.items()) == list(MODEL.items()) == list(mapping.scan())
    assert list(reversed(mapping)) == list(reversed(mapping.keys())) == list(MODEL)[::-1]
    assert list(reversed(mapping.values())) == list(MODEL.values())[::-1]
    assert list(reversed(mapping.items())) == list(MODEL.items())[::-1] == list(mapping.scan(reverse=True))


def test_keys_values_and_items_are_the_usual_views(mapping: Mapping[Any, Any]) -> None:
    """Set operations on keys and items, membership in values."""
    assert isinstance(mapping.keys(), KeysView)
    assert isinstance(mapping.values(), ValuesView)
    assert isinstance(mapping.items(), ItemsView)
    assert mapping.keys() & {"a", "gone"} == {"a"}
    assert mapping.keys() == MODEL.keys()
    assert ("a", 1) in mapping.items()
    assert ("a", 2) not in mapping.items()
    assert ("gone", 2) not in mapping.items()
    assert 2.5 in mapping.values()
    assert 99 not in mapping.values()


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ({"start": "a", "stop": "b"}, ["a", "a\0"]),
        ({"prefix": "a"}, ["a", "a\0"]),
        ({"prefix": ""}, ["", "a", "a\0", "b"]),
        ({"prefix": b""}, [b"b"]),
        ({"prefix": ("t",)}, [("t",), ("t", 2)]),
        ({"prefix": ()}, [("t",), ("t", 2)]),
        ({"prefix": "a", "start": "a\0"}, ["a\0"]),
        ({"prefix": "a", "stop": "a\0"}, ["a"]),
        ({"start": -100, "stop": 100}, [-5, 3]),
        ({"start": "b", "stop": "a"}, []),
        ({"limit": 2}, [-5, 3]),
        ({"limit": 0}, []),
        ({"limit": 2, "reverse": True}, [("t", 2), ("t",)]),
        ({"start": b"", "limit": 1}, [b"b"]),
        ({"stop": b"b", "reverse": True, "limit": 1}, [3]),
    ],
)
def test_a_scan_takes_what_all_bounds_allow(mapping: Any, arguments: dict[str, Any], keys: list[Any]) -> None:
    """Half-open, a prefix of whole tuple elements, reversed and limited from that end."""
    assert [key for key, _ in mapping.scan(**arguments)] == keys


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"limit": -1}, KeyValueError),
        ({"limit": True}, KeyTypeError),
        ({"limit": 1.0}, KeyTypeError),
        ({"start": 1.5}, KeyTypeError),
        ({"stop": True}, KeyTypeError),
        ({"prefix": 5}, KeyTypeError),
        ({"prefix": "\ud800"}, KeyValueError),
    ],
)
def test_a_wrong_scan_is_refused_when_it_is_asked_for(mapping: Any, arguments: dict[str, Any], error: Any) -> None:
    """Not when somebody iterates, somewhere else."""
    with pytest.raises(error):
        mapping.scan(**arguments)


@pytest.mark.parametrize(
    "iterate",
    [
        iter,
        reversed,
        lambda store: iter(store.keys()),
        lambda store: reversed(store.keys()),
        lambda store: iter(store.values()),
        lambda store: iter(store.items()),
        lambda store: reversed(store.items()),
        lambda store: store.scan(),
    ],
)
def test_an_iterator_is_frozen_when_it_is_made_and_not_at_its_first_step(
    store: journalkit.Store, iterate: Callable[[Any], Iterator[Any]]
) -> None:
    """`keys()` once froze at its first step: what was written in between got in."""
    store.update({"a": 1, "b": 2})
    found = iterate(store)
    store["c"] = 3
    del store["a"]
    assert len(list(found)) == 2


def test_membership_in_values_survives_a_key_that_goes_meanwhile(store: journalkit.Store) -> None:
    """Looked up key by key, a key deleted by somebody else was a KeyError."""
    store.update({"a": 1, "b": 2})

    class Deletes:
        def __eq__(self, other: object) -> bool:
            store.delete("b")
            return False

        __hash__ = None  # type: ignore[assignment]

    assert Deletes() not in store.values()


def test_a_value_read_is_the_callers_own(store: journalkit.Store) -> None:
    """Changing it must not make memory and log disagree."""
    given = {"list": [1]}
    store["k"] = given
    given["list"].append(2)
    store["k"]["list"].append(3)
    assert store["k"] == {"list": [1]}


def test_an_empty_store_is_false_and_equal_to_an_empty_dict(store: journalkit.Store) -> None:
    """As `{}` is; reserved keys don't count, and deleted ones neither."""
    assert not store
    with store.transaction() as tx:
        tx.offsets["input"] = 5
    store["a"] = 1
    del store["a"]
    assert (bool(store), len(store), list(store), store == {}) == (False, 0, [], True)
    assert store.offsets == {"input": 5}


def test_a_store_is_no_more_hashable_than_a_dict(store: journalkit.Store) -> None:
    """What compares by contents can't be a key."""
    with pytest.raises(TypeError):
        hash(store)
    assert isinstance(store, MutableMapping)


def test_update_is_one_record_and_takes_what_a_dict_takes(store: journalkit.Store) -> None:
    """A mapping, pairs, names; later ones win."""
    store.update({"a": 1, "b": 2}, c=3)
    store.update([("a", 4), ("a", 5)], b=6)
    store.update(x=1)
    assert store.lsn == 3
    assert store == {"a": 5, "b": 6, "c": 3, "x": 1}
    store.update()
    store.update({})
    assert store.lsn == 3
    store.update(store)
    assert store.lsn == 4


def test_a_batch_is_one_record_whatever_is_in_it(store: journalkit.Store) -> None:
    """Later changes win, offsets go with the state."""
    batch = journalkit.Batch()
    assert (len(batch), store.write(batch), store.lsn) == (0, 0, 0)
    batch.put("a", 1)
    batch.put("b", 2)
    batch.delete("a")
    batch.delete("never there")
    batch.offsets["input"] = [7, "x"]
    assert repr(batch) == "<Batch of 4 changes and 1 offsets>"
    assert store.write(batch, sync="never") == 1
    assert store == {"b": 2}
    assert store.offsets == {"input": [7, "x"]}
    with pytest.raises(TypeError):
        store.offsets["input"] = 1  # type: ignore[index]


def test_a_record_over_the_limit_is_refused_with_its_size(
    store: journalkit.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """256 MiB are the limit; who exceeds it is told by how much."""
    for module in ("store", "records"):
        monkeypatch.setattr(f"journalkit.store.{module}.PAYLOAD_BYTES_MAX", 100)
    store["k"] = b"x" * 80
    for attempt in (lambda: store.put("k", b"x" * 100), lambda: store.update(a=b"x" * 60, b=b"x" * 60)):
        with pytest.raises(RecordTooLargeError) as caught:
            attempt()
        assert caught.value.limit_bytes == 100
        assert caught.value.size_bytes > 100
    assert store.lsn == 1


def test_delete_is_idempotent_and_del_is_not(store: journalkit.Store) -> None:
    """The one is a verb for pipelines, the other Python's."""
    store["a"] = 1
    assert store.delete("a") == 2
    assert store.delete("a") == 3
    with pytest.raises(KeyError) as caught:
        del store["a"]
    assert caught.value.args == ("a",)
    assert store.lsn == 3


def test_expect_writes_only_over_what_was_expected(store: journalkit.Store) -> None:
    """Compare and swap, for put and for delete."""
    assert store.put("a", 1, expect=journalkit.ABSENT) == 1
    for expected in (journalkit.ABSENT, 2, None):
        with pytest.raises(journalkit.errors.ConflictError):
            store.put("a", 3, expect=expected)
        with pytest.raises(journalkit.errors.ConflictError):
            store.delete("a", expect=expected)
    assert store.put("a", None, expect=1) == 2
    assert store.delete("a", expect=None) == 3
    assert store.put("a", 5, expect=journalkit.ABSENT) == 4


def test_expect_may_raise_without_harm_to_anybody_else(store: journalkit.Store) -> None:
    """An array compares by elements, and `if` on that raises: in the middle of a group."""

    class Odd:
        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

        __hash__ = None  # type: ignore[assignment]

    store["a"] = 1
    with pytest.raises(ZeroDivisionError):
        store.put("a", 2, expect=Odd())
    assert store.put("a", 3) == 2


@pytest.mark.parametrize("sync", ["sometimes", "", None.__class__, 1, []])
def test_a_wrong_sync_is_refused(store: journalkit.Store, sync: Any) -> None:
    """For each verb that takes one."""
    for attempt in (
        lambda: store.put("a", 1, sync=sync),
        lambda: store.delete("a", sync=sync),
        lambda: store.write(journalkit.Batch(), sync=sync),
        lambda: store.transaction(sync=sync),
    ):
        with pytest.raises(UsageError):
            attempt()
    assert store.lsn == 0
