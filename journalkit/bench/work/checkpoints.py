"""Checkpoints of arrays: saved whole and in part, loaded, opened; against what else keeps arrays in files.

Every contender's save is durable when it ends: a peer that doesn't sync its
file has it synced for it. All arrays are the same memory, and what is loaded
lies in the system's cache for all alike.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Final

from journalkit.bench.arena import Bench
from journalkit.bench.engine import MIB, BenchError, MissingError
from journalkit.bench.engines.own import NAME
from journalkit.bench.result import BEST_PEER, Goal, Row
from journalkit.bench.rounds import Contender, Missing, contest, timed
from journalkit.checkpoint.open import SavingMode, open_checkpoints
from journalkit.checkpoint.retention import Keep as Latest

NAMES: Final = (
    "checkpoint-save", "checkpoint-save-device", "checkpoint-changed", "checkpoint-changed-bytes", "checkpoint-load",
    "checkpoint-open", "checkpoint-beside", "checkpoint-beside-process",
)  # fmt: skip
_DEVICE: Final = "sequential write"
_WHOLE: Final = "all of it"
_SHARE: Final = "3 % of the state"
_PACE: Final = "10 ms"
_DURABLE: Final = "power cut"
_ARRAYS: Final = 8
_CHANGED: Final = 100
_WRITE_BYTES: Final = 8 * MIB
_WITHOUT: Final = "without saving"
_STEP_TURNS: Final = 20_000
_STEPS: Final = 100
_SAVES_MAX: Final = 20

State = dict[str, Any]
Keep = tuple[Callable[[State, str], None], Callable[[str], object]]
"""Saves a state under a path, and loads it from there."""


def checkpoints(bench: Bench, wanted: frozenset[str]) -> Iterator[Row]:
    """Measure the rows that are wanted."""
    try:
        state = _state(bench.scale.checkpoint_mib)
    except MissingError as error:
        missing = (Missing("NumPy", str(error)),)
        yield from (Row(name, "a checkpoint of arrays", BEST_PEER, None, None, missing) for name in sorted(wanted))
        return
    rows: dict[str, Callable[[Bench, State, str], Row]] = {
        "checkpoint-save": _save,
        "checkpoint-save-device": _save_device,
        "checkpoint-changed": _changed,
        "checkpoint-changed-bytes": _changed_bytes,
        "checkpoint-load": _load,
        "checkpoint-open": _open,
        "checkpoint-beside": partial(_beside, saving="thread"),
        "checkpoint-beside-process": partial(_beside, saving="process"),
    }
    for name, measure in rows.items():
        if name in wanted:
            with bench.place() as path:
                yield measure(bench, state, path)


def _save(bench: Bench, state: State, path: str) -> Row:
    peers, missing = _peers(bench, state)
    others = [_saver(name, save, state, path) for name, (save, _) in peers.items()]
    result = contest(Contender(NAME, _own_saver(state, path), "every byte's digest reckoned"), others, _rounds(bench))
    return Row("checkpoint-save", f"save {_size(bench)} of arrays", BEST_PEER, Goal(1.2), result,
               (*missing, *result.dropped), durability=_DURABLE)  # fmt: skip


def _save_device(bench: Bench, state: State, path: str) -> Row:
    def write(_: int) -> float:
        file = os.path.join(path, "raw")
        seconds = timed(lambda: _written(state, file), 1)
        os.unlink(file)
        return seconds

    result = contest(Contender(NAME, _own_saver(state, path)), [Contender(_DEVICE, write)], _rounds(bench))
    return Row("checkpoint-save-device", f"save {_size(bench)} of arrays, against writing as much", _DEVICE, Goal(0.85),
               result, durability=_DURABLE)  # fmt: skip


def _changed(bench: Bench, state: State, path: str) -> Row:
    with open_checkpoints(os.path.join(path, "job")) as job:
        job.save(state)

        def save(number: int) -> float:
            _change(state, number)
            return timed(lambda: job.save(state), 1)

        whole = Contender(_WHOLE, _own_saver(state, path))
        result = contest(Contender(NAME, save, "1 % of the bytes, in one stretch"), [whole], _rounds(bench))
    return Row("checkpoint-changed", f"save {_size(bench)} of which 1 % changed, against all of it", _WHOLE, Goal(4),
               result, durability=_DURABLE)  # fmt: skip


def _changed_bytes(_bench: Bench, state: State, path: str) -> Row:
    with open_checkpoints(os.path.join(path, "job")) as job:
        job.save(state)

        def save(number: int) -> float:
            _change(state, number)
            before = _bytes_in(path)
            job.save(state)
            return float(_bytes_in(path) - before)

        share = Contender(_SHARE, lambda _: sum(array.nbytes for array in state.values()) * 0.03)
        result = contest(Contender(NAME, save), [share], 2)
    return Row("checkpoint-changed-bytes", "bytes that the files grow by when 1 % changed", _SHARE, Goal(1), result,
               unit="bytes")  # fmt: skip


def _load(bench: Bench, state: State, path: str) -> Row:
    peers, missing = _peers(bench, state)
    others = []
    for name, (save, load) in peers.items():
        file = os.path.join(path, name)
        save(state, file)
        others.append(Contender(name, _loader(load, file)))
    with open_checkpoints(os.path.join(path, "job")) as job:
        latest = job.save(state)
        _require_same(latest.load(), state)
        result = contest(Contender(NAME, lambda _: timed(latest.load, 1), "every byte checked"), others, _rounds(bench))
    return Row("checkpoint-load", f"load {_size(bench)} of arrays into memory, from the system's cache", BEST_PEER,
               Goal(1), result, (*missing, *result.dropped))  # fmt: skip


def _open(bench: Bench, state: State, path: str) -> Row:
    place = os.path.join(path, "job")
    with open_checkpoints(place) as job:
        job.save(state)

    def opened(_: int) -> float:
        return timed(_opened, 1)

    def _opened() -> None:
        with open_checkpoints(place, mode="r") as job:
            latest = job.latest()
            if latest is None or latest.load(mapped=True)["a0"][-1] != state["a0"][-1]:
                raise BenchError("a checkpoint isn't what was saved")

    pace = Contender(_PACE, lambda _: 0.01)
    result = contest(Contender(NAME, opened, "mapped, and one element read"), [pace], _rounds(bench))
    return Row("checkpoint-open", f"find the latest of {_size(bench)} and open it lazily", _PACE, Goal(1), result)


def _beside(bench: Bench, state: State, path: str, *, saving: SavingMode) -> Row:
    """What a step of the job takes, which is Python alone, while all of the state is saved behind it."""

    def step() -> float:
        return timed(_some_python, 1)

    with open_checkpoints(os.path.join(path, "job"), saving=saving, keep=Latest(last=1), trash_period=0) as job:

        def while_saving(_: int) -> float:
            took: list[float] = []
            for _save in range(_SAVES_MAX):
                for name in state:
                    state[name] += 1
                under_way = job.save_async(state)
                while not under_way.done:
                    took.append(step())
                under_way.wait()
                if len(took) >= _STEPS:
                    break
            return sum(took) / len(took)

        ours = Contender("while saving", while_saving, f"saving={saving!r}, save_async of a state that all changed")
        alone = Contender(_WITHOUT, lambda _: sum(step() for _ in range(_STEPS)) / _STEPS)
        result = contest(ours, [alone], _rounds(bench))
    what = "in a thread" if saving == "thread" else "in another process"
    name = "checkpoint-beside" if saving == "thread" else "checkpoint-beside-process"
    return Row(name, f"a step of Python while {_size(bench)} are saved {what}", _WITHOUT, None, result,
               note="how much of a core the machine has left decides as well")  # fmt: skip


def _some_python() -> int:
    total = 0
    for number in range(_STEP_TURNS):
        total += number & 7
    return total


# -- the state ----------------------------------------------------------------------------------


def _state(size_mib: int) -> State:
    """Return arrays of chance, which nothing compresses."""
    numpy: Any = _library("numpy")
    chance = numpy.random.default_rng(1)
    count = size_mib * MIB // _ARRAYS // 4
    return {f"a{at}": chance.random(count, dtype="f4") for at in range(_ARRAYS)}


def _change(state: State, number: int) -> None:
    """Change one percent, somewhere else each time."""
    array = state[f"a{number % _ARRAYS}"]
    count = max(1, len(array) * _ARRAYS // _CHANGED)
    array[number % 3 * count :][:count] += 1


def _require_same(loaded: Mapping[str, Any], state: State) -> None:
    if any((loaded[name] != array).any() for name, array in state.items()):
        raise BenchError("a checkpoint isn't what was saved")


def _size(bench: Bench) -> str:
    return f"{bench.scale.checkpoint_mib:,} MiB"


def _rounds(bench: Bench) -> int:
    return max(2, bench.scale.rounds)


def _bytes_in(path: str) -> int:
    found = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    return sum(os.path.getsize(file) for file in found)


# -- the contenders -----------------------------------------------------------------------------


def _own_saver(state: State, path: str) -> Callable[[int], float]:
    """Save into a place that knows nothing yet."""

    def run(_: int) -> float:
        place = os.path.join(path, "whole")
        with open_checkpoints(place) as job:
            seconds = timed(lambda: job.save(state), 1)
        shutil.rmtree(place)
        return seconds

    return run


def _saver(name: str, save: Callable[[State, str], None], state: State, path: str) -> Contender:
    def run(_: int) -> float:
        target = os.path.join(path, name)
        seconds = timed(lambda: save(state, target), 1)
        if os.path.isdir(target):
            shutil.rmtree(target)
        else:
            os.unlink(target)
        return seconds

    return Contender(name, run)


def _loader(load: Callable[[str], object], file: str) -> Callable[[int], float]:
    return lambda _: timed(lambda: load(file), 1)


def _peers(bench: Bench, state: State) -> tuple[dict[str, Keep], tuple[Missing, ...]]:
    found: dict[str, Keep] = {}
    missing = []
    makers = (("np.savez", _npz), ("safetensors", _safetensors), ("torch.save", _torch), ("torch DCP", _dcp))
    for name, make in makers if bench.peers else ():
        try:
            found[name] = make(state)
        except MissingError as error:
            missing.append(Missing(name, str(error)))
    return found, tuple(missing)


def _npz(_state: State) -> Keep:
    numpy: Any = _library("numpy")

    def save(state: State, path: str) -> None:
        with open(path, "wb") as file:
            numpy.savez(file, **state)
            file.flush()
            os.fsync(file.fileno())
        _sync(os.path.dirname(path))

    def load(path: str) -> object:
        with numpy.load(path) as file:
            return {name: file[name] for name in file.files}

    return save, load


def _safetensors(_state: State) -> Keep:
    library: Any = _library("safetensors.numpy")

    def save(state: State, path: str) -> None:
        library.save_file(state, path)
        _sync(path)
        _sync(os.path.dirname(path))

    return save, library.load_file


def _torch(state: State) -> Keep:
    torch: Any = _library("torch")
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}

    def save(_: State, path: str) -> None:
        with open(path, "wb") as file:
            torch.save(tensors, file)
            file.flush()
            os.fsync(file.fileno())
        _sync(os.path.dirname(path))

    return save, lambda path: torch.load(path, weights_only=True)


def _dcp(state: State) -> Keep:
    torch: Any = _library("torch")
    library: Any = _library("torch.distributed.checkpoint")
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}

    def save(_: State, path: str) -> None:
        # With single files for ranks it syncs each; without a process group it is one rank, and warns that it is.
        library.save(tensors, storage_writer=library.FileSystemWriter(path, sync_files=True), no_dist=True)

    def load(path: str) -> object:
        empty = {name: torch.empty_like(tensor) for name, tensor in tensors.items()}
        library.load(empty, storage_reader=library.FileSystemReader(path), no_dist=True)
        return empty

    return save, load


def _written(state: State, file: str) -> None:
    """Write the arrays' bytes behind one another, and sync them."""
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for array in state.values():
            view = memoryview(array).cast("B")
            for start in range(0, len(view), _WRITE_BYTES):
                os.write(fd, view[start : start + _WRITE_BYTES])
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingError(f"pip install {name.partition('.')[0]}") from error
