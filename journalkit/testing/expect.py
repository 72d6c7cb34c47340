"""What the checks of a contract have in common: files made and read whole, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from journalkit.fs.interface import FileSystem


def put(fs: FileSystem, path: str, data: bytes | bytearray | memoryview) -> None:
    """Create a file of these bytes."""
    file = fs.create(path)
    assert file.pwrite(data, 0) == len(data)
    file.close()


def read(fs: FileSystem, path: str) -> bytes:
    """Return a file's bytes."""
    file = fs.open_read(path)
    try:
        return file.pread(file.size() + 1, 0)
    finally:
        file.close()


@contextmanager
def refused(*numbers: int) -> Iterator[None]:
    """Expect an OSError of one of these errnos; of any, if none is given."""
    try:
        yield
    except OSError as error:
        if numbers and error.errno not in numbers:
            raise AssertionError(f"refused with {error!r}, one of the numbers {numbers} belongs there") from error
    else:
        raise AssertionError("not refused")
