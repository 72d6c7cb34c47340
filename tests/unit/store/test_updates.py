"""Reading and writing in one step: what another thread could come between, and doesn't."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import pytest

import journalkit
from journalkit.errors import ConflictError, UsageError

Run = Callable[[Callable[[], Any]], Any]


class Bench(Protocol):
    disk: Any

    def open(self, **options: Any) -> journalkit.Store: ...


def together(*works: Callable[[], None]) -> None:
    """Run each in a thread of its own, to the end."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_pop_popitem_and_setdefault_are_what_dicts_are(store: journalkit.Store) -> None:
    """The same results and the same errors."""
    store.update({"a": 1, "b": [2]})
    assert store.pop("a") == 1
    assert store.pop("a", "default") == "default"
    assert store.pop("a", None) is None
    with pytest.raises(KeyError) as caught:
        store.pop("a")
    assert caught.value.args == ("a",)
    assert store.setdefault("b", 5) == [2]
    assert store.setdefault("c", [3]) == [3]
    assert store.setdefault("d") is None
    assert store.popitem() == ("d", None)
    assert store.popitem() == ("c", [3])
    assert store.popitem() == ("b", [2])
    with pytest.raises(KeyError, match="empty"):
        store.popitem()
    with store.transaction() as tx:
        tx.offsets["x"] = 1
    with pytest.raises(KeyError):
        store.popitem()


def test_modify_replaces_and_returns(store: journalkit.Store) -> None:
    """The default is the caller's own: it isn't changed."""
    default: list[int] = []

    def appended(value: list[int]) -> list[int]:
        value.append(len(value))
        return value

    assert store.modify("a", appended, default) == [0]
    assert store.modify("a", appended, default) == [0, 1]
    assert default == []
    assert store["a"] == [0, 1]
    with pytest.raises(KeyError):
        store.modify("b", appended)
    with pytest.raises(ZeroDivisionError):
        store.modify("a", lambda value: 1 // 0)
    assert store.lsn == 2


def test_modify_is_called_again_if_the_key_was_changed_meanwhile(store: journalkit.Store, in_thread: Run) -> None:
    """By others' keys it isn't disturbed."""
    calls: list[int] = []

    def function(value: int) -> int:
        calls.append(value)
        if len(calls) == 1:
            in_thread(lambda: store.update(n=10, other=1))
        elif len(calls) == 2:
            in_thread(lambda: store.put("other", 2))
        return value + 1

    store["n"] = 1
    assert store.modify("n", function) == 11
    assert calls == [1, 10]


def test_edit_commits_what_the_block_made_of_the_value(store: journalkit.Store) -> None:
    """A copy is handed out; an exception throws it away."""
    store["a"] = {"logins": 1}
    with store.edit("a") as user:
        user["logins"] += 1
        assert store["a"] == {"logins": 1}
    assert store["a"] == {"logins": 2}
    with pytest.raises(ZeroDivisionError), store.edit("a") as user:  # noqa: PT012 - the block is the call
        user["logins"] = 99
        raise ZeroDivisionError
    assert store["a"] == {"logins": 2}
    with pytest.raises(KeyError), store.edit("b"):
        pytest.fail("there is nothing to edit")
    with store.edit("b", {"new": True}) as user:
        user["x"] = 1
    assert store["b"] == {"new": True, "x": 1}
    with pytest.raises(UsageError), store.edit("a") as user:
        user["bad"] = object()
    assert store["a"] == {"logins": 2}


def test_edit_conflicts_if_the_key_was_changed_meanwhile(store: journalkit.Store, in_thread: Run) -> None:
    """The block can't be run again; whoever wrote it decides."""
    store["a"] = {"logins": 1}
    with pytest.raises(ConflictError, match="'a'"), store.edit("a") as user:  # noqa: PT012 - the block is the call
        user["logins"] += 1
        in_thread(lambda: store.put("a", {"logins": 5}))
    assert store["a"] == {"logins": 5}
    with store.edit("a") as user:
        user["logins"] += 1
        in_thread(lambda: store.put("b", 1))
    assert store["a"] == {"logins": 6}


def test_clear_is_one_record_and_keeps_the_offsets(store: journalkit.Store) -> None:
    """Where the inputs stand isn't part of the mapping."""
    store.update({"a": 1, "b": 2})
    store.compact()
    with store.transaction() as tx:
        tx["c"] = 3
        tx.offsets["input"] = 7
    store.clear()
    assert (store.lsn, dict(store), dict(store.offsets)) == (3, {}, {"input": 7})
    store.clear()
    assert store.lsn == 3


def test_clear_sees_a_key_that_was_set_while_it_looked(
    store: journalkit.Store, in_thread: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once deleted the key that was set second and left the one that was set first."""
    store["old"] = 1
    freeze = store._freeze
    looks: list[int] = []

    def frozen_then_overtaken() -> Any:
        state = freeze()
        looks.append(state.lsn)
        if len(looks) == 1:
            in_thread(lambda: store.update(new=1))
            in_thread(lambda: store.update(old=2))
        elif len(looks) == 2:
            in_thread(store.compact)
            in_thread(lambda: store.update(old=3))
        return state

    monkeypatch.setattr(store, "_freeze", frozen_then_overtaken)
    store.clear()
    assert len(looks) == 3
    monkeypatch.undo()
    assert store == {}


def test_counting_by_modify_loses_nothing(store: journalkit.Store) -> None:
    """Beside others who do the same."""

    def work() -> None:
        for _ in range(50):
            store.modify("n", lambda value: value + 1, default=0)

    together(*[work] * 4)
    assert store["n"] == 200


def test_each_item_is_popped_once(store: journalkit.Store) -> None:
    """By pop and by popitem, whoever is faster."""
    store.update({f"{number:03}": number for number in range(200)})
    popped: list[Any] = []

    def from_the_end() -> None:
        while True:
            try:
                popped.append(store.popitem())
            except KeyError:
                return

    def one_by_one() -> None:
        for number in range(0, 200, 3):
            value = store.pop(f"{number:03}", None)
            if value is not None:
                popped.append((f"{number:03}", value))

    together(from_the_end, from_the_end, one_by_one)
    assert sorted(popped) == [(f"{number:03}", number) for number in range(200)]


def test_setdefault_is_won_by_one(store: journalkit.Store) -> None:
    """And everybody is told by whom."""
    results: list[Any] = []
    barrier = threading.Barrier(4)

    def work(name: str) -> None:
        barrier.wait()
        results.extend((key, store.setdefault(key, name)) for key in map(str, range(40)))

    together(*[lambda name=name: work(name) for name in "abcd"])
    assert Counter(Counter(results).values()) == {4: 40}
    assert dict(results) == dict(store)


def test_popitem_does_not_starve_beside_writers_of_other_keys(store: journalkit.Store) -> None:
    """It once lost to every record of anybody, so that a queue could not be emptied while it was filled."""
    stop = threading.Event()
    store.update({f"queue{number:03}": number for number in range(40)})

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            store.put(f"other{number % 10}", number)

    def take() -> None:
        for number in reversed(range(40)):
            assert store.popitem() == (f"queue{number:03}", number)
        stop.set()

    together(write, write, take)
    assert stop.is_set()


def test_del_lets_one_of_many_win(store: journalkit.Store) -> None:
    """The others get a KeyError, as with a dict."""
    store.update({str(number): 1 for number in range(40)})
    won: list[str] = []

    def work() -> None:
        for number in range(40):
            try:
                del store[str(number)]
            except KeyError:
                continue
            won.append(str(number))

    together(work, work, work)
    assert sorted(won) == sorted(str(number) for number in range(40))


def test_a_store_for_reading_refuses_every_write_and_answers_every_read(bench: Bench) -> None:
    """Before a block or a function runs that would be for nothing."""
    with bench.open() as store:
        store["a"] = 1
    reader = bench.open(mode="r")
    for attempt in (
        lambda: reader.put("a", 1),
        lambda: reader.delete("a"),
        lambda: reader.update(a=1),
        lambda: reader.write(journalkit.Batch()),
        lambda: reader.pop("a"),
        lambda: reader.popitem(),
        lambda: reader.clear(),
        lambda: reader.setdefault("b", 1),
        lambda: reader.modify("a", lambda _: pytest.fail("it ran")),
        lambda: reader.edit("a").__enter__(),
        lambda: reader.transaction(),
        lambda: reader.compact(),
        lambda: reader.sync(),
    ):
        with pytest.raises(journalkit.errors.ReadOnlyError, match="mode='rw'"):
            attempt()
    assert reader == {"a": 1}
    assert (reader.pop("b", 5), reader.setdefault("a", 5)) == (5, 1)


def test_setdefault_sets_once_though_the_key_goes_at_once(
    store: journalkit.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call is one record: reading again after it was set could find nothing, and set it a second time."""
    replace = store._replace

    def replaced_and_taken(*arguments: Any) -> None:
        replace(*arguments)
        del store["a"]

    monkeypatch.setattr(store, "_replace", replaced_and_taken)
    default = [1]
    given = store.setdefault("a", default)
    assert given == [1]
    assert given is not default
    assert store.lsn == 2
    assert "a" not in store
