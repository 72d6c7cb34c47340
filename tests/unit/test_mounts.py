"""Which file system a path is on, and which types are not to be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from journalkit.fs import mounts
from journalkit.fs.network import UNTRUSTED_TYPES, is_untrusted
from journalkit.fs.posix import PosixFileSystem

MOUNTINFO = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:30 / /data rw - btrfs /dev/sdb rw,subvolid=5
31 22 0:31 / /mnt/with\040space rw master:1 - nfs4 server:/x rw
32 30 0:32 / /data/sub rw - tmpfs tmpfs rw
33 30 0:33 / /data/sub rw - fuse.sshfs host:/ rw
not a line of it
"""


@pytest.mark.parametrize(
    ("device", "path", "expected"),
    [
        ("8:1", "/anywhere", "ext4"),
        ("0:31", "/mnt/with space/x", "nfs4"),
        ("0:99", "/mnt/with space/x", "nfs4"),
        ("0:99", "/data/x", "btrfs"),
        ("0:99", "/database", "ext4"),
        ("0:99", "/data/sub/x", "fuse.sshfs"),
        ("0:99", "/data/sub", "fuse.sshfs"),
    ],
)
def test_the_type_is_that_of_the_device_or_of_the_innermost_mount(device: str, path: str, expected: str) -> None:
    """On btrfs files have device numbers that no mount has; a later mount covers an earlier one."""
    assert mounts.find(mounts.parse(MOUNTINFO), device, path) == expected


def test_a_path_that_no_mount_covers_has_no_type() -> None:
    """A container may hide the mounts; unknown is not the same as local."""
    assert mounts.find([], "8:1", "/data") == ""


def test_the_kernel_s_own_list_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """/proc is always of type proc; without the list nothing is known and nothing fails."""
    assert PosixFileSystem().filesystem_type("/proc") == "proc"
    assert PosixFileSystem().filesystem_type(str(tmp_path))
    monkeypatch.setattr(mounts, "_MOUNTINFO", str(tmp_path / "absent"))
    assert PosixFileSystem().filesystem_type("/proc") == ""


@pytest.mark.parametrize("name", [*sorted(UNTRUSTED_TYPES), "fuse", "fuseblk", "fuse.sshfs"])
def test_types_whose_locks_or_fsync_may_lie_are_known(name: str) -> None:
    """Writing there is refused unless it was asked for by name."""
    assert is_untrusted(name)


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "tmpfs", "zfs", "apfs", "overlay", ""])
def test_local_types_are_trusted(name: str) -> None:
    """An unknown one too: elsewhere than on Linux none is known."""
    assert not is_untrusted(name)
