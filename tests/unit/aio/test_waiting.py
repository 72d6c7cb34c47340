"""Waiting: many share an fsync, are told in order, give up, or wait for room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


async def turns(count: int = 5) -> None:
    """Let the loop go round a few times."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_thousand_tasks_share_an_fsync(bench: Any, run: Run) -> None:
    """Who comes in one turn of the loop is one group; who comes during its fsync is the next."""

    async def main() -> None:
        async with bench.open() as store:
            await asyncio.gather(*(store.put(index, index) for index in range(1000)))
            counts = await store.statistics()
            assert (counts.commits, counts.groups, counts.syncs) == (1000, 1, 1)
            held = bench.hold(store)
            waves = []
            for index in range(10):
                waves.append(asyncio.create_task(store.put(index, -index)))
                await turns()
            await held.entered()
            held.goes_on.set()
            assert [await wave for wave in waves] == list(range(1001, 1011))
            assert held.count <= 3

    run(main())


def test_outcomes_come_in_the_order_of_the_records(bench: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """In portions, so that a large group doesn't hold up the loop."""
    monkeypatch.setattr("journalkit.store.aio.committer.TELL_MAX", 7)

    async def main() -> None:
        async with bench.open() as store:
            told: list[int] = []

            async def put(index: int) -> None:
                told.append(await store.put(index, index))

            await asyncio.gather(*(put(index) for index in range(100)))
            assert told == list(range(1, 101))

    run(main())


def test_who_is_cancelled_before_the_record_has_a_place_writes_nothing(bench: Any, run: Run) -> None:
    """Handed over or not: behind a slow fsync it can still be withdrawn."""

    async def main() -> None:
        async with bench.open() as store:
            held = bench.hold(store)
            first = asyncio.create_task(store.put("a", 1))
            await held.entered()
            tasks = [asyncio.create_task(store.put(name, 1)) for name in "bcd"]
            tasks.append(asyncio.create_task(store.delete("a")))
            await turns()
            for task in (tasks[0], tasks[2], tasks[3]):
                task.cancel()
            at_once = asyncio.create_task(store.put("e", 1))
            await asyncio.sleep(0)
            at_once.cancel()
            await turns()
            held.goes_on.set()
            assert await first == 1
            assert await tasks[1] == 2
            results = await asyncio.gather(*tasks, at_once, return_exceptions=True)
            assert [type(result).__name__ for result in results] == ["CancelledError", "int"] + ["CancelledError"] * 3
            assert [key async for key in store] == ["a", "c"]
            assert await store.put("f", 1) == 3

    run(main())


def test_who_is_cancelled_later_has_written_all_the_same(bench: Any, run: Run) -> None:
    """A record with a place is completed, and store and handle go on."""

    async def main() -> None:
        async with bench.open() as store:
            held = bench.hold(store)
            task = asyncio.create_task(store.put("a", 1))
            await held.entered()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert store.lsn == 0
            held.goes_on.set()
            assert await store.put("b", 1) == 2
            assert await store.get("a") == 1

    run(main())


def test_much_on_its_way_lets_the_next_wait(bench: Any, run: Run) -> None:
    """In the order in which they came, and whoever gives up waiting doesn't take a turn."""

    async def main() -> None:
        async with bench.open() as store:
            committer = bench.running(store).committer
            committer.bytes_max = 1000
            held = bench.hold(store)
            tasks = [asyncio.create_task(store.put(index, bytes(600))) for index in range(8)]
            tasks.append(asyncio.create_task(store.delete(0)))
            await turns()
            assert len(committer.waiting) == 7
            assert committer.pending_bytes < 1300
            tasks[4].cancel()
            refused = asyncio.create_task(store.put("x", object()))
            await held.entered()
            held.goes_on.set()
            results = await asyncio.gather(*tasks, refused, return_exceptions=True)
            assert [result for result in results if isinstance(result, int)] == list(range(1, 9))
            assert isinstance(results[4], asyncio.CancelledError)
            assert isinstance(results[-1], TypeError)
            assert committer.pending_bytes == 0
            assert not committer.waiting

    run(main())


def test_a_turn_that_was_granted_and_then_cancelled_goes_to_the_next(bench: Any, run: Run) -> None:
    """Else everybody behind it would wait for ever."""

    async def main() -> None:
        async with bench.open() as store:
            committer = bench.running(store).committer
            committer.bytes_max = 10
            committer.pending_bytes = 10
            tasks = [asyncio.create_task(store.put(index, 1)) for index in range(3)]
            await turns()
            committer.pending_bytes = 0
            committer._admit()
            tasks[0].cancel()
            assert await asyncio.gather(*tasks[1:]) == [1, 2]
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]

    run(main())
