"""The manifest on disk: read as untrusted, replaced whole, and only by who holds the epoch."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from typing import Any

import pytest

from journalkit.errors import (
    ClosedError,
    CorruptionError,
    FencedError,
    RecordTooLargeError,
    StorageError,
    StoreFullError,
    UnsupportedFormatError,
)
from journalkit.format.checksum import checksum
from journalkit.format.envelope import HEADER, HEADER_BYTES
from journalkit.format.manifest import MANIFEST_BYTES_MAX, Manifest, encode_manifest
from journalkit.fs import full
from journalkit.manifest import ManifestKeeper, read_manifest
from journalkit.testing import PowerCut, SimulatedDisk

PATH = "/MANIFEST"


def manifest(**changes: Any) -> Manifest:
    """Return a manifest of a store that was just opened."""
    made = Manifest(
        store=b"store-of-16-byte",
        kind="store",
        codec="cbor",
        created_us=1,
        generation=1,
        epoch=1,
        writer=b"writer-of-16-byt",
        segments=(),
        snapshots=(),
        pruned_lsn=0,
        durable_lsn=0,
        next_segment=1,
        next_table=1,
    )
    return replace(made, **changes)


def keeper(disk: SimulatedDisk, current: Manifest, released: list[str] | None = None) -> ManifestKeeper:
    """Return a keeper that notes when the reserve is given up."""
    notes = released if released is not None else []
    return ManifestKeeper(disk, "/", current, release_reserve=lambda: notes.append("reserve"))


@pytest.fixture
def disk() -> SimulatedDisk:
    """A disk with a manifest on it."""
    made = SimulatedDisk()
    made.write_bytes(PATH, encode_manifest(manifest()))
    return made


def mark(current: Manifest) -> Manifest:
    """Change something."""
    return current.next_generation(durable_lsn=current.durable_lsn + 1)


def test_no_manifest_is_none_and_any_damage_is_corruption(disk: SimulatedDisk) -> None:
    """Promise 8: a store that can't be read is never one that isn't there."""
    assert read_manifest(SimulatedDisk(), "/") is None
    assert read_manifest(disk, "/") == manifest()
    data = disk.read_bytes(PATH)
    for bit in range(8 * len(data)):
        disk.flip_bit(PATH, bit)
        with pytest.raises(CorruptionError) as caught:
            read_manifest(disk, "/")
        assert caught.value.path == PATH
        disk.flip_bit(PATH, bit)
    for size in range(len(data)):
        disk.write_bytes(PATH, data[:size])
        with pytest.raises(CorruptionError):
            read_manifest(disk, "/")


def test_a_file_larger_than_a_manifest_is_not_read_into_memory(disk: SimulatedDisk) -> None:
    """PITFALLS 28: a length from disk is bounded before it sizes anything."""
    disk.write_bytes(PATH, bytes(MANIFEST_BYTES_MAX + 1))
    with pytest.raises(CorruptionError, match="larger than a manifest can be"):
        read_manifest(disk, "/")


def test_a_newer_format_is_refused_by_its_name(disk: SimulatedDisk) -> None:
    """Promise 7: upgrade, and nothing was touched; not a word of damage."""
    data = bytearray(disk.read_bytes(PATH))
    at = HEADER.offset_of("version")
    data[at] = 9
    head = bytes(data[: HEADER_BYTES - 4])
    data[HEADER_BYTES - 4 : HEADER_BYTES] = checksum(head).to_bytes(4, "little")
    disk.write_bytes(PATH, bytes(data))
    with pytest.raises(UnsupportedFormatError, match="upgrade journalkit, nothing was touched"):
        read_manifest(disk, "/")


def test_a_publish_survives_a_power_cut_at_every_operation_whole_or_not_at_all(disk: SimulatedDisk) -> None:
    """The manifest is the only commit point there is; half of one must not exist."""
    for after in range(1, 20):
        trial = disk.process_crash()
        trial.stop_after(after)
        try:
            keeper(trial, manifest()).publish(mark)
        except PowerCut:
            for seed in range(6):
                found = read_manifest(trial.crash(seed), "/")
                assert found in (manifest(), mark(manifest()))
        else:
            assert read_manifest(trial.crash("none"), "/") == mark(manifest())
            return
    raise AssertionError("it takes no end")


def test_changes_of_two_threads_are_made_one_after_the_other(disk: SimulatedDisk) -> None:
    """The compactor and a rotation both publish; each must begin from what the other left."""
    kept = keeper(disk, manifest())
    threads = [threading.Thread(target=lambda: [kept.publish(mark) for _ in range(25)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (kept.current.durable_lsn, kept.current.generation) == (100, 101)
    assert read_manifest(disk, "/") == kept.current


@pytest.mark.parametrize(
    "other", [{"epoch": 2, "writer": b"x" * 16}, {"epoch": 1, "writer": b"x" * 16}, {"epoch": 7}], ids=str
)
def test_a_newer_writer_fences_the_older_one(disk: SimulatedDisk, other: dict[str, Any]) -> None:
    """DESIGN, epochs: an old handle must not take a store back that somebody else writes."""
    kept = keeper(disk, manifest())
    theirs = encode_manifest(manifest(**other))
    disk.write_bytes(PATH, theirs)
    with pytest.raises(FencedError, match=f"epoch {other['epoch']}, this one is 1"):
        kept.publish(mark)
    assert disk.read_bytes(PATH) == theirs


def test_an_older_manifest_under_an_open_store_is_replaced_by_ours(disk: SimulatedDisk) -> None:
    """Copied back by hand while the store was open: what is in memory is newer, and holds."""
    kept = keeper(disk, manifest(epoch=3))
    disk.write_bytes(PATH, encode_manifest(manifest(epoch=2, writer=b"x" * 16)))
    kept.publish(mark)
    assert read_manifest(disk, "/") == kept.current


def test_a_manifest_that_vanished_is_corruption_unless_it_is_the_first(disk: SimulatedDisk) -> None:
    """Somebody removed the directory's contents under us: to publish would make a store of nothing."""
    kept = keeper(disk, manifest())
    disk.unlink(PATH)
    with pytest.raises(CorruptionError, match="the manifest is missing"):
        kept.publish(mark)
    assert list(disk.list("/")) == []
    assert keeper(disk, manifest(generation=0)).publish(mark).generation == 1


def test_a_full_disk_takes_the_reserve_and_then_says_so(disk: SimulatedDisk) -> None:
    """PITFALLS 26: the reserve is for this; without it the old manifest holds and the keeper goes on."""
    released: list[str] = []
    kept = keeper(disk, manifest(), released)
    disk.fail("pwrite", 1, errno.ENOSPC)
    assert kept.publish(mark).durable_lsn == 1
    assert released == ["reserve"]
    disk.fail("pwrite", 1, errno.EDQUOT, times=2)
    with pytest.raises(StoreFullError) as caught:
        kept.publish(mark)
    assert (caught.value.errno, caught.value.path) == (errno.EDQUOT, "/")
    assert read_manifest(disk, "/") == kept.current
    assert kept.publish(mark).durable_lsn == 2


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_rename_whose_durability_is_unknown_ends_the_keeper(disk: SimulatedDisk, error: int) -> None:
    """Even if the number says "full": the new manifest is in place, to go on from the old one would fork the store."""
    kept = keeper(disk, manifest())
    disk.fail("sync_directory", 1, error)
    with pytest.raises(StorageError, match="close the store and open it again") as first:
        kept.publish(mark)
    with pytest.raises(StorageError) as second:
        kept.publish(mark)
    assert second.value is first.value
    assert read_manifest(disk, "/") == mark(manifest())


def test_an_io_error_ends_the_keeper_and_the_old_manifest_holds(disk: SimulatedDisk) -> None:
    """A device that fails one write is not asked for the next."""
    kept = keeper(disk, manifest())
    disk.fail("sync", 1, errno.EIO)
    for _ in range(2):
        with pytest.raises(StorageError, match="could not be published"):
            kept.publish(mark)
    assert read_manifest(disk, "/") == manifest()


def test_who_owns_the_store_can_not_be_told_without_reading(disk: SimulatedDisk) -> None:
    """Too many open files while looking for a newer writer: refuse, as an error of ours, and go on later."""
    kept = keeper(disk, manifest())
    disk.fail("open_read", 1, errno.EMFILE)
    with pytest.raises(StorageError, match="nobody knows whose store this is") as caught:
        kept.publish(mark)
    assert caught.value.errno == errno.EMFILE
    assert kept.publish(mark).durable_lsn == 1


def test_a_manifest_that_no_reader_would_take_is_not_written(disk: SimulatedDisk) -> None:
    """Metadata of the size of a film would make a store that nobody can open again."""
    kept = keeper(disk, manifest())
    with pytest.raises(RecordTooLargeError, match="shorten the metadata") as caught:
        kept.publish(lambda current: current.next_generation(metadata={"x": bytes(MANIFEST_BYTES_MAX)}))
    assert caught.value.limit_bytes == MANIFEST_BYTES_MAX < caught.value.size_bytes
    assert read_manifest(disk, "/") == manifest() == kept.current


def test_a_closed_keeper_publishes_nothing(disk: SimulatedDisk) -> None:
    """A fold that outlives its store's close must not touch the store of the next opener."""
    kept = keeper(disk, manifest())
    kept.close()
    with pytest.raises(ClosedError):
        kept.publish(mark)
    assert read_manifest(disk, "/") == manifest()


def test_the_error_of_a_full_disk_tells_how_much_is_free_as_far_as_can_be_known(disk: SimulatedDisk) -> None:
    """On a disk in trouble the question itself may fail; that must not hide the answer."""
    disk.capacity_bytes = 10_000
    cause = OSError(errno.ENOSPC, "No space left on device")
    error = full.store_full(disk, "/", 77, cause)
    assert (error.needed_bytes, error.free_bytes) == (77, 10_000 - len(disk.read_bytes(PATH)))
    disk.fail("free_bytes", 1, errno.EIO)
    assert full.store_full(disk, "/", 77, cause).free_bytes == 0


def test_full_is_told_apart_from_broken_and_from_unknown() -> None:
    """Only after an error that surely wrote nothing may a caller go on with the same handle."""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert full.is_full(OSError(number, ""))
        assert not full.is_full(StorageError("", cause=OSError(number, "")))
    assert not full.is_full(OSError(errno.EIO, ""))
