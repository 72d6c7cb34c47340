"""Real file systems for a proof: small images, loop-mounted in a mount namespace of their own.

`apart` runs a function in a process that has its own mount table. Whatever is
mounted there is gone with its last process, loop devices included, and each of
those processes is told by the kernel to die with the one that started it: a
proof that is killed leaves no mount behind. All images lie on a tmpfs of that
namespace, so that an fsync costs what the file system does and nothing more.

Two ways to cut the power. `Mounted.shut_down` tells ext4 or xfs to forget
everything that isn't on its device. `Mounted.copy` takes the device as it is
at one moment, whatever the file system: its image lies on a file system that
clones files atomically. Neither flushes anything.

This module knows file systems and no store.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import pickle
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from units import Outcome

MIB: Final = 1 << 20
_SHUTDOWN: Final = 0x8004587D  # FS_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN
_WITHOUT_LOG_FLUSH: Final = 2  # 0 flushes everything first, which is no power cut
_CLONE_FILE: Final = 0x40049409  # FICLONE
_NEW_MOUNTS: Final = 0x00020000  # CLONE_NEWNS
_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG
_MOUNT_ATTEMPTS: Final = 40
_libc = ctypes.CDLL(None, use_errno=True)

Answer = TypeVar("Answer")


class MountError(Exception):
    """A mount, or the making of an image, failed: what was run, and what it said."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How an image is made: the program, its arguments, and how large it is (sparse)."""

    name: str
    program: tuple[str, ...]
    size_bytes: int

    @property
    def filesystem(self) -> str:
        """The type that it is mounted as."""
        return self.program[0].partition(".")[2]


_EXT4 = ("mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=4", "-E", "nodiscard")
EXT4: Final = Kind("ext4", (*_EXT4, "-b", "4096"), 48 * MIB)
EXT4_SMALL_BLOCKS: Final = Kind("ext4-1k", (*_EXT4, "-b", "1024"), 48 * MIB)
XFS: Final = Kind("xfs", ("mkfs.xfs", "-q", "-f"), 300 * MIB)  # the smallest that mkfs.xfs makes
BTRFS: Final = Kind("btrfs", ("mkfs.btrfs", "-q", "-f"), 256 * MIB)
_OUTER: Final = Kind("outer", XFS.program, 4096 * MIB)


def lacking(*kinds: Kind) -> str:
    """Return why this machine can't mount images of these kinds, "" if it can."""
    if os.geteuid() != 0:
        return "not root: nothing can be mounted"
    if not os.path.exists("/dev/loop-control"):
        return "no loop devices here"
    programs = ["mount", "umount", *(kind.program[0] for kind in kinds)]
    if missing := [program for program in programs if shutil.which(program) is None]:
        return f"not installed: {', '.join(missing)}"
    known = Path("/proc/filesystems").read_text().split()
    for kind in kinds:
        if kind.filesystem not in known and _run("modprobe", kind.filesystem, check=False):
            return f"this kernel has no {kind.filesystem}"
    return ""


def die_with_parent() -> None:
    """Have this process killed when the one that started it ends, however that ends."""
    _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def apart(function: Callable[..., Answer], *arguments: object, size_mib: int = 2048) -> Answer:
    """Call `function(folder, *arguments)` in a process with mounts of its own, and return what it returns.

    `folder` is an empty tmpfs of at most `size_mib`. What it raises becomes an
    AssertionError here, with its traceback as text.
    """
    folder = tempfile.mkdtemp(prefix="journalkit-mounts-")
    reading, writing = os.pipe()
    mother = os.getpid()
    child = os.fork()
    if child == 0:
        # Nothing of the parent's: no buffer flushed twice, no hook run twice, whatever happens here.
        status = 1
        try:
            os.close(reading)
            _answer(writing, mother, folder, size_mib, function, arguments)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    try:
        with open(reading, "rb") as pipe:
            said = pipe.read()
    finally:
        _, status = os.waitpid(child, 0)
        os.rmdir(folder)
    if not said:
        raise AssertionError(f"the process with the mounts ended with {os.waitstatus_to_exitcode(status)}")
    is_answer, answer = pickle.loads(said)  # from our own child
    if not is_answer:
        raise AssertionError(answer)
    return answer  # type: ignore[no-any-return]


def _answer(
    pipe: int, mother: int, folder: str, size_mib: int, function: Callable[..., object], arguments: Sequence[object]
) -> None:
    die_with_parent()
    if os.getppid() != mother:
        return
    try:
        if _libc.unshare(_NEW_MOUNTS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        _run("mount", "--make-rprivate", "/")
        _run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=700", "none", folder)
        said: tuple[bool, object] = (True, function(folder, *arguments))
    except BaseException:  # noqa: BLE001 - whatever it is, the parent has to hear of it
        said = (False, traceback.format_exc())
    # Every mount is let go of here, so that the devices are free when the parent goes on.
    os.chdir("/")
    for mount in reversed(_mounts_below(folder)):
        _run("umount", "-l", mount, check=False)
    with open(pipe, "wb") as out:
        out.write(pickle.dumps(said))


def _mounts_below(folder: str) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split(" ")[1] for line in lines]
    return [point for point in points if point == folder or point.startswith(f"{folder}/")]


def guarded(kinds: Sequence[Kind], function: Callable[..., Outcome], *arguments: object) -> Outcome:
    """Return what `function` comes to with mounts of its own, or the reason why it can't be run here."""
    reason = lacking(*kinds)
    return Outcome(skipped=reason) if reason else apart(function, *arguments)


class Mounted:
    """An image that is mounted, or was: `point` is where."""

    def __init__(self, image: str, kind: Kind, point: str, options: str = "") -> None:
        """Mount it."""
        self.image = image
        self.kind = kind
        self.point = point
        self.options = options
        self.mount()

    def mount(self, *more: str) -> None:
        """Mount it (again); `more` are options for this time. A journal that wasn't written back is replayed here."""
        options = ",".join(["loop", *filter(None, [self.options]), *more])
        os.makedirs(self.point, exist_ok=True)
        said = ""
        for attempt in range(_MOUNT_ATTEMPTS):
            said = _run("mount", "-t", self.kind.filesystem, "-o", options, self.image, self.point, check=False)
            # Others look for a free loop device at the same time.
            if "loop" not in said:
                break
            time.sleep(0.01 * attempt)
        if said:
            raise MountError(f"mount -o {options} of {self.kind.name}: {said}")

    def unmount(self) -> None:
        """Let go of it; everything that the file system still had to write is written, unless it was cut off."""
        said = ""
        for attempt in range(_MOUNT_ATTEMPTS):
            said = _run("umount", self.point, check=False)
            if not said:
                return
            time.sleep(0.01 * attempt)
        raise MountError(said)

    def shut_down(self) -> None:
        """Cut the power, for ext4 and xfs: nothing more reaches the device, and every later call is EIO."""
        descriptor = os.open(self.point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def turn_read_only(self) -> None:
        """Have ext4 find itself damaged and refuse every write from now on; mount it with `errors=remount-ro` for that.

        As when the power is cut, what wasn't on the device by then never will be.
        """
        _run("mount", "-o", "remount,abort", self.point)

    def copy(self, target: str) -> None:
        """Cut the power on a copy: `target` is the device as it is at one moment, while everything goes on."""
        with open(self.image, "rb") as source, open(target, "wb") as sink:
            fcntl.ioctl(sink, _CLONE_FILE, source.fileno())


class Images:
    """Makes images of each kind by copying one that was made once; on a file system that clones files, if asked."""

    def __init__(self, folder: str, *, cloning: bool = False) -> None:
        """Keep images in `folder`, which is `apart`'s."""
        self._folder = folder
        self._number = 0
        if cloning:
            outer = self._make(_OUTER, os.path.join(folder, "outer.img"))
            self._folder = Mounted(outer, _OUTER, os.path.join(folder, "outer")).point

    def fresh(self, kind: Kind) -> str:
        """Return the path of a new, empty image."""
        template = os.path.join(self._folder, f"{kind.name}.img")
        if not os.path.exists(template):
            self._make(kind, template)
        path = self.name()
        _run("cp", "--sparse=always", "--reflink=auto", template, path)
        return path

    def name(self) -> str:
        """Return a path for an image that there isn't yet."""
        self._number += 1
        return os.path.join(self._folder, f"{self._number}.img")

    def point(self) -> str:
        """Return a directory to mount at."""
        return os.path.join(self._folder, "mounted")

    def _make(self, kind: Kind, path: str) -> str:
        with open(path, "wb") as file:
            file.truncate(kind.size_bytes)
        _run(*kind.program, path)
        return path


def mount_tmpfs(point: str, size: str) -> str:
    """Mount a tmpfs of a size as `mount` spells it, and return where."""
    os.makedirs(point, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", point)
    return point


def _run(*command: str, check: bool = True) -> str:
    """Run a program; return "" or, if it failed, what it said. Raises MountError then, unless told not to."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        return error.strerror or errno.errorcode.get(error.errno or 0, "failed")
    if ran.returncode == 0:
        return ""
    said = (ran.stderr + ran.stdout).strip() or f"exit {ran.returncode}"
    if check:
        raise MountError(f"{' '.join(command)}: {said}")
    return said
