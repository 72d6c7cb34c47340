"""Writers of heads that note who they are, turns that a seed gives to threads, and saves of states."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import journalkit
from journalkit.checkpoint.checkpoints import Checkpoints
from journalkit.checkpoint.loading import Manifest, read_manifest
from journalkit.checkpoint.open import open_on
from journalkit.checkpoint.pack import Known
from journalkit.checkpoint.saved_store import SavedStore
from journalkit.checkpoint.saving import SaveOptions, Written, write_checkpoint
from journalkit.checkpoint.tree import capture
from journalkit.format import names
from journalkit.format.head import CheckpointEntry, Head
from journalkit.objects.interface import Objects
from journalkit.objects.places import open_objects
from journalkit.testing import SimulatedBucket, SimulatedClock, SimulatedDisk
from tests.unit.checkpoint.stored import MANUAL, fill

LONG = 100_000
"""Bytes of a value that is long enough to lie in a pack."""


class Place:
    """A bucket, a clock, and handles on them."""

    def __init__(self, seed: int = 0) -> None:
        self.bucket = SimulatedBucket(seed=seed)
        self.clock = SimulatedClock(seed=seed)
        self.opened: list[Checkpoints] = []

    def open(self, who: str = "writer", **options: Any) -> Checkpoints:
        """Open it as somebody."""
        checkpoints = open_on(self.bucket.handle(who), self.clock, **options)
        self.opened.append(checkpoints)
        return checkpoints

    def data(self) -> set[str]:
        """Return what there is besides heads."""
        return {key for key in self.bucket.contents() if not key.startswith(names.HEADS)}

    def flip(self, key: str, at: int = -1) -> None:
        """Damage an object."""
        data = bytearray(self.bucket.contents()[key])
        data[at] ^= 1
        self.bucket.handle("bad luck").put(key, (bytes(data),))

    def end(self) -> None:
        """Let nothing go wrong any more, and close what is open."""
        self.bucket.before = None
        self.bucket.mend()
        for checkpoints in self.opened:
            checkpoints.close()


def state(number: int) -> dict[str, Any]:
    """Return a state that is another for each number, with something long in it."""
    return {"step": number, "seen": {f"key-{number}"}, "model": Random(number).randbytes(LONG)}


def needed(job: Checkpoints) -> set[str]:
    """Return the keys of all that its checkpoints need."""
    return {key for each in job for key in (*each.manifest.packs(), names.checkpoint_key(each.epoch, each.save))}


def entry(epoch: int, save: int, name: str = "") -> CheckpointEntry:
    """Return a checkpoint."""
    return CheckpointEntry(epoch, save, 1, 100, bytes([save % 256]) * 32, name, {"loss": save / 7})


def adding(added: CheckpointEntry) -> Callable[[Head], Head | None]:
    """Return a change that adds a checkpoint, once."""

    def change(head: Head) -> Head | None:
        if any(known.place == added.place for known in head.checkpoints):
            return None
        kept = sorted([*head.checkpoints, added], key=lambda known: known.place)
        return replace(head, checkpoints=tuple(kept))

    return change


class Turns:
    """Threads of which one goes on at a time, from one pause to its next; a seed says which."""

    def __init__(self, seed: int, *, patience: int = 0) -> None:
        self._chance = Random(seed)
        self._patience = patience
        self._changed = threading.Condition()
        self._waiting: set[str] = set()
        self._turn = ""
        self._sleeping: dict[str, int] = {}
        self._errors: list[BaseException] = []

    def pause(self, who: str, *_: str) -> None:
        """Wait for the next turn."""
        with self._changed:
            self._waiting.add(who)
            self._turn = ""
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._turn == who)
            self._waiting.discard(who)

    def run(self, programs: dict[str, Callable[[], None]]) -> None:
        """Run them all to their ends."""
        alive = set(programs)

        def live(who: str, program: Callable[[], None]) -> None:
            try:
                self.pause(who)
                program()
            except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
                self._errors.append(error)
            finally:
                with self._changed:
                    alive.discard(who)
                    self._turn = ""
                    self._changed.notify_all()

        threads = [threading.Thread(target=live, args=each, daemon=True) for each in programs.items()]
        for thread in threads:
            thread.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._turn == "" and self._waiting >= alive)
                if not alive:
                    break
                self._turn = self._choose(sorted(alive))
                self._changed.notify_all()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _choose(self, alive: list[str]) -> str:
        """Give somebody a turn: now and then one sleeps, for longer than heads are kept."""
        if self._patience and self._chance.random() < 0.02:
            self._sleeping[self._chance.choice(alive)] = self._patience
        awake = [who for who in alive if not self._sleeping.get(who)] or alive
        self._sleeping = {who: left - 1 for who, left in self._sleeping.items() if left > 1}
        return self._chance.choice(awake)


@pytest.fixture(scope="session")
def turns() -> type[Turns]:
    """Give the class."""
    return Turns


@pytest.fixture(scope="session")
def make_entry() -> Callable[..., CheckpointEntry]:
    """Give the function."""
    return entry


@pytest.fixture(scope="session")
def add_to() -> Callable[[CheckpointEntry], Callable[[Head], Head | None]]:
    """Give the function."""
    return adding


@pytest.fixture(params=["directory", "simulated", "memory"])
def a_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Objects]:
    """Objects of each kind that takes no server."""
    if request.param == "simulated":
        yield SimulatedBucket().handle()
        return
    objects = open_objects(tmp_path / "job" if request.param == "directory" else "memory://")
    yield objects
    objects.close()


class Saves:
    """Functions that tests share."""

    JOB = b"j" * 16
    PLAIN = SaveOptions(digest="sha256", threads=0)

    @staticmethod
    def save(
        objects: Objects,
        state: object,
        number: int = 1,
        *,
        on: list[Manifest] | None = None,
        options: SaveOptions | None = None,
    ) -> Written:
        """Write a state as one save of epoch 1."""
        options = options if options is not None else Saves.PLAIN
        captured = capture(state)
        known = Known.of([each.said for each in on or []], options.digest)
        written = write_checkpoint(
            objects, job=Saves.JOB, epoch=1, save=number, captured=captured, time_us=5, known=known, options=options,
            offsets={"in": number}, metadata={"git": "abc"}, metrics={"loss": 1}, name="x",
        )  # fmt: skip
        captured.release()
        return written

    @staticmethod
    def opened(objects: Objects, written: Written) -> Manifest:
        """Return what a save left."""
        return read_manifest(objects, written.manifest_key, written.manifest_digest)

    @staticmethod
    def same(left: Any, right: Any) -> bool:
        """Whether two states are equal and of the same types, arrays of the same elements in the same order."""
        if type(left) is not type(right):
            return False
        if isinstance(left, np.ndarray | np.generic):
            is_same = left.dtype == right.dtype and left.shape == right.shape
            return bool(is_same and left.tobytes() == right.tobytes() and left.dtype.str == right.dtype.str)
        if isinstance(left, dict):
            return list(left) == list(right) and all(Saves.same(left[key], right[key]) for key in left)
        if isinstance(left, list | tuple):
            return len(left) == len(right) and all(map(Saves.same, left, right))
        return bool(left == right)

    @staticmethod
    def rows(count: int, seed: int = 1) -> Any:
        """Return an array of so many rows of 8 KiB, of chance."""
        return np.random.default_rng(seed).integers(0, 1 << 60, (count, 1024), dtype="i8")


@pytest.fixture(scope="session")
def saves() -> type[Saves]:
    """Give the functions."""
    return Saves


@pytest.fixture
def place() -> Iterator[Place]:
    """Return a new place; its handles are closed at the end."""
    place = Place()
    yield place
    place.end()


@pytest.fixture
def disk() -> SimulatedDisk:
    """A disk that has the job's store."""
    return SimulatedDisk()


@pytest.fixture
def store(disk: SimulatedDisk) -> Iterator[journalkit.Store]:
    """A store with a base, a delta and something that isn't in either."""
    options: dict[str, Any] = {"metadata": {"of": ["job"]}, "fold_bytes_min": 1, **MANUAL}
    with journalkit.open("/state", fs=disk, clock=SimulatedClock(), **options) as store:
        fill(store, 0, 400)
        store.compact()
        fill(store, 100, 110)
        store.delete(5)
        store.compact()
        fill(store, 200, 205)
        store.delete(6)
        with store.transaction() as transaction:
            transaction.offsets["input"] = 17
        yield store


@pytest.fixture(scope="session")
def expected() -> dict[Any, Any]:
    """What the store has."""
    return {key: Random(key).randbytes(100) for key in range(60)}


@pytest.fixture
def handle(expected: dict[Any, Any]) -> Iterator[SavedStore]:
    """A saved store of two tables."""
    place = Place()
    with journalkit.open("memory://", fold_bytes_min=1, **MANUAL) as store:
        store.update(expected | {"gone": 1})
        store.compact()
        del store["gone"]
        yield place.open().save({"db": store}).load(lazy=True)["db"]
    place.end()


@pytest.fixture
def children(place: Place) -> Any:
    """Return what starts processes that save to the place."""
    from tests.unit.checkpoint.children import Children

    return Children(place)
