"""Memory that two processes have: where captures lie in it, what it gives back, and what a fork keeps of it."""

from __future__ import annotations

import gc
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journalkit.checkpoint.sharing import SharedBuffers
from journalkit.checkpoint.tree import Captured, capture
from journalkit.errors import ClosedError, StorageError, UsageError
from journalkit.fs import shared
from journalkit.fs.shared import SharedMemory

MIB = 1 << 20


@pytest.fixture
def memory() -> SharedMemory:
    """Some."""
    return SharedMemory()


def used_bytes(memory: SharedMemory) -> int:
    """Return how much of the system's memory it takes."""
    return os.fstat(memory.fileno()).st_blocks * 512


def descriptors() -> int:
    """Return how many of this process's descriptors are of such memory."""
    gc.collect()
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum("memfd:memory for another process" in os.readlink(link) for link in links if os.path.islink(link))


def laid(buffers: SharedBuffers, *sizes: int) -> list[tuple[int, bytes]]:
    """Take and fill pieces of these sizes; return where they are and what should be there."""
    expected = []
    for number, size in enumerate(sizes):
        view = buffers.take(size)
        view[:] = bytes([number % 251 + 1]) * size
        expected.append((buffers.place(view), bytes(view)))
    return expected


def test_another_descriptor_of_it_has_what_was_put_there(memory: SharedMemory) -> None:
    """Small pieces and such as take a mapping of their own, behind one another and none over another."""
    buffers = SharedBuffers(memory)
    for sizes in ((10, 100_000, 20 * MIB, 70, 3 * MIB), (1,), (40 * MIB, 5, 5), (5, 33 * MIB)):
        expected = laid(buffers, *sizes)
        other = SharedMemory(os.dup(memory.fileno()))
        mapped = other.map_read()
        for at, data in expected:
            assert at % 64 == 0
            assert mapped[at : at + len(data)] == data == other.read(at, len(data))
        mapped.close()
        other.abandon()
        buffers.give_back([])
    buffers.clear()
    memory.abandon()


def test_memory_is_kept_for_the_next_capture_and_what_it_didnt_need_goes(memory: SharedMemory) -> None:
    """Also in the middle, and what was said in it behind its end."""
    buffers = SharedBuffers(memory)
    laid(buffers, 15 * MIB, 14 * MIB, 30 * MIB)
    buffers.give_back([])
    full = used_bytes(memory)
    assert 59 * MIB <= full < 61 * MIB
    laid(buffers, 15 * MIB, 14 * MIB, 30 * MIB)
    assert used_bytes(memory) == full
    buffers.give_back([])
    laid(buffers, MIB, 20 * MIB)
    memory.append(b"what was written" * MIB)
    buffers.give_back([])
    assert 21 * MIB <= used_bytes(memory) < 22 * MIB
    laid(buffers, MIB)
    buffers.give_back([])
    assert used_bytes(memory) < 2 * MIB
    buffers.give_back([])
    assert used_bytes(memory) == 0
    memory.abandon()


def test_descriptors_are_few_however_much_it_is(memory: SharedMemory) -> None:
    """A mapping keeps one: each is as large as all before it."""
    before = descriptors()
    buffers = SharedBuffers(memory)
    for _ in range(40):
        buffers.take(MIB * 10)
    assert descriptors() - before <= 6
    buffers.clear()
    buffers.give_back([])
    assert descriptors() == before
    memory.abandon()
    assert descriptors() == before - 1


def test_its_descriptor_is_no_standard_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon has closed those, and a child's own would lie over it."""
    before = descriptors()
    monkeypatch.setattr(shared, "_FIRST", 300)
    memory = SharedMemory()
    assert memory.fileno() >= 300
    assert not os.get_inheritable(memory.fileno())
    assert descriptors() == before + 1
    memory.abandon()


def test_what_lies_elsewhere_is_put_there_once(memory: SharedMemory) -> None:
    """Bytes that can't change aren't copied by a capture, but have to be read by another process."""
    buffers = SharedBuffers(memory)
    data = memoryview(os.urandom(3 * MIB + 5))
    at = buffers.place(data)
    assert memory.read(at, len(data)) == data
    assert buffers.place(data) == at
    memory.abandon()


def test_a_captured_file_lies_there_at_once(memory: SharedMemory, tmp_path: Path) -> None:
    """It is read into it."""
    buffers = SharedBuffers(memory)
    (tmp_path / "file").write_bytes(b"x" * MIB)
    (leaf,) = capture([tmp_path / "file"], buffers=buffers).leaves
    before = used_bytes(memory)
    assert memory.read(buffers.place(leaf.view), MIB) == b"x" * MIB
    assert used_bytes(memory) == before
    memory.abandon()


class Shrinking:
    """A file that has fewer bytes than it said."""

    def open_read(self, _path: str) -> Any:
        return self

    def size(self) -> int:
        return 2 * MIB

    def pread(self, count: int, at: int) -> bytes:
        return b"y" * min(count, MIB - at)

    def close(self) -> None: ...


def test_a_file_that_gets_shorter_is_captured_as_it_is_then(memory: SharedMemory, tmp_path: Path) -> None:
    """What lies there isn't all that was taken."""
    buffers = SharedBuffers(memory)
    (leaf,) = capture([tmp_path / "file"], buffers=buffers, fs=Shrinking()).leaves  # type: ignore[arg-type]
    assert len(leaf.view) == MIB
    assert memory.read(buffers.place(leaf.view), MIB) == b"y" * MIB
    memory.abandon()


def test_a_capture_that_fails_gives_its_memory_back(memory: SharedMemory) -> None:
    """The next one begins where it did."""
    buffers = SharedBuffers(memory)
    with pytest.raises(UsageError):
        capture([np.zeros(400_000), object()], buffers=buffers)
    captured: Captured = capture([np.zeros(400_000)], buffers=buffers)
    assert buffers.place(captured.leaves[0].view) == 0
    captured.release()
    memory.abandon()


@pytest.mark.parametrize("error", [OSError(12, "Cannot allocate memory"), ValueError("too long"), OverflowError("no")])
def test_a_lack_of_it_is_an_error_and_not_a_signal(
    memory: SharedMemory, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was there stays; the next capture may need less."""
    buffers = SharedBuffers(memory)

    def refuse(*_: Any) -> None:
        raise error

    expected = laid(buffers, MIB)
    for name in ("map", "need"):
        with monkeypatch.context() as patched:
            patched.setattr(SharedMemory, name, refuse)
            with pytest.raises(StorageError, match="nothing was saved"):
                buffers.take(40 * MIB)
    assert memory.read(*(expected[0][0], MIB)) == expected[0][1]
    buffers.give_back([])
    laid(buffers, 40 * MIB)
    memory.abandon()


def test_what_was_put_behind_the_end_lies_where_nobody_has_mapped_it(memory: SharedMemory) -> None:
    """What is mapped later has it, too."""
    at = memory.append(b"z" * MIB)
    assert memory.map(0, MIB)[at : at + 5] == b"zzzzz"
    memory.abandon()


def test_pages_are_there_before_they_are_filled(memory: SharedMemory) -> None:
    """What isn't there when it is touched ends the process."""
    buffers = SharedBuffers(memory)
    buffers.take(8 * MIB)
    assert used_bytes(memory) >= 8 * MIB
    memory.abandon()


def test_what_is_being_read_stays_when_all_is_let_go_of(memory: SharedMemory) -> None:
    """Whoever closes was interrupted while another thread goes on; it is told that there is no more."""
    buffers = SharedBuffers(memory)
    view = buffers.take(MIB)
    view[:] = b"a" * MIB
    buffers.clear()
    assert memory.read(0, MIB) == bytes(view)
    with pytest.raises(ClosedError):
        buffers.take(5)
    buffers.give_back([view])
    assert used_bytes(memory) == 0
    memory.abandon()
    buffers.clear()


def test_a_fork_keeps_no_descriptor_but_of_what_it_looks_at(memory: SharedMemory) -> None:
    """It would hold the memory when its parent needs it no more; a capture under way stays as it is."""
    before = descriptors()
    buffers = SharedBuffers(memory)
    laid(buffers, MIB)
    buffers.give_back([])
    buffers.abandon()
    assert descriptors() == before
    again = SharedBuffers(memory)
    view = again.take(MIB)
    view[:] = b"a" * MIB
    again.abandon()
    assert bytes(view) == b"a" * MIB
    del view, again
    memory.abandon()


def test_memory_that_is_locked_stays(memory: SharedMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `mlockall`: then it can't be given back in the middle."""

    class Locked:
        def __len__(self) -> int:
            return MIB

        def madvise(self, *_: int) -> None:
            raise OSError(22, "Invalid argument")

    memory.free(Locked(), 5)  # type: ignore[arg-type]
    memory.free(Locked(), MIB - 1)  # type: ignore[arg-type]
    memory.abandon()
    with pytest.raises(OSError, match="Bad file descriptor"):
        memory.map(0, mmap.PAGESIZE)


def test_a_save_that_is_waited_for_takes_nothing_of_it(memory: SharedMemory, tmp_path: Path) -> None:
    """Nobody would give it back: a job that saves so again and again would fill the machine."""
    path = tmp_path / "file"
    path.write_bytes(bytes(MIB))
    buffers = SharedBuffers(memory)
    for _ in range(3):
        capture({"file": path}, copy=False, buffers=buffers).release()
    assert used_bytes(memory) == 0
