"""The process that saves, a real one: killed, stopped, orphaned, told to end; and programs that start it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from waiting import is_itself, wait_for

import journalkit
from journalkit.checkpoint import outside
from journalkit.errors import CheckpointAbortedError, UsageError
from journalkit.format import names

MIB = 1 << 20

HOLDER = """
import os, sys, threading, journalkit
from journalkit.checkpoint import outside
if len(sys.argv) > 2:
    outside.MODULE = sys.argv[2]
job = journalkit.open_checkpoints(sys.argv[1], saving="process")
job.save_async({"step": 1, "model": bytes(3_000_000)}).wait()
print("ready", flush=True)
saving = job.save_async({"step": 2, "model": os.urandom(3_000_000)})
while True:
    try:
        threading.Event().wait(0.05)
        if saving.done:
            print(saving.wait().id, flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""

WAITS = """
import os, threading
from journalkit.checkpoint import save_child
from journalkit.objects.directory import DirectoryObjects
real, count = DirectoryObjects.put, 0
def put(self, key, parts):
    global count
    count += 1
    if count == WHICH:
        open(os.environ["IS_THERE"], "w").close()
        while not os.path.exists(os.environ["GO_ON"]):
            threading.Event().wait(0.01)
    return real(self, key, parts)
def main():
    DirectoryObjects.put = put
    save_child.main()
"""


@pytest.fixture
def child_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what makes every child run this before its own program."""

    def program(body: str) -> None:
        (tmp_path / "another_child.py").write_text(body)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(outside, "MODULE", "another_child")

    return program


def children_of(process: int) -> list[int]:
    """Return the processes that this one has started, zombies too, once they are programs of their own."""
    found = Path(f"/proc/{process}/task").glob("*/children")
    return [int(number) for place in found for number in place.read_text().split()]


def is_running(process: int) -> bool:
    """Whether a process is there and no zombie, or one of its threads is, which keep its files open."""
    try:
        is_zombie = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return not is_zombie or len(os.listdir(f"/proc/{process}/task")) > 1
    except OSError:
        return False


def descriptors() -> list[str]:
    """Return what this process has open."""
    gc.collect()
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}").partition(":[")[0])
    return sorted(found)


def objects(path: Path) -> set[str]:
    """Return the packs and manifests of a place."""
    found = [place for prefix in (names.PACKS, names.MANIFESTS) for place in path.glob(f"{prefix}**/*")]
    return {str(place.relative_to(path)) for place in found if place.is_file()}


def unfinished(path: Path) -> list[Path]:
    """Return what lies in a place and is no object."""
    return list((path / ".tmp").iterdir())


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[tuple[journalkit.Checkpoints, int]]:
    """Open a place, and yield it with its child."""
    before = set(children_of(os.getpid()))
    with journalkit.open_checkpoints(path, saving="process", **options) as job:
        (child,) = set(children_of(os.getpid())) - before
        yield job, child
    assert set(children_of(os.getpid())) == before


STAGES = {
    "while it reads what to save": "save_words.order_in = lambda _: kill()",
    "before its pack": "write(1, before=True)",
    "within its pack": "FileStream.add = lambda *_: kill()",
    "behind its pack": "write(1, before=False)",
    "before its manifest": "write(2, before=True)",
    "behind its manifest": "write(2, before=False)",
    "while it answers": "SharedMemory.append = lambda *_: kill()",
}
KILLS = """
import os, signal
from journalkit.checkpoint import save_child, save_words
from journalkit.fs.shared import SharedMemory
from journalkit.objects.directory import DirectoryObjects
from journalkit.objects.streaming import FileStream
real, count = DirectoryObjects.put, 0
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
def write(which, before):
    def put(self, key, parts):
        global count
        count += 1
        if count == which and before:
            kill()
        size = real(self, key, parts)
        if count == which:
            kill()
        return size
    DirectoryObjects.put = put
def main():
    STAGE
    save_child.main()
"""


@pytest.mark.parametrize("stage", STAGES)
def test_a_child_killed_at_any_stage_costs_its_save_alone(
    stage: str, tmp_path: Path, child_program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the out-of-memory killer does it: the latest is what it was, nothing is left, and the next save works."""
    path = tmp_path / "job"
    with journalkit.open_checkpoints(path) as job:
        first = job.save({"step": 1, "model": bytes(100_000)})
    child_program(KILLS.replace("STAGE", STAGES[stage]))
    before = objects(path)
    with opened(path) as (job, _):
        with pytest.raises(CheckpointAbortedError, match="the process that saves was killed by SIGKILL: nothing was"):
            job.save_async({"step": 2, "model": os.urandom(300_000)}).wait()
        assert [each.id for each in job] == [first.id]
        assert objects(path) == before
        monkeypatch.undo()
        found = job.save_async({"step": 3}).wait()
        assert found is not None
        assert found.load() == {"step": 3}
        assert job.prune().objects == 0
    assert unfinished(path) == []


def test_a_child_that_is_stopped_is_ended_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a debugger, say: nobody waits for ever, and the handle goes on."""
    with opened(tmp_path / "job") as (job, child):
        os.kill(child, signal.SIGSTOP)
        monkeypatch.setattr(outside, "SILENCE_S", 0.5)
        with pytest.raises(CheckpointAbortedError, match="has said nothing"):
            job.save_async({"step": 1}).wait()
        wait_for(lambda: not is_running(child))
        monkeypatch.undo()
        assert job.save_async({"step": 2}).wait() is not None


def test_signals_for_the_job_end_no_save(tmp_path: Path, child_program: Callable[[str], None]) -> None:
    """A terminal or a scheduler sends them to all processes of a job, of which one saves for the last time."""
    is_there, go_on = tmp_path / "is there", tmp_path / "go on"
    child_program(WAITS.replace("WHICH", "1").replace('os.environ["IS_THERE"]', repr(str(is_there))).replace(
        'os.environ["GO_ON"]', repr(str(go_on))
    ))  # fmt: skip
    with opened(tmp_path / "job") as (job, child):
        saving = job.save_async({"model": bytes(1_000_000)})
        wait_for(is_there.exists)
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"):
            os.kill(child, signal.Signals[name])
        assert not saving.done
        go_on.touch()
        found = saving.wait()
        assert found is not None
        assert found.verify() == []


# -- whose parent ends ------------------------------------------------------------------------------


@contextmanager
def holder(path: Path, which: int, **how: Any) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """Start a job whose child stops before that write of its second save; yield both, and what lets it go on."""
    is_there, go_on = path.parent / "is there", path.parent / "go on"
    (path.parent / "waiting_child.py").write_text(WAITS.replace("WHICH", str(2 + which)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path.parent), *sys.path])}
    environment |= {"IS_THERE": str(is_there), "GO_ON": str(go_on)}
    command = [sys.executable, "-P", "-c", HOLDER, str(path), "waiting_child"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True, **how) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            wait_for(is_there.exists)
            (child,) = wait_for(lambda: [child for child in children_of(process.pid) if is_itself(child)])
            yield process, child, go_on
        finally:
            process.kill()


@pytest.mark.parametrize("which", [1, 2])
def test_a_child_ends_with_its_job_and_publishes_nothing(which: int, tmp_path: Path) -> None:
    """Killed between pack and manifest, too; the next writer sweeps what there is."""
    path = tmp_path / "job"
    with holder(path, which) as (process, child, _):
        process.kill()
        process.wait()
        wait_for(lambda: not is_running(child))
    with journalkit.open_checkpoints(path) as job:
        assert [each.id for each in job] == ["1.1"]
        assert len(objects(path)) == 2
        job.save({"step": 3})
        assert job.prune().objects == 0
    assert unfinished(path) == []


def test_an_orphan_that_goes_on_later_writes_what_nobody_takes(tmp_path: Path) -> None:
    """It was stopped when its job was killed: it ends when it goes on, and whatever it did is an old epoch's."""
    path = tmp_path / "job"
    with holder(path, 2) as (process, child, go_on):
        os.kill(child, signal.SIGSTOP)
        process.kill()
        process.wait()
        with journalkit.open_checkpoints(path) as job:
            second = job.save({"step": 3})
            go_on.touch()
            os.kill(child, signal.SIGCONT)
            wait_for(lambda: not is_running(child))
            assert [each.id for each in job] == [second.id, "1.1"]
            job.prune()
            assert [each.verify() for each in job] == [[], []]
            assert job.prune().objects == 0


def test_ctrl_c_is_the_jobs_to_answer(tmp_path: Path) -> None:
    """It goes to the terminal's whole process group, in the middle of a save that the job then waits for."""
    with holder(tmp_path / "job", 1, process_group=0) as (process, child, go_on):
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "interrupted\n"
        assert is_running(child)
        go_on.touch()
        assert process.stdout.readline() == "1.2\n"


# -- what is left -----------------------------------------------------------------------------------


def test_nothing_is_left_however_often_a_job_is_opened(tmp_path: Path) -> None:
    """No descriptor, no process, no memory, no file."""
    before, processes = descriptors(), children_of(os.getpid())
    for number in range(3):
        with journalkit.open_checkpoints(tmp_path / "job", saving="process") as job:
            for step in range(3):
                job.save_async({"step": step, "model": bytearray(os.urandom(MIB))}).wait()
            if number == 1:
                (child,) = set(children_of(os.getpid())) - set(processes)
                os.kill(child, signal.SIGKILL)
    assert descriptors() == before
    assert children_of(os.getpid()) == processes
    assert unfinished(tmp_path / "job") == []


def test_a_fork_of_the_job_keeps_nothing_and_ends_nothing(tmp_path: Path) -> None:
    """A worker that loads data is forked while a save is under way, and lives for longer than the job."""
    with opened(tmp_path / "job") as (job, child):
        saving = job.save_async({"model": bytearray(8 * MIB)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it has threads
            fork = os.fork()
        if not fork:
            kept = [each for each in descriptors() if each == "pipe"]
            del job, saving
            gc.collect()
            os._exit(len(kept))
        _, status = os.waitpid(fork, 0)
        assert os.waitstatus_to_exitcode(status) == len([each for each in descriptors() if each == "pipe"]) - 2
        assert saving.wait() is not None
        assert is_running(child)
        assert job.save_async({"model": bytearray(9 * MIB)}).wait() is not None


def test_a_program_with_python_inside_is_refused_when_it_opens_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not hours later, and before the job is taken over."""
    monkeypatch.setattr(sys, "executable", "/usr/sbin/app")
    with pytest.raises(UsageError, match="there is no Python interpreter to start"):
        journalkit.open_checkpoints(tmp_path / "job", saving="process")
    assert not (tmp_path / "job" / "heads").exists()


SCRIPT = """
import sys
sys.path[:0] = {path!r}
import journalkit
print("main")
job = journalkit.open_checkpoints({place!r}, saving="process")
job.save_async({{"model": bytearray(3_000_000)}}, offsets={{"in": 1}})
"""


@pytest.mark.parametrize("how", ["a script", "isolated", "a command", "typed in"])
def test_any_program_can_have_one(how: str, tmp_path: Path) -> None:
    """Without a guard, which runs once; nobody closes, and the end of the program waits for the save."""
    program = SCRIPT.format(path=[entry for entry in sys.path if entry], place=str(tmp_path / "job"))
    (tmp_path / "script.py").write_text(program)
    arguments = {"a script": [str(tmp_path / "script.py")], "isolated": ["-I", "-E", str(tmp_path / "script.py")],
                 "a command": ["-c", program], "typed in": ["-i", "-q"]}[how]  # fmt: skip
    ended = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=100, check=False,
        input=program + "\n" if how == "typed in" else "", cwd=tmp_path,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout.count("main\n")) == (0, 1), ended
    with journalkit.open_checkpoints(tmp_path / "job", mode="r") as reader:
        found = reader.latest()
    assert found is not None
    assert (dict(found.offsets), found.verify()) == ({"in": 1}, [])


def test_saves_of_many_threads_go_one_after_the_other(tmp_path: Path) -> None:
    """One child, one memory, and whoever comes next waits."""
    with opened(tmp_path / "job") as (job, _):
        threads = [
            threading.Thread(target=lambda number=number: job.save_async({"number": number, "x": bytearray(MIB)}))
            for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        job.wait()
        assert sorted(each.load()["number"] for each in job) == list(range(6))


def test_what_it_saves_is_copied_beside_too(tmp_path: Path) -> None:
    """A restart on this node reads from the fast disk, whoever wrote."""
    with opened(tmp_path / "job", local=tmp_path / "fast") as (job, _):
        saved = job.save_async({"model": bytearray(MIB)}).wait()
        assert saved is not None
        copies = {str(Path(*place.parts[-3:])) for place in tmp_path.glob("fast/*/*/*/*") if place.is_file()}
        assert copies == objects(tmp_path / "job")
        assert saved.load() == {"model": bytearray(MIB)}
