"""Tasks that write, read, give up and meet a failing disk, against what the log says afterwards.

Which task comes first isn't the test's to say, so the model isn't one dict. It
is the history: every record that the log holds, in order. Each acknowledged
write is the record that its LSN names; what was refused is nowhere; what was
cancelled, or failed for reasons unknown, is there once or not at all; and the
fold of the records is the state that a later opening shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import journalkit
from journalkit.errors import ConflictError, JournalError, StorageError, StoreFullError
from journalkit.format.batch import decode_into
from journalkit.format.codec import CborCodec
from journalkit.format.frame import Frame
from journalkit.format.keys import decode_key
from journalkit.recovery.look import look, require_manifest
from journalkit.snapshot.cache import BlockCache
from journalkit.store.aio import committer
from journalkit.testing import SimulatedDisk

STORE = "/store"
KEYS = ("a", "b", "c")
VERBS = ("put", "put", "put", "delete", "modify", "transaction", "batch", "setdefault", "pop", "thread", "get", "scan")

steps = st.lists(
    st.tuples(
        st.sampled_from(VERBS),
        st.sampled_from(KEYS),
        st.sampled_from(("always", "never", None)),
        st.one_of(st.none(), st.none(), st.integers(0, 30)),  # after how many turns of the loop it is cancelled
    ),
    max_size=6,
)
faults = st.one_of(
    st.none(),
    st.none(),
    st.tuples(
        st.sampled_from(("pwrite", "sync_data")), st.integers(1, 12), st.sampled_from((errno.ENOSPC, errno.EIO))
    ),
)


@dataclass
class Told:
    """What the tasks were told: LSNs, values whose fate they don't know, and values that were refused."""

    acknowledged: dict[int, int] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)


class Program:
    """Tasks over one store; each write carries a number that no other has, and none is written twice."""

    def __init__(self, store: journalkit.AsyncStore) -> None:
        self.store = store
        self.told = Told()
        self.numbers = 0

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    async def task(self, wanted: list[Any]) -> None:
        for verb, key, sync, turns in wanted:
            step = asyncio.create_task(self.step(verb, key, sync))
            if turns is not None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                step.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await step

    async def step(self, verb: str, key: str, sync: Any) -> None:
        number = self.number()
        # Until it is known otherwise: a cancellation or an error of the disk may come anywhere.
        self.told.unknown.add(number)
        try:
            lsn = await self.write(verb, key, sync, number)
        except (ConflictError, StoreFullError, KeyError):
            self.told.refused.add(number)
        except StorageError:
            return
        else:
            if lsn is None:
                return
            assert lsn not in self.told.acknowledged
            self.told.acknowledged[lsn] = number
            assert lsn <= self.store.lsn
        self.told.unknown.discard(number)

    async def write(self, verb: str, key: str, sync: Any, number: int) -> int | None:
        store = self.store
        if verb == "put":
            return await store.put(key, number, sync=sync)
        if verb == "thread":
            # A thread can't be cancelled: whether it was done in time isn't known to the task.
            return await asyncio.to_thread(store._inner.put, key, number, sync=sync)
        if verb == "batch":
            batch = journalkit.Batch()
            batch.put(key, number)
            batch.put("both", number)
            return await store.write(batch, sync=sync)
        if verb == "transaction":
            async with store.transaction(sync=sync) as tx:
                await tx.get(key)
                tx[key] = number
            return tx.lsn
        if verb == "modify":
            assert await store.modify(key, lambda _: number, None) == number
        elif verb == "setdefault":
            await store.setdefault(key, number)
        elif verb == "delete":
            await store.delete(key, sync=sync)
        elif verb == "pop":
            await store.pop(key, None)
        elif verb == "get":
            await store.get(key)
        else:
            keys = [name async for name in store]
            assert keys == sorted(keys)
        return None


def history(disk: SimulatedDisk) -> list[dict[str, Any]]:
    """Return what each record of the log sets, by key, in the order of LSNs."""
    frames: list[Frame] = []
    found = look(disk, STORE, require_manifest(disk, STORE), BlockCache(0), frames.append)
    assert found.plan.damage == ()
    assert [frame.lsn for frame in frames] == list(range(1, len(frames) + 1))
    decode = CborCodec().decode
    records = []
    for frame in frames:
        entries: dict[bytes, bytes | None] = {}
        decode_into(frame.payload, entries)
        records.append({decode_key(k): None if v is None else decode(v) for k, v in entries.items()})
    return records


def fold(records: list[dict[Any, Any]]) -> dict[Any, Any]:
    """Return the state that these records give."""
    state: dict[Any, Any] = {}
    for record in records:
        state |= record
    return {key: value for key, value in state.items() if value is not None}


def judge(told: Told, records: list[dict[Any, Any]], *, least_lsn: int) -> None:
    """Hold what the tasks were told against the log."""
    numbers = [next(iter(set(record.values()))) for record in records if set(record.values()) != {None}]
    assert all(len(set(record.values())) == 1 for record in records), "half of a batch"
    assert len(numbers) == len(set(numbers)), "written twice"
    assert not told.refused & set(numbers), "refused, and written"
    for lsn, number in told.acknowledged.items():
        if lsn <= len(records):
            assert set(records[lsn - 1].values()) == {number}
    assert set(numbers) <= set(told.acknowledged.values()) | told.unknown
    assert len(records) >= least_lsn


@pytest.mark.parametrize("bytes_max", [committer.PENDING_BYTES_MAX, 100])
@given(wanted=st.lists(steps, min_size=1, max_size=6), fault=faults, seed=st.integers(0, 3))
@settings(max_examples=40)
def test_the_log_tells_what_the_tasks_were_told(wanted: Any, fault: Any, seed: int, bytes_max: int) -> None:
    """Whatever is cancelled and whatever fails, before the store is closed, after it, and after a power cut."""
    disk = SimulatedDisk()

    async def main() -> tuple[Told, int, SimulatedDisk]:
        store = await journalkit.open_async(STORE, fs=disk, compaction="manual", segment_bytes_max=4096)
        store._running.committer.bytes_max = bytes_max  # type: ignore[union-attr]
        if fault is not None:
            operation, nth, error = fault
            disk.fail(operation, nth, error, path_contains="log-")
        program = Program(store)
        await asyncio.gather(*(program.task(each) for each in wanted))
        durable_lsn = store.durable_lsn
        crashed = disk.crash(seed)
        try:
            await store.close()
        except JournalError:
            assert fault is not None
        return program.told, durable_lsn, crashed

    told, durable_lsn, crashed = asyncio.run(asyncio.wait_for(main(), 60))
    everything = durable_lsn if fault is not None else max(told.acknowledged, default=0)
    for left, least_lsn in ((crashed, durable_lsn), (disk.process_crash(), everything)):
        records = history(left)
        judge(told, records, least_lsn=least_lsn)
        with journalkit.open(STORE, fs=left) as store:
            assert dict(store) == fold(records[: store.recovery_report.last_lsn])
