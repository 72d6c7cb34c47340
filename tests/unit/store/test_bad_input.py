"""What can't be stored: each its own error, at once, and nothing changed on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest

import journalkit
from journalkit.errors import KeyTypeError, UsageError


class Bench(Protocol):
    disk: Any


@pytest.mark.parametrize(
    "wrong",
    [
        [("a", 1), (True, 2)],
        [("a", 1), (1.5, 2)],
        [("a", 1), ([], 2)],
        {"a": 1, "b": object()},
        [("a", 1), "b"],
        [("a", 1), 5],
    ],
)
def test_update_writes_nothing_if_anything_is_wrong(store: journalkit.Store, wrong: Any) -> None:
    """A dict on the way made 1 of True; half an update is none."""
    store[1] = "one"
    with pytest.raises((TypeError, ValueError)):
        store.update(wrong)
    assert store == {1: "one"}
    assert store.lsn == 1


BAD_KEYS = [None, 1.5, True, [], {}, object(), (1, None), ("a", True), "\ud800", ("\ud800",), "x" * 9000, 1 << 70000]
BAD_VALUES = [object(), {1, (2, object())}, lambda: 0, [object], "\ud800", {"a": [bytearray]}, 1j, range(3)]


@pytest.mark.parametrize("key", BAD_KEYS, ids=lambda key: type(key).__name__)
def test_a_key_that_cannot_be_stored_is_refused_everywhere(bench: Bench, store: journalkit.Store, key: Any) -> None:
    """Each by an error that is a UsageError and Python's own; and not a byte is written."""
    before = bench.disk.operation_count
    batch = journalkit.Batch()
    batch.put(key, 1)
    attempts: list[Callable[[], Any]] = [
        lambda: store[key],
        lambda: key in store,
        lambda: store.get(key),
        lambda: store.put(key, 1),
        lambda: store.delete(key),
        lambda: store.__delitem__(key),
        lambda: store.pop(key, None),
        lambda: store.setdefault(key, 1),
        lambda: store.modify(key, lambda value: value, default=1),
        lambda: store.edit(key, 1).__enter__(),
        lambda: store.write(batch),
        lambda: store.update([(key, 1)]),
        lambda: store.scan(key if key is not None else 1.5),
    ]
    for attempt in attempts:
        with pytest.raises(UsageError) as caught:
            attempt()
        assert isinstance(caught.value, (TypeError, ValueError))
    assert bench.disk.operation_count == before


@pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: type(value).__name__)
def test_a_value_that_would_not_come_back_is_refused_everywhere(
    bench: Bench, store: journalkit.Store, value: Any
) -> None:
    """At any depth, when it is written."""
    before = bench.disk.operation_count
    batch = journalkit.Batch()
    batch.put("k", value)
    positions = journalkit.Batch()
    positions.offsets["input"] = value
    attempts: list[Callable[[], Any]] = [
        lambda: store.put("k", value),
        lambda: store.__setitem__("k", [value]),
        lambda: store.setdefault("k", value),
        lambda: store.modify("k", lambda _: value, default=1),
        lambda: store.write(batch),
        lambda: store.write(positions),
        lambda: store.update(k=value),
    ]
    for attempt in attempts:
        with pytest.raises(UsageError):
            attempt()
    assert bench.disk.operation_count == before
    assert store == {}


@pytest.mark.parametrize("name", [5, b"x", None, True, "\ud800", "x" * 9000], ids=lambda name: repr(name)[:20])
def test_an_input_is_named_by_a_short_str(store: journalkit.Store, name: Any) -> None:
    """Another name was an AttributeError from somewhere inside."""
    batch = journalkit.Batch()
    batch.offsets[name] = 1
    with pytest.raises(UsageError):
        store.write(batch)
    with pytest.raises(UsageError), store.transaction() as tx:
        tx.offsets[name] = 1
    with pytest.raises(UsageError), store.transaction() as tx:
        tx.offsets.get(name)
    assert store.lsn == 0


def test_only_a_batch_is_written_as_one(store: journalkit.Store) -> None:
    """A dict would be an AttributeError."""
    with pytest.raises(KeyTypeError, match="update"):
        store.write({"a": 1})  # type: ignore[arg-type]
