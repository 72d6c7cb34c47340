"""Every bit of a store turned over, one at a time: named by an error, or harmless.

Two stores of exactly 64 KiB, 524,288 bits each, one that was closed and one
whose process was killed. With one bit wrong the store is opened for reading, a
share of the time for writing too, judged by the independent reader and
examined by `verify`, in the small run a share of the time. Each open gives an
error that names the file, or the whole state; a record that nobody was
promised may go with the bits that it is made of, never another one. `verify`
names the file, unless it is one that nothing hangs on. The reader says the
same as the package.

The store has two snapshots of two tables, the log behind the older one, four
segments and offsets. Of what holds nothing but zeros, the reserve and the room
prepared for the log, as much is kept as makes the 64 KiB full.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from both_readers import STORE, VERDICTS, Files, lay_out
from second_reader import READER, judge_images
from units import Goal, Outcome, Size, Unit

import journalkit
from journalkit.cli import examination
from journalkit.errors import CorruptionError, JournalError
from journalkit.format.codec import CborCodec
from journalkit.format.keys import Keyspace, encode_key, reserved_key
from journalkit.fs.memory import MemoryFileSystem
from journalkit.testing import SimulatedClock

STORE_BYTES: Final = 64 * 1024
KINDS: Final = ("closed", "killed")
WINDOW_BYTES: Final = 64
BITS_OF_A_WINDOW: Final = 15
"""In the CI size: of each 64 bytes, 15 of the 512 bits, so that no structure is left out."""
PARTS: Final[dict[Size, int]] = {"ci": 4, "full": 64}
WRITTEN_ONE_OF: Final = 32
EXAMINED_ONE_OF: Final[dict[Size, int]] = {"ci": 3, "full": 1}
FAILURES_TOLD: Final = 10

CARRIES_NOTHING: Final = ("LOCK", "reserve", "durable")
"""What `verify` may pass over in silence: the state hangs on none of them alone."""
FRAME_HEADER_BYTES: Final = 40
LOCK_WORDS: Final = b'{"who": "nobody"}'

GOALS = (
    Goal("flips", "single-bit flips over a 64 KiB store", 30_000, 524_288),
    Goal("flips, closed", "of these, of a store that was closed", 15_000, 524_288),
    Goal("flips, killed", "of these, of a store whose process was killed", 15_000, 524_288),
    Goal("flips, examined", "of these, examined by `verify`", 9_500, 524_288),
    Goal("flips, written", "of these, opened for writing as well", 800, 30_000),
)


@dataclass(slots=True)
class Specimen:
    """A store's files and what they hold: the model's word, not the store's.

    `weak` is the range of bytes of the one record that nobody was promised,
    and of the zeros behind it; without it the state is `promised`.
    """

    files: dict[str, bytes]
    state: dict[Any, Any]
    lsn: int
    weak: tuple[str, range] = ("", range(0))
    promised: dict[Any, Any] = field(default_factory=dict)


def make(kind: str) -> Specimen:
    """Make one of the two stores, always the same."""
    fs, clock, chance = MemoryFileSystem(), SimulatedClock(seed=5), random.Random(7)
    model: dict[Any, Any] = {}
    store = journalkit.open(
        STORE, fs=fs, clock=clock, compaction="manual", keep_snapshots=2, segment_bytes_max=6000, metadata={"for": kind}
    )

    def put(key: Any, value: Any) -> None:
        store[key] = model[key] = value

    for number in range(52):
        put(("row", number), {"text": chance.randbytes(190).hex(), "at": number})
    store.compact()
    for number in range(0, 24, 2):
        put(("row", number), [number, chance.randbytes(300), (1, frozenset({2}))])
        del store["row", number + 1], model["row", number + 1]
    store.compact()
    put(b"moment", datetime(2026, 3, 29, 1, 30, tzinfo=UTC))
    put(-(2**70), Decimal("1.10"))
    with store.transaction() as changes:
        changes["done"] = model["done"] = None
        changes.offsets["in"] = 7
    model[READER.Reserved("offsets", "in")] = 7
    for number in range(32):
        put(f"late {number}", chance.randbytes(400))
    return _closed(fs, store, model) if kind == "closed" else _killed(fs, store, model)


def _closed(fs: MemoryFileSystem, store: journalkit.Store, model: dict[Any, Any]) -> Specimen:
    store.close()
    files = _take(fs)
    room = STORE_BYTES - sum(len(data) for name, data in files.items() if name != "reserve")
    files["reserve"] = bytes(room)
    return Specimen(files, model, store.lsn, promised=model)


def _killed(fs: MemoryFileSystem, store: journalkit.Store, model: dict[Any, Any]) -> Specimen:
    promised, last = dict(model), judge_images(_take(fs)).records[-1]
    store.put("weak", "nobody was told that this is durable", sync="never")
    model["weak"] = "nobody was told that this is durable"
    files, lsn = _take(fs), store.lsn
    store.close()
    files["reserve"] = bytes(256)
    files[last.file] = files[last.file].rstrip(b"\0")
    files[last.file] += bytes(STORE_BYTES - sum(map(len, files.values())))
    begins = last.offset + FRAME_HEADER_BYTES + len(last.payload)
    return Specimen(files, model, lsn, (last.file, range(begins, len(files[last.file]))), promised)


def _take(fs: MemoryFileSystem) -> dict[str, bytes]:
    files = {}
    for name in fs.list(STORE):
        file = fs.open_read(f"{STORE}/{name}")
        files[name] = LOCK_WORDS if name == "LOCK" else bytes(file.pread(file.size(), 0))
    return files


# --- One flip


class Place(NamedTuple):
    """A bit to turn over, and how to look beside opening for reading."""

    name: str
    at: int
    bit: int
    write: bool = False
    examine: bool = True


@dataclass(slots=True)
class Trials:
    """A specimen on a file system, and what came of its flips."""

    specimen: Specimen
    unit: str = ""
    outcome: Outcome = field(default_factory=Outcome)
    judge: Callable[[Files], Any] = judge_images
    fs: MemoryFileSystem = field(init=False)
    encoded: dict[int, dict[bytes, bytes]] = field(init=False)

    def __post_init__(self) -> None:
        self.fs = lay_out(self.specimen.files)
        states = {self.specimen.lsn - 1: self.specimen.promised, self.specimen.lsn: self.specimen.state}
        encode = CborCodec().encode
        self.encoded = {
            lsn: {_encoded_key(key): encode(value) for key, value in state.items()} for lsn, state in states.items()
        }

    def flip(self, place: Place) -> None:
        """Turn one bit over, look at the store in every way, and turn it back."""
        name, at, bit = place.name, place.at, place.bit
        right = self.specimen.files[name]
        wrong = right[:at] + bytes((right[at] ^ 1 << bit,)) + right[at + 1 :]
        files = {**self.specimen.files, name: wrong}
        file = self.fs.open_write(f"{STORE}/{name}")
        file.pwrite(wrong[at : at + 1], at)
        try:
            complaints = list(self._complaints(place, files))
        except Exception as error:  # noqa: BLE001 - whatever else is raised is a finding, and told as one
            complaints = [f"an exception that is none of the contract: {error!r}"]
        finally:
            file.pwrite(right[at : at + 1], at)
        self.outcome.add("flips")
        for complaint in complaints:
            self.outcome.add("complaints")
            if len(self.outcome.failures) < FAILURES_TOLD:
                where = f"bit {bit} of byte {at} of {name}"
                self.outcome.failures.append(
                    f"{where}: {complaint}\n  again: python tests/proof unit flips {self.unit}"
                )

    def _complaints(self, place: Place, files: Files) -> Iterator[str]:
        name, at = place.name, place.at
        state, lsn, error = self._read(self.fs)
        yield from self._wrong(name, at, state, lsn, error)
        self.outcome.add("refused" if error else "served")
        judgement = self.judge(files)
        if judgement.verdict == "sound" and name not in CARRIES_NOTHING:
            yield "the independent reader passes over it in silence"
        if place.examine:
            self.outcome.add("flips, examined")
            verdict, named = self._verify()
            if verdict == "sound" and name not in CARRIES_NOTHING:
                yield "verify passes over it in silence"
            if verdict != "sound" and named != {name}:
                yield f"verify calls it {verdict!r} and names {sorted(named)}"
            if VERDICTS.get(judgement.verdict, judgement.verdict) != verdict:
                yield f"verify calls it {verdict!r}, the independent reader {judgement.verdict!r}: {judgement.findings}"
        if judgement.state is None:
            if not error or judgement.refusal.file != name:
                yield f"the independent reader refuses it, an open says {error!r}: {judgement.refusal}"
        elif error or judgement.last_lsn != lsn or judgement.state != self.encoded.get(lsn):
            yield f"the independent reader serves LSN {judgement.last_lsn}, an open {error or lsn!r}"
        if place.write:
            self.outcome.add("flips, written")
            yield from self._write(name, at, files, state, lsn, error)

    def _wrong(self, name: str, at: int, state: dict[Any, Any], lsn: int, error: str) -> Iterator[str]:
        """Complain unless this is an error that names the file, or a state that may be."""
        specimen = self.specimen
        if error:
            if error != name:
                yield f"the error names {error}"
        elif (state, lsn) != (specimen.state, specimen.lsn):
            weak_file, weak = specimen.weak
            if (state, lsn, name) != (specimen.promised, specimen.lsn - 1, weak_file) or at not in weak:
                wrong = [key for key in {**state, **specimen.state} if state.get(key) != specimen.state.get(key)]
                yield f"wrong data at LSN {lsn} instead of {specimen.lsn}; keys that differ: {wrong[:5]}"

    def _read(self, fs: MemoryFileSystem) -> tuple[dict[Any, Any], int, str]:
        """Return the state and the LSN that opening for reading shows, or the file that its error names."""
        try:
            with journalkit.open(STORE, mode="r", fs=fs, clock=SimulatedClock(seed=1)) as store:
                return _state(store), store.lsn, ""
        except CorruptionError as error:
            return {}, 0, error.path.rpartition("/")[2] or "a file without a name"

    def _verify(self) -> tuple[str, set[str]]:
        try:
            found = examination.examine(self.fs, STORE, deep=True)
        except CorruptionError as error:
            return "damaged", {error.path.rpartition("/")[2]}
        return found.verdict, {file.name for file in found.files if file.verdict != "sound"}

    def _write(self, name: str, at: int, files: Files, state: dict[Any, Any], lsn: int, error: str) -> Iterator[str]:
        """Open a copy for writing, commit once more, and look again: what was harmless stays so."""
        fs, clock = lay_out(files), SimulatedClock(seed=2)
        try:
            with journalkit.open(STORE, fs=fs, clock=clock, compaction="manual", create=False) as store:
                yield from self._wrong(name, at, _state(store), store.lsn, "")
                if error or store.lsn != lsn:
                    yield f"opened for writing it is at LSN {store.lsn}; for reading it was {error or lsn!r}"
                store["k"] = "behind it"
        except CorruptionError as refused:
            yield from self._wrong(name, at, {}, 0, refused.path.rpartition("/")[2])
            if not error:
                yield f"refused for writing, and not for reading: {refused}"
            return
        except JournalError as refused:
            yield f"refused for writing with {refused!r}"
            return
        after, after_lsn, after_error = self._read(fs)
        if after_error or (after, after_lsn) != (state | {"k": "behind it"}, lsn + 1):
            yield f"after the next commit it is at LSN {after_lsn}, {after_error!r}"


def _encoded_key(key: Any) -> bytes:
    return reserved_key(Keyspace.OFFSETS, key.name) if isinstance(key, READER.Reserved) else encode_key(key)


def _state(store: journalkit.Store) -> dict[Any, Any]:
    return dict(store.items()) | {READER.Reserved("offsets", name): value for name, value in store.offsets.items()}


# --- The units


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return parts of both stores, each a share of all windows."""
    parts = PARTS[size]
    return [
        Unit(
            f"{kind}-{part + 1}-of-{parts}",
            {"kind": kind, "part": part, "parts": parts, "seed": seed, "size": size},
            timeout_s=900,
        )
        for kind in KINDS
        for part in range(parts)
    ]


def places(specimen: Specimen, part: int, parts: int, size: Size, seed: int) -> Iterator[Place]:
    """Yield the bits of one part of all."""
    everything = [(name, at) for name, data in specimen.files.items() for at in range(len(data))]
    windows = [everything[at : at + WINDOW_BYTES] for at in range(0, len(everything), WINDOW_BYTES)]
    for number in range(part, len(windows), parts):
        chance = random.Random(f"{seed} {number}")
        bits = range(8 * len(windows[number]))
        for place in bits if size == "full" else sorted(chance.sample(bits, BITS_OF_A_WINDOW)):
            name, at = windows[number][place // 8]
            write, examine = chance.randrange(WRITTEN_ONE_OF) == 0, chance.randrange(EXAMINED_ONE_OF[size]) == 0
            yield Place(name, at, place % 8, write, examine)


def prove(unit: Unit) -> Outcome:
    """Flip the bits of one part."""
    kind, size, seed = unit.arguments["kind"], unit.arguments["size"], unit.arguments["seed"]
    trials = Trials(make(kind), f"{unit.name} --size {size} --seed {seed}")
    for place in places(trials.specimen, unit.arguments["part"], unit.arguments["parts"], size, seed):
        trials.flip(place)
    trials.outcome.add(f"flips, {kind}", trials.outcome.counts["flips"])
    return trials.outcome
