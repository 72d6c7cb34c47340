"""Limits of the machine, met for real: no room, no larger file, no descriptor, no writing, and a process forked in two.

full disks          `full_disks.py`: tmpfs, ext4, xfs, btrfs, and RLIMIT_FSIZE, at many levels
free descriptors    `scarce_descriptors.py`: every number of them, for every operation
read-only           a file system that turns read-only under an open store, and one that was mounted so
forks               `forks.py`: children that use a store in full use, traced too, and ones that outlive its owner
"""

from __future__ import annotations

import errno
import os
import random
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, Final

import forks
import scarce_descriptors
from full_disks import KINDS, SCENES, try_levels
from mounts import EXT4, Images, Mounted, guarded
from units import Goal, Outcome, Size, Unit

import journalkit
from journalkit.errors import StorageError

MEDIA: Final = ("tmpfs", *KINDS, "file size")
LEVELS: Final[dict[str, Sequence[int]]] = {
    "ci": (*range(0, 20, 3), *range(20, 90, 20)),
    "full": range(120),
}
FORKS: Final = {"ci": {"storm": 20, "traced": 4, "handed on": 2}, "full": {"storm": 300, "traced": 40, "handed on": 10}}

GOALS = (
    Goal("levels", "full disks and file size limits, each at a level of its own", 300, 3_000),
    Goal("refused for want of room", "  calls that were refused, and nothing of them was there", 300, 3_000),
    Goal("numbers of free descriptors", "operations with every number of free descriptors", 78, 78),
    Goal("read-only", "operations on file systems that are read-only, or turn so", 10, 10),
    Goal("forks", "forks of a process with a store in full use", 26, 350),
)


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return a unit for each medium (and scene, in a full run), and one for each other limit."""
    chance = random.Random(f"limits {seed}")
    levels = list(LEVELS[size])
    groups = [list(SCENES)] if size == "ci" else [[scene] for scene in SCENES]
    planned = [
        Unit(
            f"{medium}: {', '.join(scenes)}",
            {"part": "room", "medium": medium, "scenes": scenes, "levels": levels},
            timeout_s=300 if size == "ci" else 1200,
        )
        for medium in MEDIA
        for scenes in groups
    ]
    planned.append(Unit("descriptors", {"part": "descriptors"}))
    planned.append(Unit("read-only", {"part": "read-only"}))
    for act, number in FORKS[size].items():
        arguments = {"part": "forks", "act": act, "forks": number, "seed": chance.getrandbits(32)}
        planned.append(Unit(f"forks: {act}", arguments, timeout_s=120 + 4 * number))
    return planned


def prove(unit: Unit) -> Outcome:
    """Meet one of the limits."""
    arguments = unit.arguments
    return _PARTS[arguments["part"]](arguments)


def _room(arguments: dict[str, Any]) -> Outcome:
    medium, scenes, levels = arguments["medium"], arguments["scenes"], arguments["levels"]
    if medium == "file size":
        with tempfile.TemporaryDirectory() as folder:
            return try_levels(folder, medium, scenes, levels)
    return guarded([KINDS[medium]] if medium in KINDS else [], try_levels, medium, scenes, levels)


def _descriptors(_arguments: dict[str, Any]) -> Outcome:
    outcome = Outcome()
    for scene in scarce_descriptors.SCENES:
        with tempfile.TemporaryDirectory() as folder:
            found = scarce_descriptors.try_all(folder, scene)
        outcome.failures += found.failures
        for count, number in found.counts.items():
            outcome.add(count, number)
    return outcome


def _forks(arguments: dict[str, Any]) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return forks.play(arguments["act"], folder, arguments["seed"], arguments["forks"])


def _read_only(_arguments: dict[str, Any]) -> Outcome:
    return guarded([EXT4], turn_read_only)


_PARTS: Final[dict[str, Callable[[dict[str, Any]], Outcome]]] = {
    "room": _room,
    "descriptors": _descriptors,
    "forks": _forks,
    "read-only": _read_only,
}


def turn_read_only(folder: str) -> Outcome:
    """Turn a file system read-only under an open store, and look what each call does; then mount it read-only."""
    outcome = Outcome()
    images = Images(folder)
    for number, first in enumerate(("put", "delete", "compact", "sync", "close")):
        mounted = Mounted(images.fresh(EXT4), EXT4, images.point(), "errors=remount-ro")
        path = os.path.join(mounted.point, "store")
        _write_until_read_only(path, mounted, first, outcome)
        mounted.unmount()
        mounted.mount()
        _look(path, dict.fromkeys(range(20), number), f"after {first}, writable again", outcome, mode="rw")
        mounted.unmount()
        mounted.mount("ro")
        _look(path, dict.fromkeys(range(20), number), f"after {first}, mounted read-only", outcome, mode="r")
        _expect(lambda: journalkit.open(path), f"opened for writing on a read-only mount, after {first}", outcome)  # noqa: B023 - called at once
        mounted.unmount()
        os.remove(mounted.image)
    return outcome


def _write_until_read_only(path: str, mounted: Mounted, first: str, outcome: Outcome) -> None:
    value = ("put", "delete", "compact", "sync", "close").index(first)
    store = journalkit.open(path, compaction="manual")
    store.update(dict.fromkeys(range(20), value))
    store.put(0, value)
    if first in {"sync", "close"}:
        store.put("lost or there", value, sync="never")
    mounted.turn_read_only()
    calls: dict[str, Callable[[], object]] = {
        "put": lambda: store.put(1, "never acknowledged"),
        "delete": lambda: store.delete(1),
        "compact": store.compact,
        "sync": store.sync,
        "close": store.close,
    }
    _expect(calls[first], f"{first} first", outcome)
    if first != "close":
        _expect(calls["put"], f"put after {first}", outcome)
        if {key: store[key] for key in range(20)} != dict.fromkeys(range(20), value):
            outcome.failures.append(f"{first} failed, and the handle reads something else than before")
        try:
            store.close()
        except StorageError:
            outcome.add("closed with an error")


def _expect(call: Callable[[], object], what: str, outcome: Outcome) -> None:
    """Have something refused as what it is."""
    outcome.add("read-only")
    try:
        call()
    except StorageError as error:
        if error.errno not in {errno.EROFS, errno.EIO}:
            outcome.failures.append(f"{what}: refused as errno {error.errno}: {error}")
    except Exception as error:  # noqa: BLE001 - whatever else it is
        outcome.failures.append(f"{what}: {type(error).__name__}: {error}")
    else:
        outcome.failures.append(f"{what}: it worked, on a file system that is read-only")


def _look(path: str, expected: dict[Any, Any], where: str, outcome: Outcome, *, mode: Any) -> None:
    with journalkit.open(path, mode=mode) as store:
        found = {key: value for key, value in store.items() if key != "lost or there"}
        if found != expected:
            outcome.failures.append(f"{where}: {found}")
