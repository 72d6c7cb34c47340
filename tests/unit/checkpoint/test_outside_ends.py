"""Children that don't do as they should, and ends of all kinds: nobody waits for ever, and nothing is left."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journalkit.checkpoint import outside, save_child, save_words
from journalkit.checkpoint.address import Address
from journalkit.checkpoint.background import OneAtATime, Saving
from journalkit.checkpoint.open import open_on
from journalkit.checkpoint.save_words import Report, Service
from journalkit.checkpoint.saving import SaveOptions
from journalkit.errors import (
    CheckpointAbortedError,
    ClosedError,
    StorageError,
    UsageError,
)
from journalkit.fs import shared
from journalkit.runtime import talk
from journalkit.runtime.talk import begun, line, measured
from tests.unit.checkpoint.children import CHILD, Children, Scripted
from tests.unit.checkpoint.conftest import LONG, Place, needed, state


def report(**other: Any) -> bytes:
    """Return a child's word that it is done."""
    said = {"manifest_offset": 0, "manifest_bytes": 0, "manifest_digest": ""}
    rest = dict.fromkeys(("bytes_written", "bytes_total", "chunks_new", "chunks_known"), 1)
    return save_words.done(Report(**{**said, **rest, **other}))


def test_a_child_that_says_nothing_any_more_is_ended(place: Place, children: Children) -> None:
    """It is stopped, or hangs: as long as it lives it says so every second."""
    child = Scripted(place, begun(), *[line({"alive": True}), None] * 3)
    children.next.append(child)
    job = place.open(outside=children.begin)
    before_s = place.clock.monotonic_s()
    with pytest.raises(CheckpointAbortedError, match="has said nothing for 120 s"):
        job.save_async(state(1)).wait()
    assert child.is_ended
    assert place.clock.monotonic_s() - before_s >= outside.SILENCE_S
    assert job.save_async(state(2)).wait().id == "1.2"  # type: ignore[union-attr]


def test_one_that_takes_nothing_any_more_is_ended_too(place: Place, children: Children) -> None:
    """It is stopped while it is told."""
    child = Scripted(place, begun())
    children.next.append(child)
    job = place.open(outside=children.begin)

    def send(_data: bytes, pause: Any) -> None:
        while True:
            place.clock.advance(1)
            pause()

    child.send = send  # type: ignore[method-assign]
    with pytest.raises(CheckpointAbortedError, match="has said nothing"):
        job.save_async(state(1)).wait()
    assert child.is_ended


@pytest.mark.parametrize("lie", [
    report(manifest_bytes=10), report(manifest_offset=1 << 40, manifest_bytes=10), report(manifest_offset=-1),
])  # fmt: skip
def test_one_that_wrote_no_manifest_is_not_believed(place: Place, children: Children, lie: bytes) -> None:
    """What is published is what was read here."""
    child = Scripted(place, begun(), lie)
    children.next.append(child)
    job = place.open(outside=children.begin)
    with pytest.raises(CheckpointAbortedError, match="something else than it was asked"):
        job.save_async(state(1)).wait()
    assert child.is_ended
    assert job.latest() is None


@pytest.mark.parametrize("lie", ["another save", "another digest", "another state"])
def test_one_that_wrote_something_else_is_not_believed(
    place: Place, children: Children, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory rots in children too."""
    job = place.open(outside=children.begin)
    real = save_words.order_in

    def heard(data: bytes) -> Any:
        order = real(data)
        if lie == "another save":
            return save_words.Order(order.said.__class__(**{**fields(order.said), "save": 7}), *rest(order))
        return save_words.Order(order.said, order.tree, order.leaves[:-1], order.base)

    def fields(said: Any) -> dict[str, Any]:
        return {name: getattr(said, name) for name in said.__slots__}

    def rest(order: Any) -> tuple[Any, ...]:
        return order.tree, order.leaves, order.base

    with monkeypatch.context() as patched:
        if lie == "another digest":
            patched.setattr(
                save_child, "Report", lambda at, count, digest, *rest: Report(at, count, "0" + digest, *rest)
            )
        else:
            patched.setattr(save_words, "order_in", heard)
        with pytest.raises(CheckpointAbortedError, match="something else than it was asked"):
            job.save_async({"one": bytes(LONG), "two": bytearray(LONG)}).wait()
    assert children.started[0].is_ended
    assert job.latest() is None


def test_a_child_that_ended_between_two_saves_is_replaced_unseen(place: Place, children: Children) -> None:
    """Somebody killed it to have its memory: no save was under way."""
    job = place.open(outside=children.begin)
    job.save_async(state(1)).wait()
    children.started[0].end()
    assert job.save_async(state(2)).wait().load() == state(2)  # type: ignore[union-attr]
    assert len(children.started) == 2


def test_what_a_child_mutters_between_two_saves_is_no_word_of_it(place: Place, children: Children) -> None:
    """A library warns, of whatever."""
    job = place.open(outside=children.begin)
    children.started[0].mutter(b"a warning\n")
    assert job.save_async(state(1)).wait().load() == state(1)  # type: ignore[union-attr]
    assert len(children.started) == 1


def test_a_child_that_works_says_that_it_is_there(
    place: Place, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be taken for one that hangs: its storage may take an hour for a pack."""
    monkeypatch.setattr(save_child, "ALIVE_S", 0.001)
    said: list[dict[str, Any]] = []
    real, is_heard = talk.lines, threading.Event()

    def lines(data: bytes) -> Any:
        found = real(data)
        said.extend(found[0])
        if any("alive" in words for words in found[0]):
            is_heard.set()
        return found

    monkeypatch.setattr(talk, "lines", lines)
    place.bucket.before = lambda who, *_: is_heard.wait(30) and None if who == CHILD else None
    job = place.open(outside=children.begin)
    assert job.save_async(state(1)).wait().load() == state(1)  # type: ignore[union-attr]
    assert is_heard.is_set()


def test_the_program_of_a_child_leaves_the_jobs_signals_to_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler that tells all processes of a job that time is up would else end the one that it needs now."""
    memory = shared.SharedMemory()
    told = Service(Address(str(tmp_path / "job")), SaveOptions(), os.dup(memory.fileno()))
    messages = [measured(save_words.told(told)), measured(b"")]
    ignored, said, rest = [], [], bytearray(b"".join(messages))

    class Parent:
        def read(self, count: int) -> bytes:
            if not rest:
                threading.Event().wait()  # as one whose parent has nothing more to say
            data = bytes(rest[:count])
            del rest[:count]
            return data

        def say(self, data: bytes) -> None:
            said.append(data)

    monkeypatch.setattr(save_child, "Parent", Parent)
    monkeypatch.setattr(save_child.signal, "signal", lambda number, how: ignored.append((number, how)))
    save_child.main()
    memory.abandon()
    assert said == [begun()]
    assert {number for number, _ in ignored} >= {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
    assert {how for _, how in ignored} == {signal.SIG_IGN}


def test_one_that_has_ended_may_have_said_why(place: Place, children: Children) -> None:
    """What it said last stands in the message."""

    class Ended(Scripted):
        def send(self, data: bytes, pause: Any) -> None:
            if self.sent:
                raise BrokenPipeError
            self.sent.append(data)

    children.next.append(Ended(place, begun(), b"Traceback\nlast words\n", b"", status=1))
    job = place.open(outside=children.begin)
    with pytest.raises(CheckpointAbortedError, match=r"ended with status 1 \(last words\)"):
        job.save_async(state(1)).wait()


def test_where_no_other_child_can_be_started_the_save_fails_and_the_next_one_tries(
    place: Place, children: Children
) -> None:
    """The system has no processes left, for now."""
    job = place.open(outside=children.begin)
    children.started[0].end()
    children.next.append(OSError("no more processes"))
    with pytest.raises(StorageError, match="no process can be started: no more processes"):
        job.save_async(state(1)).wait()
    assert job.save_async(state(2)).wait().load() == state(2)  # type: ignore[union-attr]


@pytest.mark.parametrize("what", ["no start", "no begin", "dead", "refused"])
def test_where_no_child_can_be_had_the_job_isnt_taken_over(place: Place, children: Children, what: str) -> None:
    """Who has it goes on."""
    job = place.open("job")
    dead = Scripted(place, b"ImportError: journalkit\n", b"", status=1)
    refusal = Scripted(place, save_words.failed(UsageError("no such place")))
    children.next.append(
        {"no start": OSError("no Python"), "no begin": Scripted(place), "dead": dead, "refused": refusal}[what]
    )
    words = {"no start": "no Python", "no begin": "has said nothing", "dead": "ImportError", "refused": "no such place"}
    with pytest.raises(UsageError, match=words[what]):
        place.open("another", outside=children.begin)
    assert all(child.is_ended for child in children.started)
    assert job.save(state(1)).id == "1.1"


def test_a_child_is_ended_where_the_job_cant_be_taken_over(place: Place, children: Children) -> None:
    """Nobody would end it."""
    place.bucket.ignores_conditions = True
    with pytest.raises(UsageError, match="conditional writes"):
        open_on(place.bucket.handle(), place.clock, outside=children.begin)
    assert children.started[0].is_ended


def test_a_child_that_cant_open_the_place_is_told_as_that(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package may be missing where it looks."""
    children = Children(place)
    monkeypatch.setattr(save_words, "require_same_version", lambda _: (_ for _ in ()).throw(UsageError("older")))
    with pytest.raises(UsageError, match="older"):
        place.open(outside=children.begin)


# -- ends ---------------------------------------------------------------------------------------------


def test_close_ends_a_child_whose_save_nobody_waits_for_any_more(place: Place, children: Children) -> None:
    """Whoever waited in `close` was interrupted: the save fails, and nothing is left."""
    child = Scripted(place, begun())
    is_listening, goes_on = threading.Event(), threading.Event()
    children.next.append(child)
    job = place.open(outside=children.begin)

    def receive(_timeout_s: float) -> None:
        is_listening.set()
        goes_on.wait(0.01)

    child.receive = receive  # type: ignore[method-assign, assignment]
    saving = job.save_async(state(1))
    assert is_listening.wait(10)
    assert job._outside is not None
    job._outside.close()
    with pytest.raises(ClosedError):
        saving.wait()
    assert child.is_ended
    with pytest.raises(ClosedError):
        job.save_async(state(2)).wait()
    with pytest.raises(ClosedError):
        job._outside.write_checkpoint(
            job=b"j" * 16, epoch=1, save=1, captured=None, time_us=0, offsets={}, metadata=None, metrics={},  # type: ignore[arg-type]
            name="", prepared={}, base=None, progress=None,
        )  # fmt: skip


def test_a_child_that_doesnt_say_goodbye_is_ended_all_the_same(place: Place, children: Children) -> None:
    """It is stopped, or its pipe is full."""

    class Full(Scripted):
        def send(self, data: bytes, pause: Any) -> None:
            if self.sent:
                while True:
                    pause()
            super().send(data, pause)

    for kind in (Scripted, Full):
        child = kind(place, begun())
        children.next.append(child)
        place.open(outside=children.begin).close()
        assert child.is_ended


def test_a_handle_that_is_dropped_leaves_no_child(place: Place, children: Children) -> None:
    """Nobody closed it."""
    begun_ = children.begin(options=SaveOptions())
    (child,) = children.started
    del begun_
    assert child.is_ended


def test_a_fork_leaves_the_child_to_its_parent(place: Place, children: Children) -> None:
    """It lets go of the memory, and ends nothing."""
    job = place.open(outside=children.begin)
    job.save_async(state(1)).wait()
    job.forbid()
    (child,) = children.started
    assert job._outside is not None
    job._outside.__del__()
    assert not child.is_ended
    child.end()


def test_a_save_that_finds_no_thread_gives_its_memory_back(
    place: Place, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system has none left: the next capture begins where this one did."""
    job = place.open(outside=children.begin)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start")))
        with pytest.raises(RuntimeError, match="can't start"):
            job.save_async({"rows": np.zeros(400_000)})
    assert job._outside is not None
    assert not job._outside.buffers._places
    assert job.save_async(state(1)).wait().load() == state(1)  # type: ignore[union-attr]


@pytest.mark.parametrize("when", ["before", "behind", "noted"])
def test_an_interrupt_while_a_save_begins_leaves_it_whole_or_not_begun(
    place: Place, children: Children, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C: memory that a save reads isn't given to the next one, and the next one waits for it."""
    job = place.open(outside=children.begin)
    real_start, real_note = Saving.start, OneAtATime._note
    may_go_on, notes = threading.Event(), itertools.count(1)
    place.bucket.before = lambda who, *_: may_go_on.wait(30) and None if who == CHILD else None

    def start(self: Saving) -> None:
        if when != "before":
            real_start(self)
            while not self._first.locked():
                threading.Event().wait(0.001)
        if when != "noted":
            raise KeyboardInterrupt

    def note(self: OneAtATime, saving: Saving) -> None:
        real_note(self, saving)
        if when == "noted" and next(notes) == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Saving, "start", start)
        patched.setattr(OneAtATime, "_note", note)
        with pytest.raises(KeyboardInterrupt):
            job.save_async(state(1))
    may_go_on.set()
    assert job.save_async(state(2)).wait().load() == state(2)  # type: ignore[union-attr]
    assert [each.load()["step"] for each in job] == ([2] if when == "before" else [2, 1])


def test_a_save_given_up_before_its_thread_runs_does_nothing() -> None:
    """The thread comes all the same, a moment later."""
    done: list[int] = []
    saving = Saving(lambda _: done.append(1))  # type: ignore[arg-type, return-value, func-returns-value]
    assert saving.give_up()
    saving.start()
    saving.join()
    assert done == []


def test_memory_that_cant_be_had_is_told_by_the_save(
    place: Place, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, where the state is copied, and in the other one, where it says what it wrote."""
    job = place.open(outside=children.begin)

    def refuse(*_: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(shared.SharedMemory, "need", refuse)
        with pytest.raises(StorageError, match="Cannot allocate memory"):
            job.save_async({"rows": np.zeros(400_000)})
        saving = job.save_async(state(1))
        with pytest.raises(StorageError, match="Cannot allocate memory"):
            saving.wait()
        with pytest.raises(StorageError, match="no memory to tell"):
            job.save_async({"short": 1}).wait()
    assert place.data() == needed(job)
    assert job.save_async(state(2)).wait() is not None


def test_where_there_is_no_such_memory_the_job_isnt_opened(
    place: Place, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every system has it."""
    monkeypatch.delattr(shared.os, "memfd_create")
    with pytest.raises(UsageError, match="this system has no memory"):
        place.open(outside=children.begin)
    assert children.started == []
