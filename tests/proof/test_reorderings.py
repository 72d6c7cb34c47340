"""Devices that reorder, tear, lose and fail: the images are legal ones, a store survives them, canaries don't."""

from __future__ import annotations

import os
import random
from functools import partial
from pathlib import Path

import device_errors
import fuse_daemon
import pytest
import reorderings
from block_device import BLOCK_BYTES, SECTOR_BYTES, Operation
from fault_writer import Story
from fuse_daemon import running
from history import History
from mounts import Images, apart, lacking
from places_of_stores import ASYNC_COMMIT, PLACES, Place
from recordings import KEPT, LOST, TORN, Cut, Recording, chosen
from units import Outcome, Unit


def proved(place: str, **arguments: object) -> Outcome:
    """Prove a unit, or skip for its reason."""
    if reason := fuse_daemon.lacking() or lacking(PLACES[place].kind):
        pytest.skip(reason)
    return reorderings.prove(Unit("test", {"place": place, "seed": 1, **arguments}))


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("place", ["ext4", "xfs", "btrfs"])
def test_a_store_survives_whatever_a_device_makes_of_what_it_was_not_told_to_flush(place: str) -> None:
    """A small piece of the proof on each file system."""
    outcome = proved(place, trials=4)
    assert outcome.failures == []
    assert outcome.counts["reorderings"] == 4


@pytest.mark.root
@pytest.mark.slow
def test_a_store_that_promises_before_the_flush_is_found_out() -> None:
    """Images that lose nothing that was promised would find nothing."""
    assert proved("ext4", trials=12, canary="early").failures


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("place", ["ext4", "btrfs"])
def test_a_failing_device_brings_contract_errors_and_costs_nothing_promised(place: str) -> None:
    """A small piece of the proof, on a file system with a journal and on one without."""
    outcome = proved(place, faults=3)
    assert outcome.failures == []
    assert outcome.counts["device errors"] >= 2


@pytest.mark.root
@pytest.mark.slow
def test_a_store_that_ignores_errors_of_its_syncs_is_found_out() -> None:
    """What the device refused is gone, whatever the page cache shows."""
    assert proved("ext4", faults=8, canary="deaf").failures


def syncs(folder: str, *, place: Place) -> list[bool]:
    """Write and sync on a device that flushes no more; return which of it seemed to work."""
    images, worked = Images(folder), []
    with running("block_device.py", folder) as daemon:
        mounted = device_errors.mount(daemon, place, images.fresh(place.kind), images.point())
        with (Path(mounted.point) / "file").open("wb", buffering=0) as file:
            os.fsync(file.fileno())
            daemon.ask("fail", kind="flush", nth=1, times=None)
            for _ in range(4):
                try:
                    file.write(bytes(5000))
                    os.fdatasync(file.fileno())
                except OSError:
                    worked.append(False)
                else:
                    worked.append(True)
            daemon.ask("end_faults")
        mounted.unmount()
    return worked


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("place", [*PLACES.values(), ASYNC_COMMIT], ids=lambda place: place.name)
def test_every_place_tells_of_a_flush_that_failed(place: Place) -> None:
    """With journal_async_commit ext4 forgets the answer, so nothing can be proved there: this is how it was found."""
    if reason := fuse_daemon.lacking() or lacking(place.kind):
        pytest.skip(reason)
    assert apart(partial(syncs, place=place)) == [not place.tells_of_flushes] * 4


def block(number: int, count: int = 1) -> Operation:
    """Return a write of whole blocks, each sector of it another letter."""
    sectors = count * BLOCK_BYTES // SECTOR_BYTES
    data = b"".join(bytes([65 + (number + sector) % 26]) * SECTOR_BYTES for sector in range(sectors))
    return Operation(number * BLOCK_BYTES, data)


FLUSH = Operation(0, None)
OPERATIONS = (block(0), block(1), FLUSH, block(2), block(3, 4), block(1))
RECORDING = Recording(OPERATIONS, Story(History(), 0, 1), begin=0, end=len(OPERATIONS))


def built(cut: Cut, folder: Path) -> bytes:
    """Return the image that a cut leaves of an empty device."""
    base, image = folder / "base", folder / "image"
    base.write_bytes(bytes(8 * BLOCK_BYTES))
    cut.build(RECORDING, str(base), str(image))
    return image.read_bytes()


def test_what_was_flushed_is_on_every_image(tmp_path: Path) -> None:
    """A device that loses what it was told to flush is outside of every promise."""
    image = built(Cut(5, (LOST, LOST), 0), tmp_path)
    flushed = (block(0).data or b"") + (block(1).data or b"")
    assert image == flushed + bytes(6 * BLOCK_BYTES)


def test_a_later_write_may_be_there_without_an_earlier_one(tmp_path: Path) -> None:
    """That is what is meant by reordering."""
    cut = Cut(5, (LOST, KEPT), 0)
    image = built(cut, tmp_path)
    assert image[2 * BLOCK_BYTES : 3 * BLOCK_BYTES] == bytes(BLOCK_BYTES)
    assert image[3 * BLOCK_BYTES : 7 * BLOCK_BYTES] == block(3, 4).data
    assert cut.is_reordered
    assert not Cut(5, (KEPT, LOST), 0).is_reordered


@pytest.mark.parametrize("unit_bytes", [SECTOR_BYTES, BLOCK_BYTES])
def test_a_torn_write_is_there_in_whole_units(tmp_path: Path, unit_bytes: int) -> None:
    """Devices write sectors whole, and some file systems count on blocks."""
    counts = set()
    for seed in range(40):
        image = built(Cut(5, (LOST, TORN), seed, unit_bytes), tmp_path)[3 * BLOCK_BYTES : 7 * BLOCK_BYTES]
        data = block(3, 4).data or b""
        parts = [
            image[at : at + unit_bytes] == data[at : at + unit_bytes] or not any(image[at : at + unit_bytes])
            for at in range(0, len(data), unit_bytes)
        ]
        assert all(parts)
        counts.add(sum(any(image[at : at + unit_bytes]) for at in range(0, len(data), unit_bytes)))
    assert len(counts) > 3


def test_chosen_cuts_differ_and_each_loses_something() -> None:
    """A cut that loses nothing shows nothing, and one that comes twice counts once."""
    cuts = list(chosen(RECORDING, 30, random.Random(1)))
    assert len({(cut.count, cut.fates) for cut in cuts}) == len(cuts) > 20
    assert all(set(cut.fates) - {KEPT} for cut in cuts)
    assert {cut.count for cut in cuts} == {1, 2, 4, 5, 6}


def test_units_are_the_same_each_time_and_have_names_of_their_own() -> None:
    """A run that goes on where it was knows them by name."""
    for size in ("ci", "full"):
        units = reorderings.units(size, 7)
        assert units == reorderings.units(size, 7)
        assert len({unit.name for unit in units}) == len(units)
    assert device_errors.units("ci", 1) != device_errors.units("ci", 2)
