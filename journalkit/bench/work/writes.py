"""Writes of one thread: durable, surviving a process crash, and many keys in one commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from journalkit.bench import data
from journalkit.bench.arena import Bench, unmeasured
from journalkit.bench.engine import Database, Item, MissingError, Terms
from journalkit.bench.engines import device
from journalkit.bench.engines.own import own
from journalkit.bench.result import Goal, Row
from journalkit.bench.rounds import Contender, Run, timed

FRAME_OVERHEAD_BYTES: Final = 40 + 6 + 1 + 2 + 2
"""About what a record takes beside key and value: header, lengths, the key's ends, the value's head."""

_PUTS: Final = {
    "put-bytes": ("put, survives a process crash, bytes", Goal(1.2), None, False),
    "put-msgpack": ("put, survives a process crash, objects with MessagePack", Goal(1.2), "msgpack", True),
    "put-cbor": ("put, survives a process crash, objects with CBOR", Goal(0.9), None, True),
}
_BATCHES: Final = {
    "batch-bytes": ("one durable commit of {:,}, bytes", Goal(1.5), False),
    "batch-objects": ("one durable commit of {:,}, objects", Goal(1.0), True),
}


def durable_put(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """One durable put at a time, against every peer and against pwrite + fdatasync of as many bytes."""
    count, rounds = bench.scale.durable_puts, 2 * bench.scale.rounds
    with bench.arena(Terms("power cut")) as arena, device.PreparedFile(os.path.join(arena.path, "prepared")) as file:
        frame = os.urandom(FRAME_OVERHEAD_BYTES + len(data.key(0)) + data.VALUE_BYTES)

        def append() -> None:
            for _ in range(count):
                file.append(frame)

        bare = Contender(
            device.NAME,
            lambda _: timed(append, count),
            "pwrite + fdatasync of as many bytes into prepared space",
            counts=False,
        )
        result = arena.compete(_fillers(count, data.value), rounds, besides=[bare])
        arena.must_hold(data.items(0, count * (rounds + 1))[:: max(1, count * rounds // 1000)])
        if "durable-put-device" in wanted:
            yield arena.row("durable-put-device", "durable put, one thread", Goal(0.9), result, against=device.NAME)
        if "durable-put" in wanted:
            yield arena.row("durable-put", "durable put, one thread", Goal(1.15), result)


def put(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """One put at a time that survives a process crash."""
    count, rounds = bench.scale.puts, bench.scale.rounds
    for name in _PUTS:
        if name not in wanted:
            continue
        what, goal, codec, objects = _PUTS[name]
        try:
            with bench.arena(Terms("process crash", objects=objects), ours=own(codec), writes=True) as arena:
                result = arena.compete(_fillers(count, data.thing if objects else data.value), rounds)
                some = data.items(0, count * (rounds + 1), objects=objects)[:: max(1, count * rounds // 1000)]
                arena.must_hold(some)
                yield arena.row(name, what, goal, result)
        except MissingError as missing:
            yield unmeasured(name, what, goal, str(missing))


def batch(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """Many keys in one durable commit; the bare device writes as many bytes at once."""
    size, rounds = bench.scale.batch, bench.scale.rounds
    for name in _BATCHES:
        if name not in wanted:
            continue
        what, goal, objects = _BATCHES[name]
        with (
            bench.arena(Terms("power cut", objects=objects)) as arena,
            device.PreparedFile(os.path.join(arena.path, "prepared")) as file,
        ):
            work = [data.items(number * size, (number + 1) * size, objects=objects) for number in range(rounds + 1)]
            blob = os.urandom(size * (6 + len(data.key(0)) + data.VALUE_BYTES))
            bare = Contender(device.NAME, _at_once(file, blob, size), "one pwrite + fdatasync", counts=False)
            result = arena.compete(_writer(work), rounds, besides=[bare])
            for items in work:
                arena.must_hold(items[:: max(1, size // 200)])
            yield arena.row(name, what.format(size), goal, result)


def _fillers(count: int, make: Callable[[int], Any]) -> Callable[[Database], Run]:
    """Put the next `count` keys, made beforehand, in each round."""

    def filler(database: Database) -> Run:
        put = database.put

        def run(number: int) -> float:
            first = number * count
            pairs = [(data.key(index), make(index)) for index in range(first, first + count)]

            def fill() -> None:
                for key, value in pairs:
                    put(key, value)

            return timed(fill, count)

        return run

    return filler


def _writer(work: Sequence[Sequence[Item]]) -> Callable[[Database], Run]:
    """Commit each round's items at once; the figure is per key."""
    return lambda database: lambda number: timed(lambda: database.write(work[number]), len(work[number]))


def _at_once(file: device.PreparedFile, blob: bytes, count: int) -> Run:
    return lambda _number: timed(lambda: file.append(blob), count)
