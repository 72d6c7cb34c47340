"""A block device made of a FUSE file: it records what it is asked to write and to flush, and fails when told to.

`disk` in its root is the backing file of a loop device with a file system on
it. What the loop driver writes arrives here at once, past every cache, and a
flush of the device arrives as an fsync of the file: from the sequence of both
follows what a device that loses power may still have. The counter is the
number of writes and flushes so far.

A program: `fuse_daemon.running("block_device.py", folder)` starts it.
`Recording.read` reads what `save` wrote.
"""

from __future__ import annotations

import errno
import os
import pickle
import stat
import sys
import threading
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

DISK: Final = "disk"
Kind = Literal["write", "flush", "read"]
SECTOR_BYTES: Final = 512
BLOCK_BYTES: Final = 4096


class Operation(NamedTuple):
    """A write, or a flush: that one has no data."""

    offset_bytes: int
    data: bytes | None


@dataclass
class _Fault:
    """Which operations of a kind fail: the nth from now on, and those after it up to `times`."""

    kind: Kind
    nth: int
    times: int | None
    error: int
    is_partial: bool
    seen: int = 0
    fired: int = 0

    def hits(self, kind: Kind) -> bool:
        """Count one, and say whether it fails."""
        if kind != self.kind:
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times is not None and self.seen >= self.nth + self.times):
            return False
        self.fired += 1
        return True


def _first_blocks(count_bytes: int) -> int:
    """Return how much of a write is written that fails halfway: whole blocks, for no file system bears less of some."""
    return count_bytes // 2 // BLOCK_BYTES * BLOCK_BYTES


def recorded(path: str) -> list[Operation]:
    """Return what a device was asked to do, as it saved it."""
    with open(path, "rb") as file:
        return [Operation(*operation) for operation in pickle.load(file)]  # from our own child


def main() -> None:
    """Serve, as the two arguments say where."""
    import mfusepy
    from fuse_daemon import Counter, serve

    class BlockDevice(mfusepy.Operations):
        """The file, its recording and its faults."""

        use_ns = True

        def __init__(self, counter: Counter) -> None:
            self.guard = threading.RLock()
            self._counter = counter
            self._image = -1
            self._operations: list[tuple[int, bytes | None]] = []
            self._faults: list[_Fault] = []

        # What it is told

        def load(self, image: str) -> None:
            """Be the device that this image is of, from now on, and record from the beginning."""
            if self._image >= 0:
                os.close(self._image)
            self._image = os.open(image, os.O_RDWR)
            self._operations, self._faults = [], []
            self._counter.value = 0

        def save(self, path: str) -> int:
            """Write down what was recorded, and return how many operations it is."""
            with open(path, "wb") as file:
                pickle.dump(self._operations, file)
            return len(self._operations)

        def fail(self, kind: Kind, nth: int, times: int | None = 1, *, is_partial: bool = False) -> None:
            """Let operations fail with EIO; of a write that fails partially some of the first blocks are written."""
            self._faults.append(_Fault(kind, nth, times, errno.EIO, is_partial))

        def end_faults(self) -> list[int]:
            """Fail no more, and return how often each fault came about."""
            fired = [fault.fired for fault in self._faults]
            self._faults = []
            return fired

        def _fault(self, kind: Kind) -> _Fault | None:
            hits = [fault for fault in self._faults if fault.hits(kind)]
            return hits[0] if hits else None

        def _record(self, offset_bytes: int, data: bytes | None) -> None:
            self._operations.append((offset_bytes, data))
            self._counter.value = len(self._operations)

        # What the kernel asks

        def getattr(self, path: str, _info: Any = None) -> dict[str, int]:
            """Return what is there: the root, and the disk."""
            if path == "/":
                return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2, "st_ino": 1}
            if path != f"/{DISK}" or self._image < 0:
                raise OSError(errno.ENOENT, "nothing there")
            size = os.fstat(self._image).st_size
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_ino": 2, "st_size": size}

        def open(self, _path: str, info: Any) -> int:
            """Open the disk: no cache may stand between the loop driver and this file."""
            info.direct_io = 1
            return 0

        def read(self, _path: str, size: int, offset: int, _info: Any) -> bytes:
            """Return what was written, flushed or not."""
            with self.guard:
                if fault := self._fault("read"):
                    raise OSError(fault.error, "told to fail")
                return os.pread(self._image, size, offset)

        def write(self, _path: str, data: bytes, offset: int, _info: Any) -> int:
            """Take a write."""
            with self.guard:
                fault = self._fault("write")
                if fault and not fault.is_partial:
                    raise OSError(fault.error, "told to fail")
                taken = data[: _first_blocks(len(data))] if fault else data
                if taken:
                    os.pwrite(self._image, taken, offset)
                    self._record(offset, taken)
                if fault:
                    raise OSError(fault.error, "told to fail")
                return len(data)

        def fsync(self, _path: str, _is_data_only: int, _info: Any) -> None:
            """Make everything that was taken so far durable."""
            with self.guard:
                if fault := self._fault("flush"):
                    raise OSError(fault.error, "told to fail")
                self._record(0, None)

    point, counter = sys.argv[1:]
    device = BlockDevice(Counter(counter))
    told = (device.load, device.save, device.fail, device.end_faults)
    serve(device, {command.__name__: command for command in told}, point, device.guard)


if __name__ == "__main__":
    main()
