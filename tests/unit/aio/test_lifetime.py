"""Opening, closing, loops and threads: what may end when, and who may call."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import journalkit
from journalkit.errors import ClosedError, StorageError, UsageError

Run = Callable[..., Any]


async def turns(count: int = 5) -> None:
    """Let the loop go round a few times."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_close_completes_what_was_submitted_and_refuses_the_rest(bench: Any, run: Run) -> None:
    """Nobody is left waiting, and after it nothing runs."""

    async def main() -> None:
        store = await bench.open()
        committer = bench.running(store).committer
        committer.bytes_max = 1000
        held = bench.hold(store)
        tasks = [asyncio.create_task(store.put(index, bytes(600))) for index in range(4)]
        await turns()
        closers = [asyncio.create_task(store.close()) for _ in range(3)]
        await held.entered()
        held.goes_on.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[:2] == [1, 2]
        assert [type(result) for result in results[2:]] == [ClosedError, ClosedError]
        await asyncio.gather(*closers)
        await store.close()
        for attempt in (store.put("a", 1), store.get(0), store.sync(), store.count()):
            with pytest.raises(ClosedError):
                await attempt
        with pytest.raises(ClosedError):
            await store
        with journalkit.open("/store", fs=bench.fs) as again:
            assert list(again) == [0, 1]

    run(main())


def test_close_is_done_before_a_cancellation_is_heard(bench: Any, run: Run) -> None:
    """Whoever opens it next, in the handler of that cancellation, finds it free."""

    async def main() -> None:
        store = await bench.open()
        held = bench.hold(store)
        put = asyncio.create_task(store.put("a", 1))
        await held.entered()
        closing = asyncio.create_task(store.close())
        await turns()
        closing.cancel()
        await turns()
        assert not closing.done()
        held.goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert await put == 1
        async with bench.open() as again:
            assert await again.get("a") == 1

    run(main())


def test_opening_that_is_cancelled_leaves_nothing_open(bench: Any, run: Run) -> None:
    """The thread that opens can't be stopped; what it opened is closed."""
    begun, goes_on = threading.Event(), threading.Event()
    listing = bench.fs.status

    def slow(path: str) -> Any:
        begun.set()
        assert goes_on.wait(20)
        return listing(path)

    async def main() -> None:
        bench.fs.status = slow
        store = bench.open()
        task = asyncio.create_task(store._begin())
        assert await asyncio.to_thread(begun.wait, 20)
        with pytest.raises(UsageError):
            await store
        task.cancel()
        await turns()
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert store.closed
        async with bench.open() as again:
            await again.put("a", 1)

    run(main())


def test_a_disk_that_hangs_doesnt_keep_a_close_for_ever(bench: Any, run: Run) -> None:
    """Who waits is told that the outcome is unknown; the thread ends when the disk lets it."""

    async def main() -> Any:
        store = await bench.open()
        held = bench.hold(store)
        put = asyncio.create_task(store.put("a", 1))
        await held.entered()
        with pytest.raises(StorageError):
            await store.close()
        with pytest.raises(StorageError, match="tells what survived"):
            await put
        held.goes_on.set()
        assert await asyncio.to_thread(bench.running(store).committer.join, 20)

    run(main())


def test_a_worker_that_hangs_doesnt_keep_a_close_for_ever(bench: Any, run: Run) -> None:
    """What waits behind it for a worker is refused, and what is in it is left to end by itself."""
    begun, goes_on = threading.Semaphore(0), threading.Event()

    def hang() -> bool:
        begun.release()
        return goes_on.wait(20)

    async def main() -> None:
        store = await bench.open()
        await store.put("a", 1)
        workers = bench.running(store).workers
        hanging = [workers.run(hang) for _ in range(4)]
        for _ in hanging:
            assert await asyncio.to_thread(begun.acquire, timeout=20)
        behind = asyncio.create_task(store.count())
        await turns()
        await store.close()
        assert not any(each.done() for each in hanging)
        goes_on.set()
        assert all(await asyncio.gather(*hanging))
        with pytest.raises(ClosedError):
            await behind
        assert await asyncio.to_thread(workers.join, 20)

    run(main())


def test_a_scan_ends_with_its_store(bench: Any, run: Run) -> None:
    """Between two chunks, with an error, and not with half of the keys as if they were all."""

    async def main() -> None:
        store = await bench.open()
        await store.update({index: index for index in range(100)})
        seen = []

        async def scan() -> None:
            async for key, _ in store.scan():
                seen.append(key)
                if key == 10:
                    await store.close()

        with pytest.raises(ClosedError):
            await scan()
        assert seen == list(range(32))

    run(main())


def test_a_store_that_isnt_open_says_how(bench: Any, run: Run) -> None:
    """The commonest mistake is a forgotten await."""

    async def main() -> None:
        store = bench.open()
        assert "not open" in repr(store)
        assert not store.closed
        for attempt in (lambda: store.lsn, store.view, store.scan, store.transaction):
            with pytest.raises(UsageError, match="await the store"):
                attempt()
        with pytest.raises(UsageError, match="await the store"):
            await store.put("a", 1)
        await store.close()
        assert store.closed
        with pytest.raises(ClosedError):
            await store.get("a")

    run(main())


def test_another_loop_or_none_is_refused(bench: Any, run: Run) -> None:
    """A future of one loop set from another hangs its task; a readable error is better."""

    async def main() -> None:
        async with bench.open() as store:
            async def elsewhere() -> None:
                for attempt in (store.put("a", 1), store.get("a"), store.close()):
                    with pytest.raises(UsageError, match="another event loop"):
                        await attempt

            await asyncio.to_thread(asyncio.run, elsewhere())

            def without() -> None:
                with pytest.raises(UsageError, match="trio"):
                    store.get("a").send(None)
                with pytest.raises(UsageError, match="trio"):
                    bench.open().__await__().send(None)

            await asyncio.to_thread(without)
            await store.put("a", 1)

    run(main())


def test_a_store_dropped_unclosed_warns_and_is_closed(bench: Any, run: Run) -> None:
    """As a file does."""

    async def main() -> None:
        stores = [await bench.open()]
        await stores[0].put("a", 1)
        with pytest.warns(ResourceWarning, match="was not closed") as caught:
            stores.clear()
        assert len(caught) == 1
        await asyncio.sleep(0.05)
        async with bench.open() as again:
            assert await again.get("a") == 1

    run(main())


def test_a_loop_that_ended_first_leaves_a_store_that_can_be_dropped(bench: Any) -> None:
    """A program that ends in the middle of its writes hears of what it forgot, and of nothing else."""

    async def main() -> journalkit.AsyncStore:
        store = await bench.open()
        held = bench.hold(store)
        put = asyncio.create_task(store.put("a", 1))
        await held.entered()
        put.cancel()
        return store

    stores = [asyncio.run(main())]
    bench.held[0].goes_on.set()
    gc.collect()
    with pytest.warns(ResourceWarning, match="was not closed"):
        stores.clear()
    with journalkit.open("/store", fs=bench.fs) as again:
        assert again["a"] == 1


def test_a_child_process_is_refused(bench: Any, run: Run) -> None:
    """It has the parent's memory and none of its threads: waiting for those would be for ever."""

    async def main() -> None:
        async with bench.open() as store:
            await store.put("a", 1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if not child:
                code = 1
                try:
                    for attempt in (store.put("a", 2), store.get("a")):
                        try:
                            attempt.send(None)
                        except journalkit.errors.ForkedError:
                            code = 0
                        else:
                            code = 2
                            break
                finally:
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            assert await store.get("a") == 1

    run(main())
