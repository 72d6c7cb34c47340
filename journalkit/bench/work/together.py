"""Many who write at once: threads, asyncio tasks, and what the slowest of them waits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import journalkit
from journalkit.bench import data
from journalkit.bench.arena import Bench, must
from journalkit.bench.engine import Database, Item, Put, Terms
from journalkit.bench.result import Goal, Row
from journalkit.bench.rounds import Contender, contest, timed

THREADS: Final = 16
EXECUTOR_THREADS: Final = 64
_ROUTES: Final = ("threads", "executor")


def threads(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """Sixteen threads, each putting one key after the other, each put durable when it returns."""
    del wanted
    each, rounds = bench.scale.thread_puts, bench.scale.rounds
    with bench.arena(Terms("power cut")) as arena:

        def run(database: Database, number: int) -> float:
            first = number * THREADS * each
            return _in_threads(database, data.items(first, first + THREADS * each), THREADS)

        result = arena.compete(lambda database: lambda number: run(database, number), rounds)
        arena.must_hold(data.items(0, THREADS * each * (rounds + 1))[::7])
        yield arena.row("durable-put-threads", f"durable puts, {THREADS} threads", Goal(1.2), result)


def tails(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """The slowest hundredth of durable puts: sixteen threads against one. The peers have no part in it."""
    del wanted
    scale = bench.scale
    with bench.arena(Terms("power cut"), peers=False) as arena:
        ours = arena.ours

        def many(number: int) -> float:
            first = number * THREADS * scale.thread_puts
            waits: list[float] = []
            _in_threads(ours, data.items(first, first + THREADS * scale.thread_puts), THREADS, waits)
            return p99(waits)

        def one(number: int) -> float:
            waits: list[float] = []
            for key, value in data.items(number * scale.durable_puts, (number + 1) * scale.durable_puts, shift=1):
                began = time.perf_counter()
                ours.put(key, value)
                waits.append(time.perf_counter() - began)
            return p99(waits)

        result = contest(
            Contender(f"{THREADS} threads", many),
            [Contender("1 thread", one)],
            scale.rounds,
        )
        yield arena.row(
            "commit-p99-threads",
            f"durable put, p99, {THREADS} threads",
            Goal(4, at_most=True),
            result,
            against="p99 of one thread",
        )


def tasks(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """A thousand asyncio tasks that put at the same time; the peers by threads and by an executor."""
    del wanted
    scale = bench.scale
    with bench.arena(Terms("power cut")) as arena, contextlib.ExitStack() as stack:
        path = os.path.join(arena.path, "async")
        ours = Contender(
            "journalkit",
            lambda number: asyncio.run(_gathered(path, number, scale.tasks)),
            "open_async, defaults, all tasks at once",
        )
        others = []
        for database_name, database in list(arena.databases.items())[1:]:
            others += [
                Contender(
                    f"{database_name} by {route}",
                    _by(route, database, stack, scale.peer_puts),
                    f"{arena.engines[database_name].settings(arena.terms)}; {scale.peer_puts:,} puts a round",
                )
                for route in _ROUTES
            ]
        alone = Contender(
            "asyncio alone",
            lambda number: asyncio.run(_awaited(number, scale.tasks)),
            "as many tasks that await a future each, told all at once; nothing is stored: no store is quicker",
            counts=False,
        )
        result = contest(ours, [*others, alone], max(2, scale.rounds // 2))
        for gone in result.dropped:
            arena.drop(gone.name, gone.why)
        with journalkit.open(path) as store:
            for key, value in data.items(0, scale.tasks):
                must(store[key] == value, "journalkit")
        put = len(_ROUTES) * scale.peer_puts * (result.rounds + 1)
        arena.must_hold(data.items(0, put)[:: max(1, put // 1000)], ours=False)
        yield arena.row("durable-put-async", f"durable puts, {scale.tasks:,} asyncio tasks", Goal(5), result)


def p99(waits: Sequence[float]) -> float:
    """Return the wait that one in a hundred exceeds."""
    return sorted(waits)[min(len(waits) - 1, len(waits) * 99 // 100)]


def _by(route: str, database: Database, stack: contextlib.ExitStack, count: int) -> Callable[[int], float]:
    def share(number: int) -> list[Item]:
        # Its own: a peer may well notice that a key has its value already, and write nothing.
        first = (number * len(_ROUTES) + _ROUTES.index(route)) * count
        return data.items(first, first + count)

    if route == "threads":
        return lambda number: _in_threads(database, share(number), THREADS)
    own = threading.local()

    def begin() -> None:
        own.put = stack.enter_context(database.worker())

    def put(key: bytes, value: bytes) -> None:
        own.put(key, value)

    pool = stack.enter_context(ThreadPoolExecutor(EXECUTOR_THREADS, initializer=begin))

    def by_executor(number: int) -> float:
        some = share(number)
        return timed(lambda: asyncio.run(_executed(pool, put, some)), count)

    return by_executor


async def _gathered(path: str, number: int, count: int) -> float:
    """Return the seconds per put of `count` tasks that put one key each, the opening not included."""
    async with journalkit.open_async(path) as store:
        some = data.items(number * count, (number + 1) * count)
        began = time.perf_counter()
        await asyncio.gather(*(store.put(key, value) for key, value in some))
        return (time.perf_counter() - began) / count


async def _awaited(number: int, count: int) -> float:
    """Return the seconds that a task takes which does nothing but wait until it is told: what the loop itself costs."""
    loop = asyncio.get_running_loop()
    pending: list[asyncio.Future[int]] = []

    def tell() -> None:
        for future in pending:
            future.set_result(number)

    async def put(_key: bytes, _value: bytes) -> int:
        if not pending:
            loop.call_soon(tell)
        future: asyncio.Future[int] = loop.create_future()
        pending.append(future)
        return await future

    some = data.items(number * count, (number + 1) * count)
    began = time.perf_counter()
    await asyncio.gather(*(put(key, value) for key, value in some))
    return (time.perf_counter() - began) / count


async def _executed(pool: ThreadPoolExecutor, put: Put, some: Sequence[Item]) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(loop.run_in_executor(pool, put, key, value) for key, value in some))


def _in_threads(database: Database, some: Sequence[Item], count: int, waits: list[float] | None = None) -> float:
    """Let threads share the items, all beginning at once; return the seconds per put.

    From the moment at which the last of them is ready until the last one is done, as they say it themselves: whoever
    waits for them may be told late of both.
    """
    failures: list[Exception] = []
    began: list[float] = []
    ended: list[float] = []
    start = threading.Barrier(count, action=lambda: began.append(time.perf_counter()))

    def work(own: Sequence[Item]) -> None:
        mine: list[float] = []
        try:
            with database.worker() as put:
                start.wait()
                for key, value in own:
                    put_s = time.perf_counter()
                    put(key, value)
                    mine.append(time.perf_counter() - put_s)
                ended.append(time.perf_counter())
        except Exception as error:  # noqa: BLE001 - told by the thread that asked
            failures.append(error)
            start.abort()
        if waits is not None:
            waits.extend(mine)

    workers = [threading.Thread(target=work, args=(some[index::count],), daemon=True) for index in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise next((error for error in failures if not isinstance(error, threading.BrokenBarrierError)), failures[0])
    return (max(ended) - began[0]) / len(some)
