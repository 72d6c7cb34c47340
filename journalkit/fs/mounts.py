"""Which file system a path is on, as the Linux kernel tells it.

Read from /proc/self/mountinfo; elsewhere nothing is known. What a type means
is `journalkit.fs.network`'s to say.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

_MOUNTINFO = "/proc/self/mountinfo"
_OCTAL_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of mountinfo, as far as it matters here."""

    device: str
    mount_point: str
    filesystem_type: str


def filesystem_type(path: str) -> str:
    """Return the type of the file system that `path` is on, "" where it can't be told.

    Raises:
        OSError: There is nothing at `path`.
    """
    device = os.stat(path).st_dev
    try:
        with open(_MOUNTINFO, encoding="utf-8", errors="surrogateescape") as lines:
            mounts = parse(lines.read())
    except OSError:
        return ""
    return find(mounts, f"{os.major(device)}:{os.minor(device)}", os.path.realpath(path))


def parse(mountinfo: str) -> list[Mount]:
    """Return the mounts that the text lists, in its order; lines of another shape are skipped."""
    mounts = []
    for line in mountinfo.splitlines():
        # "36 35 98:0 /root /mount\040point rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
        before, separator, after = line.partition(" - ")
        fields, types = before.split(" "), after.split(" ")
        if separator and len(fields) > 4:
            mount_point = _OCTAL_ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4])
            mounts.append(Mount(fields[2], mount_point, types[0]))
    return mounts


def find(mounts: list[Mount], device: str, real_path: str) -> str:
    """Return the type of the mount with that device number, else of the innermost mount point above the path.

    The second is for btrfs, whose files give device numbers that mountinfo doesn't list.
    """
    above = ""
    length = -1
    for mount in mounts:
        if mount.device == device:
            return mount.filesystem_type
        prefix = mount.mount_point.rstrip("/") + "/"
        # >=: a later mount on the same point covers the earlier one.
        if (real_path + "/").startswith(prefix) and len(prefix) >= length:
            above, length = mount.filesystem_type, len(prefix)
    return above
