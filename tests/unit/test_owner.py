"""Who has a store: one owner by a kernel lock, with words for whoever is refused."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from journalkit.errors import LockedError, StorageError
from journalkit.format.names import LOCK
from journalkit.fs.posix import PosixFileSystem
from journalkit.recovery.owner import locked_by, take_ownership
from journalkit.testing import SimulatedClock, SimulatedDisk

HOLD = textwrap.dedent("""
    import sys, time
    from journalkit.clock import SystemClock
    from journalkit.fs.posix import PosixFileSystem
    from journalkit.recovery.owner import take_ownership

    owner = take_ownership(PosixFileSystem(), sys.argv[1], SystemClock(), "worker.py:7")
    print("mine", flush=True)
    time.sleep(60)
""")


def test_another_process_is_named_and_its_death_frees_the_store_at_once(tmp_path: Path) -> None:
    """PITFALLS 21: after kill -9 nobody has to remove anything, and until then nobody gets in."""
    fs = PosixFileSystem()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mine\n"
        with pytest.raises(LockedError, match=f"open for writing in process {holder.pid} on .*mode='r'") as caught:
            take_ownership(fs, str(tmp_path), SimulatedClock(), "test:1")
        assert (caught.value.pid, caught.value.opened_at) == (holder.pid, "worker.py:7")
        assert caught.value.path == str(tmp_path)
        assert caught.value.since.endswith("+00:00")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / LOCK).exists()
    take_ownership(fs, str(tmp_path), SimulatedClock(), "test:1").lock.close()


def test_the_same_process_is_told_where_it_has_the_store(tmp_path: Path) -> None:
    """The commonest case: a notebook cell that was run twice."""
    fs = PosixFileSystem()
    owner = take_ownership(fs, str(tmp_path), SimulatedClock(), "app.py:12")
    with pytest.raises(LockedError, match=r"in this process, at app.py:12, since 2026-01-01T00:00:00\+00:00"):
        take_ownership(fs, str(tmp_path), SimulatedClock(), "app.py:99")
    owner.lock.close()
    take_ownership(fs, str(tmp_path), SimulatedClock(), "app.py:99").lock.close()


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 4000,
        b'{"host": "h", "pid": 1e999, "since": "", "opened_at": ""}',
        b'{"host": "h", "pid": "x", "since": "", "opened_at": ""}',
        b'{"host": "h", "pid": null, "since": "", "opened_at": ""}',
    ],
)
def test_words_that_make_no_sense_still_give_a_helpful_error(words: bytes) -> None:
    """Torn or hostile words beside the lock: the lock is what counts."""
    disk = SimulatedDisk()
    disk.write_bytes("/" + LOCK, words)
    error = locked_by(disk, "/")
    assert (error.pid, error.host, error.path) == (0, "", "/")
    assert "close it there, or open it with mode='r'" in str(error)


def test_words_that_can_not_be_written_are_no_reason_to_refuse_on_a_full_disk() -> None:
    """They only help others; the store may be what somebody opens to make room."""
    disk = SimulatedDisk()
    disk.fail("describe", 1, errno.ENOSPC)
    owner = take_ownership(disk, "/", SimulatedClock(), "test:1")
    with pytest.raises(LockedError, match="open for writing elsewhere"):
        take_ownership(disk, "/", SimulatedClock(), "test:1")
    owner.lock.close()


def test_an_error_while_writing_the_words_is_told_and_frees_the_lock() -> None:
    """A device that fails here will fail again; the lock must not stay."""
    disk = SimulatedDisk()
    disk.fail("describe", 1, errno.EIO)
    with pytest.raises(StorageError, match="can't be written"):
        take_ownership(disk, "/", SimulatedClock(), "test:1")
    take_ownership(disk, "/", SimulatedClock(), "test:1").lock.close()


def test_undoing_leaves_the_lock_file_as_it_was() -> None:
    """Promise 4: a refused open leaves every byte and every name."""
    disk = SimulatedDisk()
    take_ownership(disk, "/", SimulatedClock(), "test:1").undo()
    assert list(disk.list("/")) == []
    disk.write_bytes("/" + LOCK, b"words of the one before")
    take_ownership(disk, "/", SimulatedClock(), "test:1").undo()
    assert disk.read_bytes("/" + LOCK) == b"words of the one before"
    take_ownership(disk, "/", SimulatedClock(), "test:1").lock.close()


def test_undoing_on_a_real_disk_leaves_nothing_and_the_store_can_be_had_again(tmp_path: Path) -> None:
    """The kernel's lock is on the file, not on its name: removing the name must not make two owners."""
    fs = PosixFileSystem()
    owner = take_ownership(fs, str(tmp_path), SimulatedClock(), "test:1")
    with pytest.raises(LockedError):
        take_ownership(fs, str(tmp_path), SimulatedClock(), "test:2")
    owner.undo()
    assert list(tmp_path.iterdir()) == []
    again = take_ownership(fs, str(tmp_path), SimulatedClock(), "test:3")
    with pytest.raises(LockedError, match="test:3"):
        take_ownership(fs, str(tmp_path), SimulatedClock(), "test:4")
    again.lock.close()


def test_undoing_removes_no_lock_file_but_its_own() -> None:
    """Two owners come of an unlinked lock file that somebody else had already replaced."""
    disk = SimulatedDisk()
    owner = take_ownership(disk, "/", SimulatedClock(), "test:1")
    disk.unlink("/" + LOCK)
    disk.write_bytes("/" + LOCK, b"another's")
    owner.undo()
    assert disk.read_bytes("/" + LOCK) == b"another's"


def test_undoing_on_a_failing_device_still_gives_the_lock_back() -> None:
    """What can't be put back stays; the lock must not."""
    disk = SimulatedDisk()
    disk.write_bytes("/" + LOCK, b"before")
    owner = take_ownership(disk, "/", SimulatedClock(), "test:1")
    disk.fail("describe", 1, errno.EIO)
    owner.undo()
    take_ownership(disk, "/", SimulatedClock(), "test:1").lock.close()
