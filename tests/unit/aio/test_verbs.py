"""Each verb of the asynchronous store does what the store's does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import journalkit
from journalkit.errors import (
    ConflictError,
    KeyTypeError,
    KeyValueError,
    ReadOnlyError,
    RecordTooLargeError,
    StoreNotFoundError,
    UsageError,
)
from journalkit.store.aio import reads
from journalkit.types import ABSENT

Run = Callable[..., Any]


async def filled(store: journalkit.AsyncStore, count: int) -> list[tuple[Any, Any]]:
    """Put so many keys, and return what a scan has to give."""
    await store.update({index: [index] for index in range(count)})
    return [(index, [index]) for index in range(count)]


def test_a_put_is_there_and_durable(bench: Any, run: Run) -> None:
    """What every tutorial begins with."""

    async def main() -> None:
        async with bench.open() as store:
            assert await store.put("a", {"x": (1, 2)}) == 1
            assert (store.lsn, store.durable_lsn) == (1, 1)
            assert await store["a"] == await store.get("a") == {"x": (1, 2)}
            assert await store.get("b") is None
            assert await store.get("b", 7) == 7
            assert await store.contains("a")
            assert not await store.contains("b")
            with pytest.raises(KeyError):
                await store["b"]
        assert store.closed

    run(main())


def test_it_is_opened_by_await_too(bench: Any, run: Run) -> None:
    """For a program whose store lives as long as it does."""

    async def main() -> None:
        store = await bench.open()
        assert await store is store
        await store.put("a", 1)
        async with store as same:
            assert same is store
        assert store.closed
        with journalkit.open("/store", fs=bench.fs) as again:
            assert again["a"] == 1

    run(main())


def test_what_it_knows_without_the_disk_isnt_awaited(bench: Any, run: Run) -> None:
    """Positions and identity are attributes, as they are of a store."""

    async def main() -> None:
        async with bench.open(metadata={"a": 1}) as store:
            assert (store.lsn, store.durable_lsn, store.snapshot_lsn, store.pruned_lsn, store.epoch) == (0, 0, 0, 0, 1)
            assert len(store.uuid) == 32
            assert store.path == "/store"
            assert store.metadata == {"a": 1}
            assert store.recovery_report.outcome == "created"
            assert "LSN 0" in repr(store)
            assert not store.closed
        assert "closed" in repr(store)

    run(main())


def test_the_other_writes(bench: Any, run: Run) -> None:
    """delete, write, update, clear, popitem, and an empty batch that writes nothing."""

    async def main() -> None:
        async with bench.open() as store:
            batch = journalkit.Batch()
            assert await store.write(batch) == 0
            batch.put("a", 1)
            batch.put("b", 2)
            batch.offsets["in"] = 5
            assert await store.write(batch) == 1
            await store.update({"c": 3}, d=4)
            assert await store.delete("a") == 3
            assert await store.delete("nobody") == 4
            assert [item async for item in store.items()] == [("b", 2), ("c", 3), ("d", 4)]
            assert await store.popitem() == ("d", 4)
            assert await store.pop("c") == 3
            assert await store.pop("c", "gone") == "gone"
            with pytest.raises(KeyError):
                await store.pop("c")
            assert await store.setdefault("b", 9) == 2
            assert await store.setdefault("e", 5) == 5
            assert await store.offsets() == {"in": 5}
            await store.clear()
            assert await store.count() == 0
            with pytest.raises(KeyError):
                await store.popitem()
            assert await store.offsets() == {"in": 5}

    run(main())


def test_a_large_batch_is_encoded_elsewhere_and_is_one_record(bench: Any, run: Run) -> None:
    """Ten thousand values on the loop would be a stall."""

    async def main() -> None:
        async with bench.open() as store:
            expected = await filled(store, 2000)
            batch = journalkit.Batch()
            for index in range(2000, 4000):
                batch.put(index, [index])
                expected.append((index, [index]))
            await store.write(batch)
            assert store.lsn == 2
            assert [item async for item in store.scan()] == expected
            with pytest.raises(KeyTypeError):
                await store.update({index: object() for index in range(2000)})

    run(main())


def test_expectations_hold_when_the_record_gets_its_place(bench: Any, run: Run) -> None:
    """Of tasks that all expect nothing there, one is right."""

    async def main() -> None:
        async with bench.open() as store:
            async def first(index: int) -> int | None:
                try:
                    return await store.put("a", index, expect=ABSENT)
                except ConflictError:
                    return None

            lsns = await asyncio.gather(*(first(index) for index in range(20)))
            assert lsns == [1] + [None] * 19
            with pytest.raises(ConflictError):
                await store.delete("a", expect=5)
            assert await store.delete("a", expect=0) == 2

    run(main())


def test_scans_keep_the_order_the_bounds_and_the_moment(bench: Any, run: Run) -> None:
    """In chunks or not, a scan is what the store was when it began."""

    async def main() -> None:
        async with bench.open() as store:
            expected = await filled(store, 1500)
            assert [key async for key in store.keys()] == list(range(1500))  # noqa: SIM118 - the verb under test
            assert [key async for key in store] == [key for key, _ in expected]
            assert [value async for value in store.values()] == [value for _, value in expected]
            assert [item async for item in store.scan(5, 900)] == expected[5:900]
            assert [item async for item in store.scan(reverse=True)] == expected[::-1]
            for limit in (0, 1, reads.CHUNK_FIRST, reads.CHUNK_FIRST + 1, 1500, 2000):
                assert [item async for item in store.scan(limit=limit)] == expected[:limit]
            assert await store.count() == 1500
            seen = []
            async for key, value in store.scan():
                seen.append((key, value))
                if key == 3:
                    await store.clear()
            assert seen == expected
            with pytest.raises(KeyValueError):
                store.scan(limit=-1)
            await store.put(("a", 1), 1)
            assert [item async for item in store.scan(prefix=("a",))] == [(("a", 1), 1)]

    run(main())


def test_a_chunk_of_a_scan_has_bounded_bytes(bench: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five hundred values of a megabyte at once would be half a gigabyte that nobody asked for."""
    monkeypatch.setattr(reads, "CHUNK_BYTES", 1000)
    sizes: list[int] = []
    fetch = reads._fetch

    def noted(*arguments: Any) -> Any:
        chunk, is_last = fetch(*arguments)
        sizes.append(len(chunk))
        return chunk, is_last

    monkeypatch.setattr(reads, "_fetch", noted)

    async def main() -> None:
        async with bench.open() as store:
            await store.update({index: bytes(400) for index in range(10)})
            assert len([item async for item in store.scan()]) == 10
            assert sizes == [3, 3, 3, 1]

    run(main())


def test_reads_go_below_the_memory(bench: Any, run: Run) -> None:
    """What a fold moved into tables is read in a worker, and then found in memory."""

    async def main() -> None:
        async with bench.open(cache_bytes=1 << 20) as store:
            expected = await filled(store, 300)
            await store.compact()
            await store.delete(7)
            assert await store.get(5) == [5]
            assert await store.get(5) == [5]
            assert await store.get(7) is None
            assert await store.get(1000) is None
            assert await store.get_many([9, 7, 1000, 8]) == {9: [9], 8: [8]}
            assert [item async for item in store.scan()] == expected[:7] + expected[8:]
            await store.check()
            counts = await store.statistics()
            assert (counts.folds, counts.commits) == (1, 2)

    run(main())


def test_a_view_doesnt_change(bench: Any, run: Run) -> None:
    """The same verbs as the store's, at one LSN."""

    async def main() -> None:
        async with bench.open() as store:
            expected = await filled(store, 50)
            await store.compact()
            batch = journalkit.Batch()
            batch.put("z", 1)
            batch.offsets["in"] = 1
            await store.write(batch)
            async with store.view() as view:
                await store.clear()
                assert view.lsn == 2
                assert await view["z"] == 1
                assert await view.get(3) == [3]
                assert await view.get_many([4, "nobody"]) == {4: [4]}
                assert [item async for item in view.scan()] == [*expected, ("z", 1)]
                assert await view.offsets() == {"in": 1}
                assert "LSN 2" in repr(view)
            with pytest.raises(UsageError, match="closed"):
                await view.get("z")
            taken = await store.view()
            assert await taken is taken
            assert await taken.count() == 0
            await taken.close()
            pending = store.view()
            assert "not begun" in repr(pending)
            with pytest.raises(UsageError, match="await"):
                await pending.get(1)
            await pending.close()

    run(main())


def test_modify_never_loses_an_update(bench: Any, run: Run) -> None:
    """A counter that a hundred tasks raise, and a thread beside them."""

    async def main() -> None:
        async with bench.open(sync="never") as store:
            inner = store._inner
            threads = asyncio.to_thread(lambda: [inner.modify("n", lambda n: n + 1, 0) for _ in range(50)])
            tasks = [store.modify("n", lambda n: n + 1, 0) for _ in range(100)]
            await asyncio.gather(threads, *tasks)
            assert await store.get("n") == 150
            with pytest.raises(KeyError):
                await store.modify("other", lambda n: n)
            assert len(store._turns) == 0

    run(main())


def test_pop_and_setdefault_give_one_winner(bench: Any, run: Run) -> None:
    """Each of them reads and writes in one step, whoever comes between."""

    async def main() -> None:
        async with bench.open(sync="never") as store:
            inner = store._inner
            given = await asyncio.gather(*(store.setdefault("a", index) for index in range(20)))
            assert given == [given[0]] * 20
            threads = [asyncio.to_thread(inner.pop, "a", None) for _ in range(10)]
            taken = await asyncio.gather(*(store.pop("a", None) for _ in range(10)), *threads)
            assert sorted(taken, key=lambda value: value is None) == [given[0]] + [None] * 19

    run(main())


def test_edit_commits_what_its_block_made(bench: Any, run: Run) -> None:
    """And nothing if the block raises, or somebody else was there."""

    async def main() -> None:
        async with bench.open() as store:
            async with store.edit("a", default=[]) as value:
                value.append(1)
            assert await store.get("a") == [1]
            with pytest.raises(ZeroDivisionError):
                async with store.edit("a") as value:
                    value.append(1 / 0)

            async def overtaken() -> None:
                async with store.edit("a") as value:
                    value.append(2)
                    await store.put("a", [3])

            with pytest.raises(ConflictError):
                await overtaken()
            assert await store.get("a") == [3]
            with pytest.raises(KeyError):
                async with store.edit("nobody"):
                    pass

    run(main())


def test_a_weaker_write_isnt_synced_and_sync_makes_up_for_it(bench: Any, run: Run) -> None:
    """Each write says what its acknowledgement means."""

    async def main() -> None:
        async with bench.open() as store:
            await store.put("a", 1, sync="never")
            assert (store.lsn, store.durable_lsn) == (1, 0)
            assert await store.sync() == 1
            assert store.durable_lsn == 1
            await store.put("b", 1, sync="interval")
            with pytest.raises(UsageError):
                await store.put("c", 1, sync="soon")
            assert store.lsn == 2

    run(main())


def test_wrong_calls_are_refused_as_a_store_does(bench: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the caller's own task, and nothing is written."""

    async def main() -> None:
        async with bench.open() as store:
            with pytest.raises(KeyTypeError):
                await store.put(1.5, 1)
            with pytest.raises(KeyTypeError):
                await store.put("a", object())
            with pytest.raises(KeyTypeError):
                await store.write({"a": 1})
            with pytest.raises(TypeError):
                store["a"] = 1
            monkeypatch.setattr("journalkit.store.aio.store.PAYLOAD_BYTES_MAX", 100)
            monkeypatch.setattr("journalkit.store.records.PAYLOAD_BYTES_MAX", 100)
            with pytest.raises(RecordTooLargeError):
                await store.put("a", bytes(100))
            with pytest.raises(RecordTooLargeError):
                await store.update({"a": bytes(100)})
            assert store.lsn == 0

    run(main())


def test_a_reader_reads_and_writes_nothing(bench: Any, run: Run) -> None:
    """`mode="r"`, beside a writer."""

    async def main() -> None:
        async with bench.open() as store:
            await store.put("a", 1)
            async with bench.open(mode="r") as reader:
                assert await reader.get("a") == 1
                assert [item async for item in reader.scan()] == [("a", 1)]
                for attempt in (reader.put("a", 2), reader.sync(), reader.clear(), reader.modify("a", str)):
                    with pytest.raises(ReadOnlyError):
                        await attempt

    run(main())


def test_what_opening_refuses_is_raised_where_it_is_awaited(bench: Any, run: Run) -> None:
    """With the caller's own line in the words of a lock."""

    async def main() -> None:
        with pytest.raises(StoreNotFoundError):
            await bench.open(create=False)
        with pytest.raises(TypeError):
            bench.open(compactoin="manual")
        async with bench.open():
            second = bench.open()
            with pytest.raises(journalkit.errors.LockedError) as caught:
                await second
            assert caught.value.opened_at.rpartition(":")[0].endswith("conftest.py")
            assert second.closed
            with pytest.raises(UsageError):
                await second

    run(main())
