"""Ends: of the program while a save is under way, of threads that can't be had, of handles that others use."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.checkpoint.background import OneAtATime, Saving
from journalkit.errors import ArchiveUnavailableError, ClosedError, UsageError
from journalkit.runtime import lifecycle
from tests.unit.checkpoint.conftest import Place

PROGRAM = """
import sys
sys.path[:0] = {path!r}
import random
import journalkit

job = journalkit.open_checkpoints({place!r})
job.save_async({{"model": bytearray(random.Random(1).randbytes(24_000_000))}}, offsets={{"in": 1}})
"""


def test_a_program_that_ends_while_a_save_is_under_way_waits_for_it(tmp_path: Path) -> None:
    """Nobody closed the handle; the interpreter begins no thread any more, and the save needs none."""
    program = PROGRAM.format(path=[entry for entry in sys.path if entry], place=str(tmp_path / "job"))
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    with journalkit.open_checkpoints(tmp_path / "job", mode="r") as reader:
        found = reader.latest()
    assert found is not None
    assert (dict(found.offsets), found.verify()) == ({"in": 1}, [])


def test_a_save_needs_no_threads_of_its_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has no more of them; what goes wrong without them is told as with them."""

    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse)
    state = {"model": bytes(5_000_000)}
    job = place.open()
    saved = job.save(state)
    assert saved.load() == state
    place.flip(next(iter(saved.manifest.packs())))
    assert len(saved.verify()) == 1


def test_a_save_that_no_thread_can_be_had_for_isnt_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never began, and the next one does."""
    saves = OneAtATime()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start")))
        with saves.turn(), pytest.raises(RuntimeError, match="can't start"):
            saves.begin(lambda _: place.open().save({}))
    assert saves.wait() is None
    with saves.turn():
        saving = saves.begin(lambda _: place.open().save({}))
    assert saving.wait() is not None


def test_whatever_a_handle_says_at_exit_the_others_are_closed(place: Place) -> None:
    """A defect in one of them is no reason for the next one's save to be lost."""

    class Broken:
        def forbid(self) -> None: ...

        def close(self) -> None:
            raise RuntimeError("broken")

    first, last = Broken(), Broken()
    lifecycle.register(first)
    job = place.open()
    lifecycle.register(last)
    lifecycle._at_exit()
    lifecycle.unregister(first)
    lifecycle.unregister(last)
    assert "closed" in repr(job)


def test_of_many_threads_saves_each_failure_is_told_to_somebody(place: Place) -> None:
    """They share a handle: no save is lost, none fails in silence, and one is under way at a time."""
    job = place.open()
    place.bucket.rates = {"unavailable": 0.02}
    told: list[ArchiveUnavailableError] = []
    asked = 0

    def work() -> None:
        nonlocal asked
        for number in range(20):
            try:
                job.save_async({"step": number})
                asked += 1
                job.wait()
            except ArchiveUnavailableError as error:
                told.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    place.bucket.rates = {}
    try:
        job.wait()
    except ArchiveUnavailableError as error:
        told.append(error)
    failed = asked - len(job)
    assert failed == len(told)
    assert failed > 0


def test_close_waits_for_the_save_of_another_thread_and_lets_none_begin(place: Place) -> None:
    """It was published or not, and what it wrote isn't pulled from under it."""
    job = place.open()
    is_writing, may_go_on = threading.Event(), threading.Event()

    def hold(_who: str, operation: str, _key: str) -> None:
        if operation == "put":
            place.bucket.before = None
            is_writing.set()
            may_go_on.wait(10)

    place.bucket.before = hold
    saved: list[Any] = []
    saving = threading.Thread(target=lambda: saved.append(job.save({"step": 1})))
    saving.start()
    is_writing.wait(10)
    closing = threading.Thread(target=job.close)
    closing.start()
    while "closed" not in repr(job):
        closing.join(0.01)
    with pytest.raises(ClosedError):
        job.save({"step": 2})
    may_go_on.set()
    saving.join()
    closing.join()
    with pytest.raises(ClosedError):
        job.latest()
    assert [each.id for each in saved] == ["1.1"]


def test_a_save_within_a_save_is_refused_and_doesnt_wait_for_ever(place: Place) -> None:
    """A progress callback, or a signal's handler, that saves; the outer save is none the worse."""
    job = place.open()
    raised: list[UsageError] = []

    def again(_done: int, _total: int) -> None:
        for save in (job.save, job.save_async):
            with pytest.raises(UsageError, match="from within") as caught:
                save({"step": 2})
            raised.append(caught.value)

    assert job.save({"model": bytes(100_000)}, progress=again).id == "1.1"
    assert len(raised) == 2
    assert job.save({"step": 3}).id == "1.2"


def test_whoever_is_interrupted_while_waiting_hasnt_been_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is there for the next one who asks."""
    job = place.open()
    place.bucket.fail("put", 1, "unavailable")
    saving = job.save_async({"model": bytes(100_000)})
    saving.join()
    with monkeypatch.context() as patched:
        patched.setattr(Saving, "told", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            job.wait()
    with pytest.raises(ArchiveUnavailableError):
        job.save({"step": 2})
