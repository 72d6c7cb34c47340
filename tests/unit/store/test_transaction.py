"""Transactions: one record, reads from one moment, and never a lost update."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import pytest

import journalkit
from journalkit.errors import ClosedError, ConflictError, RecordTooLargeError, UsageError

Run = Callable[[Callable[[], Any]], Any]


class Bench(Protocol):
    disk: Any
    clock: Any

    def open(self, **options: Any) -> journalkit.Store: ...


def test_it_commits_as_one_record_with_its_offsets(store: journalkit.Store) -> None:
    """State and input positions are never apart."""
    store.update({"a": 1, "b": 2})
    with store.transaction() as tx:
        tx["a"] = tx["a"] + 10
        tx.put("c", 3)
        del tx["b"]
        tx.delete("never there")
        tx.offsets["orders"] = 1042
        assert tx.lsn == 0
        assert store["a"] == 1
    assert (tx.lsn, store.lsn) == (2, 2)
    assert store == {"a": 11, "c": 3}
    assert store.offsets == {"orders": 1042}


def test_an_exception_rolls_everything_back(bench: Bench, store: journalkit.Store) -> None:
    """Of any kind, at any place."""
    before = bench.disk.operation_count
    for error in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), store.transaction() as tx:  # noqa: PT012 - the block is the call
            tx["a"] = 1
            tx.offsets["x"] = 1
            raise error
    assert (store.lsn, dict(store), dict(store.offsets)) == (0, {}, {})
    assert bench.disk.operation_count == before


def test_it_reads_its_own_writes_in_every_way(store: journalkit.Store) -> None:
    """Also in scans, in both directions, and beside what was there."""
    store.update({"a": 1, "b": 2, "d": 4})
    store.compact()
    with store.transaction() as tx:
        tx["c"] = 3
        del tx["b"]
        tx["a"] = 0
        assert dict(tx) == {"a": 0, "c": 3, "d": 4}
        assert list(tx.scan(reverse=True, limit=2)) == [("d", 4), ("c", 3)]
        assert list(tx.scan("b", "d")) == [("c", 3)]
        assert (len(tx), bool(tx), "b" in tx, tx.get("b")) == (3, True, False, None)
        assert tx.pop("c") == 3
        assert tx.setdefault("e", 5) == 5
        assert tx.popitem() == ("e", 5)
        tx.update({"f": 6}, g=7)
        with pytest.raises(KeyError):
            del tx["b"]
        with pytest.raises(KeyError):
            tx["b"]
    assert store == {"a": 0, "d": 4, "f": 6, "g": 7}
    with store.transaction() as tx:
        tx["new"] = 1
        tx.clear()
        with pytest.raises(KeyError, match="empty"):
            tx.popitem()
    assert store == {}


def test_a_loop_over_it_may_write(store: journalkit.Store) -> None:
    """Iterators are frozen when they are made, here too."""
    store.update({"a": 1, "b": 2})
    with store.transaction() as tx:
        for key, value in tx.scan():
            tx[key + "!"] = value
            del tx[key]
    assert store == {"a!": 1, "b!": 2}


def test_its_offsets_are_a_mapping(store: journalkit.Store) -> None:
    """Read, written, deleted, iterated; own writes included."""
    with store.transaction() as tx:
        tx.offsets.update({"a": 1, "b": [2]})
    with store.transaction() as tx:
        assert tx.offsets == {"a": 1, "b": [2]}
        assert (list(tx.offsets), len(tx.offsets), tx.offsets.get("c"), "a" in tx.offsets) == (
            ["a", "b"],
            2,
            None,
            True,
        )
        del tx.offsets["a"]
        tx.offsets["c"] = 3
        with pytest.raises(KeyError):
            del tx.offsets["a"]
        with pytest.raises(KeyError):
            tx.offsets["a"]
        assert repr(tx.offsets) == f"<offsets of {tx!r}>"
        kept = tx.offsets
    assert store.offsets == {"b": [2], "c": 3}
    assert "ended" in repr(kept)
    with pytest.raises(UsageError):
        kept["b"]


READS: list[Callable[[Any], Any]] = [
    lambda tx: tx.get("a"),
    lambda tx: "a" in tx,
    lambda tx: tx["a"],
    list,
    len,
    bool,
    lambda tx: next(tx.scan()),
    lambda tx: tx.scan("x", "y"),
    lambda tx: tx.keys() and None,
    lambda tx: tx.offsets.get("x"),
    lambda tx: len(tx.offsets),
    lambda tx: tx.pop("a"),
    lambda tx: tx.clear(),
]


@pytest.mark.parametrize("read", READS)
def test_one_that_has_read_anything_is_overtaken_by_any_commit(
    store: journalkit.Store, in_thread: Run, read: Callable[[Any], Any]
) -> None:
    """Never a lost update: until reads are tracked every record between is one too many."""
    store["a"] = 1
    with pytest.raises(ConflictError), store.transaction() as tx:  # noqa: PT012 - the block is the call
        read(tx)
        tx["b"] = 1
        in_thread(lambda: store.put("other", 1))
    assert store == {"a": 1, "other": 1}
    assert tx.lsn == 0


def test_one_that_only_writes_is_never_overtaken(store: journalkit.Store, in_thread: Run) -> None:
    """A blind write has no premise that somebody could take away; what it wrote itself is none."""
    with store.transaction() as tx:
        tx["a"] = 1
        in_thread(lambda: store.put("a", 2))
        assert tx["a"] == 1
        tx.delete("b")
    assert store == {"a": 1}


def test_one_that_only_reads_never_conflicts(store: journalkit.Store, in_thread: Run) -> None:
    """It saw one moment; nothing depends on what came after."""
    store["a"] = 1
    with store.transaction() as tx:
        assert tx["a"] == 1
        in_thread(lambda: store.put("a", 2))
        assert tx["a"] == 1
    assert tx.lsn == 0


def test_a_record_that_is_not_visible_yet_overtakes_too(store: journalkit.Store, in_thread: Run) -> None:
    """A sync without a record does not."""
    with store.transaction() as tx:
        tx["n"] = tx.get("n", 0) + 1
        in_thread(store.sync)
    with pytest.raises(ConflictError), store.transaction() as tx:  # noqa: PT012 - the block is the call
        tx["n"] = tx["n"] + 1
        in_thread(lambda: store.put("n", 10, sync="never"))
    assert store["n"] == 10


def test_writing_through_the_store_inside_is_refused(store: journalkit.Store, in_thread: Run) -> None:
    """It would not be part of the transaction, and would make it conflict with itself. Reading is fine."""
    batch = journalkit.Batch()
    batch.put("x", 1)
    store["a"] = 1
    with store.transaction() as tx:
        tx["b"] = 2
        for attempt in (
            lambda: store.put("x", 1),
            lambda: store.__setitem__("x", 1),
            lambda: store.delete("x"),
            lambda: store.__delitem__("a"),
            lambda: store.write(batch),
            lambda: store.update(x=1),
            lambda: store.pop("a"),
            lambda: store.popitem(),
            lambda: store.setdefault("x", 1),
            lambda: store.clear(),
            lambda: store.modify("a", lambda value: value + 1),
            lambda: store.edit("a").__enter__(),
            lambda: store.transaction(),
            lambda: store.transact(lambda tx: None),
            lambda: store.compact(),
        ):
            with pytest.raises(UsageError, match="transaction"):
                attempt()
        assert store["a"] == 1
        assert dict(store.view()) == {"a": 1}
        store.sync()
        in_thread(lambda: store.put("other", 1))
    assert store == {"a": 1, "b": 2, "other": 1}


def test_it_cannot_be_entered_twice_or_nested(store: journalkit.Store) -> None:
    """One thread, one transaction of a store; another store's is another matter."""
    one, two = store.transaction(), store.transaction()
    with one as tx:
        with pytest.raises(UsageError):
            two.__enter__()
        with pytest.raises(UsageError):
            one.__enter__()
        tx["a"] = 1
        with journalkit.open("memory://") as other, other.transaction() as its:
            its["b"] = 2
    assert store == {"a": 1}
    with two as tx:
        tx["a"] = 2
    with two as tx:
        assert tx.lsn == 0
        tx["a"] += 1
    assert (store["a"], two.lsn) == (3, 3)


def test_it_is_of_use_only_inside_its_block(store: journalkit.Store) -> None:
    """A write to one that has ended would be lost without a word."""
    tx = store.transaction()
    for attempt in (
        lambda: tx["a"],
        lambda: tx.__setitem__("a", 1),
        lambda: tx.delete("a"),
        lambda: tx.offsets.__setitem__("a", 1),
        lambda: list(tx),
        lambda: tx.scan(),
    ):
        with pytest.raises(UsageError, match="with block"):
            attempt()
    with tx:
        assert "open, 0 writes" in repr(tx)
        tx["a"] = 1
        assert "open, 1 writes" in repr(tx)
    assert "ended" in repr(tx)


def test_a_thread_that_ends_inside_one_does_not_block_who_gets_its_number(store: journalkit.Store) -> None:
    """Idents are given again: an innocent thread was told that it was in a transaction."""
    kept: list[Any] = []

    def die() -> None:
        tx = store.transaction()
        kept.append((tx, threading.get_ident()))
        tx.__enter__()
        tx["a"] = 1

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    _, ident = kept[0]
    store._transactions[threading.get_ident()] = store._transactions.pop(ident)
    store["b"] = 1
    assert store == {"b": 1}
    assert store._transactions == {}
    with store.transaction() as mine:
        kept[0][0].__exit__(ValueError, ValueError(), None)
        mine["c"] = 1
        assert [noted() for noted in store._transactions.values()] == [mine]


def test_beginning_and_ending_in_many_threads_keeps_them_apart(store: journalkit.Store) -> None:
    """One thread's end rebuilt the table of all: another's beginning was lost in it, or broke it."""
    store.put("n", 0, sync="never")
    refused: list[Any] = []

    def work() -> None:
        for _ in range(150):
            with store.transaction(sync="never") as tx:
                tx[str(threading.get_ident())] = 1
                try:
                    store.put("n", 1)
                except UsageError:
                    continue
                refused.append("not refused")

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == []
    assert store["n"] == 0
    assert store.lsn == 901
    assert store._transactions == {}


def test_one_may_end_in_another_thread_than_it_began(store: journalkit.Store, in_thread: Run) -> None:
    """As a generator's does that is closed elsewhere; the first thread may write again then."""
    tx = store.transaction()
    tx.__enter__()
    tx["a"] = 1
    in_thread(lambda: tx.__exit__(None, None, None))
    store["b"] = 2
    assert store == {"a": 1, "b": 2}


def test_what_the_commit_raises_leaves_nothing_behind(store: journalkit.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a record nor the mark that this thread is in a transaction."""
    monkeypatch.setattr("journalkit.store.records.PAYLOAD_BYTES_MAX", 100)
    with pytest.raises(RecordTooLargeError), store.transaction() as tx:
        tx["a"] = b"x" * 200
    store["b"] = 1
    with tx:
        assert dict(tx) == {"b": 1}
    assert store == {"b": 1}


def test_closing_the_store_inside_ends_in_an_error_and_writes_nothing(bench: Bench) -> None:
    """What was not committed is not there, and its writer hears of it."""
    store = bench.open()
    with pytest.raises(ClosedError), store.transaction() as tx:  # noqa: PT012 - the block is the call
        tx["a"] = 1
        store.close()
    assert bench.open() == {}


def test_counting_in_many_threads_loses_nothing(store: journalkit.Store) -> None:
    """The one thing that transactions are for."""

    def add(tx: journalkit.Transaction) -> int:
        tx["n"] = tx.get("n", 0) + 1
        value: int = tx["n"]
        return value

    seen: list[int] = []

    def work() -> None:
        seen.extend(store.transact(add, attempts=10_000) for _ in range(25))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(1, 101))
    assert store["n"] == 100


def test_transact_tries_again_and_gives_up_in_the_end(store: journalkit.Store, in_thread: Run) -> None:
    """With a random, growing pause in between; what it returns is what its function returned."""
    tries: list[int] = []

    def overtaken_twice(tx: journalkit.Transaction) -> str:
        tries.append(1)
        tx["n"] = tx.get("n", 0) + 1
        if len(tries) < 3:
            in_thread(lambda: store.put("n", 10, sync="never"))
        return "done"

    assert store.transact(overtaken_twice) == "done"
    assert (store["n"], len(tries)) == (11, 3)

    @store.transact
    def result(tx: journalkit.Transaction) -> int:
        tx["n"] += 1
        value: int = tx["n"]
        return value

    assert result == 12

    def always_overtaken(tx: journalkit.Transaction) -> None:
        tx["m"] = tx["n"]
        in_thread(lambda: store.put("n", 10, sync="never"))

    with pytest.raises(ConflictError):
        store.transact(always_overtaken, attempts=4)
    assert "m" not in store


def test_transact_lets_the_functions_own_error_through(store: journalkit.Store) -> None:
    """Only being overtaken is a reason to try again."""
    tries: list[int] = []

    def fails(tx: journalkit.Transaction) -> None:
        tries.append(1)
        tx["a"] = 1
        raise LookupError

    with pytest.raises(LookupError):
        store.transact(fails)
    assert (len(tries), dict(store)) == (1, {})
