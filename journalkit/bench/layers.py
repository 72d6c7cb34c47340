"""The micro layer: an operation, and the steps that it consists of, each by itself and all in turn.

It shows where the time goes, not how the engine is built: steps are functions
of the format, which stay, and calls that anybody could make.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import journalkit
from journalkit.bench import data
from journalkit.bench.arena import Bench
from journalkit.bench.engines import device
from journalkit.bench.rounds import Contender, Contest, contest, timed
from journalkit.bench.work.states import fill
from journalkit.format import batch, frame
from journalkit.format.codec import CborCodec
from journalkit.format.keys import encode_key

Step: TypeAlias = "tuple[str, Callable[[], object], int]"
"""What it does, the work, and how many operations that is."""

_SALT: Final = 12345


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's result: `contest.ours` is the whole operation, the others are steps of it or stand beside it."""

    name: str
    what: str
    contest: Contest


def measure(bench: Bench, name: str) -> Layer:
    """Measure one layer."""
    what, steps_of = LAYERS[name]
    with bench.place() as path, ExitStack() as stack:
        whole, *steps = steps_of(bench, path, stack)
        result = contest(_contender(whole), [_contender(step) for step in steps], 2 * bench.scale.rounds)
    return Layer(name, what, result)


def _contender(step: Step) -> Contender:
    name, work, operations = step
    return Contender(name, lambda _: timed(work, operations))


def _frame(bench: Bench, _path: str, _stack: ExitStack) -> Iterator[Step]:
    keys, values, things = _data(bench)
    codec = CborCodec()
    encoded = [(encode_key(key), codec.encode(value)) for key, value in zip(keys, values, strict=True)]
    payloads = [batch.encode_one(*pair) for pair in encoded]
    frames = [_framed(payload) for payload in payloads]
    count = len(keys)

    def whole() -> None:
        for key, value in zip(keys, values, strict=True):
            _framed(batch.encode_one(encode_key(key), codec.encode(value)))

    yield "from key and value to a frame", whole, count
    yield "the key", partial(_each, encode_key, keys), count
    yield "the value, bytes", partial(_each, codec.encode, values), count
    yield "the value, a small dict as CBOR (instead)", partial(_each, codec.encode, things), count
    yield "the batch of one", lambda: [batch.encode_one(key, value) for key, value in encoded], count
    yield "header and checksums", partial(_each, _framed, payloads), count
    yield "a copy of the frame", partial(_each, bytearray, frames), count


def _commit(bench: Bench, path: str, stack: ExitStack) -> Iterator[Step]:
    keys, values, _ = _data(bench)
    store = stack.enter_context(_store(os.path.join(path, "never"), sync="never"))
    always = stack.enter_context(_store(os.path.join(path, "always")))
    memory = stack.enter_context(_store("memory://", sync="never"))
    file = stack.enter_context(device.PreparedFile(os.path.join(path, "prepared")))
    codec = CborCodec()
    frames = [
        _framed(batch.encode_one(encode_key(key), codec.encode(value))) for key, value in zip(keys, values, strict=True)
    ]
    few = bench.scale.durable_puts
    yield "put, sync='never'", partial(_put_each, store, keys, values), len(keys)
    yield "put into memory://, without the system's part", partial(_put_each, memory, keys, values), len(keys)
    yield "one pwrite of the frame", partial(_each, file.write, frames), len(keys)
    yield "put, sync='always'", partial(_put_each, always, keys[:few], values[:few]), few
    yield "one pwrite and fdatasync of the frame", partial(_each, file.append, frames[:few]), few


def _memtable(bench: Bench, path: str, stack: ExitStack) -> Iterator[Step]:
    keys, values, _ = _data(bench)
    store = stack.enter_context(_store(os.path.join(path, "store"), sync="never"))
    store.update(zip(keys, values, strict=True))
    codec = CborCodec()
    entries = {encode_key(key): codec.encode(value) for key, value in zip(keys, values, strict=True)}
    encoded = list(entries)
    plain = dict(zip(keys, values, strict=True))
    stored = list(entries.values())
    yield "get of what was just written", partial(_each, store.__getitem__, keys), len(keys)
    yield "the key", partial(_each, encode_key, keys), len(keys)
    yield "a look-up in a dict", partial(_each, entries.__getitem__, encoded), len(keys)
    yield "the value", partial(_each, codec.decode, stored), len(keys)
    yield "a look-up in the program's own dict", partial(_each, plain.__getitem__, keys), len(keys)
    yield "a scan, per key", lambda: [None for _ in store.scan()], len(keys)
    yield "sorting the keys, per key", lambda: sorted(encoded), len(keys)


def _table(bench: Bench, path: str, stack: ExitStack) -> Iterator[Step]:
    count = bench.scale.keys
    keys = [data.key(number) for number in range(0, count, max(1, count // bench.scale.gets))]
    place = os.path.join(path, "store")
    fill(place, count)
    store = stack.enter_context(_store(place, sync="never"))
    reader = stack.enter_context(journalkit.open(place, mode="r", cache_bytes=0))
    few = keys[:: max(1, len(keys) // bench.scale.cold_gets)]
    absent = [key + b"?" for key in few]
    files = [os.path.join(place, name) for name in os.listdir(place)]
    length = min(1000, count)
    yield "get, the same keys again", partial(_each, store.__getitem__, keys), len(keys)
    yield "the key", partial(_each, encode_key, keys), len(keys)
    yield "get without any cache, one block each", partial(_each, reader.__getitem__, few), len(few)
    yield "look for a key that isn't there", partial(_each, store.__contains__, absent), len(absent)
    yield "a scan, per key", lambda: [None for _ in store.scan(limit=length)], length
    yield "all files read from front to back, per key", lambda: [device.read_through(file) for file in files], count


def _compression(bench: Bench, path: str, stack: ExitStack) -> Iterator[Step]:
    count = bench.scale.keys
    things = {data.key(number): data.thing(number) for number in range(count)}
    one = next(iter(things.items()))
    few = list(things)[:: max(1, count // bench.scale.cold_gets)]
    steps: list[Step] = []
    sizes: list[int] = []
    for compression in (None, "zstd"):
        place = os.path.join(path, compression or "plain")
        store = stack.enter_context(_store(place, sync="never", compression=compression))
        store.update(things)
        store.compact()
        sizes.append(store.statistics().snapshot_bytes)
        reader = stack.enter_context(journalkit.open(place, mode="r", cache_bytes=0))
        told = "plain" if compression is None else f"zstd, {sizes[-1] / sizes[0]:.0%} of the bytes"
        steps += [
            (f"written anew and folded, per key, {told}", partial(_fold, store, things), count),
            (f"a full fold of one change, per key, {told}", partial(_fold, store, dict([one])), count),
            (f"get without any cache, one block each, {told}", partial(_each, reader.__getitem__, few), len(few)),
        ]
    yield from steps


def _fold(store: journalkit.Store, changes: Mapping[bytes, Any]) -> None:
    store.update(changes)
    store.compact(full=True)


def _replay(bench: Bench, path: str, _stack: ExitStack) -> Iterator[Step]:
    count = bench.scale.puts
    keys, values, _ = _data(bench)
    place = os.path.join(path, "store")
    with _store(place, sync="never") as store:
        _put_each(store, keys, values)
    codec = CborCodec()
    payloads = [batch.encode_one(encode_key(key), codec.encode(value)) for key, value in zip(keys, values, strict=True)]
    parts: list[bytes] = []
    offset = 0
    for lsn, payload in enumerate(payloads, 1):
        parts.append(_framed(payload, lsn, offset))
        offset += len(parts[-1])
    log = b"".join(parts)

    def whole() -> None:
        with journalkit.open(place, mode="r"):
            pass

    def walk() -> None:
        for _ in frame.walk(log, 0, 0, _SALT, []):
            pass

    def apply() -> None:
        entries: dict[bytes, bytes | None] = {}
        for payload in payloads:
            batch.decode_into(payload, entries)

    files = [os.path.join(place, name) for name in os.listdir(place)]
    yield "open for reading with a tail, and close, per record", whole, count
    yield "the files read from front to back", lambda: [device.read_through(file) for file in files], count
    yield "frames and their checksums", walk, count
    yield "batches into a memtable", apply, count


LAYERS: Final[dict[str, tuple[str, Callable[[Bench, str, ExitStack], Iterator[Step]]]]] = {
    "frame": ("a put, up to the bytes that are written", _frame),
    "commit": ("a put, and what the system takes of it", _commit),
    "memtable": ("a get of what only the log and the memory hold", _memtable),
    "table": ("a get from a table", _table),
    "compression": ("tables of small dicts, plain and compressed", _compression),
    "replay": ("recovery of a tail", _replay),
}


def _data(bench: Bench) -> tuple[list[bytes], list[bytes], list[dict[str, Any]]]:
    numbers = range(bench.scale.puts)
    return list(map(data.key, numbers)), list(map(data.value, numbers)), list(map(data.thing, numbers))


def _store(path: str, **options: Any) -> journalkit.Store:
    return journalkit.open(path, **{"compaction": "manual", **options})


def _framed(payload: bytes, lsn: int = 1, offset_bytes: int = 0) -> bytes:
    return frame.encode(
        payload, lsn=lsn, time_us=1, durable_lsn=0, kind=frame.Kind.BATCH, salt=_SALT, offset_bytes=offset_bytes
    )


def _each(work: Callable[[Any], object], inputs: Sequence[Any]) -> None:
    for one in inputs:
        work(one)


def _put_each(store: journalkit.Store, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
    put = store.put
    for key, value in zip(keys, values, strict=True):
        put(key, value)
