"""Stores in checkpoints against dicts: whatever is written, folded and pruned between saves, each gives its own state.

The job goes on from what it restored now and then, as one does that moved: what
is saved then stands on what the store before it had saved.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import journalkit
from journalkit.checkpoint.checkpoints import Checkpoints
from journalkit.checkpoint.open import open_on
from journalkit.testing import SimulatedBucket, SimulatedClock, SimulatedDisk

KEYS = st.integers(0, 30)
VALUES = st.one_of(st.integers(0, 9), st.binary(max_size=600), st.just("w" * 2000))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.dictionaries(KEYS, VALUES, min_size=1, max_size=6)),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("offset"), st.integers(0, 99)),
        st.tuples(st.sampled_from(("fold", "full", "save", "save view", "save again", "reopen", "move")), st.none()),
    ),
    max_size=25,
)


class Job:
    """A job whose state is a store: its model, and what each checkpoint has to give."""

    def __init__(self, checkpoints: Checkpoints, options: dict[str, Any]) -> None:
        self.checkpoints = checkpoints
        self.options = options
        self.clock = SimulatedClock(seed=5)
        self.disk = SimulatedDisk()
        self.moves = 0
        self.entries: dict[Any, Any] = {}
        self.offset: dict[str, Any] = {}
        self.saved: list[tuple[journalkit.Checkpoint, Any]] = []
        self.store = self.opened()

    def opened(self) -> journalkit.Store:
        return journalkit.open(f"/state-{self.moves}", fs=self.disk, clock=self.clock, **self.options)

    def expected(self) -> tuple[Any, ...]:
        return dict(self.entries), dict(self.offset), self.store.lsn, self.store.uuid

    def do(self, what: str, argument: Any) -> None:
        """Do one step, to the store and to the model."""
        if what == "put":
            self.store.update(argument)
            self.entries.update(argument)
        elif what == "delete":
            self.store.delete(argument)
            self.entries.pop(argument, None)
        elif what == "offset":
            with self.store.transaction() as transaction:
                transaction.offsets["in"] = argument
            self.offset = {"in": argument}
        elif what in ("fold", "full"):
            self.store.compact(full=what == "full")
        elif what == "reopen":
            self.store.close()
            self.store = self.opened()
        else:
            self.save(what)

    def save(self, what: str) -> None:
        """Save in one of several ways; a move goes on from what was restored of it."""
        if what == "save again" and self.saved:
            last, expected = self.saved[-1]
            self.saved.append((self.checkpoints.save(last.load(lazy=True)), expected))
            return
        state = self.store.view() if what == "save view" else self.store
        checkpoint = self.checkpoints.save({"db": state})
        self.saved.append((checkpoint, self.expected()))
        if what == "move":
            self.store.close()
            self.moves += 1
            handle = checkpoint.load(lazy=True)["db"]
            self.store = handle.restore(f"/state-{self.moves}", fs=self.disk, clock=self.clock, **self.options)

    def check(self) -> None:
        """Restore every checkpoint: each is as it was saved."""
        self.store.check()
        assert dict(self.store) == self.entries
        for checkpoint, expected in self.saved:
            with checkpoint.load()["db"].restore("/new", fs=SimulatedDisk(), compaction="manual") as store:
                store.check()
                assert (dict(store), dict(store.offsets), store.lsn, store.uuid) == expected


@given(
    steps=STEPS,
    keep=st.integers(1, 2),
    ratio=st.sampled_from((0.0, 0.5, 1e9)),
    smallest=st.sampled_from((1, 1 << 23)),
)
def test_each_checkpoint_gives_the_store_that_was_saved(
    steps: list[tuple[str, Any]], keep: int, ratio: float, smallest: int
) -> None:
    """Chunks that saves share, tables that folds replaced, numbers that two lives gave: none is taken for another."""
    options = {"compaction": "manual", "keep_snapshots": keep, "fold_ratio": ratio, "fold_bytes_min": smallest}
    with open_on(SimulatedBucket().handle("job"), SimulatedClock(), threads=0) as checkpoints:
        job = Job(checkpoints, options)
        for what, argument in steps:
            job.do(what, argument)
        job.check()
        job.store.close()
