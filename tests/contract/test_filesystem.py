"""The contract of file systems, held by the real one and by both fakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from journalkit.fs.interface import FileSystem
from journalkit.fs.memory import MemoryFileSystem
from journalkit.fs.posix import PosixFileSystem
from journalkit.testing import SimulatedDisk
from journalkit.testing.contract import FILESYSTEM_CONTRACT

KINDS: dict[str, Callable[[], FileSystem]] = {
    "posix": PosixFileSystem,
    "memory": MemoryFileSystem,
    "simulated": SimulatedDisk,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("claim", FILESYSTEM_CONTRACT)
def test_every_file_system_holds_the_contract(kind: str, claim: str, tmp_path: Path) -> None:
    """What a proof shows on a fake is worth as much as the fake is like the real one."""
    fs = KINDS[kind]()
    root = str(tmp_path / "root") if kind == "posix" else "/root"
    fs.make_directory(root)
    FILESYSTEM_CONTRACT[claim](fs, root)


def test_a_file_system_that_breaks_a_claim_is_told(tmp_path: Path) -> None:
    """The canary: a suite that accepts everything proves nothing."""

    class Unsorted(MemoryFileSystem):
        def list(self, path: str) -> list[str]:
            return list(reversed(super().list(path)))

        def unlink(self, path: str) -> None:
            if self.status(path) is not None:
                super().unlink(path)

    for claim in ("names_are_listed_sorted", "an_unlinked_file_stays_for_who_has_it_open"):
        fs = Unsorted()
        fs.make_directory("/root")
        with pytest.raises(AssertionError):
            FILESYSTEM_CONTRACT[claim](fs, "/root")
