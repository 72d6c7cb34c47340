"""`cp -r` of a live directory, again and again, while a life (`lives.py`) writes to it and folds.

Each file of such a copy is of another moment, and each chunk of each file. A
copy must open to the fold of a prefix, with everything that was acknowledged
before the copying began, or be refused with the name of what is missing; for
reading and for writing alike, and by the independent reader as well. It is
never misread. A refused one stays as it was, byte for byte.

Two copiers: `cp -r` itself, and a slower one that takes the files in any order,
in small chunks, with pauses, as a busy machine or a network makes of it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from judging import Moment, second_opinion
from lives import Board, Model, Tally, complaints, start
from second_reader import judge_images
from units import Goal, Outcome, Size, Unit

import journalkit
from journalkit.cli.examination import examine
from journalkit.errors import CorruptionError, JournalError
from journalkit.format import names
from journalkit.fs.posix import PosixFileSystem

COPIES_PER_UNIT: Final = {"ci": 30, "full": 100}
UNITS_PER_COPIER: Final = {"ci": 1, "full": 5}
COPIES_PER_LIFE: Final = 6
COPIERS: Final = ("cp", "slow")
_BEGIN_MAX_S: Final = 5.0

GOALS = (
    Goal("copies", "copies of a live directory, none misread", 60, 1_000),
    Goal("opened", "  that opened to a consistent prefix", 10, 150),
    Goal("refused", "  that were refused, naming what is missing", None, None),
)


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return runs of each copier."""
    chance = random.Random(f"copies {seed}")
    return [
        Unit(
            f"{copier} {number}",
            {"copier": copier, "copies": COPIES_PER_UNIT[size], "seed": chance.getrandbits(32)},
            timeout_s=60 + 2 * COPIES_PER_UNIT[size],
        )
        for number in range(1, UNITS_PER_COPIER[size] + 1)
        for copier in COPIERS
    ]


def prove(unit: Unit) -> Outcome:
    """Copy and judge; end at the first copy that is misread."""
    copier, copies, seed = (unit.arguments[name] for name in ("copier", "copies", "seed"))
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="journalkit-copies-") as folder:
        subject = Subject(folder, copier, seed)
        for number in range(1, copies + 1):
            if wrong := subject.copy_one(outcome):
                told = "\n  ".join(wrong)
                outcome.failures.append(f"copy {number} by {copier}, seed {seed}:\n  {told}")
                break
        subject.end()
    return outcome


class Subject:
    """Lives, one after the other, each on a store of its own, and copies of it."""

    def __init__(self, folder: str, copier: str, seed: int) -> None:
        self._folder = folder
        self._copier = copier
        self._chance = random.Random(seed)
        self._board = Board()
        self._tally = Tally()
        self._life = 0
        self._copies = 0

    def copy_one(self, outcome: Outcome) -> list[str]:
        """Copy the directory once, and judge the copy; return what is wrong."""
        if not self._life:
            self._begin()
        source, target = os.path.join(self._folder, "store"), os.path.join(self._folder, "copy")
        time.sleep(self._chance.uniform(0.0, 0.05))
        moment = Moment.of(self._tally)
        if self._copier == "cp":
            subprocess.run(["cp", "-r", source, target], stderr=subprocess.DEVNULL, check=False)
        else:
            copy_slowly(source, target, self._chance)
        self._copies += 1
        outcome.add("copies")
        if self._copies % COPIES_PER_LIFE == 0:
            # The tally tells what was submitted by then, and no more comes.
            self.end()
        wrong = [self._tally.failure] if self._tally.failure else judge_copy(target, self._tally, moment, outcome)
        shutil.rmtree(target)
        return wrong

    def _begin(self) -> None:
        path = os.path.join(self._folder, "store")
        shutil.rmtree(path, ignore_errors=True)
        self._life = start(path, self._board, self._tally, self._chance.getrandbits(32))
        deadline_s = time.monotonic() + _BEGIN_MAX_S
        while not self._tally.commits and time.monotonic() < deadline_s:
            time.sleep(0.001)

    def end(self) -> None:
        """End the life that there is."""
        if self._life:
            os.kill(self._life, signal.SIGKILL)
            os.waitpid(self._life, 0)
            self._life = 0


def copy_slowly(source: str, target: str, chance: random.Random) -> None:
    """Copy a directory's files in any order, in small chunks, with pauses; what is gone by then is left out."""
    os.mkdir(target)
    chunk_bytes = chance.choice((512, 4096, 32_768))
    pause_share, names = chance.choice((0.0, 0.01, 0.1)), os.listdir(source)
    chance.shuffle(names)
    for name in names:
        with (
            suppress(FileNotFoundError, IsADirectoryError),
            open(os.path.join(source, name), "rb", buffering=0) as reading,
            open(os.path.join(target, name), "wb") as writing,
        ):
            while chunk := reading.read(chunk_bytes):
                writing.write(chunk)
                if chance.random() < pause_share:
                    time.sleep(0.0005)


def judge_copy(path: str, tally: Tally, moment: Moment, outcome: Outcome) -> list[str]:
    """Open a copy for reading and for writing; return what is wrong with what it opens to, or with the refusal."""
    before = _bytes_of(path)
    model = Model()
    try:
        with journalkit.open(path, mode="r") as store:
            lsn = store.lsn
            wrong = _misread(store, model, tally, moment)
    except JournalError as refusal:
        return _judge_refusal(path, before, refusal, outcome)
    wrong += second_opinion(path, model, lsn, whole=False)
    if _bytes_of(path) != before:
        wrong.append("opened for reading, and it is not as it was")
    if wrong:
        return wrong
    try:
        with journalkit.open(path, compaction="manual") as store:
            wrong += complaints(store, model, model.counts, model.counts)
            outcome.add("torn tails in copies", store.recovery_report.outcome == "cut")
            store.compact()
        found = examine(PosixFileSystem(), path, deep=True).verdict
    except JournalError as error:
        return [f"it opens for reading, at LSN {lsn}, and not for writing: {type(error).__name__}: {error}"]
    if found != "sound":
        wrong.append(f"verify says {found} after recovery, a fold and a clean close")
    outcome.add("opened")
    outcome.add("records in copies", lsn)
    return wrong


def _misread(store: journalkit.Store, model: Model, tally: Tally, moment: Moment) -> list[str]:
    lsn, none = store.lsn, [0] * len(model.counts)
    if lsn < moment.acknowledged:
        return [f"records up to LSN {moment.acknowledged} were durable before the copy began, the last one is {lsn}"]
    return complaints(store, model, tally.least(none, lsn), tally.most(none, lsn))


def _judge_refusal(path: str, before: dict[str, bytes], refusal: JournalError, outcome: Outcome) -> list[str]:
    """A refusal names what is wrong, is the same for a writer, and changes nothing."""
    wrong = []
    if not isinstance(refusal, CorruptionError | FileNotFoundError):
        wrong.append(f"refused as {type(refusal).__name__}: {refusal}")
    elif path not in str(refusal):
        wrong.append(f"the refusal doesn't name a file: {refusal}")
    try:
        with journalkit.open(path, create=False) as store:
            wrong.append(f"refused for reading ({refusal}), and opened for writing at LSN {store.lsn}")
    except JournalError as again:
        if type(again) is not type(refusal):
            wrong.append(f"for reading: {refusal}; for writing: {type(again).__name__}: {again}")
    if _bytes_of(path) != before:
        wrong.append(f"refused ({refusal}), and it is not as it was")
    if (judgement := judge_images(before)).state is not None:
        wrong.append(f"refused ({refusal}), and the independent reader ends at LSN {judgement.last_lsn}")
    outcome.add("refused")
    return wrong


def _bytes_of(path: str) -> dict[str, bytes]:
    """Return the files that make up a store; the lock file is no part of it."""
    return {
        entry.name: Path(entry).read_bytes()
        for entry in os.scandir(path)
        if entry.is_file() and entry.name != names.LOCK
    }
