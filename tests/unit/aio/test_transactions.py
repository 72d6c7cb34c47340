"""Transactions of tasks: one record, all or nothing, and nobody's update is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import journalkit
from journalkit.errors import ConflictError, UsageError

Run = Callable[..., Any]


def test_it_reads_its_own_writes_and_commits_once(bench: Any, run: Run) -> None:
    """With input positions in the same record."""

    async def main() -> None:
        async with bench.open() as store:
            await store.update({"a": 1, "b": 2})
            await store.compact()
            async with store.transaction() as tx:
                tx["c"] = await tx["a"] + 2
                await tx.put("d", 4)
                await tx.delete("b")
                await tx.update({"e": 5}, f=6)
                tx.offsets["in"] = 10
                assert await tx.get("b") is None
                assert await tx.contains("c")
                assert await tx.pop("e") == 5
                assert await tx.pop("e", None) is None
                with pytest.raises(KeyError):
                    await tx.pop("e")
                assert await tx.setdefault("a", 9) == 1
                assert await tx.setdefault("g", 7) == 7
                assert await tx.offsets.get("in") == 10
                assert await tx.offsets.get("out", 0) == 0
                await tx.offsets.delete("out")
                assert await tx.offsets.all() == {"in": 10}
                assert [item async for item in tx.scan()] == [("a", 1), ("c", 3), ("d", 4), ("f", 6), ("g", 7)]
                assert await tx.count() == 5
                assert await tx.get_many(["g", "b", "a"]) == {"g": 7, "a": 1}
                assert await tx.popitem() == ("g", 7)
                assert store.lsn == 1
                assert "open" in repr(tx)
                assert "offsets" in repr(tx.offsets)
            assert (tx.lsn, store.lsn) == (2, 2)
            assert await store.offsets() == {"in": 10}
            assert await store.get("c") == 3

    run(main())


def test_clear_takes_all_that_it_sees(bench: Any, run: Run) -> None:
    """Its own writes too, and what comes later in the block stays."""

    async def main() -> None:
        async with bench.open() as store:
            await store.update({"a": 1, "b": 2})
            async with store.transaction() as tx:
                tx["c"] = 3
                await tx.clear()
                with pytest.raises(KeyError):
                    await tx.popitem()
                tx["d"] = 4
            assert [item async for item in store.items()] == [("d", 4)]

    run(main())


def test_an_exception_rolls_it_back(bench: Any, run: Run) -> None:
    """And so does a cancellation before its end."""

    async def main() -> None:
        async with bench.open() as store:
            with pytest.raises(ZeroDivisionError):
                async with store.transaction() as tx:
                    tx["a"] = 1 / 0
            async def slow() -> None:
                async with store.transaction() as tx:
                    tx["a"] = 1
                    await asyncio.sleep(60)

            task = asyncio.create_task(slow())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with store.transaction() as tx:
                pass
            assert (tx.lsn, store.lsn) == (0, 0)

    run(main())


def test_one_that_read_conflicts_with_whatever_came_between(bench: Any, run: Run) -> None:
    """One that only wrote doesn't."""

    async def main() -> None:
        async with bench.open() as store:
            async def overtaken() -> None:
                async with store.transaction() as tx:
                    tx["a"] = await tx.get("b", 0)
                    await asyncio.create_task(store.put("c", 1))

            with pytest.raises(ConflictError):
                await overtaken()
            async with store.transaction() as tx:
                tx["a"] = 1
                await asyncio.create_task(store.put("c", 2))
            assert await store.get("a") == 1

    run(main())


def test_tasks_inside_one_transaction_read_one_state(bench: Any, run: Run) -> None:
    """Whichever of them reads first decides for all."""

    async def main() -> None:
        async with bench.open() as store:
            await store.update({index: index for index in range(20)})
            async with store.transaction() as tx:
                tx["sum"] = sum(await asyncio.gather(*(tx.get(index) for index in range(20))))
            assert await store.get("sum") == 190

    run(main())


def test_writing_past_ones_own_transaction_is_refused(bench: Any, run: Run) -> None:
    """It would be another record, outside of it. Another task's writes are its own affair."""

    async def main() -> None:
        async with bench.open() as store:
            async with store.transaction() as tx:
                for attempt in (store.put("a", 1), store.delete("a"), store.sync(), store.clear()):
                    with pytest.raises(UsageError, match="this task is in a transaction"):
                        await attempt
                with pytest.raises(UsageError):
                    store.transaction()
                with pytest.raises(UsageError):
                    await tx.__aenter__()
                await asyncio.create_task(store.put("b", 1))
                assert await store.get("b") == 1
                with pytest.raises(UsageError, match="open already"):
                    await asyncio.create_task(tx.__aenter__())
            await store.put("a", 1)
            with pytest.raises(UsageError, match="isn't open"):
                await tx.get("a")
            with pytest.raises(UsageError, match="isn't open"):
                tx["a"] = 1
            with pytest.raises(UsageError):
                store.transaction(sync="soon")

    run(main())


def test_transact_tries_again_and_everybody_gets_through(bench: Any, run: Run) -> None:
    """Two hundred at once that all read and write one key: those that were overtaken take turns."""

    async def main() -> None:
        async with bench.open(sync="never") as store:
            async def raise_it(tx: journalkit.AsyncTransaction) -> int:
                tx["n"] = value = await tx.get("n", 0) + 1
                return value

            results = await asyncio.gather(*(store.transact(raise_it) for _ in range(200)))
            assert sorted(results) == list(range(1, 201))
            assert await store.transact(raise_it, attempts=1) == 201

    run(main())


def test_transact_gives_up_after_so_many_attempts(bench: Any, run: Run) -> None:
    """A writer that never rests mustn't keep a caller for ever."""

    async def main() -> None:
        async with bench.open(sync="never") as store:
            tries = 0

            async def overtaken(tx: journalkit.AsyncTransaction) -> None:
                nonlocal tries
                tries += 1
                tx["n"] = await tx.get("n", 0)
                await asyncio.create_task(store.put("other", tries))

            with pytest.raises(ConflictError):
                await store.transact(overtaken, attempts=4)
            assert tries == 4
            with pytest.raises(ConflictError):
                await store.transact(overtaken, attempts=1)
            assert tries == 5

    run(main())
