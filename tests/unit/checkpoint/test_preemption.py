"""A job whose time is up: a whole save within the grace period, or none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import pytest

from journalkit.checkpoint.open import open_checkpoints
from journalkit.errors import ArchiveUnavailableError, FencedError, ReadOnlyError, UsageError
from journalkit.integrations import slurm
from tests.unit.checkpoint.conftest import Place, state

JOB = """
import sys
sys.path[:0] = {path!r}
import time
import journalkit

with journalkit.open_checkpoints({place!r}) as checkpoints, checkpoints.on_preemption(grace=20) as preemption:
    loaded = checkpoints.load_latest()
    total, done = (loaded[0]["total"], loaded[1].offsets["in"]) if loaded else (0, 0)
    print("begun", flush=True)
    while done < 400 and not preemption.requested:
        done += 1
        total += done
        time.sleep(0.002)
    saved = preemption.save({{"total": total}}, offsets={{"in": done}})
    print(preemption.reason, done, saved.id, flush=True)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_is_noted_and_the_job_saves_in_time(place: Place, name: str) -> None:
    """It goes on until it asks; `due` says so too."""
    job = place.open()
    with job.on_preemption(grace=30) as preemption:
        assert (preemption.requested, preemption.remaining_s, job.due()) == (False, 30, False)
        signal.raise_signal(signal.Signals[name])
        assert (preemption.requested, preemption.reason, job.due()) == (True, name, True)
        place.clock.advance(10)
        assert preemption.remaining_s == 20
        signal.raise_signal(signal.Signals[name])
        assert preemption.remaining_s == 20
        saved = preemption.save(state(1), offsets={"in": 5}, name="before the end")
        assert saved is not None
    assert job.latest() == saved
    assert saved.offsets == {"in": 5}


def test_handlers_that_were_there_are_called_and_come_back(place: Place) -> None:
    """A framework around the job listens too."""
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        del frame
        heard.append(number)

    before = signal.signal(signal.SIGUSR1, hear)
    try:
        with place.open().on_preemption() as preemption:
            signal.raise_signal(signal.SIGUSR1)
            assert preemption.requested
            assert heard == [signal.SIGUSR1]
        signal.raise_signal(signal.SIGUSR1)
        assert len(heard) == 2
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_isnt_done_in_time_is_none(place: Place) -> None:
    """The storage hangs; the latest is the one that it was, and nobody waits longer than the grace period."""
    job = place.open()
    first = job.save(state(1))
    gate = threading.Event()
    place.bucket.before = lambda _who, operation, _key: gate.wait() and None if operation == "put" else None
    preemption = job.on_preemption(grace=0.2, signals=())
    preemption._clock = _Real()
    preemption.request("a notice")
    begun_s = time.monotonic()
    assert preemption.save(state(2)) is None
    assert time.monotonic() - begun_s < 5
    assert job.latest() == first
    assert preemption.save(state(3)) is None
    gate.set()


def test_a_save_that_was_under_way_and_failed_doesnt_keep_the_last_one_from_being_tried(place: Place) -> None:
    """There is no later one to be told by."""
    job = place.open()
    preemption = job.on_preemption(signals=())
    place.bucket.fail("put", 1, "unavailable")
    job.save_async(state(1))
    preemption.request()
    saved = preemption.save(state(2))
    assert saved is not None
    assert saved.load() == state(2)
    place.bucket.fail("put", 1, "unavailable")
    with pytest.raises(ArchiveUnavailableError):
        preemption.save(state(3))
    place.open("another node")
    job.save_async(state(4)).join()
    with pytest.raises(FencedError):
        preemption.save(state(5))


def test_what_makes_no_sense_is_refused(place: Place) -> None:
    """When it is asked for, not when the time is up."""
    job = place.open()
    with pytest.raises(UsageError):
        job.on_preemption(grace=0)
    with pytest.raises(UsageError, match="no signal"):
        job.on_preemption(signals=["SIGNOTHING"])
    with pytest.raises(ReadOnlyError):
        place.open("reader", mode="r").on_preemption()
    raised: list[Exception] = []

    def enter() -> None:
        try:
            with job.on_preemption():
                pass
        except UsageError as error:
            raised.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert "main thread" in str(raised[0])


def test_a_job_that_is_terminated_again_and_again_counts_everything_once(tmp_path: Path) -> None:
    """As a scheduler does it: SIGTERM, a grace period, and the job is started again, maybe elsewhere."""
    place = tmp_path / "job"
    path = [entry for entry in sys.path if entry]
    program = JOB.format(path=path, place=str(place))
    reasons = []
    for _ in range(30):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.1)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[0].split()
        # Behind its last word it listens no more.
        assert process.returncode in (0, -signal.SIGTERM)
        reasons.append(said[0])
        if said[0] != "SIGTERM":
            break
    assert reasons.count("SIGTERM") > 1
    with open_checkpoints(place, mode="r") as reader:
        loaded = reader.load_latest()
    assert loaded is not None
    assert loaded[0] == {"total": sum(range(401))}
    assert loaded[1].offsets == {"in": 400}


def test_a_job_asks_slurm_to_run_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its id, or its task's; outside of Slurm there is nobody to ask."""
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    assert not slurm.requeue()
    scontrol = tmp_path / "scontrol"
    refuse = '[ "$2" != 13 ] || { echo "Job is bad" >&2; exit 1; }'
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n{refuse}\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert slurm.requeue()
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert slurm.requeue()
    assert (tmp_path / "asked").read_text() == "requeue 12\nrequeue 10_3\n"
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID")
    monkeypatch.setenv("SLURM_JOB_ID", "13")
    with pytest.raises(slurm.RequeueError, match="Job is bad"):
        slurm.requeue()
    scontrol.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(slurm.RequeueError, match="can't be requeued"):
        slurm.requeue()


class _Real:
    """Time as it passes."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_us(self) -> int:
        raise NotImplementedError

    def sleep(self, duration_s: float) -> None:
        raise NotImplementedError

    def random_bytes(self, count: int) -> bytes:
        raise NotImplementedError
