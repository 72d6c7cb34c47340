"""Child processes: a module's `main`, in a process of its own, spoken to through two pipes.

The child is a new interpreter, never a fork of this process, whose threads it
would not have. It inherits two pipes, memory that is shared with it on purpose
(`journalkit.fs.shared`), and no other descriptor: not the lock, nor any file of
a store. Pipes are closed in forked children like every file of
ours (`journalkit.fs.descriptors`), so a pipe ends when its process does.

A child doesn't outlive who started it: it ends when its pipe does, or when it
has another parent. It is in a process group of its own, so that Ctrl-C is for
its parent to answer.

What stands in the second half is the child's side.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Final

from journalkit.fs.descriptors import Descriptor, Handle, fork_guard
from journalkit.fs.shared import SharedMemory

_PAUSE_S: Final = 0.02
_END_S: Final = 0.5
_READ_BYTES: Final = 1 << 16
_LOOK_S: Final = 0.25
_NICENESS: Final = 5
"""How much a child steps back behind the process that it works for, where both want the same core."""

_BEGIN: Final = (
    "import sys; sys.path[:] = sys.argv[3:]; from importlib import import_module; import_module(sys.argv[1]).main()"
)
"""What the child runs. `-P` keeps its working directory out of the way until it looks where its parent looks."""


class PosixChild:
    """`Child`, as a process."""

    def __init__(self, module: str, memory: SharedMemory | None = None) -> None:
        """Start `main()` of that module, which has the memory under the same number. Raises OSError."""
        program = interpreter()
        paths = [path for path in sys.path if "\0" not in path]
        with fork_guard:
            theirs_in, ours_out = _pipe("a child's input")
            ours_in, theirs_out = _pipe("a child's output")
        try:
            self._process = subprocess.Popen(
                [program, "-P", "-W", "ignore", "-c", _BEGIN, module, str(os.getpid()), *paths],
                stdin=theirs_in.fileno(),
                stdout=theirs_out.fileno(),
                stderr=subprocess.STDOUT,
                pass_fds=() if memory is None else (memory.fileno(),),
                process_group=0,
            )
        finally:
            theirs_in.abandon()
            theirs_out.abandon()
        self._out, self._in = ours_out, ours_in
        os.set_blocking(ours_out.fileno(), False)

    def send(self, data: bytes, pause: Callable[[], None]) -> None:
        """As `Child.send`."""
        rest = memoryview(data)
        while rest:
            if not _wait(self._out.fileno(), select.POLLOUT, _PAUSE_S):
                pause()
                continue
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self._out.fileno(), rest) :]

    def receive(self, timeout_s: float) -> bytes | None:
        """As `Child.receive`."""
        pipe = self._in.fileno()
        if _wait(pipe, select.POLLIN, timeout_s):
            return os.read(pipe, _READ_BYTES)
        # Whoever else has the pipe keeps it open; the process itself doesn't.
        return None if self._process.poll() is None else b""

    def end(self) -> int | None:
        """As `Child.end`."""
        process = self._process
        if process.returncode is None:
            process.kill()
        self._out.abandon()
        self._in.abandon()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        return process.returncode


class _Pipe(Handle):
    """One end of a pipe."""

    def fileno(self) -> int:
        """Return the descriptor; EBADF once it was closed."""
        return self._held()


def _pipe(name: str) -> tuple[_Pipe, _Pipe]:
    read, write = os.pipe()
    return _Pipe(Descriptor(read), name), _Pipe(Descriptor(write), name)


def _wait(pipe: int, events: int, timeout_s: float) -> bool:
    """Wait until something can be done with a pipe, or its other end is gone, and return whether that is so."""
    poll = select.poll()  # `select` itself knows no descriptor above 1023
    poll.register(pipe, events)
    return bool(poll.poll(timeout_s * 1000))


def interpreter() -> str:
    """Return the program that runs Python here; OSError where none is known.

    In a program that has Python inside, `sys.executable` is that program, and
    starting it would be something else.
    """
    program = sys.executable
    name = os.path.basename(program or "").lower()
    if getattr(sys, "frozen", False) or not name.startswith(("python", "pypy")):
        shown = repr(program) if program else "not known"
        raise OSError(f"there is no Python interpreter to start: the program is {shown}, with Python inside it")
    return program


# The child's side


class Parent:
    """The process that started this one, as a child sees it."""

    def __init__(self) -> None:
        """Take the pipes. Only in a child that `PosixChild` started."""
        self._process = int(sys.argv[2])
        with contextlib.suppress(OSError):
            os.nice(_NICENESS)

    def read(self, count_bytes: int) -> bytes:
        """Return so many bytes from the parent; if it is gone, so is this process."""
        parts: list[bytes] = []
        while count_bytes:
            parts.append(self._read(count_bytes))
            count_bytes -= len(parts[-1])
        return b"".join(parts)

    def say(self, data: bytes) -> None:
        """Tell the parent."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(1, rest) :]

    def watch(self, on_word: Callable[[], None]) -> None:
        """From now on end with the parent, and call `on_word` in a thread when it sends anything more."""

        def loop() -> None:
            while True:
                self._read(1)
                on_word()

        threading.Thread(target=loop, daemon=True).start()

    def _read(self, count_bytes: int) -> bytes:
        while True:
            ready = _wait(0, select.POLLIN, _LOOK_S)
            data = os.read(0, count_bytes) if ready else None
            if data:
                return data
            if data is not None or os.getppid() != self._process:
                os._exit(1)
