"""Damage of every kind to every file: an error that names the file, or nothing is lost.

Never a wrong value, never a missing one, served as right. Every bit is turned
over (a share of them, drawn by a fixed seed; all of a store's is a proof, `flips`), every
file cut at every byte, wiped by sectors, exchanged, doubled, taken away,
rolled back. Each is opened for reading and for writing, as a user would, and
judged by the reader that shares no code with the package.
"""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest

import journalkit
from journalkit.cli.examination import examine
from journalkit.errors import CorruptionError
from journalkit.format.names import DURABLE, LOCK, MANIFEST, RESERVE
from journalkit.fs.memory import MemoryFileSystem
from journalkit.testing import SimulatedClock

sys.path.append(str(Path(__file__).parents[1] / "proof"))
second_reader: Any = importlib.import_module("second_reader")

STORE = "/store"
SECTOR_BYTES = 512
EMPTY_SAMPLES = 20
"""Of the bits behind the last byte that isn't zero, how many are tried."""

Files: TypeAlias = Mapping[str, bytes]
Mode: TypeAlias = Literal["r", "rw"]
SHARES: dict[Mode, float] = {"r": 0.12, "rw": 0.04}
KINDS = (MANIFEST, DURABLE, LOCK, RESERVE, "log-", "table-")


def lay_out(files: Files) -> MemoryFileSystem:
    """Return a file system that holds these files in one directory."""
    fs = MemoryFileSystem()
    fs.make_directory(STORE)
    for name, data in files.items():
        fs.create(f"{STORE}/{name}").pwrite(data, 0)
    return fs


def take(fs: MemoryFileSystem) -> dict[str, bytes]:
    """Return the files of the store's directory, its quarantine left out."""
    statuses = {name: fs.status(f"{STORE}/{name}") for name in fs.list(STORE)}
    return {
        name: fs.open_read(f"{STORE}/{name}").pread(status.size_bytes, 0)
        for name, status in statuses.items()
        if status is not None and not status.is_directory
    }


def open_on(fs: MemoryFileSystem, mode: Mode, clock: SimulatedClock) -> journalkit.Store:
    """Open the store with nothing at work in the background."""
    return journalkit.open(STORE, mode=mode, fs=fs, clock=clock, compaction="manual", create=False)


@dataclass(frozen=True)
class State:
    """All that a store says of itself."""

    entries: dict[Any, Any]
    offsets: dict[str, Any]
    lsn: int
    uuid: str
    metadata: dict[str, Any]


def state_of(store: journalkit.Store) -> State:
    """Read everything, by scan and by key."""
    entries = dict(store)
    assert {key: store[key] for key in entries} == entries
    return State(entries, dict(store.offsets), store.lsn, store.uuid, dict(store.metadata))


@dataclass(frozen=True)
class Specimen:
    """A store's files at the end of its life and at earlier moments, and its state at the end."""

    files: Files
    earlier: tuple[Files, ...]
    state: State

    def named(self, kind: str) -> list[str]:
        """Return the files of a kind."""
        return [name for name in self.files if name.startswith(kind)]


def make_specimen(kind: str, *, seed: int = 3) -> Specimen:
    """Make a store with two snapshots (one, if it is "alone"), the log behind the older, and a tail."""
    fs, clock = MemoryFileSystem(), SimulatedClock(seed=seed)
    earlier = []
    store = journalkit.open(
        STORE,
        fs=fs,
        clock=clock,
        compaction="manual",
        metadata={"for": "damage"},
        keep_snapshots=1 if kind == "alone" else 2,
    )
    for number in range(4):
        store[f"k{number}"] = number
    earlier.append(take(fs))
    store.compact()
    store["k1"] = "one"
    del store["k2"]
    with store.transaction() as changes:
        changes["n"] = (1, 2)
        changes.offsets["in"] = 7
    earlier.append(take(fs))
    store.compact()
    store["k9"] = [1]
    earlier.append(take(fs))
    store["k0"] = b"x"
    if kind != "killed":
        store.close()
    files = take(fs)
    store.close()
    with open_on(lay_out(files), "r", clock) as found:
        state = state_of(found)
    assert state.entries == {"k0": b"x", "k1": "one", "k3": 3, "k9": [1], "n": (1, 2)}
    assert state.offsets == {"in": 7}
    return Specimen(files, tuple(earlier), state)


class Trials:
    """Opens damaged stores, and counts what came of it. Fails the test if that can't be accepted."""

    def __init__(self, specimen: Specimen, mode: Mode) -> None:
        self.specimen = specimen
        self.mode: Mode = mode
        self._clock = SimulatedClock(seed=99)
        self.served = 0
        self.refused = 0

    def run(self, files: Files, what: str, damaged: AbstractSet[str]) -> None:
        """Open once: an error has to name one of the damaged files."""
        fs = lay_out(files)
        refusal = self._read(fs, what) if self.mode == "r" else self._write(fs, what)
        self._ask(files, what, damaged, is_refused=refusal is not None)
        if refusal is None:
            self.served += 1
            return
        self.refused += 1
        assert _named(refusal) in damaged, f"{what}: the error names another file: {refusal}"
        # Who was refused finds every byte as it was; the lock's words are its owner's.
        assert {**take(fs), LOCK: b""} == {**files, LOCK: b""}, f"{what}: refused, and yet changed"

    def _ask(self, files: Files, what: str, damaged: AbstractSet[str], *, is_refused: bool) -> None:
        """Hear the independent reader: it has to refuse the same, and to serve the same."""
        judgement = second_reader.judge_images(files)
        assert (judgement.state is None) == is_refused, f"{what}: the readers differ: {judgement.findings}"
        if is_refused:
            assert judgement.refusal.file in damaged, f"{what}: the reader names another file: {judgement.refusal}"
            return
        state = self.specimen.state
        offsets = {second_reader.READER.Reserved("offsets", name): value for name, value in state.offsets.items()}
        assert judgement.last_lsn == state.lsn, what
        assert judgement.decoded() == state.entries | offsets, what

    def _read(self, fs: MemoryFileSystem, what: str) -> CorruptionError | None:
        try:
            with open_on(fs, "r", self._clock) as store:
                assert state_of(store) == self.specimen.state, f"{what}: wrong values are served as right"
        except CorruptionError as error:
            return error
        return None

    def _write(self, fs: MemoryFileSystem, what: str) -> CorruptionError | None:
        try:
            store = open_on(fs, "rw", self._clock)
        except CorruptionError as error:
            return error
        with store:
            assert state_of(store) == self.specimen.state, f"{what}: wrong values are served as right"
            store["k1"] = "two"
        # What was damaged and harmless must not turn up again later.
        with open_on(fs, "r", self._clock) as store:
            assert dict(store) == self.specimen.state.entries | {"k1": "two"}, f"{what}: wrong later"
        return None


def _named(error: CorruptionError) -> str:
    """Return the file that an error is about."""
    return error.path.rpartition("/")[2]


@pytest.fixture(scope="module", params=["closed", "killed", "alone"])
def specimen(request: pytest.FixtureRequest) -> Specimen:
    """A store that was closed, one whose process was killed, everything in it durable, and one with one snapshot."""
    return make_specimen(request.param)


@pytest.fixture(params=["r", "rw"])
def trials(request: pytest.FixtureRequest, specimen: Specimen) -> Trials:
    """Trials on that store, for reading and for writing."""
    return Trials(specimen, request.param)


def places(data: bytes, chance: random.Random, share: float) -> Iterator[int]:
    """Yield bytes of a file: that share of those with something in them, and a few of the zeros behind."""
    content = len(data.rstrip(b"\0"))
    yield from (at for at in range(content) if chance.random() < share)
    if content < len(data):
        yield from {content, len(data) - 1, *(chance.randrange(content, len(data)) for _ in range(EMPTY_SAMPLES))}


def flipped(data: bytes, at: int, bit: int) -> bytes:
    """Return the bytes with one bit turned over."""
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def flip(trials: Trials, kind: str, share: float) -> None:
    """Turn bits over, one at a time, in the files of a kind."""
    chance = random.Random(kind)
    for name in trials.specimen.named(kind):
        data = trials.specimen.files[name]
        for at in places(data, chance, share):
            # A share is one of bytes times one of bits, so that no byte is far from one that is tried.
            for bit in chance.sample(range(8), 3):
                damaged = {**trials.specimen.files, name: flipped(data, at, bit)}
                trials.run(damaged, f"bit {bit} of byte {at} of {name}", {name})


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_named_or_harmless(trials: Trials, kind: str) -> None:
    """A share of all bits, the same one every time."""
    flip(trials, kind, 8 / 3 * SHARES[trials.mode])
    assert trials.served + trials.refused > 0
    if kind == MANIFEST:
        assert trials.served == 0, "no other copy of a manifest could have served"
    if kind == "table-":
        is_alone = len(trials.specimen.named(kind)) == 1
        assert (trials.served == 0) == is_alone, "another snapshot serves, if there is one"
    if kind in (DURABLE, LOCK, RESERVE):
        assert trials.refused == 0, "nothing that is promised hangs on these alone"


def damaged_in(files: Files) -> set[str]:
    """Return the files that `journalkit verify` calls damaged."""
    try:
        found = examine(lay_out(files), STORE, deep=True)
    except CorruptionError as error:
        return {_named(error)}
    return {file.name for file in found.files if file.verdict == "damaged"}


def test_verify_sees_every_flip_that_matters(specimen: Specimen) -> None:
    """What an open may pass over, because it needs only one sound copy, a check of all has to name."""
    chance = random.Random(1)
    for kind in (MANIFEST, "log-", "table-"):
        for name in specimen.named(kind):
            data = specimen.files[name]
            for at in places(data.rstrip(b"\0"), chance, 0.07):
                files = {**specimen.files, name: flipped(data, at, chance.randrange(8))}
                assert name in damaged_in(files), f"byte {at} of {name}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_named_or_harmless(trials: Trials, kind: str) -> None:
    """A shorter file is no older one, and an empty one is not a new one."""
    for name in trials.specimen.named(kind):
        data = trials.specimen.files[name]
        for at in places(data, random.Random(kind), SHARES[trials.mode] * 2):
            trials.run({**trials.specimen.files, name: data[:at]}, f"{name} cut at {at}", {name})


@pytest.mark.parametrize("kind", KINDS)
def test_a_wiped_sector_is_named_or_harmless(trials: Trials, kind: str) -> None:
    """Zeros are what a lost sector reads as, and what the space behind a log's end is made of."""
    for name in trials.specimen.named(kind):
        data = trials.specimen.files[name]
        # Sectors as the medium has them, and smaller pieces anywhere, which a small file has more of.
        for at in [*range(0, len(data.rstrip(b"\0")), SECTOR_BYTES), *range(0, len(data.rstrip(b"\0")), 37)]:
            size = SECTOR_BYTES if at % SECTOR_BYTES == 0 else 64
            wiped = data[:at] + bytes(len(data[at : at + size])) + data[at + size :]
            trials.run({**trials.specimen.files, name: wiped}, f"{size} bytes from {at} of {name} wiped", {name})


def test_a_missing_file_is_named_or_harmless(trials: Trials) -> None:
    """A file that isn't there is not an empty one."""
    for missing in trials.specimen.files:
        files = {name: data for name, data in trials.specimen.files.items() if name != missing}
        trials.run(files, f"{missing} is missing", {missing})


def test_files_that_changed_places_are_named_or_harmless(trials: Trials) -> None:
    """Each is whole and of this store: only what it says of its place tells."""
    files = trials.specimen.files
    for first in files:
        for second in files:
            if first < second:
                swapped = {**files, first: files[second], second: files[first]}
                trials.run(swapped, f"{first} and {second} swapped", {first, second})


def test_a_file_in_the_place_of_another_is_named_or_harmless(trials: Trials) -> None:
    """The same, with the other one still there."""
    files = trials.specimen.files
    for source in files:
        for target in files:
            if source != target:
                trials.run({**files, target: files[source]}, f"{source} over {target}", {target})


def test_a_foreign_file_is_named_or_harmless(trials: Trials) -> None:
    """A file of another store with the same history. Beside a foreign manifest, it is the others that are strange."""
    foreign = make_specimen("closed", seed=4)
    for name in trials.specimen.files.keys() & foreign.files.keys():
        strange = set(trials.specimen.files) if name == MANIFEST else {name}
        trials.run({**trials.specimen.files, name: foreign.files[name]}, f"{name} of another store", strange)


def test_a_file_too_many_is_named_or_harmless(trials: Trials) -> None:
    """A copy under a name that the store hasn't used, or has long given up."""
    for kind, suffix in (("log-", ".jks"), ("table-", ".jkt")):
        for source in trials.specimen.named(kind):
            for number in (1, 7, 1 << 24):
                name = f"{kind}{number:016}{suffix}"
                if name not in trials.specimen.files:
                    files = {**trials.specimen.files, name: trials.specimen.files[source]}
                    trials.run(files, f"{source} copied to {name}", {name})


def test_a_file_of_an_earlier_moment_is_named_or_harmless(trials: Trials) -> None:
    """One file restored from a backup, the rest as it was left: nothing may go back in time."""
    names = trials.specimen.files.keys()
    for moment, earlier in enumerate(trials.specimen.earlier):
        for name in names & earlier.keys():
            files = {**trials.specimen.files, name: earlier[name]}
            trials.run(files, f"{name} as it was at moment {moment}", names | earlier.keys())
