"""How much of everything a run does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of the work, per contender and round unless it says otherwise.

    Attributes:
        name: As the result shows it.
        rounds: Rounds of what takes milliseconds; a row may do a part of them.
        durable_puts: Durable puts of one thread.
        thread_puts: Durable puts of each of 16 threads.
        tasks: asyncio tasks that put at the same time; peers do as many puts with `peer_puts`.
        peer_puts: What a peer does where journalkit has `tasks`: its cost per put doesn't fall with more.
        puts: Puts that survive a process crash.
        batch: Keys in one commit.
        keys: Keys of a large state.
        few_keys: Keys of a small state.
        gets: Gets.
        cold_gets: Gets of which most go to the file.
        scans: Scans of 1,000 keys.
        ycsb_operations: Operations of a mixed workload.
        replayed: Records in the log's tail.
        open_sizes: Keys of the two states that are opened.
        overwrites: How often each key is overwritten while the disk is watched.
        growth: States whose costs are compared.
        checkpoint_mib: MiB of arrays in a checkpoint.
    """

    name: str
    rounds: int
    durable_puts: int
    thread_puts: int
    tasks: int
    peer_puts: int
    puts: int
    batch: int
    keys: int
    few_keys: int
    gets: int
    cold_gets: int
    scans: int
    ycsb_operations: int
    replayed: int
    open_sizes: tuple[int, int]
    overwrites: int
    growth: tuple[int, ...]
    checkpoint_mib: int


FULL: Final = Scale(
    name="full",
    rounds=11,
    durable_puts=200,
    thread_puts=100,
    tasks=1000,
    peer_puts=1000,
    puts=20_000,
    batch=10_000,
    keys=1_000_000,
    few_keys=50_000,
    gets=50_000,
    cold_gets=5_000,
    scans=50,
    ycsb_operations=20_000,
    replayed=1_000_000,
    open_sizes=(1_000_000, 10_000_000),
    overwrites=5,
    growth=(10_000, 100_000, 1_000_000),
    checkpoint_mib=1024,
)
QUICK: Final = Scale(
    name="quick",
    rounds=5,
    durable_puts=20,
    thread_puts=4,
    tasks=1000,
    peer_puts=64,
    puts=3_000,
    batch=10_000,
    keys=30_000,
    few_keys=5_000,
    gets=5_000,
    cold_gets=500,
    scans=5,
    ycsb_operations=2_000,
    replayed=50_000,
    open_sizes=(50_000, 250_000),
    overwrites=4,
    growth=(1_000, 10_000, 100_000),
    checkpoint_mib=128,
)
LARGE_KEYS: Final = 10_000_000


def larger(scale: Scale) -> Scale:
    """Return the scale with growth up to ten million keys."""
    return replace(scale, growth=(*scale.growth, LARGE_KEYS))


TINY: Final = Scale(
    name="tiny",
    rounds=2,
    durable_puts=2,
    thread_puts=1,
    tasks=8,
    peer_puts=4,
    puts=20,
    batch=50,
    keys=300,
    few_keys=100,
    gets=50,
    cold_gets=20,
    scans=1,
    ycsb_operations=40,
    replayed=200,
    open_sizes=(100, 300),
    overwrites=2,
    growth=(100, 300),
    checkpoint_mib=2,
)
"""For tests: every step is taken, no figure means anything."""
