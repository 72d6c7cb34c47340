"""What becomes of errors that the operating system gives for a descriptor: who is told, and of what."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

import journalkit
from journalkit.errors import StorageError
from journalkit.fs.interface import ReadableFile
from journalkit.fs.posix import PosixFileSystem


def device_error(*_arguments: object) -> int:
    """Fail as a system call on a broken device does."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def file_named_when_a_read_fails(file: ReadableFile) -> object:
    """Read, and return which file the error names."""
    with pytest.raises(OSError, match="Input/output error") as raised:
        file.pread(5, 0)
    file.close()
    return raised.value.filename


def test_a_read_that_failed_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device error said "None: can't be read": the kernel knows a descriptor, and a person looks for a file."""
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    file = PosixFileSystem().open_read(str(path))
    monkeypatch.setattr(os, "pread", device_error)
    assert file_named_when_a_read_fails(file) == str(path)


def test_a_direct_read_that_failed_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ditto, where recovery reads past the cache."""
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except (OSError, AttributeError):
        pytest.skip("no direct reads on this file system")
    file = PosixFileSystem().open_direct(str(path))
    monkeypatch.setattr(os, "preadv", device_error)
    assert file_named_when_a_read_fails(file) == str(path)


def test_a_store_that_could_not_be_read_says_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller of a read is told."""
    with journalkit.open(tmp_path / "store", compaction="manual") as store:
        store.update(dict.fromkeys(range(100), "value" * 100))
        store.compact()
    with journalkit.open(tmp_path / "store", compaction="manual", cache_bytes=0) as store:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", device_error)
            with pytest.raises(StorageError, match=r"table-\d+\.jkt: can't be read") as raised:
                dict(store.items())
        assert str(raised.value.filename).endswith(".jkt")
        assert len(store) == 100


def test_an_unlock_that_failed_is_nothing_to_raise_at_a_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The close let an OSError out that no contract names, and the lock is gone with its descriptor anyway."""
    real = fcntl.flock

    def broken(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_UN:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        real(descriptor, operation)

    path = tmp_path / "store"
    store = journalkit.open(path, compaction="manual")
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", broken)
        store.close()
    with journalkit.open(path, compaction="manual") as again:
        again.put("key", "value")
