"""Recovery by chance: any history of writes, folds, closes, kills and power cuts leaves a prefix that goes on."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journalkit.errors import JournalError
from journalkit.testing import PowerCut

# Worlds are made inside each example; the fixture only says how.
PROPERTY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.booleans(), st.integers(0, 900)),
        st.tuples(st.just("fold"), st.integers(1, 2), st.booleans()),
        st.tuples(st.just("rotate")),
        st.tuples(st.just("close")),
        st.tuples(st.just("kill")),
        st.tuples(st.just("cut"), st.integers(0, 10_000)),
        st.tuples(st.just("cut inside open"), st.integers(1, 20), st.integers(0, 10_000)),
        st.tuples(st.just("cut inside fold"), st.integers(1, 20), st.integers(0, 10_000)),
        st.tuples(st.just("cut inside close"), st.integers(1, 8), st.integers(0, 10_000)),
    ),
    max_size=25,
)


class History:
    """One store through its lives."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.highest_durable = 0
        self.session = self.opened()

    def opened(self) -> Any:
        """Open, hold the promise, and forget what is known to be lost."""
        session = self.world.open(segment_bytes_max=4096)
        count = self.world.check(session)
        self.world.submitted = self.world.acknowledged = count
        assert session.log.last_lsn == count >= self.highest_durable
        return session

    def leave(self, world: Any) -> None:
        """Go on in the world that an end of this process left."""
        self.highest_durable = max(self.highest_durable, self.world.acknowledged)
        self.session.release_tables()
        self.world = world

    def step(self, name: str, *details: Any) -> None:
        """Take one step."""
        if name == "put":
            durable, size = details
            lsn = self.session.put(durable=durable, value=b"v" * size)
            assert lsn == self.world.submitted
        elif name == "fold":
            self.session.fold(keep=details[0], prune=details[1])
        elif name == "rotate":
            self.session.log.rotate()
        elif name == "close":
            self.session.close()
            self.world.acknowledged = self.world.submitted
            self.reopen(self.world.fork())
        elif name == "kill":
            self.reopen(self.world.fork())
        elif name == "cut":
            self.reopen(self.world.crash(details[0]))
        else:
            self.cut_inside(name, *details)

    def cut_inside(self, name: str, after: int, seed: int) -> None:
        """Let the power go at an operation of a fold, of a close, or of the open that follows a cut."""
        if name == "cut inside open":
            self.leave(self.world.crash(seed))
        self.world.fs.stop_after(after)
        with suppress(PowerCut):
            if name == "cut inside open":
                self.session = self.world.open(segment_bytes_max=4096)
            elif name == "cut inside fold":
                self.session.fold()
            else:
                self.session.close()
        self.reopen(self.world.crash(seed + 1))

    def reopen(self, world: Any) -> None:
        """Open in another world."""
        self.highest_durable = max(self.highest_durable, self.world.acknowledged)
        self.world = world
        self.session = self.opened()


@PROPERTY
@given(steps=STEPS)
def test_any_history_leaves_a_prefix_with_every_acknowledged_record(make_world: Any, steps: list[Any]) -> None:
    """Promises 1, 2 and 5 together; and no number that was ever durable is used again."""
    history = History(make_world())
    for step in steps:
        history.step(*step)
    history.session.close()


@PROPERTY
@given(steps=STEPS, flips=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1 << 20)), min_size=1, max_size=2))
def test_rot_anywhere_is_an_error_or_costs_nothing_that_was_durable(
    make_world: Any, steps: list[Any], flips: list[tuple[int, int]]
) -> None:
    """After any history and two flipped bits: the same state or a refusal, and on request a prefix.

    Two, because what is closed is promised twice: by its seal and by the slot.
    """
    history = History(make_world())
    for step in steps:
        history.step(*step)
    history.session.close()
    world = history.world.copy()
    right = world.look()
    assert len(right) == world.submitted
    names = [name for name, data in world.files().items() if data and "/" not in name]
    for file, bit in flips:
        name = names[file % len(names)]
        world.fs.flip_bit(f"/store/{name}", bit % (8 * len(world.read(name))))
    try:
        assert world.look() == right
    except JournalError:
        with suppress(JournalError):
            found = world.look(mode="point-in-time")
            assert sorted(found) == sorted(right)[: len(found)]
