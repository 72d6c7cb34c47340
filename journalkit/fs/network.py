"""File systems whose locks or fsync may lie.

Over a network or through a FUSE daemon, `flock` may be local to one client
and a successful `fsync` may mean only that somebody else has the bytes.
Writing there is refused unless it was asked for by name; who decides is the
code that opens a store.
"""

from __future__ import annotations

from typing import Final

UNTRUSTED_TYPES: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "afs", "ceph", "lustre"})

_UNTRUSTED_PREFIX = "fuse"  # "fuse", "fuseblk", "fuse.sshfs", ...: whatever its daemon makes of it


def is_untrusted(filesystem_type: str) -> bool:
    """Whether a type, as `ReadableFileSystem.filesystem_type` gives it, is one that may lie."""
    return filesystem_type in UNTRUSTED_TYPES or filesystem_type.startswith(_UNTRUSTED_PREFIX)
