"""Ctrl-C at every place where the interpreter lets one in, and exceptions that threads send each other.

CPython looks for signals behind calls, at the start of functions and at the
backward jump of loops. `Interrupter` traces the code of the log instruction
by instruction and raises at the n-th such place, for every n.
"""

from __future__ import annotations

import ctypes
import dis
import errno
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from journalkit.clock import SystemClock
from journalkit.errors import JournalError, StorageError, StoreFullError
from journalkit.fs.memory import MemoryFileSystem
from journalkit.fs.posix import PosixFileSystem

Maker = Callable[..., Any]

LETS_IN = ("CALL", "JUMP_BACKWARD", "RESUME")


class Interrupter:
    """Raises KeyboardInterrupt at the nth place inside the given folders that would let one in."""

    def __init__(self, nth: int, *folders: str) -> None:
        self.left = nth
        self._folders = folders
        self._names: dict[CodeType, dict[int, str]] = {}
        self._before: dict[FrameType, str] = {}

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Trace what runs inside; the tracer that measures coverage comes back afterwards."""
        previous = sys.gettrace()
        # Python 3.12 looks at settrace whether any frame wants opcodes, and not again.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(previous)
            self._before.clear()

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "call":
            if not any(folder in frame.f_code.co_filename for folder in self._folders):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            code = frame.f_code
            if code not in self._names:
                self._names[code] = {each.offset: each.opname for each in dis.get_instructions(code)}
            lets_in = self._before.get(frame, "").startswith(LETS_IN)
            self._before[frame] = self._names[code].get(frame.f_lasti, "")
            if lets_in:
                self.left -= 1
                if self.left == 0:
                    raise KeyboardInterrupt
        elif event == "return":
            self._before.pop(frame, None)
        return self._trace


LOG = "/journalkit/log/"
ALL = (LOG, "/journalkit/manifest.py", "/journalkit/fs/atomic.py")


def commits(log: Any) -> None:
    """Write in each strength."""
    log.put(b"one")
    log.put(b"two", durable=True)
    log.log.sync()


def rotation(log: Any) -> None:
    """Write what makes the log rotate."""
    log.put(b"x" * 300)


def closing(log: Any) -> None:
    """Close the log."""
    log.log.close()


def preparing(log: Any) -> None:
    """Do what a compactor does."""
    log.log.prepare_next()
    log.log.rotate()
    log.log.forget(0)


@pytest.mark.parametrize(
    ("work", "records", "folders", "places"),
    [(commits, 1, (LOG,), 10), (rotation, 12, ALL, 25), (preparing, 1, ALL, 40), (closing, 1, (LOG,), 12)],
)
def test_an_interrupt_anywhere_leaves_a_log_that_goes_on(
    bench: Maker, work: Callable[[Any], None], records: int, folders: tuple[str, ...], places: int
) -> None:
    """No acknowledged record is lost, none stands twice, nobody waits for a leader that is gone."""
    nth = 1
    while True:
        log = bench(fs=MemoryFileSystem(), segment_bytes_max=4096)
        log.put(b"durable", durable=True)
        for _ in range(records):
            log.put(b"x" * 300)
        interrupter = Interrupter(nth, *folders)
        try:
            with interrupter.armed():
                work(log)
        except KeyboardInterrupt:
            pass
        else:
            assert interrupter.left > 0
            break
        goes_on(log, is_closed=work is closing)
        nth += 1
    assert nth > places


def goes_on(log: Any, *, is_closed: bool = False) -> None:
    """Hold everything that must be true after an interruption."""
    assert not log.log._leadership.locked()
    if not is_closed:
        log.put(b"after")
        log.put(b"y" * 3000, durable=True)
        log.put(b"z" * 3000)
        log.log.prepare_next()
        log.put(b"end", durable=True)
    log.log.close()
    records = log.check()
    assert dict(records) == log.visible


@pytest.mark.parametrize("operation", ["sync_data", "pwrite"])
@pytest.mark.parametrize("path", ["log-", "durable"])
def test_no_interrupt_hides_a_failure_of_the_disk(bench: Maker, operation: str, path: str) -> None:
    """The interruption comes just when the error is being noted: a later fsync must not say that all is well."""
    nth = 1
    while True:
        log = bench(segment_bytes_max=4096)
        log.put(b"first", durable=True)
        log.put(b"second")
        log.fs.fail(operation, 1, errno.EIO, times=2 if path == "durable" else 1, path_contains=path)
        interrupter = Interrupter(nth, LOG)
        try:
            with interrupter.armed():
                log.put(b"third", durable=True)
        except KeyboardInterrupt:
            pass
        except StorageError:
            assert interrupter.left > 0
            break
        else:
            assert (operation, path) == ("sync_data", "durable")
            assert interrupter.left > 0
            return
        # An interrupted pwrite is done again, the same bytes at the same place; a failed fsync is never tried again.
        has_failed = any("Input/output error" in line for line in log.fs.history())
        if has_failed and operation == "sync_data":
            with pytest.raises(StorageError):
                log.put(b"fourth", durable=True)
        else:
            with suppress(StorageError):
                log.put(b"fourth", durable=True)
        durable = {lsn: payload for lsn, payload in log.acknowledged.items() if lsn <= log.log.durable_lsn}
        log.check(log.fs.crash("none"), promised=durable)
        nth += 1
    assert nth > 7


def test_no_interrupt_spoils_a_full_disk(bench: Maker) -> None:
    """What was half written is erased, or overwritten by the same bytes; nothing in between."""
    nth = 1
    while True:
        log = bench(segment_bytes_max=1 << 16)
        log.put(b"first", durable=True)
        log.fs.short_write(1, 30, path_contains="log-")
        log.fs.fail("pwrite", 2, errno.ENOSPC, path_contains="log-")
        interrupter = Interrupter(nth, LOG)
        try:
            with interrupter.armed():
                log.put(b"second" * 20)
        except KeyboardInterrupt:
            pass
        except StoreFullError:
            assert interrupter.left > 0
            break
        # If the interruption came before the error did, the error is still to come.
        with suppress(StoreFullError):
            log.put(b"third", durable=True)
        log.put(b"fourth", durable=True)
        log.log.close()
        assert dict(log.check(log.fs.crash("none"))) == log.visible
        nth += 1
    assert nth > 7


@contextmanager
def untraced() -> Iterator[None]:
    """Measure no coverage meanwhile.

    With a tracer on, CPython 3.11 spins at the start of a function while an exception is pending for any thread, and
    so may that thread be kept from ever taking it. And one that is raised inside coverage's own lock leaves it held.
    """
    mine, new_ones = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        threading.settrace(new_ones)  # type: ignore[arg-type]
        sys.settrace(mine)


def test_real_signals_at_random_moments_do_no_harm(
    bench: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traced places are ours to choose; these are the interpreter's own."""
    # One that comes inside a finalizer can't be raised; the interpreter only reports it.
    monkeypatch.setattr(sys, "unraisablehook", lambda report: None)
    log = bench(fs=PosixFileSystem(), directory=str(tmp_path / "log"), clock=SystemClock(), segment_bytes_max=1 << 14)
    chance, armed, stop, main = random.Random(7), [False], threading.Event(), threading.get_ident()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if armed[0]:
            armed[0] = False
            raise KeyboardInterrupt

    def disturb() -> None:
        while not stop.wait(chance.random() * 0.001):
            signal.pthread_kill(main, signal.SIGUSR1)

    previous = signal.signal(signal.SIGUSR1, interrupt)
    disturber = threading.Thread(target=disturb)
    disturber.start()
    interrupted = index = 0
    until = time.monotonic() + 1.5
    with untraced():
        while time.monotonic() < until:
            index += 1
            try:
                armed[0] = True
                log.put(b"%d" % index, durable=index % 50 == 0)
                armed[0] = False
            except KeyboardInterrupt:
                interrupted += 1
    stop.set()
    disturber.join()
    signal.signal(signal.SIGUSR1, previous)
    assert interrupted > 20
    goes_on(log)


class Sent(BaseException):
    """What one thread sends another."""


def test_exceptions_sent_to_threads_do_no_harm(bench: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaders and followers vanish at any moment; whoever is left carries on, and nobody waits for ever."""
    monkeypatch.setattr(sys, "unraisablehook", lambda report: None)
    log = bench(fs=PosixFileSystem(), directory=str(tmp_path / "log"), clock=SystemClock(), segment_bytes_max=1 << 14)
    stop, chance, sent = threading.Event(), random.Random(11), 0
    errors: list[BaseException] = []

    def work(number: int) -> None:
        index = 0
        while not stop.is_set():
            try:
                while not stop.is_set():
                    index += 1
                    log.put(b"%d:%d" % (number, index), durable=index % 3 == 0)
            except Sent:
                continue
            except JournalError as error:
                errors.append(error)
                return

    with untraced():
        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(8)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 2
        while time.monotonic() < until:
            time.sleep(chance.random() * 0.002)
            victim = chance.choice(threads).ident
            sent += ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(victim or 0), ctypes.py_object(Sent))
        stop.set()
        for thread in threads:
            thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []
    assert sent > 100
    assert len(log.acknowledged) > 500
    goes_on(log)


def test_a_follower_that_is_interrupted_withdraws_or_completes(bench: Maker) -> None:
    """It has no LSN while its leader is still at the disk, so its record must not appear."""
    log = bench(fs=MemoryFileSystem())
    syncing, goes, ended = threading.Event(), threading.Event(), threading.Event()
    active = log.log.position.active.file
    real = active.sync_data

    def slow() -> None:
        syncing.set()
        goes.wait()
        real()

    active.sync_data = slow

    def follow() -> None:
        try:
            log.put(b"follower", durable=True)
        except Sent:
            ended.set()

    with untraced():
        leader = threading.Thread(target=lambda: log.put(b"leader", durable=True))
        leader.start()
        syncing.wait()
        follower = threading.Thread(target=follow)
        follower.start()
        while not log.log._queue:
            time.sleep(0.001)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(follower.ident or 0), ctypes.py_object(Sent))
        while log.log._queue:
            time.sleep(0.001)
        goes.set()
        leader.join()
        follower.join()
    assert ended.is_set()
    assert log.visible == {1: b"leader"}
    goes_on(log)
