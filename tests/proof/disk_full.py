"""A disk that is full at every byte: readable, told in numbers, closed in time, and going on once there is room.

Each workload is run on a disk of no bytes, then on larger and larger ones until
nothing is refused any more. What a run asks for tells at which size the next
one differs: where one more request fits. Between two such sizes only a write
differs, of which more bytes are taken; a full run tries each of these bytes, a
short one the sizes at which a request fits just not and just so. So no size of
disk is left out: every other one runs as one of these did.

A disk may also be filled by others while a store is open: that happens here at
each operation that changes something, with no byte left or a few.

`failing.py` says what has to hold; besides, only `StoreFullError` may come out.
These runs are a part of the proof `failures`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from failing import Arrange, Trial
from stage import Play
from units import Outcome
from workload import Workload

from journalkit.errors import StoreFullError
from journalkit.testing import SimulatedDisk
from journalkit.testing.faults import MUTATING

_LEFT: Final = (0, 1, 100, 5000)
_ROOMY_BYTES: Final = 1 << 40
_GROWING: Final = frozenset({"pwrite", "allocate", "truncate"})


def _outgrows_what_is_prepared(play: Play) -> None:
    """Write more into one segment than is prepared ahead, and fold all of it: each step needs room of its own."""
    play.open(segment_bytes_max=1 << 20)
    for number in range(6):
        play.put(number, play.value(30_000))
    play.put("small", 1, sync="never")
    play.fold()
    play.put("large", play.value(70_000))
    play.delete(3)
    play.close()


OUTGROWING: Final = Workload("outgrows_what_is_prepared", _outgrows_what_is_prepared, "store", is_ci=False)


def prove(outcome: Outcome, workload: Workload, *, every: bool, seed: int) -> None:
    """Run a workload on disks of all sizes, and on disks that others fill."""
    # Byte by byte a large record says nothing new, and takes an hour.
    walk = trials(workload, every=every and workload is not OUTGROWING, seed=seed)
    for trial in itertools.chain(walk, filled(workload, _LEFT if every else _LEFT[:1], seed=seed)):
        outcome.add("disk sizes", int(isinstance(trial.error, StoreFullError)))
        outcome.failures += trial.complaints
    outcome.add("full disks")


class Request(NamedTuple):
    """Bytes that were asked for: how many there were already, how many there would be, and whether part of it does."""

    used_bytes: int
    wanted_bytes: int
    is_write: bool


def trials(workload: Workload, *, every: bool, seed: int = 0) -> Iterator[Trial]:
    """Yield a run for each size of disk that makes a difference, the smallest first."""
    capacity_bytes = 0
    while True:
        trial, requests = on_disk_of(workload, capacity_bytes, seed)
        yield trial
        larger = [each.wanted_bytes for each in requests if each.wanted_bytes > capacity_bytes]
        if not larger:
            return
        fits_bytes = min(larger)
        differs = any(each.is_write and each.used_bytes <= capacity_bytes < each.wanted_bytes for each in requests)
        if every and differs:
            capacity_bytes += 1
        elif not every and capacity_bytes < fits_bytes - 1:
            capacity_bytes = fits_bytes - 1
        else:
            capacity_bytes = fits_bytes


def filled(workload: Workload, left: Sequence[int], *, seed: int = 0) -> Iterator[Trial]:
    """Yield runs in which others fill the disk at an operation, for each of a run's, but for so many bytes."""
    nth = 1
    while True:
        for left_bytes in left:
            trial = _filled_at(workload, nth, left_bytes, seed)
            yield trial
            if trial.disk.operation_count < nth:
                return
        nth += 1


def _filled_at(workload: Workload, nth: int, left_bytes: int, seed: int) -> Trial:
    def fill(disk: SimulatedDisk) -> None:
        state, step = disk._state, disk._state.plan.step
        state.capacity_bytes = _ROOMY_BYTES

        def watched(operation: str, path: str, detail: str = "") -> None:
            if state.capacity_bytes == _ROOMY_BYTES and operation in MUTATING and disk.operation_count == nth - 1:
                state.capacity_bytes -= state.free_bytes() - left_bytes
            step(operation, path, detail)

        state.plan.step = watched  # type: ignore[method-assign]

    return _run(workload, f"others fill the disk at change {nth} but for {left_bytes} bytes", fill, seed + nth)


def on_disk_of(workload: Workload, capacity_bytes: int, seed: int) -> tuple[Trial, list[Request]]:
    """Run a workload on a disk of a size, with all room there is when that didn't do; return what it asked for, too."""
    requests: list[Request] = []

    def shrink(disk: SimulatedDisk) -> None:
        disk.capacity_bytes = capacity_bytes
        _note(disk, requests)

    return _run(workload, f"a disk of {capacity_bytes} bytes", shrink, seed + capacity_bytes), requests


def _run(workload: Workload, fault: str, arrange: Arrange, number: int) -> Trial:
    """Run a workload, and give it all the room there is when that didn't do."""

    def grow(disk: SimulatedDisk) -> None:
        disk.capacity_bytes = None

    trial = Trial(workload, fault, arrange, cuts=("none", ("all", "no cut", number)[number % 3])).run(mend=grow)
    if trial.error is not None and not isinstance(trial.error, StoreFullError):
        trial.complain(f"a full disk is told as {type(trial.error).__name__}")
    return trial


def _note(disk: SimulatedDisk, requests: list[Request]) -> None:
    """Note what is asked for, until there is room for all."""
    state, step = disk._state, disk._state.plan.step

    def noted(operation: str, path: str, detail: str = "") -> None:
        if operation in _GROWING and state.capacity_bytes is not None:
            status = state.tree.status(path)
            end = sum(int(part) for part in detail.split("+"))
            used_bytes = state.capacity_bytes - state.free_bytes()
            if status is not None and end > status.size_bytes:
                grows_bytes = end - status.size_bytes
                requests.append(Request(used_bytes, used_bytes + grows_bytes, operation == "pwrite"))
        step(operation, path, detail)

    state.plan.step = noted  # type: ignore[method-assign]
