"""Cuts of a dataflow: what came before the barriers is in them, by every channel, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.dataflow import Alignment, Barrier, Begin, End, Event, GivenUp, Message
from journalkit.errors import KeyTypeError, KeyValueError


class Stage:
    """A stage that counts what it has processed, and keeps what it would have saved."""

    def __init__(self, *channels: str, **options: Any) -> None:
        self.alignment = Alignment(channels, **options)
        self.processed: list[tuple[str, Any]] = []
        self.captured: dict[int, list[tuple[str, Any]]] = {}
        self.saved: dict[int, list[tuple[str, Any]]] = {}
        self.sent: list[int] = []
        self.most_held = 0

    def do(self, events: Iterable[Event]) -> None:
        """Do what is to be done."""
        for event in events:
            match event:
                case Message(channel, value):
                    self.processed.append((str(channel), value))
                case Begin(number):
                    assert number not in self.captured
                    self.captured[number] = list(self.processed)
                    self.sent.append(number)
                case End(number, in_flight):
                    logged = [(str(channel), value) for channel, value in in_flight]
                    self.saved[number] = self.captured.pop(number) + logged
                case GivenUp(number):
                    self.captured.pop(number, None)
            self.most_held = max(self.most_held, self.alignment.held)

    def receive(self, *items: tuple[str, Any]) -> None:
        """Take some messages and barriers."""
        for channel, item in items:
            self.do(self.alignment.receive(channel, item))


def before(sent: list[Any], number: int) -> list[Any]:
    """Return the messages of a channel before a barrier."""
    return [item for item in sent[: sent.index(Barrier(number))] if not isinstance(item, Barrier)]


@given(data=st.data())
@pytest.mark.parametrize("options", [{}, {"aligned": False}, {"held_max": 0}, {"held_max": 3}])
def test_a_cut_holds_what_came_before_its_barriers_and_nothing_else(options: Any, data: st.DataObject) -> None:
    """In whatever order it comes: what would be loaded, with what was in flight, is of one moment."""
    count = data.draw(st.integers(1, 3), "channels")
    cuts = data.draw(st.integers(0, 4), "cuts")
    channels: dict[str, list[Any]] = {}
    for name in "abc"[:count]:
        sent: list[Any] = []
        for number in range(1, cuts + 1):
            sent += range(len(sent) * 100, len(sent) * 100 + data.draw(st.integers(0, 4)))
            sent.append(Barrier(number))
        channels[name] = sent + list(range(1000, 1000 + data.draw(st.integers(0, 3))))
    stage = Stage(*channels, **options)
    left = {name: list(sent) for name, sent in channels.items()}
    while any(left.values()):
        name = data.draw(st.sampled_from([name for name, items in left.items() if items]))
        stage.receive((name, left[name].pop(0)))
    assert sorted(stage.saved) == stage.sent == list(range(1, cuts + 1))
    for number, state in stage.saved.items():
        for name, sent in channels.items():
            assert [value for channel, value in state if channel == name] == before(sent, number)
    for name, sent in channels.items():
        mine = [value for channel, value in stage.processed if channel == name]
        assert mine == [item for item in sent if not isinstance(item, Barrier)]
    assert stage.alignment.held == 0
    if "held_max" in options and cuts < 2:
        assert stage.most_held <= options["held_max"] + 1


def test_an_aligned_cut_holds_back_what_is_behind_a_barrier() -> None:
    """Until it came by the others; then nothing is in flight."""
    stage = Stage("a", "b")
    stage.receive(("a", 1), ("a", Barrier(1)), ("a", 2), ("b", 10))
    assert stage.processed == [("a", 1), ("b", 10)]
    assert stage.alignment.held == 1
    assert stage.sent == []
    stage.receive(("b", Barrier(1)))
    assert stage.saved == {1: [("a", 1), ("b", 10)]}
    assert stage.processed == [("a", 1), ("b", 10), ("a", 2)]


def test_an_unaligned_cut_logs_what_is_before_the_other_barriers() -> None:
    """And lets everything through at once."""
    stage = Stage("a", "b", aligned=False)
    stage.receive(("a", 1), ("a", Barrier(1)))
    assert stage.sent == [1]
    stage.receive(("a", 2), ("b", 10))
    assert stage.processed == [("a", 1), ("a", 2), ("b", 10)]
    stage.receive(("b", Barrier(1)), ("b", 11))
    assert stage.saved == {1: [("a", 1), ("b", 10)]}


def test_a_barrier_that_a_channel_left_out_gives_its_cut_up() -> None:
    """The source behind it had begun anew, with a later one."""
    for options in ({}, {"aligned": False}):
        stage = Stage("a", "b", "c", **options)
        stage.receive(("a", Barrier(1)), ("a", 1), ("c", Barrier(1)), ("c", Barrier(2)), ("c", 5))
        stage.receive(("b", Barrier(2)), ("a", Barrier(2)))
        assert stage.captured == {}
        assert list(stage.saved) == [2]
        assert [value for channel, value in stage.saved[2] if channel == "a"] == [1]
        assert ("c", 5) in stage.processed
        assert ("c", 5) not in stage.saved[2]


def test_what_a_failed_save_kept_from_being_done_is_done_next() -> None:
    """What waited behind the barriers was once lost, or waited for ever."""
    alignment = Alignment(["a", "b"])
    done: list[Event] = []

    def feed(channel: str, item: Any, failing: int = 0) -> None:
        for event in alignment.receive(channel, item):
            done.append(event)
            if event == End(failing, ()):
                raise KeyError("no room")

    feed("a", Barrier(1))
    feed("a", "first")
    with pytest.raises(KeyError):
        feed("b", Barrier(1), failing=1)
    feed("a", "second")
    feed("b", Barrier(2))
    feed("a", Barrier(2))
    begun = [Begin(1), End(1, ()), Message("a", "first"), Message("a", "second"), Begin(2), End(2, ())]
    assert done == begun
    assert alignment.held == 0


def test_a_barrier_of_an_ended_cut_is_passed_over() -> None:
    """Late news."""
    stage = Stage("a", "b")
    stage.receive(("a", Barrier(2)), ("b", Barrier(2)), ("a", Barrier(1)), ("a", Barrier(2)), ("b", 1))
    assert list(stage.saved) == [2]
    assert stage.processed == [("b", 1)]
    assert stage.sent == [2]


def test_a_channel_that_ended_is_waited_for_no_more() -> None:
    """Neither now nor later, and what it had sent is processed."""
    stage = Stage("a", "b")
    stage.receive(("a", Barrier(1)), ("a", 1))
    stage.do(stage.alignment.close("b"))
    assert (list(stage.saved), stage.processed) == ([1], [("a", 1)])
    stage.receive(("a", Barrier(2)))
    assert list(stage.saved) == [1, 2]
    with pytest.raises(KeyValueError, match="was closed"):
        stage.receive(("b", 1))
    stage.do(stage.alignment.close("a"))
    assert list(stage.saved) == [1, 2]


def test_what_cannot_be_is_refused() -> None:
    """With a word about it."""
    with pytest.raises(KeyValueError, match="without channels"):
        Alignment([])
    with pytest.raises(KeyTypeError):
        Alignment(["a"], held_max="3")  # type: ignore[arg-type]
    stage = Stage("a")
    for wrong in (0, -1, "1", True):
        with pytest.raises(KeyValueError, match="numbered from 1"):
            stage.receive(("a", Barrier(wrong)))  # type: ignore[arg-type]
    with pytest.raises(KeyValueError, match="isn't one of"):
        stage.receive(("x", 1))


def test_a_barrier_that_overtakes_two_cuts_gives_both_up() -> None:
    """The second began as what waited for the first was let go. It was once forgotten, and the stage stood still."""
    for options in ({}, {"aligned": False}):
        stage = Stage("a", "b", **options)
        stage.receive(("a", Barrier(1)), ("a", Barrier(2)), ("a", 7), ("b", Barrier(3)), ("a", Barrier(3)), ("a", 8))
        assert list(stage.saved) == [3]
        assert stage.captured == {}
        assert stage.sent[-1] == 3
        assert stage.processed == [("a", 7), ("a", 8)]
        assert stage.alignment.held == 0


def test_a_channel_that_ends_behind_what_waits_is_waited_for_until_then() -> None:
    """Its source won't send that again: a cut without it would lose it."""
    stage = Stage("a", "b", "c")
    stage.receive(("a", Barrier(1)), ("a", Barrier(2)), ("b", Barrier(1)), ("b", 5))
    stage.do(stage.alignment.close("b"))
    with pytest.raises(KeyValueError, match="was closed"):
        stage.receive(("b", 6))
    stage.do(stage.alignment.close("c"))
    assert stage.saved == {1: [], 2: [("b", 5)]}
    assert stage.processed == [("b", 5)]
