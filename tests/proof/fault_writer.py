"""The process that faults happen to: it writes, folds, closes and reopens a store, and says what it was promised.

`Life` forks it. It says each thing as a line on a pipe, with the value that a
shared counter had at that moment: at which operation of the disk below it was
promised. `Story` makes of what lives said the oracle's `History` as of any
such operation.

An error that the contract names is answered as a program should: after
`StoreFullError` it goes on with the same handle, after `StorageError` it reads,
closes and opens again. Anything else that is raised, and anything that a read
shows wrongly, is said as a fault.
"""

from __future__ import annotations

import ast
import errno
import gc
import os
import random
import select
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple, NoReturn

from fuse_daemon import Counter
from history import History
from mounts import die_with_parent
from oracle import judge

import journalkit
from journalkit.errors import CorruptionError, StorageError, StoreFullError
from journalkit.fs.posix import PosixFile, PosixFileSystem

Canary = Literal["", "early", "unsynced", "unnamed", "deaf"]
"""A defect to be found: told before it is written, bytes never synced, names never synced, errors of a sync ignored."""

KEYS: Final = 12
_REOPENS_MAX: Final = 3
_SYNC_SHARE: Final = 0.08
_FULL_MAX: Final = 8


class TrustedFileSystem(PosixFileSystem):
    """The machine's own, which takes every mount at its word: what a FUSE daemon does here is the point."""

    def filesystem_type(self, path: str) -> str:
        """Name one that can be trusted."""
        return "ext4"


class UnsyncedFileSystem(TrustedFileSystem):
    """A canary: contents are never synced."""

    def create(self, path: str) -> PosixFile:
        """Create a file whose syncs do nothing."""
        file = super().create(path)
        file.sync_data = lambda: None
        file.sync = lambda: None  # type: ignore[method-assign]
        return file


class UnnamedFileSystem(TrustedFileSystem):
    """A canary: names are never synced."""

    def sync_directory(self, path: str) -> None:
        """Do nothing."""


class DeafFileSystem(TrustedFileSystem):
    """A canary: a sync that fails is taken for one that worked."""

    def create(self, path: str) -> PosixFile:
        """Create a file whose syncs never fail."""
        file = super().create(path)
        sync_data, sync = file.sync_data, file.sync
        file.sync_data = lambda: _ignoring(sync_data)
        file.sync = lambda: _ignoring(sync)  # type: ignore[method-assign]
        return file


def _ignoring(sync: Callable[[], None]) -> None:
    with suppress(OSError):
        sync()


FILE_SYSTEMS: Final[dict[Canary, type[TrustedFileSystem]]] = {
    "": TrustedFileSystem,
    "early": TrustedFileSystem,
    "unsynced": UnsyncedFileSystem,
    "unnamed": UnnamedFileSystem,
    "deaf": DeafFileSystem,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a life does: so many steps, by a seed."""

    path: str
    seed: int
    steps: int = 40
    value_bytes_max: int = 3000
    segment_bytes_max: int = 8192
    keep_snapshots: int = 2
    fold_share: float = 0.08
    reopen_share: float = 0.03
    weak_share: float = 0.2
    canary: Canary = ""


class Event(NamedTuple):
    """Something that a life said: which LSN it is about, and the counter's value at that moment."""

    word: str
    lsn: int
    count: int
    text: str

    @classmethod
    def parse(cls, line: str) -> Event:
        """Read a line."""
        word, lsn, count, text = line.split(" ", 3)
        return cls(word, int(lsn), int(count), ast.literal_eval(text))


def changes_of(seed: int, opening: int, lsn: int, value_bytes_max: int) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return the changes and offsets of a commit: the same LSN, asked for again later, has others."""
    chance = random.Random(seed << 32 | opening << 16 | lsn)
    changes: dict[Any, Any] = {}
    for _ in range(chance.choice((1, 1, 1, 3))):
        size = chance.randrange(value_bytes_max) if chance.random() < 0.3 else chance.randrange(120)
        key = ("key", chance.randrange(KEYS))
        changes[key] = journalkit.ABSENT if chance.random() < 0.15 else [lsn, opening, chance.randbytes(size)]
    return changes, {"input": lsn}


class Writer:
    """A life from within."""

    def __init__(self, plan: Plan, pipe: int, counter: Counter | None) -> None:
        self._plan = plan
        self._pipe = pipe
        self._counter = counter
        self._chance = random.Random(plan.seed)
        self._opening = 0
        self._shown: dict[Any, Any] = {}
        self._full = 0

    def say(self, word: str, lsn: int = 0, text: str = "", *, count: int | None = None) -> None:
        """Tell the parent."""
        now = count if count is not None else self._counter.value if self._counter else 0
        os.write(self._pipe, f"{word} {lsn} {now} {text!r}\n".encode())

    def run(self) -> None:
        """Live until the plan is done, or there is no way to go on."""
        left = self._plan.steps
        for _ in range(_REOPENS_MAX + int(left * self._plan.reopen_share * 3)):
            try:
                left = self._session(left)
            except StoreFullError as error:
                self.say("full", text=str(error))
            except StorageError as error:
                self.say("failed", text=str(error))
            except CorruptionError as error:
                # What a device can't give back is damaged, and an open says so; any other damage is a fault.
                if not (isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO):
                    raise
                self.say("failed", text=str(error))
            if left <= 0:
                break
        self.say("done")

    def _session(self, left: int) -> int:
        """Open the store, take some steps, close it; return how many are left."""
        plan = self._plan
        store = journalkit.open(
            plan.path,
            fs=FILE_SYSTEMS[plan.canary](),
            compaction="manual",
            segment_bytes_max=plan.segment_bytes_max,
            keep_snapshots=plan.keep_snapshots,
        )
        self._opening += 1
        self.say("open", store.lsn, str(self._opening))
        try:
            self._shown = dict(store.items())
            while left > 0:
                left -= 1
                if not self._step(store):
                    break
        except StorageError as error:
            self.say("failed", store.lsn, str(error))
            self._read_on(store)
        finally:
            store.close()
        self.say("closed")
        return left

    def _step(self, store: journalkit.Store) -> bool:
        """Do one thing; return whether the store stays open."""
        plan = self._plan
        shares = (plan.fold_share, plan.reopen_share, _SYNC_SHARE, plan.weak_share)
        throw = self._chance.choices(("fold", "reopen", "sync", "never", "always"), (*shares, 1 - sum(shares)))[0]
        try:
            if throw == "fold":
                store.compact()
            elif throw == "reopen":
                return False
            elif throw == "sync":
                store.sync()
            else:
                self._commit(store, "never" if throw == "never" else "always")
        except StoreFullError as error:
            self.say("full", text=str(error))
            self._full += 1
            self._read_on(store)
            return self._full < _FULL_MAX
        self.say("ack", store.durable_lsn)
        return True

    def _commit(self, store: journalkit.Store, sync: journalkit.Sync) -> None:
        lsn = store.lsn + 1
        changes, offsets = changes_of(self._plan.seed, self._opening, lsn, self._plan.value_bytes_max)
        batch = journalkit.Batch()
        batch.changes.extend(changes.items())
        batch.offsets.update(offsets)
        self.say("submit", lsn)
        if self._plan.canary == "early":
            self.say("ack", lsn)
        try:
            given = store.write(batch, sync=sync)
        except StoreFullError:
            self.say("withdrawn", lsn)
            raise
        if given != lsn:
            self.say("fault", text=f"the commit behind LSN {lsn - 1} got LSN {given}")
        for key, value in changes.items():
            if value is journalkit.ABSENT:
                self._shown.pop(key, None)
            else:
                self._shown[key] = value

    def _read_on(self, store: journalkit.Store) -> None:
        """After an error, read: everything that was shown before is still shown, and nothing else."""
        try:
            found = dict(store.items())
        except StorageError as error:
            self.say("failed", store.lsn, f"reading: {error}")
            return
        self.say("read", store.lsn)
        if found != self._shown:
            wrong = [key for key in {**found, **self._shown} if found.get(key) != self._shown.get(key)]
            self.say("fault", text=f"after an error reads show {len(wrong)} keys wrongly, {wrong[0]!r} among them")


class Life:
    """A forked process that lives by a plan."""

    def __init__(self, plan: Plan, counter: str | None = None, *, is_held: bool = False) -> None:
        """Start it; one that is held begins when it is told to `go`."""
        self.plan = plan
        self._pipe, pipe = os.pipe()
        waiting, self._hold = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _be(plan, pipe, waiting, counter, (self._pipe, self._hold))
        os.close(pipe)
        os.close(waiting)
        os.read(self._pipe, 1)  # from here on it does nothing but wait: what is aimed at it hits what it is asked to do
        if not is_held:
            self.go()

    def go(self) -> None:
        """Let it begin."""
        os.close(self._hold)

    def kill(self) -> None:
        """End it as nothing else does."""
        os.kill(self.pid, signal.SIGKILL)

    def finish(self, timeout_s: float = 30.0) -> list[Event]:
        """Wait for its end and return what it said; a life that doesn't end is killed, and that is a fault."""
        said, deadline_s = bytearray(), time.monotonic() + timeout_s
        while select.select([self._pipe], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
            part = os.read(self._pipe, 1 << 16)
            if not part:
                break
            said += part
        else:
            self.kill()
        is_late = time.monotonic() >= deadline_s
        os.close(self._pipe)
        _, status = os.waitpid(self.pid, 0)
        events = [Event.parse(line) for line in said.decode().splitlines()]
        if is_late:
            events.append(Event("fault", 0, events[-1].count if events else 0, f"hung: nothing more in {timeout_s} s"))
        elif not os.WIFSIGNALED(status) and (not events or events[-1].word not in ("done", "fault")):
            events.append(Event("fault", 0, 0, f"the process ended with status {status} and didn't say why"))
        return events


def _be(plan: Plan, pipe: int, hold: int, counter: str | None, not_ours: tuple[int, ...]) -> NoReturn:
    try:
        die_with_parent()
        gc.freeze()
        for descriptor in not_ours:
            os.close(descriptor)
        writer = Writer(plan, pipe, Counter(counter) if counter else None)
        os.write(pipe, b"+")
        os.read(hold, 1)
        try:
            writer.run()
        except BaseException:  # noqa: BLE001 - whatever it is, the parent has to hear of it
            writer.say("fault", text=traceback.format_exc(limit=-8))
    finally:
        os._exit(0)


@dataclass
class Story:
    """What lives said, one after the other: the history as of any value of the counter."""

    base: History
    seed: int
    value_bytes_max: int
    events: list[Event] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """What was wrong already while they lived."""
        return [event.text for event in self.events if event.word == "fault"]

    def at(self, count: float) -> History:
        """Return the history as of the time when the counter had this value: what was said by then counts."""
        history = replace(self.base, _commits=list(self.base.commits), _states=[self.base.state(0)])
        opening = 0
        for event in self.events:
            if event.count > count:
                continue
            if event.word == "open":
                history.reopened(event.lsn)
                opening += 1
            elif event.word == "submit":
                history.submit(*changes_of(self.seed, opening, event.lsn, self.value_bytes_max))
            elif event.word == "withdrawn":
                history.withdraw()
            elif event.word == "ack":
                history.acknowledge(event.lsn)
        return history

    def tell(self, count: float, last: int = 12) -> str:
        """Return the last things that were said by then, a line each."""
        said = [event for event in self.events if event.count <= count][-last:]
        return "\n".join(f"  at {event.count}: {event.word} {event.lsn or ''} {event.text[:300]}" for event in said)


def lived(plan: Plan, base: History, events: list[Event]) -> Story:
    """Return the story of one life on top of a history."""
    return Story(replace(base, path=plan.path), plan.seed, plan.value_bytes_max, events)


def complaints_of(path: str, story: Story, count: float) -> list[str]:
    """Return what is wrong with what was left at a path, after what had been promised when the counter was there."""
    try:
        history = story.at(count)
    except AssertionError as contradiction:
        return [str(contradiction)]
    history.path = path
    return judge(TrustedFileSystem(), path, history)
