"""The loop never waits: not for the disk, whatever is asked for, and not for a group's own size."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import journalkit
from journalkit.errors import StorageError
from journalkit.log.log import Log
from journalkit.testing import SimulatedDisk

Run = Callable[..., Any]


def test_nothing_touches_the_disk_on_the_loops_thread(bench: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every verb, opening and closing included: what isn't called there can't block there, however slow it is."""
    bench.fs = disk = SimulatedDisk()
    step, threads = disk._state.plan.step, set()

    def watched(operation: str, path: str, detail: str = "") -> None:
        threads.add(threading.get_ident())
        assert threading.get_ident() != threading.main_thread().ident, f"{operation} {path} on the loop"
        step(operation, path, detail)

    monkeypatch.setattr(disk._state.plan, "step", watched)

    async def every_verb(store: journalkit.AsyncStore) -> None:
        await store.update({index: bytes(1000) for index in range(300)})
        await asyncio.gather(*(store.put(("t", index), bytes(500), sync="interval") for index in range(50)))
        await store.compact()
        for index in (1, 1, 400):
            await store.get(index)
        assert not await store.contains("nobody")
        assert len([item async for item in store.scan(limit=200)]) == 200
        async with store.view() as view:
            assert await view.get(5) == bytes(1000)
        async with store.transaction() as tx:
            tx["sum"] = len(await tx[7])
            tx.offsets["in"] = await tx.offsets.get("in", 0) + 1
        await store.modify("n", lambda n: n + 1, 0)
        await store.setdefault("m", 1)
        await store.pop("m")
        await store.popitem()
        await store.put(3, 1, expect=bytes(1000))
        await store.delete(4)
        await store.sync()
        await store.check()
        await store.offsets()
        await store.statistics()
        await store.clear()
        assert (store.lsn, store.durable_lsn, store.snapshot_lsn, store.pruned_lsn, store.epoch) != (0,) * 5
        assert repr(store)
        assert store.metadata == {}

    async def main() -> None:
        async with bench.open(segment_bytes_max=8192, cache_bytes=0) as store:
            await every_verb(store)
        async with bench.open(mode="r") as reader:
            assert await reader.count() == 0

    run(main())
    assert len(threads) > 2


def test_while_an_fsync_hangs_the_loop_goes_on(bench: Any, run: Run) -> None:
    """Reads, scans, views and other tasks: only who waits for that fsync waits."""

    async def main() -> None:
        async with bench.open() as store:
            await store.update({index: index for index in range(100)})
            held = bench.hold(store)
            waiting = [asyncio.create_task(store.put(("new", index), index)) for index in range(50)]
            await held.entered()
            assert await store.get(5) == 5
            assert await store.count() == 100
            async with store.view() as view:
                assert await view.get(("new", 1)) is None
            later = asyncio.create_task(store.put("later", 1))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not any(task.done() for task in (*waiting, later))
            held.goes_on.set()
            await asyncio.gather(*waiting, later)
            assert await store.count() == 151

    run(main())


@pytest.mark.slow
def test_the_longest_stall_doesnt_grow_with_the_disks_slowness(bench: Any, run: Run) -> None:
    """A disk that takes a fifth of a second for each fsync, hundreds of tasks that write: the loop keeps ticking."""

    async def main() -> None:
        async with bench.open() as store:
            file = bench.hold(store).file

            def slow() -> None:
                time.sleep(0.2)

            file.sync_data = slow
            stalls = [0.0]

            async def tick() -> None:
                while True:
                    began = time.perf_counter()
                    await asyncio.sleep(0.001)
                    stalls.append(time.perf_counter() - began)

            ticking = asyncio.create_task(tick())

            async def work(index: int) -> None:
                for turn in range(3):
                    await store.put((index, turn), [index, turn])
                    await store.get((index, 0))

            await asyncio.gather(*(work(index) for index in range(300)))
            assert await store.count() == 900
            ticking.cancel()
            # Of the stalls that a busy machine makes by itself a few may be longer; an fsync on the loop makes all so.
            assert sorted(stalls)[-4:][0] < 0.15

    run(main())


def test_a_committer_that_is_struck_leaves_nobody_waiting(
    bench: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that another thread sends may come anywhere, there too; the next group is none the worse."""
    commit_all = Log.commit_all

    def struck(log: Log, commits: Any) -> None:
        monkeypatch.setattr(Log, "commit_all", commit_all)
        commits[0].settle(None)
        raise KeyboardInterrupt

    async def main() -> None:
        async with bench.open() as store:
            monkeypatch.setattr(Log, "commit_all", struck)
            results = await asyncio.gather(store.put("a", 1), store.put("b", 1), return_exceptions=True)
            assert results[0] == 0
            assert isinstance(results[1], StorageError)
            assert await store.put("c", 1) == 1

    run(main())
