"""A device that doesn't give everything back: the rest is read, and what it keeps is noted."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from journalkit.fs.memory import MemoryFileSystem
from journalkit.recovery import unreadable
from journalkit.recovery.unreadable import FILL, ForgivingFileSystem

DATA = bytes(range(256)) * 16


class Failing:
    """A file some of whose bytes can't be read."""

    def __init__(self, file: Any, bad: list[tuple[int, int]], error: int) -> None:
        self._file = file
        self._bad = bad
        self._error = error
        self.calls = 0
        self.size, self.close = file.size, file.close

    def pread(self, count: int, offset: int) -> bytes:
        self.calls += 1
        if any(offset < end and offset + count > start for start, end in self._bad):
            raise OSError(self._error, os.strerror(self._error))
        return bytes(self._file.pread(count, offset))


class Disk(MemoryFileSystem):
    """A file system whose files fail there."""

    def __init__(self, bad: list[tuple[int, int]], error: int = errno.EIO) -> None:
        super().__init__()
        self.make_directory("/d")
        file = self.create("/d/f")
        file.pwrite(DATA, 0)
        file.close()
        self.bad, self.error = bad, error
        self.opened: list[Failing] = []

    def open_read(self, path: str) -> Any:
        self.opened.append(Failing(super().open_read(path), self.bad, self.error))
        return self.opened[-1]

    def open_direct(self, path: str) -> Any:
        return self.open_read(path)


def test_everything_but_the_bad_sectors_is_read() -> None:
    """At any offset and length; what is missing can't be taken for zeros."""
    disk = Disk([(512, 1024), (2048, 2600)])
    fs = ForgivingFileSystem(disk)
    for opened in (fs.open_read("/d/f"), fs.open_direct("/d/f")):
        assert opened.pread(4096, 0) == DATA[:512] + FILL * 512 + DATA[1024:2048] + FILL * 1024 + DATA[3072:]
        assert opened.pread(100, 1020) == FILL * 4 + DATA[1024:1120]
        assert opened.pread(500, 3072) == DATA[3072:3572]
        assert opened.pread(9999, 4000) == DATA[4000:]
        assert opened.size() == len(DATA)
        opened.close()
    assert fs.unreadable.ranges == {"f": [(512, 1024), (2048, 3072)]}
    assert (list(fs.list("/d")), fs.status("/d/f") is not None) == (["f"], True)
    assert (fs.free_bytes("/d"), fs.filesystem_type("/d")) == (disk.free_bytes("/d"), disk.filesystem_type("/d"))


def test_a_device_that_is_gone_is_not_asked_for_every_sector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may take it seconds."""
    monkeypatch.setattr(unreadable, "_SECTORS_IN_A_ROW_MAX", 3)
    disk = Disk([(0, 10_000)])
    file = ForgivingFileSystem(disk).open_read("/d/f")
    assert file.pread(4096, 0) == FILL * 4096
    assert disk.opened[0].calls == 4
    file.close()


def test_only_bad_sectors_in_a_row_say_that_a_device_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that gives back every other sector is asked for all of them."""
    monkeypatch.setattr(unreadable, "_SECTORS_IN_A_ROW_MAX", 2)
    disk = Disk([(at, at + 1) for at in range(0, 4096, 1024)])
    file = ForgivingFileSystem(disk).open_read("/d/f")
    assert file.pread(4096, 0) == b"".join(FILL * 512 + DATA[at + 512 : at + 1024] for at in range(0, 4096, 1024))
    file.close()


@pytest.mark.parametrize("at_first", [True, False])
def test_what_is_no_fault_of_the_device_is_raised(at_first: bool) -> None:
    """It may be different the next time."""
    disk = Disk([(0, 10)], errno.EACCES if at_first else errno.EIO)
    file = ForgivingFileSystem(disk).open_read("/d/f")
    if at_first:
        with pytest.raises(PermissionError):
            file.pread(4096, 0)
    else:
        assert file.pread(600, 0)[512:] == DATA[512:600]

        def fail(_count: int, _offset: int) -> bytes:
            raise OSError(errno.EIO if _count > 512 else errno.EACCES, "no")

        disk.opened[0].pread = fail  # type: ignore[method-assign]
        with pytest.raises(PermissionError):
            file.pread(4096, 0)
    file.close()
