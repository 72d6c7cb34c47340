"""The real file system between processes: forks and locks, killed owners too."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import journalkit
from journalkit.fs.interface import WritableFile
from journalkit.fs.lock import read_description
from journalkit.fs.posix import PosixFileSystem

FS = PosixFileSystem()


def in_forked_child(check: Callable[[], bool]) -> bool:
    """Run a check in a forked child and return what it said; False if it raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the runner may have threads
        pid = os.fork()
    if pid == 0:
        code = 2
        try:
            code = 0 if check() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def raises_ebadf(use: Callable[[], object]) -> bool:
    """Whether a use is refused as one of a closed descriptor."""
    try:
        use()
    except OSError as error:
        return error.errno == errno.EBADF
    return False


def descriptors() -> dict[str, str]:
    """Return the process's open descriptors and what they are of."""
    gc.collect()  # what earlier tests left in cycles would else go at any moment
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # the listing's own
    return found


def start(program: str) -> subprocess.Popen[bytes]:
    """Start a Python program that finds the package where this one did."""
    found = str(Path(next(iter(journalkit.__path__))).parent)
    environment = {**os.environ, "PYTHONPATH": found, "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Let go of a program that was started."""
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
    process.wait()


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a test puts its file."""
    return str(tmp_path / "a")


@pytest.fixture
def file(path: str) -> WritableFile:
    """A new, empty file, open for writing."""
    return FS.create(path)


# -- fork ------------------------------------------------------------------------------------------


def test_a_forked_child_has_none_of_its_parent_s_files(file: WritableFile, path: str, tmp_path: Path) -> None:
    """A child that writes to its parent's log, or keeps its lock alive, is a second writer."""
    file.pwrite(b"parent", 0)
    reader, direct, lock = FS.open_read(path), FS.open_direct(path), FS.lock(str(tmp_path / "LOCK"))
    assert lock is not None
    uses: list[Callable[[], object]] = [
        lambda: file.pwrite(b"child", 0), file.sync_data, file.sync, file.size, lambda: file.pread(1, 0),
        lambda: file.truncate(0), lambda: reader.pread(1, 0), lambda: direct.pread(1, 0),
        lock.is_valid, lambda: lock.describe(b"child"),
    ]  # fmt: skip

    def check() -> bool:
        is_shut = all(raises_ebadf(use) for use in uses)
        has_none = not any(name.startswith(str(tmp_path)) for name in descriptors().values())
        for handle in (file, reader, direct, lock):
            handle.close()
        return is_shut and has_none

    assert in_forked_child(check)
    assert FS.lock(str(tmp_path / "LOCK")) is None
    assert (file.pread(99, 0), file.pwrite(b"!", 6), lock.is_valid()) == (b"parent", 1, True)
    for handle in (file, reader, direct, lock):
        handle.close()


def test_a_child_s_own_descriptors_are_not_its_parent_s_to_close(file: WritableFile, tmp_path: Path) -> None:
    """The parent's handle, dropped in the child, must not close the number that the child was given again."""

    def check() -> bool:
        own = FS.create(str(tmp_path / "child"))
        file.close()
        own.pwrite(b"x", 0)
        return own.pread(1, 0) == b"x"

    assert in_forked_child(check)
    file.close()


def test_a_living_child_does_not_hold_its_dead_parent_s_lock(tmp_path: Path) -> None:
    """`flock` is shared by fork: a worker that outlives the writer would lock everybody out."""
    path = str(tmp_path / "LOCK")
    holder = (
        "import os, sys\n"
        "from journalkit.fs.posix import PosixFileSystem\n"
        f"lock = PosixFileSystem().lock({path!r})\n"
        "if os.fork() == 0:\n"
        "    print('child', flush=True)\n"
        "    sys.stdin.read()\n"
        "else:\n"
        "    os.wait()\n"
    )
    process = start(holder)
    assert process.stdout is not None
    assert process.stdout.readline() == b"child\n"
    process.kill()
    process.wait()
    lock = FS.lock(path)
    assert lock is not None
    lock.close()
    finish(process)


FORK_AMONG_THREADS = """
import os, sys, threading
from journalkit.fs.posix import PosixFileSystem

folder, fs, is_over = sys.argv[1], PosixFileSystem(), threading.Event()

def open_and_close(index):
    while not is_over.is_set():
        lock = fs.lock(f"{folder}/LOCK{index}")
        if lock is not None:
            lock.close()

def leaks():
    for number in os.listdir("/proc/self/fd"):
        try:
            if folder in os.readlink(f"/proc/self/fd/{number}"):
                return True
        except FileNotFoundError:
            pass
    return False

threads = [threading.Thread(target=open_and_close, args=(index,), daemon=True) for index in range(2)]
for thread in threads:
    thread.start()
leaked = 0
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        os._exit(leaks())
    leaked += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
is_over.set()
print(leaked)
"""


def test_threads_that_open_files_do_not_leak_them_into_a_fork(tmp_path: Path) -> None:
    """Between the kernel's open and our noting it a fork must wait.

    In a process of its own: what a test runner's own threads hold at a fork is not ours to free in the child.
    """
    found = str(Path(next(iter(journalkit.__path__))).parent)
    ran = subprocess.run(
        [sys.executable, "-c", FORK_AMONG_THREADS, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": found, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout == "0\n"


# -- the lock between processes --------------------------------------------------------------------


def test_another_process_s_lock_holds_until_it_is_killed(tmp_path: Path) -> None:
    """After `kill -9` the next opener gets in, and nobody has to remove a file."""
    path = str(tmp_path / "LOCK")
    process = start(
        "import sys\n"
        "from journalkit.fs.posix import PosixFileSystem\n"
        f"lock = PosixFileSystem().lock({path!r})\n"
        "lock.describe(b'the other process')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"
    assert FS.lock(path) is None
    assert read_description(FS, path) == b"the other process"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    lock = FS.lock(path)
    assert lock is not None
    lock.close()
    finish(process)


def test_closing_a_lock_frees_it_though_a_subprocess_shares_the_open_file(tmp_path: Path) -> None:
    """Between fork and exec every subprocess has a copy of the descriptor; the owner's close has to count."""
    path = str(tmp_path / "LOCK")
    lock = FS.lock(path)
    assert lock is not None
    number = next(number for number, name in descriptors().items() if name == path)
    copy = os.dup(int(number))
    lock.close()
    again = FS.lock(path)
    assert again is not None
    again.close()
    os.close(copy)


def test_a_lock_file_replaced_between_open_and_lock_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock on an unlinked file excludes nobody: open again and lock what is there now."""
    path = tmp_path / "LOCK"
    true_flock = fcntl.flock
    replacements: list[Path] = []

    def flock(descriptor: int, operation: int) -> None:
        if len(replacements) < 3 and operation & fcntl.LOCK_EX:
            path.unlink()
            if len(replacements) % 2:
                path.write_bytes(b"")
            replacements.append(path)
        true_flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = FS.lock(str(path))
    assert lock is not None
    assert lock.is_valid()
    lock.close()


def test_a_lock_file_that_keeps_being_replaced_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a lock nor a refusal would be true, and trying for ever would hang."""
    path = tmp_path / "LOCK"
    monkeypatch.setattr(fcntl, "flock", lambda *_: path.unlink())
    before = descriptors()
    with pytest.raises(OSError) as caught:
        FS.lock(str(path))
    assert caught.value.errno == errno.ESTALE
    assert descriptors() == before


def test_a_file_system_without_locks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking ENOLCK for a lock would let two writers in."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    before = descriptors()
    with pytest.raises(OSError) as caught:
        FS.lock(str(tmp_path / "LOCK"))
    assert caught.value.errno == errno.ENOLCK
    assert descriptors() == before
