"""What a program writes, and what the type checker makes of it; `test_types.py` has it checked, nothing runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, assert_type

import journalkit
from journalkit import Key, Lsn, Value


def a_store_is_a_mapping(store: journalkit.Store) -> None:
    """Reads and writes as a dict has them."""
    store["user:1"] = {"name": "Ada"}
    assert_type(store["user:1"], Any)
    assert_type(store.get("user:1"), Any | None)
    assert_type(len(store), int)
    assert_type("user:1" in store, bool)
    assert_type(iter(store), Iterator[Key])


def commits_return_where_they_stand(store: journalkit.Store) -> None:
    """An LSN is a number of its own."""
    assert_type(store.put("a", 1), Lsn)
    assert_type(store.put("a", 2, sync="never", expect=1), Lsn)
    assert_type(store.put("new", 2, expect=journalkit.ABSENT), Lsn)
    assert_type(store.delete("a"), Lsn)
    assert_type(store.sync(), Lsn)
    batch = journalkit.Batch()
    batch.put("a", 1)
    batch.delete("b")
    assert_type(store.write(batch), Lsn)


def handles_are_context_managers(path: str) -> None:
    """And what they give is themselves."""
    with journalkit.open(path, sync="always", compaction="manual") as store:
        assert_type(store, journalkit.Store)
        with store.view() as view:
            assert_type(view, journalkit.View)
        with store.transaction() as changes:
            assert_type(changes, journalkit.Transaction)
        assert_type(store.recovery_report, journalkit.RecoveryReport)
        assert_type(store.offsets, Mapping[str, Any])
    with journalkit.open_journal(path) as journal:
        assert_type(journal.append({"kind": "signup"}), Lsn)
        for record in journal.read(from_lsn=1):
            assert_type(record, journalkit.JournalRecord)
            assert_type(record.lsn, Lsn)


def transactions_return_what_their_function_does(store: journalkit.Store) -> None:
    """`transact` keeps the function's type, also as a decorator."""

    def count(changes: journalkit.Transaction) -> int:
        return len(changes)

    assert_type(store.transact(count), int)


async def awaiting_gives_the_same(path: str) -> None:
    """The verbs of a store, awaited."""
    async with journalkit.open_async(path) as store:
        assert_type(store, journalkit.AsyncStore)
        assert_type(await store.put("a", 1), Lsn)
        assert_type(await store.count(), int)
        assert_type(await store.contains("a"), bool)
        entries: AsyncIterator[tuple[Any, Any]] = store.scan(prefix="a")
        async for _ in entries:
            break


def names_for_annotations(key: Key, value: Value, sync: journalkit.Sync, store: journalkit.Store) -> Lsn:
    """What programs annotate their own functions with."""
    return store.put(key, value, sync=sync)
