"""Power cuts on real file systems: ext4 under several mount options, xfs and btrfs.

A life (`lives.py`) writes to a store on a small image, from threads, under all
sync modes, with rotations, folds and pruning, while the parent pushes single
pages of its files to the device out of order. Then the power is cut at a
moment aimed at a phase. The image is mounted again, which replays the journal
of the file system, and the store judged (`judging.py`); the next life goes on
with it, so that damage would add up.

The device is a loop device: it keeps what the file system wrote to it, in that
order. A device that loses or reorders writes of its own is `reorderings.py`'s.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from judging import Moment, close_out, half, judge
from lives import PHASES, Aim, Board, Model, Tally, start
from mounts import BTRFS, EXT4, EXT4_SMALL_BLOCKS, XFS, Images, Kind, Mounted, guarded
from units import Goal, Outcome, Size, Unit

CUTS_PER_UNIT: Final = {"ci": 5, "full": 40}
UNITS_PER_WAY: Final = {"ci": 1, "full": 2}
CUTS_PER_STORE: Final = 12
AFTERMATH_MAX_S: Final = 0.005
BESIDE_SHARE: Final = 0.1
_PAGE: Final = 4096
_WRITE_OUT: Final = 2  # SYNC_FILE_RANGE_WRITE
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Way:
    """A file system, how it is mounted, and how it is cut off.

    By "shutdown", by a "copy" of the device, or, as an error of ext4 does it, by turning "read-only".
    """

    kind: Kind
    options: str
    cut: str

    @property
    def name(self) -> str:
        """What it is called in names of units."""
        return f"{self.kind.name} {self.options or 'defaults'} {self.cut}"


WAYS: Final = (
    Way(EXT4, "data=ordered", "shutdown"),
    Way(EXT4, "data=writeback", "shutdown"),
    Way(EXT4, "data=journal", "shutdown"),
    Way(EXT4, "nobarrier", "shutdown"),
    Way(EXT4, "barrier=1,commit=1", "shutdown"),
    Way(EXT4, "nodelalloc", "shutdown"),
    Way(EXT4, "dioread_lock,auto_da_alloc", "copy"),
    Way(EXT4_SMALL_BLOCKS, "data=ordered,noauto_da_alloc", "shutdown"),
    Way(EXT4_SMALL_BLOCKS, "data=writeback,nodelalloc", "copy"),
    Way(EXT4, "errors=remount-ro", "read-only"),
    Way(XFS, "", "shutdown"),
    Way(XFS, "wsync", "shutdown"),
    Way(XFS, "", "copy"),
    Way(BTRFS, "", "copy"),
    Way(BTRFS, "nodatacow", "copy"),
    Way(BTRFS, "compress-force=zstd", "copy"),
    Way(BTRFS, "notreelog", "copy"),
)

GOALS = (
    Goal("cuts", "power cuts on real file systems survived", 60, 1_000),
    Goal("cuts on ext4", "  of them on ext4, under eight sets of mount options", 30, 500),
    Goal("cuts on xfs", "  of them on xfs", 10, 150),
    Goal("cuts on btrfs", "  of them on btrfs", 15, 250),
    Goal("turned read-only", "file systems that turned read-only under a writer", 5, 50),
    Goal("torn tails", "  that left a torn tail, which was cut", None, None),
    Goal("acknowledged", "commits acknowledged before a cut, none lost", None, None),
)


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return each way to cut, with seeds of its own."""
    chance = random.Random(f"power {seed}")
    return [
        Unit(
            f"{way.name} {number}",
            {"way": WAYS.index(way), "cuts": CUTS_PER_UNIT[size], "seed": chance.getrandbits(32)},
            timeout_s=60 + 3 * CUTS_PER_UNIT[size],
        )
        for number in range(1, UNITS_PER_WAY[size] + 1)
        for way in WAYS
    ]


def prove(unit: Unit) -> Outcome:
    """Cut the power again and again; end at the first thing that is wrong."""
    arguments = unit.arguments
    way = WAYS[arguments["way"]]
    kinds = [way.kind, XFS] if way.cut == "copy" else [way.kind]
    return guarded(kinds, cut_all, way, arguments["cuts"], arguments["seed"], arguments.get("canary", ""))


def cut_all(folder: str, way: Way, cuts: int, seed: int, canary: str) -> Outcome:
    """Do a unit's work, in `folder`, where mounts are our own."""
    outcome = Outcome()
    chance = random.Random(seed)
    images = Images(folder, cloning=way.cut == "copy")
    board = Board()
    aim = Aim(board, chance)
    cutter: Cutter | None = None
    for number in range(1, cuts + 1):
        if cutter is None:
            cutter = Cutter(images, way, board, chance, canary)
        if wrong := cutter.cut_one(aim, outcome):
            outcome.failures.append(_failure(way, number, seed, canary, wrong))
            break
        if cutter.cuts == CUTS_PER_STORE or number == cuts:
            if wrong := cutter.end():
                outcome.failures.append(_failure(way, number, seed, canary, ["at the end:", *wrong]))
                break
            cutter = None
    for phase in PHASES:
        outcome.add(f"cuts in {phase.name.lower()}", aim.hits[phase])
    return outcome


def _failure(way: Way, number: int, seed: int, canary: str, wrong: list[str]) -> str:
    told = "\n  ".join(wrong)
    return f"{way.name}{canary and f' (canary: {canary})'}, seed {seed}, cut {number}:\n  {told}"


class Cutter:
    """One image with one store, and the lives that it goes through."""

    def __init__(self, images: Images, way: Way, board: Board, chance: random.Random, canary: str) -> None:
        self._images = images
        self._way = way
        self._board = board
        self._chance = chance
        self._canary = canary
        self._tally = Tally()
        self._model = Model()
        self._mounted = Mounted(images.fresh(way.kind), way.kind, images.point(), way.options)
        self._path = os.path.join(self._mounted.point, "store")
        self.cuts = 0

    def cut_one(self, aim: Aim, outcome: Outcome) -> list[str]:
        """Let a life run to its cut, and judge what is left; return what is wrong."""
        chance, tally = self._chance, self._tally
        aim.take()
        life = start(self._path, self._board, tally, chance.getrandbits(32), canary=self._canary)
        with stirred(self._path, chance.getrandbits(32)):
            aim.wait()
        active = self._board.now()
        moment, copied = self._cut()
        hit = aim.note(active)
        time.sleep(chance.uniform(0.0, AFTERMATH_MAX_S))
        os.kill(life, signal.SIGKILL)
        _, status = os.waitpid(life, 0)
        self._restore_power(copied)
        self.cuts += 1
        if tally.failure:
            return [f"in {hit.name.lower()}", tally.failure]
        if not tally.cut and not os.WIFSIGNALED(status):
            return [f"the life ended by itself with status {status}"]
        verdict = judge(self._path, self._model, tally, moment, repair=half(chance))
        if not verdict.wrong:
            if self._way.cut == "read-only":
                outcome.add("turned read-only")
            else:
                outcome.add("cuts")
                outcome.add(f"cuts on {self._way.kind.filesystem}")
                outcome.add(f"cuts by {self._way.cut}")
            outcome.add("acknowledged", max(0, moment.acknowledged - tally.base))
            outcome.add("torn tails", verdict.outcome == "torn tail")
            outcome.add("commits that a cut took", max(0, tally.base + tally.commits - verdict.lsn))
            return []
        return [f"in {hit.name.lower()}, acknowledged {moment.acknowledged}, begun at {tally.base}", *verdict.wrong]

    def _cut(self) -> tuple[Moment, str]:
        """Cut the power; return what was known just before, and the copy of the device, if that is the way."""
        if self._way.cut == "copy":
            target = self._images.name()
            moment = Moment.of(self._tally)
            self._mounted.copy(target)
            return moment, target
        self._tally.cut = 1
        moment = Moment.of(self._tally)
        if self._way.cut == "read-only":
            self._mounted.turn_read_only()
        else:
            self._mounted.shut_down()
        self._tally.cut = 2
        return moment, ""

    def _restore_power(self, copied: str) -> None:
        """Go on with what the device holds."""
        mounted = self._mounted
        mounted.unmount()
        if copied:
            os.remove(mounted.image)
            mounted.image = copied
        mounted.mount()

    def end(self) -> list[str]:
        """Have the store be used as on any other day, and let go of it; return what is wrong."""
        wrong = close_out(self._path, self._model)
        self._mounted.unmount()
        os.remove(self._mounted.image)
        return wrong


@contextmanager
def stirred(path: str, seed: int) -> Iterator[None]:
    """Push pages of a directory's files to the device meanwhile, in no order; sync a file beside it, as others do.

    The latter commits the file system's own journal, with what it says of our files and without their bytes.
    """
    ended = threading.Event()

    def stir() -> None:
        chance = random.Random(seed)
        while not ended.wait(chance.uniform(0.0, 0.004)):
            with suppress(OSError, IndexError):
                if chance.random() < BESIDE_SHARE:
                    _sync_beside(path)
                else:
                    _write_out(os.path.join(path, chance.choice(os.listdir(path))), chance)

    thread = threading.Thread(target=stir)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _sync_beside(path: str) -> None:
    descriptor = os.open(f"{path}.beside", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, b"x" * 100)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_out(path: str, chance: random.Random) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        pages = os.fstat(descriptor).st_size // _PAGE + 1
        first, count = chance.randrange(pages), chance.choice((1, 1, 2, 8))
        _libc.sync_file_range(
            descriptor, ctypes.c_int64(first * _PAGE), ctypes.c_int64(count * _PAGE), ctypes.c_uint(_WRITE_OUT)
        )
    finally:
        os.close(descriptor)
