"""The process in which a target runs: limits first, then an engine that feeds it.

It ends at the first finding, after writing down what and where. It may also
end in ways that it can't write down; then its parent, `fuzz.session`, says so.

Engines: `atheris` is guided by coverage; `mutation` isn't, and is there where
atheris has no wheel; `hypothesis` is a target's own generator. All start from
the same seeds and the stored corpus, and call the same `mutate`.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, NoReturn

from fuzz.mutation import mutate
from fuzz.notes import Notes
from fuzz.target import INPUT_BYTES_MAX, Engine, Target
from fuzz.targets import target_named

FOUND = 3
"""The exit code of a process that wrote a finding down."""

MIB = 1024 * 1024
WAITS_MAX = 8
"""How many times its seconds a run may take by the clock on the wall, if it doesn't get the processor or only waits."""

_STRUCTURED_SHARE = 0.6
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to do: plain values, since they travel as JSON.

    `seconds` are of processor time: beside others a target is fuzzed as much as alone.
    """

    target: str
    engine: Engine
    seed: int
    seconds: float
    folder: str
    files: list[str]
    input_s: float
    input_mb: int
    memory_mb: int


class SlowError(BaseException):
    """An input takes more processor time than it may. Not an Exception, which code under test might catch."""


class Watch:
    """Runs inputs one at a time, and ends the process at the first that does what none may."""

    def __init__(self, order: Order, target: Target) -> None:
        self._order = order
        self._target = target
        self._folder = Path(order.folder)
        self._notes = Notes(self._folder / "notes")
        self._running = False
        self._ticks = 0
        self._end_cpu_s = time.process_time() + order.seconds
        self._end_s = time.monotonic() + WAITS_MAX * order.seconds
        self.number = 0
        # At its end the interpreter gives signals their default back, which for this one is to kill.
        atexit.register(signal.setitimer, signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._tick)
        signal.setitimer(signal.ITIMER_PROF, order.input_s / _TICKS, order.input_s / _TICKS)

    @property
    def is_over(self) -> bool:
        """Whether the time that was ordered is used up."""
        return time.process_time() >= self._end_cpu_s or time.monotonic() >= self._end_s

    def run_until_over(self, data: bytes) -> None:
        """Run one input, and end the process if it was the last one that there is time for."""
        self.run(data)
        if self.is_over:
            sys.stdout.flush()
            os._exit(0)

    def run(self, data: bytes) -> None:
        """Run one input."""
        data = data[:INPUT_BYTES_MAX]
        self.begin(data)
        try:
            self._running = True
            self._target.run(data)
            self._running = False
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever gets out is the finding, SystemExit too
            self._running = False
            self.found(error)
        self.end()

    def begin(self, data: bytes) -> None:
        """Note an input, or an example of a target's own generator."""
        self.number += 1
        self._notes.write(self.number, data)
        self._ticks = 0
        self._peak_kib = _peak_kib()

    def end(self) -> None:
        """Judge what it took. The peak only shows a new maximum, so one hungry input is enough to be found."""
        grown_mb = (_peak_kib() - self._peak_kib) // 1024
        if grown_mb > self._order.input_mb:
            self.found(MemoryError(f"the input took {grown_mb} MiB, {self._order.input_mb} are allowed"))

    def found(self, error: BaseException) -> NoReturn:
        """Write the finding down and end at once: an engine would only repeat it."""
        said = {
            "what": f"{type(error).__name__}: {error}"[:2000],
            "trace": "".join(traceback.format_exception(error, limit=-25))[-8000:],
        }
        (self._folder / "finding").write_text(json.dumps(said), encoding="utf-8")
        sys.stdout.flush()
        os._exit(FOUND)

    def _tick(self, _signal: int, _frame: FrameType | None) -> None:
        self._ticks += 1
        if self._running and self._ticks > _TICKS:
            self._ticks = 0
            raise SlowError(f"the input takes over {self._order.input_s} s of processor time")


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _limit_memory(order: Order) -> None:
    """Give the process what it has now and `memory_mb` more; asking for more is a MemoryError there and then."""
    pages = Path("/proc/self/statm")
    used_bytes = int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else 512 * MIB
    limit_bytes = used_bytes + order.memory_mb * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _seeds(order: Order, target: Target) -> list[bytes]:
    from fuzz.corpus import stored

    return [*stored(target.name), *target.seeds(Random(order.seed))]


def _guided(order: Order, target: Target, watch: Watch, atheris: Any) -> NoReturn:
    """Let libFuzzer choose, by the coverage of the package."""

    def change(data: bytes, size_max: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < _STRUCTURED_SHARE:
            return target.mutate(data, chance)[:size_max]
        changed: bytes = atheris.Mutate(data, size_max)
        return changed

    folder = Path(order.folder)
    grown, seeds, rest = (folder / name for name in ("corpus", "seeds", "artifacts"))
    for place in (grown, seeds, rest):
        place.mkdir(exist_ok=True)
    for number, seed in enumerate(_seeds(order, target)):
        (seeds / f"{number:04}").write_bytes(seed)
    arguments = [
        f"-seed={order.seed % (1 << 31) or 1}",
        f"-max_total_time={math.ceil(WAITS_MAX * order.seconds) + 1}",  # `watch` ends it sooner
        f"-max_len={target.bytes_max}",
        f"-rss_limit_mb={2 * order.memory_mb}",
        f"-artifact_prefix={rest}/",
        "-timeout=3600",  # `Watch` and the parent see to that earlier, and say where it hangs
        "-print_final_stats=1",
        str(grown),
        str(seeds),
    ]
    atheris.Setup([sys.argv[0], *arguments], watch.run_until_over, custom_mutator=change)
    atheris.Fuzz()
    raise SystemExit(0)  # not reached: libFuzzer ends the process


def _mutated(order: Order, target: Target, watch: Watch) -> None:
    """Feed mutated seeds until the time is over."""
    chance = Random(order.seed)
    seeds = _seeds(order, target)
    for seed in seeds:
        watch.run(seed)
    while not watch.is_over:
        data = chance.choice(seeds)
        for _ in range(chance.choice((1, 1, 2, 4))):
            data = target.mutate(data, chance) if chance.random() < _STRUCTURED_SHARE else mutate(data, chance)
        watch.run(data[: target.bytes_max])


def _generated(order: Order, examples: Callable[[int, Callable[[], None]], None], watch: Watch) -> None:
    """Let a target's own generator make examples, a new seed for each round."""
    seed = order.seed
    while True:
        note = f"seed {seed}".encode()
        try:
            examples(seed, lambda note=note: watch.begin(note))  # type: ignore[misc]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - as in `Watch.run`
            watch.found(error)
        if watch.is_over:
            return
        seed += 1


def main(text: str) -> None:
    """Do what an order in JSON says."""
    order = Order(**json.loads(text))
    sys.setrecursionlimit(1000)
    atheris: Any = None
    watching: Any = nullcontext()
    if order.engine == "atheris":
        import atheris as engine

        atheris = engine
        watching = atheris.instrument_imports(include=["journalkit"], enable_loader_override=False)
    with watching:
        target = target_named(order.target)
    watch = Watch(order, target)
    _limit_memory(order)
    if order.files:
        for file in order.files:
            watch.run(Path(file).read_bytes())
    elif target.examples is not None:
        _generated(order, target.examples, watch)
    elif atheris is not None:
        _guided(order, target, watch, atheris)
    else:
        _mutated(order, target, watch)
