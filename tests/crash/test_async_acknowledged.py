"""Power cuts under tasks: what an `await` returned is there afterwards, whenever the power went."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import journalkit
from journalkit.testing import SimulatedDisk
from journalkit.testing.faults import MUTATING

STORE = "/store"
TASKS, ROUNDS = 8, 3

Acknowledged = dict[Any, int]


async def program(disk: SimulatedDisk, acknowledged: Acknowledged) -> None:
    """Let tasks, and a thread beside them, put values that grow; note what returned."""
    async with journalkit.open_async(STORE, fs=disk, compaction="manual", segment_bytes_max=4096) as store:
        inner = store._inner

        async def task(index: int) -> None:
            for turn in range(1, ROUNDS + 1):
                await store.put(("task", index), turn)
                acknowledged["task", index] = turn

        def thread() -> None:
            for turn in range(1, ROUNDS + 1):
                inner.put("thread", turn)
                acknowledged["thread"] = turn

        await asyncio.gather(*(task(index) for index in range(TASKS)), asyncio.to_thread(thread))
        await store.compact()
        async with store.transaction() as tx:
            tx["sum"] = sum([value async for value in tx.values()])
        acknowledged["sum"] = ROUNDS * (TASKS + 1)
        gone = asyncio.create_task(store.put("gone", 1))
        await asyncio.sleep(0)
        gone.cancel()
        await store.put("last", 1)
        acknowledged["last"] = 1


@pytest.mark.parametrize("keep", ["none", "all", 1, 2])
def test_what_was_awaited_survives_a_power_cut_before_any_operation(
    keep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cut leaves a store that opens, with each acknowledged value or a later one, no sum without its parts."""
    disk = SimulatedDisk()
    acknowledged: Acknowledged = {}
    cuts: list[tuple[SimulatedDisk, Acknowledged]] = []
    step = disk._state.plan.step

    def cut_before(operation: str, path: str, detail: str = "") -> None:
        if operation in MUTATING:
            # What was told first: what is told while the copy is made is not owed to it.
            told = acknowledged.copy()
            cuts.append((disk.crash(keep), told))
        step(operation, path, detail)

    monkeypatch.setattr(disk._state.plan, "step", cut_before)
    asyncio.run(asyncio.wait_for(program(disk, acknowledged), 60))
    cuts.append((disk.crash(keep), acknowledged))
    assert len(cuts) > 30
    for left, told in cuts:
        with journalkit.open(STORE, fs=left) as store:
            state = dict(store)
        assert {key: value for key, value in told.items() if state.get(key, 0) < value} == {}
        assert state.get("sum", ROUNDS * (TASKS + 1)) == ROUNDS * (TASKS + 1)
        assert not ("sum" in state and min(state[("task", index)] for index in range(TASKS)) < ROUNDS)
        assert "gone" not in state
