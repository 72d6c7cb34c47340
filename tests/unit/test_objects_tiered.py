"""A fast copy beside the place that counts: quicker when it is there, and nobody's trouble when it isn't."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from journalkit.checkpoint.checkpoints import Checkpoints
from journalkit.checkpoint.open import open_checkpoints, open_on
from journalkit.checkpoint.retention import Keep
from journalkit.errors import ArchiveUnavailableError, CorruptionError, StorageError, StoreFullError, UsageError
from journalkit.format import names
from journalkit.objects.directory import DirectoryObjects
from journalkit.objects.interface import Part
from journalkit.objects.tiered import TieredObjects, copy_name
from journalkit.testing import SimulatedBucket, SimulatedClock, SimulatedDisk
from journalkit.testing.contract_objects import OBJECTS_CONTRACT

PREFIXES = (names.PACKS, names.MANIFESTS)
LONG = 300_000


class Both:
    """A bucket that counts and a disk for copies."""

    def __init__(self) -> None:
        self.bucket = SimulatedBucket()
        self.disk = SimulatedDisk()
        self.clock = SimulatedClock()
        self.copies = DirectoryObjects("/copies", self.disk)
        self.objects = self.open()

    def open(self) -> TieredObjects:
        """Open both as one."""
        return TieredObjects(self.bucket.handle(), DirectoryObjects("/copies", self.disk), PREFIXES)

    def job(self, **options: Any) -> Checkpoints:
        """Open a job's checkpoints in both."""
        return open_on(self.open(), self.clock, **options)

    def copied(self) -> dict[str, bytes]:
        """Return what there are copies of."""
        return {found.key: self.copies.get(found.key) or b"" for found in self.copies.list()}

    def reads(self) -> list[str]:
        """Return which data were read from the bucket."""
        return [line for line in self.bucket.history() if " get " in line and any(part in line for part in PREFIXES)]


@pytest.fixture
def both() -> Both:
    """Return two empty places."""
    return Both()


@pytest.mark.parametrize("claim", OBJECTS_CONTRACT)
@pytest.mark.parametrize("prefixes", [PREFIXES, ("",)])
def test_two_places_hold_the_contract_of_one(claim: str, prefixes: tuple[str, ...]) -> None:
    """But that what is copied never changes, which the contract doesn't ask for."""
    copies = DirectoryObjects("/copies", SimulatedDisk())
    OBJECTS_CONTRACT[claim](TieredObjects(SimulatedBucket().handle(), copies, prefixes), f"{claim}/")


def test_what_is_saved_is_copied_and_loaded_from_the_copy(both: Both) -> None:
    """Heads are asked for where they count; packs and manifests needn't be."""
    state = {"long": Random(1).randbytes(LONG)}
    with both.job() as job:
        job.save(state)
        assert set(both.copied()) == {names.pack_key(1, 1, 0), names.checkpoint_key(1, 1)}
        assert all(both.bucket.contents()[key] == data for key, data in both.copied().items())
        loaded = job.load_latest()
    assert loaded is not None
    assert loaded[0] == state
    assert both.reads() == []


def test_a_copy_that_is_damaged_or_gone_is_passed_over(both: Both) -> None:
    """The checkpoint is sound: nobody is warned, and none is skipped."""
    state = {"long": Random(1).randbytes(LONG)}
    for damage in ("pack", "manifest", "short", "gone"):
        both = Both()
        with both.job() as job:
            saved = job.save(state)
            key = names.checkpoint_key(1, 1) if damage == "manifest" else names.pack_key(1, 1, 0)
            data = bytearray(both.copied()[key])
            data[-100] ^= 1
            if damage == "gone":
                both.copies.delete(*both.copied())
            else:
                both.copies.put(key, (bytes(data) if damage != "short" else bytes(data[:-5]),))
        with both.job(mode="r") as reader:
            found = reader.get(saved.id)
            assert found.verify() == []
            loaded = reader.load_latest()
            assert loaded is not None
            assert (loaded[0], loaded[1].skipped) == (state, ())


def test_damage_where_it_counts_is_damage(both: Both) -> None:
    """Once the copy is gone too."""
    with both.job() as job:
        saved = job.save({"long": Random(1).randbytes(LONG)})
        key = names.pack_key(1, 1, 0)
        data = bytearray(both.bucket.contents()[key])
        data[-100] ^= 1
        both.bucket.handle().put(key, (bytes(data),))
        assert saved.load()
        both.copies.delete(key)
        with pytest.raises(CorruptionError):
            saved.load()


@pytest.mark.parametrize("failing", ["create", "pwrite", "sync", "rename"])
def test_a_copy_that_cant_be_written_fails_no_save(both: Both, failing: str) -> None:
    """A full or broken disk beside is told by an attribute, to whoever wants to know."""
    number = errno.ENOSPC if failing in ("create", "pwrite") else errno.EIO
    both.disk.fail(failing, 1, number, times=None, path_contains="/copies")
    state = {"long": Random(1).randbytes(LONG)}
    with both.job() as job:
        assert job.save(state).load() == state
        assert isinstance(job._objects.copy_failure, StoreFullError | StorageError)  # type: ignore[attr-defined]
        assert both.copied() == {}


def test_a_put_that_fails_where_it_counts_leaves_no_copy(both: Both) -> None:
    """Nor does one whose pieces end in an error."""
    both.bucket.fail("put", 1, "unavailable")
    with pytest.raises(ArchiveUnavailableError):
        both.objects.put(names.pack_key(1, 1, 0), (b"1", b"2"))

    def parts() -> Iterator[Part]:
        yield b"1"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        both.objects.put(names.pack_key(1, 2, 0), parts())
    assert both.copied() == {}
    assert both.objects.copy_failure is None


def test_what_is_pruned_goes_from_the_copy_and_what_others_pruned_at_the_next_open(both: Both) -> None:
    """A node's disk doesn't fill with what there is no more."""
    with both.job(keep=Keep(last=1), trash_period=0) as job:
        for number in range(4):
            job.save({"long": Random(number).randbytes(LONG)})
        assert len(both.copied()) == 2
    with open_on(both.bucket.handle(), both.clock, trash_period=0) as elsewhere:
        elsewhere.save({"long": Random(9).randbytes(LONG)})
        elsewhere.prune(Keep(last=1))
    assert len(both.copied()) == 2
    both.objects.remove_what_is_gone()
    assert both.copied() == {}


def test_two_jobs_may_name_one_directory(tmp_path: Path) -> None:
    """Their checkpoints have the same keys, and each its own copies."""
    for name in ("one", "other"):
        with open_checkpoints(tmp_path / name, local=tmp_path / "fast") as job:
            job.save({"name": name, "long": Random(name).randbytes(LONG)})
    for name in ("one", "other"):
        with open_checkpoints(tmp_path / name, local=tmp_path / "fast", mode="r") as job:
            loaded = job.load_latest()
            assert loaded is not None
            assert loaded[0]["name"] == name
            (tmp_path / name / names.pack_key(1, 1, 0)).unlink()
            assert job.get("1.1").load()["name"] == name
    assert len(os.listdir(tmp_path / "fast")) == 2
    assert copy_name("a") != copy_name("b")
    with pytest.raises(UsageError, match="no directory"):
        open_checkpoints(tmp_path / "one", local="memory://")
