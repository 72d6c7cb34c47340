"""The contract of objects, held by directories, by the fake, by memory and by real servers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from journalkit.fs.memory import MemoryFileSystem
from journalkit.fs.posix import PosixFileSystem
from journalkit.objects.directory import DirectoryObjects
from journalkit.objects.interface import Objects, ObjectStatus
from journalkit.objects.places import open_objects
from journalkit.testing import SimulatedDisk
from journalkit.testing.contract_objects import OBJECTS_CONTRACT
from journalkit.testing.objects import SimulatedBucket, SimulatedObjects


def memory_storage() -> Objects:
    """Return obstore's own memory."""
    pytest.importorskip("obstore", reason="obstore isn't installed: pip install 'journalkit[object-storage]'")
    return open_objects("memory://")


KINDS: dict[str, Callable[[Path], Objects]] = {
    "posix": lambda path: DirectoryObjects(str(path / "objects"), PosixFileSystem()),
    "memory": lambda _: DirectoryObjects("/a/new/place", MemoryFileSystem()),
    "simulated disk": lambda _: DirectoryObjects("/objects/", SimulatedDisk()),
    "simulated bucket": lambda _: SimulatedBucket().handle(),
    "obstore": lambda _: memory_storage(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("claim", OBJECTS_CONTRACT)
def test_every_place_holds_the_contract(kind: str, claim: str, tmp_path: Path) -> None:
    """A checkpoint that is written to one place is read, copied and fenced in every other."""
    OBJECTS_CONTRACT[claim](KINDS[kind](tmp_path), f"{claim}/")


@pytest.mark.slow
@pytest.mark.parametrize("server", ["moto", "seaweedfs"])
@pytest.mark.parametrize("claim", OBJECTS_CONTRACT)
def test_every_server_holds_the_contract(server: str, claim: str, remote: Callable[[str], Objects]) -> None:
    """Servers that speak one protocol differ where it leaves room, and where they are wrong."""
    OBJECTS_CONTRACT[claim](remote(server), f"{claim}/")


def test_a_place_that_breaks_a_claim_is_told() -> None:
    """The canary: a suite that accepts everything proves nothing."""

    class Wrong(SimulatedObjects):
        def list(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[ObjectStatus]:
            return list(reversed(super().list(prefix, after=after, limit=limit)))

        def create(self, key: str, data: bytes) -> bool:
            return super().create(key, data) or self.put(key, (data,)) > 0

    for claim in (
        "objects_are_listed_sorted_in_pages",
        "create_makes_an_object_once",
        "of_writers_that_create_one_key_one_wins",
        "a_probe_finds_the_rules_kept_and_leaves_nothing",
    ):
        with pytest.raises(AssertionError):
            OBJECTS_CONTRACT[claim](Wrong(SimulatedBucket(), "wrong"), "root/")
