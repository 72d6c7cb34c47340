"""Mixed workloads as YCSB has them: A, B, C, D and F, keys drawn uniformly and by Zipf's law."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Final, Literal, TypeAlias

from journalkit.bench import data
from journalkit.bench.arena import Bench
from journalkit.bench.engine import Database, Item, Terms
from journalkit.bench.result import Goal, Row
from journalkit.bench.rounds import timed

Verb: TypeAlias = Literal["read", "put", "modify"]
Operation: TypeAlias = "tuple[Verb, bytes, bytes]"

ZIPF_EXPONENT: Final = 0.99

MIXES: Final[dict[str, tuple[str, float, Verb]]] = {
    "a": ("half reads, half updates", 0.5, "put"),
    "b": ("95 % reads, 5 % updates", 0.95, "put"),
    "c": ("reads only", 1.0, "put"),
    "d": ("95 % reads of recent keys, 5 % inserts", 0.95, "put"),
    "f": ("half reads, half read-modify-writes", 0.5, "modify"),
}
DRAWS: Final = ("uniform", "zipfian")
NAMES: Final = tuple(f"ycsb-{mix}-{draw}" for mix in MIXES for draw in DRAWS)


def ycsb(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """All mixes on one loaded state, one after the other; writes survive a process crash."""
    scale = bench.scale
    with bench.arena(Terms("process crash"), writes=True) as arena:
        arena.load(scale.keys)
        play = _Play(scale.keys)
        for name in NAMES:
            if name not in wanted:
                continue
            mix, draw = name.split("-")[1:]
            rounds = [play.operations(mix, draw, scale.ycsb_operations) for _ in range(scale.rounds + 1)]

            def run(database: Database, rounds: list[list[Operation]] = rounds) -> Callable[[int], float]:
                return lambda number: timed(lambda: _do(database, rounds[number]), scale.ycsb_operations)

            result = arena.compete(run, scale.rounds, reads=True)
            arena.must_hold(play.expected())
            what = f"YCSB {mix.upper()}, {draw}, {scale.keys:,} keys: {MIXES[mix][0]}"
            yield arena.row(name, what, Goal(1.0), result, note="journalkit with sync='never'")


class _Play:
    """Draws operations and remembers what they leave behind, which is the same for every contender."""

    def __init__(self, count: int) -> None:
        self._random = random.Random(data.SEED)
        self._count = count
        self._loaded = count
        self._weights = list(itertools.accumulate(1 / (rank + 1) ** ZIPF_EXPONENT for rank in range(count)))
        self._written: dict[int, int] = {}
        self._serial = itertools.count(1)

    def operations(self, mix: str, draw: str, count: int) -> list[Operation]:
        """Return so many operations of a mix."""
        _, read_share, verb = MIXES[mix]
        ranks = (
            [self._random.randrange(self._loaded) for _ in range(count)]
            if draw == "uniform"
            else self._random.choices(range(self._loaded), cum_weights=self._weights, k=count)
        )
        made: list[Operation] = []
        for rank in ranks:
            reads = self._random.random() < read_share
            if mix == "d" and not reads:
                number, self._count = self._count, self._count + 1
            elif mix == "d" and draw == "zipfian":
                number = self._count - 1 - rank  # the latest are read most
            else:
                number = rank
            if reads:
                made.append(("read", data.key(number), b""))
                continue
            self._written[number] = serial = number + next(self._serial)
            made.append((verb, data.key(number), data.value(serial)))
        return made

    def expected(self) -> list[Item]:
        """Return some keys with the values that they have to have now."""
        some = self._random.sample(range(self._loaded), min(300, self._loaded))
        some += list(self._written)[-300:]
        return [(data.key(number), data.value(self._written.get(number, number))) for number in some]


def _do(database: Database, operations: list[Operation]) -> None:
    put, get = database.put, database.get
    for verb, key, value in operations:
        if verb == "read":
            get(key)
        elif verb == "put":
            put(key, value)
        else:
            get(key)
            put(key, value)
