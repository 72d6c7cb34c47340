"""The oracle: is what a store opens to what it had promised? It stands outside of the store.

It holds a store, after whatever happened to it, against a `History`: the state
is the fold of the first n commits, acknowledged <= n <= submitted, and n is the
LSN; looking changed nothing; opening for writing finds the same, and so does
whoever opens next; `verify` says so too; the next commit has LSN n + 1 and is
there after the next power cut. It shares no code with recovery: it replays
commits that it was told of, and asks the store through its public interface.

`judge` works on any file system. On a `SimulatedDisk` the process that opened
for writing ends in a power cut that keeps nothing; elsewhere it closes.
"""

from __future__ import annotations

import contextlib
import functools
import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from unittest import mock

from history import STORE, Commit, History, State, short
from readings import Readings, Sight
from still import Still, left, seen

import journalkit
from journalkit import ABSENT, manifest
from journalkit.cli import examination
from journalkit.clock import Clock
from journalkit.errors import JournalError, StoreNotFoundError
from journalkit.fs.interface import FileSystem, ReadableFileSystem
from journalkit.testing import SimulatedClock, SimulatedDisk

__all__ = ["STORE", "Commit", "History", "Judgement", "State", "files_of", "judge", "judged", "opened"]

SecondOracle: TypeAlias = Callable[[Mapping[str, bytes], History, tuple[str, ...]], list[str]]
"""An independent reader: given a store's files, its history and the verdicts allowed, it returns complaints."""

EXTRA: Final = "oracle: written behind everything that was recovered"
_ALLOWED_BEFORE: Final = ("sound", "torn tail")


class Judgement(NamedTuple):
    """What was wrong, and at which LSN the store opened; None if it didn't, or there is none yet."""

    complaints: list[str]
    lsn: int | None


def judged(
    fs: FileSystem,
    path: str,
    history: History,
    *,
    second_oracle: SecondOracle | None = None,
    thorough: bool = True,
    readings: Readings | None = None,
    seed: int = 0,
) -> Judgement:
    """Return what is wrong with the store at `path`. It is written to, and closed afterwards.

    Args:
        fs: Where the store is.
        path: Its directory.
        history: What was asked of it and promised.
        second_oracle: Asked as well, before and after, if there is one.
        thorough: Ask `verify` and the second oracle too, and open a second time before writing.
        readings: Unless thorough, and on a simulated disk: what readers saw so far in this history's stores,
            who then aren't opened again where the disk would answer them the same.
        seed: Of the clock that the openings are given.
    """
    court = _Court(fs, path, history, seed ^ 0x0DAC1E, second_oracle if thorough else None, readings or Readings())
    lsn: int | None = None
    try:
        lsn = court.hold() if thorough else court.hold_briefly()
    except _RefusedError as refused:
        court.complaints.append(str(refused))
    except Exception:  # noqa: BLE001 - whatever else is raised is a finding, and told as one
        court.complaints.append(f"an exception that is none of the contract:\n{traceback.format_exc(limit=-6)}")
    return Judgement(court.complaints, lsn)


def judge(fs: FileSystem, path: str, history: History, *, thorough: bool = True) -> list[str]:
    """Return what is wrong with the store at `path`, [] if nothing is: for who needs no more than that."""
    return judged(fs, path, history, thorough=thorough).complaints


def files_of(fs: ReadableFileSystem, path: str) -> dict[str, bytes]:
    """Return every file below a directory by its path relative to it."""
    found: dict[str, bytes] = {}
    for name in fs.list(path):
        place = os.path.join(path, name)
        status = fs.status(place)
        if status is not None and status.is_directory:
            found |= {f"{name}/{below}": data for below, data in files_of(fs, place).items()}
            continue
        file = fs.open_read(place)
        try:
            found[name] = bytes(file.pread(file.size(), 0))
        finally:
            file.close()
    return found


@contextlib.contextmanager
def manifests_remembered() -> Iterator[None]:
    """Decode equal manifests once: an open reads it three times, and thousands of disks have the same."""
    known = functools.lru_cache(maxsize=1024)(manifest.decode_manifest)
    with mock.patch.object(manifest, "decode_manifest", known):
        yield


def opened(
    fs: ReadableFileSystem,
    path: str,
    history: History,
    mode: Literal["rw", "r"] = "rw",
    *,
    clock: Clock | None = None,
    seed: int = 0,
) -> Any:
    """Open the store or the journal at a path, as the history says, without threads of its own."""
    hands = clock if clock is not None else SimulatedClock(seed=seed)
    if history.kind == "journal":
        return journalkit.open_journal(path, mode=mode, fs=fs, clock=hands)
    return journalkit.open(path, mode=mode, compaction="manual", fs=fs, clock=hands)


class _RefusedError(Exception):
    """The store didn't open: nothing further can be asked."""


@dataclass
class _Court:
    """One case."""

    fs: FileSystem
    path: str
    history: History
    seed: int
    second_oracle: SecondOracle | None
    readings: Readings
    complaints: list[str] = field(default_factory=list)
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = SimulatedClock(seed=self.seed)

    def hold(self) -> int | None:
        """Hear everybody; return the LSN that the store opened with, None if there was none yet."""
        with self._unchanged():
            found = self._look(self.fs, "as it was found")
            self._verify(self.fs, _ALLOWED_BEFORE, "as it was found", exists=found is not None)
        with self._writing(self.fs) as store:
            lsn = self._as_found(store, found)
        after = _left_by_writer(self.fs)
        with self._writing(after) as store:
            again = self._legal(self._sight(store), "opened a second time", knows_metadata=found is not None)
            if again != lsn:
                self._say(f"the second open is at LSN {again}, the first was at {lsn}")
            self._append(store, again)
        after = _left_by_writer(after)
        self._read_back(after, lsn)
        self._verify(after, ("sound",), "after the next commit", exists=True)
        return lsn if found is not None else None

    def hold_briefly(self) -> int | None:
        """Hear a reader, the next writer, which commits once more, and a reader behind it; return as `hold` does."""
        fs = self.fs
        # On a simulated disk readers get names and bytes and nothing to write with: no need to see that they didn't.
        is_simulated = isinstance(fs, SimulatedDisk)
        with contextlib.nullcontext() if is_simulated else self._unchanged():
            found = self._look(seen(fs) if isinstance(fs, SimulatedDisk) else fs, "as it was found")
        with self._writing(fs) as store:
            lsn = self._as_found(store, found)
            self._append(store, lsn)
        self._read_back(left(fs) if isinstance(fs, SimulatedDisk) else fs, lsn)
        return lsn if found is not None else None

    def _sight(self, store: Any) -> Sight:
        return Sight.of(store, self.history.kind)

    def _as_found(self, store: Any, found: int | None) -> int:
        lsn = self._legal(self._sight(store), "opened for writing", knows_metadata=found is not None)
        if found is not None and lsn != found:
            self._say(f"opened for writing it is at LSN {lsn}, a reader before it found {found}")
        return lsn

    # -- opening --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _writing(self, fs: FileSystem) -> Iterator[Any]:
        """Open for writing; on a simulated disk the process is gone afterwards, elsewhere the store is closed."""
        try:
            store = opened(fs, self.path, self.history, clock=self.clock)
        except JournalError as error:
            raise _RefusedError(f"the open for writing was refused: {_named(error)}") from error
        yield store
        if isinstance(fs, SimulatedDisk):
            store.forbid()  # what a handle is told in a child: it neither closes nor warns
        else:
            store.close()

    @contextlib.contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Hold that looking changes nothing: no operation on a simulated disk, no byte elsewhere."""
        before = self._trace()
        yield
        if self._trace() != before:
            self._say("looking at the store changed it")

    def _trace(self) -> object:
        if isinstance(self.fs, SimulatedDisk):
            return self.fs.operation_count
        return files_of(self.fs, self.path) if self.fs.status(self.path) is not None else None

    # -- what must hold -------------------------------------------------------------------------

    def _look(self, fs: ReadableFileSystem, when: str) -> int | None:
        """Read the store as a reader does; return its LSN, None if there rightly is none."""
        try:
            return self._legal(self._read(fs), f"read {when}", knows_metadata=True)
        except StoreNotFoundError as error:
            if self.history.exists:
                raise _RefusedError(f"there was a store, and now there is none: {error}") from error
            return None
        except JournalError as error:
            raise _RefusedError(f"a reader was refused, {when}: {_named(error)}") from error

    def _read(self, fs: ReadableFileSystem) -> Sight:
        """Open for reading, unless the same answers to the same questions were seen already; return what is seen."""

        def read(files: ReadableFileSystem) -> Sight:
            # A clock of its own: what a reading comes to is decided by the files.
            with opened(files, self.path, self.history, "r", seed=self.seed) as store:
                return Sight.of(store, self.history.kind)

        return self.readings.of(fs, read) if isinstance(fs, Still) else read(fs)

    def _legal(self, found: Sight, when: str, *, knows_metadata: bool) -> int:
        """Hold the promise: a prefix of what was submitted with all in it that was acknowledged. Return its length."""
        history, lsn = self.history, found.lsn
        if not history.acknowledged <= lsn <= history.submitted:
            self._say(
                f"{when} it is at LSN {lsn}; {history.acknowledged} were acknowledged, {history.submitted} submitted"
            )
        if lsn <= history.submitted:
            self._compare(found, history.state(lsn), f"{when}, at LSN {lsn},")
        if found.fell_back:
            self._say(f"{when} a snapshot was passed over, and nothing of what was promised is damaged")
        if found.durable_lsn > lsn:
            self._say(f"{when} it says that LSN {found.durable_lsn} is durable, and ends at {lsn}")
        if knows_metadata and history.kind == "store" and found.metadata != dict(history.metadata):
            self._say(f"{when} its metadata are {found.metadata!r}, not {dict(history.metadata)!r}")
        return lsn

    def _compare(self, found: Sight, expected: State, when: str) -> None:
        if self.history.kind == "journal":
            if found.pruned_lsn > self.history.pruned_at_most:
                self._say(f"{when} LSN {found.pruned_lsn} is pruned; at most {self.history.pruned_at_most} may be")
            kept = {lsn: value for lsn, value in expected.entries.items() if lsn > found.pruned_lsn}
            expected = State(kept, expected.offsets)
        if found.state != expected:
            self._say(f"{when} its state isn't the fold of the commits: {_difference(found.state, expected)}")

    def _append(self, store: Any, lsn: int) -> None:
        """Commit one more, durably: its LSN is the next, so none that was promised is used again."""
        given = store.append(EXTRA) if self.history.kind == "journal" else store.put(EXTRA, lsn)
        if (given, store.durable_lsn) != (lsn + 1, lsn + 1):
            self._say(f"behind LSN {lsn} the next commit got LSN {given}, durable to {store.durable_lsn}")

    def _read_back(self, fs: ReadableFileSystem, lsn: int) -> None:
        """Find the commit behind what was recovered, and all of that too."""
        if lsn > self.history.submitted:
            return
        state = self.history.state(lsn)
        extra = {lsn + 1: EXTRA} if self.history.kind == "journal" else {EXTRA: lsn}
        try:
            found = self._read(fs)
            if found.lsn != lsn + 1:
                self._say(f"behind LSN {lsn} one more commit was durable, and the store ends at LSN {found.lsn}")
            self._compare(found, State(state.entries | extra, state.offsets), "after the next commit")
        except JournalError as error:
            raise _RefusedError(f"a reader was refused after the next commit: {_named(error)}") from error

    def _verify(self, fs: FileSystem, allowed: tuple[str, ...], when: str, *, exists: bool) -> None:
        """Hear `verify`, and the second oracle if there is one."""
        if not exists:
            return
        try:
            found = examination.examine(fs, self.path, deep=True)
        except JournalError as error:
            self._say(f"verify was refused, {when}: {_named(error)}")
            return
        if found.verdict not in allowed:
            told = "; ".join(f"{file.name}: {file.reason}" for file in found.files if file.verdict != "sound")
            self._say(f"verify calls the store {found.verdict!r}, {when}: {told}")
        if self.second_oracle is not None:
            for complaint in self.second_oracle(files_of(fs, self.path), self.history, allowed):
                self._say(f"the independent reader, {when}: {complaint}")

    def _say(self, complaint: str) -> None:
        self.complaints.append(complaint)


def _left_by_writer(fs: FileSystem) -> FileSystem:
    """Return what the next process finds behind a writer: what is durable, or what a close left."""
    return fs.crash("none") if isinstance(fs, SimulatedDisk) else fs


def _difference(found: State, expected: State) -> str:
    """Return the first few differences between two states."""
    told: list[str] = []
    for what, mine, theirs in (("", found.entries, expected.entries), ("offset ", found.offsets, expected.offsets)):
        keys = [key for key in {**theirs, **mine} if mine.get(key, ABSENT) != theirs.get(key, ABSENT)]
        told += [
            f"{what}{key!r} is {short(mine.get(key, ABSENT))}, not {short(theirs.get(key, ABSENT))}" for key in keys
        ]
    return "; ".join(told[:4]) + ("; ..." if len(told) > 4 else "")


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
