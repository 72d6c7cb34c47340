"""What the real file system can do besides: read to a given place, map, write ahead of the sync."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from journalkit.fs.posix import PosixFileSystem

FS = PosixFileSystem()


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A path where nothing is yet."""
    return str(tmp_path / "a")


def test_a_file_is_read_to_where_it_is_wanted(path: str) -> None:
    """What a read gives, without a copy, and short only at the end."""
    file = FS.create(path)
    file.pwrite(b"0123456789", 0)
    target = bytearray(6)
    assert (file.pread_into(memoryview(target), 2), target) == (6, b"234567")
    assert (file.pread_into(memoryview(target), 7), target) == (3, b"789567")
    assert file.pread_into(memoryview(target), 10) == 0
    file.close()
    with pytest.raises(OSError):
        file.pread_into(memoryview(target), 0)
    with pytest.raises(OSError):
        file.write_behind(0, 1)


def test_a_map_is_of_a_regular_file_and_ends_with_its_last_use(path: str) -> None:
    """Links are refused as everywhere; no descriptor stays."""
    FS.create(path).close()
    gc.collect()  # what others left open
    before = len(os.listdir("/dev/fd"))
    assert FS.map_read(path) == b""
    file = FS.open_write(path)
    file.pwrite(b"0123456789", 0)
    file.close()
    view = FS.map_read(path)
    assert view[3:5] == b"34"
    view[3:5] = b"xy"
    assert (bytes(view), Path(path).read_bytes()) == (b"012xy56789", b"0123456789")
    del view
    gc.collect()
    assert len(os.listdir("/dev/fd")) == before
    os.symlink(path, path + "link")
    with pytest.raises(OSError):
        FS.map_read(path + "link")
