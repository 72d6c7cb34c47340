"""What the extension offers; `journalkit/native/` has the source."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., object])

class LogFields: ...
class SegmentFields: ...
class SuccessionFields: ...
class LayersFields: ...
class MemTableFields: ...
class AttemptsFields: ...

class Lane:
    """A put that is alone: `journalkit/native/lane.c`."""

    def __init__(self, *parts: object) -> None: ...
    def put(self, key: object, value: object, /) -> int | None:
        """Set a key and return the LSN; None if nothing was done."""
    def __iter__(self) -> Iterator[Any]:
        """Take apart the record that is under way."""

class Reads:
    """Gets of keys that aren't hot: `journalkit/native/reads.c`."""

    def __init__(self, *parts: object) -> None: ...
    def look_up(self, key: object, /) -> Any:
        """Return a copy of a key's value; UNSET if that takes more."""

class Finder:
    """Finds single keys of a table: `journalkit/native/finder.c`."""

    filtered_reads: int
    def __init__(self, *parts: object) -> None: ...
    def find(self, key: bytes, /) -> Any:
        """Return what the table says of a key; UNSET if that takes more."""

def bind(twin: _Function, /) -> _Function:
    """Return the compiled function that has this one's name, with this one for all the rest."""

def bind_pwrite(descriptor: int, /) -> Callable[[bytes | bytearray | memoryview, int], int]:
    """Return `os.pwrite` for one descriptor, which it keeps."""

def bind_read_at(descriptor: int, /) -> Callable[[int, int], bytes]:
    """Return `os.pread` for one descriptor, which it keeps."""

def bind_sync_data(descriptor: int, /) -> Callable[[], None]:
    """Return `os.fdatasync` for one descriptor, which it keeps."""

def checksums(data: bytes, seed: int, /) -> tuple[int, int]:
    """Return the CRC32C as it is reckoned here, and by tables."""
