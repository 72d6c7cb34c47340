"""FUSE daemons for proofs: each is a process of its own, told what to do over a pipe.

The kernel asks a daemon in the middle of somebody's system call, so it must
never be the process that makes the call, nor wait for it: both would hang for
good. A daemon here is a program of this folder that calls `serve`; whoever
wants it starts it with `Daemon`. It ends when its standard input does, and so
with whoever started it, however that ends; calls that wait for it then fail.

The kernel keeps nothing of what these daemons hold: no page cache, no names,
no attributes. `Daemon.count` is a number that the daemon raises with each
operation that counts, in memory that both see: who was told something can note
at which operation that was.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from mounts import die_with_parent

_HERE: Final = Path(__file__).parent
_END_S: Final = 10.0
_COUNTER_BYTES: Final = 8


def lacking() -> str:
    """Return why this machine can't run FUSE daemons, "" if it can."""
    if os.geteuid() != 0:
        return "not root: nothing can be mounted"
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse here"
    if shutil.which("fusermount3") is None:
        return "not installed: fuse3"
    if importlib.util.find_spec("mfusepy") is None:
        return "not installed: mfusepy"
    return ""


class Counter:
    """A number in memory that several processes share."""

    def __init__(self, path: str) -> None:
        """Map the file, which must be there and have its bytes."""
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _COUNTER_BYTES)
        self._value = ctypes.c_uint64.from_buffer(self._memory)

    @property
    def value(self) -> int:
        """The number now: one load, never half of a store."""
        return self._value.value

    @value.setter
    def value(self, value: int) -> None:
        self._value.value = value


class Daemon:
    """A running daemon, mounted at `point`."""

    def __init__(self, program: str, point: str, counter: str) -> None:
        """Start a program of this folder; it is mounted once this returns."""
        self.point = point
        with open(counter, "wb") as file:
            file.write(bytes(_COUNTER_BYTES))
        self.counter = counter
        self._count = Counter(counter)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the daemon
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE / program), point, counter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self._hear()

    @property
    def count(self) -> int:
        """How many operations there were that count."""
        return self._count.value

    def ask(self, do: str, **arguments: Any) -> Any:
        """Have the daemon do something, between two operations, and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        return self._hear()

    def stop(self) -> None:
        """Unmount, and see the daemon's process end; one that doesn't is killed, and calls that wait for it fail."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: PT018
        subprocess.run(["umount", "-l", self.point], check=False, capture_output=True)
        self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise AssertionError(f"the daemon ended: {self._errors.read().decode(errors='replace')[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(f"the daemon: {answer['error']}")
        return answer["answer"]


@contextmanager
def running(program: str, folder: str) -> Iterator[Daemon]:
    """Run a daemon with its mount point and its counter in a folder."""
    point = os.path.join(folder, "fuse")
    os.makedirs(point, exist_ok=True)
    daemon = Daemon(program, point, os.path.join(folder, "count"))
    try:
        yield daemon
    finally:
        daemon.stop()


# -- the daemon's own side ----------------------------------------------------------------------


def serve(operations: Any, commands: dict[str, Callable[..., Any]], point: str, guard: threading.RLock) -> None:
    """Be a daemon: mount, answer the kernel, and do what the pipe says. Returns when unmounted.

    `guard` is held by every operation that the kernel asks for, and here by each command.
    """
    import mfusepy

    die_with_parent()
    said = os.dup(1)
    os.dup2(2, 1)  # a stray print must not look like an answer

    def say(**answer: Any) -> None:
        os.write(said, json.dumps(answer).encode() + b"\n")

    def obey() -> None:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                with guard:
                    answer = commands[request.pop("do")](**request)
            except Exception as error:  # noqa: BLE001 - told to the other side, which raises it
                say(error=f"{type(error).__name__}: {error}")
            else:
                say(answer=answer)
        os._exit(0)  # nobody is left to serve

    def ready(_connection: Any, config: Any) -> None:
        config.attr_timeout = config.entry_timeout = config.negative_timeout = 0.0
        threading.Thread(target=obey, daemon=True).start()
        say(answer="mounted")

    operations.init_with_config = ready
    with suppress(RuntimeError):  # an unmount by force
        mfusepy.FUSE(
            operations,
            point,
            raw_fi=True,
            foreground=True,
            nothreads=True,
            direct_io=True,
            hard_remove=True,
            use_ino=True,
            fsname=type(operations).__name__.lower(),
        )
