"""What a workload asked of a store, and what it was promised: the oracle's side of the story.

A history knows nothing of files. It counts: commit n has LSN n, the state
after it is the fold of the first n commits, and of those the first
`acknowledged` were promised to survive a power cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple, Protocol

from journalkit import ABSENT

STORE: Final = "/store"


class Commit(NamedTuple):
    """One record: changes of keys (ABSENT deletes) and of offsets, or a journal's value."""

    changes: tuple[tuple[Any, Any], ...] = ()
    offsets: tuple[tuple[str, Any], ...] = ()
    value: Any = None

    def __str__(self) -> str:
        parts = [f"del {key!r}" if value is ABSENT else f"{key!r}={short(value)}" for key, value in self.changes]
        parts += [f"offset {name}={short(value)}" for name, value in self.offsets]
        return ", ".join(parts) or short(self.value)


class State(NamedTuple):
    """What a store holds: entries and offsets. Of a journal: its records by LSN, from `first_lsn` on."""

    entries: dict[Any, Any]
    offsets: dict[str, Any]


class Watched(Protocol):
    """An open store or journal, as far as a history looks at it."""

    @property
    def durable_lsn(self) -> int:
        """The last record that it says to be durable."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it says anything at all."""
        ...


@dataclass
class History:
    """Everything that was submitted, and how much of it was acknowledged.

    `exists` is whether an open ever returned: from then on there is a store.
    `returned` is the last commit whose call came back: what a mere kill must leave.
    `life` is raised whenever commits that nobody was promised turned out to be
    gone, and their LSNs are used again. `doing` is what the workload is at, for
    whoever counts by phase. `handle` is the open store, if there is one.
    """

    path: str = STORE
    kind: Literal["store", "journal"] = "store"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    acknowledged: int = 0
    returned: int = 0
    exists: bool = False
    life: int = 0
    pruned_at_most: int = 0
    doing: str = "open"
    handle: Watched | None = None
    _commits: list[Commit] = field(default_factory=list)
    _states: list[State] = field(default_factory=lambda: [State({}, {})])

    @property
    def submitted(self) -> int:
        """How many commits were asked for, answered or not."""
        return len(self._commits)

    @property
    def commits(self) -> Sequence[Commit]:
        """The commits in LSN order; the first has LSN 1."""
        return self._commits

    def submit(self, changes: Mapping[Any, Any] | None = None, offsets: Mapping[str, Any] | None = None) -> int:
        """Note that a commit is about to be asked for, and return the LSN that it will have."""
        self._commits.append(Commit(tuple((changes or {}).items()), tuple((offsets or {}).items())))
        return len(self._commits)

    def submit_record(self, value: Any) -> int:
        """Note that a journal's record is about to be appended, and return the LSN that it will have."""
        self._commits.append(Commit(value=value))
        return len(self._commits)

    def withdraw(self) -> None:
        """The last commit was refused with the promise that nothing was written."""
        self._commits.pop()
        del self._states[len(self._commits) + 1 :]
        self.life += 1

    def settle(self, first: int, commits: Sequence[Commit]) -> None:
        """Several commits were under way at once: these are what came behind LSN `first`, in this order."""
        if self._commits[first:] != list(commits):
            self._commits[first:] = commits
            del self._states[first + 1 :]
            self.life += 1

    def acknowledge(self, lsn: int) -> None:
        """Somebody was told that everything up to this LSN survives a power cut."""
        if lsn > self.submitted:
            raise AssertionError(f"LSN {lsn} was acknowledged and only {self.submitted} commits were submitted")
        self.acknowledged = max(self.acknowledged, lsn)

    def observe(self) -> None:
        """Take the open handle's word: what it shows as durable has been promised to whoever looks."""
        if self.handle is not None and not self.handle.closed:
            self.acknowledge(self.handle.durable_lsn)

    def reopened(self, lsn: int) -> None:
        """An open for writing returned with this LSN: what is there is durable now, and the rest is gone."""
        if not self.acknowledged <= lsn <= self.submitted:
            raise AssertionError(
                f"reopened at LSN {lsn}; {self.acknowledged} were acknowledged, {self.submitted} submitted"
            )
        self.exists = True
        self.returned = lsn
        if lsn < self.submitted:
            del self._commits[lsn:]
            del self._states[lsn + 1 :]
            self.life += 1
        self.acknowledge(lsn)

    def state(self, lsn: int) -> State:
        """Return the fold of the first `lsn` commits."""
        while len(self._states) <= lsn:
            at = len(self._states)
            entries, offsets = dict(self._states[-1].entries), dict(self._states[-1].offsets)
            commit = self._commits[at - 1]
            if self.kind == "journal":
                entries[at] = commit.value
            for key, value in commit.changes:
                if value is ABSENT:
                    entries.pop(key, None)
                else:
                    entries[key] = value
            offsets.update(commit.offsets)
            self._states.append(State(entries, offsets))
        return self._states[lsn]

    def copy(self) -> History:
        """Return the history as it is now, without the open store."""
        return replace(self, handle=None, _commits=list(self._commits), _states=list(self._states))

    def tell(self, last: int = 6) -> str:
        """Return the last commits, one a line, with what was promised of them."""
        lines = [f"{self.submitted} commits submitted, acknowledged through LSN {self.acknowledged}; the last are:"]
        for lsn in range(max(1, self.submitted - last + 1), self.submitted + 1):
            promised = "acknowledged" if lsn <= self.acknowledged else "not acknowledged"
            lines.append(f"  LSN {lsn} ({promised}): {self._commits[lsn - 1]}")
        return "\n".join(lines)


def short(value: Any) -> str:
    """Return a value as a line of a report shows it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:24]}... ({len(value) if hasattr(value, '__len__') else '?'})"
