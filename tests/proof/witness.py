"""What the threads of a scene saw, and whether a store may show them that.

Threads run one at a time, so the order in which the witness writes things down
is the order in which they happened. Everything that was acknowledged before an
operation began must be seen by it. Each reader goes forwards through the states
of the log, never back.

The judge knows commits, not files: the state at LSN n is the fold of the first
n commits by the LSNs that they were given. Where a commit's outcome was unknown
to its caller, each place that it may have taken is tried.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from scheduled_files import Medium
from scheduled_threads import Threads

import journalkit
from journalkit import ABSENT
from journalkit.errors import ClosedError, ConflictError, JournalError, StorageError, StoreFullError
from journalkit.testing import SimulatedClock, SimulatedDisk

State: TypeAlias = dict[Any, Any]
Outcome: TypeAlias = Literal["under way", "acknowledged", "refused", "unknown"]

STORE: Final = "/store"
PLACE: Final = object()
"""Stands for a commit's own LSN: what a record of a journal is found by."""
_ZEROS: Final = bytes(4096)


@dataclass(slots=True)
class Attempt:
    """One commit as its caller saw it. `read` is what it stood on: true at the LSN before its own."""

    thread: str
    changes: Mapping[Any, Any]
    is_strong: bool
    read: Mapping[Any, Any] = field(default_factory=dict)
    outcome: Outcome = "under way"
    lsn: int = 0

    def __str__(self) -> str:
        changes = ", ".join(f"{'' if key is PLACE else f'{key}='}{value:.20}" for key, value in self.changes.items())
        return f"{self.thread}: {changes} ({'always' if self.is_strong else 'never'}) {self.outcome} at LSN {self.lsn}"


@dataclass(frozen=True, slots=True)
class Seen:
    """One read: `got` is what came, of one key or as a whole state; `lsn` where the store said it stood, if it did.

    `least_lsn` was acknowledged before it began; `durable_to` is what a power
    cut right after it would have left; `durable_lsn` what the reader was told of that, None where it may see nothing
    that isn't durable though somebody asked for that.
    """

    thread: str
    what: str
    got: State
    is_whole: bool
    lsn: int | None
    least_lsn: int
    durable_to: Recovered
    durable_lsn: int | None


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a store on some disk opens to; `trouble` says why it doesn't, or doesn't twice the same."""

    lsn: int
    state: State
    trouble: str = ""


class Court:
    """Opens the disks that schedules leave; each different image once, however many schedules leave it."""

    def __init__(self, threads: Threads, *, is_journal: bool = False) -> None:
        self._threads = threads
        self._look = _journal if is_journal else _store
        self._known: dict[bytes, Recovered] = {}
        self._disks: dict[int, SimulatedDisk] = {}
        self.openings = 0

    def prepared(self, snapshots: int, make: Callable[[int], SimulatedDisk]) -> SimulatedDisk:
        """Return the disk that every schedule begins with; made once."""
        if snapshots not in self._disks:
            with self._threads.outside():
                self._disks[snapshots] = make(snapshots)
        return self._disks[snapshots]

    def open(self, disk: SimulatedDisk) -> Recovered:
        """Return what the store on `disk` comes to: looked at, opened twice for writing."""
        image = hashlib.blake2b(digest_size=16)
        for name in disk.list(STORE):
            status = disk.status(f"{STORE}/{name}")
            content = b"" if status is None or status.is_directory else disk.read_bytes(f"{STORE}/{name}")
            image.update(b"%s %d %s" % (name.encode(), len(content), _without_zeros(content)))
        key = image.digest()
        recovered = self._known.get(key)
        if recovered is None:
            self.openings += 1
            with self._threads.outside():
                recovered = self._known[key] = _open(disk, self._look)
        return recovered


def _without_zeros(content: bytes) -> bytes:
    """Leave zeros at the end away: most of a log segment, which is made ready ahead, are."""
    end = len(content)
    while end >= len(_ZEROS) and content[end - len(_ZEROS) : end] == _ZEROS:
        end -= len(_ZEROS)
    return content[:end]


def _open(disk: SimulatedDisk, look: Callable[..., tuple[int, State]]) -> Recovered:
    """Look, open for writing, write nothing, close, and open again."""
    found: list[tuple[int, State]] = []
    try:
        for mode in ("r", "rw", "rw"):
            found.append(look(STORE, fs=disk, clock=SimulatedClock(seed=99), mode=mode, create=False))
    except JournalError as error:
        return Recovered(0, {}, f"it doesn't open: {type(error).__name__}: {error}")
    if found[1:] != found[:-1]:
        return Recovered(0, {}, f"it doesn't open the same each time: {found}")
    return Recovered(*found[0])


def _store(path: str, **arguments: Any) -> tuple[int, State]:
    with journalkit.open(path, compaction="manual", **arguments) as store:
        store.check()
        return store.lsn, dict(store.items())


def _journal(path: str, **arguments: Any) -> tuple[int, State]:
    with journalkit.open_journal(path, **arguments) as journal:
        return journal.lsn, {record.lsn: record.value for record in journal.read()}


class Witness:
    """Of one schedule. `wrong` is filled by `judge`, and by threads that see something impossible themselves."""

    def __init__(self, disk: SimulatedDisk, medium: Medium, court: Court) -> None:
        self._disk = disk
        self._medium = medium
        self._court = court
        self._last_image: dict[str, tuple[int, Recovered]] = {}
        self._attempts: list[Attempt] = []
        self._seen: list[Seen] = []
        # What a disk must open to: (why, what it opens to, at least this LSN).
        self._promises: list[tuple[str, Recovered, int]] = []
        self.acknowledged_lsn = 0
        self.strong_lsn = 0
        self.wrong: list[str] = []

    def knows(self, lsn: int, changes: Mapping[Any, Any]) -> None:
        """Take down what was in the store before the scene began."""
        self._attempts.append(Attempt("before", changes, True, {}, "acknowledged", lsn))
        self.acknowledged_lsn = self.strong_lsn = lsn

    # Threads tell

    @contextmanager
    def committing(
        self, thread: str, changes: Mapping[Any, Any], *, is_strong: bool, read: Mapping[Any, Any] | None = None
    ) -> Iterator[Attempt]:
        """Take down a commit; the block sets its `lsn`. What may end it without a commit ends here."""
        attempt = Attempt(thread, changes, is_strong, read or {})
        self._attempts.append(attempt)
        try:
            yield attempt
        except (ConflictError, StoreFullError, ClosedError):
            attempt.outcome = "refused"
            return
        except StorageError:
            attempt.outcome = "unknown"
            return
        attempt.outcome = "acknowledged"
        self.promised(str(attempt), attempt.lsn, is_strong=is_strong)

    def promised(self, why: str, lsn: int, *, is_strong: bool) -> None:
        """A call returned that promises everything up to `lsn`: to a power cut, or only to the end of the process."""
        self._promises.append((why, self._after_crash("none" if is_strong else "all"), lsn))
        self.acknowledged_lsn = max(self.acknowledged_lsn, lsn)
        if is_strong:
            self.strong_lsn = max(self.strong_lsn, lsn)

    def cut(self, keep: Literal["none"] | int) -> None:
        """The power goes in the middle of something: of what isn't durable nothing stays, or what a seed decides."""
        recovered = self._after_crash(keep) if keep == "none" else self._court.open(self._disk.crash(keep))
        self._promises.append((f"a power cut that keeps {keep}", recovered, self.strong_lsn))

    def saw(
        self,
        thread: str,
        what: str,
        got: State,
        *,
        least_lsn: int,
        is_whole: bool,
        lsn: int | None = None,
        durable_lsn: int | None = None,
    ) -> None:
        """Take down a read. `least_lsn` is `acknowledged_lsn` from before it."""
        durable_to = self._after_crash("none")
        self._seen.append(Seen(thread, what, got, is_whole, lsn, least_lsn, durable_to, durable_lsn))

    def climbed(self, ladder: tuple[int, ...]) -> None:
        """Take down pruned, snapshot, durable and visible LSN, asked for in this order."""
        if list(ladder) != sorted(ladder):
            self.wrong.append(f"the ladder pruned, snapshot, durable, visible LSN is {ladder}")

    def _after_crash(self, keep: Literal["all", "none"]) -> Recovered:
        """Return what a power cut now would leave, of what wasn't synced nothing or all.

        It is the same as the last time if nothing was synced since, or nothing was done to the disk at all.
        """
        count = self._medium.syncs if keep == "none" else self._disk.operation_count
        last = self._last_image.get(keep)
        if last is None or last[0] != count:
            last = self._last_image[keep] = (count, self._court.open(self._disk.crash(keep)))
        return last[1]

    # The judge

    def judge(self) -> list[str]:
        """Return what was wrong with it all, the medium as it is now included."""
        self.promised("the end", self.strong_lsn, is_strong=True)
        self.promised("the end", self.acknowledged_lsn, is_strong=False)
        self._judge_lsns()
        if not self.wrong:
            self._judge_promises()
            self._judge_reads()
        if self.wrong:
            self.wrong += [f"  {attempt}" for attempt in self._attempts]
        return self.wrong

    def _judge_lsns(self) -> None:
        last: dict[str, int] = {}
        taken: dict[int, Attempt] = {}
        for attempt in self._attempts:
            if attempt.outcome != "acknowledged":
                continue
            if attempt.lsn in taken:
                self.wrong.append(f"LSN {attempt.lsn} was given twice: {attempt} and {taken[attempt.lsn]}")
            if attempt.lsn <= last.get(attempt.thread, 0):
                self.wrong.append(f"out of its thread's order: {attempt}")
            taken[attempt.lsn] = attempt
            last[attempt.thread] = attempt.lsn

    def _judge_promises(self) -> None:
        for why, recovered, least_lsn in self._promises:
            if recovered.trouble:
                self.wrong.append(f"after {why}: {recovered.trouble}")
            elif recovered.lsn < least_lsn:
                self.wrong.append(f"lost: after {why} the store opens at LSN {recovered.lsn}, not {least_lsn}")
            elif recovered.state not in self._states(recovered.lsn):
                self.wrong.append(
                    f"after {why} the store opens at LSN {recovered.lsn} to {recovered.state}, "
                    f"which isn't the fold of its commits: {self._states(recovered.lsn)}"
                )

    def _judge_reads(self) -> None:
        reached: dict[str, int] = {}
        for seen in self._seen:
            least = max(seen.least_lsn, reached.get(seen.thread, 0))
            lsn = self._earliest(seen, least)
            if lsn is None:
                self.wrong.append(
                    f"{seen.thread}: {seen.what} gave {seen.got}, LSN {seen.lsn}: no state from LSN {least} on has that"
                )
                continue
            reached[seen.thread] = lsn
            strong = seen.durable_lsn
            if strong is None:
                strong = max((a.lsn for a in self._attempts if a.is_strong and 0 < a.lsn <= lsn), default=0)
            if seen.durable_to.lsn < strong:
                self.wrong.append(
                    f"{seen.thread}: {seen.what} gave {seen.got}, which a power cut would have taken back: "
                    f"LSN {strong} should be durable, {seen.durable_to.lsn} is"
                )

    def _earliest(self, seen: Seen, least_lsn: int) -> int | None:
        """The first LSN from `least_lsn` on at which this could be read."""
        last_lsn = max([self.acknowledged_lsn, *(recovered.lsn for _, recovered, _ in self._promises)])
        lsns = range(least_lsn, last_lsn + 1) if seen.lsn is None else range(max(least_lsn, seen.lsn), seen.lsn + 1)
        for lsn in lsns:
            for state in self._states(lsn):
                if seen.is_whole and seen.got == state:
                    return lsn
                if not seen.is_whole and all(state.get(key, ABSENT) == value for key, value in seen.got.items()):
                    return lsn
        return None

    def _states(self, lsn: int) -> list[State]:
        """What the state at an LSN may be: one, but where callers don't know what became of their commits."""
        placed = {attempt.lsn: attempt for attempt in self._attempts if attempt.outcome == "acknowledged"}
        holes = [place for place in range(1, lsn + 1) if place not in placed]
        open_ended = [attempt for attempt in self._attempts if attempt.outcome in ("unknown", "under way")]
        states: list[State] = []
        for filling in itertools.permutations(open_ended, len(holes)):
            by_lsn = placed | dict(zip(holes, filling, strict=True))
            state = self._fold([by_lsn[place] for place in range(1, lsn + 1)])
            if state is not None:
                states.append(state)
        return states

    @staticmethod
    def _fold(attempts: list[Attempt]) -> State | None:
        """Apply commits in their order; None if one of them stood on something that wasn't so."""
        state: State = {}
        for lsn, attempt in enumerate(attempts, 1):
            if any(state.get(key, ABSENT) != value for key, value in attempt.read.items()):
                return None
            for key, value in attempt.changes.items():
                state[lsn if key is PLACE else key] = value
        return state
